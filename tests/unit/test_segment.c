/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/segment.h"

#include "storage/storage_limits.h"
#include "tests/unit/fake_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fake_disk fake;
static char *directory;
static struct segment_table *table;

static void set_up(void)
{
    directory = fake_disk_temp_dir();
    fake_disk_init(&fake);
    cr_assert_eq(segment_table_create(&fake.disk, directory, directory, &table, NULL), STATUS_OK);
}

static void tear_down(void)
{
    segment_table_destroy(&table);
    fake_disk_deinit(&fake);
    fake_disk_remove_dir(directory);
}

TestSuite(segment, .init = set_up, .fini = tear_down);

static void make(const char *path, const char *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    (void)close(fd);
}

static void make_segment(uint32_t id, const char *content)
{
    char path[SEGMENT_PATH_MAX];
    segment_path(directory, id, path);
    make(path, content);
}

static void check_content(const struct segment *segment, const char *wanted)
{
    char data[64] = {0};
    cr_assert_eq(pread(segment->fd, data, sizeof data, 0), (ssize_t)strlen(wanted));
    cr_assert_str_eq(data, wanted);
}

Test(segment, names_are_those_of_the_readme)
{
    char path[SEGMENT_PATH_MAX];
    segment_path("/v/segments", 0x1a, path);
    cr_assert_str_eq(path, "/v/segments/0000001a.seg");
    segment_blob_path("/v/blobs", 0x1a3f, path);
    cr_assert_str_eq(path, "/v/blobs/3f/0000000000001a3f.blob");
}

Test(segment, is_opened_once_and_closed_with_the_table)
{
    struct segment *one, *two;
    make_segment(1, "one");
    cr_assert_eq(segment_get(table, 1, &one, NULL), STATUS_OK);
    cr_assert_eq(segment_get(table, 1, &two, NULL), STATUS_OK);
    cr_assert_eq(one, two);
    check_content(one, "one");
    segment_release(one);
    segment_release(two);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_OPEN), 1u);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_CLOSE), 0u);
    segment_table_destroy(&table);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_CLOSE), 1u);
}

Test(segment, that_is_not_there_is_not_found)
{
    struct segment *segment = NULL;
    cr_assert_eq(segment_get(table, 1, &segment, NULL), STATUS_NOT_FOUND);
    cr_assert_null(segment);
    make_segment(1, "later");
    cr_assert_eq(segment_get(table, 1, &segment, NULL), STATUS_OK);
    segment_release(segment);
}

Test(segment, that_is_forgotten_stays_readable_for_its_holders_only)
{
    struct segment *held, *again;
    char path[SEGMENT_PATH_MAX];
    make_segment(1, "held");
    cr_assert_eq(segment_get(table, 1, &held, NULL), STATUS_OK);
    segment_path(directory, 1, path);
    (void)unlink(path);
    segment_forget(table, 1);
    cr_assert_eq(segment_get(table, 1, &again, NULL), STATUS_NOT_FOUND);
    check_content(held, "held");
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_CLOSE), 0u);
    segment_release(held);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_CLOSE), 1u);
}

Test(segment, and_blob_of_one_number_are_two_files)
{
    struct segment *segment, *blob;
    char path[SEGMENT_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/07", directory);
    (void)mkdir(path, 0700);
    segment_blob_path(directory, 7, path);
    make(path, "blob");
    make_segment(7, "segment");
    cr_assert_eq(segment_get(table, 7, &segment, NULL), STATUS_OK);
    cr_assert_eq(segment_get_blob(table, 7, &blob, NULL), STATUS_OK);
    check_content(segment, "segment");
    check_content(blob, "blob");
    segment_forget_blob(table, 7);
    (void)unlink(path);
    struct segment *gone;
    cr_assert_eq(segment_get_blob(table, 7, &gone, NULL), STATUS_NOT_FOUND);
    segment_release(segment);
    segment_release(blob);
}

Test(segment, short_of_descriptors_the_unused_are_given_back)
{
    struct segment *segment;
    for (uint32_t id = 1; id <= 10; id++) {
        make_segment(id, "x");
        cr_assert_eq(segment_get(table, id, &segment, NULL), STATUS_OK);
        segment_release(segment);
    }
    make_segment(11, "x");
    fake_disk_fail(&fake, FAKE_DISK_OPEN, 1, EMFILE, false);
    cr_assert_eq(segment_get(table, 11, &segment, NULL), STATUS_OK);
    segment_release(segment);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_CLOSE), 5u);
    /* The newest were kept. */
    uint32_t opens = fake_disk_count(&fake, FAKE_DISK_OPEN);
    cr_assert_eq(segment_get(table, 10, &segment, NULL), STATUS_OK);
    segment_release(segment);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_OPEN), opens);
    fake_disk_fail(&fake, FAKE_DISK_OPEN, 1, EMFILE, true);
    cr_assert_eq(segment_get(table, 1, &segment, NULL), STATUS_LIMIT);
}

static void *get_and_release(void *owner)
{
    for (unsigned i = 0; i < 2000; i++) {
        struct segment *segment;
        uint32_t id = 1 + (i * 7 + *(unsigned *)owner) % 4;
        if (segment_get(table, id, &segment, NULL) != STATUS_OK) {
            return owner;
        }
        if (i % 5 == 0) {
            segment_forget(table, id);
        }
        segment_release(segment);
    }
    return NULL;
}

Test(segment, many_threads_get_forget_and_release)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    for (uint32_t id = 1; id <= 4; id++) {
        make_segment(id, "x");
    }
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        cr_assert_eq(pthread_create(&threads[i], NULL, get_and_release, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed;
        (void)pthread_join(threads[i], &failed);
        cr_assert_null(failed);
    }
    segment_table_destroy(&table);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_OPEN), fake_disk_count(&fake, FAKE_DISK_CLOSE));
}

Test(segment, path_that_is_too_long_is_refused)
{
    char path[SEGMENT_PATH_MAX + 1];
    struct segment_table *other = NULL;
    memset(path, 'p', sizeof path);
    path[SEGMENT_PATH_MAX - 20] = '\0';
    cr_assert_eq(segment_table_create(&fake.disk, path, "/", &other, NULL), STATUS_TOO_BIG);
    cr_assert_null(other);
}
