/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thin layer over LMDB: environments, named tables, transactions, cursors, and its errors in our
 * vocabulary. Nothing else includes lmdb.h. Used by the index (disposable) and by accounts (not).
 *
 * Always with LMDB's default, durable flags plus NOTLS: a transaction belongs to whoever holds it,
 * one thread at a time, and a read transaction can be parked (kv_park) and taken up again without
 * paying for a slot. One write transaction at a time in an environment; the second waits.
 *
 * The rules that keep LMDB well: a read transaction begins and ends inside one function; data.mdb
 * is never opened by hand while an environment is open (closing that descriptor would drop LMDB's
 * locks); an environment is opened once in a process and never crosses a fork.
 *
 * Failures: STATUS_NOT_FOUND and STATUS_EXISTS are answers; STATUS_NO_SPACE is a full map or disk;
 * STATUS_CORRUPT is a damaged file; STATUS_UNSUPPORTED another LMDB format; STATUS_LIMIT too many
 * readers. After any other failure of a write the environment should not be written again.
 */
#ifndef STORAGE_KV_H
#define STORAGE_KV_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct kv;        /* an environment */
struct kv_txn;    /* a transaction */
struct kv_cursor; /* a place in a table */

struct kv_bytes {
    const void *data;
    size_t length; /* octets; a key has at most KV_KEY_MAX */
};
#define KV_KEY_MAX 511 /* octets; LMDB's own bound */

struct kv_config {
    const char *path;    /* an existing directory */
    uint64_t map_size;   /* octets of address space: the most it can ever hold */
    unsigned tables_max; /* named tables */
    unsigned
        readers_max; /* read transactions at once, parked ones included; 0: KV_READERS_DEFAULT */
    mode_t mode;     /* of new files */
    bool scratch;    /* thrown away when it is closed: nothing is synced */
    /* Whether a pair in the file is what its owner would have written; asked for each at opening.
     * NULL: only pages and checks are looked at. */
    bool (*is_sound)(const char *table, struct kv_bytes key, struct kv_bytes value);
    /* The names its tables may have, up to NULL, which outlive the kv. NULL: any. */
    const char *const *tables;
    uint64_t check_max; /* octets up to which all of the file is checked; 0: KV_CHECK_OPEN_MAX */
};
#define KV_READERS_DEFAULT 512

/*
 * Opens, or creates when the directory is empty: whole and durable by name, or not at all. Slots of
 * readers that died are cleared. First all of the file is checked (storage/kv_check.h; of one above
 * `check_max` the inner pages only): LMDB would end the process at a damaged page, or lose
 * keys without a word.
 */
MUST_CHECK enum status kv_open(const struct kv_config *config, struct kv **out_kv,
                               struct error *out_error);
#define KV_CHECK_OPEN_MAX (256ull << 20) /* octets: half a second before anybody is served */
/* No transaction may be open, parked ones excepted that are ended first. NULLs. */
void kv_close(struct kv **kv);

/* Opens a table, creating it. Before any transaction of ours is open; the handle holds until
 * kv_close. */
MUST_CHECK enum status kv_table(struct kv *kv, const char *name, unsigned *out_table,
                                struct error *out_error);

/* The same for a table whose values each get a check behind them, of key and value: another value,
 * or that of another key, is STATUS_CORRUPT. Callers never see it. */
MUST_CHECK enum status kv_table_checked(struct kv *kv, const char *name, unsigned *out_table,
                                        struct error *out_error);
#define KV_CHECK_SIZE 4 /* octets */
/* Whether a pair of such a table, as it lies in the file, matches its check. Pure. */
bool kv_pair_is_sound(struct kv_bytes key, struct kv_bytes value);

/* --- transactions --- */

/* Waits while another thread writes. */
MUST_CHECK enum status kv_begin_write(struct kv *kv, struct kv_txn **out_txn);
/* Ends it whatever comes of it, and NULLs. STATUS_OK: durable. Anything else: not done, or unknown.
 */
