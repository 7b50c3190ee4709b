/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unlinking: retired segments and blobs that nothing refers to, when no crash and no session can
 * want them any more. The rules are in storage/README.md, "Giving space back". Compaction's thread
 * only; blocking.
 */
#ifndef STORAGE_RECLAIM_H
#define STORAGE_RECLAIM_H

#include "io/post.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_reader;
struct volume;

/* An unlinked segment whose row stays: the newest manifest may list it. */
struct reclaim_gone {
    uint64_t segment;
    uint32_t after; /* a manifest of a segment above this one does not */
};

/* All zero but for the first three is a valid one. */
struct reclaim {
    struct volume *volume;
    struct index_reader *reader;
    struct post_box *box; /* the thread's: what arrives while it waits is run */
    uint64_t *waiting;    /* free blobs that a view may still fetch; ascending */
    size_t waiting_count;
    struct reclaim_gone *gone;
    size_t gone_count, gone_capacity;
    uint32_t reached;    /* what segments below this one say is retired has been unlinked */
    bool looked;         /* for blobs, ... */
    uint64_t freed_seen; /* ... when so many had become free */
    uint64_t segments, blobs, octets; /* unlinked so far, and how large they were */
};
void reclaim_deinit(struct reclaim *reclaim);

/*
 * Unlinks what may be unlinked now: every segment that the index knows as retired, and the blobs
 * that were found free before and that no view holds any more. The index forgets blobs at once, a
 * segment when the writer has begun another one, whose manifest does not list it.
 * STATUS_READ_ONLY: the checkpointer has stopped. Any other failure: nothing more may be unlinked
 * before the next start.
 */
MUST_CHECK enum status reclaim_run(struct reclaim *reclaim, struct error *out_error);

#endif
