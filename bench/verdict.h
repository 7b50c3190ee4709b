/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run proves. First, whether the generator itself was what limited it: then latencies and
 * rates say something about the generator, and no verdict on them is given. Then thresholds
 * (--fail-if) and the profile's quality of service. Pure.
 */
#ifndef BENCH_VERDICT_H
#define BENCH_VERDICT_H

#include "bench/trial.h"
#include "bench/workload.h"
#include "io/status.h"

#include <stdbool.h>

enum verdict_result { VERDICT_NONE, VERDICT_PASS, VERDICT_FAIL, VERDICT_REFUSED };

#define VERDICT_REASONS_MAX 24
#define VERDICT_REASON_ROOM 160
#define VERDICT_BUSY_MAX    0.90 /* share of the measured time a thread may run or wait to run */
#define VERDICT_LAG_MIN_US  1000 /* lateness below this is never held against a run */
#define VERDICT_LAG_SHARE   0.5  /* of the latency's 99th percentile that lateness may make up */

/* A condition under which a run has failed, such as "p99>5ms", "retr:p50>=800us", "errors>0",
 * "errors.content>0", "error_rate>0.1%", "rate<1000", "cpu>30us". */
struct verdict_threshold {
    char text[64];
    char metric[32];
    int kind;   /* enum work_kind; -1: all */
    bool below; /* fails when the value is below the limit; else above */
    bool inclusive, is_time;
    double limit;     /* microseconds, operations a second, errors, or percent */
    bool performance; /* depends on time: refused when the generator was the bottleneck */
};

struct verdict {
    enum verdict_result result;
    bool bottleneck;
    unsigned reason_count, bottleneck_count;
    char reasons[VERDICT_REASONS_MAX][VERDICT_REASON_ROOM];
    char bottlenecks[4][VERDICT_REASON_ROOM];
};

/* STATUS_INVALID: not a condition. */
MUST_CHECK enum status verdict_parse(const char *text, struct verdict_threshold *out_threshold);

/* "none", "pass", "fail", "refused". */
const char *verdict_name(enum verdict_result result);

/* Judges one run. */
void verdict_judge(const struct run_config *config, const struct trial *trial,
                   const struct verdict_threshold *thresholds, unsigned threshold_count,
                   struct verdict *out_verdict);

/* Of several: fail before refused before pass before none. */
enum verdict_result verdict_worse(enum verdict_result a, enum verdict_result b);

#endif