MUST_CHECK enum status kv_commit(struct kv_txn **txn);
/* Ends a write transaction without effect, or a read transaction. NULL inside is allowed. */
void kv_abort(struct kv_txn **txn);

/* Takes a snapshot. STATUS_LIMIT: too many readers. */
MUST_CHECK enum status kv_begin_read(struct kv *kv, struct kv_txn **out_txn);
/* Gives the snapshot up, keeping the reader's slot; then takes a new one. */
void kv_park(struct kv_txn *txn);
MUST_CHECK enum status kv_unpark(struct kv_txn *txn);

/* --- one key --- */

/* The value stays valid until the transaction's next write or end; do not write to it. */
MUST_CHECK enum status kv_get(struct kv_txn *txn, unsigned table, struct kv_bytes key,
                              struct kv_bytes *out_value);
/* Sets or replaces. */
MUST_CHECK enum status kv_put(struct kv_txn *txn, unsigned table, struct kv_bytes key,
                              struct kv_bytes value);
/* STATUS_EXISTS leaves the old value. */
MUST_CHECK enum status kv_add(struct kv_txn *txn, unsigned table, struct kv_bytes key,
                              struct kv_bytes value);
/* STATUS_NOT_FOUND when there is none. */
MUST_CHECK enum status kv_delete(struct kv_txn *txn, unsigned table, struct kv_bytes key);
/* Empties a table. */
MUST_CHECK enum status kv_clear(struct kv_txn *txn, unsigned table);
MUST_CHECK enum status kv_count(struct kv_txn *txn, unsigned table, uint64_t *out_count);

/* --- ranges: keys in octet order --- */

/* A cursor lives inside its transaction. Close it before a write transaction ends. One of a read
 * transaction can be kept while that is parked, and renewed after kv_unpark. */
MUST_CHECK enum status kv_cursor_open(struct kv_txn *txn, unsigned table,
                                      struct kv_cursor **out_cursor);
MUST_CHECK enum status kv_cursor_renew(struct kv_cursor *cursor, struct kv_txn *txn);
void kv_cursor_close(struct kv_cursor **cursor);
/* The first key not below `key`. STATUS_NOT_FOUND behind the last. */
MUST_CHECK enum status kv_cursor_seek(struct kv_cursor *cursor, struct kv_bytes key,
                                      struct kv_bytes *out_key, struct kv_bytes *out_value);
MUST_CHECK enum status kv_cursor_next(struct kv_cursor *cursor, struct kv_bytes *out_key,
                                      struct kv_bytes *out_value);
/* Deletes where it stands (write transactions); kv_cursor_next then gives the one behind. */
MUST_CHECK enum status kv_cursor_delete(struct kv_cursor *cursor);

/* --- health --- */

/* Clears the slots of readers whose process died; `out_count` (NULL allowed) says how many. */
MUST_CHECK enum status kv_check_readers(struct kv *kv, unsigned *out_count);

struct kv_numbers {
    uint64_t map_octets,
        used_octets;      /* used: up to the last page of the file, free ones included */
    uint64_t free_octets; /* of them: pages that no table has, and that the next writes take first,
                           * unless a reader may still look at them */
    uint64_t last_transaction;
    unsigned readers, readers_max;
};
void kv_numbers(struct kv *kv, struct kv_numbers *out_numbers); /* any thread */

struct kv_check_request;
struct kv_check_result;
/* Checks a snapshot as it is in the file now, while others read and write: `request` needs neither
 * descriptor nor transaction. Holds the snapshot as long as that takes. See storage/kv_check.h. */
MUST_CHECK enum status kv_check_open(struct kv *kv, const struct kv_check_request *request,
                                     struct kv_check_result *out_result, struct error *out_error);

/* Copies a consistent, compacted state into an existing empty directory, for backups. Blocking. */
MUST_CHECK enum status kv_copy(struct kv *kv, const char *path, struct error *out_error);

#endif
