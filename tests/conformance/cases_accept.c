/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting connections. */
#include "tests/conformance/conformance.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static bool until_accepted(struct setup *setup, const struct probe *probe, unsigned wanted)
{
    for (unsigned patience = 1000; probe->accepted < wanted && patience > 0; patience--) {
        loop_turn(setup->loop, 10);
    }
    return CHECK_EQUAL(probe->accepted, wanted);
}

static void close_accepted(const struct probe *probe)
{
    for (unsigned i = 0; i < probe->accepted; i++) {
        (void)close(probe->fds[i]);
    }
}

static void an_accept_takes_every_connection(struct setup *setup)
{
    enum { COUNT = 50 };
    uint16_t port;
    int listener = listen_loopback(&port), clients[COUNT];
    struct probe probe;
    probe_init_accept(&probe, setup);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = connect_loopback(port);
        if (i == COUNT / 2) {
            probe_accept(&probe, listener);
        }
    }
    (void)until_accepted(setup, &probe, COUNT);
    CHECK_EQUAL(probe.done, 0);
    for (unsigned i = 0; i < probe.accepted; i++) {
        CHECK((fcntl(probe.fds[i], F_GETFL) & O_NONBLOCK) != 0);
        CHECK((fcntl(probe.fds[i], F_GETFD) & FD_CLOEXEC) != 0);
    }
    /* Each is a connection of its own. */
    for (unsigned i = 0; i < COUNT; i++) {
        CHECK_EQUAL(write(clients[i], "x", 1), 1);
        (void)close(clients[i]);
    }
    for (unsigned i = 0; i < probe.accepted; i++) {
        char octets[2];
        await_readable(probe.fds[i]);
        CHECK_EQUAL(recv(probe.fds[i], octets, 2, 0), 1);
    }
    probe_cancel(&probe);
    (void)until_done(&probe);
    CHECK_EQUAL(probe.status, STATUS_CANCELLED);
    close_accepted(&probe);
    (void)close(listener);
    probe_deinit(&probe);
}

static void a_cancelled_accept_leaves_the_listener_usable(struct setup *setup)
{
    uint16_t port;
    int listener = listen_loopback(&port);
    struct probe probe;
    probe_init_accept(&probe, setup);
    for (unsigned round = 0; round < 5; round++) {
        probe_accept(&probe, listener);
        if (round % 2 == 0) {
            turn_some(setup);
        }
        probe_cancel(&probe);
        (void)until_done(&probe);
        CHECK_EQUAL(probe.status, STATUS_CANCELLED);
    }
    int client = connect_loopback(port);
    turn_some(setup);
    CHECK_EQUAL(probe.accepted, 0);
    probe_accept(&probe, listener);
    (void)until_accepted(setup, &probe, 1);
    probe_cancel(&probe);
    (void)until_done(&probe);
    close_accepted(&probe);
    (void)close(client);
    (void)close(listener);
    probe_deinit(&probe);
}

/* The lowest number a new descriptor would get. */
static int next_descriptor(void)
{
    int fd = dup(0);
    (void)close(fd);
    return fd;
}

static void an_accept_without_descriptors_ends_and_can_be_repeated(struct setup *setup)
{
    uint16_t port;
    int listener = listen_loopback(&port);
    int clients[2] = {connect_loopback(port), connect_loopback(port)};
    struct rlimit before, none;
    struct probe probe;
    probe_init_accept(&probe, setup);
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)next_descriptor();
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &none), 0);
    probe_accept(&probe, listener);
    (void)until_done(&probe);
    CHECK_EQUAL(probe.status, STATUS_LIMIT);
    CHECK_EQUAL(probe.accepted, 0);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    /* Nobody was lost: those who waited are accepted now. */
    probe_accept(&probe, listener);
    (void)until_accepted(setup, &probe, 2);
    probe_cancel(&probe);
    (void)until_done(&probe);
    close_accepted(&probe);
    (void)close(clients[0]);
    (void)close(clients[1]);
    (void)close(listener);
    probe_deinit(&probe);
}

static void an_accept_on_something_else_fails(struct setup *setup)
{
    int fds[2];
    struct probe probe;
    tcp_pair(fds);
    CHECK_EQUAL(write(fds[1], "x", 1), 1);
    probe_init_accept(&probe, setup);
    probe_accept(&probe, fds[0]);
    (void)until_done(&probe);
    CHECK_EQUAL(probe.status, STATUS_IO);
    (void)close(fds[0]);
    (void)close(fds[1]);
    probe_deinit(&probe);
}

const struct test_case accept_cases[] = {
    {"an accept takes every connection", an_accept_takes_every_connection, 0},
    {"a cancelled accept leaves the listener usable", a_cancelled_accept_leaves_the_listener_usable,
     0},
    {"an accept without descriptors ends and can be repeated",
     an_accept_without_descriptors_ends_and_can_be_repeated, 0},
    {"an accept on something else fails", an_accept_on_something_else_fails, 0},
    {NULL, NULL, 0}};
