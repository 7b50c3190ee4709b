/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The back end for kernels and containers that refuse a ring: epoll(7), level-triggered.
 *
 * A descriptor stays registered while operations come and go on it; what it is registered for is
 * widened when an operation must wait and narrowed only when the kernel reports something that
 * nobody waits for. A steady connection therefore costs no epoll_ctl at all. Sends are tried at
 * once, inside the submitting call; their answers are queued like all others.
 */
#include "io/io_limits.h"
#include "io/loop_backend.h"
#include "io/read_pool.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FLAG_MORE = LOOP_FLAG_BACKEND }; /* a send to be repeated with MSG_MORE */

/* What a descriptor is registered for. */
enum { WANT_INPUT = 1, WANT_OUTPUT = 2, WANT_HANGUP = 4, REGISTERED = 8 };

struct epoll_loop {
    struct loop base;
    int epoll_fd;
    uint8_t *wanted; /* by descriptor */
    size_t wanted_count;
    struct read_pool *readers; /* made by the first cold read */
    uint8_t *bulk_buffer;      /* LOOP_BULK_BUFFER, made by the first bulk receive */
    uint8_t stream_buffer[LOOP_STREAM_BUFFER];
};

static struct epoll_loop *epoll_of(struct loop *loop)
{
    return (struct epoll_loop *)(void *)loop;
}

/* Registration */

static enum status wanted_grow(struct epoll_loop *epoll, int fd)
{
    size_t count = epoll->wanted_count;
    if ((size_t)fd < count) {
        return STATUS_OK;
    }
    while (count <= (size_t)fd) {
        count = count == 0 ? LOOP_SLOTS_FIRST : count * 2;
    }
    uint8_t *grown = realloc(epoll->wanted, count);
    if (grown == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(grown + epoll->wanted_count, 0, count - epoll->wanted_count);
    epoll->wanted = grown;
    epoll->wanted_count = count;
    return STATUS_OK;
}

/* Registers `fd` for exactly `want`. */
static enum status register_for(struct epoll_loop *epoll, int fd, unsigned want)
{
    enum status status = wanted_grow(epoll, fd);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *wanted = &epoll->wanted[fd];
    struct epoll_event event = {.data.fd = fd};
    event.events = ((want & WANT_INPUT) != 0 ? (uint32_t)EPOLLIN : 0) |
                   ((want & WANT_OUTPUT) != 0 ? (uint32_t)EPOLLOUT : 0) |
                   ((want & WANT_HANGUP) != 0 ? (uint32_t)EPOLLRDHUP : 0);
    int how = (*wanted & REGISTERED) != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(epoll->epoll_fd, how, fd, &event) != 0) {
        /* ENOSPC is the per-user limit on watches, not a disk. */
        return errno == ENOSPC ? STATUS_LIMIT : status_from_errno(errno);
    }
    *wanted = (uint8_t)(REGISTERED | want);
    return STATUS_OK;
}

