/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/distribution.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { DRAWS = 40000 };

/* The share of drawn sizes from `from` to `to`. */
static double share_between(const char *text, uint64_t from, uint64_t to)
{
    struct distribution distribution;
    struct dice dice = {.state = 3};
    unsigned inside = 0;
    cr_assert_eq(distribution_parse(text, &distribution), STATUS_OK, "%s", text);
    for (unsigned index = 0; index < DRAWS; index++) {
        uint64_t size = distribution_draw(&distribution, &dice);
        inside += size >= from && size <= to;
    }
    return (double)inside / DRAWS;
}

Test(distribution, a_fixed_size_is_that_size)
{
    cr_assert_eq(share_between("4096", 4096, 4096), 1);
    cr_assert_eq(share_between("fixed:4k", 4096, 4096), 1);
    cr_assert_eq(share_between("1m", 1 << 20, 1 << 20), 1);
}

Test(distribution, a_uniform_one_reaches_both_ends_and_no_further)
{
    cr_assert_eq(share_between("uniform:10-13", 10, 13), 1);
    cr_assert_float_eq(share_between("uniform:10-13", 10, 10), 0.25, 0.02);
    cr_assert_float_eq(share_between("uniform:10-13", 13, 13), 0.25, 0.02);
}

Test(distribution, half_of_a_lognormal_one_is_below_its_median)
{
    cr_assert_float_eq(share_between("lognormal:8k,1.5", 0, 8192), 0.5, 0.02);
    /* One deviation above it lie 84.1 %. */
    cr_assert_float_eq(share_between("lognormal:1000,0.5", 0, (uint64_t)(1000 * exp(0.5))), 0.841,
                       0.02);
}

Test(distribution, suns_profiles_are_as_published)
{
    cr_assert_float_eq(share_between("sun-light-pop", 0, 5 * 1024), 0.80, 0.01);
    cr_assert_float_eq(share_between("sun-light-pop", 10 * 1024, UINT64_MAX), 0.20, 0.01);
    cr_assert_float_eq(share_between("sun-heavy-pop", 0, 5 * 1024), 0.65, 0.01);
    cr_assert_float_eq(share_between("sun-heavy-pop", 1024 * 1024, UINT64_MAX), 0.05, 0.01);
}

Test(distribution, every_name_in_the_list_is_known_and_its_mean_is_what_is_drawn)
{
    char names[256], *rest = NULL;
    strcpy(names, distribution_names);
    for (char *name = strtok_r(names, " ", &rest); name != NULL;
         name = strtok_r(NULL, " ", &rest)) {
        struct distribution distribution;
        struct dice dice = {.state = 11};
        double sum = 0;
        cr_assert_eq(distribution_parse(name, &distribution), STATUS_OK, "%s", name);
        for (unsigned index = 0; index < DRAWS; index++) {
            sum += (double)distribution_draw(&distribution, &dice);
        }
        double mean = distribution_mean(&distribution);
        cr_assert_float_eq(sum / DRAWS, mean, mean * 0.1, "%s", name);
    }
}

Test(distribution, refuses_what_is_none)
{
    static const char *const bad[] = {"",
                                      "0",
                                      "x",
                                      "4k ",
                                      "4g",
                                      "uniform:5",
                                      "uniform:5-",
                                      "uniform:9-5",
                                      "lognormal:5",
                                      "lognormal:5,0",
                                      "lognormal:0,1",
                                      "fixed:-1",
                                      "999999999999",
                                      "lognormal:5,9"};
    struct distribution distribution;
    for (size_t index = 0; index < sizeof bad / sizeof bad[0]; index++) {
        cr_assert_eq(distribution_parse(bad[index], &distribution), STATUS_INVALID, "%s",
                     bad[index]);
    }
}
