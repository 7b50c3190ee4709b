/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/conformance/conformance.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 10000

static unsigned completions; /* of all probes: gives each its place in the order */

/* A test without its sockets or memory cannot go on. */
static void must(bool condition, const char *what)
{
    if (!condition) {
        perror(what);
        abort();
    }
}

/* Probes */

static void probe_done(struct loop_op *op, enum status status, size_t octets)
{
    struct probe *probe = list_entry(op, struct probe, op);
    CHECK(!probe->setup->submitting);
    CHECK(!loop_op_busy(op));
    probe->done++;
    CHECK_EQUAL(probe->done, probe->submitted);
    probe->status = status;
    probe->octets = octets;
    probe->order = ++completions;
    if (probe->on_done != NULL) {
        probe->on_done(probe);
    }
}

static void probe_data(struct loop_op *op, const uint8_t *data, size_t length)
{
    struct probe *probe = list_entry(op, struct probe, op);
    CHECK(!probe->setup->submitting);
    CHECK(length > 0);
    CHECK(probe->done < probe->submitted);
    probe->data_calls++;
    if (probe->length + length > probe->capacity) {
        probe->capacity = (probe->length + length) * 2;
        probe->data = realloc(probe->data, probe->capacity);
        must(probe->data != NULL, "realloc");
    }
    memcpy(probe->data + probe->length, data, length);
    probe->length += length;
}

static void probe_accepted(struct loop_op *op, int fd)
{
    struct probe *probe = list_entry(op, struct probe, op);
    CHECK(!probe->setup->submitting);
    CHECK(probe->done < probe->submitted);
    if (CHECK(probe->accepted < 64)) {
        probe->fds[probe->accepted++] = fd;
    }
}

void probe_init(struct probe *probe, struct setup *setup)
{
    memset(probe, 0, sizeof *probe);
    probe->setup = setup;
    probe->op.on_done = probe_done;
    probe->op.on_data = probe_data;
}

void probe_init_accept(struct probe *probe, struct setup *setup)
{
    probe_init(probe, setup);
    probe->op.on_accept = probe_accepted;
}

void probe_deinit(struct probe *probe)
{
    CHECK_EQUAL(probe->done, probe->submitted);
    free(probe->data);
}

void probe_receive(struct probe *probe, int fd, enum loop_receive_mode mode)
{
    probe->submitted++;
    CALL(probe->setup, loop_receive(probe->setup->loop, &probe->op, fd, mode));
}

void probe_send(struct probe *probe, int fd, const void *data, size_t length)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};
    probe->submitted++;
    CALL(probe->setup, loop_send(probe->setup->loop, &probe->op, fd, &iov, 1, false));
    memset(&iov, 0, sizeof iov); /* the entries are not needed any more: the contract says so */
}

void probe_send_file(struct probe *probe, int fd, int file, uint64_t offset, size_t length)
{
    probe->submitted++;
    CALL(probe->setup, loop_send_file(probe->setup->loop, &probe->op, fd, file, offset, length));
}

void probe_read(struct probe *probe, int file, void *data, size_t length, uint64_t offset)
{
    probe->submitted++;
    CALL(probe->setup, loop_read(probe->setup->loop, &probe->op, file, data, length, offset));
}

void probe_watch(struct probe *probe, int fd)
{
    probe->submitted++;
    CALL(probe->setup, loop_watch(probe->setup->loop, &probe->op, fd));
}

void probe_readable(struct probe *probe, int fd)
{
    probe->submitted++;
    CALL(probe->setup, loop_wait_readable(probe->setup->loop, &probe->op, fd));
}

void probe_writable(struct probe *probe, int fd)
{
    probe->submitted++;
    CALL(probe->setup, loop_wait_writable(probe->setup->loop, &probe->op, fd));
}

void probe_accept(struct probe *probe, int fd)
{
    probe->submitted++;
    CALL(probe->setup, loop_accept(probe->setup->loop, &probe->op, fd));
}

void probe_close(struct probe *probe, int fd)
{
    probe->submitted++;
    CALL(probe->setup, loop_close(probe->setup->loop, &probe->op, fd));
}

