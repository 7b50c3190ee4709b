/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/disk.h"

#include "tests/unit/fake_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fake_disk fake;
static char *directory;
static char path[512];

static void set_up(void)
{
    directory = fake_disk_temp_dir();
    (void)snprintf(path, sizeof path, "%s/file", directory);
    fake_disk_init(&fake);
}

static void tear_down(void)
{
    fake_disk_deinit(&fake);
    fake_disk_remove_dir(directory);
}

TestSuite(disk, .init = set_up, .fini = tear_down);

static int open_new(void)
{
    int fd = -1;
    struct error error;
    cr_assert_eq(disk_open(&fake.disk, path, O_RDWR | O_CREAT, 0600, &fd, &error), STATUS_OK);
    return fd;
}

static void check_content(int fd, const char *wanted)
{
    char data[64] = {0};
    size_t length = 0;
    cr_assert_eq(disk_read(disk_real(), fd, data, sizeof data, 0, &length, NULL), STATUS_OK);
    cr_assert_eq(length, strlen(wanted));
    cr_assert(memcmp(data, wanted, length) == 0, "%s", data);
}

Test(disk, short_writes_are_gone_on_with_whatever_their_size)
{
    for (size_t octets = 1; octets < 11; octets++) {
        int fd = open_new();
        char a[] = "abc", b[] = "", c[] = "defgh", d[] = "ijk";
        struct iovec iov[] = {{a, 3}, {b, 0}, {c, 5}, {d, 3}};
        fake_disk_cut(&fake, 1, octets, 0);
        cr_assert_eq(disk_write(&fake.disk, fd, iov, 4, 0, NULL), STATUS_OK);
        check_content(fd, "abcdefghijk");
        disk_close(&fake.disk, &fd);
        cr_assert_eq(fd, -1);
        (void)unlink(path);
    }
}

Test(disk, interrupted_calls_are_repeated)
{
    int fd = open_new();
    char data[4];
    size_t length;
    struct iovec iov = {(char[]){'a', 'b', 'c'}, 3};
    fake_disk_fail(&fake, FAKE_DISK_WRITE, 1, EINTR, false);
    cr_assert_eq(disk_write(&fake.disk, fd, &iov, 1, 0, NULL), STATUS_OK);
    fake_disk_fail(&fake, FAKE_DISK_READ, 1, EINTR, false);
    cr_assert_eq(disk_read(&fake.disk, fd, data, 4, 0, &length, NULL), STATUS_OK);
    cr_assert_eq(length, 3u);
    disk_close(&fake.disk, &fd);
    fake_disk_fail(&fake, FAKE_DISK_OPEN, 1, EINTR, false);
    cr_assert_eq(disk_open(&fake.disk, path, O_RDONLY, 0, &fd, NULL), STATUS_OK);
    disk_close(&fake.disk, &fd);
}

Test(disk, more_entries_than_one_call_takes_are_written_in_several)
{
    enum { COUNT = IOV_MAX * 2 + 5 };
    static uint8_t data[COUNT];
    static struct iovec iov[COUNT];
    int fd = open_new();
    uint64_t size;
    for (int i = 0; i < COUNT; i++) {
        iov[i] = (struct iovec){data + i, 1};
    }
    cr_assert_eq(disk_write(&fake.disk, fd, iov, COUNT, 10, NULL), STATUS_OK);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_WRITE), 3u);
    cr_assert_eq(disk_file_size(fd, &size, NULL), STATUS_OK);
    cr_assert_eq(size, COUNT + 10u);
    disk_close(&fake.disk, &fd);
}

Test(disk, failures_name_file_errno_and_offset)
{
    int fd = open_new();
    struct error error;
    struct iovec iov = {(char[]){'a', 'b', 'c'}, 3};
    fake_disk_cut(&fake, 1, 2, ENOSPC);
    cr_assert_eq(disk_write(&fake.disk, fd, &iov, 1, 100, &error), STATUS_NO_SPACE);
    cr_assert_eq(error.errno_value, ENOSPC);
    cr_assert_eq(error.offset, 102u);
    cr_assert_str_eq(error.path, path);
    fake_disk_fail(&fake, FAKE_DISK_SYNC_DATA, 1, EIO, false);
    cr_assert_eq(disk_sync_data(&fake.disk, fd, path, &error), STATUS_IO);
    cr_assert_eq(error.errno_value, EIO);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_SYNC_DATA), 1u); /* not repeated */
    disk_close(&fake.disk, &fd);
    cr_assert_eq(disk_open(&fake.disk, "/nowhere/x", O_RDONLY, 0, &fd, &error), STATUS_NOT_FOUND);
    cr_assert_str_eq(error.path, "/nowhere/x");
}

