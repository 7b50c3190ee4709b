/* SPDX-License-Identifier: Apache-2.0 */
#include "io/warm.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define LENGTH 1000000
#define PAGE   4096 /* or more: what is dropped is dropped in whole pages */

static int fd;
static bool tells; /* whether the file system here says what it would have to wait for */

static void open_file(void)
{
    FILE *file = tmpfile();
    char *data = malloc(LENGTH);
    memset(data, 'w', LENGTH);
    fd = dup(fileno(file));
    (void)fclose(file);
    cr_assert_eq(write(fd, data, LENGTH), LENGTH);
    cr_assert_eq(fdatasync(fd), 0);
    struct iovec iov = {data, 1};
    tells = preadv2(fd, &iov, 1, 0, RWF_NOWAIT) == 1;
    free(data);
}

static void close_file(void)
{
    (void)close(fd);
}

TestSuite(warm, .init = open_file, .fini = close_file);

/* From here on there is no cachestat(2), as before Linux 6.5 and in some containers. */
static void forbid_cachestat(void)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 451, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof steps / sizeof steps[0], .filter = steps};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

#define WITH_AND_WITHOUT(name)             \
    static void name(void);                \
    Test(warm, name)                       \
    {                                      \
        name();                            \
    }                                      \
    Test(warm, name##_##without_cachestat) \
    {                                      \
        forbid_cachestat();                \
        name();                            \
    }                                      \
    static void name(void)

/* Puts a part of the file out of the page cache; false where it stays all the same. */
static bool dropped(off_t offset, off_t length)
{
    char octet;
    struct iovec iov = {&octet, 1};
    cr_assert_eq(posix_fadvise(fd, offset, length, POSIX_FADV_DONTNEED), 0);
    return preadv2(fd, &iov, 1, offset + length / 2, RWF_NOWAIT) < 0 && errno == EAGAIN;
}

WITH_AND_WITHOUT(what_was_written_is_warm_wherever_it_begins_and_ends)
{
    for (uint64_t offset = 0; offset < LENGTH; offset += 99991) {
        for (uint64_t length = 0; length <= LENGTH - offset; length = length * 5 + 1) {
            cr_assert(!tells || warm_range(fd, offset, length), "%zu at %zu", (size_t)length,
                      (size_t)offset);
            cr_assert_eq(warm_length(fd, offset, length), length);
        }
    }
}

WITH_AND_WITHOUT(what_was_dropped_is_cold)
{
    if (dropped(0, LENGTH)) {
        cr_assert_not(warm_range(fd, 0, LENGTH));
        cr_assert_not(warm_range(fd, LENGTH - 1, 1));
        cr_assert_eq(warm_length(fd, 0, LENGTH), 0);
    }
}

WITH_AND_WITHOUT(a_hole_in_the_cache_is_seen_wherever_it_is)
{
    if (dropped(500000 / PAGE * PAGE, 100 * PAGE)) {
        cr_assert_not(warm_range(fd, 0, LENGTH));
        cr_assert(warm_range(fd, 0, 400000));
        cr_assert_eq(warm_length(fd, 0, 400000), 400000);
        size_t length = warm_length(fd, 0, LENGTH);
        cr_assert(length > 0 && length < 500000 + 100 * PAGE, "%zu", length);
    }
}

WITH_AND_WITHOUT(beyond_the_end_nothing_is_warm_but_it_is_for_sendfile_to_say_so)
{
    cr_assert_not(warm_range(fd, 0, LENGTH + 1));
    cr_assert_not(warm_range(fd, LENGTH, 1));
    cr_assert_eq(warm_length(fd, 0, LENGTH + 1), LENGTH + 1);
    cr_assert_eq(warm_length(fd, LENGTH, 10), 10);
}

WITH_AND_WITHOUT(what_is_no_file_cannot_tell)
{
    int pipe_fds[2];
    cr_assert_eq(pipe(pipe_fds), 0);
    cr_assert_not(warm_range(pipe_fds[0], 0, 100));
    cr_assert_eq(warm_length(pipe_fds[0], 0, 100), 100);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
}
