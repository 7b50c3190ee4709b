/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting until a socket can be read from or written to, for those that do it themselves. */
#include "tests/conformance/conformance.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void close_with(struct setup *setup, int fd)
{
    struct probe closing;
    probe_init(&closing, setup);
    probe_close(&closing, fd);
    (void)until_done(&closing);
    probe_deinit(&closing);
}

static void a_wait_for_input_takes_none(struct setup *setup)
{
    int fds[2];
    struct probe ready;
    char got[8];
    tcp_pair(fds);
    probe_init(&ready, setup);
    probe_readable(&ready, fds[0]);
    turn_some(setup);
    CHECK_EQUAL(ready.done, 0);
    for (unsigned i = 0; i < 3; i++) { /* the third finds the input of the second still there */
        if (i != 2) {
            CHECK_EQUAL(write(fds[1], "NOOP\r\n", 6), 6);
        }
        (void)until_done(&ready);
        CHECK_EQUAL(ready.status, STATUS_OK);
        CHECK_EQUAL(ready.length, 0);
        if (i != 1) {
            CHECK_EQUAL(recv(fds[0], got, 6, 0), 6);
        }
        probe_readable(&ready, fds[0]);
    }
    turn_some(setup);
    CHECK_EQUAL(ready.done, 3);
    close_with(setup, fds[0]);
    CHECK_EQUAL(ready.status, STATUS_CANCELLED);
    (void)close(fds[1]);
    probe_deinit(&ready);
}

static void a_wait_for_input_ends_with_the_peer(struct setup *setup)
{
    for (unsigned round = 0; round < 4; round++) {
        int fds[2];
        struct probe ready;
        char got;
        (round < 2 ? tcp_pair : unix_pair)(fds);
        probe_init(&ready, setup);
        if (round % 2 == 0) {
            CHECK_EQUAL(shutdown(fds[1], SHUT_WR), 0);
            probe_readable(&ready, fds[0]);
        } else {
            probe_readable(&ready, fds[0]);
            turn_some(setup);
            reset_close(fds[1]);
            fds[1] = -1;
        }
        (void)until_done(&ready);
        CHECK_EQUAL(ready.status, STATUS_OK);
        ssize_t length = recv(fds[0], &got, 1, 0);
        CHECK(length == 0 || (length < 0 && errno != EAGAIN));
        close_with(setup, fds[0]);
        if (fds[1] >= 0) {
            (void)close(fds[1]);
        }
        probe_deinit(&ready);
    }
}

static void a_wait_for_room_ends_when_there_is_some(struct setup *setup)
{
    static char block[65536];
    int fds[2];
    struct probe ready;
    bool end = false;
    unix_pair(fds);
    probe_init(&ready, setup);
    probe_writable(&ready, fds[0]);
    (void)until_done(&ready);
    CHECK_EQUAL(ready.status, STATUS_OK);
    while (send(fds[0], block, sizeof block, MSG_NOSIGNAL) > 0) {
    }
    probe_writable(&ready, fds[0]);
    turn_some(setup);
    CHECK_EQUAL(ready.done, 1);
    while (drain(fds[1], block, sizeof block, &end) > 0) {
    }
    (void)until_done(&ready);
    CHECK_EQUAL(ready.status, STATUS_OK);
    CHECK(send(fds[0], block, 1, MSG_NOSIGNAL) == 1);
    close_with(setup, fds[0]);
    (void)close(fds[1]);
    probe_deinit(&ready);
}

static void both_waits_stand_side_by_side(struct setup *setup)
{
    static char block[65536];
    int fds[2];
    struct probe input, room;
    char got[8];
    unix_pair(fds);
    probe_init(&input, setup);
    probe_init(&room, setup);
    while (send(fds[0], block, sizeof block, MSG_NOSIGNAL) > 0) {
    }
    probe_readable(&input, fds[0]);
    probe_writable(&room, fds[0]);
    CHECK_EQUAL(write(fds[1], "QUIT\r\n", 6), 6);
    (void)until_done(&input);
    CHECK_EQUAL(input.status, STATUS_OK);
    CHECK_EQUAL(room.done, 0);
    CHECK_EQUAL(recv(fds[0], got, sizeof got, 0), 6);
    probe_receive(&input, fds[0], LOOP_RECEIVE_STREAM); /* the two kinds of input take turns */
    CHECK_EQUAL(write(fds[1], "NOOP\r\n", 6), 6);
    (void)until_reached(setup, &input.length, 6);
    probe_cancel(&input);
    probe_cancel(&room);
    (void)until_done(&input);
    (void)until_done(&room);
    CHECK_EQUAL(input.status, STATUS_CANCELLED);
    CHECK_EQUAL(room.status, STATUS_CANCELLED);
    probe_readable(&input, fds[0]);
    probe_writable(&room, fds[0]);
    close_with(setup, fds[0]);
    CHECK_EQUAL(input.done, 3);
    CHECK_EQUAL(room.done, 2);
    (void)close(fds[1]);
    probe_deinit(&input);
    probe_deinit(&room);
}

const struct test_case ready_cases[] = {
    {"a wait for input takes none", a_wait_for_input_takes_none, 0},
    {"a wait for input ends with the peer", a_wait_for_input_ends_with_the_peer, 0},
    {"a wait for room ends when there is some", a_wait_for_room_ends_when_there_is_some, 0},
    {"both waits stand side by side", both_waits_stand_side_by_side, 0},
    {NULL, NULL, 0}};
