/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include "storage/bytes.h"
#include "storage/damaged.h"
#include "storage/index.h"
#include "storage/scrub.h"
#include "storage/segment.h"

#include <criterion/criterion.h>
#include <fcntl.h>

static struct fixture fixture;
static uint64_t drop, uids[300], blob_uid;

static void start(void)
{
    static char large[200000];
    fixture_start(&fixture);
    fixture_close(&fixture);
    fixture.config.blob_min = 65536;
    fixture_open(&fixture);
    drop = fixture_create(&fixture, "anna@localhost");
    for (int i = 0; i < 300; i++) {
        uids[i] = fixture_deliver(&fixture, drop, i % 2 == 0 ? "short" : "not so short at all");
    }
    memset(large, 'L', sizeof large);
    cr_assert_eq(fixture_deliver_all(&fixture, &drop, 1, large, sizeof large, NULL, &blob_uid),
                 STATUS_OK);
    fixture_checkpoint(&fixture);
}

static void end(void)
{
    fixture_end(&fixture);
}

TestSuite(scrub, .init = start, .fini = end);

static void reopen(uint64_t rate)
{
    fixture_close(&fixture);
    fixture.config.scrub_rate = rate;
    fixture_open(&fixture);
}

static struct store_numbers await_pass(void)
{
    struct store_numbers numbers;
    do {
        usleep(1000);
        store_numbers(fixture.store, &numbers);
    } while (numbers.scrub_passes == 0);
    return numbers;
}

static struct message_entry entry_of(uint64_t uid)
{
    struct index_reader *reader = NULL;
    struct index_state state;
    struct message_entry entry;
    cr_assert_eq(index_reader_create(fixture_volume(&fixture)->index, &reader), STATUS_OK);
    cr_assert_eq(index_begin(reader, &state), STATUS_OK);
    cr_assert_eq(index_message(reader, drop, uid, &entry), STATUS_OK);
    index_end(reader);
    index_reader_destroy(&reader);
    return entry;
}

static void flip(const struct message_entry *entry)
{
    char path[SEGMENT_PATH_MAX];
    uint8_t octet;
    struct volume *volume = fixture_volume(&fixture);
    if (entry->blob != 0) {
        segment_blob_path(volume->blobs_path, entry->blob, path);
    } else {
        segment_path(volume->segments_path, entry->segment, path);
    }
    int fd = open(path, O_RDWR);
    off_t at = (off_t)entry->offset + 1;
    cr_assert(fd >= 0 && pread(fd, &octet, 1, at) == 1);
    octet ^= 1;
    cr_assert_eq(pwrite(fd, &octet, 1, at), 1);
    close(fd);
}

Test(scrub, without_a_rate_nothing_is_read)
{
    struct store_numbers numbers;
    reopen(0);
    store_numbers(fixture.store, &numbers);
    cr_assert_eq(numbers.scrub_octets + numbers.scrub_passes, 0);
}

Test(scrub, a_pass_reads_every_message_and_finds_nothing_wrong_where_nothing_is)
{
    reopen(1ull << 40);
    struct store_numbers numbers = await_pass();
    cr_assert_eq(numbers.scrub_messages, 301);
    cr_assert_gt(numbers.scrub_octets, 200000);
    cr_assert_eq(numbers.damaged, 0);
    cr_assert_not(numbers.index_damaged);
}

