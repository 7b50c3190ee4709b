/* SPDX-License-Identifier: Apache-2.0 */
/* A store with small segments, to be compacted: what stands where, what a client sees, and copies
 * of the directory as a kill would leave it. */
#ifndef TESTS_UNIT_COMPACT_FIXTURE_H
#define TESTS_UNIT_COMPACT_FIXTURE_H

#include "tests/unit/store_fixture.h"

#include "storage/index.h"
#include "storage/segment.h"
#include "storage/writer.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>

#define SEGMENT_SIZE 4096

__attribute__((unused)) static void small_start(struct fixture *fixture)
{
    fixture_start(fixture);
    fixture_close(fixture);
    fixture->config.segment_size = SEGMENT_SIZE;
    fixture->config.blob_min = 20000;
    fixture_open(fixture);
}

__attribute__((unused)) static uint32_t current_segment(struct fixture *fixture)
{
    return writer_position(fixture_volume(fixture)->writer).segment;
}

__attribute__((unused)) static bool segment_is_there(struct fixture *fixture, uint32_t segment)
{
    char path[SEGMENT_PATH_MAX];
    segment_path(fixture_volume(fixture)->segments_path, segment, path);
    return access(path, F_OK) == 0;
}

/* Delivers messages of about 500 octets until the log goes on in a new segment; how many. */
__attribute__((unused)) static unsigned fill_segment(struct fixture *fixture, uint64_t drop)
{
    char text[512];
    unsigned count = 0;
    uint32_t segment = current_segment(fixture);
    while (current_segment(fixture) == segment) {
        int length = snprintf(text, sizeof text, "Subject: %u\r\n\r\n%0400u\r\n", count, count);
        cr_assert(length > 0);
        fixture_deliver(fixture, drop, text);
        count++;
    }
    return count;
}

/* Expunges all messages of a maildrop, but the first `kept`. */
__attribute__((unused)) static void expunge_from(struct fixture *fixture, uint64_t drop,
                                                 uint32_t kept)
{
    struct view *view = fixture_view_ok(fixture, drop);
    uint32_t indexes[1024], count = 0;
    for (uint32_t i = kept; i < store_view_count(view); i++) {
        indexes[count++] = i;
    }
    cr_assert_eq(fixture_commit(fixture, &view, indexes, count), STATUS_OK);
}

__attribute__((unused)) static void compact_ok(struct fixture *fixture, bool all)
{
    struct error error = {0};
    enum status status = store_compact(fixture->store, all, &error);
    cr_assert_eq(status, STATUS_OK, "%s: %s", status_name(status), error.text);
}

/* Everything a client can see of a maildrop: unique-ids, sizes, octets. To be freed. */
__attribute__((unused)) static char *see(struct fixture *fixture, uint64_t drop)
{
    char *text = calloc(1, 1 << 20);
    size_t length = 0;
    struct view *view = NULL;
    enum status status = fixture_view(fixture, drop, STORE_LOCK_NONE, &view);
    cr_assert_not_null(text);
    if (status != STATUS_OK) {
        (void)snprintf(text, 64, "%s", status_name(status));
        return text;
    }
    for (uint32_t i = 0; i < store_view_count(view); i++) {
        char uidl[STORAGE_UIDL_LENGTH_MAX + 1];
        struct store_message message;
        uint8_t buffer[STORE_INLINE_MAX] = {0};
        store_view_message(view, i, &message);
        uidl[store_view_uidl(view, i, uidl)] = '\0';
        struct store_fetch fetch = {.client = &fixture->client,
                                    .view = view,
                                    .index = i,
                                    .length = message.wire_length,
                                    .buffer = buffer};
        if (message.wire_length <= sizeof buffer) {
            status = store_fetch(&fetch);
        }
        length += (size_t)snprintf(text + length, (1 << 20) - length, "%s %llu %s\n%s\n", uidl,
                                   (unsigned long long)message.octets, status_name(status),
                                   (const char *)buffer);
    }
    store_view_close(&view);
    return text;
}

__attribute__((unused)) static void expect_same(struct fixture *fixture, uint64_t drop,
                                                const char *expected, const char *when)
{
    char *found = see(fixture, drop);
    cr_assert_str_eq(found, expected, "%s", when);
    free(found);
}

__attribute__((unused)) static struct store_numbers numbers_of(struct fixture *fixture)
{
    struct store_numbers numbers;
    store_numbers(fixture->store, &numbers);
    return numbers;
}

__attribute__((unused)) static void rebuild(struct fixture *fixture)
{
    fixture_close(fixture);
    cr_assert_eq(store_rebuild(&fixture->config, NULL, NULL, NULL, NULL), STATUS_OK);
    fixture_open(fixture);
}

/* What a kill leaves now, in a directory of its own, opened. End it with end_copy. */
__attribute__((unused)) static void copy_of(struct fixture *fixture, struct fixture *copy)
{
    char command[256];
    *copy = (struct fixture){.config = fixture->config};
    strcpy(copy->path, "/tmp/restante-store-XXXXXX");
    cr_assert_not_null(mkdtemp(copy->path));
    copy->config.path = copy->path;
    snprintf(command, sizeof command, "cp -a %s/. %s", fixture->path, copy->path);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(post_box_init_thread(&copy->box), STATUS_OK);
}

__attribute__((unused)) static void remove_copy(struct fixture *copy)
{
    post_box_deinit(&copy->box);
    (void)nftw(copy->path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Changes an octet of a segment's file. */
__attribute__((unused)) static void flip_octet(struct fixture *fixture, uint32_t segment,
                                               uint64_t offset)
{
    char path[SEGMENT_PATH_MAX];
    uint8_t octet;
    segment_path(fixture_volume(fixture)->segments_path, segment, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0);
    cr_assert_eq(pread(fd, &octet, 1, (off_t)offset), 1);
    octet ^= 0x10;
    cr_assert_eq(pwrite(fd, &octet, 1, (off_t)offset), 1);
    (void)close(fd);
}

#endif
