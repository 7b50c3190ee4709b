/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring back end, and the only file that knows liburing.
 *
 * A submission is known to the kernel by a slot of our table and that slot's generation, never by a
 * pointer: an answer for a generation that is gone is counted and dropped. A slot is taken when a
 * submission is queued and given back by the answer without IORING_CQE_F_MORE, whatever else that
 * answer says; a multishot that ended for the kernel's own reasons is submitted again without its
 * owner noticing. Nothing is ever linked, and nothing is sent twice at once on a socket.
 *
 * The ring is for the thread that made it (SINGLE_ISSUER), which runs all completion work itself in
 * its one system call a turn (DEFER_TASKRUN).
 */
#include "io/io_limits.h"
#include "io/loop_backend.h"
#include "io/op_table.h"
#include "io/ring_size.h"
#include "io/uring_refused.h"
#include "io/uring_restrict.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { GROUP_STREAM, GROUP_BULK, GROUP_COUNT };

enum {
    FLAG_KERNEL = LOOP_FLAG_BACKEND,       /* a submission is out; `slot` is valid */
    FLAG_WAITING = LOOP_FLAG_BACKEND << 1, /* on `starved` or `unsent` */
    FLAG_RECANCEL = LOOP_FLAG_BACKEND << 2 /* on `recancel` */
};

/* user_data: a tag and the operation's name in the table; or a tag and a descriptor. */
#define TAG_SHIFT     OP_TABLE_NAME_BITS
#define TAG_OP        ((uint64_t)0 << TAG_SHIFT)
#define TAG_CANCEL    ((uint64_t)1 << TAG_SHIFT) /* the cancel of an operation */
#define TAG_CANCEL_FD ((uint64_t)2 << TAG_SHIFT) /* the cancel of all on a descriptor */
#define TAG_WAKE      ((uint64_t)3 << TAG_SHIFT)
#define TAG_MASK      ((uint64_t)3 << TAG_SHIFT)

/* One provided-buffer group: the kernel picks a buffer when there is something to put into it. */
struct buffer_group {
    struct io_uring_buf_ring *ring; /* NULL: not made */
    size_t ring_size;
    uint8_t *memory;
    size_t buffer_size;
    uint32_t count; /* a power of two */
};

/* A message header for each place in the submission queue: the kernel reads it, and the pieces it
 * names, when the submission is handed over. */
struct send_place {
    struct msghdr message;
    struct iovec iov[LOOP_IOV_MAX];
};

struct completion {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
};

struct uring_loop {
    struct loop base;
    struct io_uring ring;
    struct op_table table; /* operations the kernel has */
    struct buffer_group groups[GROUP_COUNT];
    struct list_link starved;  /* receives that found no buffer */
    struct list_link unsent;   /* operations that found the submission queue full */
    struct list_link recancel; /* operations whose cancel must be submitted (again) */
    struct send_place *send_places;
    uint64_t wake_value;
    bool wake_armed;
    uint32_t overflows_seen;
};

static struct uring_loop *uring_of(struct loop *loop)
{
    return (struct uring_loop *)(void *)loop;
}

/* Submitting */

/* The kernel has answered `op` for the last time, or never got it. */
static void let_go(struct uring_loop *uring, struct loop_op *op)
{
    op_table_remove(&uring->table, op);
    op->own.flags &= (uint8_t)~FLAG_KERNEL;
}

/* A place in the submission queue; NULL when the kernel will not take what is queued before its
 * completions have been seen, which must not happen here: callbacks run from wait only. */
static struct io_uring_sqe *next_sqe(struct uring_loop *uring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
    if (sqe == NULL) {
        (void)io_uring_submit(
            &uring->ring); /* EBUSY and EAGAIN: the next turn drains and repeats */
        sqe = io_uring_get_sqe(&uring->ring);
    }
    return sqe;
}

static void prepare_receive(struct io_uring_sqe *sqe, const struct loop_op *op)
{
    bool stream = op->own.mode == LOOP_RECEIVE_STREAM;
    if (stream) {
        io_uring_prep_recv_multishot(sqe, op->own.fd, NULL, 0, 0);
    } else {
        io_uring_prep_recv(sqe, op->own.fd, NULL, LOOP_BULK_BUFFER, 0);
    }
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = stream ? GROUP_STREAM : GROUP_BULK;
}

