/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conformance_loop [io_uring|epoll] [WORD]: runs the cases (whose names contain WORD) against one
 * back end, or both. RESTANTE_SEED repeats a random one.
 */
#include "tests/conformance/conformance.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static bool case_failed;

bool check(bool condition, const char *text, const char *file, int line)
{
    if (!condition) {
        case_failed = true;
        printf("    %s:%d: not so: %s\n", file, line, text);
    }
    return condition;
}

bool check_equal(int64_t a, int64_t b, const char *text, const char *file, int line)
{
    if (a != b) {
        case_failed = true;
        printf("    %s:%d: not so: %s (%" PRId64 ", %" PRId64 ")\n", file, line, text, a, b);
    }
    return a == b;
}

static void on_wake(void *owner)
{
    ((struct setup *)owner)->wakes++;
}

static bool run_case(const struct test_case *test, enum loop_kind kind, uint64_t seed)
{
    struct setup setup = {.seed = seed};
    struct loop_config config = {.kind = kind,
                                 .stream_buffers = test->stream_buffers,
                                 .bulk_buffers = 4,
                                 .on_wake = on_wake,
                                 .owner = &setup};
    struct error error;
    case_failed = false;
    if (!CHECK(loop_create(&config, &setup.loop, &error) == STATUS_OK)) {
        return false;
    }
    test->run(&setup);
    CHECK_EQUAL(counter_read(&loop_counters(setup.loop)->submits),
                counter_read(&loop_counters(setup.loop)->completions));
    CHECK_EQUAL(counter_read(&loop_counters(setup.loop)->stale_completions), 0);
    loop_destroy(&setup.loop);
    return !case_failed;
}

static void run_all(enum loop_kind kind, const char *name, const char *word, uint64_t seed,
                    unsigned *passed, unsigned *failed)
{
    static const struct test_case *const files[] = {receive_cases, send_cases,   life_cases,
                                                    accept_cases,  stress_cases, ready_cases};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        for (const struct test_case *test = files[i]; test->name != NULL; test++) {
            if (word != NULL && strstr(test->name, word) == NULL) {
                continue;
            }
            bool ok = run_case(test, kind, seed);
            printf("%s - %s: %s\n", ok ? "ok" : "not ok", name, test->name);
            (void)fflush(stdout);
            *(ok ? passed : failed) += 1;
        }
    }
}

static unsigned case_count(void)
{
    unsigned passed = 0;
    static const struct test_case *const files[] = {receive_cases, send_cases,   life_cases,
                                                    accept_cases,  stress_cases, ready_cases};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        for (const struct test_case *test = files[i]; test->name != NULL; test++) {
            passed++;
        }
    }
    return passed;
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    const char *word = argc > 2 ? argv[2] : NULL;
    const char *given = getenv("RESTANTE_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    unsigned passed = 0, failed = 0, skipped = 0;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* one case opens many; it says so when it cannot */
    }
    printf("seed %" PRIu64 "\n", seed);
    struct error refused;
    if (strcmp(only, "epoll") != 0 && loop_probe_uring(&refused) != STATUS_OK) {
        printf("no ring here: %s\n", refused.text);
        skipped = case_count();
    } else if (strcmp(only, "epoll") != 0) {
        run_all(LOOP_IO_URING, "io_uring", word, seed, &passed, &failed);
    }
    if (strcmp(only, "io_uring") != 0) {
        run_all(LOOP_EPOLL, "epoll", word, seed, &passed, &failed);
    }
    printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
    return failed > 0 ? 1 : 0;
}
