/* SPDX-License-Identifier: Apache-2.0 */
#include "io/deadline.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define START INT64_C(1234567)

struct timer {
    struct deadline deadline;
    struct deadline_wheel *wheel;
    int64_t fired_ms, rearm_ms;
    unsigned count;
    struct timer *other; /* disarmed by this one */
};

static int64_t now_ms;

static void on_due(struct deadline *deadline)
{
    struct timer *timer = list_entry(deadline, struct timer, deadline);
    cr_assert_not(deadline_armed(deadline), "disarmed before its callback");
    timer->fired_ms = now_ms;
    timer->count++;
    if (timer->other != NULL) {
        deadline_disarm(timer->wheel, &timer->other->deadline);
    }
    if (timer->rearm_ms != 0) {
        deadline_arm(timer->wheel, deadline, timer->rearm_ms);
    }
}

static void timer_init(struct timer *timer, struct deadline_wheel *wheel)
{
    memset(timer, 0, sizeof *timer);
    timer->wheel = wheel;
    deadline_init(&timer->deadline, on_due);
}

static uint32_t run_at(struct deadline_wheel *wheel, int64_t at_ms)
{
    now_ms = at_ms;
    return deadline_run(wheel, at_ms);
}

Test(deadline, an_empty_wheel_never_wakes_anybody)
{
    struct deadline_wheel wheel;
    deadline_wheel_init(&wheel, START);
    cr_assert_eq(deadline_next_ms(&wheel, START), -1);
    cr_assert_eq(run_at(&wheel, START + 1000000000), 0);
}

Test(deadline, a_timer_fires_once_not_early_and_at_most_a_tick_late)
{
    static const int64_t delays_ms[] = {
        1,     7,     8,      9,       500,     511,     512,      513,       4096,      32767,
        32768, 32769, 600000, 2097151, 2097152, 2097153, 86400000, 134217727, 134217728, 200000000};
    for (size_t i = 0; i < sizeof delays_ms / sizeof delays_ms[0]; i++) {
        struct deadline_wheel wheel;
        struct timer timer;
        deadline_wheel_init(&wheel, START);
        timer_init(&timer, &wheel);
        deadline_arm(&wheel, &timer.deadline, START + delays_ms[i]);
        int64_t at_ms = START, turns = 0;
        while (timer.count == 0) {
            int64_t next_ms = deadline_next_ms(&wheel, at_ms);
            cr_assert_geq(next_ms, 0);
            at_ms += next_ms;
            (void)run_at(&wheel, at_ms);
            cr_assert_lt(++turns, 20, "delay %" PRId64, delays_ms[i]);
        }
        cr_assert_geq(timer.fired_ms, START + delays_ms[i]);
        cr_assert_leq(timer.fired_ms, START + delays_ms[i] + DEADLINE_TICK_MS);
        cr_assert_eq(run_at(&wheel, at_ms + 1000000000), 0);
        cr_assert_eq(deadline_next_ms(&wheel, at_ms), -1);
    }
}

Test(deadline, a_timer_in_the_past_fires_in_the_next_run)
{
    struct deadline_wheel wheel;
    struct timer timer;
    deadline_wheel_init(&wheel, START);
    timer_init(&timer, &wheel);
    deadline_arm(&wheel, &timer.deadline, START - 5000);
    cr_assert_eq(timer.count, 0);
    cr_assert_eq(deadline_next_ms(&wheel, START), 0);
    cr_assert_eq(run_at(&wheel, START), 1);
}

Test(deadline, a_callback_that_arms_for_the_past_does_not_keep_the_run)
{
    struct deadline_wheel wheel;
    struct timer timer;
    deadline_wheel_init(&wheel, START);
    timer_init(&timer, &wheel);
    timer.rearm_ms = 1;
    deadline_arm(&wheel, &timer.deadline, START + 100);
    cr_assert_eq(run_at(&wheel, START + 1000), 1);
    cr_assert_eq(run_at(&wheel, START + 1000), 1);
    cr_assert_eq(run_at(&wheel, START + 5000), 1);
    deadline_disarm(&wheel, &timer.deadline);
    cr_assert_eq(deadline_next_ms(&wheel, START), -1);
}

