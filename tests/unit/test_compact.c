/* SPDX-License-Identifier: Apache-2.0 */
/* The sequences of events in storage/README.md, "Giving space back", one after the other. */
#include "tests/unit/compact_fixture.h"

#include "storage/compact.h"
#include "storage/compact_copy.h"
#include "storage/compact_plan.h"
#include "storage/disk.h"

#include <errno.h>
#include <stdatomic.h>

static struct fixture fixture;
static uint64_t drop;

/* --- a disk that says itself how much of it is free --- */

static _Atomic uint64_t free_octets = UINT64_MAX;
static struct disk_ops sized_ops;

static int tell_free_octets(struct disk *disk, const char *path, uint64_t *out_octets)
{
    *out_octets = free_octets;
    return 0;
}

/* Before anything is started. */
static void size_the_disk(void)
{
    sized_ops = *disk_real()->ops;
    sized_ops.free_octets = tell_free_octets;
    disk_real()->ops = &sized_ops;
}

static void start(void)
{
    size_the_disk();
    small_start(&fixture);
    drop = fixture_create(&fixture, "u@localhost");
}

static void end(void)
{
    fixture_end(&fixture);
}

TestSuite(compact, .init = start, .fini = end);

Test(compact, unlinks_a_segment_that_nothing_refers_to)
{
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 0);
    fill_segment(&fixture, drop);
    char *expected = see(&fixture, drop);
    compact_ok(&fixture, false); /* nothing yet: the index does not know */
    fixture_checkpoint(&fixture);
    compact_ok(&fixture, false);
    cr_assert_not(segment_is_there(&fixture, first));
    struct store_numbers numbers = numbers_of(&fixture);
    cr_assert_geq(numbers.reclaimed_segments, 1);
    cr_assert_gt(numbers.reclaimed_octets, SEGMENT_SIZE);
    cr_assert_gt(numbers.reclaimed_ms, 0);
    expect_same(&fixture, drop, expected, "afterwards");
    fixture_close(&fixture);
    fixture_open(&fixture);
    expect_same(&fixture, drop, expected, "after a restart");
    rebuild(&fixture);
    expect_same(&fixture, drop, expected, "after a rebuild");
    cr_assert_eq(numbers_of(&fixture).quarantined, 0);
    free(expected);
}

Test(compact, copies_what_is_needed_of_a_sparse_segment)
{
    uint32_t first = current_segment(&fixture);
    unsigned count = fill_segment(&fixture, drop);
    uint64_t uid;
    cr_assert_eq(fixture_import(&fixture, drop, "Subject: i\r\n\r\nx\r\n", "imported-1", &uid),
                 STATUS_OK);
    fill_segment(&fixture, drop);
    fill_segment(&fixture, drop);
    struct view *view = fixture_view_ok(&fixture, drop);
    uint32_t indexes[32], chosen = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i % 4 != 1) {
            indexes[chosen++] = i;
        }
    }
    cr_assert_eq(fixture_commit(&fixture, &view, indexes, chosen), STATUS_OK);
    char *expected = see(&fixture, drop);
    fixture_checkpoint(&fixture);
    compact_ok(&fixture, false);
    cr_assert_not(segment_is_there(&fixture, first));
    cr_assert_gt(numbers_of(&fixture).copied_records, 0);
    expect_same(&fixture, drop, expected, "afterwards");
    compact_ok(&fixture, true);
    expect_same(&fixture, drop, expected, "all copied");
    rebuild(&fixture);
    expect_same(&fixture, drop, expected, "after a rebuild");
    free(expected);
}

Test(compact, leaves_full_segments_alone)
{
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    fill_segment(&fixture, drop);
    fixture_checkpoint(&fixture);
    compact_ok(&fixture, false);
    cr_assert(segment_is_there(&fixture, first));
    cr_assert_eq(numbers_of(&fixture).copied_octets, 0);
}

