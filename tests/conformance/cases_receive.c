/* SPDX-License-Identifier: Apache-2.0 */
/* Receives, watches and what ends them. */
#include "tests/conformance/conformance.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 40000 /* octets: more than several buffers */

static void close_with(struct setup *setup, int fd)
{
    struct probe closing;
    probe_init(&closing, setup);
    probe_close(&closing, fd);
    (void)until_done(&closing);
    CHECK_EQUAL(closing.status, STATUS_OK);
    probe_deinit(&closing);
}

static void a_stream_receive_tells_all_octets_in_order(struct setup *setup)
{
    int fds[2];
    uint8_t data[MANY];
    struct probe receive;
    tcp_pair(fds);
    pattern_fill(data, 0, sizeof data);
    probe_init(&receive, setup);
    probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
    for (size_t at = 0, step = 1; at < sizeof data; step = step * 3 % 7919) {
        size_t length = step < sizeof data - at ? step : sizeof data - at;
        write_all(setup, fds[1], data + at, length);
        at += length;
        loop_turn(setup->loop, 0);
    }
    (void)until_reached(setup, &receive.length, sizeof data);
    CHECK_EQUAL(receive.length, sizeof data);
    CHECK(pattern_matches(receive.data, 0, receive.length));
    CHECK_EQUAL(receive.done, 0);
    CHECK(receive.data_calls >= sizeof data / LOOP_STREAM_BUFFER);
    close_with(setup, fds[0]);
    CHECK_EQUAL(receive.done, 1);
    (void)close(fds[1]);
    probe_deinit(&receive);
}

static void a_receive_tells_the_end_behind_the_octets(struct setup *setup)
{
    for (unsigned round = 0; round < 4; round++) {
        int fds[2];
        struct probe receive;
        (round < 2 ? tcp_pair : unix_pair)(fds);
        probe_init(&receive, setup);
        if (round % 2 == 0) { /* armed before, or after, all has come */
            probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
            turn_some(setup);
        }
        CHECK_EQUAL(write(fds[1], "QUIT\r\n", 6), 6);
        CHECK_EQUAL(shutdown(fds[1], SHUT_WR), 0);
        if (round % 2 != 0) {
            probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
        }
        (void)until_done(&receive);
        CHECK_EQUAL(receive.status, STATUS_EOF);
        CHECK_EQUAL(receive.length, 6);
        close_with(setup, fds[0]);
        (void)close(fds[1]);
        probe_deinit(&receive);
    }
}

static void a_receive_tells_a_reset(struct setup *setup)
{
    int fds[2];
    struct probe receive;
    tcp_pair(fds);
    probe_init(&receive, setup);
    probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
    turn_some(setup);
    reset_close(fds[1]);
    (void)until_done(&receive);
    CHECK_EQUAL(receive.status, STATUS_RESET);
    close_with(setup, fds[0]);
    probe_deinit(&receive);
}

static void a_bulk_receive_is_one_piece(struct setup *setup)
{
    int fds[2];
    static uint8_t data[3 * LOOP_BULK_BUFFER];
    struct probe receive;
    unix_pair(fds);
    pattern_fill(data, 0, sizeof data);
    probe_init(&receive, setup);
    size_t written = 0;
    while (receive.length < sizeof data) {
        ssize_t count = write(fds[1], data + written, sizeof data - written);
        written += count > 0 ? (size_t)count : 0;
        unsigned calls = receive.data_calls;
        size_t before = receive.length;
        probe_receive(&receive, fds[0], LOOP_RECEIVE_BULK);
        if (!until_done(&receive) || receive.status != STATUS_OK) {
            break;
        }
        CHECK_EQUAL(receive.data_calls, calls + 1);
        CHECK(receive.length - before <= LOOP_BULK_BUFFER);
    }
    CHECK_EQUAL(receive.length, sizeof data);
    CHECK(pattern_matches(receive.data, 0, receive.length));
    (void)close(fds[1]);
    probe_receive(&receive, fds[0], LOOP_RECEIVE_BULK);
    (void)until_done(&receive);
    CHECK_EQUAL(receive.status, STATUS_EOF);
    close_with(setup, fds[0]);
    probe_deinit(&receive);
}

