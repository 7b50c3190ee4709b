/* SPDX-License-Identifier: Apache-2.0 */
/* Closing, waking, timers, deferred tasks, and the loop's own life. */
#include "tests/conformance/conformance.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void a_close_comes_after_all_that_was_in_flight(struct setup *setup)
{
    for (unsigned round = 0; round < 4; round++) {
        int fds[2];
        struct probe receive, waiting, closing;
        static uint8_t data[8 * 1024 * 1024];
        (round < 2 ? tcp_pair : unix_pair)(fds);
        probe_init(&receive, setup);
        probe_init(&waiting, setup);
        probe_init(&closing, setup);
        probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
        while (send(fds[0], data, sizeof data, MSG_NOSIGNAL) > 0) {
        }
        probe_send(&waiting, fds[0], data, sizeof data);
        if (round % 2 == 0) {
            turn_some(setup);
            CHECK_EQUAL(receive.done, 0);
        }
        probe_close(&closing, fds[0]);
        CHECK_EQUAL(receive.done + closing.done, 0);
        (void)until_done(&closing);
        CHECK_EQUAL(closing.status, STATUS_OK);
        CHECK_EQUAL(receive.done, 1);
        CHECK_EQUAL(waiting.done, 1);
        CHECK(receive.order < closing.order);
        CHECK(waiting.order < closing.order);
        CHECK(send(fds[0], "", 0, MSG_NOSIGNAL) < 0); /* the descriptor is gone */
        bool end = false;
        for (unsigned patience = 10000; !end && patience > 0; patience--) {
            (void)drain(fds[1], data, sizeof data, &end);
            loop_turn(setup->loop, 0);
        }
        CHECK(end); /* and the peer knows */
        (void)close(fds[1]);
        probe_deinit(&receive);
        probe_deinit(&waiting);
        probe_deinit(&closing);
    }
}

static void an_idle_socket_is_closed(struct setup *setup)
{
    int fds[2];
    struct probe closing;
    char octet;
    tcp_pair(fds);
    probe_init(&closing, setup);
    probe_close(&closing, fds[0]);
    CHECK_EQUAL(closing.done, 0);
    (void)until_done(&closing);
    for (unsigned patience = 1000; patience > 0 && recv(fds[1], &octet, 1, 0) < 0; patience--) {
        loop_turn(setup->loop, 1);
    }
    CHECK_EQUAL(recv(fds[1], &octet, 1, 0), 0);
    (void)close(fds[1]);
    probe_deinit(&closing);
}

static void a_descriptor_used_again_gets_nothing_of_its_former_owner(struct setup *setup)
{
    unsigned reused = 0;
    for (unsigned round = 0; round < 50; round++) {
        int old[2], new[2];
        struct probe old_receive, new_receive, closing;
        tcp_pair(old);
        probe_init(&old_receive, setup);
        probe_init(&new_receive, setup);
        probe_init(&closing, setup);
        probe_receive(&old_receive, old[0], LOOP_RECEIVE_STREAM);
        if (round % 2 == 0) {
            loop_turn(setup->loop, 0);
        }
        CHECK_EQUAL(write(old[1], "old old old", 11), 11);
        probe_close(&closing, old[0]);
        (void)until_done(&closing);
        size_t old_length = old_receive.length;
        tcp_pair(new);
        reused += new[0] == old[0] || new[1] == old[0];
        int mine = new[1] == old[0] ? new[1] : new[0], other = mine == new[0] ? new[1] : new[0];
        probe_receive(&new_receive, mine, LOOP_RECEIVE_STREAM);
        (void)!write(old[1], "old again", 9); /* may fail: the other side is closed */
        CHECK_EQUAL(write(other, "new", 3), 3);
        (void)until_reached(setup, &new_receive.length, 3);
        CHECK_EQUAL(new_receive.length, 3);
        CHECK(new_receive.data != NULL && memcmp(new_receive.data, "new", 3) == 0);
        CHECK_EQUAL(old_receive.length, old_length);
        probe_close(&closing, mine);
        (void)until_done(&closing);
        (void)close(other);
        (void)close(old[1]);
        probe_deinit(&old_receive);
        probe_deinit(&new_receive);
        probe_deinit(&closing);
    }
    CHECK(reused > 0);
}

