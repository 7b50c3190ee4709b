/* SPDX-License-Identifier: Apache-2.0 */
/* Unlinking: after two checkpoints, not under a reader; blobs not under a session. */
#include "tests/unit/compact_fixture.h"

#include "storage/checkpoint.h"
#include "storage/compact_copy.h"
#include "storage/kv.h"
#include "storage/reclaim.h"

static struct fixture fixture;
static uint64_t drop;
static struct reclaim reclaim;
static struct post_box box;

static void start(void)
{
    small_start(&fixture);
    drop = fixture_create(&fixture, "u@localhost");
    struct volume *volume = fixture_volume(&fixture);
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    reclaim = (struct reclaim){.volume = volume, .box = &box};
    cr_assert_eq(index_reader_create(volume->index, &reclaim.reader), STATUS_OK);
}

static void end(void)
{
    index_reader_destroy(&reclaim.reader);
    reclaim_deinit(&reclaim);
    post_box_deinit(&box);
    fixture_end(&fixture);
}

TestSuite(reclaim, .init = start, .fini = end);

static void run(void)
{
    cr_assert_eq(reclaim_run(&reclaim, NULL), STATUS_OK);
}

static uint64_t transactions(void)
{
    struct kv_numbers numbers;
    index_numbers(fixture_volume(&fixture)->index, &numbers);
    return numbers.last_transaction;
}

static uint32_t retire_first(void)
{
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    expunge_from(&fixture, drop, 0);
    fill_segment(&fixture, drop);
    fixture_checkpoint(&fixture);
    cr_assert_eq(compact_retire(fixture_volume(&fixture), first, &box), STATUS_OK);
    return first;
}

Test(reclaim, a_segment_goes_after_two_checkpoints_and_its_row_with_it)
{
    uint32_t first = retire_first();
    run();
    cr_assert(segment_is_there(&fixture, first), "no checkpoint has said that it is retired");
    fixture_checkpoint(&fixture);
    uint64_t before = transactions();
    run();
    cr_assert_not(segment_is_there(&fixture, first));
    cr_assert_gt(transactions(), before, "a second checkpoint");
    cr_assert_eq(reclaim.segments, 1);
    run();
    cr_assert_eq(reclaim.segments, 1, "it is not looked for again");
    struct fixture copy;
    copy_of(&fixture, &copy); /* the newest manifest lists it; a start must not miss it */
    fixture_open(&copy);
    cr_assert_eq(numbers_of(&copy).quarantined, 0);
    fixture_close(&copy);
    remove_copy(&copy);
    fill_segment(&fixture, drop);
    run();
    uint64_t *rows = NULL;
    size_t count = 1;
    struct index_state state;
    cr_assert_eq(index_begin(reclaim.reader, &state), STATUS_OK);
    cr_assert_eq(index_retired_segments(reclaim.reader, &rows, &count), STATUS_OK);
    index_end(reclaim.reader);
    free(rows);
    cr_assert_eq(count, 0);
}

Test(reclaim, a_segment_with_references_stays_whatever_the_log_says)
{
    uint32_t first = current_segment(&fixture);
    fill_segment(&fixture, drop);
    cr_assert_eq(compact_retire(fixture_volume(&fixture), first, &box), STATUS_OK);
    fixture_checkpoint(&fixture);
    run();
    cr_assert(segment_is_there(&fixture, first));
}

Test(reclaim, a_file_that_came_back_after_the_unlink_goes_at_the_next_start)
{
    struct fixture copy;
    uint32_t first = retire_first();
    fixture_checkpoint(&fixture);
    copy_of(&fixture, &copy); /* retired and checkpointed, the file still there */
    run();
    fixture_open(&copy);
    compact_ok(&copy, false);
    cr_assert_not(segment_is_there(&copy, first));
    fixture_close(&copy);
    remove_copy(&copy);
}

/* --- blobs --- */