Test(compact, keeps_the_bytes_of_older_sessions)
{
    fill_segment(&fixture, drop);
    fill_segment(&fixture, drop);
    struct view *old = NULL;
    cr_assert_eq(fixture_view(&fixture, drop, STORE_LOCK_NONE, &old), STATUS_OK);
    uint32_t count = store_view_count(old);
    expunge_from(&fixture, drop, 1);
    fixture_checkpoint(&fixture);
    compact_ok(&fixture, true);
    cr_assert_gt(numbers_of(&fixture).reclaimed_segments, 0);
    cr_assert_eq(fixture_count(&fixture, drop), 1);
    for (uint32_t i = 0; i < count; i++) {
        struct store_message message;
        uint8_t buffer[1024];
        store_view_message(old, i, &message);
        struct store_fetch fetch = {.client = &fixture.client,
                                    .view = old,
                                    .index = i,
                                    .length = message.wire_length,
                                    .buffer = buffer};
        cr_assert_eq(store_fetch(&fetch), STATUS_OK, "message %u", i);
    }
    store_view_close(&old);
}

/* An expunge stands in a segment that goes, its message in one that stays. */
Test(compact, an_expunge_outlives_its_segment_while_an_older_one_lists_the_message)
{
    uint64_t other = fixture_create(&fixture, "o@localhost");
    fill_segment(&fixture, other); /* stays, nearly full */
    uint64_t victim = fixture_deliver(&fixture, drop, "Subject: v\r\n\r\nvictim\r\n");
    fill_segment(&fixture, other);
    (void)victim;
    uint32_t middle = current_segment(&fixture);
    expunge_from(&fixture, drop, 0); /* here, in the middle */
    fill_segment(&fixture, drop);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 2);
    fixture_checkpoint(&fixture);
    compact_ok(&fixture, false);
    cr_assert_not(segment_is_there(&fixture, middle));
    char *expected = see(&fixture, drop), *others = see(&fixture, other);
    rebuild(&fixture);
    expect_same(&fixture, drop, expected, "after a rebuild");
    expect_same(&fixture, other, others, "after a rebuild, the other");
    compact_ok(&fixture, true); /* now everything moves, and the expunges go with the oldest */
    rebuild(&fixture);
    expect_same(&fixture, drop, expected, "after all was copied");
    expect_same(&fixture, other, others, "after all was copied, the other");
    free(expected);
    free(others);
}

Test(compact, names_and_removals_survive_any_number_of_rounds)
{
    uint64_t gone = fixture_create(&fixture, "gone@localhost");
    uint64_t renamed = fixture_create(&fixture, "old@localhost");
    fixture_deliver(&fixture, gone, "Subject: g\r\n\r\ngone\r\n");
    cr_assert_eq(fixture_change_drop(&fixture, &renamed, "new@localhost", store_drop_rename),
                 STATUS_OK);
    cr_assert_eq(fixture_remove(&fixture, gone), STATUS_OK);
    for (int round = 0; round < 4; round++) {
        fill_segment(&fixture, drop);
        compact_ok(&fixture, true);
    }
    rebuild(&fixture);
    struct index_reader *reader = NULL;
    struct index_state state;
    struct index_drop found;
    bool removed = false;
    cr_assert_eq(index_reader_create(fixture_volume(&fixture)->index, &reader), STATUS_OK);
    cr_assert_eq(index_begin(reader, &state), STATUS_OK);
    cr_assert_eq(index_drop(reader, renamed, &found, NULL), STATUS_OK);
    cr_assert_str_eq(found.name, "new@localhost");
    cr_assert_eq(index_drop(reader, gone, &found, &removed), STATUS_NOT_FOUND);
    cr_assert(removed);
    index_end(reader);
    index_reader_destroy(&reader);
}

