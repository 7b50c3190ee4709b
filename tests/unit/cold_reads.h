/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are cold when a test says so. Putting them out of the page cache is not enough: not
 * every file system lets one, and a quick disk has them back before anybody looks. So this stands
 * in for the C library's preadv2, by which all of the program looks: a read that may not wait finds
 * nothing. Reads that may wait are as ever. Included by one file of a program.
 */
#ifndef TESTS_UNIT_COLD_READS_H
#define TESTS_UNIT_COLD_READS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic bool reads_are_cold;

ssize_t cold_preadv2(int fd, const struct iovec *iov, int count, off_t offset,
                     int flags) __asm__("preadv2");
ssize_t cold_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (reads_are_cold && (flags & RWF_NOWAIT) != 0) {
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)syscall(SYS_preadv2, fd, iov, count, (long)offset, 0L, flags);
}

/* Programs compiled for large files use another name for the same function. */
extern __typeof__(cold_preadv2) cold_preadv64v2 __asm__("preadv64v2")
    __attribute__((alias("preadv2")));

#endif