void probe_cancel(struct probe *probe)
{
    CALL(probe->setup, loop_cancel(probe->setup->loop, &probe->op));
}

/* Turning */

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool until_done(struct probe *probe)
{
    int64_t end_ms = now_ms() + PATIENCE_MS;
    while (probe->done < probe->submitted && now_ms() < end_ms) {
        loop_turn(probe->setup->loop, 100);
    }
    return CHECK_EQUAL(probe->done, probe->submitted);
}

bool until_reached(struct setup *setup, const size_t *value, size_t wanted)
{
    int64_t end_ms = now_ms() + PATIENCE_MS;
    while (*value < wanted && now_ms() < end_ms) {
        loop_turn(setup->loop, 100);
    }
    return CHECK(*value >= wanted);
}

void turn_some(struct setup *setup)
{
    for (unsigned i = 0; i < 10; i++) {
        loop_turn(setup->loop, 1);
    }
}

/* Sockets */

static void make_non_blocking(int fd)
{
    must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
}

int listen_loopback(uint16_t *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(fd >= 0, "socket");
    must(bind(fd, (struct sockaddr *)&address, length) == 0, "bind");
    must(listen(fd, 512) == 0, "listen");
    must(getsockname(fd, (struct sockaddr *)&address, &length) == 0, "getsockname");
    *out_port = ntohs(address.sin_port);
    return fd;
}

int connect_loopback(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    make_non_blocking(fd);
    return fd;
}

void await_readable(int fd)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    must(poll(&waiting, 1, PATIENCE_MS) == 1, "poll");
}

void tcp_pair(int out_fds[2])
{
    uint16_t port;
    int listener = listen_loopback(&port);
    out_fds[1] = connect_loopback(port);
    must(out_fds[1] >= 0, "connect");
    await_readable(listener); /* connect returns before the other side has heard its last word */
    out_fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    must(out_fds[0] >= 0, "accept");
    (void)close(listener);
}

void unix_pair(int out_fds[2])
{
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, out_fds) == 0,
         "socketpair");
}

void reset_close(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0, "SO_LINGER");
    (void)close(fd);
}

size_t drain(int fd, void *data, size_t most, bool *out_end)
{
    size_t length = 0;
    while (length < most) {
        ssize_t got = recv(fd, (uint8_t *)data + length, most - length, 0);
        if (got <= 0) {
            *out_end = *out_end || got == 0 || errno == ECONNRESET;
            break;
        }
        length += (size_t)got;
    }
    return length;
}

void write_all(struct setup *setup, int fd, const void *data, size_t length)
{
    const uint8_t *octets = data;
    int64_t end_ms = now_ms() + PATIENCE_MS;
    while (length > 0 && now_ms() < end_ms) {
        ssize_t sent = send(fd, octets, length, MSG_NOSIGNAL);
        if (sent > 0) {
            octets += sent;
            length -= (size_t)sent;
        } else {
            loop_turn(setup->loop, 1);
        }
    }
    CHECK_EQUAL(length, 0);
}

/* Octets */

uint8_t pattern_at(uint64_t position)
{
    uint64_t mixed = (position + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)(mixed >> 56);
}

void pattern_fill(void *data, uint64_t position, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        ((uint8_t *)data)[i] = pattern_at(position + i);
    }
}

bool pattern_matches(const void *data, uint64_t position, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (((const uint8_t *)data)[i] != pattern_at(position + i)) {
            printf("    octet %zu differs\n", i);
            return false;
        }
    }
    return true;
}

int pattern_file(size_t length)
{
    const char *folder = getenv("TMPDIR");
    char name[512];
    (void)snprintf(name, sizeof name, "%s/restante-XXXXXX", folder != NULL ? folder : "/tmp");
    int fd = mkstemp(name);
    must(fd >= 0, "mkstemp");
    (void)unlink(name);
    uint8_t *data = malloc(length);
    must(data != NULL, "malloc");
    pattern_fill(data, 0, length);
    must(pwrite(fd, data, length, 0) == (ssize_t)length, "pwrite");
    free(data);
    return fd;
}

uint64_t random_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = *state;
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}
