/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer: one thread per volume, the only one that appends to the log. It takes all that is
 * queued, numbers it, writes it with one pwritev, makes it durable with one fdatasync, publishes it
 * to the delta, then answers everybody; the next group forms while the disk works. Nothing it has
 * answered with STATUS_OK can be lost.
 *
 * A failed sync is never repeated: the volume is read-only until restart, everything in the group
 * is answered STATUS_UNKNOWN and everything after it STATUS_READ_ONLY. A full disk answers
 * STATUS_NO_SPACE for the group; the sequences it used are spent.
 */
#ifndef STORAGE_WRITER_H
#define STORAGE_WRITER_H

#include "io/counter.h"
#include "io/post.h"
#include "io/status.h"
#include "storage/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct volume;
struct writer;

/* Where a record came to stand. */
struct log_position {
    uint32_t segment;
    uint64_t offset;   /* of the first octet that is not covered */
    uint64_t sequence; /* the last that is covered */
};

/*
 * One record to append, inside whatever asks for it; everything it points to stays alive and
 * unmoved until its answer. The writer fills sequence, segment, offset and the header's checksum.
 */
struct writer_item {
    struct post_message message; /* to the writer, then back to `reply_box` */
    struct post_box *reply_box;  /* the asking thread's; on_done runs there */
    void (*on_done)(struct writer_item *item);
    uint8_t kind;   /* enum record_kind */
    uint16_t flags; /* enum record_flag */
    const uint8_t *meta;
    uint32_t meta_length;
    const struct iovec *body; /* entries stay unchanged */
    unsigned body_count;
    uint64_t body_length;
    uint64_t body_checksum;
    bool uses_reserve;   /* may use the room kept free for expunge and compaction */
    bool recheck;        /* compaction: see storage/recheck.h; may be answered STATUS_AGAIN */
    uint64_t checked_to; /* with `recheck`: the position at which the index was asked */
    /* the answer */
    enum status status;
    uint64_t sequence;
    uint32_t segment;
    uint64_t record_offset;
    uint64_t body_offset;
};

struct writer_counters {
    struct histogram group_records; /* records a group */
    struct histogram group_octets;  /* octets a group */
    struct histogram sync_us;       /* microseconds of fdatasync */
    struct histogram group_us;      /* from taking the queue to the answers */
    struct counter groups, records, octets;
    struct counter failures;
};

struct writer_config {
    struct volume *volume;
    struct log_position tail; /* where recovery says to go on; offset 0: begin a new segment */
    struct log_position predecessor; /* the last segment's valid end, for the manifest of the next
                                      * one when tail.offset is 0; segment 0: there is none */
    const uint32_t *unretired; /* segments a rebuild must read, ascending, with the tail; copied */
    uint32_t unretired_count;
    uint32_t next_segment; /* id of the next segment to create */
    uint64_t next_sequence, next_group;
};

/* Starts the thread. The first segment is created when needed, off the hot path afterwards. */
MUST_CHECK enum status writer_start(const struct writer_config *config, struct writer **out_writer,
                                    struct error *out_error);

/* Finishes what is queued, then ends the thread. */
void writer_stop(struct writer **writer);

/*
 * Any thread. The answer comes to item->reply_box; of one thread's items those that are written are
 * answered in the order of submission. STATUS_OK, durable and shown; STATUS_NO_SPACE and
 * STATUS_READ_ONLY, not written; STATUS_UNKNOWN, a restart will tell; STATUS_INVALID, `meta` does
 * not decode; STATUS_NO_MEMORY, not written; STATUS_AGAIN, not written, because what was rechecked
 * may be true no more. Sequences are spent whatever the answer.
 */
void writer_submit(struct writer *writer, struct writer_item *item);

/* The same for several of one thread, in the order of the list that `message.next` makes of them:
 * for the price of one, and into one group where they fit. */
void writer_submit_all(struct writer *writer, struct writer_item *first);

/* Written by the writer, readable by any thread while it lives. */
const struct writer_counters *writer_counters(const struct writer *writer);
/* Whether a failure has ended all writing until restart. */
bool writer_read_only(const struct writer *writer); /* any thread */
/* The end of the published log; any thread. */
struct log_position writer_position(const struct writer *writer);

/* The segments a rebuild must read, ascending, for free(); any thread. STATUS_NO_MEMORY. */
MUST_CHECK enum status writer_unretired(struct writer *writer, uint32_t **out_segments,
                                        uint32_t *out_count);
uint32_t writer_unretired_count(struct writer *writer); /* any thread */

#endif