static void an_armed_receive_can_be_cancelled(struct setup *setup)
{
    static const enum loop_receive_mode modes[] = {LOOP_RECEIVE_STREAM, LOOP_RECEIVE_BULK};
    for (unsigned i = 0; i < 4; i++) {
        int fds[2];
        struct probe receive;
        tcp_pair(fds);
        probe_init(&receive, setup);
        probe_receive(&receive, fds[0], modes[i % 2]);
        if (i < 2) {
            turn_some(setup); /* else it is cancelled before the kernel has heard of it */
        }
        probe_cancel(&receive);
        probe_cancel(&receive);
        CHECK_EQUAL(receive.done, 0);
        (void)until_done(&receive);
        CHECK_EQUAL(receive.status, STATUS_CANCELLED);
        CHECK_EQUAL(write(fds[1], "later", 5), 5);
        turn_some(setup);
        CHECK_EQUAL(receive.length, 0);
        /* What came in between is there for the next receive. */
        probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
        (void)until_reached(setup, &receive.length, 5);
        close_with(setup, fds[0]);
        (void)close(fds[1]);
        probe_deinit(&receive);
    }
}

static void a_cancel_that_races_with_octets_loses_none(struct setup *setup)
{
    int fds[2];
    struct probe receive;
    tcp_pair(fds);
    probe_init(&receive, setup);
    uint8_t octets[16];
    uint64_t sent = 0;
    for (unsigned round = 0; round < 200; round++) {
        probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
        if (round % 3 == 0) {
            loop_turn(setup->loop, 0);
        }
        pattern_fill(octets, sent, sizeof octets);
        CHECK_EQUAL(write(fds[1], octets, sizeof octets), sizeof octets);
        sent += sizeof octets;
        if (round % 2 == 0) {
            loop_turn(setup->loop, 0);
        }
        probe_cancel(&receive);
        (void)until_done(&receive);
        CHECK_EQUAL(receive.status, STATUS_CANCELLED);
    }
    probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
    (void)until_reached(setup, &receive.length, sent);
    CHECK(pattern_matches(receive.data, 0, receive.length));
    close_with(setup, fds[0]);
    (void)close(fds[1]);
    probe_deinit(&receive);
}

static void cancel_from_data(struct loop_op *op, const uint8_t *data, size_t length)
{
    struct probe *probe = list_entry(op, struct probe, op);
    probe->length += length;
    probe->data_calls++;
    loop_cancel(probe->setup->loop, op);
}

static void a_receive_can_be_cancelled_from_its_own_data(struct setup *setup)
{
    int fds[2];
    struct probe receive;
    unix_pair(fds);
    probe_init(&receive, setup);
    receive.op.on_data = cancel_from_data;
    CHECK_EQUAL(write(fds[1], "USER x\r\n", 8), 8);
    probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
    (void)until_done(&receive);
    CHECK_EQUAL(receive.status, STATUS_CANCELLED);
    CHECK_EQUAL(receive.length, 8);
    close_with(setup, fds[0]);
    (void)close(fds[1]);
    probe_deinit(&receive);
}

static void several_senders_share_two_buffers(struct setup *setup)
{
    enum { SENDERS = 6 };
    int fds[SENDERS][2];
    struct probe receive[SENDERS];
    static uint8_t data[MANY];
    pattern_fill(data, 0, sizeof data);
    for (unsigned i = 0; i < SENDERS; i++) {
        tcp_pair(fds[i]);
        probe_init(&receive[i], setup);
        probe_receive(&receive[i], fds[i][0], LOOP_RECEIVE_STREAM);
    }
    for (size_t at = 0; at < sizeof data; at += MANY / 4) {
        for (unsigned i = 0; i < SENDERS; i++) {
            write_all(setup, fds[i][1], data + at, MANY / 4);
        }
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        (void)until_reached(setup, &receive[i].length, sizeof data);
        CHECK(pattern_matches(receive[i].data, 0, sizeof data));
        CHECK_EQUAL(receive[i].done, 0);
    }
    if (strcmp(loop_backend_name(setup->loop), "io_uring") == 0) {
        CHECK(counter_read(&loop_counters(setup->loop)->buffers_starved) > 0);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        close_with(setup, fds[i][0]);
        (void)close(fds[i][1]);
        probe_deinit(&receive[i]);
    }
}

