/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_loop.h"

#include "io/loop_backend.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX       1024
#define OPS_MAX       512  /* operations in flight at one time */
#define PIECE_MAX     5000 /* octets of one on_data */
#define STARVED_TURNS 6    /* how long a receive may find no buffer, at most */
#define REAL_WAIT_MS  5000 /* for another thread's answer: real time */
#define DO_PERCENT    60   /* of the operations that can go on in a turn do */
#define START_MS      1000000

/* An operation in flight, and what there is of it beyond what struct loop_op keeps. */
struct sim_op {
    struct loop_op *op;
    struct iovec iov[LOOP_IOV_MAX];
    unsigned iov_count;
    unsigned starved; /* turns */
};

struct sim_loop {
    struct loop base;
    struct sim_config config;
    struct chance chance;
    struct sim_counters counters;
    struct sim_op ops[OPS_MAX]; /* in the order of submission; holes have no op */
    size_t op_count;
    bool has_run; /* something has happened in this turn */
};

/* The thread's own world: one loop, its sockets, its clock. */
static __thread struct {
    bool is_on;
    int64_t now_ms;
    struct chance chance; /* for what is decided outside of the loop */
    enum sim_lie lie;
    struct sim_socket *sockets[FDS_MAX];
} sim;

static struct sim_loop *sim_of(struct loop *loop)
{
    return (struct sim_loop *)(void *)loop; /* base is its first member */
}

const struct sim_counters *sim_loop_counters(const struct loop *loop)
{
    return &((const struct sim_loop *)(const void *)loop)->counters;
}

/* --- what the simulation stands in for --- */

#define REAL(name, type)                          \
    static __typeof__(type) real;                 \
    if (real == NULL) {                           \
        *(void **)&real = dlsym(RTLD_NEXT, name); \
    }

int sim_clock_gettime(clockid_t clock, struct timespec *now) __asm__("clock_gettime");
int sim_clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL("clock_gettime", int (*)(clockid_t, struct timespec *))
    if (!sim.is_on || (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE)) {
        return real(clock, now);
    }
    *now = (struct timespec){.tv_sec = sim.now_ms / 1000, .tv_nsec = sim.now_ms % 1000 * 1000000};
    return 0;
}

static struct sim_socket *socket_of(int fd)
{
    return sim.is_on && fd >= 0 && fd < FDS_MAX ? sim.sockets[fd] : NULL;
}

int sim_shutdown(int fd, int how) __asm__("shutdown");
int sim_shutdown(int fd, int how)
{
    REAL("shutdown", int (*)(int, int))
    struct sim_socket *socket = socket_of(fd);
    if (socket == NULL) {
        return real(fd, how);
    }
    socket->server_ended = true;
    return 0;
}

/* Some of what is read is not in the page cache, on this thread. */
ssize_t sim_preadv2(int fd, const struct iovec *iov, int count, off_t offset,
                    int flags) __asm__("preadv64v2");
ssize_t sim_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (sim.is_on && flags != 0 && chance_percent(&sim.chance, 15)) {
        errno = EAGAIN;
        return -1;
    }
    return preadv(fd, iov, count, offset);
}

int64_t sim_now_ms(void)
{
    return sim.now_ms;
}

/* --- sockets --- */

struct sim_socket *sim_socket_make(void)
{
    struct sim_socket *socket = calloc(1, sizeof *socket);
    assert(socket != NULL);
    /* A descriptor of the process, so that its number is taken, and closing it is noticed. */
    socket->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert(socket->fd >= 0 && socket->fd < FDS_MAX);
    sim.sockets[socket->fd] = socket;
    return socket;
}

void sim_socket_free(struct sim_socket *socket)
{
    assert(socket->fd < 0);
    free(socket->said);
    free(socket->heard);
    free(socket);
}

static void append(uint8_t **data, size_t *length, size_t *capacity, const void *more, size_t size)
{
    if (*length + size > *capacity) {
        *capacity = (*length + size) * 2;
        *data = realloc(*data, *capacity);
        assert(*data != NULL);
    }
    memcpy(*data + *length, more, size);
    *length += size;
}

void sim_say(struct sim_socket *socket, const void *data, size_t length)
{
    append(&socket->said, &socket->said_length, &socket->said_capacity, data, length);
}

static void hear(struct sim_socket *socket, const void *data, size_t length)
{
    assert(length <= socket->window && !socket->server_ended);
    bool lies = sim.lie != SIM_HONEST && chance_percent(&sim.chance, 2);
    if (!lies || sim.lie != SIM_LOSES) {
        append(&socket->heard, &socket->heard_length, &socket->heard_capacity, data, length);
    }
    if (lies && sim.lie == SIM_REPEATS) {
        append(&socket->heard, &socket->heard_length, &socket->heard_capacity, data, length);
    } else if (lies && sim.lie == SIM_CHANGES) {
        socket->heard[socket->heard_length - 1 - chance_below(&sim.chance, length)] ^= 1;
    }
    socket->window -= length;
}

