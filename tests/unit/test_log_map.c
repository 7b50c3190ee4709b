/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include "storage/log_map.h"
#include "storage/segment.h"

#include <criterion/criterion.h>
#include <fcntl.h>

static struct fixture fixture;
static struct log_map map;
static uint32_t newest;

static void start(void)
{
    fixture_start(&fixture);
    fixture_close(&fixture);
    fixture.config.segment_size = 2048;
    fixture_open(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    do {
        fixture_deliver(&fixture, drop, "some text that fills segments\r\n");
        newest = writer_position(fixture_volume(&fixture)->writer).segment;
    } while (newest < 4);
    /* A second group in the newest, so that it is known to have been durable. */
    fixture_deliver(&fixture, drop, "x");
    map = (struct log_map){0};
}

static void end(void)
{
    log_map_free(&map);
    fixture_end(&fixture);
}

TestSuite(log_map, .init = start, .fini = end);

static void read_map(uint32_t first)
{
    log_map_free(&map);
    cr_assert_eq(log_map_read(fixture_volume(&fixture), first, &map, NULL), STATUS_OK);
}

static void write_at(uint32_t segment, const char *octets, size_t length)
{
    char path[SEGMENT_PATH_MAX];
    segment_path(fixture_volume(&fixture)->segments_path, segment, path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(pwrite(fd, octets, length, 0), (ssize_t)length);
    close(fd);
}

Test(log_map, each_end_is_what_the_next_manifest_says)
{
    read_map(0);
    for (uint32_t id = 1; id < newest; id++) {
        const struct log_segment *segment = log_map_find(&map, id);
        cr_assert_not_null(segment);
        cr_assert(segment->has_manifest);
        cr_assert(segment->end_known);
        cr_assert_eq(segment->end, segment->size);
    }
    cr_assert_eq(log_map_last(&map)->id, newest);
    cr_assert_not(log_map_last(&map)->end_known);
    cr_assert_null(log_map_find(&map, newest + 1)); /* at most made ahead: void */
}

Test(log_map, begins_where_it_is_asked_to)
{
    read_map(3);
    cr_assert_null(log_map_find(&map, 2));
    cr_assert_not_null(log_map_find(&map, 3));
}

Test(log_map, the_newest_without_a_manifest_is_void_unless_it_has_two_frames)
{
    write_at(newest + 9, "garbage", 7);
    read_map(0);
    cr_assert_eq(log_map_last(&map)->id, newest);
    write_at(newest, "damage", 6);
    read_map(0);
    cr_assert_eq(log_map_last(&map)->id, newest);
    cr_assert_not(log_map_last(&map)->has_manifest);
    cr_assert_eq(log_map_last_manifest(&map)->id, newest - 1);
}

/* A segment behind the newest with its first group only, as it is before the second. */
static uint32_t write_one_group(void)
{
    static uint8_t octets[8192];
    char path[SEGMENT_PATH_MAX];
    read_map(0);
    struct log_segment *segment = log_map_find(&map, newest);
    uint64_t end = writer_position(fixture_volume(&fixture)->writer).offset;
    segment_path(fixture_volume(&fixture)->segments_path, newest, path);
    int fd = open(path, O_RDWR);
    cr_assert(end <= sizeof octets && segment->start < end);
    cr_assert_eq(pread(fd, octets, end, 0), (ssize_t)end);
    for (uint64_t at = end - 4; at > segment->start; at--) {
        if (memcmp(octets + at, "RGRP", 4) == 0) {
            cr_assert_eq(ftruncate(fd, (off_t)at), 0);
            end = at;
            break;
        }
    }
    close(fd);
    return (uint32_t)end;
}

Test(log_map, the_newest_with_one_group_is_void_if_that_was_cut_off)
{
    uint32_t end = write_one_group();
    char path[SEGMENT_PATH_MAX], zeros[512] = {0};
    write_at(newest, "damage", 6);
    read_map(0);
    cr_assert_eq(log_map_last(&map)->id, newest, "all of it is there: it was whole");
    cr_assert_not(log_map_last(&map)->has_manifest);
    segment_path(fixture_volume(&fixture)->segments_path, newest, path);
    cr_assert_eq(truncate(path, end - 1), 0);
    read_map(0);
    cr_assert_eq(log_map_last(&map)->id, newest - 1, "its end is missing");
    cr_assert_eq(truncate(path, end), 0);
    write_at(newest, zeros, end < sizeof zeros ? end : sizeof zeros);
    read_map(0);
    cr_assert_eq(log_map_last(&map)->id, newest - 1, "its first sector is missing");
}

Test(log_map, an_older_one_without_a_manifest_is_part_of_the_log_when_a_later_one_lists_it)
{
    write_at(2, "damage", 6);
    read_map(0);
    const struct log_segment *segment = log_map_find(&map, 2);
    cr_assert_not_null(segment);
    cr_assert_not(segment->has_manifest);
    cr_assert(segment->end_known); /* its successor still says where it ends */
    cr_assert_not(log_map_find(&map, 1)->end_known);
}

Test(log_map, other_files_are_no_segments)
{
    uint32_t *ids;
    size_t count;
    char path[VOLUME_PATH_MAX + 16];
    static const char *const names[] = {"0000001.seg", "00000001.SEG", "0000000g.seg",
                                        "00000000.seg", "00000001.seg~"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", fixture_volume(&fixture)->segments_path, names[i]);
        close(open(path, O_WRONLY | O_CREAT, 0600));
    }
    cr_assert_eq(log_map_list(fixture_volume(&fixture), &ids, &count, NULL), STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(ids[i], i + 1);
    }
    free(ids);
}
