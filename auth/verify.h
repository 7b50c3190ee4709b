/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hashing threads: a small fixed pool with a bounded queue for everything in auth/ that is slow
 * (password hashes, databases that block). Hashing is a lever for denial of service, so the pool is
 * the only place where it happens and what does not fit the queue is refused.
 *
 * A job is a struct inside its owner. It belongs to the pool from a submit to the call of `on_run`,
 * on a thread of the pool, which may free it.
 */
#ifndef AUTH_VERIFY_H
#define AUTH_VERIFY_H

#include "io/list.h"
#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct verify;

struct verify_job {
    struct list_link link; /* the pool's */
    bool is_queued;        /* the pool's, under its lock; false in a job never given to it */
    void (*on_run)(struct verify_job *job);
};

/* Starts `threads` threads, by AUTH_HASH_NICE less urgent than their creator; STATUS_NO_MEMORY when
 * they cannot be made. Signals are blocked in them. */
MUST_CHECK enum status verify_create(uint32_t threads, uint32_t queue_max,
                                     struct verify **out_verify);
/* Runs what is queued, then ends the threads. NULLs. */
void verify_destroy(struct verify **verify);

/* Any thread. STATUS_LIMIT: the queue is full and the job remains the caller's. */
MUST_CHECK enum status verify_submit(struct verify *verify, struct verify_job *job);

/* The same for the rest of a job that was admitted before: never refused. */
void verify_resume(struct verify *verify, struct verify_job *job);

/* Takes a job back that waits: it is the caller's again, and its place is free. False: it does not
 * wait; it runs, or a database has it, and goes its way. Any thread; the caller sees to it that the
 * job is not freed meanwhile. */
MUST_CHECK bool verify_withdraw(struct verify *verify, struct verify_job *job);

/* Jobs waiting now: whether there is time for work that can wait. Any thread. */
uint64_t verify_waiting(struct verify *verify);

/* Submits refused so far. Any thread. */
uint64_t verify_refused(struct verify *verify);

#endif
