/* SPDX-License-Identifier: Apache-2.0 */
/* Where the log ends: torn, or damaged. */
#include "tests/unit/crash_fixture.h"

#include "storage/record.h"

TestSuite(replay, .init = crash_start, .fini = crash_end);

Test(replay, a_tail_cut_anywhere_loses_only_the_last_group)
{
    fixture_deliver(&fixture, drop, "kept");
    struct log_position before = log_end(&fixture);
    fixture_deliver(&fixture, drop, "torn");
    struct log_position after = log_end(&fixture);
    uint64_t step = (after.offset - before.offset) / 12;
    for (uint64_t end = before.offset; end < after.offset; end += step) {
        crash();
        truncate_file(after.segment, end);
        open_copy();
        cr_assert_eq(fixture_count(&copy, drop), 1);
        cr_assert_eq(quarantined(), 0);
        uint64_t uid = fixture_deliver(&copy, drop, "new");
        cr_assert(uid > after.sequence);
        reopen_copy();
        cr_assert_eq(fixture_count(&copy, drop), 2);
        cr_assert_eq(quarantined(), 0);
        remove_copy();
    }
}

Test(replay, a_last_group_without_a_sector_is_torn)
{
    static char text[3000];
    char path[256], name[64], zeros[512] = {0};
    memset(text, 'x', sizeof text - 1);
    fixture_deliver(&fixture, drop, "kept");
    struct log_position before = log_end(&fixture);
    fixture_deliver(&fixture, drop, text);
    struct log_position after = log_end(&fixture);
    for (uint64_t at = before.offset; at < after.offset; at = at / 512 * 512 + 512) {
        crash();
        segment_name(name, after.segment);
        copy_path(path, name);
        uint64_t end = at / 512 * 512 + 512 < after.offset ? at / 512 * 512 + 512 : after.offset;
        int fd = open(path, O_RDWR);
        cr_assert_eq(pwrite(fd, zeros, end - at, (off_t)at), (ssize_t)(end - at));
        close(fd);
        open_copy();
        cr_assert_eq(fixture_count(&copy, drop), 1);
        cr_assert_eq(quarantined(), 0);
        fixture_deliver(&copy, drop, "new");
        char *seen = listing(&copy, drop);
        fixture_close(&copy); /* and what is behind the tear never comes back */
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s/volume/index/*", copy.path);
        cr_assert_eq(system(command), 0);
        fixture_open(&copy);
        cr_assert_str_eq(listing(&copy, drop), seen);
        remove_copy();
    }
}

/* No crash leaves such a group. It was answered for, and nothing but its own octets may be lost. */
Test(replay, a_last_group_with_a_changed_octet_is_damage_and_no_torn_tail)
{
    fixture_deliver(&fixture, drop, "kept");
    struct log_position before = log_end(&fixture);
    fixture_deliver(&fixture, drop, "the last one");
    struct log_position after = log_end(&fixture);
    uint64_t body = after.offset - (sizeof "the last one\r\n.\r\n" - 1);
    for (uint64_t at = before.offset; at < after.offset; at += 7) {
        crash();
        flip(after.segment, at);
        open_copy();
        bool header = at >= before.offset + RECORD_FRAME_SIZE && at < body;
        cr_assert_eq(fixture_count(&copy, drop), header ? 1 : 2, "octet %llu",
                     (unsigned long long)(at - before.offset));
        cr_assert_eq(quarantined(), at < body ? 1 : 0);
        cr_assert_eq(strstr(listing(&copy, drop), "corrupt") != NULL, at >= body);
        uint64_t uid = fixture_deliver(&copy, drop, "new");
        cr_assert(uid > after.sequence);
        char *seen = listing(&copy, drop);
        fixture_close(&copy);
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s/volume/index/*", copy.path);
        cr_assert_eq(system(command), 0);
        fixture_open(&copy);
        cr_assert_str_eq(listing(&copy, drop), seen);
        remove_copy();
    }
}

/* The only group of the newest segment, whose manifest is hit, and the group before it. */
Test(replay, a_newest_segment_with_one_group_and_no_manifest_is_no_crash)
{
    char command[128];
    fixture_close(&fixture);
    fixture.config.segment_size = 2048;
    fixture_open(&fixture);
    struct log_position before, last = log_end(&fixture);
    do {
        before = last;
        fixture_deliver(&fixture, drop, "some text that fills segments\r\n");
        last = log_end(&fixture);
    } while (last.segment == before.segment);
    for (int with_index = 0; with_index < 2; with_index++) {
        crash();
        flip(last.segment, 14);
        flip(before.segment, before.offset - 8); /* in the last body there */
        if (!with_index) {
            snprintf(command, sizeof command, "rm -rf %s/volume/index/*", copy.path);
            cr_assert_eq(system(command), 0);
        }
        open_copy();
        cr_assert_gt(quarantined(), 0);
        cr_assert_eq(fixture_count(&copy, drop), fixture_count(&fixture, drop));
        cr_assert_not_null(strstr(listing(&copy, drop), "corrupt"));
        remove_copy();
    }
}

Test(replay, after_a_tear_a_new_segment_says_where_the_old_one_ends)
{
    fixture_deliver(&fixture, drop, "kept");
    struct log_position before = log_end(&fixture);
    fixture_deliver(&fixture, drop, "torn");
    crash();
    truncate_file(before.segment, log_end(&fixture).offset - 1);
    open_copy();
    fixture_deliver(&copy, drop, "new");
    cr_assert(log_end(&copy).segment > before.segment);
    char path[256], name[64];
    struct stat found;
    segment_name(name, before.segment);
    copy_path(path, name);
    cr_assert_eq(stat(path, &found), 0); /* nothing is truncated */
    cr_assert(found.st_size > (off_t)before.offset);
}

Test(replay, a_clean_tail_is_gone_on_with)
{
    fixture_deliver(&fixture, drop, "a");
    uint32_t segment = log_end(&fixture).segment;
    crash();
    open_copy();
    fixture_deliver(&copy, drop, "b");
    cr_assert_eq(log_end(&copy).segment, segment);
}

Test(replay, files_made_ahead_or_half_begun_are_no_part_of_the_log)
{
    char path[256], name[64];
    static const char garbage[] = "RREC but no manifest, RGRP but no frame";
    fixture_deliver(&fixture, drop, "a");
    uint32_t segment = log_end(&fixture).segment;
    crash();
    segment_name(name, segment + 7);
    copy_path(path, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, garbage, sizeof garbage), (ssize_t)sizeof garbage);
    close(fd);
    segment_name(name, segment + 8);
    copy_path(path, name);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    close(fd);
    for (int i = 0; i < 3; i++) {
        if (i == 0) {
            open_copy();
        } else {
            reopen_copy();
        }
        cr_assert_eq(fixture_count(&copy, drop), 1u + (unsigned)i);
        cr_assert_eq(quarantined(), 0);
        fixture_deliver(&copy, drop, "b");
    }
}
