/* SPDX-License-Identifier: Apache-2.0 */
/* What another process uses, read from /proc: the processor time and memory of a server under load.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include "io/status.h"

#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    uint64_t cpu_ns; /* run time of all its threads, /proc/PID/task/TID/schedstat */
    uint64_t
        private_bytes; /* memory that is its own: Private_Clean + Private_Dirty of smaps_rollup */
};

/* STATUS_NOT_FOUND: no such process, or not allowed to look. Threads that have ended are not
 * counted: take differences over a time in which none ends. */
MUST_CHECK enum status process_usage_read(pid_t pid, struct process_usage *out_usage);

#endif
