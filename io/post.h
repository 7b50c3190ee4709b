/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between threads: the only way one thread reaches another. A box belongs to its receiver;
 * a message is a struct inside whatever is being passed and belongs to the sender until posted, to
 * the receiver afterwards. Nothing is allocated. Messages of one sender arrive in order.
 *
 * The queue is a lock-free stack that the receiver takes whole and reverses; the receiver is woken
 * only by the message that finds the box empty.
 */
#ifndef IO_POST_H
#define IO_POST_H

#include "io/loop.h"
#include "io/status.h"

#include <stdatomic.h>
#include <stdbool.h>

struct post_message {
    struct post_message *next;
    void (*on_receive)(struct post_message *message); /* run on the receiver's thread */
};

struct post_box {
    _Atomic(struct post_message *) newest;
    atomic_uint senders; /* inside post_send now: the box outlives the last of them */
    struct loop *loop;   /* woken by loop_wake; NULL for a plain thread */
    int event_fd;        /* for a plain thread; -1 otherwise */
};

/* A box whose receiver runs `loop`; its on_wake must call post_run. */
void post_box_init_loop(struct post_box *box, struct loop *loop);

/* A box whose receiver is a plain thread that calls post_wait. */
MUST_CHECK enum status post_box_init_thread(struct post_box *box);

/* The box must be empty, and nobody may begin to send any more. Waits for senders whose message has
 * been taken already but who have not yet come back from waking the receiver: a loop is destroyed
 * after its box. */
void post_box_deinit(struct post_box *box);

/* Any thread. After it the message is the receiver's: do not touch it. */
void post_send(struct post_box *box, struct post_message *message);

/* The same for several at the price of one: `oldest` and those behind it by `next`, in order. */
void post_send_all(struct post_box *box, struct post_message *oldest);

/* Receiver only: runs everything posted so far, oldest first; returns how many. */
unsigned post_run(struct post_box *box);

/* Receiver only: takes everything posted so far, oldest first, without running it; NULL when empty.
 */
struct post_message *post_take(struct post_box *box);

/* Plain thread only: sleeps until something is posted or `timeout_ms` passed (-1: for ever).
 * Returns whether there is something. */
bool post_wait(struct post_box *box, int64_t timeout_ms);

#endif