static void prepare_send(struct uring_loop *uring, struct io_uring_sqe *sqe,
                         const struct loop_op *op, const struct loop_send_parts *parts)
{
    int flags = MSG_NOSIGNAL | (parts->more ? (int)MSG_MORE : 0);
    if (parts->iov_count == 1) {
        size_t length = parts->iov[0].iov_len; /* a submission has 32 bits for it */
        io_uring_prep_send(sqe, op->own.fd, parts->iov[0].iov_base,
                           length < INT32_MAX ? length : INT32_MAX, flags);
        return;
    }
    struct send_place *place = &uring->send_places[sqe - uring->ring.sq.sqes];
    memcpy(place->iov, parts->iov, parts->iov_count * sizeof parts->iov[0]);
    memset(&place->message, 0, sizeof place->message);
    place->message.msg_iov = place->iov;
    place->message.msg_iovlen = parts->iov_count;
    io_uring_prep_sendmsg(sqe, op->own.fd, &place->message, (unsigned)flags);
}

static void prepare(struct uring_loop *uring, struct io_uring_sqe *sqe, const struct loop_op *op,
                    const struct loop_send_parts *parts)
{
    switch (op->own.kind) {
    case LOOP_OP_ACCEPT:
        io_uring_prep_multishot_accept(sqe, op->own.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        break;
    case LOOP_OP_RECEIVE:
        prepare_receive(sqe, op);
        break;
    case LOOP_OP_WATCH:
        io_uring_prep_poll_add(sqe, op->own.fd, POLLRDHUP);
        break;
    case LOOP_OP_READABLE:
        io_uring_prep_poll_add(sqe, op->own.fd, POLLIN);
        break;
    case LOOP_OP_SEND:
        prepare_send(uring, sqe, op, parts);
        break;
    case LOOP_OP_SEND_FILE:
    case LOOP_OP_WRITABLE:
        io_uring_prep_poll_add(sqe, op->own.fd, POLLOUT);
        break;
    default: /* LOOP_OP_READ */
        io_uring_prep_read(sqe, op->own.file_fd, op->own.file.data, (unsigned)op->own.file.length,
                           op->own.file.offset);
    }
}

/* Hands `op` to the kernel, or keeps it for the next turn when the queue is full. */
static void push(struct uring_loop *uring, struct loop_op *op, const struct loop_send_parts *parts)
{
    if (!op_table_put(&uring->table, op)) {
        loop_op_complete(&uring->base, op, STATUS_NO_MEMORY, 0);
        return;
    }
    op->own.flags |= FLAG_KERNEL;
    struct io_uring_sqe *sqe = next_sqe(uring);
    if (sqe == NULL) {
        let_go(uring, op);
        op->own.flags |= FLAG_WAITING;
        list_push_back(&uring->unsent, &op->own.link);
        return;
    }
    prepare(uring, sqe, op, parts);
    io_uring_sqe_set_data64(sqe, op_table_name(&uring->table, op) | TAG_OP);
}

/* Submits again what is kept in `op` alone: of a send, only its first piece was kept. */
static void push_again(struct uring_loop *uring, struct loop_op *op)
{
    struct loop_send_parts first = {.iov = &op->own.send, .iov_count = 1};
    push(uring, op, op->own.kind == LOOP_OP_SEND ? &first : NULL);
}

static void uring_submit(struct loop *loop, struct loop_op *op)
{
    if (op->own.kind == LOOP_OP_SEND_FILE && loop_try_send_file(loop, op)) {
        return; /* answered later in this turn; a full socket is waited for by a poll */
    }
    push(uring_of(loop), op, NULL);
}

static void uring_submit_send(struct loop *loop, struct loop_op *op,
                              const struct loop_send_parts *parts)
{
    push(uring_of(loop), op, parts);
}

/* Cancelling */

static void push_cancel(struct uring_loop *uring, struct loop_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    if (sqe == NULL) {
        op->own.flags |= FLAG_RECANCEL;
        list_push_back(&uring->recancel, &op->own.link);
        return;
    }
    io_uring_prep_cancel64(sqe, op_table_name(&uring->table, op) | TAG_OP, 0);
    io_uring_sqe_set_data64(sqe, op_table_name(&uring->table, op) | TAG_CANCEL);
}

static void uring_cancel(struct loop *loop, struct loop_op *op)
{
    if ((op->own.flags & FLAG_WAITING) != 0) {
        op->own.flags &= (uint8_t)~FLAG_WAITING;
        list_remove(&op->own.link);
        loop_op_complete(loop, op, STATUS_CANCELLED, 0);
    } else if ((op->own.flags & FLAG_RECANCEL) == 0) {
        push_cancel(uring_of(loop), op);
    }
}

/* Ends at once what is not with the kernel; true when the kernel has to be asked. */
static bool cancel_waiting(struct uring_loop *uring, struct loop_op *op)
{
    if (op == NULL || (op->own.flags & LOOP_FLAG_DONE) != 0) {
        return false;
    }
    if ((op->own.flags & FLAG_WAITING) != 0) {
        uring_cancel(&uring->base, op);
        return false;
    }
    return true;
}

static void uring_cancel_fd(struct loop *loop, int fd)
{
    struct uring_loop *uring = uring_of(loop);
    struct loop_op *ops[2] = {loop_find_receive(loop, fd), loop_find_send(loop, fd)};
    bool receiving = cancel_waiting(uring, ops[0]);
    bool sending = cancel_waiting(uring, ops[1]);
    if (!receiving && !sending) {
        return;
    }
    struct io_uring_sqe *sqe = next_sqe(uring);
    if (sqe != NULL) {
        io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
        io_uring_sqe_set_data64(sqe, TAG_CANCEL_FD | (uint32_t)fd);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        if ((i == 0 ? receiving : sending) && (ops[i]->own.flags & FLAG_RECANCEL) == 0) {
            push_cancel(uring, ops[i]);
        }
    }
}

/* The answer to a cancel counts for nothing by itself: only the operation's own answer ends it. But
 * when the kernel missed one that was on its way from one state to another, it is asked again. */
static void cancel_answered(struct uring_loop *uring, struct loop_op *op, int32_t result)
{
    if (op != NULL && (result == -ENOENT || result == -EALREADY) &&
        (op->own.flags & (FLAG_KERNEL | LOOP_FLAG_CANCELLED | FLAG_RECANCEL)) ==
            (FLAG_KERNEL | LOOP_FLAG_CANCELLED)) {
        op->own.flags |= FLAG_RECANCEL;
        list_push_back(&uring->recancel, &op->own.link);
    }
}

/* Buffers */

static uint8_t *buffer_at(const struct buffer_group *group, uint32_t id)
{
    return group->memory + (size_t)id * group->buffer_size;
}

static void buffer_return(struct buffer_group *group, uint32_t id)
{
    io_uring_buf_ring_add(group->ring, buffer_at(group, id), (unsigned)group->buffer_size,
                          (unsigned short)id, io_uring_buf_ring_mask(group->count), 0);
    io_uring_buf_ring_advance(group->ring, 1);
}

static void group_unmap(struct buffer_group *group)
{
    if (group->ring != NULL) {
        (void)munmap(group->ring, group->ring_size); /* our own mapping */
    }
    if (group->memory != NULL) {
        (void)munmap(group->memory, group->count * group->buffer_size);
    }
    memset(group, 0, sizeof *group);
}

static void *map_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* 0, or minus errno. Only the ring itself is locked in memory; a buffer that was never used takes
 * no memory at all. */
static int group_make(struct uring_loop *uring, unsigned id, uint32_t count, size_t buffer_size)
{
    struct buffer_group *group = &uring->groups[id];
    group->count = 1;
    while (group->count < count && group->count < LOOP_BUFFERS_MAX) {
        group->count *= 2;
    }
    group->buffer_size = buffer_size;
    group->ring_size = group->count * sizeof(struct io_uring_buf);
    group->ring = map_memory(group->ring_size);
    group->memory = map_memory(group->count * buffer_size);
    if (group->ring == NULL || group->memory == NULL) {
        return -ENOMEM;
    }
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)group->ring,
                                            .ring_entries = group->count,
                                            .bgid = (uint16_t)id};
    int result = io_uring_register_buf_ring(&uring->ring, &registration, 0);
    if (result != 0) {
        return result;
    }
    for (uint32_t i = 0; i < group->count; i++) {
        buffer_return(group, i);
    }
    return 0;
}

