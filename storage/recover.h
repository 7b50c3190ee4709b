/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start-up: finds the end of the log and brings the index up to it. The tail is synced and read
 * from the disk first, so that nothing is shown that is only in the page cache. Normally only the
 * log after the position stored in the index is read; where the index cannot be used it is made
 * again from all of the log that is not retired, with the same numbers, sizes, order and
 * unique-ids.
 *
 * Damage in the middle of the log is gone round, counted and reported; it stops nothing. The steps
 * and what each answers are in storage/README.md.
 */
#ifndef STORAGE_RECOVER_H
#define STORAGE_RECOVER_H

#include "io/status.h"
#include "storage/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct volume;

struct recover_options {
    bool rebuild; /* even when the index could be used */
    /* Octets of log read and to be read; NULL is allowed. */
    void (*on_progress)(void *owner, uint64_t done, uint64_t total);
    void *owner;
};

/* What was found, and with it all that the writer must know. */
struct recovery {
    struct log_position tail;        /* where the writer goes on; offset 0: in a new segment */
    struct log_position predecessor; /* the valid end of the last segment; segment 0: none */
    uint32_t *unretired;             /* ascending, the tail included */
    uint32_t unretired_count;
    uint32_t next_segment;
    uint64_t next_sequence, next_group;
    uint64_t log_octets;  /* of all segments */
    uint64_t groups;      /* read in this recovery */
    uint64_t quarantined; /* damaged places */
    uint64_t lost_blobs;  /* orphans moved to lost+found/ */
    uint64_t kept; /* by a rebuild, of the index there was: messages whose records are damaged */
    bool rebuilt;
};

/* Opens volume->index (the caller closes it, also after a failure). Main thread, before anything
 * runs. */
MUST_CHECK enum status recover_run(struct volume *volume, const struct recover_options *options,
                                   struct recovery *out_recovery, struct error *out_error);
void recover_free(struct recovery *recovery);

#endif
