/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a volume; what runs on it is in test_recover.c and test_store.c. */
#include "storage/volume.h"

#include "storage/segment.h"
#include "storage/storage_limits.h"
#include "tests/unit/fake_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fake_disk fake;
static char *directory;
static char path[256];
static struct error error;

static void set_up(void)
{
    directory = fake_disk_temp_dir();
    (void)snprintf(path, sizeof path, "%s/volume", directory);
    fake_disk_init(&fake);
}

static void tear_down(void)
{
    fake_disk_deinit(&fake);
    fake_disk_remove_dir(directory);
}

TestSuite(volume, .init = set_up, .fini = tear_down);

static enum status open_volume(struct volume **out_volume)
{
    return volume_open(&(struct volume_config){.path = path, .disk = &fake.disk}, out_volume,
                       &error);
}

static struct volume *must_open(void)
{
    struct volume *volume = NULL;
    cr_assert_eq(open_volume(&volume), STATUS_OK, "%s", error.text);
    return volume;
}

static void put(const char *name, const char *content, size_t length)
{
    char file[512];
    (void)snprintf(file, sizeof file, "%s/%s", path, name);
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_eq(write(fd, content, length), (ssize_t)length);
    (void)close(fd);
}

static void check_directory(const char *name)
{
    char inner[512];
    struct stat found;
    (void)snprintf(inner, sizeof inner, "%s/%s", path, name);
    cr_assert_eq(stat(inner, &found), 0, "%s", inner);
    cr_assert(S_ISDIR(found.st_mode) && (found.st_mode & 077) == 0);
}

Test(volume, new_one_gets_directories_an_identity_and_the_defaults)
{
    static const uint8_t zero[16];
    struct volume *volume = must_open();
    check_directory("segments");
    check_directory("blobs");
    check_directory("index");
    check_directory("lost+found");
    cr_assert(memcmp(volume->identity.id, zero, 16) != 0);
    cr_assert(memcmp(volume->identity.key.octets, zero, 16) != 0);
    cr_assert(volume->identity.epoch > 1700000000u);
    cr_assert_eq(volume->config.segment_size, STORAGE_SEGMENT_SIZE_DEFAULT);
    cr_assert_eq(volume->config.space_reserve, 2ull * STORAGE_SEGMENT_SIZE_DEFAULT);
    cr_assert_str_eq(volume->config.path, path);
    volume_release(&volume);
    cr_assert_null(volume);
}

Test(volume, is_the_same_when_opened_again)
{
    struct volume *volume = must_open();
    struct volume_identity identity = volume->identity;
    volume_release(&volume);
    volume = must_open();
    cr_assert(memcmp(&volume->identity, &identity, sizeof identity) == 0);
    volume_release(&volume);
}

Test(volume, is_opened_by_one_at_a_time)
{
    struct volume *volume = must_open(), *other = NULL;
    cr_assert_eq(open_volume(&other), STATUS_BUSY);
    cr_assert(strstr(error.text, "another process") != NULL);
    cr_assert_null(other);
    volume_release(&volume);
    volume = must_open();
    volume_release(&volume);
}

Test(volume, whose_file_is_damaged_or_newer_is_refused)
{
    struct volume *volume = must_open();
    uint8_t data[VOLUME_FILE_SIZE];
    volume_file_encode(&volume->identity, data);
    volume_release(&volume);
    data[100] ^= 1;
    put("VOLUME", (char *)data, sizeof data);
    cr_assert_eq(open_volume(&volume), STATUS_CORRUPT);
    data[8] = 2;
    put("VOLUME", (char *)data, sizeof data);
    cr_assert_eq(open_volume(&volume), STATUS_UNSUPPORTED);
    put("VOLUME", "", 0);
    cr_assert_eq(open_volume(&volume), STATUS_CORRUPT);
}

Test(volume, with_segments_but_without_its_file_is_refused)
{
    struct volume *volume = must_open();
    char file[512];
    volume_release(&volume);
    put("segments/00000001.seg", "log", 3);
    (void)snprintf(file, sizeof file, "%s/VOLUME", path);
    (void)unlink(file);
    cr_assert_eq(open_volume(&volume), STATUS_CORRUPT);
    cr_assert_neq(access(file, F_OK), 0, "a new key was made");
}

Test(volume, new_one_that_fails_anywhere_can_be_made_again)
{
    static const enum fake_disk_kind kinds[] = {FAKE_DISK_MKDIR, FAKE_DISK_OPEN, FAKE_DISK_WRITE,
                                                FAKE_DISK_SYNC, FAKE_DISK_RENAME};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        enum status status = STATUS_IO;
        for (uint32_t nth = 1; status != STATUS_OK; nth++) {
            struct volume *volume = NULL;
            cr_assert(nth < 20);
            fake_disk_fail(&fake, kinds[i], nth, EIO, false);
            status = open_volume(&volume);
            cr_assert(status == STATUS_OK || status == STATUS_IO);
            volume_release(&volume);
        }
        fake_disk_heal(&fake);
        struct volume *volume = must_open();
        volume_release(&volume);
        fake_disk_remove_dir(strdup(path));
    }
}

Test(volume, network_and_fuse_file_systems_are_refused_and_local_ones_are_not)
{
    cr_assert_str_eq(volume_refused_file_system(0x6969), "NFS");
    cr_assert_str_eq(volume_refused_file_system(0x65735546), "FUSE");
    cr_assert_str_eq(volume_refused_file_system(0xff534d42), "CIFS");
    cr_assert_str_eq(volume_refused_file_system((uint64_t)(int64_t)(int32_t)0xfe534d42), "SMB2");
    cr_assert_null(volume_refused_file_system(0xef53));     /* ext4 */
    cr_assert_null(volume_refused_file_system(0x58465342)); /* XFS */
    cr_assert_null(volume_refused_file_system(0x9123683e)); /* btrfs */
    cr_assert_null(volume_refused_file_system(0x01021994)); /* tmpfs */
    cr_assert_null(volume_refused_file_system(0x794c7630)); /* overlay: a container's root */
}

Test(volume, path_that_is_too_long_or_empty_is_refused)
{
    struct volume *volume = NULL;
    memset(path, 'p', sizeof path - 1);
    char *longer = NULL;
    cr_assert(asprintf(&longer, "%s%s", path, path) > 0);
    struct volume_config config = {.path = longer};
    cr_assert_eq(volume_open(&config, &volume, &error), STATUS_TOO_BIG);
    config.path = "";
    cr_assert_eq(volume_open(&config, &volume, &error), STATUS_TOO_BIG);
    free(longer);
    path[0] = '\0';
}