/* Completions */

static bool cancelled(const struct loop_op *op)
{
    return (op->own.flags & LOOP_FLAG_CANCELLED) != 0;
}

/* The kernel has let go of `op`: submit it again unless its owner wants it to end. */
static void rearm(struct uring_loop *uring, struct loop_op *op)
{
    if (cancelled(op)) {
        loop_op_finish(&uring->base, op, STATUS_CANCELLED, 0);
    } else {
        push_again(uring, op);
    }
}

static void accept_answered(struct uring_loop *uring, struct loop_op *op, int32_t result, bool more)
{
    if (result >= 0) {
        op->on_accept(op, result);
    }
    if (more) {
        return;
    }
    enum status status = result >= 0 ? STATUS_AGAIN : loop_accept_status(-result);
    if (status == STATUS_AGAIN) {
        rearm(uring, op);
    } else {
        loop_op_finish(&uring->base, op, status, 0);
    }
}

static void receive_data(struct uring_loop *uring, struct loop_op *op,
                         const struct completion *completion)
{
    struct buffer_group *group =
        &uring->groups[op->own.mode == LOOP_RECEIVE_STREAM ? GROUP_STREAM : GROUP_BULK];
    uint32_t id = completion->flags >> IORING_CQE_BUFFER_SHIFT;
    assert(id < group->count);
    if (completion->result > 0) {
        op->on_data(op, buffer_at(group, id), (size_t)completion->result);
    }
    buffer_return(group, id);
}

