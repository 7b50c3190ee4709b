/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/compact_fixture.h"

#include "storage/compact_plan.h"

static struct fixture fixture;
static uint64_t drop;
static struct compact_look look;

static void start(void)
{
    small_start(&fixture);
    drop = fixture_create(&fixture, "u@localhost");
    look = (struct compact_look){.volume = fixture_volume(&fixture)};
    cr_assert_eq(index_reader_create(look.volume->index, &look.reader), STATUS_OK);
}

static void end(void)
{
    index_reader_destroy(&look.reader);
    compact_look_deinit(&look);
    fixture_end(&fixture);
}

TestSuite(compact_plan, .init = start, .fini = end);

static bool go_on(void *owner, uint64_t octets)
{
    *(uint64_t *)owner += octets;
    return true;
}

static struct compact_plan plan_of(uint32_t segment, uint32_t older)
{
    uint64_t paced = 0;
    struct compact_pacer pacer = {go_on, &paced};
    struct compact_plan plan;
    fixture_checkpoint(&fixture);
    cr_assert_eq(compact_plan_make(&look, segment, older, &pacer, &plan, NULL), STATUS_OK);
    return plan;
}

Test(compact_plan, a_walk_meets_every_record)
{
    uint32_t first = current_segment(&fixture);
    unsigned count = fill_segment(&fixture, drop) - 1, found = 0; /* the last is in the next */
    struct compact_walk walk;
    struct record_header header;
    const uint8_t *meta;
    enum status status = compact_walk_open(look.volume, first, &walk, NULL);
    cr_assert_eq(status, STATUS_OK);
    while ((status = compact_walk_next(&walk, &header, &meta, NULL)) == STATUS_OK) {
        found += header.kind == RECORD_DELIVERED;
    }
    cr_assert_eq(status, STATUS_EOF);
    cr_assert_eq(found, count);
    compact_walk_close(&walk);
}

Test(compact_plan, counts_exactly_the_messages_that_are_left)
{
    uint32_t first = current_segment(&fixture);
    unsigned count = fill_segment(&fixture, drop) - 1;
    struct compact_plan full = plan_of(first, 0);
    cr_assert_eq(full.messages, count);
    expunge_from(&fixture, drop, 2);
    struct compact_plan sparse = plan_of(first, 0);
    cr_assert_eq(sparse.messages, 2);
    cr_assert_eq(sparse.message_octets, full.message_octets / count * 2);
    expunge_from(&fixture, drop, 0);
    cr_assert_eq(plan_of(first, 0).message_octets, 0);
}

Test(compact_plan, keeps_expunges_of_what_older_segments_may_list)
{
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    uint32_t second = current_segment(&fixture);
    expunge_from(&fixture, drop, 0);
    fill_segment(&fixture, drop);
    cr_assert_gt(plan_of(second, first).expunge_octets, 0);
    cr_assert_eq(plan_of(second, 0).expunge_octets, 0, "with nothing older all of them go");
}

Test(compact_plan, drops_expunges_of_its_own_messages)
{
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 0); /* also of the one message in the second segment, in it */
    uint32_t second = current_segment(&fixture);
    uint64_t uid = fixture_deliver(&fixture, drop, "x\r\n");
    expunge_from(&fixture, drop, 0);
    fill_segment(&fixture, drop);
    struct compact_plan plan = plan_of(second, first);
    cr_assert_lt(plan.expunge_floor, uid);
}

Test(compact_plan, a_damaged_header_makes_the_segment_untouchable)
{
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    fixture_checkpoint(&fixture);
    flip_octet(&fixture, first, 150);
    uint64_t paced = 0;
    struct compact_pacer pacer = {go_on, &paced};
    struct compact_plan plan;
    cr_assert_eq(compact_plan_make(&look, first, 0, &pacer, &plan, NULL), STATUS_CORRUPT);
}

Test(compact_plan, a_segment_waits_for_a_predecessor_with_a_torn_tail)
{
    char path[SEGMENT_PATH_MAX];
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    uint32_t second = current_segment(&fixture);
    fill_segment(&fixture, drop);
    cr_assert_eq(plan_of(second, first).waits_for, 0);
    segment_path(look.volume->segments_path, first, path);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    cr_assert_eq(write(fd, "leftover", 8), 8); /* of a write that failed */
    (void)close(fd);
    cr_assert_eq(plan_of(second, first).waits_for, first);
    cr_assert_eq(plan_of(first, 0).messages > 0, true, "its walk ends where the log does");
}
