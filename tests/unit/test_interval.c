/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/interval.h"

#include "bench/dice.h"

#include <criterion/criterion.h>
#include <math.h>

static void fill(double *values, size_t count, double mean, double spread, uint64_t seed)
{
    struct dice dice = {.state = seed};
    for (size_t index = 0; index < count; index++) {
        values[index] = mean + spread * dice_normal(&dice);
    }
}

Test(interval, holds_one_where_there_is_no_difference_nearly_always)
{
    double a[60], b[60];
    unsigned held = 0;
    for (uint64_t round = 0; round < 100; round++) {
        struct interval interval;
        fill(a, 60, 100, 10, 2 * round);
        fill(b, 60, 100, 10, 2 * round + 1);
        cr_assert_eq(interval_ratio(a, 60, b, 60, &interval), STATUS_OK);
        held += interval.low <= 1 && interval.high >= 1;
    }
    cr_assert_geq(held, 85, "%u of 100", held);
}

Test(interval, shows_a_difference_that_is_there)
{
    double a[60], b[60];
    struct interval interval;
    fill(a, 60, 100, 10, 1);
    fill(b, 60, 120, 10, 2);
    cr_assert_eq(interval_ratio(a, 60, b, 60, &interval), STATUS_OK);
    cr_assert_gt(interval.low, 1.1);
    cr_assert_lt(interval.high, 1.3);
    cr_assert_float_eq(interval.ratio, 1.2, 0.05);
}

Test(interval, of_too_few_values_says_nothing)
{
    const double a[] = {1, 2, 3}, b[] = {2, 4, 6}, nothing[] = {0, 0, 0};
    struct interval interval;
    cr_assert_eq(interval_ratio(a, 3, b, 3, &interval), STATUS_OK);
    cr_assert_float_eq(interval.ratio, 2, 1e-9);
    cr_assert(isnan(interval.low));
    cr_assert_eq(interval_ratio(a, 0, b, 3, &interval), STATUS_INVALID);
    cr_assert_eq(interval_ratio(nothing, 3, b, 3, &interval), STATUS_INVALID);
}

Test(interval, likeness_of_neighbours_makes_it_wider)
{
    double calm[64], waves[64];
    struct interval of_calm, of_waves;
    fill(calm, 64, 100, 10, 1);
    for (size_t index = 0; index < 64; index++) {
        waves[index] =
            100 + (index / 16 % 2 == 0 ? 14.1 : -14.1); /* the same variance, in blocks */
    }
    cr_assert_eq(interval_ratio(calm, 64, calm, 64, &of_calm), STATUS_OK);
    cr_assert_eq(interval_ratio(waves, 64, waves, 64, &of_waves), STATUS_OK);
    cr_assert_gt(of_waves.high - of_waves.low, 1.5 * (of_calm.high - of_calm.low));
}