/* --- operations --- */

static struct sim_op *add_op(struct sim_loop *loop, struct loop_op *op)
{
    for (size_t i = 0; i < OPS_MAX; i++) {
        if (i == loop->op_count || loop->ops[i].op == NULL) {
            loop->op_count += i == loop->op_count;
            loop->ops[i] = (struct sim_op){.op = op};
            return &loop->ops[i];
        }
    }
    assert(!"too many operations in flight");
    return NULL;
}

static void sim_submit(struct loop *loop, struct loop_op *op)
{
    struct sim_loop *sim_loop = sim_of(loop);
    struct sim_op *added = add_op(sim_loop, op);
    if (op->own.kind == LOOP_OP_RECEIVE && chance_percent(&sim_loop->chance, 10)) {
        added->starved = (unsigned)chance_between(&sim_loop->chance, 1, STARVED_TURNS);
    }
}

static void sim_submit_send(struct loop *loop, struct loop_op *op,
                            const struct loop_send_parts *parts)
{
    struct sim_op *added = add_op(sim_of(loop), op);
    memcpy(added->iov, parts->iov, parts->iov_count * sizeof added->iov[0]);
    added->iov_count = parts->iov_count;
}

/* Cancelled operations are answered in a later turn, like all others: see step. */
static void sim_cancel(struct loop *loop, struct loop_op *op)
{
    sim_of(loop)->counters.cancels++;
}

static void sim_cancel_fd(struct loop *loop, int fd)
{
    sim_of(loop)->counters.cancels++;
}

static void sim_forget_fd(struct loop *loop, int fd)
{
    struct sim_socket *socket = socket_of(fd);
    if (socket != NULL) {
        socket->fd = -1;
        socket->server_ended = true;
        sim.sockets[fd] = NULL;
    }
}

/* Answers an operation; its place is free before the callback runs, which may submit again. */
static void finish(struct sim_loop *loop, struct sim_op *slot, enum status status, size_t octets)
{
    struct loop_op *op = slot->op;
    slot->op = NULL;
    loop->counters.completions++;
    loop->has_run = true;
    loop_op_finish(&loop->base, op, status, octets);
}

/* Gives octets to a receive, in a buffer that is gone when the callback returns. */
static void give(struct sim_loop *loop, struct sim_op *slot, struct sim_socket *socket)
{
    struct loop_op *op = slot->op;
    size_t left = socket->said_length - socket->said_taken;
    bool is_bulk = op->own.mode == LOOP_RECEIVE_BULK;
    size_t most = is_bulk ? LOOP_BULK_BUFFER : LOOP_STREAM_BUFFER;
    most = most < left ? most : left;
    size_t length = chance_percent(&loop->chance, 30)
                        ? chance_between(&loop->chance, 1, most < 8 ? most : 8)
                        : chance_between(&loop->chance, 1, most);
    uint8_t *buffer = malloc(length);
    assert(buffer != NULL);
    memcpy(buffer, socket->said + socket->said_taken, length);
    socket->said_taken += length;
    loop->has_run = true;
    op->on_data(op, buffer, length);
    memset(buffer, 0xdd, length);
    free(buffer);
    if (is_bulk && slot->op == op) {
        finish(loop, slot, STATUS_OK, 0);
    }
}

static void run_receive(struct sim_loop *loop, struct sim_op *slot, struct sim_socket *socket)
{
    if (slot->starved > 0) {
        slot->starved--;
        loop->counters.starved++;
        counter_add(&loop->base.counters.buffers_starved, 1);
        loop->has_run = true;
    } else if (socket->reset) {
        finish(loop, slot, STATUS_RESET, 0);
    } else if (socket->said_taken < socket->said_length) {
        give(loop, slot, socket);
    } else if (socket->finished) {
        finish(loop, slot, STATUS_EOF, 0);
    }
}

static void run_watch(struct sim_loop *loop, struct sim_op *slot, struct sim_socket *socket)
{
    if (socket->reset) {
        finish(loop, slot, STATUS_RESET, 0);
    } else if (socket->finished) {
        finish(loop, slot, STATUS_EOF, 0);
    }
}