static void close_in_data(struct loop_op *op, const uint8_t *data, size_t length)
{
    struct probe *probe = list_entry(op, struct probe, op);
    struct probe *closing = probe->owner;
    probe->length += length;
    if (closing->submitted == 0) {
        probe_close(closing, op->own.fd);
    }
}

static void a_socket_can_be_closed_from_its_own_data(struct setup *setup)
{
    int fds[2];
    struct probe receive, closing;
    unix_pair(fds);
    probe_init(&receive, setup);
    probe_init(&closing, setup);
    receive.op.on_data = close_in_data;
    receive.owner = &closing;
    probe_receive(&receive, fds[0], LOOP_RECEIVE_STREAM);
    CHECK_EQUAL(write(fds[1], "QUIT\r\n", 6), 6);
    (void)until_done(&receive);
    (void)until_done(&closing);
    CHECK_EQUAL(receive.length, 6);
    (void)close(fds[1]);
    probe_deinit(&receive);
    probe_deinit(&closing);
}

static void cancelling_what_is_idle_does_nothing(struct setup *setup)
{
    int fds[2];
    struct probe probe;
    unix_pair(fds);
    probe_init(&probe, setup);
    probe_cancel(&probe);
    probe_send(&probe, fds[0], "x", 1);
    (void)until_done(&probe);
    probe_cancel(&probe);
    turn_some(setup);
    CHECK_EQUAL(probe.done, 1);
    CHECK_EQUAL(probe.status, STATUS_OK);
    probe_close(&probe, fds[0]);
    (void)until_done(&probe);
    (void)close(fds[1]);
    probe_deinit(&probe);
}

static void hundreds_of_sockets_work_at_once(struct setup *setup)
{
    enum { COUNT = 700 }; /* more than the first table of operations holds */
    static int fds[COUNT][2];
    struct probe *receive = calloc(COUNT, sizeof *receive);
    struct probe *other = calloc(COUNT, sizeof *other);
    for (unsigned i = 0; i < COUNT; i++) {
        unix_pair(fds[i]);
        probe_init(&receive[i], setup);
        probe_init(&other[i], setup);
        probe_receive(&receive[i], fds[i][0], LOOP_RECEIVE_STREAM);
        probe_send(&other[i], fds[i][0], "+OK\r\n", 5);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        CHECK_EQUAL(write(fds[i][1], &i, sizeof i), sizeof i);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned number = COUNT;
        (void)until_reached(setup, &receive[i].length, sizeof i);
        if (receive[i].length == sizeof number) {
            memcpy(&number, receive[i].data, sizeof number);
        }
        CHECK_EQUAL(number, i);
        (void)until_done(&other[i]);
        CHECK_EQUAL(other[i].status, STATUS_OK);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        probe_close(&other[i], fds[i][0]);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        (void)until_done(&other[i]);
        (void)close(fds[i][1]);
        probe_deinit(&receive[i]);
        probe_deinit(&other[i]);
    }
    free(receive);
    free(other);
}

/* Waking and stopping */

static void *wake_often(void *argument)
{
    for (unsigned i = 0; i < 1000; i++) {
        loop_wake(argument);
    }
    return NULL;
}

static void wakes_from_threads_arrive(struct setup *setup)
{
    pthread_t threads[4];
    loop_wake(setup->loop);
    loop_wake(setup->loop);
    CHECK_EQUAL(setup->wakes, 0);
    loop_turn(setup->loop, 1000);
    loop_turn(setup->loop, 0); /* a first turn may only arm what waits for wakes */
    CHECK_EQUAL(setup->wakes, 1);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, wake_often, setup->loop), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
        loop_turn(setup->loop, 0);
    }
    turn_some(setup);
    unsigned before = setup->wakes;
    CHECK(before >= 2);
    turn_some(setup);
    CHECK_EQUAL(setup->wakes, before);
    loop_wake(setup->loop); /* the last one counts as much as the first */
    turn_some(setup);
    CHECK_EQUAL(setup->wakes, before + 1);
}

static void *stop_it(void *argument)
{
    loop_stop(argument);
    return NULL;
}

static void a_stop_from_another_thread_ends_the_run(struct setup *setup)
{
    for (unsigned round = 0; round < 20; round++) {
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, stop_it, setup->loop), 0);
        loop_run(setup->loop); /* the stop may come before it: it must end all the same */
        (void)pthread_join(thread, NULL);
    }
}