static void receive_ended(struct uring_loop *uring, struct loop_op *op, int32_t result)
{
    if (result == 0) {
        loop_op_finish(&uring->base, op, STATUS_EOF, 0);
    } else if (result == -ENOBUFS && !cancelled(op)) {
        /* Armed again when this batch's buffers are back in the ring; at once would fail at once.
         */
        counter_add(&uring->base.counters.buffers_starved, 1);
        op->own.flags |= FLAG_WAITING;
        list_push_back(&uring->starved, &op->own.link);
    } else if (result == -ENOBUFS || result == -EINTR || result == -EAGAIN ||
               (result > 0 && op->own.mode == LOOP_RECEIVE_STREAM)) {
        rearm(uring, op);
    } else if (result > 0) {
        loop_op_finish(&uring->base, op, STATUS_OK, 0);
    } else {
        loop_op_finish(&uring->base, op, status_from_errno(-result), 0);
    }
}

static void send_file_answered(struct uring_loop *uring, struct loop_op *op)
{
    if (cancelled(op)) {
        loop_op_finish(&uring->base, op, STATUS_CANCELLED, 0);
    } else if (!loop_try_send_file(&uring->base, op)) {
        push_again(uring, op);
    }
}

static void watch_answered(struct uring_loop *uring, struct loop_op *op, int32_t result)
{
    enum status status = STATUS_CANCELLED;
    if (result < 0) {
        status = status_from_errno(-result);
    } else if ((result & (POLLERR | POLLHUP)) != 0) {
        status = STATUS_RESET;
    } else if ((result & POLLRDHUP) != 0) {
        status = STATUS_EOF;
    } else {
        rearm(uring, op);
        return;
    }
    loop_op_finish(&uring->base, op, status, 0);
}

static void readiness_answered(struct uring_loop *uring, struct loop_op *op, int32_t result)
{
    /* Errors and hang-ups are told by what the owner does next. */
    enum status status = result >= 0 ? STATUS_OK : status_from_errno(-result);
    loop_op_finish(&uring->base, op, status, 0);
}

static void transfer_answered(struct uring_loop *uring, struct loop_op *op, int32_t result)
{
    if (result > 0) {
        loop_op_finish(&uring->base, op, STATUS_OK, (size_t)result);
    } else if (result == 0) { /* the end of a file */
        loop_op_finish(&uring->base, op, STATUS_EOF, 0);
    } else if (result == -EINTR || result == -EAGAIN) {
        rearm(uring, op);
    } else {
        loop_op_finish(&uring->base, op, status_from_errno(-result), 0);
    }
}