/* How much of `length` octets a socket takes now: at least one. */
static size_t cut(struct sim_loop *loop, const struct sim_socket *socket, size_t length)
{
    size_t most = length < socket->window ? length : socket->window;
    if (chance_percent(&loop->chance, 50)) {
        return most;
    }
    loop->counters.cuts++;
    return chance_between(&loop->chance, 1, most);
}

static void run_send(struct sim_loop *loop, struct sim_op *slot, struct sim_socket *socket)
{
    size_t total = 0, taken = 0;
    if (socket->reset || socket->server_ended) { /* EPIPE */
        finish(loop, slot, STATUS_RESET, 0);
        return;
    }
    if (socket->window == 0) {
        return;
    }
    for (unsigned i = 0; i < slot->iov_count; i++) {
        total += slot->iov[i].iov_len;
    }
    size_t length = cut(loop, socket, total);
    for (unsigned i = 0; taken < length; i++) {
        size_t left = length - taken;
        size_t part = slot->iov[i].iov_len < left ? slot->iov[i].iov_len : left;
        hear(socket, slot->iov[i].iov_base, part);
        taken += part;
    }
    finish(loop, slot, STATUS_OK, length);
}

static void run_send_file(struct sim_loop *loop, struct sim_op *slot, struct sim_socket *socket)
{
    struct loop_op *op = slot->op;
    uint8_t buffer[65536];
    if (socket->reset || socket->server_ended) { /* EPIPE */
        finish(loop, slot, STATUS_RESET, 0);
        return;
    }
    if (socket->window == 0) {
        return;
    }
    size_t wanted = op->own.file.length < sizeof buffer ? op->own.file.length : sizeof buffer;
    size_t length = cut(loop, socket, wanted);
    ssize_t got = pread(op->own.file_fd, buffer, length, (off_t)op->own.file.offset);
    if (got <= 0) {
        finish(loop, slot, got == 0 ? STATUS_EOF : STATUS_IO, 0);
        return;
    }
    hear(socket, buffer, (size_t)got);
    finish(loop, slot, STATUS_OK, (size_t)got);
}

static void run_read(struct sim_loop *loop, struct sim_op *slot)
{
    struct loop_op *op = slot->op;
    size_t length = op->own.file.length;
    if (chance_percent(&loop->chance, 30)) {
        length = chance_between(&loop->chance, 1, length);
    }
    ssize_t got = pread(op->own.file_fd, op->own.file.data, length, (off_t)op->own.file.offset);
    loop->counters.cold_reads++;
    if (got <= 0) {
        finish(loop, slot, got == 0 ? STATUS_EOF : STATUS_IO, 0);
    } else {
        finish(loop, slot, STATUS_OK, (size_t)got);
    }
}

/* What can happen to an operation happens, or nothing can yet. */
static void step(struct sim_loop *loop, struct sim_op *slot)
{
    struct loop_op *op = slot->op;
    if (op->own.kind == LOOP_OP_READ) {
        run_read(loop, slot);
        return;
    }
    struct sim_socket *socket = socket_of(op->own.fd);
    assert(socket != NULL);
    if ((op->own.flags & LOOP_FLAG_CANCELLED) != 0 &&
        (op->own.kind == LOOP_OP_WATCH || chance_percent(&loop->chance, 70))) {
        finish(loop, slot, STATUS_CANCELLED, 0);
        return;
    }
    switch (op->own.kind) {
    case LOOP_OP_RECEIVE:
        run_receive(loop, slot, socket);
        break;
    case LOOP_OP_WATCH:
        run_watch(loop, slot, socket);
        break;
    case LOOP_OP_SEND:
        run_send(loop, slot, socket);
        break;
    case LOOP_OP_SEND_FILE:
        run_send_file(loop, slot, socket);
        break;
    default:
        assert(!"no such operation in plaintext");
    }
    if (slot->op == op && (op->own.flags & LOOP_FLAG_CANCELLED) != 0) {
        finish(loop, slot, STATUS_CANCELLED, 0);
    }
}

/* --- a turn --- */

/* In an order that the seed chooses; what is submitted meanwhile waits for the next turn. */
static void run_ops(struct sim_loop *loop)
{
    struct loop_op *order[OPS_MAX];
    size_t places[OPS_MAX], count = 0;
    for (size_t i = 0; i < loop->op_count; i++) {
        if (loop->ops[i].op != NULL) {
            places[count] = i;
            order[count++] = loop->ops[i].op;
        }
    }
    for (size_t i = count; i > 1; i--) {
        size_t other = chance_below(&loop->chance, i);
        size_t place = places[i - 1];
        struct loop_op *op = order[i - 1];
        places[i - 1] = places[other];
        order[i - 1] = order[other];
        places[other] = place;
        order[other] = op;
    }
    for (size_t i = 0; i < count; i++) {
        struct sim_op *slot = &loop->ops[places[i]];
        if (slot->op == order[i] && (slot->op->own.flags & LOOP_FLAG_DONE) == 0 &&
            chance_percent(&loop->chance, DO_PERCENT)) {
            step(loop, slot);
        }
    }
}