static char *large_text(void)
{
    char *text = malloc(30001);
    cr_assert_not_null(text);
    memset(text, 'x', 30000);
    text[30000] = '\0';
    return text;
}

static bool blob_is_there(uint64_t blob)
{
    char path[SEGMENT_PATH_MAX];
    segment_blob_path(fixture_volume(&fixture)->blobs_path, blob, path);
    return access(path, F_OK) == 0;
}

/* Delivers one as a blob and says which. */
static uint64_t deliver_blob(void)
{
    uint64_t blob = atomic_load(&fixture_volume(&fixture)->next_blob);
    char *text = large_text();
    fixture_deliver(&fixture, drop, text);
    free(text);
    cr_assert(blob_is_there(blob));
    return blob;
}

Test(reclaim, a_blob_goes_with_its_last_reference)
{
    uint64_t blob = deliver_blob(), kept = deliver_blob();
    cr_assert_eq(fixture_expunge(&fixture, drop, 0), STATUS_OK);
    run();
    cr_assert(blob_is_there(blob), "the index does not know yet");
    fixture_checkpoint(&fixture);
    run();
    cr_assert_not(blob_is_there(blob));
    cr_assert(blob_is_there(kept));
    struct index_state state;
    struct index_file file;
    cr_assert_eq(index_begin(reclaim.reader, &state), STATUS_OK);
    cr_assert_eq(index_blob(reclaim.reader, blob, &file), STATUS_NOT_FOUND);
    cr_assert_eq(index_blob(reclaim.reader, kept, &file), STATUS_OK);
    index_end(reclaim.reader);
    cr_assert_eq(reclaim.blobs, 1);
}

Test(reclaim, a_blob_stays_while_a_session_may_fetch_it)
{
    struct view *old = NULL, *later = NULL;
    uint64_t blob = deliver_blob();
    cr_assert_eq(fixture_view(&fixture, drop, STORE_LOCK_NONE, &old), STATUS_OK);
    cr_assert_eq(fixture_expunge(&fixture, drop, 0), STATUS_OK);
    fixture_checkpoint(&fixture);
    run();
    cr_assert(blob_is_there(blob));
    cr_assert_eq(fixture_view(&fixture, drop, STORE_LOCK_NONE, &later), STATUS_OK);
    run();
    cr_assert(blob_is_there(blob));
    struct store_fetch fetch = {.client = &fixture.client, .view = old, .length = 30000};
    cr_assert_eq(store_fetch(&fetch), STATUS_OK);
    fetch.range.extent.hold.release(fetch.range.extent.hold.owner);
    store_view_close(&old);
    run();
    cr_assert_not(blob_is_there(blob), "the later session has never had it");
    store_view_close(&later);
}

Test(reclaim, a_blob_delivered_and_expunged_between_two_checkpoints_goes_too)
{
    uint64_t blob = deliver_blob();
    cr_assert_eq(fixture_expunge(&fixture, drop, 0), STATUS_OK);
    fixture_checkpoint(&fixture);
    run();
    cr_assert_not(blob_is_there(blob));
}

Test(reclaim, a_blob_moved_with_its_record_keeps_its_file)
{
    uint64_t blob = deliver_blob();
    for (int i = 0; i < 3; i++) {
        fill_segment(&fixture, drop);
        compact_ok(&fixture, true);
    }
    cr_assert(blob_is_there(blob));
    rebuild(&fixture);
    cr_assert(blob_is_there(blob));
    struct view *view = fixture_view_ok(&fixture, drop);
    struct store_fetch fetch = {.client = &fixture.client, .view = view, .length = 30000};
    cr_assert_eq(store_fetch(&fetch), STATUS_OK);
    fetch.range.extent.hold.release(fetch.range.extent.hold.owner);
    store_view_close(&view);
    index_reader_destroy(&reclaim.reader); /* the volume is another one now */
    reclaim.reader = NULL;
}