static void op_answered(struct uring_loop *uring, struct loop_op *op,
                        const struct completion *completion)
{
    bool more = (completion->flags & IORING_CQE_F_MORE) != 0;
    if (!more) {
        let_go(uring, op);
        if ((op->own.flags & FLAG_RECANCEL) != 0) {
            op->own.flags &= (uint8_t)~FLAG_RECANCEL;
            list_remove(&op->own.link);
        }
    }
    switch (op->own.kind) {
    case LOOP_OP_ACCEPT:
        accept_answered(uring, op, completion->result, more);
        break;
    case LOOP_OP_RECEIVE:
        if ((completion->flags & IORING_CQE_F_BUFFER) != 0) {
            receive_data(uring, op, completion);
        }
        if (!more) {
            receive_ended(uring, op, completion->result);
        }
        break;
    case LOOP_OP_WATCH:
        watch_answered(uring, op, completion->result);
        break;
    case LOOP_OP_READABLE:
    case LOOP_OP_WRITABLE:
        readiness_answered(uring, op, completion->result);
        break;
    case LOOP_OP_SEND_FILE:
        send_file_answered(uring, op);
        break;
    default: /* LOOP_OP_SEND, LOOP_OP_READ */
        transfer_answered(uring, op, completion->result);
    }
}

static void arm_wake(struct uring_loop *uring)
{
    struct io_uring_sqe *sqe = uring->wake_armed ? NULL : next_sqe(uring);
    if (sqe != NULL) {
        io_uring_prep_read(sqe, uring->base.wake_fd, &uring->wake_value, sizeof uring->wake_value,
                           0);
        io_uring_sqe_set_data64(sqe, TAG_WAKE);
        uring->wake_armed = true;
    }
}

static void answered(struct uring_loop *uring, const struct completion *completion)
{
    struct loop_op *op = NULL;
    switch (completion->user_data & TAG_MASK) {
    case TAG_OP:
        op = op_table_find(&uring->table, completion->user_data);
        if (op == NULL) {
            counter_add(&uring->base.counters.stale_completions, 1);
        } else {
            op_answered(uring, op, completion);
        }
        break;
    case TAG_CANCEL:
        cancel_answered(uring, op_table_find(&uring->table, completion->user_data & ~TAG_MASK),
                        completion->result);
        break;
    case TAG_CANCEL_FD:
        if (completion->result < 0) {
            int fd = (int)(uint32_t)completion->user_data;
            cancel_answered(uring, loop_find_receive(&uring->base, fd), completion->result);
            cancel_answered(uring, loop_find_send(&uring->base, fd), completion->result);
        }
        break;
    default: /* TAG_WAKE */
        uring->wake_armed = false;
        loop_woken(&uring->base);
        arm_wake(uring);
    }
}

/* Copies answers out of the ring before running them, so that the kernel has the room again. */
static unsigned take_batch(struct uring_loop *uring, struct completion *batch)
{
    struct io_uring_cqe *cqes[LOOP_CQES_PER_BATCH];
    unsigned count = io_uring_peek_batch_cqe(&uring->ring, cqes, LOOP_CQES_PER_BATCH);
    for (unsigned i = 0; i < count; i++) {
        batch[i].user_data = cqes[i]->user_data;
        batch[i].result = cqes[i]->res;
        batch[i].flags = cqes[i]->flags;
    }
    io_uring_cq_advance(&uring->ring, count);
    return count;
}

static void run_completions(struct uring_loop *uring)
{
    struct completion batch[LOOP_CQES_PER_BATCH];
    unsigned left =
        io_uring_cq_ready(&uring->ring); /* a bound: callbacks must not keep us for ever */
    unsigned count;
    do {
        count = take_batch(uring, batch);
        for (unsigned i = 0; i < count; i++) {
            answered(uring, &batch[i]);
        }
        left = left > count ? left - count : 0;
    } while (count > 0 && left > 0);
    uint32_t overflows = *uring->ring.cq.koverflow;
    counter_add(&uring->base.counters.overflows, overflows - uring->overflows_seen);
    uring->overflows_seen = overflows;
}

