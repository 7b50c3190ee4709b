/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The view of a run under way: on a terminal a line that is written over, else a line each window.
 * Its owner is the thread that runs the trial.
 */
#ifndef BENCH_LIVE_H
#define BENCH_LIVE_H

#include <stdint.h>
#include <stdio.h>

struct live {
    FILE *file; /* NULL: nothing is shown */
    int terminal;
    const char *workload;
    double load_percent, duration_s;
};

struct live_row {
    double at_s, rate, p50_us, p95_us, p99_us;
    uint64_t errors, backlog, sessions;
    double server_cpu; /* processors in use; below 0: not watched */
};

/* Begins; a heading where lines stay. */
void live_begin(struct live *live, FILE *file, const char *workload, double load_percent,
                double duration_s);

/* A phase before the measured time: "opening sessions", "warming up". */
void live_phase(struct live *live, const char *text);

/* A window has ended. */
void live_window(struct live *live, const struct live_row *row);

/* Over: the line on a terminal is cleared. */
void live_end(struct live *live);

#endif
