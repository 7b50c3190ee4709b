/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/recheck.h"

#include "storage/delta.h"

#include <criterion/criterion.h>

static struct delta *delta;
static uint64_t sequence;

static void start(void)
{
    sequence = 100;
    cr_assert_eq(delta_create(1 << 20, &delta), STATUS_OK);
}

static void end(void)
{
    delta_destroy(&delta);
}

TestSuite(recheck, .init = start, .fini = end);

static void publish(enum delta_kind kind, uint64_t maildrop, uint64_t uid)
{
    sequence++;
    struct delta_event event = {
        .maildrop = maildrop, .sequence = sequence, .kind = kind, .uid = uid, .name = NULL};
    char name[] = "n";
    if (kind == DELTA_DROP_CHANGED) {
        event.name = name;
    }
    struct delta_group group = {.segment = 1,
                                .offset = sequence * 100,
                                .end = sequence * 100 + 50,
                                .first_sequence = sequence,
                                .last_sequence = sequence};
    cr_assert_eq(delta_publish(delta, &group, &event, 1), STATUS_OK);
}

/* A copy of message 7 for maildrops 1 and 2, checked at sequence 100. */
static bool moved_is_true(void)
{
    static uint8_t meta[256];
    struct record_recipient recipients[] = {{.maildrop = 1}, {.maildrop = 2}};
    struct record_delivered moved = {.uid = 7, .recipient_count = 2};
    struct writer_item item = {.kind = RECORD_MOVED, .recheck = true, .checked_to = 100};
    item.meta_length = (uint32_t)record_encode_delivered(&moved, recipients, meta);
    item.meta = meta;
    return recheck_item(delta, &item);
}

static bool name_is_true(void)
{
    static uint8_t meta[64];
    struct record_bytes name = {.data = (const uint8_t *)"old", .length = 3};
    struct writer_item item = {.kind = RECORD_DROP_CHANGED, .recheck = true, .checked_to = 100};
    item.meta_length = (uint32_t)record_encode_drop(1, name, meta);
    item.meta = meta;
    return recheck_item(delta, &item);
}

Test(recheck, a_copy_is_true_while_nothing_has_happened)
{
    cr_assert(moved_is_true());
    publish(DELTA_MESSAGE_EXPUNGED, 1, 8);
    publish(DELTA_MESSAGE_EXPUNGED, 3, 7);
    publish(DELTA_DROP_REMOVED, 3, 0);
    publish(DELTA_DROP_CHANGED, 2, 0);
    cr_assert(moved_is_true());
}

Test(recheck, a_copy_is_true_no_more_when_one_recipient_has_expunged_it)
{
    publish(DELTA_MESSAGE_EXPUNGED, 2, 7);
    cr_assert_not(moved_is_true());
}

Test(recheck, a_copy_is_true_no_more_when_a_maildrop_is_removed)
{
    publish(DELTA_DROP_REMOVED, 1, 0);
    cr_assert_not(moved_is_true());
}

Test(recheck, what_the_delta_has_forgotten_is_asked_again)
{
    const struct delta_event **events;
    size_t count;
    struct log_position position;
    publish(DELTA_MESSAGE_EXPUNGED, 5, 5);
    cr_assert(moved_is_true());
    cr_assert_eq(delta_take(delta, 100, &events, &count, &position), STATUS_OK);
    cr_assert(moved_is_true());
    delta_forget(delta, position.sequence);
    cr_assert_not(moved_is_true(), "an expunge of it may have been among what is forgotten");
}

Test(recheck, a_name_is_true_until_there_is_a_newer_one)
{
    cr_assert(name_is_true());
    publish(DELTA_MESSAGE_EXPUNGED, 1, 7);
    cr_assert(name_is_true());
    publish(DELTA_DROP_CHANGED, 1, 0);
    cr_assert_not(name_is_true());
}

/* Its events may stand in the delta for long after the index has them, and longer when its maildrop
 * is never without new ones. A copy that is given up for such a name's sake is lost for good. */
Test(recheck, a_name_that_the_index_has_seen_is_no_newer_one)
{
    const struct delta_event **events;
    size_t count;
    struct log_position position;
    sequence = 90;
    publish(DELTA_DROP_CHANGED, 1, 0);
    cr_assert(name_is_true());
    sequence = 100;
    publish(DELTA_MESSAGE_EXPUNGED, 1, 7);
    cr_assert_eq(delta_take(delta, 1, &events, &count, &position), STATUS_OK);
    delta_forget(delta, position.sequence);
    cr_assert_eq(position.sequence, 91);
    cr_assert(name_is_true());
}

Test(recheck, a_removed_maildrop_has_no_name)
{
    publish(DELTA_DROP_REMOVED, 1, 0);
    cr_assert_not(name_is_true());
}
