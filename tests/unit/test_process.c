/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/process.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Uses that much processor time. */
static void work(double seconds)
{
    struct timespec now;
    do {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    } while ((double)now.tv_sec + (double)now.tv_nsec / 1e9 < seconds);
}

Test(process, tells_its_own_time_and_memory)
{
    struct process_usage before, after;
    uint64_t octets = 0;
    cr_assert_eq(process_usage_read(getpid(), false, &before), STATUS_OK);
    work(0.2);
    cr_assert_eq(process_usage_read(getpid(), false, &after), STATUS_OK);
    cr_assert_gt(after.cpu_ns, before.cpu_ns);
    cr_assert_gt(after.rss_octets, 100000);
    cr_assert_eq(process_private_read(getpid(), false, &octets), STATUS_OK);
    cr_assert_gt(octets, 10000);
}

Test(process, a_tree_counts_children_that_live_and_those_that_have_ended)
{
    struct process_usage usage;
    uint64_t octets = 0;
    pid_t ended = fork();
    if (ended == 0) {
        work(0.3);
        _exit(0);
    }
    cr_assert_eq(waitpid(ended, NULL, 0), ended);
    cr_assert_eq(process_usage_read(getpid(), true, &usage), STATUS_OK);
    cr_assert_geq(usage.cpu_ns, 250000000);
    uint64_t alone = usage.rss_octets;
    pid_t child = fork();
    if (child == 0) {
        for (;;) {
            pause();
        }
    }
    cr_assert_eq(process_usage_read(getpid(), true, &usage), STATUS_OK);
    cr_assert_gt(usage.rss_octets, alone);
    cr_assert_eq(process_private_read(getpid(), true, &octets), STATUS_OK);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

Test(process, says_that_there_is_no_such_process)
{
    struct process_usage usage;
    uint64_t octets;
    cr_assert_eq(process_usage_read(0x3fffff, false, &usage), STATUS_NOT_FOUND);
    cr_assert_eq(process_usage_read(0x3fffff, true, &usage), STATUS_NOT_FOUND);
    cr_assert_eq(process_private_read(0x3fffff, false, &octets), STATUS_NOT_FOUND);
}
