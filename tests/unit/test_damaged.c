/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/damaged.h"

#include <criterion/criterion.h>

static struct damaged *damaged;

static void start(void)
{
    cr_assert_eq(damaged_create(&damaged), STATUS_OK);
}

static void end(void)
{
    damaged_destroy(&damaged);
}

TestSuite(damaged, .init = start, .fini = end);

static struct damaged_message message(uint64_t maildrop, uint64_t uid, uint32_t segment,
                                      uint64_t offset)
{
    return (struct damaged_message){
        .maildrop = maildrop, .uid = uid, .segment = segment, .offset = offset};
}

Test(damaged, an_empty_list_knows_of_nothing)
{
    struct damaged_message out;
    cr_assert_eq(damaged_count(damaged), 0);
    cr_assert_not(damaged_at(damaged, 0, 0, 0));
    cr_assert_not(damaged_at(damaged, 1, 2, 0));
    cr_assert_eq(damaged_list(damaged, 0, &out, 1), 0);
    damaged_remove(damaged, 1, 2);
    cr_assert_eq(damaged_version(damaged), 0);
}

Test(damaged, a_message_is_news_once_and_known_by_its_place)
{
    struct damaged_message one = message(1, 2, 3, 400), out;
    cr_assert(damaged_add(damaged, &one));
    cr_assert_not(damaged_add(damaged, &one));
    cr_assert_eq(damaged_count(damaged), 1);
    cr_assert(damaged_at(damaged, 3, 400, 0));
    cr_assert_not(damaged_at(damaged, 3, 401, 0));
    cr_assert_not(damaged_at(damaged, 4, 400, 0));
    cr_assert_not(damaged_at(damaged, 0, 0, 400));
    cr_assert_eq(damaged_list(damaged, 0, &out, 1), 1);
    cr_assert_gt(out.since_ms, 0);
}

Test(damaged, a_blob_is_known_by_its_id)
{
    struct damaged_message one = {.maildrop = 1, .uid = 2, .blob = 77};
    cr_assert(damaged_add(damaged, &one));
    cr_assert(damaged_at(damaged, 0, 0, 77));
    cr_assert_not(damaged_at(damaged, 0, 0, 78));
}

Test(damaged, a_place_stays_known_while_one_recipient_has_it)
{
    struct damaged_message one = message(1, 9, 3, 400), two = message(2, 9, 3, 400);
    cr_assert(damaged_add(damaged, &one) && damaged_add(damaged, &two));
    damaged_remove(damaged, 1, 9);
    cr_assert(damaged_at(damaged, 3, 400, 0));
    damaged_remove(damaged, 2, 9);
    cr_assert_not(damaged_at(damaged, 3, 400, 0));
    cr_assert_eq(damaged_count(damaged), 0);
    cr_assert_eq(damaged_version(damaged), 4);
}

Test(damaged, the_list_is_bounded_and_read_in_pages)
{
    struct damaged_message out[7];
    for (uint64_t i = 0; i < DAMAGED_MAX + 100; i++) {
        struct damaged_message one = message(1, i + 1, 1, i * 100);
        (void)damaged_add(damaged, &one);
    }
    cr_assert_eq(damaged_count(damaged), DAMAGED_MAX);
    size_t first = 0, count;
    while ((count = damaged_list(damaged, first, out, 7)) > 0) {
        cr_assert_eq(out[0].uid, first + 1);
        first += count;
    }
    cr_assert_eq(first, DAMAGED_MAX);
}
