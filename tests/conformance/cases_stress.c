/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections under random orders: receive, send, send a file, cancel, close, with a peer that
 * writes, reads, half-closes and resets as it likes. Each connection's two streams are patterns, so
 * that a lost, repeated or crossed octet shows, and each submit must be answered once (the probes
 * check that).
 */
#include "tests/conformance/conformance.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS 12
#define STEPS       6000
#define FILE_LENGTH 200000

struct connection {
    struct probe receive, send, close;
    int fds[2];          /* [1] is -1 once the peer is gone */
    uint64_t base;       /* where this connection's pattern begins */
    uint64_t peer_wrote; /* octets towards the loop */
    uint64_t peer_read;  /* octets from the loop, checked */
    uint64_t sent;       /* octets the loop says it has sent */
    uint8_t data[5000];  /* of the send in flight */
    bool from_file;
};

struct stress {
    struct setup *setup;
    struct connection connections[CONNECTIONS];
    uint64_t random, next_base;
    int file;
    unsigned closes, cancels;
};

static uint64_t pick(struct stress *stress, uint64_t below)
{
    return random_next(&stress->random) % below;
}

static void on_send_done(struct probe *probe)
{
    struct connection *connection = probe->owner;
    if (probe->status == STATUS_OK) {
        connection->sent += probe->octets;
    }
}

static void open_connection(struct stress *stress, struct connection *connection)
{
    memset(connection, 0, sizeof *connection);
    (pick(stress, 2) == 0 ? tcp_pair : unix_pair)(connection->fds);
    probe_init(&connection->receive, stress->setup);
    probe_init(&connection->send, stress->setup);
    probe_init(&connection->close, stress->setup);
    connection->send.on_done = on_send_done;
    connection->send.owner = connection;
    connection->from_file = pick(stress, 3) == 0;
    /* A connection that sends from the file uses its pattern from 0, the others one of their own.
     */
    connection->base = connection->from_file ? 0 : stress->next_base;
    stress->next_base += UINT64_C(1) << 32;
}

/* What the loop's side has received so far must be what the peer wrote so far. */
static void check_received(const struct connection *connection)
{
    CHECK(connection->receive.length <= connection->peer_wrote);
    CHECK(pattern_matches(connection->receive.data, connection->base, connection->receive.length));
}

static void submit_receive(struct stress *stress, struct connection *connection)
{
    if (!loop_op_busy(&connection->receive.op)) {
        probe_receive(&connection->receive, connection->fds[0],
                      pick(stress, 3) == 0 ? LOOP_RECEIVE_BULK : LOOP_RECEIVE_STREAM);
    }
}

static void submit_send(struct stress *stress, struct connection *connection)
{
    if (loop_op_busy(&connection->send.op)) {
        return;
    }
    size_t length = 1 + pick(stress, sizeof connection->data);
    if (!connection->from_file) {
        pattern_fill(connection->data, connection->base + connection->sent, length);
        probe_send(&connection->send, connection->fds[0], connection->data, length);
    } else if (connection->sent < FILE_LENGTH) {
        probe_send_file(&connection->send, connection->fds[0], stress->file, connection->sent,
                        length * 10);
    }
}

static void peer_write(struct stress *stress, struct connection *connection)
{
    uint8_t octets[3000];
    size_t length = 1 + pick(stress, sizeof octets);
    pattern_fill(octets, connection->base + connection->peer_wrote, length);
    ssize_t sent =
        connection->fds[1] < 0 ? -1 : send(connection->fds[1], octets, length, MSG_NOSIGNAL);
    connection->peer_wrote += sent > 0 ? (uint64_t)sent : 0;
}

static void peer_read(struct stress *stress, struct connection *connection)
{
    static uint8_t octets[100000];
    bool end = false;
    if (connection->fds[1] < 0) {
        return;
    }
    size_t length = drain(connection->fds[1], octets, 1 + pick(stress, sizeof octets), &end);
    CHECK(pattern_matches(octets, connection->base + connection->peer_read, length));
    connection->peer_read += length;
}

