/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How sure a difference is: the ratio of two means with its 95 % confidence interval, by a
 * moving-block bootstrap. Neighbouring windows of a run resemble each other, so that resampling
 * single windows would make intervals too narrow; blocks of about the cube root of their number
 * keep that likeness. Pure; the same input gives the same answer.
 */
#ifndef BENCH_INTERVAL_H
#define BENCH_INTERVAL_H

#include "io/status.h"

#include <stddef.h>

#define INTERVAL_VALUES_MIN 5    /* fewer windows than this prove nothing */
#define INTERVAL_RESAMPLES  2000 /* enough for the ends to be stable to a few per mille */

struct interval {
    double mean_a, mean_b, ratio; /* of b to a */
    double low, high;             /* of the ratio; NAN: too few values to say */
};

/* STATUS_INVALID: an empty side, or a mean of 0 on side a. STATUS_NO_MEMORY. */
MUST_CHECK enum status interval_ratio(const double *a, size_t count_a, const double *b,
                                      size_t count_b, struct interval *out_interval);

#endif
