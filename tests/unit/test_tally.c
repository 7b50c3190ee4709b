/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/tally.h"

#include <criterion/criterion.h>
#include <string.h>

#define SECOND 1000000000ll

static void make(struct tally *tally)
{
    cr_assert_eq(tally_init(tally, 4), STATUS_OK);
    tally_set_time(tally, 10 * SECOND, SECOND);
}

Test(tally, counts_operations_that_were_to_begin_in_the_measured_time)
{
    struct tally tally;
    make(&tally);
    tally_operation(&tally, WORK_LOGIN, 9 * SECOND, 11 * SECOND);  /* due before */
    tally_operation(&tally, WORK_LOGIN, 10 * SECOND, 10 * SECOND); /* the first moment */
    tally_operation(&tally, WORK_LOGIN, 13 * SECOND, 20 * SECOND); /* ended long after */
    tally_operation(&tally, WORK_LOGIN, 14 * SECOND, 14 * SECOND); /* due after */
    cr_assert_eq(tally_operations(&tally), 2);
    cr_assert_eq(tally.latency[WORK_LOGIN].count, 2);
    cr_assert_eq(tally_in_time(&tally), 2, "in windows by their end");
    cr_assert_eq(tally.windows[1].operations, 1);
    tally_deinit(&tally);
}

Test(tally, an_operation_given_up_keeps_its_place_in_the_latencies)
{
    struct tally tally;
    make(&tally);
    tally_failure(&tally, WORK_RETR, BENCH_ERROR_TIMEOUT, 11 * SECOND, 12 * SECOND);
    tally_failure(&tally, WORK_RETR, BENCH_ERROR_CONTENT, 11 * SECOND, 12 * SECOND);
    cr_assert_eq(tally_failures(&tally), 2);
    cr_assert_eq(tally.latency[WORK_RETR].count, 1);
    cr_assert_eq(tally.errors[BENCH_ERROR_CONTENT], 1);
    cr_assert_eq(tally.windows[2].errors, 2);
    tally_deinit(&tally);
}

Test(tally, windows_are_done_when_their_time_has_passed)
{
    struct tally tally;
    make(&tally);
    tally_pass(&tally, 9 * SECOND, 5, 6);
    cr_assert_eq(atomic_load(&tally.windows_done), 0);
    tally_pass(&tally, 12 * SECOND, 5, 6);
    cr_assert_eq(atomic_load(&tally.windows_done), 2);
    cr_assert_eq(tally.windows[1].backlog, 5);
    cr_assert_eq(tally.windows[1].sessions, 6);
    tally_pass(&tally, INT64_MAX, 0, 0);
    cr_assert_eq(atomic_load(&tally.windows_done), 4);
    tally_deinit(&tally);
}

Test(tally, merging_adds_everything)
{
    struct tally one, two;
    make(&one);
    make(&two);
    tally_operation(&one, WORK_LOGIN, 10 * SECOND, 11 * SECOND);
    tally_operation(&two, WORK_LOGIN, 10 * SECOND, 11 * SECOND);
    tally_failure(&two, WORK_POLL, BENCH_ERROR_AUTH, 10 * SECOND, 11 * SECOND);
    tally_octets(&two, 5, 6, 11 * SECOND);
    tally_command(&two, COMMAND_STAT, 10 * SECOND, 11 * SECOND);
    strcpy(two.first_error, "auth: -ERR no");
    one.busy = 0.2;
    two.busy = 0.6;
    tally_merge(&one, &two);
    cr_assert_eq(tally_operations(&one), 2);
    cr_assert_eq(one.errors[BENCH_ERROR_AUTH], 1);
    cr_assert_eq(one.windows[1].operations, 2);
    cr_assert_eq(one.windows[1].octets_out, 6);
    cr_assert_eq(one.octets_in, 5);
    cr_assert_eq(one.command[COMMAND_STAT].count, 1);
    cr_assert_float_eq(one.busy, 0.6, 1e-9);
    cr_assert_str_eq(one.first_error, "auth: -ERR no");
    tally_deinit(&one);
    tally_deinit(&two);
}

Test(tally, all_errors_and_commands_have_names)
{
    for (unsigned error = 0; error < BENCH_ERROR_COUNT; error++) {
        cr_assert_not_null(bench_error_name((enum bench_error)error));
    }
    for (unsigned command = 0; command < COMMAND_COUNT; command++) {
        cr_assert_not_null(bench_command_name((enum bench_command)command));
    }
}