Test(scrub, what_is_damaged_is_found_remembered_and_forgotten_when_it_is_healed)
{
    struct message_entry small = entry_of(uids[140]), blob = entry_of(blob_uid);
    flip(&small);
    flip(&blob);
    reopen(1ull << 40);
    cr_assert_eq(await_pass().damaged, 2);
    struct store_damaged list[3];
    cr_assert_eq(store_damaged(fixture.store, 0, list, 3), 2);
    cr_assert_eq(list[0].uid, uids[140]);
    cr_assert_eq(list[0].offset, small.offset);
    cr_assert_eq(strlen(list[0].uidl), MAILDROP_UIDL_LENGTH);
    cr_assert_eq(list[1].blob, blob.blob);
    /* Over a restart, without looking again. */
    reopen(0);
    struct store_numbers numbers;
    store_numbers(fixture.store, &numbers);
    cr_assert_eq(numbers.damaged, 2);
    flip(&small);
    reopen(1ull << 40);
    cr_assert_eq(await_pass().damaged, 1);
    /* The other one goes with its message. */
    cr_assert_eq(fixture_expunge(&fixture, drop, 300), STATUS_OK);
    fixture_checkpoint(&fixture);
    reopen(1ull << 40);
    cr_assert_eq(await_pass().damaged, 0);
}

/* Changes a row of the index, wherever a page has it: the first octets of a body's checksum. */
static void damage_row(const struct message_entry *entry)
{
    char path[128];
    struct stat found;
    unsigned changed = 0;
    (void)snprintf(path, sizeof path, "%s/volume/index/data.mdb", fixture.path);
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && fstat(fd, &found) == 0);
    size_t size = (size_t)found.st_size;
    uint8_t *data = malloc(size);
    cr_assert_eq(pread(fd, data, size, 0), (ssize_t)size);
    for (size_t at = 0; at + 8 <= size; at++) {
        if (bytes_get64(data + at) == entry->checksum) {
            uint8_t octet = data[at] ^ 4;
            cr_assert_eq(pwrite(fd, &octet, 1, (off_t)at), 1);
            changed++;
        }
    }
    cr_assert_gt(changed, 0);
    free(data);
    close(fd);
}

/* Of an index above 256 MiB (here: of any size) a start reads the inner pages alone. */
Test(scrub, leaves_of_a_large_index_are_its_to_check_and_the_next_start_rebuilds)
{
    struct store_numbers numbers;
    struct message_entry entry = entry_of(blob_uid); /* the only one with this checksum */
    fixture_close(&fixture);
    damage_row(&entry);
    fixture.config.index_check_max = 1;
    fixture.config.scrub_rate = 0;
    fixture_open(&fixture);
    store_numbers(fixture.store, &numbers);
    cr_assert_not(numbers.index_damaged, "nobody has looked");
    reopen(1ull << 40);
    cr_assert(await_pass().index_damaged);
    reopen(1ull << 40);
    numbers = await_pass();
    cr_assert_not(numbers.index_damaged, "it is a new one");
    cr_assert_eq(numbers.damaged, 0);
    cr_assert_eq(fixture_count(&fixture, drop), 301);
}

Test(scrub, it_reads_no_faster_than_it_may)
{
    struct store_numbers numbers;
    struct timespec before, now;
    reopen(100000);
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    do {
        usleep(1000);
        store_numbers(fixture.store, &numbers);
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    } while (numbers.scrub_octets < 60000);
    double took =
        (double)(now.tv_sec - before.tv_sec) + (double)(now.tv_nsec - before.tv_nsec) / 1e9;
    cr_assert_gt(took, 0.02);
    /* Closing does not wait for the pass. */
}

Test(scrub, a_file_of_garbage_is_no_reason_not_to_start)
{
    char path[128];
    fixture_close(&fixture);
    (void)snprintf(path, sizeof path, "%s/volume/scrub", fixture.path);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("next -1\ndamaged 1 2\ndamaged 5 6 7 8 0 99\n\377\376garbage", file);
    (void)fclose(file);
    fixture_open(&fixture);
    cr_assert_eq(damaged_count(fixture_volume(&fixture)->damaged), 1);
}

Test(scrub, messages_that_come_and_go_meanwhile_are_not_damaged)
{
    reopen(1ull << 40);
    for (int i = 0; i < 60; i++) {
        cr_assert_eq(fixture_expunge(&fixture, drop, 0), STATUS_OK);
        fixture_deliver(&fixture, drop, "new");
        if (i % 10 == 0) {
            fixture_checkpoint(&fixture);
        }
    }
    cr_assert_eq(await_pass().damaged, 0);
}