static void unregister(struct epoll_loop *epoll, int fd)
{
    if ((size_t)fd < epoll->wanted_count && epoll->wanted[fd] != 0) {
        /* It can only fail for a descriptor that its owner has closed already. */
        (void)epoll_ctl(epoll->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        epoll->wanted[fd] = 0;
    }
}

/* Makes `op` wait for `want`, or answers it with why it cannot. */
static void wait_for(struct epoll_loop *epoll, struct loop_op *op, unsigned want)
{
    int fd = op->own.fd;
    unsigned had = (size_t)fd < epoll->wanted_count ? epoll->wanted[fd] : 0;
    if ((had & want) == want) {
        return;
    }
    enum status status = register_for(epoll, fd, (had & ~(unsigned)REGISTERED) | want);
    if (status != STATUS_OK) {
        loop_op_complete(&epoll->base, op, status, 0);
    }
}

static bool waiting(const struct loop_op *op)
{
    return op != NULL && (op->own.flags & LOOP_FLAG_DONE) == 0;
}

/* What the operations waiting on `fd` need. */
static unsigned wanted_now(struct epoll_loop *epoll, int fd)
{
    const struct loop_op *receive = loop_find_receive(&epoll->base, fd);
    unsigned want = 0;
    if (waiting(receive)) {
        want |= receive->own.kind == LOOP_OP_WATCH ? WANT_HANGUP : WANT_INPUT;
    }
    if (waiting(loop_find_send(&epoll->base, fd))) {
        want |= WANT_OUTPUT;
    }
    return want;
}

/* After an event: stops the kernel from reporting for ever what nobody waits for any more. */
static void narrow(struct epoll_loop *epoll, int fd, uint32_t events)
{
    unsigned want = wanted_now(epoll, fd);
    if (want == 0) {
        unregister(epoll, fd); /* without this a hang-up would be reported in every turn */
        return;
    }
    unsigned told = ((events & EPOLLIN) != 0 ? (unsigned)WANT_INPUT : 0) |
                    ((events & EPOLLOUT) != 0 ? (unsigned)WANT_OUTPUT : 0) |
                    ((events & EPOLLRDHUP) != 0 ? (unsigned)WANT_HANGUP : 0);
    if ((told & ~want) != 0) {
        /* On failure the event is only reported again. */
        (void)register_for(epoll, fd, want);
    }
}

/* Operations */

static void accept_ready(struct epoll_loop *epoll, struct loop_op *op)
{
    for (unsigned i = 0; i < EPOLL_ACCEPTS_PER_TURN; i++) {
        int fd = accept4(op->own.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            op->on_accept(op, fd);
            if (!waiting(op)) {
                return; /* cancelled from there */
            }
            continue;
        }
        if (errno == EAGAIN) {
            return;
        }
        enum status status = loop_accept_status(errno);
        if (status != STATUS_AGAIN) {
            loop_op_finish(&epoll->base, op, status, 0);
            return;
        }
    }
}

static uint8_t *receive_buffer(struct epoll_loop *epoll, const struct loop_op *op, size_t *out_size)
{
    if (op->own.mode == LOOP_RECEIVE_STREAM) {
        *out_size = sizeof epoll->stream_buffer;
        return epoll->stream_buffer;
    }
    if (epoll->bulk_buffer == NULL) {
        epoll->bulk_buffer = malloc(LOOP_BULK_BUFFER);
    }
    *out_size = LOOP_BULK_BUFFER;
    return epoll->bulk_buffer;
}

/* One recv(2). False when there is no more to be done with `op` in this turn, or ever. */
static bool receive_once(struct epoll_loop *epoll, struct loop_op *op, uint8_t *buffer, size_t size)
{
    ssize_t got = recv(op->own.fd, buffer, size, 0);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            loop_op_finish(&epoll->base, op, status_from_errno(errno), 0);
        }
        return false;
    }
    if (got == 0) {
        loop_op_finish(&epoll->base, op, STATUS_EOF, 0);
        return false;
    }
    op->on_data(op, buffer, (size_t)got);
    if (!waiting(op)) {
        return false; /* cancelled from there */
    }
    if (op->own.mode == LOOP_RECEIVE_BULK) {
        loop_op_finish(&epoll->base, op, STATUS_OK, 0);
        return false;
    }
    return (size_t)got == size;
}

static void receive_ready(struct epoll_loop *epoll, struct loop_op *op)
{
    size_t size;
    uint8_t *buffer = receive_buffer(epoll, op, &size);
    if (buffer == NULL) {
        loop_op_finish(&epoll->base, op, STATUS_NO_MEMORY, 0);
        return;
    }
    for (unsigned i = 0; i < EPOLL_READS_PER_TURN; i++) {
        if (!receive_once(epoll, op, buffer, size)) {
            return;
        }
    }
}

static void receive_event(struct epoll_loop *epoll, struct loop_op *op, uint32_t events)
{
    switch (op->own.kind) {
    case LOOP_OP_ACCEPT:
        accept_ready(epoll, op);
        break;
    case LOOP_OP_RECEIVE:
        receive_ready(epoll, op);
        break;
    case LOOP_OP_READABLE:
        if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
            loop_op_finish(&epoll->base, op, STATUS_OK, 0);
        }
        break;
    default: /* LOOP_OP_WATCH */
        if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
            loop_op_finish(&epoll->base, op, STATUS_RESET, 0);
        } else if ((events & EPOLLRDHUP) != 0) {
            loop_op_finish(&epoll->base, op, STATUS_EOF, 0);
        }
    }
}