static void peer_leave(struct stress *stress, struct connection *connection)
{
    if (connection->fds[1] < 0) {
        return;
    }
    switch (pick(stress, 3)) {
    case 0:
        (void)shutdown(connection->fds[1], SHUT_WR); /* the peer may have done so before */
        break;
    case 1:
        reset_close(connection->fds[1]);
        connection->fds[1] = -1;
        break;
    default:
        (void)close(connection->fds[1]);
        connection->fds[1] = -1;
    }
}

static void close_connection(struct stress *stress, struct connection *connection)
{
    probe_close(&connection->close, connection->fds[0]);
    stress->closes++;
}

/* Frees what has been closed and puts a new connection in its place. */
static void renew(struct stress *stress, struct connection *connection)
{
    CHECK(!loop_op_busy(&connection->receive.op));
    CHECK(!loop_op_busy(&connection->send.op));
    check_received(connection);
    if (connection->fds[1] >= 0) {
        (void)close(connection->fds[1]);
    }
    probe_deinit(&connection->receive);
    probe_deinit(&connection->send);
    probe_deinit(&connection->close);
    open_connection(stress, connection);
}

static void step(struct stress *stress, struct connection *connection)
{
    if (connection->close.done > 0) {
        renew(stress, connection);
        return;
    }
    if (connection->close.submitted > 0) {
        return;
    }
    switch (pick(stress, 40)) {
    case 0:
        close_connection(stress, connection);
        break;
    case 1:
        peer_leave(stress, connection);
        break;
    case 2:
    case 3:
        probe_cancel(&connection->receive);
        stress->cancels++;
        break;
    case 4:
        probe_cancel(&connection->send);
        stress->cancels++;
        break;
    default:
        switch (pick(stress, 4)) {
        case 0:
            submit_receive(stress, connection);
            break;
        case 1:
            submit_send(stress, connection);
            break;
        case 2:
            peer_write(stress, connection);
            break;
        default:
            peer_read(stress, connection);
        }
    }
}

static void finish(struct stress *stress)
{
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct connection *connection = &stress->connections[i];
        if (connection->close.submitted == 0) {
            close_connection(stress, connection);
        }
        (void)until_done(&connection->close);
        CHECK_EQUAL(connection->receive.done, connection->receive.submitted);
        CHECK_EQUAL(connection->send.done, connection->send.submitted);
        check_received(connection);
        if (connection->fds[1] >= 0) {
            (void)close(connection->fds[1]);
        }
        probe_deinit(&connection->receive);
        probe_deinit(&connection->send);
        probe_deinit(&connection->close);
    }
}

static void random_orders_lose_nothing(struct setup *setup)
{
    struct stress *stress = calloc(1, sizeof *stress);
    stress->setup = setup;
    stress->random = setup->seed;
    stress->file = pattern_file(FILE_LENGTH);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        open_connection(stress, &stress->connections[i]);
    }
    for (unsigned i = 0; i < STEPS; i++) {
        step(stress, &stress->connections[pick(stress, CONNECTIONS)]);
        if (pick(stress, 4) == 0) {
            loop_turn(setup->loop, 0);
        }
    }
    finish(stress);
    CHECK(stress->closes > CONNECTIONS);
    CHECK(stress->cancels > 0);
    printf("    seed %" PRIu64 ": %u closes, %u cancels, %" PRIu64 " completions\n", setup->seed,
           stress->closes, stress->cancels, counter_read(&loop_counters(setup->loop)->completions));
    (void)close(stress->file);
    free(stress);
}

const struct test_case stress_cases[] = {
    {"random orders lose nothing", random_orders_lose_nothing, 0},
    {"random orders with two buffers lose nothing", random_orders_lose_nothing, 2},
    {NULL, NULL, 0}};
