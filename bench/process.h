/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another process uses, read from /proc: the processor time and memory of a server under load.
 * Any thread; each call reads a few files.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    /* Run time. Of one process: of all its threads that live, /proc/PID/task/TID/schedstat; take
     * differences over a time in which none ends. With descendants: user and system time of all of
     * them and of those they have waited for, to the clock tick (10 ms). */
    uint64_t cpu_ns;
    uint64_t rss_octets; /* resident memory, shared pages counted in each process */
};

/* STATUS_NOT_FOUND: no such process, or not allowed to look. `tree`: with its descendants. */
MUST_CHECK enum status process_usage_read(pid_t pid, bool tree, struct process_usage *out_usage);

/* Memory that is its own (and its descendants'): Private_Clean and Private_Dirty of smaps_rollup.
 * The
 * kernel walks all its pages for that: not for every second. */
MUST_CHECK enum status process_private_read(pid_t pid, bool tree, uint64_t *out_octets);

#endif
