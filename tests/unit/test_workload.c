/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/workload.h"

#include "bench/distribution.h"

#include <criterion/criterion.h>
#include <string.h>

Test(workload, each_is_found_by_its_name_and_draws_by_its_weights)
{
    for (size_t index = 0; workload_at(index) != NULL; index++) {
        const struct workload *workload = workload_at(index);
        unsigned drawn[WORK_KIND_COUNT] = {0};
        struct dice dice = {.state = 5};
        double total = 0;
        cr_assert_eq(workload_find(workload->name), workload);
        for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
            total += workload->weights[kind];
        }
        for (unsigned times = 0; times < 20000; times++) {
            drawn[workload_draw(workload, &dice)]++;
        }
        for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
            cr_assert_float_eq(drawn[kind] / 20000.0, workload->weights[kind] / total, 0.02, "%s",
                               workload->name);
        }
    }
    cr_assert_null(workload_find("nothing"));
}

Test(workload, every_mix_says_where_it_is_published_and_has_sizes)
{
    for (size_t index = 0; workload_at(index) != NULL; index++) {
        const struct workload *workload = workload_at(index);
        struct distribution sizes;
        if (workload_uses_lmtp(workload) && workload_uses_pop3(workload)) {
            cr_assert_not_null(workload->source, "%s", workload->name);
            cr_assert_gt(workload->rate_per_user, 0);
            cr_assert_eq(workload_staying(workload), WORK_KIND_COUNT, "%s", workload->name);
        }
        if (workload_uses_lmtp(workload)) {
            cr_assert_eq(distribution_parse(workload->sizes, &sizes), STATUS_OK);
        }
    }
}

Test(workload, the_white_papers_figures_are_those_of_100000_users)
{
    const struct workload *workload = workload_find("specmail2001-like");
    cr_assert_float_eq(workload->rate_per_user * 100000, 8.33 + 4.17 + 12.5, 0.01);
    cr_assert_eq(workload->load_count, 3);
    cr_assert_eq(workload->loads[0], 80);
    cr_assert_eq(workload->loads[2], 120);
    cr_assert_float_eq(workload->qos_ms, 5000, 1e-9);
    cr_assert_float_eq(workload->qos_delivery_ms, 60000, 1e-9);
}

Test(workload, sessions_that_stay_are_known)
{
    cr_assert_eq(workload_staying(workload_find("retr")), WORK_RETR);
    cr_assert_eq(workload_staying(workload_find("idle")), WORK_IDLE);
    cr_assert_eq(workload_staying(workload_find("login")), WORK_KIND_COUNT);
    cr_assert_eq(workload_staying(workload_find("deliver")), WORK_KIND_COUNT);
}
