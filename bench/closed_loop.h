/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A closed loop of clients on one thread and the project's own io layer: each sends its next step
 * when the reply to the last one is whole. It measures what a server can do for that many clients,
 * not how it behaves under a given rate; latency is from a step's sending, and labelled so.
 */
#ifndef BENCH_CLOSED_LOOP_H
#define BENCH_CLOSED_LOOP_H

#include "bench/script.h"
#include "io/address.h"
#include "io/status.h"

#include <stdint.h>
#include <sys/types.h>

struct closed_loop_config {
    struct address server;
    const char *workload;
    const char *user_format; /* with one %u: "demo%u" */
    const char *password;
    unsigned first_user, user_count; /* clients are dealt over them in turn */
    unsigned clients;
    uint32_t warmup_ms, run_ms;
    size_t message_octets;
    unsigned message_number;
    pid_t server_pid; /* 0: do not look at the server's processor time and memory */
};

struct closed_loop_result {
    uint64_t operations; /* cycles finished in the measured time */
    uint64_t failures;   /* replies that were not a success, and connections that failed */
    uint64_t octets;     /* received */
    double seconds;
    double server_cpu_us; /* per operation; 0 when not looked at */
    double client_cpu_us; /* of this generator, per operation: near the server's? then it is the
                             limit */
    double latency_us[3]; /* of a cycle: median, 99th, 99.9th percentile */
    uint64_t private_before, private_after; /* octets of the server's memory: idle */
    unsigned sessions;                      /* open at the end */
};

MUST_CHECK enum status closed_loop_run(const struct closed_loop_config *config,
                                       struct closed_loop_result *out_result,
                                       struct error *out_error);

#endif
