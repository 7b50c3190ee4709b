/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in which maildrop and where its bytes are: the index, in LMDB. It follows the log and can
 * be made again from it; so it may be thrown away at any doubt. Key layouts are in
 * storage/README.md.
 *
 * One thread applies (the checkpointer, or recovery before it); any number of readers look, each
 * with a struct index_reader of its own, which belongs to one thread. A reader's snapshot begins
 * and ends inside one function of the caller's.
 */
#ifndef STORAGE_INDEX_H
#define STORAGE_INDEX_H

#include "io/status.h"
#include "storage/delta.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index;
struct kv_numbers;

#define INDEX_VERSION 2 /* another one: rebuild */

struct index_config {
    const char *path;         /* an existing directory, empty for a new index */
    uint64_t map_size;        /* octets */
    const uint8_t *volume_id; /* 16 octets: an index of another volume is refused */
    uint64_t check_max;       /* octets up to which it is checked whole; 0: default (256 MiB) */
    bool scratch;             /* thrown away when it is closed: nothing is synced */
};

/* STATUS_CORRUPT or STATUS_UNSUPPORTED: damaged, of another volume or version: rebuild it. */
MUST_CHECK enum status index_open(const struct index_config *config, struct index **out_index,
                                  struct error *out_error);
/* Readers must be gone. NULLs. */
void index_close(struct index **index);

/* What a snapshot covers. */
struct index_state {
    struct log_position position; /* where a replay goes on; all zero: from the beginning */
    bool stored;                  /* false: a new index, that has never been applied to */
    uint64_t next_sequence; /* none above or at it has been given out when the volume was started */
    bool clean;             /* the last apply was that of an orderly end */
    uint64_t maildrops, messages, octets;
};

/* --- applying: one thread --- */

enum index_apply_flag {
    INDEX_APPLY_CLEAN = 1u << 0,   /* an orderly end: nothing follows until the next start */
    INDEX_APPLY_REBUILD = 1u << 1, /* segments are read from the first on, compacted or not: a moved
                                    * message may be new, an expunge may come before its message */
};

/*
 * Applies events, ordered as delta_take gives them, together with the position they lead to, in one
 * durable transaction. Events that have been applied before change nothing. STATUS_NO_SPACE,
 * STATUS_CORRUPT, STATUS_IO, ...: nothing of it counts, and the index must not be
 * applied to again, unless it was
 * for a full disk.
 */
MUST_CHECK enum status index_apply(struct index *index, const struct delta_event *const *events,
                                   size_t count, const struct log_position *position,
                                   unsigned flags);

/* Files that are gone: their rows go too, in a transaction of its own, which is made also when
 * there is none to remove. Rows that have references, and unretired segments', stay. */
struct index_forget {
    const uint64_t *segments, *blobs; /* ids */
    size_t segment_count, blob_count;
};
MUST_CHECK enum status index_forget(struct index *index, const struct index_forget *forget);

/* From the next apply on the state says so; see index_state. */
void index_set_next_sequence(struct index *index, uint64_t next_sequence);

/* The end of a rebuild: what it kept of expunges that were met before their messages can go. */
MUST_CHECK enum status index_finish_rebuild(struct index *index);

/* Clears the slots of readers whose process died; when that fails, they are left for the next time.
 */
void index_check_readers(struct index *index);
void index_numbers(struct index *index, struct kv_numbers *out_numbers); /* any thread */

/* --- reading --- */

struct index_reader;

/* STATUS_NO_MEMORY. */
MUST_CHECK enum status index_reader_create(struct index *index, struct index_reader **out_reader);
/* Outside of a snapshot. NULL inside is allowed; NULLs. */
void index_reader_destroy(struct index_reader **reader);

/* Takes a snapshot, ended by index_end. */
MUST_CHECK enum status index_begin(struct index_reader *reader, struct index_state *out_state);
void index_end(struct index_reader *reader);

struct index_drop {
    uint64_t messages, octets;
    char name[STORAGE_DROP_NAME_MAX + 1]; /* "" when no record of its creation has been seen */
};
/* STATUS_NOT_FOUND: never heard of, or removed. `out_removed` (NULL allowed) says which. */
MUST_CHECK enum status index_drop(struct index_reader *reader, uint64_t maildrop,
                                  struct index_drop *out_drop, bool *out_removed);

/* The messages of a maildrop, ascending by uid. STATUS_EOF behind the last; STATUS_CORRUPT. */
MUST_CHECK enum status index_first(struct index_reader *reader, uint64_t maildrop,
                                   struct message_entry *out_entry);
MUST_CHECK enum status index_next(struct index_reader *reader, struct message_entry *out_entry);
/* The same from the first uid that is not below `uid`. */
MUST_CHECK enum status index_from(struct index_reader *reader, uint64_t maildrop, uint64_t uid,
                                  struct message_entry *out_entry);

/* One message. STATUS_NOT_FOUND. */
MUST_CHECK enum status index_message(struct index_reader *reader, uint64_t maildrop, uint64_t uid,
                                     struct message_entry *out_entry);
/* The message of a maildrop with an imported unique-id. STATUS_NOT_FOUND. */
MUST_CHECK enum status index_uidl(struct index_reader *reader, uint64_t maildrop, const char *uidl,
                                  size_t length, uint64_t *out_uid);

/* How many messages, once for each recipient, need a segment or a blob. */
struct index_file {
    uint64_t references;
    uint64_t octets; /* of their wire forms: a hint */
    bool retired;    /* segments: a retired record is in the log */
};
MUST_CHECK enum status index_segment(struct index_reader *reader, uint32_t segment,
                                     struct index_file *out_file);
MUST_CHECK enum status index_blob(struct index_reader *reader, uint64_t blob,
                                  struct index_file *out_file);

/* The ids of all removed maildrops, and of all retired segments, ascending, for start-up: freed by
 * the caller with free(). NULL when there are none. */
MUST_CHECK enum status index_removed_drops(struct index_reader *reader, uint64_t **out_ids,
                                           size_t *out_count);
MUST_CHECK enum status index_retired_segments(struct index_reader *reader, uint64_t **out_ids,
                                              size_t *out_count);
/* The ids of blobs that nothing refers to any more, likewise. */
MUST_CHECK enum status index_free_blobs(struct index_reader *reader, uint64_t **out_ids,
                                        size_t *out_count);
/* How many blobs have lost their last reference since the index was opened; any thread. Those that
 * it counts are free in every snapshot that is begun afterwards. */
uint64_t index_freed_blobs(const struct index *index);
/* Up to `count` maildrop ids above `after`, ascending: for walks over everything. */
MUST_CHECK enum status index_drops(struct index_reader *reader, uint64_t after, uint64_t *out_ids,
                                   size_t count, size_t *out_count);

#endif
