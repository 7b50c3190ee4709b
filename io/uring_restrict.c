/* SPDX-License-Identifier: Apache-2.0 */
#include "io/uring_restrict.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By the system call: Debian 12's liburing does not export these two registrations. */
static int ring_register(int ring_fd, unsigned operation, const void *data, unsigned count)
{
    return syscall(SYS_io_uring_register, ring_fd, operation, data, count) < 0 ? -errno : 0;
}

int uring_restrict(int ring_fd)
{
    /* What uring.c prepares; nothing that takes a path, makes a socket or touches other files. */
    static const unsigned char operations[] = {
        IORING_OP_ACCEPT, IORING_OP_RECV,     IORING_OP_SEND,         IORING_OP_SENDMSG,
        IORING_OP_READ,   IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
    };
    enum { OPERATIONS = sizeof operations / sizeof operations[0] };
    struct io_uring_restriction rules[OPERATIONS + 2];
    memset(rules, 0, sizeof rules);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        rules[i].opcode = IORING_RESTRICTION_SQE_OP;
        rules[i].sqe_op = operations[i];
    }
    rules[OPERATIONS].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    rules[OPERATIONS].sqe_flags = IOSQE_BUFFER_SELECT;
    /* What io_uring_queue_exit does last. */
    rules[OPERATIONS + 1].opcode = IORING_RESTRICTION_REGISTER_OP;
    rules[OPERATIONS + 1].register_op = IORING_UNREGISTER_RING_FDS;
    int result = ring_register(ring_fd, IORING_REGISTER_RESTRICTIONS, rules,
                               (unsigned)(sizeof rules / sizeof rules[0]));
    return result != 0 ? result : ring_register(ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}