Test(disk, replaced_file_is_whole_or_as_it_was_whatever_fails)
{
    static const enum fake_disk_kind kinds[] = {FAKE_DISK_OPEN, FAKE_DISK_WRITE, FAKE_DISK_SYNC,
                                                FAKE_DISK_RENAME};
    cr_assert_eq(disk_replace_file(&fake.disk, directory, "file", "old", 3, NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        fake_disk_fail(&fake, kinds[i], 1, EIO, false);
        cr_assert_eq(disk_replace_file(&fake.disk, directory, "file", "new", 3, NULL), STATUS_IO);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        check_content(fd, "old");
        (void)close(fd);
        fake_disk_heal(&fake);
    }
    cr_assert_eq(disk_replace_file(&fake.disk, directory, "file", "new", 3, NULL), STATUS_OK);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    check_content(fd, "new");
    (void)close(fd);
}

Test(disk, replaced_file_is_synced_before_its_rename_and_the_directory_after)
{
    cr_assert_eq(disk_replace_file(&fake.disk, directory, "file", "x", 1, NULL), STATUS_OK);
    long sync = fake_disk_find(&fake, 0, FAKE_DISK_SYNC, "/file.tmp");
    long rename = fake_disk_find(&fake, 0, FAKE_DISK_RENAME, "/file.tmp");
    long last = fake_disk_find(&fake, 0, FAKE_DISK_SYNC, directory);
    cr_assert(sync >= 0 && rename > sync && last > rename);
}

Test(disk, directory_that_is_there_is_made_and_a_file_of_that_name_is_not)
{
    char inner[600];
    (void)snprintf(inner, sizeof inner, "%s/inner", directory);
    cr_assert_eq(disk_mkdir(&fake.disk, inner, 0700, NULL), STATUS_OK);
    cr_assert_eq(disk_mkdir(&fake.disk, inner, 0700, NULL), STATUS_OK);
    int fd = open_new();
    disk_close(&fake.disk, &fd);
    cr_assert_eq(disk_mkdir(&fake.disk, path, 0700, NULL), STATUS_EXISTS);
}

Test(disk, warm_octets_are_read_at_once_and_cold_ones_not_at_all)
{
    enum { LENGTH = 1 << 20 };
    int fd = open_new();
    uint8_t *data = malloc(LENGTH);
    memset(data, 'w', LENGTH);
    struct iovec iov = {data, LENGTH};
    cr_assert_eq(disk_write(&fake.disk, fd, &iov, 1, 0, NULL), STATUS_OK);
    cr_assert_eq(disk_sync_data(&fake.disk, fd, path, NULL), STATUS_OK);
    enum status status = disk_read_now(fd, data, 4096, 5000);
    if (status != STATUS_AGAIN) { /* else the file system here cannot tell: always cold */
        cr_assert_eq(status, STATUS_OK);
        cr_assert_eq(disk_read_now(fd, data, 4096, LENGTH - 100), STATUS_CORRUPT);
        disk_drop_cache(fd);
        status = disk_read_now(fd, data, LENGTH, 0);
        cr_assert(status == STATUS_AGAIN || status == STATUS_OK); /* dropping is but a hint */
    }
    free(data);
    disk_close(&fake.disk, &fd);
}

Test(disk, free_space_is_a_number)
{
    uint64_t octets = 0;
    cr_assert_eq(disk_free_octets(disk_real(), directory, &octets, NULL), STATUS_OK);
    cr_assert(octets > 0);
    fake_disk_set_free(&fake, 12345);
    cr_assert_eq(disk_free_octets(&fake.disk, directory, &octets, NULL), STATUS_OK);
    cr_assert_eq(octets, 12345u);
}
