/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lock.h"

#include <criterion/criterion.h>

static struct lock_table *table;

static void start(void)
{
    cr_assert_eq(lock_table_create(&table), STATUS_OK);
}

static void end(void)
{
    lock_table_destroy(&table);
}

TestSuite(lock, .init = start, .fini = end);

Test(lock, is_held_by_one_at_a_time)
{
    uint64_t first, second;
    cr_assert_eq(lock_acquire(table, 7, false, &first), STATUS_OK);
    cr_assert_eq(lock_acquire(table, 7, false, &second), STATUS_BUSY);
    cr_assert_eq(lock_acquire(table, 8, false, &second), STATUS_OK);
    cr_assert(lock_held(table, 7, first));
    lock_release(table, 7, first);
    cr_assert_not(lock_held(table, 7, first));
    cr_assert_eq(lock_acquire(table, 7, false, &second), STATUS_OK);
    cr_assert_neq(first, second);
}

Test(lock, that_was_taken_over_cannot_release_its_successor)
{
    uint64_t first, second, third;
    cr_assert_eq(lock_acquire(table, 7, false, &first), STATUS_OK);
    cr_assert_eq(lock_acquire(table, 7, true, &second), STATUS_OK);
    cr_assert_not(lock_held(table, 7, first));
    cr_assert_eq(lock_pin(table, 7, first), STATUS_LOST);
    lock_release(table, 7, first);
    cr_assert_eq(lock_acquire(table, 7, false, &third), STATUS_BUSY);
    cr_assert_eq(lock_pin(table, 7, second), STATUS_OK);
    cr_assert_eq(lock_acquire(table, 7, true, &third), STATUS_BUSY);
    lock_release(table, 7, second);
    cr_assert_eq(lock_acquire(table, 7, true, &third), STATUS_OK);
}

Test(lock, many_at_once)
{
    enum { COUNT = 50000 };
    static uint64_t tokens[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        cr_assert_eq(lock_acquire(table, i + 1, false, &tokens[i]), STATUS_OK);
    }
    for (uint64_t i = 0; i < COUNT; i += 2) {
        lock_release(table, i + 1, tokens[i]);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        cr_assert_eq(lock_held(table, i + 1, tokens[i]), i % 2 == 1);
    }
}