static void a_starved_receive_can_be_cancelled_and_closed(struct setup *setup)
{
    int fds[4][2];
    struct probe receive[4];
    static uint8_t data[MANY];
    for (unsigned i = 0; i < 4; i++) {
        unix_pair(fds[i]);
        probe_init(&receive[i], setup);
        probe_receive(&receive[i], fds[i][0], LOOP_RECEIVE_STREAM);
    }
    turn_some(setup);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_EQUAL(write(fds[i][1], data, sizeof data), sizeof data);
    }
    loop_turn(setup->loop, 0); /* two buffers for four eager sockets */
    probe_cancel(&receive[0]);
    probe_cancel(&receive[3]);
    (void)until_done(&receive[0]);
    (void)until_done(&receive[3]);
    CHECK_EQUAL(receive[0].status, STATUS_CANCELLED);
    CHECK_EQUAL(receive[3].status, STATUS_CANCELLED);
    for (unsigned i = 0; i < 4; i++) {
        close_with(setup, fds[i][0]);
        (void)close(fds[i][1]);
        probe_deinit(&receive[i]);
    }
}

static void a_watch_waits_and_takes_no_input(struct setup *setup)
{
    int fds[2];
    struct probe watch;
    tcp_pair(fds);
    probe_init(&watch, setup);
    probe_watch(&watch, fds[0]);
    CHECK_EQUAL(write(fds[1], "NOOP\r\n", 6), 6);
    turn_some(setup);
    CHECK_EQUAL(watch.done, 0);
    probe_cancel(&watch);
    (void)until_done(&watch);
    CHECK_EQUAL(watch.status, STATUS_CANCELLED);
    probe_receive(&watch, fds[0], LOOP_RECEIVE_STREAM);
    (void)until_reached(setup, &watch.length, 6);
    close_with(setup, fds[0]);
    (void)close(fds[1]);
    probe_deinit(&watch);
}

static void a_watch_tells_a_reset_behind_unread_input(struct setup *setup)
{
    int fds[2];
    struct probe watch;
    tcp_pair(fds);
    probe_init(&watch, setup);
    CHECK_EQUAL(write(fds[1], "NOOP\r\n", 6), 6);
    probe_watch(&watch, fds[0]);
    turn_some(setup);
    CHECK_EQUAL(watch.done, 0);
    reset_close(fds[1]);
    (void)until_done(&watch);
    CHECK_EQUAL(watch.status, STATUS_RESET);
    close_with(setup, fds[0]);
    probe_deinit(&watch);
}

static void a_watch_tells_a_half_close_apart(struct setup *setup)
{
    for (unsigned round = 0; round < 2; round++) {
        int fds[2];
        struct probe watch;
        (round == 0 ? tcp_pair : unix_pair)(fds);
        probe_init(&watch, setup);
        CHECK_EQUAL(shutdown(fds[1], SHUT_WR), 0);
        probe_watch(&watch, fds[0]);
        (void)until_done(&watch);
        CHECK_EQUAL(watch.status, STATUS_EOF);
        close_with(setup, fds[0]);
        (void)close(fds[1]);
        probe_deinit(&watch);
    }
}

const struct test_case receive_cases[] = {
    {"a stream receive tells all octets in order", a_stream_receive_tells_all_octets_in_order, 0},
    {"a receive tells the end behind the octets", a_receive_tells_the_end_behind_the_octets, 0},
    {"a receive tells a reset", a_receive_tells_a_reset, 0},
    {"a bulk receive is one piece", a_bulk_receive_is_one_piece, 0},
    {"an armed receive can be cancelled", an_armed_receive_can_be_cancelled, 0},
    {"a cancel that races with octets loses none", a_cancel_that_races_with_octets_loses_none, 0},
    {"a receive can be cancelled from its own data", a_receive_can_be_cancelled_from_its_own_data,
     0},
    {"several senders share two buffers", several_senders_share_two_buffers, 2},
    {"a starved receive can be cancelled and closed", a_starved_receive_can_be_cancelled_and_closed,
     2},
    {"a watch waits and takes no input", a_watch_waits_and_takes_no_input, 0},
    {"a watch tells a reset behind unread input", a_watch_tells_a_reset_behind_unread_input, 0},
    {"a watch tells a half-close apart", a_watch_tells_a_half_close_apart, 0},
    {NULL, NULL, 0}};