Test(compact, one_recipient_of_several_keeps_the_message)
{
    uint64_t drops[3] = {drop, fixture_create(&fixture, "b@localhost"),
                         fixture_create(&fixture, "c@localhost")};
    uint64_t uid;
    const char *text = "Subject: all\r\n\r\nfor all\r\n";
    cr_assert_eq(fixture_deliver_all(&fixture, drops, 3, text, strlen(text), NULL, &uid),
                 STATUS_OK);
    cr_assert_eq(fixture_expunge(&fixture, drops[1], 0), STATUS_OK);
    char *expected = see(&fixture, drops[2]);
    for (int round = 0; round < 3; round++) {
        fill_segment(&fixture, drops[0]);
        compact_ok(&fixture, true);
    }
    cr_assert_eq(fixture_count(&fixture, drops[1]), 0);
    expect_same(&fixture, drops[2], expected, "copied");
    rebuild(&fixture);
    cr_assert_eq(fixture_count(&fixture, drops[1]), 0);
    expect_same(&fixture, drops[2], expected, "rebuilt");
    free(expected);
}

static void *compact_all(void *owner)
{
    compact_ok(owner, true);
    return NULL;
}

Test(compact, while_somebody_holds_it_no_segment_comes_to_an_end)
{
    pthread_t thread;
    struct compact *compact = fixture_volume(&fixture)->compact;
    uint32_t first = current_segment(&fixture);
    (void)fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 1);
    compact_hold(compact);
    compact_hold(compact);
    while (!compact_is_still(compact)) {
        usleep(1000);
    }
    cr_assert_eq(pthread_create(&thread, NULL, compact_all, &fixture), 0);
    usleep(20000);
    compact_let_go(compact);
    usleep(20000);
    cr_assert(segment_is_there(&fixture, first), "one of two still holds it");
    compact_let_go(compact);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_not(segment_is_there(&fixture, first));
}

Test(compact, a_damaged_message_keeps_its_segment)
{
    uint32_t first = current_segment(&fixture);
    unsigned count = fill_segment(&fixture, drop);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, count - 2); /* the first segment stays needed */
    fixture_checkpoint(&fixture);
    flip_octet(&fixture, first, 800); /* in some message's zeros */
    compact_ok(&fixture, true);
    cr_assert(segment_is_there(&fixture, first));
    cr_assert_eq(numbers_of(&fixture).left_segments, 1);
    cr_assert_eq(numbers_of(&fixture).damaged, 1);
    compact_ok(&fixture, true); /* and is not tried again */
    cr_assert_eq(numbers_of(&fixture).left_segments, 1);
    rebuild(&fixture);
    cr_assert_eq(fixture_count(&fixture, drop), count - 2);
}

Test(compact, without_rest_a_store_stays_small_and_the_same)
{
    char *expected = NULL;
    for (int round = 0; round < 40; round++) {
        fill_segment(&fixture, drop);
        uint32_t kept = fixture_count(&fixture, drop) > 12 ? 12 : 5;
        expunge_from(&fixture, drop, kept);
        fixture_checkpoint(&fixture);
        compact_ok(&fixture, false);
    }
    struct store_numbers numbers = numbers_of(&fixture);
    cr_assert_leq(numbers.segments, 8, "%llu segments", (unsigned long long)numbers.segments);
    expected = see(&fixture, drop);
    rebuild(&fixture);
    expect_same(&fixture, drop, expected, "rebuilt");
    free(expected);
}

/* What happens when somebody puts an old index back: a store of before with a log of after. */
static void put_old_index_back(struct fixture *copy)
{
    char command[512];
    fixture_close(&fixture);
    snprintf(command, sizeof command, "cp %s/volume/index/data.mdb %s/volume/index/data.mdb",
             copy->path, fixture.path);
    cr_assert_eq(system(command), 0);
    remove_copy(copy);
    fixture_open(&fixture);
}

