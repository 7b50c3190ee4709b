/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/schedule.h"

#include <criterion/criterion.h>

/* Arrivals of one part in the first `seconds`. */
static double count(struct schedule *schedule, double seconds)
{
    unsigned arrivals = 0;
    int64_t before = 0;
    for (;;) {
        int64_t at = schedule_next_ns(schedule);
        cr_assert_geq(at, before, "time does not run back");
        before = at;
        if ((double)at >= seconds * 1e9) {
            return arrivals; /* told as a double, to be held against one */
        }
        arrivals++;
    }
}

Test(schedule, constant_arrivals_of_all_parts_are_evenly_spaced)
{
    struct schedule_shape shape;
    struct schedule parts[3];
    int64_t times[30];
    cr_assert_eq(schedule_parse_shape("flat", 1000, &shape), STATUS_OK);
    for (unsigned part = 0; part < 3; part++) {
        schedule_init(&parts[part], &shape, false, 10, part, 3, 1);
    }
    for (unsigned arrival = 0; arrival < 30; arrival++) {
        times[arrival] = schedule_next_ns(&parts[arrival % 3]);
        cr_assert_float_eq((double)times[arrival], arrival * 1e6, 1);
    }
}

Test(schedule, poisson_arrivals_have_the_rate_and_the_spread)
{
    struct schedule_shape shape;
    struct schedule schedule;
    double total = 0, squares = 0;
    cr_assert_eq(schedule_parse_shape("flat", 500, &shape), STATUS_OK);
    schedule_init(&schedule, &shape, true, 100, 1, 2, 42);
    int64_t before = 0;
    enum { COUNT = 20000 };
    for (unsigned index = 0; index < COUNT; index++) {
        int64_t at = schedule_next_ns(&schedule);
        double gap = (double)(at - before) / 1e9;
        before = at;
        total += gap;
        squares += gap * gap;
    }
    double mean = total / COUNT;
    cr_assert_float_eq(mean, 1 / 250.0, 1e-4, "half of the rate is this part's");
    /* Of an exponential distribution the deviation is the mean. */
    cr_assert_float_eq(sqrt(squares / COUNT - mean * mean), mean, 2e-4);
}

Test(schedule, a_ramp_brings_what_lies_under_it)
{
    struct schedule_shape shape;
    struct schedule schedule;
    cr_assert_eq(schedule_parse_shape("ramp:300", 100, &shape), STATUS_OK);
    schedule_init(&schedule, &shape, false, 10, 0, 1, 1);
    cr_assert_float_eq(schedule_expected(&shape, 10, 10), 2000, 1e-6);
    cr_assert_float_eq(schedule_expected(&shape, 10, 5), 750, 1e-6);
    double arrivals = count(&schedule, 5);
    cr_assert_float_eq(arrivals, 750, 1);
    schedule_init(&schedule, &shape, false, 10, 0, 1, 1);
    arrivals = count(&schedule, 10);
    cr_assert_float_eq(arrivals, 2000, 1);
}

Test(schedule, a_ramp_may_fall_and_end_flat)
{
    struct schedule_shape shape;
    struct schedule schedule;
    cr_assert_eq(schedule_parse_shape("ramp:100", 300, &shape), STATUS_OK);
    schedule_init(&schedule, &shape, false, 10, 0, 1, 1);
    double arrivals = count(&schedule, 12);
    cr_assert_float_eq(arrivals, 2200, 2, "after it the last rate goes on");
}

Test(schedule, steps_follow_each_other)
{
    struct schedule_shape shape;
    struct schedule schedule;
    cr_assert_eq(schedule_parse_shape("step:200,50", 100, &shape), STATUS_OK);
    cr_assert_eq(shape.rate_count, 3);
    cr_assert_float_eq(schedule_expected(&shape, 9, 4.5), 300 + 300, 1e-6);
    schedule_init(&schedule, &shape, false, 9, 0, 1, 1);
    double arrivals = count(&schedule, 3);
    cr_assert_float_eq(arrivals, 300, 1);
    arrivals = count(&schedule, 6);
    cr_assert_float_eq(arrivals, 599, 1);
    schedule_scale(&shape, 2);
    cr_assert_float_eq(schedule_expected(&shape, 9, 9), 2 * 1050, 1e-6);
}

Test(schedule, refuses_what_is_no_shape)
{
    static const char *const bad[] = {"",      "ramp",     "ramp:",    "ramp:x", "ramp:1,2",
                                      "step:", "step:1,",  "step:,1",  "step:0", "step:-5",
                                      "flat ", "ramp:nan", "step:1;2", "spike:3"};
    struct schedule_shape shape;
    for (size_t index = 0; index < sizeof bad / sizeof bad[0]; index++) {
        cr_assert_eq(schedule_parse_shape(bad[index], 1, &shape), STATUS_INVALID, "%s", bad[index]);
    }
}
