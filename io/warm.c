/* SPDX-License-Identifier: Apache-2.0 */
#include "io/warm.h"

#include "io/io_limits.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the C library's headers are older than the kernel may be */
#endif

/* struct cachestat_range and struct cachestat of linux/mman.h. */
struct page_range {
    uint64_t offset, length;
};
struct page_counts {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

enum look { LOOK_WARM, LOOK_COLD, LOOK_CANNOT_TELL };

/* Looks at one octet. */
static enum look look_at(int fd, uint64_t offset)
{
    uint8_t octet;
    struct iovec iov = {.iov_base = &octet, .iov_len = 1};
    ssize_t got = preadv2(fd, &iov, 1, (off_t)offset, RWF_NOWAIT);
    if (got > 0) {
        return LOOK_WARM;
    }
    return got < 0 && errno == EAGAIN ? LOOK_COLD : LOOK_CANNOT_TELL;
}

/* Counts pages. LOOK_CANNOT_TELL: single octets must be looked at. */
static enum look count_pages(int fd, uint64_t offset, uint64_t length)
{
    struct page_range range = {.offset = offset, .length = length};
    struct page_counts counts;
    if (syscall(SYS_cachestat, fd, &range, &counts, 0) != 0 || counts.cached == 0) {
        return LOOK_CANNOT_TELL;
    }
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t pages = (offset + length - 1) / page - offset / page + 1;
    if (counts.cached < pages) {
        return LOOK_COLD;
    }
    /* A page that is only just being read is counted too. The last one is read last. */
    return look_at(fd, offset + length - 1);
}

static bool passes(int fd, uint64_t offset, bool trusting)
{
    enum look look = look_at(fd, offset);
    return look == LOOK_WARM || (look == LOOK_CANNOT_TELL && trusting);
}

/* Looks at an octet now and then: how many, from the first on, come before one that is not warm (or
 * that cannot be told to be, unless `trusting`). The kernel reads and drops whole stretches. */
static uint64_t look_along(int fd, uint64_t offset, uint64_t length, bool trusting)
{
    for (uint64_t at = 0; at < length; at += WARM_LOOK_STEP) {
        if (!passes(fd, offset + at, trusting)) {
            return at;
        }
    }
    return passes(fd, offset + length - 1, trusting)
               ? length
               : (length - 1) / WARM_LOOK_STEP * WARM_LOOK_STEP;
}

bool warm_range(int fd, uint64_t offset, uint64_t length)
{
    enum look look = length == 0 ? LOOK_WARM : count_pages(fd, offset, length);
    return look == LOOK_WARM ||
           (look == LOOK_CANNOT_TELL && look_along(fd, offset, length, false) == length);
}

size_t warm_length(int fd, uint64_t offset, size_t length)
{
    if (length == 0 || count_pages(fd, offset, length) == LOOK_WARM) {
        return length;
    }
    return (size_t)look_along(fd, offset, length, true);
}