Test(deadline, a_disarmed_timer_does_not_fire_and_disarming_twice_is_harmless)
{
    struct deadline_wheel wheel;
    struct timer timer;
    deadline_wheel_init(&wheel, START);
    timer_init(&timer, &wheel);
    deadline_disarm(&wheel, &timer.deadline);
    deadline_arm(&wheel, &timer.deadline, START + 50);
    deadline_disarm(&wheel, &timer.deadline);
    deadline_disarm(&wheel, &timer.deadline);
    cr_assert_eq(wheel.armed_count, 0);
    cr_assert_eq(run_at(&wheel, START + 100), 0);
}

Test(deadline, a_moved_timer_leaves_no_wake_up_behind)
{
    struct deadline_wheel wheel;
    struct timer timer;
    deadline_wheel_init(&wheel, START);
    timer_init(&timer, &wheel);
    for (int64_t i = 0; i < 1000; i++) {
        deadline_arm(&wheel, &timer.deadline, START + 1 + i * 37);
    }
    deadline_arm(&wheel, &timer.deadline, START + 600000);
    cr_assert_eq(wheel.armed_count, 1);
    unsigned runs = 0;
    for (int64_t at_ms = START; timer.count == 0; runs++) {
        at_ms += deadline_next_ms(&wheel, at_ms);
        (void)run_at(&wheel, at_ms);
    }
    cr_assert_leq(runs, DEADLINE_LEVELS + 1);
}

Test(deadline, a_callback_may_disarm_another_that_is_due_too)
{
    struct deadline_wheel wheel;
    struct timer first, second;
    deadline_wheel_init(&wheel, START);
    timer_init(&first, &wheel);
    timer_init(&second, &wheel);
    first.other = &second;
    deadline_arm(&wheel, &first.deadline, START + 100);
    deadline_arm(&wheel, &second.deadline, START + 100);
    cr_assert_eq(run_at(&wheel, START + 200), 1);
    cr_assert_eq(second.count, 0);
    cr_assert_eq(wheel.armed_count, 0);
}

/* Against a plain list of due times, with random arming, moving and disarming and random steps. */
Test(deadline, the_wheel_agrees_with_a_plain_list)
{
    enum { TIMERS = 200, STEPS = 20000 };
    static struct timer timers[TIMERS];
    static int64_t due_ms[TIMERS]; /* 0: disarmed */
    struct deadline_wheel wheel;
    unsigned seed = (unsigned)time(NULL);
    cr_log_info("seed %u", seed);
    srand(seed);
    int64_t at_ms = START;
    deadline_wheel_init(&wheel, at_ms);
    for (unsigned i = 0; i < TIMERS; i++) {
        timer_init(&timers[i], &wheel);
    }
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)rand() % TIMERS;
        if (rand() % 5 == 0) {
            deadline_disarm(&wheel, &timers[i].deadline);
            due_ms[i] = 0;
        } else {
            due_ms[i] = at_ms + rand() % (rand() % 4 == 0 ? 3000000 : 3000) - 5;
            deadline_arm(&wheel, &timers[i].deadline, due_ms[i]);
        }
        if (rand() % 3 != 0) {
            continue;
        }
        at_ms += rand() % (rand() % 50 == 0 ? 200000 : 60);
        (void)run_at(&wheel, at_ms);
        for (unsigned j = 0; j < TIMERS; j++) {
            bool must = due_ms[j] != 0 && due_ms[j] <= at_ms - DEADLINE_TICK_MS;
            bool may = due_ms[j] != 0 && due_ms[j] <= at_ms;
            cr_assert(!must || timers[j].count == 1, "seed %u step %u", seed, step);
            cr_assert(may || timers[j].count == 0, "seed %u step %u", seed, step);
            if (timers[j].count > 0) {
                timers[j].count = 0;
                due_ms[j] = 0;
            }
            cr_assert_eq(deadline_armed(&timers[j].deadline), due_ms[j] != 0);
        }
    }
}
