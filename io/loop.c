/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"

#include "io/io_limits.h"
#include "io/loop_backend.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Making and unmaking */

/* sendfile(2) raises SIGPIPE on a dead connection and has no flag against it. */
static void block_sigpipe(void)
{
    sigset_t pipe_signal;
    (void)sigemptyset(&pipe_signal);
    (void)sigaddset(&pipe_signal, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL); /* cannot fail with these arguments */
}

enum status loop_create(const struct loop_config *config, struct loop **out_loop,
                        struct error *out_error)
{
    block_sigpipe();
    if (config->kind == LOOP_EPOLL) {
        return epoll_create_loop(config, out_loop, out_error);
    }
    enum status status = uring_create(config, out_loop, out_error);
    if (status == STATUS_OK || config->kind == LOOP_IO_URING) {
        return status;
    }
    struct error epoll_error;
    status = epoll_create_loop(config, out_loop, &epoll_error);
    if (status != STATUS_OK && out_error != NULL) {
        *out_error = epoll_error;
    }
    return status;
}

enum status loop_probe_uring(struct error *out_error)
{
    return uring_probe(out_error);
}

enum status loop_base_init(struct loop *loop, const struct loop_backend *backend,
                           const struct loop_config *config, int wake_flags)
{
    loop->backend = backend;
    loop->config = *config;
    list_init(&loop->completed);
    list_init(&loop->tasks);
    atomic_init(&loop->wake_pending, false);
    atomic_init(&loop->stopping, false);
    loop_now_update(loop);
    deadline_wheel_init(&loop->wheel, loop->now_ms);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | wake_flags);
    if (loop->wake_fd < 0) {
        return status_from_errno(errno);
    }
    loop->buckets = calloc(LOOP_SLOTS_FIRST, sizeof(struct loop_op *));
    loop->bucket_mask = LOOP_SLOTS_FIRST - 1;
    if (loop->buckets == NULL) {
        (void)close(loop->wake_fd); /* nothing was written to it */
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

void loop_base_deinit(struct loop *loop)
{
    (void)close(loop->wake_fd); /* an eventfd has nothing to lose */
    free(loop->buckets);
}

void loop_destroy(struct loop **loop)
{
    if (*loop != NULL) {
        assert((*loop)->inflight == 0);
        (*loop)->backend->destroy(*loop);
        *loop = NULL;
    }
}

const char *loop_backend_name(const struct loop *loop)
{
    return loop->backend->name;
}

const struct loop_counters *loop_counters(const struct loop *loop)
{
    return &loop->counters;
}

/* Time */

void loop_now_update(struct loop *loop)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    loop->now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ms;
}

struct deadline_wheel *loop_wheel(struct loop *loop)
{
    return &loop->wheel;
}

/* Operations by descriptor */

static struct loop_op **bucket_of(const struct loop *loop, int fd)
{
    return &loop->buckets[(uint32_t)fd & loop->bucket_mask];
}

/* Twice as many buckets; without memory the chains just grow longer. */
static void buckets_grow(struct loop *loop)
{
    uint32_t count = (loop->bucket_mask + 1) * 2;
    struct loop_op **old = loop->buckets;
    struct loop_op **grown = calloc(count, sizeof(struct loop_op *));
    if (grown == NULL) {
        return;
    }
    uint32_t old_count = loop->bucket_mask + 1;
    loop->buckets = grown;
    loop->bucket_mask = count - 1;
    for (uint32_t i = 0; i < old_count; i++) {
        struct loop_op *op = old[i];
        while (op != NULL) {
            struct loop_op *next = op->own.sibling;
            struct loop_op **bucket = bucket_of(loop, op->own.fd);
            op->own.sibling = *bucket;
            *bucket = op;
            op = next;
        }
    }
    free(old);
}

static void track(struct loop *loop, struct loop_op *op)
{
    if (loop->tracked > loop->bucket_mask) {
        buckets_grow(loop);
    }
    struct loop_op **bucket = bucket_of(loop, op->own.fd);
    op->own.sibling = *bucket;
    *bucket = op;
    loop->tracked++;
}

static void untrack(struct loop *loop, struct loop_op *op)
{
    struct loop_op **place = bucket_of(loop, op->own.fd);
    while (*place != op) {
        place = &(*place)->own.sibling;
    }
    *place = op->own.sibling;
    loop->tracked--;
}

