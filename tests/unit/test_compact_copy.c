/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/compact_fixture.h"

#include "storage/compact_copy.h"
#include "storage/damaged.h"

static struct fixture fixture;
static uint64_t drop;
static struct compact_look look;
static struct post_box box;

/* What happens at the nth call of the pacer: 0, nothing. */
static struct {
    unsigned at, calls;
    void (*event)(void);
} meanwhile;

static void start(void)
{
    small_start(&fixture);
    drop = fixture_create(&fixture, "u@localhost");
    look = (struct compact_look){.volume = fixture_volume(&fixture)};
    cr_assert_eq(index_reader_create(look.volume->index, &look.reader), STATUS_OK);
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    memset(&meanwhile, 0, sizeof meanwhile);
}

static void end(void)
{
    index_reader_destroy(&look.reader);
    compact_look_deinit(&look);
    post_box_deinit(&box);
    fixture_end(&fixture);
}

TestSuite(compact_copy, .init = start, .fini = end);

static bool pace(void *owner, uint64_t octets)
{
    (void)owner;
    (void)octets;
    if (++meanwhile.calls == meanwhile.at) {
        meanwhile.event();
    }
    return true;
}

static const struct compact_pacer pacer = {pace, NULL};

static struct compact_plan plan_of(uint32_t segment, uint32_t older)
{
    struct compact_plan plan;
    fixture_checkpoint(&fixture);
    cr_assert_eq(compact_plan_make(&look, segment, older, &pacer, &plan, NULL), STATUS_OK);
    return plan;
}

static enum status copy(const struct compact_plan *plan, struct compact_copied *copied)
{
    return compact_copy(&look, plan, &box, &pacer, copied, NULL);
}

static uint64_t references(uint32_t segment)
{
    struct index_state state;
    struct index_file file = {0};
    fixture_checkpoint(&fixture);
    cr_assert_eq(index_begin(look.reader, &state), STATUS_OK);
    enum status status = index_segment(look.reader, segment, &file);
    index_end(look.reader);
    cr_assert(status == STATUS_OK || status == STATUS_NOT_FOUND);
    return file.references;
}

Test(compact_copy, appends_no_more_than_was_planned_and_leaves_no_reference)
{
    uint32_t first = current_segment(&fixture);
    unsigned count = fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 3);
    struct compact_plan plan = plan_of(first, 0);
    struct compact_copied copied;
    char *expected = see(&fixture, drop);
    cr_assert_eq(copy(&plan, &copied), STATUS_OK);
    cr_assert(count > 3);
    cr_assert_leq(copied.octets, compact_plan_needed(&plan));
    cr_assert_eq(references(first), 0);
    expect_same(&fixture, drop, expected, "copied");
    cr_assert_eq(copy(&plan, &copied), STATUS_OK);
    cr_assert_eq(copied.records, 1, "a second time only the maildrop's name");
    free(expected);
}

static void expunge_two(void)
{
    expunge_from(&fixture, drop, 1);
}

/* Planned with three, one of which is left when it is copied. */
Test(compact_copy, a_message_expunged_after_the_plan_is_not_copied)
{
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 3);
    struct compact_plan plan = plan_of(first, 0);
    expunge_two(); /* in the delta alone */
    struct compact_copied copied;
    cr_assert_eq(copy(&plan, &copied), STATUS_OK);
    cr_assert_eq(copied.records, 2, "one message and one name");
    cr_assert_eq(fixture_count(&fixture, drop), 1);
    cr_assert_eq(references(first), 0);
}

Test(compact_copy, a_damaged_body_is_not_copied_and_said)
{
    uint64_t drops[] = {drop, fixture_create(&fixture, "w@localhost"),
                        fixture_create(&fixture, "x@localhost")};
    uint64_t uid = 0;
    struct message_entry entry;
    struct index_state state;
    struct damaged_message known[4];
    uint32_t first = current_segment(&fixture);
    cr_assert_eq(fixture_deliver_all(&fixture, drops, 3, "to all three", 12, NULL, &uid),
                 STATUS_OK);
    cr_assert_eq(fixture_expunge(&fixture, drops[2], 0), STATUS_OK);
    fill_segment(&fixture, drop);
    struct compact_plan plan = plan_of(first, 0);
    cr_assert_eq(index_begin(look.reader, &state), STATUS_OK);
    cr_assert_eq(index_message(look.reader, drops[0], uid, &entry), STATUS_OK);
    index_end(look.reader);
    flip_octet(&fixture, first, entry.offset + 3);
    struct compact_copied copied;
    cr_assert_eq(copy(&plan, &copied), STATUS_CORRUPT);
    cr_assert_eq(copied.damaged_offset, entry.offset);
    cr_assert_gt(references(first), 0);
    /* For all who still have it, and nobody else, it is known. */
    cr_assert_eq(damaged_list(fixture_volume(&fixture)->damaged, 0, known, 4), 2);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(known[i].maildrop, drops[i]);
        cr_assert_eq(known[i].uid, uid);
        cr_assert_eq(known[i].segment, first);
        cr_assert_eq(known[i].offset, entry.offset);
    }
}

static bool late;

static void on_late(struct writer_item *item)
{
    (void)item;
    late = true;
}

Test(compact_copy, a_move_that_came_too_late_is_refused_by_the_writer)
{
    uint64_t uid = fixture_deliver(&fixture, drop, "Subject: x\r\n\r\nx\r\n");
    fixture_checkpoint(&fixture);
    uint64_t before = writer_position(look.volume->writer).sequence;
    expunge_from(&fixture, drop, 0);
    uint8_t meta[128];
    struct record_recipient recipient = {.maildrop = drop};
    struct record_delivered moved = {
        .uid = uid, .wire_length = 3, .recipient_count = 1, .octets = 0};
    struct writer_item item;
    struct iovec body = {(void *)(uintptr_t) ".\r\n", 3};
    item = (struct writer_item){.kind = RECORD_MOVED,
                                .meta = meta,
                                .body = &body,
                                .body_count = 1,
                                .body_length = 3,
                                .body_checksum = checksum_body(".\r\n", 3),
                                .reply_box = &box,
                                .recheck = true,
                                .checked_to = before};
    item.meta_length = (uint32_t)record_encode_delivered(&moved, &recipient, meta);
    item.on_done = on_late;
    writer_submit(look.volume->writer, &item);
    while (!late) {
        (void)post_wait(&box, -1);
        (void)post_run(&box);
    }
    cr_assert_eq(item.status, STATUS_AGAIN);
}

static void checkpoint_event(void)
{
    fixture_checkpoint(&fixture);
}

Test(compact_copy, checkpoints_in_between_only_make_it_ask_again)
{
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    struct compact_plan plan = plan_of(first, 0);
    meanwhile.at = meanwhile.calls + 1;
    meanwhile.event = checkpoint_event;
    struct compact_copied copied;
    char *expected = see(&fixture, drop);
    cr_assert_eq(copy(&plan, &copied), STATUS_OK);
    cr_assert_eq(references(first), 0);
    expect_same(&fixture, drop, expected, "copied");
    free(expected);
}
