/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When operations are to start in an open loop. Arrivals come one each unit of *operational time*
 * (constant) or with exponential gaps (Poisson); the shape says how fast that time passes: flat,
 * ramp or steps. So every combination is one inverse function, and arrivals never depend on
 * replies.
 *
 * A schedule is one thread's part: of `parts` threads each takes every parts-th constant arrival,
 * or draws its own Poisson process of a share of the rate (their sum is one of the whole).
 */
#ifndef BENCH_SCHEDULE_H
#define BENCH_SCHEDULE_H

#include "bench/dice.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCHEDULE_STEPS_MAX 32 /* rates of a step shape: as many as can be told apart in a plot */

struct schedule_shape {
    bool ramp; /* from rates[0] to rates[1]; else rate_count steps of equal length */
    unsigned rate_count;
    double rates[SCHEDULE_STEPS_MAX]; /* arrivals a second, over all threads */
};

struct schedule {
    struct schedule_shape shape;
    bool poisson;
    double length_s; /* of the whole shape; after it the last rate goes on */
    unsigned parts;
    struct dice dice;
    double operational; /* of the next arrival, in arrivals of all threads */
};

/* Reads "flat", "ramp:R2" or "step:R2,R3,..." for a first rate of `rate`. STATUS_INVALID. */
MUST_CHECK enum status schedule_parse_shape(const char *text, double rate,
                                            struct schedule_shape *out_shape);

/* The same shape at `factor` times its rates. */
void schedule_scale(struct schedule_shape *shape, double factor);

/* Part `part` of `parts`. */
void schedule_init(struct schedule *schedule, const struct schedule_shape *shape, bool poisson,
                   double length_s, unsigned part, unsigned parts, uint64_t seed);

/* Nanoseconds from the start at which the next arrival is due; never less than the one before. */
int64_t schedule_next_ns(struct schedule *schedule);

/* Arrivals of all threads in the first `seconds`, on average. */
double schedule_expected(const struct schedule_shape *shape, double length_s, double seconds);

#endif