static bool is_receive(enum loop_op_kind kind)
{
    return kind == LOOP_OP_ACCEPT || kind == LOOP_OP_RECEIVE || kind == LOOP_OP_WATCH ||
           kind == LOOP_OP_READABLE;
}

static bool is_send(enum loop_op_kind kind)
{
    return kind == LOOP_OP_SEND || kind == LOOP_OP_SEND_FILE || kind == LOOP_OP_WRITABLE;
}

static bool is_close(enum loop_op_kind kind)
{
    return kind == LOOP_OP_CLOSE;
}

static struct loop_op *find(const struct loop *loop, int fd, bool (*wanted)(enum loop_op_kind kind))
{
    struct loop_op *op = *bucket_of(loop, fd);
    while (op != NULL && (op->own.fd != fd || !wanted((enum loop_op_kind)op->own.kind))) {
        op = op->own.sibling;
    }
    return op;
}

struct loop_op *loop_find_receive(const struct loop *loop, int fd)
{
    return find(loop, fd, is_receive);
}

struct loop_op *loop_find_send(const struct loop *loop, int fd)
{
    return find(loop, fd, is_send);
}

bool loop_closing(const struct loop *loop, int fd)
{
    return find(loop, fd, is_close) != NULL;
}

/* Completions */

bool loop_op_busy(const struct loop_op *op)
{
    return op->own.kind != LOOP_OP_IDLE;
}

void loop_op_complete(struct loop *loop, struct loop_op *op, enum status status, size_t octets)
{
    assert((op->own.flags & LOOP_FLAG_DONE) == 0);
    op->own.flags |= LOOP_FLAG_DONE;
    op->own.status = (uint8_t)status;
    op->own.result = (int32_t)octets;
    list_push_back(&loop->completed, &op->own.link);
}

/* The last step of loop_close, once nothing is left on the descriptor. */
static void close_if_idle(struct loop *loop, int fd)
{
    struct loop_op *closing = find(loop, fd, is_close);
    if (closing == NULL || (closing->own.flags & LOOP_FLAG_DONE) != 0 ||
        loop_find_receive(loop, fd) != NULL || loop_find_send(loop, fd) != NULL) {
        return;
    }
    loop->backend->forget_fd(loop, fd);
    /* On Linux the descriptor is gone whatever close says, and a socket has nothing left to tell.
     */
    (void)close(fd);
    /* From here on the number may come back as another connection. */
    untrack(loop, closing);
    closing->own.fd = -1;
    loop_op_complete(loop, closing, STATUS_OK, 0);
}

void loop_op_finish(struct loop *loop, struct loop_op *op, enum status status, size_t octets)
{
    enum loop_op_kind kind = (enum loop_op_kind)op->own.kind;
    int fd = op->own.fd;
    bool tracked = kind != LOOP_OP_READ && kind != LOOP_OP_CLOSE;
    if (tracked) {
        untrack(loop, op);
    }
    op->own.kind = LOOP_OP_IDLE;
    op->own.flags = 0;
    loop->inflight--;
    counter_add(&loop->counters.completions, 1);
    op->on_done(op, status, octets); /* the op may be gone after this */
    if (tracked) {
        close_if_idle(loop, fd);
    }
}

/* Those that are there now; what their callbacks add waits, so that nobody is held up for ever. */
static void run_completed(struct loop *loop)
{
    struct list_link batch, *link;
    list_init(&batch);
    while ((link = list_pop_front(&loop->completed)) != NULL) {
        list_push_back(&batch, link);
    }
    while ((link = list_pop_front(&batch)) != NULL) {
        struct loop_op *op = list_entry(link, struct loop_op, own.link);
        loop_op_finish(loop, op, (enum status)op->own.status, (size_t)op->own.result);
    }
}

/* Turning */

void loop_task_init(struct loop_task *task, void (*on_run)(struct loop_task *task))
{
    list_init(&task->link);
    task->on_run = on_run;
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
    if (list_empty(&task->link)) {
        list_push_back(&loop->tasks, &task->link);
    }
}

void loop_task_cancel(struct loop_task *task)
{
    list_remove(&task->link);
}

static void run_tasks(struct loop *loop)
{
    struct list_link batch, *link;
    list_init(&batch);
    while ((link = list_pop_front(&loop->tasks)) != NULL) {
        list_push_back(&batch, link);
    }
    while ((link = list_pop_front(&batch)) != NULL) {
        struct loop_task *task = list_entry(link, struct loop_task, link);
        task->on_run(task);
    }
}