/* Whether an operation could go on if it were its turn. */
static bool can_run(const struct loop_op *op)
{
    const struct sim_socket *socket = op->own.kind == LOOP_OP_READ ? NULL : socket_of(op->own.fd);
    if (socket == NULL || socket->reset || (op->own.flags & LOOP_FLAG_CANCELLED) != 0) {
        return true;
    }
    switch (op->own.kind) {
    case LOOP_OP_RECEIVE:
        return socket->said_taken < socket->said_length || socket->finished;
    case LOOP_OP_WATCH:
        return socket->finished;
    default:
        return socket->window > 0;
    }
}

static bool any_can_run(const struct sim_loop *loop)
{
    for (size_t i = 0; i < loop->op_count; i++) {
        if (loop->ops[i].op != NULL && can_run(loop->ops[i].op)) {
            return true;
        }
    }
    return false;
}

/* Answers that other threads owe us: a cold read is a question too, but our own. */
static uint32_t expected(const struct sim_loop *loop)
{
    uint32_t asked = loop->config.asked(loop->config.owner);
    for (size_t i = 0; i < loop->op_count; i++) {
        const struct loop_op *op = loop->ops[i].op;
        asked -= asked > 0 && op != NULL && op->own.kind == LOOP_OP_READ;
    }
    return asked;
}

/* Waits, in real time, until the other threads have answered; the loop notices it all at once. */
static void take_answers(struct sim_loop *loop, bool before_jump)
{
    struct pollfd waiting = {.fd = loop->base.wake_fd, .events = POLLIN};
    uint64_t wakes;
    int ready = poll(&waiting, 1, !loop->config.is_vague ? REAL_WAIT_MS : before_jump ? 200 : 1);
    assert(ready == 1 || loop->config.is_vague);
    if (ready != 1) {
        return;
    }
    /* Bodies of blobs have several answers for one question: therefore not for ever. */
    for (unsigned i = 0; i < 2000 && loop->config.answered(loop->config.owner) < expected(loop);
         i++) {
        (void)poll(NULL, 0, 0);
    }
    (void)!read(loop->base.wake_fd, &wakes, sizeof wakes);
    loop_woken(&loop->base);
    loop->has_run = true;
}

static void sim_wait(struct loop *base, int64_t wait_ms)
{
    struct sim_loop *loop = sim_of(base);
    loop->has_run = false;
    run_ops(loop);
    bool can_jump = wait_ms != 0 && !loop->has_run && !any_can_run(loop);
    /* With work left for the end of this turn, not all that is counted has been asked. */
    if (expected(loop) > 0 && list_empty(&base->tasks) &&
        (can_jump || chance_percent(&loop->chance, 30))) {
        take_answers(loop, can_jump);
    }
    if (loop->has_run || any_can_run(loop)) {
        sim.now_ms += (int64_t)chance_below(&loop->chance, 3);
    } else if (wait_ms > 0 && list_empty(&base->tasks)) {
        sim.now_ms += wait_ms;
        loop->counters.jumps++;
    }
    loop_now_update(base);
}

static void sim_destroy(struct loop *loop)
{
    loop_base_deinit(loop);
    sim.is_on = false;
    free(sim_of(loop));
}

static const struct loop_backend sim_backend = {
    .name = "simulated",
    .destroy = sim_destroy,
    .submit = sim_submit,
    .submit_send = sim_submit_send,
    .cancel = sim_cancel,
    .cancel_fd = sim_cancel_fd,
    .forget_fd = sim_forget_fd,
    .wait = sim_wait,
};

enum status sim_loop_create(const struct sim_config *config, struct loop **out_loop)
{
    struct loop_config base = {.on_wake = config->on_wake, .owner = config->owner};
    struct sim_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return STATUS_NO_MEMORY;
    }
    loop->config = *config;
    loop->chance = chance_make(config->seed, 1);
    memset(&sim, 0, sizeof sim);
    sim.now_ms = START_MS;
    sim.chance = chance_make(config->seed, 2);
    sim.lie = config->lie;
    sim.is_on = true;
    enum status status = loop_base_init(&loop->base, &sim_backend, &base, EFD_NONBLOCK);
    if (status != STATUS_OK) {
        sim.is_on = false;
        free(loop);
        return status;
    }
    *out_loop = &loop->base;
    return STATUS_OK;
}