/* Waiting */

/* The operations on `list` that are there now, once each, oldest first. */
static void push_all(struct uring_loop *uring, struct list_link *list)
{
    struct list_link batch, *link;
    list_init(&batch);
    while ((link = list_pop_front(list)) != NULL) {
        list_push_back(&batch, link);
    }
    while ((link = list_pop_front(&batch)) != NULL) {
        struct loop_op *op = list_entry(link, struct loop_op, own.link);
        op->own.flags &= (uint8_t)~FLAG_WAITING;
        push_again(uring, op);
    }
}

static void push_recancels(struct uring_loop *uring)
{
    struct list_link batch, *link;
    list_init(&batch);
    while ((link = list_pop_front(&uring->recancel)) != NULL) {
        list_push_back(&batch, link);
    }
    while ((link = list_pop_front(&batch)) != NULL) {
        struct loop_op *op = list_entry(link, struct loop_op, own.link);
        op->own.flags &= (uint8_t)~FLAG_RECANCEL;
        push_cancel(uring, op);
    }
}

/* The turn's one system call. Whatever it answers (timeout, signal, EBUSY or EAGAIN because
 * completions must be taken first), the completions are looked at next and the rest is submitted in
 * the next turn. */
static void enter(struct uring_loop *uring, int64_t wait_ms)
{
    bool behind = !list_empty(&uring->unsent) || !list_empty(&uring->recancel);
    if (wait_ms == 0 || behind || io_uring_cq_ready(&uring->ring) > 0) {
        (void)io_uring_submit_and_get_events(&uring->ring);
        return;
    }
    struct __kernel_timespec timeout = {.tv_sec = wait_ms / 1000,
                                        .tv_nsec = wait_ms % 1000 * 1000000};
    struct io_uring_cqe *first;
    (void)io_uring_submit_and_wait_timeout(&uring->ring, &first, 1, wait_ms < 0 ? NULL : &timeout,
                                           NULL);
}

static void uring_wait(struct loop *loop, int64_t wait_ms)
{
    struct uring_loop *uring = uring_of(loop);
    arm_wake(uring);
    push_recancels(uring);
    push_all(uring, &uring->unsent);
    push_all(uring, &uring->starved);
    enter(uring, wait_ms);
    loop_now_update(loop);
    run_completions(uring);
}

static void uring_forget_fd(struct loop *loop, int fd)
{
}

/* Making and unmaking */

static void release_ring(struct uring_loop *uring)
{
    io_uring_queue_exit(&uring->ring);
    for (unsigned i = 0; i < GROUP_COUNT; i++) {
        group_unmap(&uring->groups[i]);
    }
    free(uring->send_places);
    uring->send_places = NULL;
}

/* Closing a ring does not wait for what is in flight, and the wake's read writes into our memory.
 */
static void reap_wake(struct uring_loop *uring)
{
    loop_wake_write(&uring->base);
    while (uring->wake_armed) {
        struct completion batch[LOOP_CQES_PER_BATCH];
        (void)io_uring_submit_and_wait(&uring->ring, 1); /* repeated until the answer is there */
        unsigned count = take_batch(uring, batch);
        for (unsigned i = 0; i < count; i++) {
            if ((batch[i].user_data & TAG_MASK) == TAG_WAKE) {
                uring->wake_armed = false;
            }
        }
    }
}

static void uring_destroy(struct loop *loop)
{
    struct uring_loop *uring = uring_of(loop);
    reap_wake(uring);
    release_ring(uring);
    loop_base_deinit(loop);
    op_table_deinit(&uring->table);
    free(uring);
}

static const struct loop_backend uring_backend = {
    .name = "io_uring",
    .destroy = uring_destroy,
    .submit = uring_submit,
    .submit_send = uring_submit_send,
    .cancel = uring_cancel,
    .cancel_fd = uring_cancel_fd,
    .forget_fd = uring_forget_fd,
    .wait = uring_wait,
};