static int64_t time_to_wait(struct loop *loop, int64_t wait_ms)
{
    if (!list_empty(&loop->completed) || !list_empty(&loop->tasks) ||
        atomic_load_explicit(&loop->stopping, memory_order_relaxed)) {
        return 0;
    }
    if (wait_ms == 0 || loop->wheel.armed_count == 0) {
        return wait_ms;
    }
    loop_now_update(loop); /* callbacks have taken time since the turn began */
    int64_t next_ms = deadline_next_ms(&loop->wheel, loop->now_ms);
    return wait_ms < 0 || next_ms < wait_ms ? next_ms : wait_ms;
}

void loop_turn(struct loop *loop, int64_t wait_ms)
{
    counter_add(&loop->counters.turns, 1);
    loop->backend->wait(loop, time_to_wait(loop, wait_ms));
    run_completed(loop);
    (void)deadline_run(&loop->wheel, loop->now_ms); /* how many fired is of no interest here */
    if (loop->woken) {
        loop->woken = false;
        if (loop->config.on_wake != NULL) {
            loop->config.on_wake(loop->config.owner);
        }
    }
    run_tasks(loop);
    run_completed(loop);
}

void loop_run(struct loop *loop)
{
    while (!atomic_load_explicit(&loop->stopping, memory_order_acquire)) {
        loop_turn(loop, -1);
    }
    atomic_store_explicit(&loop->stopping, false, memory_order_relaxed);
}

void loop_stop(struct loop *loop)
{
    /* Release: partner of the acquire in loop_run, for what the stopping thread did before. */
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    loop_wake(loop);
}