/* Answers `op` by what a send returned; false when the socket is full. */
static bool send_answer(struct epoll_loop *epoll, struct loop_op *op, ssize_t sent)
{
    if (sent >= 0) {
        loop_op_complete(&epoll->base, op, STATUS_OK, (size_t)sent);
    } else if (errno == EAGAIN || errno == EINTR) {
        return false;
    } else {
        loop_op_complete(&epoll->base, op, status_from_errno(errno), 0);
    }
    return true;
}

/* There is room again: the first piece alone, which is all that was kept. */
static void send_event(struct epoll_loop *epoll, struct loop_op *op)
{
    if (op->own.kind == LOOP_OP_WRITABLE) {
        loop_op_complete(&epoll->base, op, STATUS_OK, 0);
        return;
    }
    if (op->own.kind == LOOP_OP_SEND_FILE) {
        (void)loop_try_send_file(&epoll->base, op); /* full again: wait on */
        return;
    }
    int flags = MSG_NOSIGNAL | ((op->own.flags & FLAG_MORE) != 0 ? MSG_MORE : 0);
    ssize_t sent = send(op->own.fd, op->own.send.iov_base, op->own.send.iov_len, flags);
    (void)send_answer(epoll, op, sent); /* full again: wait on */
}

static void epoll_submit_send(struct loop *loop, struct loop_op *op,
                              const struct loop_send_parts *parts)
{
    struct epoll_loop *epoll = epoll_of(loop);
    struct iovec iov[LOOP_IOV_MAX];
    memcpy(iov, parts->iov, parts->iov_count * sizeof iov[0]);
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = parts->iov_count};
    ssize_t sent = sendmsg(op->own.fd, &message, MSG_NOSIGNAL | (parts->more ? (int)MSG_MORE : 0));
    if (!send_answer(epoll, op, sent)) {
        op->own.flags |= parts->more || parts->iov_count > 1 ? FLAG_MORE : 0;
        wait_for(epoll, op, WANT_OUTPUT);
    }
}

static void submit_read(struct epoll_loop *epoll, struct loop_op *op)
{
    if (epoll->readers == NULL) {
        enum status status = read_pool_create(&epoll->base, &epoll->readers);
        if (status != STATUS_OK) {
            loop_op_complete(&epoll->base, op, status, 0);
            return;
        }
    }
    read_pool_submit(epoll->readers, op);
}

static void epoll_submit(struct loop *loop, struct loop_op *op)
{
    struct epoll_loop *epoll = epoll_of(loop);
    switch (op->own.kind) {
    case LOOP_OP_SEND_FILE:
        if (!loop_try_send_file(loop, op)) {
            wait_for(epoll, op, WANT_OUTPUT);
        }
        break;
    case LOOP_OP_READ:
        submit_read(epoll, op);
        break;
    case LOOP_OP_WATCH:
        wait_for(epoll, op, WANT_HANGUP);
        break;
    case LOOP_OP_WRITABLE:
        wait_for(epoll, op, WANT_OUTPUT);
        break;
    default: /* LOOP_OP_ACCEPT, LOOP_OP_RECEIVE, LOOP_OP_READABLE */
        wait_for(epoll, op, WANT_INPUT);
    }
}

static void epoll_cancel(struct loop *loop, struct loop_op *op)
{
    int fd = op->own.fd;
    loop_op_complete(loop, op, STATUS_CANCELLED, 0);
    if (wanted_now(epoll_of(loop), fd) == 0) {
        /* Its owner may close it, or give it to another loop, without telling us. */
        unregister(epoll_of(loop), fd);
    }
}

