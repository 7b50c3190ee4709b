/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include "storage/scan.h"
#include "storage/segment.h"
#include "storage/torn.h"

#include <criterion/criterion.h>
#include <fcntl.h>

#define LONG_TEXT 3000 /* octets: several sectors */

static struct fixture fixture;
static uint64_t drop;
static struct scan scan;
static struct log_position before, after; /* the last group */
static struct record_frame frame;

static void start(void)
{
    fixture_start(&fixture);
    drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, "one before");
    scan = (struct scan){.fd = -1};
}

static void end(void)
{
    scan_close(&scan);
    fixture_end(&fixture);
}

TestSuite(torn, .init = start, .fini = end);

/* A last group with one message, and the segment it is in opened. */
static void deliver(const char *text)
{
    struct volume *volume = fixture_volume(&fixture);
    before = writer_position(volume->writer);
    fixture_deliver(&fixture, drop, text);
    after = writer_position(volume->writer);
    cr_assert_eq(scan_open(volume, after.segment, &scan, NULL), STATUS_OK);
    cr_assert_eq(scan_frame(&scan, before.offset, &frame, NULL), STATUS_OK);
}

static void deliver_long(void)
{
    static char text[LONG_TEXT + 1];
    memset(text, 'x', LONG_TEXT);
    deliver(text);
}

/* Writes over the segment; returns what stood there. */
static void put(uint64_t offset, uint8_t *octets, size_t length)
{
    char path[SEGMENT_PATH_MAX];
    uint8_t was[8192];
    segment_path(fixture_volume(&fixture)->segments_path, scan.segment, path);
    int fd = open(path, O_RDWR);
    cr_assert(length <= sizeof was);
    cr_assert_eq(pread(fd, was, length, (off_t)offset), (ssize_t)length);
    cr_assert_eq(pwrite(fd, octets, length, (off_t)offset), (ssize_t)length);
    memcpy(octets, was, length);
    close(fd);
    scan.window_length = 0; /* what has been read before */
}

static uint8_t octet_at(uint64_t offset)
{
    const uint8_t *data;
    cr_assert_eq(scan_octets(&scan, offset, 1, &data, NULL), STATUS_OK);
    return *data;
}

/* With the frame that is found there now. */
static bool is_torn(uint64_t above)
{
    struct record_frame now;
    bool torn;
    enum status status = scan_frame(&scan, before.offset, &now, NULL);
    cr_assert_eq(
        torn_look(&scan, before.offset, status == STATUS_OK ? &now : NULL, above, &torn, NULL),
        STATUS_OK);
    return torn;
}

Test(torn, a_whole_group_with_any_octet_changed_was_not_cut_off)
{
    deliver("a short one\r\n");
    cr_assert_not(is_torn(before.sequence));
    for (uint64_t at = before.offset; at < after.offset; at++) {
        uint8_t changed = octet_at(at) ^ 0x20;
        put(at, &changed, 1);
        cr_assert_not(is_torn(before.sequence), "octet %llu",
                      (unsigned long long)(at - before.offset));
        put(at, &changed, 1);
    }
}

static void turn_bit(uint64_t at)
{
    uint8_t changed = octet_at(at) ^ 0x10;
    put(at, &changed, 1);
}

Test(torn, a_bit_in_the_frame_and_one_anywhere_else_cut_nothing_off)
{
    deliver("a short one\r\n");
    for (uint64_t at = before.offset + RECORD_FRAME_SIZE; at < after.offset; at++) {
        uint64_t in_frame = before.offset + at % RECORD_FRAME_SIZE;
        turn_bit(in_frame);
        turn_bit(at);
        cr_assert_not(is_torn(before.sequence), "octet %llu",
                      (unsigned long long)(at - before.offset));
        cr_assert(is_torn(after.sequence), "leftovers");
        turn_bit(at);
        turn_bit(in_frame);
    }
}

Test(torn, one_that_ends_before_its_end_was)
{
    deliver("a short one\r\n");
    for (scan.end = before.offset + 1; scan.end < after.offset; scan.end++) {
        scan.window_length = 0;
        cr_assert(is_torn(before.sequence), "octet %llu",
                  (unsigned long long)(scan.end - before.offset));
    }
}

Test(torn, one_without_any_of_its_sectors_was)
{
    uint8_t zeros[TORN_SECTOR];
    deliver_long();
    for (uint64_t sector = before.offset - before.offset % TORN_SECTOR; sector < after.offset;
         sector += TORN_SECTOR) {
        uint64_t from = sector > before.offset ? sector : before.offset;
        uint64_t to = sector + TORN_SECTOR < after.offset ? sector + TORN_SECTOR : after.offset;
        memset(zeros, 0, sizeof zeros);
        put(from, zeros, (size_t)(to - from));
        cr_assert(is_torn(before.sequence), "sector %llu",
                  (unsigned long long)((sector - before.offset) / TORN_SECTOR));
        put(from, zeros, (size_t)(to - from));
    }
    cr_assert_not(is_torn(before.sequence));
}

Test(torn, zeros_within_a_sector_prove_nothing)
{
    uint8_t zeros[TORN_SECTOR - 1] = {0};
    deliver_long();
    uint64_t sector = (after.offset - 1024) / TORN_SECTOR * TORN_SECTOR;
    put(sector, zeros, sizeof zeros);
    cr_assert_not(is_torn(before.sequence));
}

Test(torn, a_message_made_of_zeros_is_no_hole)
{
    static uint8_t zeros[LONG_TEXT];
    uint64_t uid = 0;
    struct volume *volume = fixture_volume(&fixture);
    before = writer_position(volume->writer);
    cr_assert_eq(fixture_deliver_all(&fixture, &drop, 1, (char *)zeros, sizeof zeros, NULL, &uid),
                 STATUS_OK);
    after = writer_position(volume->writer);
    cr_assert_eq(scan_open(volume, after.segment, &scan, NULL), STATUS_OK);
    uint8_t changed = octet_at(before.offset + 20) ^ 1; /* the frame; the record is whole */
    put(before.offset + 20, &changed, 1);
    cr_assert_not(is_torn(before.sequence));
}

Test(torn, octets_that_are_none_of_ours_were)
{
    uint8_t garbage[4096];
    deliver_long();
    size_t length = (size_t)(after.offset - before.offset);
    cr_assert(length <= sizeof garbage);
    memset(garbage, 0x5a, sizeof garbage);
    put(before.offset, garbage, length);
    cr_assert(is_torn(before.sequence));
}

Test(torn, leftovers_of_a_group_that_had_failed_prove_nothing)
{
    deliver("a short one\r\n");
    uint8_t changed = octet_at(before.offset + 20) ^ 1;
    put(before.offset + 20, &changed, 1); /* only the record is left */
    cr_assert_not(is_torn(before.sequence));
    cr_assert(is_torn(after.sequence));
}