/* Timers and tasks */

struct note {
    struct deadline deadline;
    struct loop_task task;
    struct setup *setup;
    struct note *again; /* deferred, or cancelled, by this one */
    bool cancels;
    unsigned order;
    int64_t at_ms;
};

static unsigned note_count;

static void write_down(struct note *note)
{
    note->order = ++note_count;
    note->at_ms = loop_now_ms(note->setup->loop);
}

static void on_due(struct deadline *deadline)
{
    write_down(list_entry(deadline, struct note, deadline));
}

static void on_run(struct loop_task *task)
{
    struct note *note = list_entry(task, struct note, task);
    write_down(note);
    if (note->again != NULL && note->cancels) {
        loop_task_cancel(&note->again->task);
    } else if (note->again != NULL) {
        loop_defer(note->setup->loop, &note->again->task);
    }
}

static void note_init(struct note *note, struct setup *setup)
{
    memset(note, 0, sizeof *note);
    note->setup = setup;
    deadline_init(&note->deadline, on_due);
    loop_task_init(&note->task, on_run);
}

static void timers_fire_in_order_and_not_early(struct setup *setup)
{
    struct note notes[3];
    struct deadline_wheel *wheel = loop_wheel(setup->loop);
    int64_t start_ms = loop_now_ms(setup->loop);
    static const int64_t after_ms[3] = {60, 20, 40};
    note_count = 0;
    for (unsigned i = 0; i < 3; i++) {
        note_init(&notes[i], setup);
        deadline_arm(wheel, &notes[i].deadline, start_ms + after_ms[i]);
    }
    for (unsigned turns = 0; note_count < 3 && turns < 1000; turns++) {
        loop_turn(setup->loop, -1); /* a timer alone must end the wait */
    }
    CHECK_EQUAL(notes[0].order, 3);
    CHECK_EQUAL(notes[1].order, 1);
    CHECK_EQUAL(notes[2].order, 2);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(notes[i].at_ms >= start_ms + after_ms[i]);
    }
}

static void tasks_run_once_in_order_at_the_end_of_the_turn(struct setup *setup)
{
    struct note notes[5];
    note_count = 0;
    for (unsigned i = 0; i < 5; i++) {
        note_init(&notes[i], setup);
    }
    loop_defer(setup->loop, &notes[2].task);
    loop_defer(setup->loop, &notes[0].task);
    loop_defer(setup->loop, &notes[2].task); /* keeps its place */
    loop_defer(setup->loop, &notes[1].task);
    loop_defer(setup->loop, &notes[4].task);
    notes[2].again = &notes[3];
    notes[0].again = &notes[4];
    notes[0].cancels = true;
    CHECK_EQUAL(note_count, 0);
    loop_turn(setup->loop, -1); /* a task alone must end the wait */
    CHECK_EQUAL(notes[2].order, 1);
    CHECK_EQUAL(notes[0].order, 2);
    CHECK_EQUAL(notes[1].order, 3);
    CHECK_EQUAL(notes[3].order, 0); /* queued by a task: next turn */
    CHECK_EQUAL(notes[4].order, 0); /* cancelled by a task before it */
    loop_turn(setup->loop, -1);
    CHECK_EQUAL(notes[3].order, 4);
    CHECK_EQUAL(note_count, 4);
}

const struct test_case life_cases[] = {
    {"a close comes after all that was in flight", a_close_comes_after_all_that_was_in_flight, 0},
    {"an idle socket is closed", an_idle_socket_is_closed, 0},
    {"a descriptor used again gets nothing of its former owner",
     a_descriptor_used_again_gets_nothing_of_its_former_owner, 0},
    {"a socket can be closed from its own data", a_socket_can_be_closed_from_its_own_data, 0},
    {"cancelling what is idle does nothing", cancelling_what_is_idle_does_nothing, 0},
    {"hundreds of sockets work at once", hundreds_of_sockets_work_at_once, 0},
    {"wakes from threads arrive", wakes_from_threads_arrive, 0},
    {"a stop from another thread ends the run", a_stop_from_another_thread_ends_the_run, 0},
    {"timers fire in order and not early", timers_fire_in_order_and_not_early, 0},
    {"tasks run once, in order, at the end of the turn",
     tasks_run_once_in_order_at_the_end_of_the_turn, 0},
    {NULL, NULL, 0}};