/* 0, or minus errno; then everything has been released again. */
static int make_ring(struct uring_loop *uring, const struct ring_size *size)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                                              IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
                                     .cq_entries = size->cq_entries};
    memset(&uring->ring, 0, sizeof uring->ring);
    int result = io_uring_queue_init_params(size->sq_entries, &uring->ring, &params);
    if (result != 0) {
        return result;
    }
    uring->send_places = calloc(params.sq_entries, sizeof *uring->send_places);
    result = uring->send_places == NULL ? -ENOMEM : 0;
    if (result == 0) {
        result = group_make(uring, GROUP_STREAM, size->stream_buffers, LOOP_STREAM_BUFFER);
    }
    if (result == 0) {
        result = group_make(uring, GROUP_BULK, size->bulk_buffers, LOOP_BULK_BUFFER);
    }
    if (result != 0) {
        release_ring(uring);
    }
    return result;
}

static void pause_ms(int64_t milliseconds)
{
    struct timespec pause = {.tv_nsec = milliseconds * 1000000};
    (void)nanosleep(&pause, NULL); /* at start-up only; a signal just makes it shorter */
}

/* Locked memory comes back to a user some time after a process has ended, so a restart that finds
 * none waits for it; only then, or when the limit is too low for waiting to help, a smaller ring is
 * tried. The process waits once: had each worker its own patience, the last would start minutes
 * after the first. */
static int make_ring_patiently(struct uring_loop *uring, struct ring_size size)
{
    static _Atomic int64_t waited_ms; /* of this process; a few turns too many do no harm */
    int result = make_ring(uring, &size);
    while (result == -ENOMEM) {
        if (waited_ms < LOOP_MEMLOCK_RETRY_MS && ring_size_locked(&size) <= uring_memlock_limit()) {
            pause_ms(LOOP_MEMLOCK_RETRY_STEP_MS);
            waited_ms += LOOP_MEMLOCK_RETRY_STEP_MS;
        } else if (!ring_size_halve(&size)) {
            break;
        }
        result = make_ring(uring, &size);
    }
    return result;
}

static bool supports_operations(struct io_uring *ring)
{
    static const int needed[] = {IORING_OP_ACCEPT,      IORING_OP_RECV, IORING_OP_SEND,
                                 IORING_OP_SENDMSG,     IORING_OP_READ, IORING_OP_POLL_ADD,
                                 IORING_OP_ASYNC_CANCEL};
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool supported = probe != NULL;
    for (size_t i = 0; supported && i < sizeof needed / sizeof needed[0]; i++) {
        supported = io_uring_opcode_supported(probe, needed[i]) != 0;
    }
    io_uring_free_probe(probe);
    return supported;
}

enum status uring_create(const struct loop_config *config, struct loop **out_loop,
                         struct error *out_error)
{
    struct uring_loop *uring = calloc(1, sizeof *uring);
    if (uring == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for a loop");
    }
    list_init(&uring->starved);
    list_init(&uring->unsent);
    list_init(&uring->recancel);
    int result = make_ring_patiently(uring, ring_size_wanted(config));
    if (result != 0) {
        free(uring);
        return uring_refused(-result, out_error);
    }
    enum status status;
    if (!supports_operations(&uring->ring)) {
        status = uring_refused(EINVAL, out_error);
        goto fail;
    }
    status = loop_base_init(&uring->base, &uring_backend, config, 0);
    if (status != STATUS_OK) {
        (void)error_set(out_error, status, 0, NULL, "no eventfd: too many descriptors are open");
        goto fail;
    }
    /* Saves a look-up of the ring's descriptor a turn; without it all works the same. */
    (void)io_uring_register_ring_fd(&uring->ring);
    result = uring_restrict(uring->ring.ring_fd);
    if (result != 0) {
        status = uring_refused(-result, out_error);
        loop_base_deinit(&uring->base);
        goto fail;
    }
    *out_loop = &uring->base;
    return STATUS_OK;
fail:
    release_ring(uring);
    free(uring);
    return status;
}

enum status uring_probe(struct error *out_error)
{
    struct uring_loop uring;
    memset(&uring, 0, sizeof uring);
    struct ring_size size = ring_size_smallest();
    int result = make_ring_patiently(&uring, size);
    if (result != 0) {
        return uring_refused(-result, out_error);
    }
    bool supported = supports_operations(&uring.ring);
    release_ring(&uring);
    return supported ? STATUS_OK : uring_refused(EINVAL, out_error);
}
