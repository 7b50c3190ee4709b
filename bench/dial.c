/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static void on_writable(struct loop_op *op, enum status status, size_t octets)
{
    struct dial *dial = list_entry(op, struct dial, op);
    int failure = 0;
    socklen_t length = sizeof failure;
    if (status == STATUS_OK && getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &failure, &length) != 0) {
        failure = errno;
    }
    if (status == STATUS_OK && failure != 0) {
        status = status_from_errno(failure);
    }
    int fd = dial->fd;
    dial->fd = -1;
    if (status != STATUS_OK) {
        close(fd);
        fd = -1;
    }
    dial->on_dialed(dial, status, fd);
}

static void set_options(int fd, int family)
{
    const int one = 1;
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    if (family == AF_UNIX) {
        return;
    }
    /* Both are only about speed: no delay for small steps, no TIME-WAIT to run out of ports. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

enum status dial_start(struct dial *dial, struct loop *loop, const struct address *server,
                       int *out_fd)
{
    int family = server->any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return status_from_errno(errno);
    }
    set_options(fd, family);
    int result = connect(fd, &server->any, server->length);
    if (result != 0 && errno == EINPROGRESS) {
        /* On loopback the answer is there already, and asking again takes it. */
        result = connect(fd, &server->any, server->length);
    }
    if (result == 0 || errno == EISCONN) {
        *out_fd = fd;
        return STATUS_OK;
    }
    if (errno != EALREADY && errno != EINPROGRESS) {
        int why = errno;
        close(fd);
        return status_from_errno(why);
    }
    dial->fd = fd;
    dial->op.on_done = on_writable;
    loop_wait_writable(loop, &dial->op, fd);
    return STATUS_PENDING;
}

void dial_cancel(struct dial *dial, struct loop *loop)
{
    if (loop_op_busy(&dial->op)) {
        loop_cancel(loop, &dial->op);
    }
}
