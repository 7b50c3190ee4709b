/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include "storage/ballast.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static struct fixture fixture;
static struct volume *volume;

static void start(void)
{
    fixture_start(&fixture);
    volume = fixture_volume(&fixture);
}

static void end(void)
{
    fixture_end(&fixture);
}

TestSuite(ballast, .init = start, .fini = end);

static uint64_t on_disk(void)
{
    struct stat found;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/volume/ballast", fixture.path);
    cr_assert_eq(stat(path, &found), 0);
    return (uint64_t)found.st_blocks * 512;
}

Test(ballast, a_volume_with_room_holds_all_of_it)
{
    cr_assert_eq(ballast_held(volume->ballast), BALLAST_MAX);
    cr_assert_geq(on_disk(), BALLAST_MAX);
}

Test(ballast, is_given_up_in_steps_and_taken_back_when_there_is_room)
{
    struct ballast *ballast = volume->ballast;
    for (uint64_t i = 1; i <= BALLAST_STEPS; i++) {
        cr_assert(ballast_release(ballast));
        cr_assert_eq(ballast_held(ballast), BALLAST_MAX - i * ballast_step(ballast));
    }
    cr_assert_eq(on_disk(), 0);
    cr_assert_not(ballast_release(ballast));
    cr_assert_eq(ballast_held(ballast), 0);
    ballast_restore(ballast, volume->config.space_reserve);
    cr_assert_eq(ballast_held(ballast), 0, "the reserve comes first");
    ballast_restore(ballast, UINT64_MAX);
    cr_assert_eq(ballast_held(ballast), BALLAST_MAX);
    cr_assert_geq(on_disk(), BALLAST_MAX);
}

static void limit_files(rlim_t octets)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = octets;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Between the question how much is free and the allocation somebody else may take it. */
Test(ballast, what_cannot_be_taken_back_now_is_taken_back_later_and_what_is_left_still_serves)
{
    struct ballast *ballast = volume->ballast;
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert(ballast_release(ballast));
    uint64_t held = ballast_held(ballast);
    limit_files(held);
    ballast_restore(ballast, UINT64_MAX);
    limit_files(before.rlim_cur);
    cr_assert_eq(ballast_held(ballast), held);
    cr_assert(ballast_release(ballast));
    cr_assert_lt(ballast_held(ballast), held);
    ballast_restore(ballast, UINT64_MAX);
    cr_assert_eq(ballast_held(ballast), BALLAST_MAX);
}

Test(ballast, what_is_left_of_it_is_known_after_a_restart)
{
    cr_assert(ballast_release(volume->ballast));
    struct ballast *other = NULL;
    cr_assert_eq(ballast_open(volume, &other, NULL), STATUS_OK);
    cr_assert_eq(ballast_held(other), ballast_held(volume->ballast));
    ballast_close(&other);
    ballast_close(&other);
}