void loop_wake_write(struct loop *loop)
{
    int saved = errno; /* this may run in a signal handler */
    /* A full counter means that the loop is being woken already. */
    (void)!write(loop->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
    errno = saved;
}

void loop_wake(struct loop *loop)
{
    /* Acquire-release: partner of loop_woken, so that on_wake sees what was done before this call
     * even when an earlier wake's write is the one that is read. */
    if (!atomic_exchange_explicit(&loop->wake_pending, true, memory_order_acq_rel)) {
        loop_wake_write(loop);
    }
}

void loop_woken(struct loop *loop)
{
    if (atomic_exchange_explicit(&loop->wake_pending, false, memory_order_acq_rel)) {
        loop->woken = true;
    }
}

/* Submitting */

static void begin(struct loop *loop, struct loop_op *op, enum loop_op_kind kind, int fd)
{
    assert(op->own.kind == LOOP_OP_IDLE);
    assert(fd >= 0);
    list_init(&op->own.link);
    op->own.kind = (uint8_t)kind;
    op->own.flags = 0;
    op->own.mode = 0;
    op->own.fd = fd;
    loop->inflight++;
    counter_add(&loop->counters.submits, 1);
    if (kind != LOOP_OP_READ) {
        assert(!loop_closing(loop, fd));
        assert(!is_receive(kind) || loop_find_receive(loop, fd) == NULL);
        assert(!is_send(kind) || loop_find_send(loop, fd) == NULL);
        track(loop, op);
    }
}

void loop_accept(struct loop *loop, struct loop_op *op, int listen_fd)
{
    begin(loop, op, LOOP_OP_ACCEPT, listen_fd);
    loop->backend->submit(loop, op);
}

void loop_receive(struct loop *loop, struct loop_op *op, int fd, enum loop_receive_mode mode)
{
    begin(loop, op, LOOP_OP_RECEIVE, fd);
    op->own.mode = (uint8_t)mode;
    loop->backend->submit(loop, op);
}

void loop_watch(struct loop *loop, struct loop_op *op, int fd)
{
    begin(loop, op, LOOP_OP_WATCH, fd);
    loop->backend->submit(loop, op);
}

void loop_wait_readable(struct loop *loop, struct loop_op *op, int fd)
{
    begin(loop, op, LOOP_OP_READABLE, fd);
    loop->backend->submit(loop, op);
}

void loop_wait_writable(struct loop *loop, struct loop_op *op, int fd)
{
    begin(loop, op, LOOP_OP_WRITABLE, fd);
    loop->backend->submit(loop, op);
}

void loop_send(struct loop *loop, struct loop_op *op, int fd, const struct iovec *iov,
               unsigned iov_count, bool more)
{
    assert(iov_count > 0 && iov_count <= LOOP_IOV_MAX);
    begin(loop, op, LOOP_OP_SEND, fd);
    op->own.send = iov[0];
    struct loop_send_parts parts = {.iov = iov, .iov_count = iov_count, .more = more};
    loop->backend->submit_send(loop, op, &parts);
}

static void begin_send_file(struct loop *loop, struct loop_op *op, int fd, int file_fd,
                            uint64_t offset, size_t length)
{
    assert(length > 0 && offset <= INT64_MAX);
    begin(loop, op, LOOP_OP_SEND_FILE, fd);
    op->own.file_fd = file_fd;
    op->own.file.offset = offset;
    op->own.file.length = length < LOOP_SEND_FILE_MAX ? length : LOOP_SEND_FILE_MAX;
}

void loop_send_file(struct loop *loop, struct loop_op *op, int fd, int file_fd, uint64_t offset,
                    size_t length)
{
    begin_send_file(loop, op, fd, file_fd, offset, length);
    loop->backend->submit(loop, op);
}

void loop_send_file_encrypted(struct loop *loop, struct loop_op *op, int fd, int file_fd,
                              uint64_t offset, size_t length)
{
    begin_send_file(loop, op, fd, file_fd, offset, length);
    op->own.mode = LOOP_SEND_FILE_PUSHED;
    loop->backend->submit(loop, op);
}

/* Setting the option, also when it is set, sends what is queued, however little. */
static void push_queued(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* best effort */
}

bool loop_try_send_file(struct loop *loop, struct loop_op *op)
{
    off_t offset = (off_t)op->own.file.offset;
    ssize_t sent;
    do {
        sent = sendfile(op->own.fd, op->own.file_fd, &offset, op->own.file.length);
    } while (sent < 0 && errno == EINTR);
    if (sent > 0) {
        loop_op_complete(loop, op, STATUS_OK, (size_t)sent);
    } else if (sent == 0) {
        loop_op_complete(loop, op, STATUS_EOF, 0);
    } else if (errno != EAGAIN) {
        loop_op_complete(loop, op, status_from_errno(errno), 0);
    } else {
        if (op->own.mode == LOOP_SEND_FILE_PUSHED) {
            push_queued(op->own.fd);
        }
        return false;
    }
    return true;
}

void loop_read(struct loop *loop, struct loop_op *op, int file_fd, void *data, size_t length,
               uint64_t offset)
{
    assert(length > 0 && length <= INT32_MAX);
    begin(loop, op, LOOP_OP_READ, file_fd);
    op->own.file_fd = file_fd;
    op->own.file.data = data;
    op->own.file.length = length;
    op->own.file.offset = offset;
    loop->backend->submit(loop, op);
}

void loop_cancel(struct loop *loop, struct loop_op *op)
{
    if (op->own.kind == LOOP_OP_IDLE || op->own.kind == LOOP_OP_READ ||
        op->own.kind == LOOP_OP_CLOSE ||
        (op->own.flags & (LOOP_FLAG_DONE | LOOP_FLAG_CANCELLED)) != 0) {
        return;
    }
    op->own.flags |= LOOP_FLAG_CANCELLED;
    loop->backend->cancel(loop, op);
}

/* Marks what a close cancels; true when something is left for the back end to cancel. */
static bool mark_cancelled(struct loop_op *op)
{
    if (op == NULL || (op->own.flags & LOOP_FLAG_DONE) != 0) {
        return false;
    }
    op->own.flags |= LOOP_FLAG_CANCELLED;
    return true;
}

void loop_close(struct loop *loop, struct loop_op *op, int fd)
{
    begin(loop, op, LOOP_OP_CLOSE, fd);
    bool receiving = mark_cancelled(loop_find_receive(loop, fd));
    bool sending = mark_cancelled(loop_find_send(loop, fd));
    if (receiving || sending) {
        /* close(2) alone would leave the kernel's requests alive, and the peer without a FIN. */
        (void)shutdown(fd, SHUT_RDWR); /* a socket that is gone already needs none */
        loop->backend->cancel_fd(loop, fd);
    }
    close_if_idle(loop, fd);
}

enum status loop_accept_status(int errno_value)
{
    switch (errno_value) {
    case ECANCELED:
        return STATUS_CANCELLED;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        return STATUS_LIMIT;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
    case EFAULT:
        return STATUS_IO;
    default:
        /* The rest, ECONNABORTED above all, concerns the one connection that is now gone from the
         * queue: accept(2) says to treat pending network errors like EAGAIN. */
        return STATUS_AGAIN;
    }
}
