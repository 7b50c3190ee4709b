/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include "storage/scan.h"
#include "storage/segment.h"

#include <criterion/criterion.h>
#include <fcntl.h>

#define MESSAGES 4

static struct fixture fixture;
static struct scan scan;
static struct event_batch batch;
static struct log_position ends[MESSAGES + 1]; /* [0]: behind the maildrop's creation */

static void start(void)
{
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    struct volume *volume = fixture_volume(&fixture);
    ends[0] = writer_position(volume->writer);
    for (int i = 1; i <= MESSAGES; i++) {
        fixture_deliver(&fixture, drop, "text of a message\r\n");
        ends[i] = writer_position(volume->writer);
    }
    cr_assert_eq(scan_open(volume, ends[0].segment, &scan, NULL), STATUS_OK);
    batch = (struct event_batch){0};
}

static void end(void)
{
    scan_close(&scan);
    event_batch_deinit(&batch);
    fixture_end(&fixture);
}

TestSuite(scan, .init = start, .fini = end);

static void overwrite(uint64_t offset, size_t length)
{
    char path[SEGMENT_PATH_MAX], zeros[512] = {0};
    segment_path(fixture_volume(&fixture)->segments_path, scan.segment, path);
    int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, zeros, length, (off_t)offset), (ssize_t)length);
    close(fd);
    scan.window_length = 0; /* what has been read before the damage */
}

static uint64_t first_group(void)
{
    struct scan_manifest manifest;
    cr_assert_eq(scan_manifest(&scan, &manifest, NULL), STATUS_OK);
    free(manifest.unretired);
    return manifest.length;
}

Test(scan, walks_from_the_manifest_to_the_end)
{
    uint64_t offset = first_group();
    struct record_frame frame;
    struct delta_group group;
    for (int i = 0; i <= MESSAGES; i++) {
        cr_assert_eq(scan_frame(&scan, offset, &frame, NULL), STATUS_OK);
        cr_assert_eq(scan_group(&scan, &frame, true, &batch, &group, NULL), STATUS_OK);
        cr_assert_eq(group.end, ends[i].offset);
        cr_assert_eq(group.last_sequence, ends[i].sequence);
        offset = group.end;
    }
    cr_assert_eq(scan_frame(&scan, offset, &frame, NULL), STATUS_EOF);
    cr_assert_eq(batch.count, MESSAGES + 1);
}

Test(scan, a_group_cut_anywhere_is_not_valid_and_leaves_no_events)
{
    struct record_frame frame;
    struct delta_group group;
    for (uint64_t cut = ends[3].offset + 1; cut < ends[4].offset; cut++) {
        scan.end = cut;
        scan.window_length = 0;
        enum status status = scan_frame(&scan, ends[3].offset, &frame, NULL);
        if (status == STATUS_OK) {
            status = scan_group(&scan, &frame, false, &batch, &group, NULL);
        }
        cr_assert_eq(status, STATUS_CORRUPT);
        cr_assert_eq(batch.count, 0);
    }
}

Test(scan, a_damaged_body_only_matters_when_bodies_are_asked_for)
{
    struct record_frame frame;
    struct delta_group group;
    overwrite(ends[1].offset - 10, 3);
    cr_assert_eq(scan_frame(&scan, ends[0].offset, &frame, NULL), STATUS_OK);
    cr_assert_eq(scan_group(&scan, &frame, true, &batch, &group, NULL), STATUS_CORRUPT);
    cr_assert_eq(scan_group(&scan, &frame, false, &batch, &group, NULL), STATUS_OK);
}

Test(scan, finds_the_next_frame_behind_damage_and_saves_what_is_whole)
{
    struct record_frame frame;
    uint64_t records, last;
    overwrite(ends[0].offset, RECORD_FRAME_SIZE); /* a frame, and the next record's header */
    overwrite(ends[1].offset, RECORD_FRAME_SIZE + 20);
    cr_assert_eq(scan_search(&scan, ends[0].offset, &frame, NULL), STATUS_OK);
    cr_assert_eq(frame.offset, ends[2].offset);
    cr_assert_eq(
        scan_salvage(&scan, ends[0].offset, frame.offset, 0, &batch, &records, &last, NULL),
        STATUS_OK);
    cr_assert_eq(records, 1);
    cr_assert_eq(last, ends[1].sequence);
    cr_assert_eq(batch.count, 1);
    cr_assert_eq(scan_search(&scan, ends[4].offset, &frame, NULL), STATUS_NOT_FOUND);
}

Test(scan, a_manifest_that_is_damaged_or_missing_is_corrupt)
{
    struct scan_manifest manifest;
    overwrite(0, 1);
    cr_assert_eq(scan_manifest(&scan, &manifest, NULL), STATUS_CORRUPT);
    scan.end = 0;
    cr_assert_eq(scan_manifest(&scan, &manifest, NULL), STATUS_CORRUPT);
}

Test(scan, a_missing_segment_is_not_found)
{
    struct scan missing;
    cr_assert_eq(scan_open(fixture_volume(&fixture), 0x999, &missing, NULL), STATUS_NOT_FOUND);
}

Test(scan, settling_loses_nothing)
{
    struct record_frame frame;
    cr_assert_eq(scan_settle(&scan, NULL), STATUS_OK);
    cr_assert_eq(scan_frame(&scan, ends[0].offset, &frame, NULL), STATUS_OK);
}
