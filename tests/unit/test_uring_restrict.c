/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of its own, by the bare system calls: what a loop never asks for is refused, the rest
 * works. Without io_uring here there is nothing to test. */
#include "io/uring_restrict.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
    int fd;
    uint8_t *rings; /* both, in one mapping */
    struct io_uring_sqe *sqes;
    struct io_uring_params params;
};

static bool ring_make(struct ring *ring)
{
    memset(ring, 0, sizeof *ring);
    ring->params.flags = IORING_SETUP_R_DISABLED;
    ring->fd = (int)syscall(SYS_io_uring_setup, 4, &ring->params);
    if (ring->fd < 0) {
        return false;
    }
    size_t size =
        ring->params.cq_off.cqes + ring->params.cq_entries * sizeof(struct io_uring_cqe) + 4096;
    ring->rings =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
    ring->sqes = mmap(NULL, 4 * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
                      ring->fd, IORING_OFF_SQES);
    cr_assert_neq((void *)ring->rings, MAP_FAILED);
    cr_assert_neq((void *)ring->sqes, MAP_FAILED);
    return true;
}

/* Submits one operation and returns its result. */
static int ring_run(struct ring *ring, const struct io_uring_sqe *sqe)
{
    unsigned *tail = (unsigned *)(void *)(ring->rings + ring->params.sq_off.tail);
    unsigned *array = (unsigned *)(void *)(ring->rings + ring->params.sq_off.array);
    unsigned mask = ring->params.sq_entries - 1, index = *tail & mask;
    ring->sqes[index] = *sqe;
    array[index] = index;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    long entered = syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    cr_assert_eq(entered, 1, "errno %d", errno);
    unsigned *head = (unsigned *)(void *)(ring->rings + ring->params.cq_off.head);
    const struct io_uring_cqe *cqes =
        (const struct io_uring_cqe *)(const void *)(ring->rings + ring->params.cq_off.cqes);
    int result = cqes[*head & (ring->params.cq_entries - 1)].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return result;
}

Test(uring_restrict, lets_a_ring_do_what_a_loop_does_and_nothing_else)
{
    struct ring ring;
    if (!ring_make(&ring)) {
        cr_skip_test("no io_uring here");
    }
    cr_assert_eq(uring_restrict(ring.fd), 0);

    char octet = 0;
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct io_uring_sqe sqe = {
        .opcode = IORING_OP_READ, .fd = zero, .addr = (uintptr_t)&octet, .len = 1};
    cr_assert_eq(ring_run(&ring, &sqe), 1, "reading is what a loop does");

    static const uint8_t refused[] = {IORING_OP_OPENAT,   IORING_OP_OPENAT2, IORING_OP_CONNECT,
                                      IORING_OP_WRITE,    IORING_OP_SOCKET,  IORING_OP_UNLINKAT,
                                      IORING_OP_RENAMEAT, IORING_OP_SPLICE,  IORING_OP_URING_CMD,
                                      IORING_OP_STATX,    IORING_OP_NOP};
    for (size_t i = 0; i < sizeof refused; i++) {
        sqe = (struct io_uring_sqe){
            .opcode = refused[i], .fd = AT_FDCWD, .addr = (uintptr_t) "/etc/passwd"};
        cr_assert_eq(ring_run(&ring, &sqe), -EACCES, "operation %u", (unsigned)refused[i]);
    }
    sqe = (struct io_uring_sqe){.opcode = IORING_OP_READ,
                                .flags = IOSQE_IO_LINK,
                                .fd = zero,
                                .addr = (uintptr_t)&octet,
                                .len = 1};
    cr_assert_eq(ring_run(&ring, &sqe), -EACCES, "linked operations are not used");
    close(zero);
    close(ring.fd);
}

Test(uring_restrict, holds_for_good)
{
    struct ring ring;
    if (!ring_make(&ring)) {
        cr_skip_test("no io_uring here");
    }
    cr_assert_eq(uring_restrict(ring.fd), 0);
    cr_assert_lt(uring_restrict(ring.fd), 0, "there is no second time");
    int fds[1] = {ring.fd};
    cr_assert_eq(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, fds, 1), -1);
    cr_assert_eq(errno, EACCES);
    close(ring.fd);
}

Test(uring_restrict, says_what_is_wrong)
{
    cr_assert_lt(uring_restrict(-1), 0);
}
