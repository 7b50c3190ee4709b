/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What loop.c and a back end know of each other; private to io/ and to the simulated back end of
 * tests/. loop.c keeps what every back end needs alike: which operations are in flight on which
 * descriptor, completions to be run, deferred tasks, timers, waking. A back end embeds struct loop
 * as its first member and moves octets.
 *
 * Loop's thread only, except loop_wake_write.
 */
#ifndef IO_LOOP_BACKEND_H
#define IO_LOOP_BACKEND_H

#include "io/loop.h"

#include <stdatomic.h>

enum loop_op_kind {
    LOOP_OP_IDLE,
    LOOP_OP_ACCEPT,
    LOOP_OP_RECEIVE,
    LOOP_OP_WATCH,
    LOOP_OP_READABLE,
    LOOP_OP_WRITABLE,
    LOOP_OP_SEND,
    LOOP_OP_SEND_FILE,
    LOOP_OP_READ,
    LOOP_OP_CLOSE
};

/* Flags of every back end; the others, from LOOP_FLAG_BACKEND on, are a back end's own. */
enum {
    LOOP_FLAG_DONE = 1,      /* on the completed list: nothing may happen to it but on_done */
    LOOP_FLAG_CANCELLED = 2, /* its owner wants it to end */
    LOOP_FLAG_BACKEND = 4
};

enum { LOOP_SEND_FILE_PUSHED = 1 }; /* own.mode of a send_file */

/* What a send is made of while it is being submitted. */
struct loop_send_parts {
    const struct iovec *iov;
    unsigned iov_count;
    bool more;
};

struct loop_backend {
    const char *name;
    void (*destroy)(struct loop *loop);
    /* Begin `op`, whose `own` is filled and whose kind says what it is. They answer by
     * loop_op_complete (now) or loop_op_finish (from wait), exactly once. */
    void (*submit)(struct loop *loop, struct loop_op *op);
    void (*submit_send)(struct loop *loop, struct loop_op *op, const struct loop_send_parts *parts);
    /* Ends `op`, which is in flight, not done, and flagged CANCELLED. */
    void (*cancel)(struct loop *loop, struct loop_op *op);
    /* The same for all that is in flight on `fd`, about to be closed; already shut down. */
    void (*cancel_fd)(struct loop *loop, int fd);
    /* The descriptor is about to be closed: nothing is in flight on it any more. */
    void (*forget_fd)(struct loop *loop, int fd);
    /* Hands everything over to the kernel, waits at most `wait_ms` (-1: for ever) for something to
     * happen and runs what has happened. Calls loop_now_update after the wait. */
    void (*wait)(struct loop *loop, int64_t wait_ms);
};

struct loop {
    const struct loop_backend *backend;
    struct loop_config config;
    struct loop_counters counters;
    int64_t now_ms;
    struct deadline_wheel wheel;
    struct list_link completed; /* ops flagged DONE */
    struct list_link tasks;
    uint32_t inflight; /* operations between submit and on_done */
    /* Operations by descriptor: chains through own.sibling, bucket `fd & mask`. Descriptors are
     * small dense numbers, so the chains are short. loop_read is not in it: its descriptor is a
     * file. */
    struct loop_op **buckets;
    uint32_t bucket_mask, tracked;
    int wake_fd;              /* eventfd; the back end waits for it and calls loop_woken */
    atomic_bool wake_pending; /* a write to wake_fd has been made and not yet been seen */
    bool woken;               /* on_wake is due in this turn */
    atomic_bool stopping;
};

/* Readies and releases the part of a loop that is common. loop_base_init opens wake_fd with
 * `flags`. */
MUST_CHECK enum status loop_base_init(struct loop *loop, const struct loop_backend *backend,
                                      const struct loop_config *config, int wake_flags);
void loop_base_deinit(struct loop *loop);

/* Puts the answer of `op` on the list that is run outside every submitting call. */
void loop_op_complete(struct loop *loop, struct loop_op *op, enum status status, size_t octets);

/* Runs the answer of `op` now: only from within wait. */
void loop_op_finish(struct loop *loop, struct loop_op *op, enum status status, size_t octets);

/* The receive-type (accept, receive, watch, readable) or send-type operation in flight on `fd`, or
 * NULL. */
struct loop_op *loop_find_receive(const struct loop *loop, int fd);
struct loop_op *loop_find_send(const struct loop *loop, int fd);

/* True while loop_close is waiting for the operations on `fd`. */
bool loop_closing(const struct loop *loop, int fd);

/* Reads the clock: what loop_now_ms answers from here on. */
void loop_now_update(struct loop *loop);

/* The wake descriptor became readable and has been read. */
void loop_woken(struct loop *loop);

/* Makes wake_fd readable. Any thread; async-signal-safe. */
void loop_wake_write(struct loop *loop);

/* Tries one sendfile(2) for `op` and completes it; false when the socket is full. */
bool loop_try_send_file(struct loop *loop, struct loop_op *op);

/* What an accept that ended with `errno_value` means: STATUS_AGAIN when the next may do better. */
enum status loop_accept_status(int errno_value);

/* The back ends. */
MUST_CHECK enum status uring_create(const struct loop_config *config, struct loop **out_loop,
                                    struct error *out_error);
MUST_CHECK enum status uring_probe(struct error *out_error);
MUST_CHECK enum status epoll_create_loop(const struct loop_config *config, struct loop **out_loop,
                                         struct error *out_error);

#endif
