/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpointer: one thread per volume, the only one that writes the index. It takes a prefix of
 * the log from the delta, applies it in key order, at most STORAGE_CHECKPOINT_EVENTS events a
 * transaction, together with the position reached, and only then lets the delta forget it. Woken by
 * time, by the number of events, or by octets of log.
 *
 * On a full disk it keeps what it has and tries again.
 * When a transaction fails otherwise it stops for good and makes the volume read-only: what LMDB
 * holds then is not known before the next start, which replays, or rebuilds.
 */
#ifndef STORAGE_CHECKPOINT_H
#define STORAGE_CHECKPOINT_H

#include "io/status.h"
#include "storage/index.h"

#include <stdbool.h>
#include <stdint.h>

struct volume;
struct checkpoint;

/* Starts the thread. Before the writer, because it has itself called by the delta. */
MUST_CHECK enum status checkpoint_start(struct volume *volume, struct checkpoint **out_checkpoint,
                                        struct error *out_error);

/* Applies what there is, marks the index as cleanly closed (unless it failed), ends the thread.
 * After the writer has been stopped. NULL inside is allowed; NULLs. */
void checkpoint_stop(struct checkpoint **checkpoint);

/* Applies everything published before the call and waits for it. Any thread but a worker.
 * STATUS_NO_SPACE: the disk is full, a later one may work;
 * STATUS_READ_ONLY: the checkpointer has stopped. */
MUST_CHECK enum status checkpoint_now(struct checkpoint *checkpoint);

/*
 * Like checkpoint_now, and then once more, so that whichever of its last two states LMDB comes back
 * with covers everything published before the call. In that last transaction the rows of `forget`
 * go. Compaction's thread only.
 */
MUST_CHECK enum status checkpoint_settle(struct checkpoint *checkpoint,
                                         const struct index_forget *forget);

/* Soon, without waiting. Any thread. */
void checkpoint_wake(struct checkpoint *checkpoint);

struct checkpoint_numbers {
    uint64_t count;           /* transactions */
    uint64_t us_sum;          /* microseconds of all of them */
    struct index_state state; /* as of the last */
};
void checkpoint_numbers(struct checkpoint *checkpoint, struct checkpoint_numbers *out_numbers);

/* The index has less room than a checkpoint may need: deliveries should be refused. Any thread. */
bool checkpoint_map_low(const struct checkpoint *checkpoint);

#endif