Test(compact, an_index_older_than_the_log_is_rebuilt)
{
    struct fixture copy;
    fill_segment(&fixture, drop);
    fixture_checkpoint(&fixture);
    copy_of(&fixture, &copy); /* its index ends in the first segments */
    for (int i = 0; i < 3; i++) {
        fill_segment(&fixture, drop);
    }
    char *expected = see(&fixture, drop);
    compact_ok(&fixture, true);
    put_old_index_back(&copy);
    expect_same(&fixture, drop, expected, "with the old index");
    free(expected);
}

/* The segment that such an index had come to is gone because it was retired, though no record says
 * so any more: it is not missing, and what the index knew of it is not to be saved. */
Test(compact, an_index_older_than_the_log_brings_nothing_back)
{
    struct fixture copy;
    fixture_deliver(&fixture, drop, "Subject: to be expunged\r\n\r\n");
    fixture_checkpoint(&fixture);
    uint32_t reached = current_segment(&fixture);
    copy_of(&fixture, &copy);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 0);
    for (int i = 0; i < 3; i++) {
        fill_segment(&fixture, drop);
        fixture_checkpoint(&fixture);
        compact_ok(&fixture, true);
    }
    cr_assert_not(segment_is_there(&fixture, reached));
    char *expected = see(&fixture, drop);
    put_old_index_back(&copy);
    expect_same(&fixture, drop, expected, "with the old index");
    cr_assert_eq(numbers_of(&fixture).quarantined, 0);
    free(expected);
}

/* An older manifest must do, which lists a segment that is gone. */
Test(compact, a_damaged_newest_manifest_makes_no_unlinked_segment_missed)
{
    uint64_t other = fixture_create(&fixture, "o@localhost");
    fill_segment(&fixture, other);
    uint32_t gone = current_segment(&fixture);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 0);
    fixture_checkpoint(&fixture);
    compact_ok(&fixture, false);
    cr_assert_not(segment_is_there(&fixture, gone));
    fill_segment(&fixture, other);
    fixture_checkpoint(&fixture);
    compact_ok(&fixture, false); /* and its row is forgotten */
    fixture_deliver(&fixture, other, "Subject: last\r\n\r\n");
    fixture_checkpoint(&fixture);
    char *expected = see(&fixture, other);
    flip_octet(&fixture, current_segment(&fixture), 20);
    fixture_close(&fixture);
    fixture_open(&fixture);
    cr_assert_eq(numbers_of(&fixture).quarantined, 1, "the manifest alone");
    expect_same(&fixture, other, expected, "after a restart");
    fill_segment(&fixture, drop);
    rebuild(&fixture);
    expect_same(&fixture, other, expected, "after a rebuild");
    free(expected);
}

static int refuse_unlink(struct disk *disk, const char *path)
{
    errno = EIO;
    return -1;
}

/* Its record of that is not copied: no manifest behind it lists the segment, and the file is gone.
 * It would stay for ever if a rebuild met the file and not the record. */
Test(compact, what_a_segment_retires_is_unlinked_before_that_segment_goes)
{
    struct post_box box;
    int (*unlink_file)(struct disk *, const char *) = sized_ops.unlink;
    uint32_t retired = current_segment(&fixture);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 0);
    fixture_checkpoint(&fixture);
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    cr_assert_eq(compact_retire(fixture_volume(&fixture), retired, &box), STATUS_OK);
    post_box_deinit(&box);
    fill_segment(&fixture, drop); /* the record is in the oldest segment now */
    sized_ops.unlink = refuse_unlink;
    cr_assert_eq(store_compact(fixture.store, true, NULL), STATUS_READ_ONLY);
    cr_assert_eq(numbers_of(&fixture).copied_records, 0);
    sized_ops.unlink = unlink_file;
    rebuild(&fixture);
    cr_assert(segment_is_there(&fixture, retired));
    compact_ok(&fixture, false);
    cr_assert_not(segment_is_there(&fixture, retired));
}

/* --- on a full disk --- */

static bool go_on(void *owner, uint64_t octets)
{
    return true;
}

