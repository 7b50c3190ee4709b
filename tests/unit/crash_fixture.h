/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery as after a crash: a copy is made of a running store, damaged, and opened. */
#ifndef TESTS_UNIT_CRASH_FIXTURE_H
#define TESTS_UNIT_CRASH_FIXTURE_H

#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>
#include <fcntl.h>

static struct fixture fixture, copy;
static uint64_t drop;
static bool copied;

__attribute__((unused)) static void crash_start(void)
{
    fixture_start(&fixture);
    drop = fixture_create(&fixture, "u@localhost");
    copied = false;
}

__attribute__((unused)) static void remove_copy(void)
{
    if (copied) {
        fixture_close(&copy);
        post_box_deinit(&copy.box);
        (void)nftw(copy.path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
        copied = false;
    }
}

__attribute__((unused)) static void crash_end(void)
{
    remove_copy();
    fixture_end(&fixture);
}

/* What a kill -9 would leave now, in `copy.path`, not yet opened. */
__attribute__((unused)) static void crash(void)
{
    char command[256];
    copy = (struct fixture){.config = fixture.config};
    strcpy(copy.path, "/tmp/restante-store-XXXXXX");
    cr_assert_not_null(mkdtemp(copy.path));
    copy.config.path = copy.path;
    snprintf(command, sizeof command, "cp -a %s/. %s", fixture.path, copy.path);
    cr_assert_eq(system(command), 0);
    cr_assert_eq(post_box_init_thread(&copy.box), STATUS_OK);
}

__attribute__((unused)) static void open_copy(void)
{
    fixture_open(&copy);
    copied = true;
}

__attribute__((unused)) static void reopen_copy(void)
{
    fixture_close(&copy);
    fixture_open(&copy);
}

__attribute__((unused)) static uint64_t quarantined(void)
{
    struct store_numbers numbers;
    store_numbers(copy.store, &numbers);
    return numbers.quarantined;
}

__attribute__((unused)) static void copy_path(char out[256], const char *name)
{
    snprintf(out, 256, "%s/volume/%s", copy.path, name);
}

__attribute__((unused)) static void segment_name(char out[64], uint32_t segment)
{
    snprintf(out, 64, "segments/%08x.seg", segment);
}

__attribute__((unused)) static void truncate_file(uint32_t segment, uint64_t length)
{
    char path[256], name[64];
    segment_name(name, segment);
    copy_path(path, name);
    cr_assert_eq(truncate(path, (off_t)length), 0);
}

__attribute__((unused)) static void flip(uint32_t segment, uint64_t offset)
{
    char path[256], name[64];
    uint8_t octet;
    segment_name(name, segment);
    copy_path(path, name);
    int fd = open(path, O_RDWR);
    cr_assert_eq(pread(fd, &octet, 1, (off_t)offset), 1);
    octet ^= 0x10;
    cr_assert_eq(pwrite(fd, &octet, 1, (off_t)offset), 1);
    close(fd);
}

__attribute__((unused)) static struct log_position log_end(struct fixture *from)
{
    return writer_position(fixture_volume(from)->writer);
}

/* Everything about a maildrop that a client can see, and whether its mail can be fetched. */
__attribute__((unused)) static char *listing(struct fixture *from, uint64_t id)
{
    static char texts[4][65536];
    static int next;
    char *text = texts[next++ % 4];
    size_t length = 0;
    struct view *view = fixture_view_ok(from, id);
    uint8_t buffer[4096];
    text[0] = '\0';
    for (uint32_t i = 0; i < store_view_count(view); i++) {
        struct store_message message;
        char uidl[STORAGE_UIDL_LENGTH_MAX];
        store_view_message(view, i, &message);
        size_t uidl_length = store_view_uidl(view, i, uidl);
        struct store_fetch fetch = {.client = &from->client,
                                    .view = view,
                                    .index = i,
                                    .length = message.wire_length,
                                    .buffer = message.wire_length <= 4096 ? buffer : NULL};
        enum status status = store_fetch(&fetch);
        if (status == STATUS_OK && fetch.range.kind == STORE_RANGE_EXTENT) {
            fetch.range.extent.hold.release(fetch.range.extent.hold.owner);
        }
        length += (size_t)snprintf(
            text + length, 65536 - length, "%u %llu %llu %llu %.*s %s\n", i,
            (unsigned long long)message.uid, (unsigned long long)message.octets,
            (unsigned long long)message.wire_length, (int)uidl_length, uidl, status_name(status));
        cr_assert(length < 65536);
    }
    store_view_close(&view);
    return text;
}

#endif
