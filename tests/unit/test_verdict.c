/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/verdict.h"

#include <criterion/criterion.h>
#include <string.h>

/* A run of 1000 logins of 1 to 1000 microseconds each, and one that was refused. */
static void make(struct trial *trial, struct run_config *config)
{
    *trial = (struct trial){.seconds = 2, .load_percent = 100};
    *config = (struct run_config){.workload = workload_find("login")};
    cr_assert_eq(tally_init(&trial->tally, 8), STATUS_OK);
    tally_set_time(&trial->tally, 1000, 1000000000);
    for (int64_t us = 1; us <= 1000; us++) {
        tally_operation(&trial->tally, WORK_LOGIN, 5000, 5000 + us * 1000);
    }
    tally_failure(&trial->tally, WORK_LOGIN, BENCH_ERROR_IN_USE, 5000, 6000);
}

static enum verdict_result judge(const struct trial *trial, const struct run_config *config,
                                 const char *condition, struct verdict *out_verdict)
{
    struct verdict_threshold threshold;
    cr_assert_eq(verdict_parse(condition, &threshold), STATUS_OK, "%s", condition);
    verdict_judge(config, trial, &threshold, 1, out_verdict);
    return out_verdict->result;
}

Test(verdict, each_condition_is_held_against_its_figure)
{
    static const struct {
        const char *condition;
        enum verdict_result result;
    } cases[] = {{"p99>1ms", VERDICT_PASS},          {"p99>980us", VERDICT_FAIL},
                 {"max>=1ms", VERDICT_FAIL},         {"max>1ms", VERDICT_PASS},
                 {"mean<0.4ms", VERDICT_PASS},       {"mean<0.6ms", VERDICT_FAIL},
                 {"login:p50>400us", VERDICT_FAIL},  {"poll:p50>1us", VERDICT_PASS},
                 {"errors>0", VERDICT_FAIL},         {"errors>1", VERDICT_PASS},
                 {"errors.in_use>=1", VERDICT_FAIL}, {"errors.content>0", VERDICT_PASS},
                 {"error_rate>1%", VERDICT_PASS},    {"error_rate>0.05%", VERDICT_FAIL},
                 {"rate<499", VERDICT_PASS},         {"rate<501/s", VERDICT_FAIL},
                 {"p99.9>1s", VERDICT_PASS},         {"unmarked>0", VERDICT_PASS}};
    struct trial trial;
    struct run_config config;
    struct verdict verdict;
    make(&trial, &config);
    for (size_t index = 0; index < sizeof cases / sizeof cases[0]; index++) {
        cr_assert_eq(judge(&trial, &config, cases[index].condition, &verdict), cases[index].result,
                     "%s", cases[index].condition);
        cr_assert_eq(verdict.reason_count, cases[index].result == VERDICT_FAIL);
    }
    verdict_judge(&config, &trial, NULL, 0, &verdict);
    cr_assert_eq(verdict.result, VERDICT_NONE);
    tally_deinit(&trial.tally);
}

Test(verdict, on_time_is_refused_where_the_generator_was_the_bottleneck)
{
    struct trial trial;
    struct run_config config;
    struct verdict verdict;
    make(&trial, &config);
    trial.tally.busy = 0.97;
    cr_assert_eq(judge(&trial, &config, "p99>1s", &verdict), VERDICT_REFUSED);
    cr_assert_eq(judge(&trial, &config, "p99>1us", &verdict), VERDICT_REFUSED,
                 "not even a failure");
    cr_assert(verdict.bottleneck);
    cr_assert_eq(judge(&trial, &config, "errors>5", &verdict), VERDICT_PASS,
                 "errors are errors, however slow");
    cr_assert_eq(judge(&trial, &config, "errors>0", &verdict), VERDICT_FAIL);
    tally_deinit(&trial.tally);
}

Test(verdict, lateness_counts_when_it_is_most_of_the_latency)
{
    struct trial trial;
    struct run_config config;
    struct verdict verdict;
    make(&trial, &config);
    for (unsigned times = 0; times < 100; times++) {
        latencies_record(&trial.tally.lag, 900000);
    }
    verdict_judge(&config, &trial, NULL, 0, &verdict);
    cr_assert_not(verdict.bottleneck, "below a millisecond it is never held against a run");
    for (unsigned times = 0; times < 100; times++) {
        latencies_record(&trial.tally.lag, 9000000);
    }
    verdict_judge(&config, &trial, NULL, 0, &verdict);
    cr_assert(verdict.bottleneck);
    tally_deinit(&trial.tally);
}

Test(verdict, quality_of_service_is_judged_by_kind)
{
    struct trial trial;
    struct run_config config;
    struct verdict verdict;
    make(&trial, &config);
    config.workload = workload_find("specmail2001-like");
    for (unsigned times = 0; times < 100; times++) {
        tally_operation(&trial.tally, WORK_POLL, 2000, 2000 + 1000000);
        tally_operation(&trial.tally, WORK_DOWNLOAD, 2000, 2000 + 1000000);
        tally_operation(&trial.tally, WORK_DELIVER, 2000, 2000 + 30000000000);
    }
    verdict_judge(&config, &trial, NULL, 0, &verdict);
    cr_assert_eq(verdict.result, VERDICT_PASS);
    cr_assert_eq(verdict.reason_count, 3);
    for (unsigned times = 0; times < 10; times++) {
        tally_operation(&trial.tally, WORK_POLL, 2000, 2000 + 5500000000);
    }
    verdict_judge(&config, &trial, NULL, 0, &verdict);
    cr_assert_eq(verdict.result, VERDICT_FAIL);
    tally_deinit(&trial.tally);
}

Test(verdict, refuses_what_is_no_condition)
{
    static const char *const bad[] = {"",
                                      "p99",
                                      "p99>",
                                      "p99>5",
                                      "p99>5m",
                                      "p98>5ms",
                                      "errors>x",
                                      "errors.nothing>0",
                                      "nobody:p99>1ms",
                                      ">5ms",
                                      "rate<1ms",
                                      "p99=5ms",
                                      "errors>5ms"};
    struct verdict_threshold threshold;
    for (size_t index = 0; index < sizeof bad / sizeof bad[0]; index++) {
        cr_assert_eq(verdict_parse(bad[index], &threshold), STATUS_INVALID, "%s", bad[index]);
    }
}

Test(verdict, the_worse_of_two_stands)
{
    cr_assert_eq(verdict_worse(VERDICT_NONE, VERDICT_PASS), VERDICT_PASS);
    cr_assert_eq(verdict_worse(VERDICT_REFUSED, VERDICT_PASS), VERDICT_REFUSED);
    cr_assert_eq(verdict_worse(VERDICT_REFUSED, VERDICT_FAIL), VERDICT_FAIL);
    cr_assert_str_eq(verdict_name(VERDICT_REFUSED), "refused");
}