static void epoll_cancel_fd(struct loop *loop, int fd)
{
    struct loop_op *receive = loop_find_receive(loop, fd);
    struct loop_op *send_op = loop_find_send(loop, fd);
    if (waiting(receive)) {
        loop_op_complete(loop, receive, STATUS_CANCELLED, 0);
    }
    if (waiting(send_op)) {
        loop_op_complete(loop, send_op, STATUS_CANCELLED, 0);
    }
    unregister(epoll_of(loop), fd);
}

static void epoll_forget_fd(struct loop *loop, int fd)
{
    unregister(epoll_of(loop), fd);
}

/* Waiting */

static void wake_event(struct epoll_loop *epoll)
{
    uint64_t wakes;
    (void)!read(epoll->base.wake_fd, &wakes, sizeof wakes); /* how many is of no interest */
    read_pool_collect(epoll->readers);
    loop_woken(&epoll->base);
}

/* Operations are looked up by descriptor, anew for each event: a callback may have ended them. An
 * event that was meant for a descriptor's former owner finds nothing to receive, and does no harm.
 */
static void run_event(struct epoll_loop *epoll, const struct epoll_event *event)
{
    int fd = event->data.fd;
    if (fd == epoll->base.wake_fd) {
        wake_event(epoll);
        return;
    }
    uint32_t broken = event->events & (EPOLLERR | EPOLLHUP);
    struct loop_op *op = loop_find_send(&epoll->base, fd);
    if (waiting(op) && ((event->events & EPOLLOUT) != 0 || broken != 0)) {
        send_event(epoll, op);
    }
    op = loop_find_receive(&epoll->base, fd);
    if (waiting(op) && ((event->events & (EPOLLIN | EPOLLRDHUP)) != 0 || broken != 0)) {
        receive_event(epoll, op, event->events);
    }
    narrow(epoll, fd, event->events);
}

static void epoll_wait_turn(struct loop *loop, int64_t wait_ms)
{
    struct epoll_loop *epoll = epoll_of(loop);
    struct epoll_event events[EPOLL_EVENTS_PER_TURN];
    int timeout = wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms;
    int count = epoll_wait(epoll->epoll_fd, events, EPOLL_EVENTS_PER_TURN, timeout);
    loop_now_update(loop);
    for (int i = 0; i < count; i++) { /* -1 is EINTR: nothing has happened */
        run_event(epoll, &events[i]);
    }
}

static void epoll_destroy(struct loop *loop)
{
    struct epoll_loop *epoll = epoll_of(loop);
    read_pool_destroy(&epoll->readers);
    (void)close(epoll->epoll_fd); /* holds nothing of value */
    loop_base_deinit(loop);
    free(epoll->wanted);
    free(epoll->bulk_buffer);
    free(epoll);
}

static const struct loop_backend epoll_backend = {
    .name = "epoll",
    .destroy = epoll_destroy,
    .submit = epoll_submit,
    .submit_send = epoll_submit_send,
    .cancel = epoll_cancel,
    .cancel_fd = epoll_cancel_fd,
    .forget_fd = epoll_forget_fd,
    .wait = epoll_wait_turn,
};

enum status epoll_create_loop(const struct loop_config *config, struct loop **out_loop,
                              struct error *out_error)
{
    struct epoll_loop *epoll = calloc(1, sizeof *epoll);
    if (epoll == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for a loop");
    }
    enum status status = loop_base_init(&epoll->base, &epoll_backend, config, EFD_NONBLOCK);
    if (status != STATUS_OK) {
        free(epoll);
        return error_set(out_error, status, 0, NULL, "no eventfd: too many descriptors are open");
    }
    epoll->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll->epoll_fd < 0) {
        status = error_set(out_error, status_from_errno(errno), errno, NULL,
                           "epoll_create1 failed: too many descriptors are open");
        goto fail;
    }
    status = register_for(epoll, epoll->base.wake_fd, WANT_INPUT);
    if (status != STATUS_OK) {
        (void)close(epoll->epoll_fd); /* holds nothing of value */
        status = error_set(out_error, status, 0, NULL, "the wake descriptor cannot be watched");
        goto fail;
    }
    *out_loop = &epoll->base;
    return STATUS_OK;
fail:
    loop_base_deinit(&epoll->base);
    free(epoll->wanted);
    free(epoll);
    return status;
}
