/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and values of the index: the bytes, and nothing else. Keys are big-endian, so that LMDB's
 * order of octets is that of the numbers; values are little-endian. Pure; for the files of the
 * index only.
 */
#ifndef STORAGE_INDEX_FORMAT_H
#define STORAGE_INDEX_FORMAT_H

#include "io/status.h"
#include "storage/index.h"
#include "storage/kv.h"

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define INDEX_ID_KEY_SIZE      8
#define INDEX_MESSAGE_KEY_SIZE 16
#define INDEX_UIDL_KEY_MAX     (8 + STORAGE_UIDL_LENGTH_MAX)
#define INDEX_MESSAGE_FIXED    44 /* octets in front of the imported unique-id */
#define INDEX_MESSAGE_MAX      (INDEX_MESSAGE_FIXED + STORAGE_UIDL_LENGTH_MAX + 4)
#define INDEX_DROP_FIXED       18 /* octets in front of the name */
#define INDEX_DROP_MAX         (INDEX_DROP_FIXED + STORAGE_DROP_NAME_MAX)
#define INDEX_FILE_SIZE        17
#define INDEX_STATE_SIZE       57
#define INDEX_IDENTITY_SIZE    20

/* The tables of an index, by handle. */
struct index_tables {
    unsigned meta, drops, messages, segments, blobs, uidls, removed, tombstones;
};

struct index {
    struct kv *kv;
    struct index_tables tables;
    uint64_t next_sequence;       /* for the state; 0: leave what is there */
    _Atomic uint64_t freed_blobs; /* counted by whoever applies */
};

/* Keys: an id, or two, or one and a unique-id. Inline: each row of a maildrop that is opened has
 * two. */
static inline void index_put_id(uint8_t out[INDEX_ID_KEY_SIZE], uint64_t id)
{
    uint64_t big = htobe64(id);
    memcpy(out, &big, sizeof big);
}

static inline uint64_t index_get_id(const uint8_t *data)
{
    uint64_t big;
    memcpy(&big, data, sizeof big);
    return be64toh(big);
}

/* The key of a message, in the order of the maildrops and of their messages. */
void index_message_key(uint64_t maildrop, uint64_t uid, uint8_t out[INDEX_MESSAGE_KEY_SIZE]);
/* Returns the octets: 8 + length. */
size_t index_uidl_key(uint64_t maildrop, const char *uidl, size_t length,
                      uint8_t out[INDEX_UIDL_KEY_MAX]);

/* Values. Each encode returns the octets written, or always writes the size of its array; each
 * decode answers STATUS_CORRUPT for anything that encode cannot have written, as far as can be
 * seen. A message's row: */
size_t index_encode_message(uint64_t maildrop, const struct message_entry *entry,
                            uint8_t out[INDEX_MESSAGE_MAX]);
/* STATUS_CORRUPT when the check does not match key and value. */
MUST_CHECK enum status index_decode_message(struct kv_bytes key, struct kv_bytes value,
                                            struct message_entry *out_entry);

/* A maildrop's row. */
size_t index_encode_drop(const struct index_drop *drop, uint8_t out[INDEX_DROP_MAX]);
MUST_CHECK enum status index_decode_drop(struct kv_bytes value, struct index_drop *out_drop);

/* A segment's or blob's row. */
void index_encode_file(const struct index_file *file, uint8_t out[INDEX_FILE_SIZE]);
MUST_CHECK enum status index_decode_file(struct kv_bytes value, struct index_file *out_file);

/* The state. */
void index_encode_state(const struct index_state *state, uint8_t out[INDEX_STATE_SIZE]);
MUST_CHECK enum status index_decode_state(struct kv_bytes value, struct index_state *out_state);

/* The names of the index's tables, up to NULL. */
extern const char *const index_table_names[];

/* Whether a pair, as it lies in the file, is one that this version writes: what can be told from
 * its own checks. Pure. */
bool index_pair_is_sound(const char *table, struct kv_bytes key, struct kv_bytes value);

/* The one row under which the state is kept. */
MUST_CHECK enum status index_read_state(struct index *index, struct kv_txn *txn,
                                        struct index_state *out_state);

#endif
