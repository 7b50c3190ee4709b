/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving space back: one thread per volume that looks now and then for segments of which little is
 * needed, copies that to the log's end, retires them and unlinks them, and that unlinks blobs
 * nothing refers to. The rules, and the crashes they are made for, are in storage/README.md.
 *
 * Copying is held to `compact_rate` octets a second, unless the log has grown beyond its bound or
 * the disk is low. A failure that is not the disk's being full ends it until the next start, with
 * one line in the log; nothing else suffers.
 */
#ifndef STORAGE_COMPACT_H
#define STORAGE_COMPACT_H

#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct volume;
struct compact;

/* Starts the thread, after writer and checkpointer. */
MUST_CHECK enum status compact_start(struct volume *volume, struct compact **out_compact,
                                     struct error *out_error);
/* Ends it, in the middle of a segment if need be. Before writer and checkpointer. NULL inside is
 * allowed; NULLs. */
void compact_stop(struct compact **compact);

/*
 * Looks now, at full speed, and waits for the end of it. `all`: every closed segment is copied and
 * retired, however full. Any thread but a worker. STATUS_OK: there is nothing left to do that could
 * be done now; STATUS_NO_SPACE: the disk is too full; STATUS_AGAIN: too much changed meanwhile;
 * STATUS_READ_ONLY: it has ended, with the volume or by a failure.
 */
MUST_CHECK enum status compact_now(struct compact *compact, bool all);

/*
 * From compact_hold to compact_let_go no segment is begun: none is copied, retired or unlinked any
 * more as soon as compact_is_still says so, which takes as long as one segment. For a short time
 * only, because no space comes back meanwhile. Any thread, also several at once; before
 * compact_stop.
 */
void compact_hold(struct compact *compact);
bool compact_is_still(struct compact *compact);
void compact_let_go(struct compact *compact);

struct compact_numbers {
    uint64_t log_octets;     /* of all unretired segments, at the last look or at the start ... */
    uint64_t written_octets; /* ... when the writer had written so many */
    uint64_t needed_octets;  /* of them, by estimate */
    uint64_t looks;
    uint64_t copied_octets, copied_records;
    uint64_t segments, blobs; /* unlinked */
    uint64_t reclaimed_octets;
    uint64_t waiting_blobs; /* free, but a session may fetch them */
    uint64_t left;          /* segments that cannot be compacted: damaged, or newer */
    int64_t last_ms;        /* when something was last unlinked, UNIX time; 0: never */
    bool stopped;           /* by a failure */
};
/* Any thread. */
void compact_numbers(struct compact *compact, struct compact_numbers *out_numbers);

#endif
