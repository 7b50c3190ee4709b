/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/interval.h"

#include "bench/dice.h"

#include <math.h>
#include <stdlib.h>

static double mean(const double *values, size_t count)
{
    double sum = 0;
    for (size_t index = 0; index < count; index++) {
        sum += values[index];
    }
    return sum / (double)count;
}

/* The mean of one resample: blocks from anywhere, as many as make up the length. */
static double resampled_mean(const double *values, size_t count, struct dice *dice)
{
    size_t block = (size_t)ceil(cbrt((double)count)), taken = 0;
    double sum = 0;
    while (taken < count) {
        size_t from = (size_t)dice_below(dice, count - block + 1);
        for (size_t index = 0; index < block && taken < count; index++, taken++) {
            sum += values[from + index];
        }
    }
    return sum / (double)count;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

enum status interval_ratio(const double *a, size_t count_a, const double *b, size_t count_b,
                           struct interval *out_interval)
{
    if (count_a == 0 || count_b == 0 || !(fabs(mean(a, count_a)) > 0)) {
        return STATUS_INVALID;
    }
    struct interval interval = {.mean_a = mean(a, count_a),
                                .mean_b = mean(b, count_b),
                                .low = (double)NAN,
                                .high = (double)NAN};
    interval.ratio = interval.mean_b / interval.mean_a;
    if (count_a >= INTERVAL_VALUES_MIN && count_b >= INTERVAL_VALUES_MIN) {
        struct dice dice = {.state = 20260101};
        double *ratios = calloc(INTERVAL_RESAMPLES, sizeof ratios[0]);
        if (ratios == NULL) {
            return STATUS_NO_MEMORY;
        }
        for (size_t index = 0; index < INTERVAL_RESAMPLES; index++) {
            double under = resampled_mean(a, count_a, &dice);
            ratios[index] = resampled_mean(b, count_b, &dice) / (under > 0 ? under : HUGE_VAL);
        }
        qsort(ratios, INTERVAL_RESAMPLES, sizeof ratios[0], compare_doubles);
        interval.low = ratios[(size_t)(0.025 * INTERVAL_RESAMPLES)];
        interval.high = ratios[(size_t)(0.975 * INTERVAL_RESAMPLES)];
        free(ratios);
    }
    *out_interval = interval;
    return STATUS_OK;
}
