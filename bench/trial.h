/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One measured run: starts the generator threads, waits until their sessions are open, says when
 * the measured time begins, looks at the server once a window, and adds up what they counted.
 */
#ifndef BENCH_TRIAL_H
#define BENCH_TRIAL_H

#include "bench/process.h"
#include "bench/run_config.h"
#include "bench/tally.h"
#include "io/doc.h"

#include <signal.h>
#include <stdio.h>

struct trial_watch {
    pid_t pid; /* 0: none */
    bool tree;
    bool has_metrics;
    struct address metrics;
};

struct trial_server {
    double cpu_s; /* in the measured time */
    uint64_t private_before, private_after, rss_max;
    struct doc metrics_before, metrics_after; /* value NULL: none */
};

struct trial_sample {
    double cpu_s; /* of the window */
    uint64_t rss_octets;
};

struct trial {
    double load_percent, offered_rate; /* rate: on average; 0 in a closed loop */
    double seconds, window_s;          /* seconds: as measured, also when it ended early */
    unsigned window_count;             /* that have begun */
    struct tally tally;
    struct trial_server server;
    struct trial_sample *samples; /* by window */
    double generator_cpu_s;       /* of this process in the measured time */
    bool interrupted;
};

/* Set by a signal handler: the run ends, and what was measured is told. */
extern volatile sig_atomic_t trial_interrupted;

/* Runs at `load_percent` of the configured rate. `live` (or NULL) is where progress goes. On
 * success
 * the trial is to be freed by trial_deinit, which is harmless after a failure, too. */
MUST_CHECK enum status trial_run(const struct run_config *config, const struct trial_watch *watch,
                                 double load_percent, FILE *live, struct trial *out_trial,
                                 struct error *out_error);
void trial_deinit(struct trial *trial);

/* Milliseconds of a window: one second, or more when a run would have more than TALLY_WINDOWS_MAX,
 * or less when it would have fewer than eight. Divides the duration. */
uint32_t trial_window_ms(uint32_t duration_ms);

#endif
