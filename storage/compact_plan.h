/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a segment and what of it is still needed: a walk over all its records, and the exact
 * octets that must be copied before it can be retired. Compaction's thread only; blocking.
 */
#ifndef STORAGE_COMPACT_PLAN_H
#define STORAGE_COMPACT_PLAN_H

#include "io/status.h"
#include "storage/record.h"
#include "storage/scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_reader;
struct volume;

/* --- a walk --- */

/* A closed segment being read record by record. */
struct compact_walk {
    struct scan scan;                    /* its `end` is that of the log in this file */
    struct record_manifest manifest;     /* without its list */
    uint64_t offset, group_end;          /* of the next record; behind its group */
    uint64_t last_number, last_sequence; /* of the groups so far */
    uint32_t records_left;               /* in the group */
};

/* STATUS_CORRUPT: the manifest is damaged; STATUS_IO, STATUS_NO_MEMORY, STATUS_NOT_FOUND. */
MUST_CHECK enum status compact_walk_open(struct volume *volume, uint32_t segment,
                                         struct compact_walk *out_walk, struct error *out_error);
void compact_walk_close(struct compact_walk *walk);
/* The next record, with its meta until the next call; no body is read. STATUS_EOF behind the last;
 * STATUS_CORRUPT: part of the segment is damaged. */
MUST_CHECK enum status compact_walk_next(struct compact_walk *walk,
                                         struct record_header *out_header, const uint8_t **out_meta,
                                         struct error *out_error);

/* --- who still needs a message --- */

struct compact_look {
    struct volume *volume;
    struct index_reader *reader;
    uint64_t position;                   /* of the snapshot that is open */
    struct record_recipient *recipients; /* room, kept */
    size_t capacity;
};
void compact_look_deinit(struct compact_look *look);

/*
 * Of a message's recipients those whose entry is this very record, into `look->recipients` (whose
 * octets point into `meta`), how many, and the message. Inside a snapshot of `look->reader`.
 * STATUS_NO_MEMORY, STATUS_CORRUPT.
 */
MUST_CHECK enum status compact_recipients(struct compact_look *look,
                                          const struct record_header *header, const uint8_t *meta,
                                          struct record_delivered *out_message,
                                          uint32_t *out_count);

/* --- the plan --- */

struct compact_plan {
    uint32_t segment;
    uint64_t size;           /* octets of the file */
    uint64_t messages;       /* records that must be copied */
    uint64_t message_octets; /* they take that many, copied */
    uint64_t expunge_octets; /* expunges that must be copied, at most */
    uint64_t other_octets;   /* names, removals, at most */
    uint64_t expunge_floor;  /* uids up to it may be listed by an older segment */
    uint64_t last_sequence;  /* in this segment */
    uint32_t waits_for;      /* the predecessor, which must go first; 0: none */
};

/* All of what must be copied. */
uint64_t compact_plan_needed(const struct compact_plan *plan);

/*
 * Walks `segment`, which the index covers. `older`: the nearest unretired segment before it, 0:
 * none. `pace` is told octets read, and may wait; false ends the walk with STATUS_CANCELLED.
 * STATUS_CORRUPT, STATUS_IO, STATUS_UNSUPPORTED: damaged, or newer, and not to be touched.
 */
struct compact_pacer {
    bool (*pace)(void *owner, uint64_t octets);
    void *owner;
};
MUST_CHECK enum status compact_plan_make(struct compact_look *look, uint32_t segment,
                                         uint32_t older, const struct compact_pacer *pacer,
                                         struct compact_plan *out_plan, struct error *out_error);

#endif
