/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/ahead.h"

#include "storage/segment.h"
#include "tests/unit/fake_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct fake_disk fake;
static struct post_box box;
static struct ahead *ahead;
static struct ahead_request request;
static char *directory;
static unsigned answers;

static void on_made(struct post_message *message)
{
    cr_assert_eq(message, &request.message);
    answers++;
}

static void set_up(void)
{
    directory = fake_disk_temp_dir();
    fake_disk_init(&fake);
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    cr_assert_eq(ahead_create(&fake.disk, directory, &box, &ahead), STATUS_OK);
    request.message.on_receive = on_made;
}

static void tear_down(void)
{
    ahead_destroy(&ahead);
    disk_close(&fake.disk, &request.fd);
    post_box_deinit(&box);
    fake_disk_deinit(&fake);
    fake_disk_remove_dir(directory);
}

TestSuite(ahead, .init = set_up, .fini = tear_down);

static void make(uint32_t id)
{
    unsigned before = answers;
    request.segment = id;
    ahead_ask(ahead, &request);
    while (answers == before) {
        cr_assert(post_wait(&box, 20000), "no answer came");
        (void)post_run(&box);
    }
}

static void put_file(uint32_t id, const char *content, size_t length)
{
    char path[SEGMENT_PATH_MAX];
    segment_path(directory, id, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(write(fd, content, length), (ssize_t)length);
    (void)close(fd);
}

Test(ahead, file_is_empty_open_and_durable_by_name)
{
    uint64_t size = 1;
    make(5);
    cr_assert_eq(request.status, STATUS_OK);
    cr_assert_eq(request.segment, 5u);
    cr_assert_eq(disk_file_size(request.fd, &size, NULL), STATUS_OK);
    cr_assert_eq(size, 0u);
    long file = fake_disk_find(&fake, 0, FAKE_DISK_SYNC_DATA, "/00000005.seg");
    cr_assert(file >= 0 && fake_disk_find(&fake, 0, FAKE_DISK_SYNC, directory) > file);
}

Test(ahead, empty_file_of_an_earlier_run_is_used_and_a_filled_one_is_left_alone)
{
    put_file(5, "x", 1);
    put_file(6, "y", 1);
    put_file(7, "", 0);
    make(5);
    cr_assert_eq(request.status, STATUS_OK);
    cr_assert_eq(request.segment, 7u);
}

Test(ahead, failures_are_told_and_leave_no_descriptor)
{
    static const struct {
        enum fake_disk_kind kind;
        int errno_value;
        enum status status;
    } failures[] = {{FAKE_DISK_OPEN, ENOSPC, STATUS_NO_SPACE},
                    {FAKE_DISK_SYNC_DATA, EIO, STATUS_IO},
                    {FAKE_DISK_SYNC, EIO, STATUS_IO}};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        fake_disk_fail(&fake, failures[i].kind, 1, failures[i].errno_value, false);
        make(5);
        cr_assert_eq(request.status, failures[i].status);
        cr_assert_eq(request.fd, -1);
        cr_assert_eq(request.error.errno_value, failures[i].errno_value);
    }
    make(5);
    cr_assert_eq(request.status, STATUS_OK);
}
