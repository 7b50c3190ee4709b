/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A check of a running volume in the background: one at a time, on a thread of its own, whose
 * findings are kept for whoever asks. Any thread may ask; a mutex inside.
 */
#ifndef STORAGE_CHECK_RUN_H
#define STORAGE_CHECK_RUN_H

#include "io/status.h"
#include "storage/check.h"

#include <stdbool.h>
#include <stddef.h>

struct volume;
struct check_run;

#define CHECK_RUN_FINDINGS_MAX 1000 /* kept; those above are only counted */

struct check_run_state {
    bool started, running; /* ever; now */
    enum status status;    /* of the last one that ended */
    struct error error;
    struct check_progress progress;
    struct check_result result;
    size_t findings; /* kept */
};

/* Starts no thread yet. STATUS_NO_MEMORY. */
MUST_CHECK enum status check_run_create(struct volume *volume, struct check_run **out_run);
/* Ends a check that runs. NULL inside is allowed; NULLs. */
void check_run_destroy(struct check_run **run);

/* Forgets the last one's findings. `rate` as in struct check_options. STATUS_BUSY: one is running;
 * STATUS_NO_MEMORY. */
MUST_CHECK enum status check_run_start(struct check_run *run, uint64_t rate);
/* Soon; harmless when none is running. */
void check_run_cancel(struct check_run *run);
void check_run_state(struct check_run *run, struct check_run_state *out_state);
/* Copies findings from number `first` on; returns how many, at most `count`. */
size_t check_run_findings(struct check_run *run, size_t first, struct damage *out, size_t count);

#endif