/* What copying a segment, the oldest, takes. */
static uint64_t needed_of(uint32_t segment, uint64_t *out_size)
{
    struct compact_look look = {.volume = fixture_volume(&fixture)};
    struct compact_pacer pacer = {.pace = go_on};
    struct compact_plan plan;
    fixture_checkpoint(&fixture);
    cr_assert_eq(index_reader_create(look.volume->index, &look.reader), STATUS_OK);
    cr_assert_eq(compact_plan_make(&look, segment, 0, &pacer, &plan, NULL), STATUS_OK);
    index_reader_destroy(&look.reader);
    compact_look_deinit(&look);
    *out_size = plan.size;
    return compact_plan_needed(&plan);
}

static uint64_t reserve(void)
{
    return fixture_volume(&fixture)->config.space_reserve;
}

/* Compaction with so much room: whether it was refused for want of more. */
static bool is_refused_with(uint64_t octets, bool all)
{
    free_octets = octets;
    enum status status = store_compact(fixture.store, all, NULL);
    free_octets = UINT64_MAX;
    cr_assert(status == STATUS_OK || status == STATUS_NO_SPACE, "%s", status_name(status));
    return status == STATUS_NO_SPACE;
}

Test(compact, on_a_full_disk_a_copy_that_frees_enough_may_use_the_reserve_but_for_a_quarter)
{
    uint64_t size;
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 2);
    uint64_t needed = needed_of(first, &size);
    cr_assert_gt(needed, 0);
    cr_assert_lt(needed, size / 2);
    cr_assert(is_refused_with(needed + reserve() / 4 - 1, false));
    cr_assert(segment_is_there(&fixture, first));
    cr_assert_eq(numbers_of(&fixture).copied_octets, 0);
    cr_assert_not(is_refused_with(needed + reserve() / 4, false));
    cr_assert_not(segment_is_there(&fixture, first));
    cr_assert_eq(fixture_count(&fixture, drop), 2);
}

Test(compact, on_a_full_disk_a_copy_that_frees_little_leaves_the_whole_reserve)
{
    char text[3000];
    uint64_t size;
    uint32_t first = current_segment(&fixture);
    int length = snprintf(text, sizeof text, "Subject: x\r\n\r\n%02800u\r\n", 0u);
    cr_assert(length > 0 && (size_t)length < sizeof text);
    while (current_segment(&fixture) == first) {
        fixture_deliver(&fixture, drop, text);
    }
    uint64_t needed = needed_of(first, &size);
    cr_assert_gt(needed, size - size / 10);
    cr_assert(is_refused_with(needed + reserve() - 1, true));
    cr_assert(segment_is_there(&fixture, first));
    cr_assert_not(is_refused_with(needed + reserve(), true));
    cr_assert_not(segment_is_there(&fixture, first));
}

Test(compact, on_a_disk_without_any_room_a_segment_that_nothing_refers_to_goes)
{
    uint64_t size;
    fixture_close(&fixture); /* so that the maildrop's name stands in an older segment */
    fixture_open(&fixture);
    fill_segment(&fixture, drop);
    uint32_t dead = current_segment(&fixture);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 0);
    (void)needed_of(dead, &size);
    cr_assert(is_refused_with(0, false)); /* the first one's record of the maildrop */
    cr_assert(is_refused_with(0, false));
    cr_assert_not(segment_is_there(&fixture, dead));
}

Test(compact, looks_by_itself)
{
    fixture_close(&fixture);
    fixture.config.compact_off = false;
    fixture.config.compact_ms = 5;
    fixture_open(&fixture);
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 0);
    fill_segment(&fixture, drop);
    fixture_checkpoint(&fixture);
    while (segment_is_there(&fixture, first)) { /* the suite's time limit ends a failure */
        (void)usleep(1000);
    }
    cr_assert_not(segment_is_there(&fixture, first));
}
