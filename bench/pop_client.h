/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A POP3 client: connects, logs in, does the steps of its kind of work, checks every reply, quits.
 *
 *   FREE -> DIALING -> GREETING [-> STLS -> HANDSHAKE] -> AUTH -> WORKING -> ENDING -> FREE
 *                                                               (staying: READY <-> WORKING)
 *
 * Up to `pipeline` commands are in flight; a step that needs the answer of an earlier one waits for
 * it. Owner: its generator's thread.
 */
#ifndef BENCH_POP_CLIENT_H
#define BENCH_POP_CLIENT_H

#include "bench/dial.h"
#include "bench/examine.h"
#include "bench/population.h"
#include "bench/run_config.h"
#include "bench/tally.h"
#include "io/conn.h"

#define POP_SEND_MAX (2 * RUN_NAME_MAX + 64) /* octets of a command, with CRLF and NUL */
#define POP_LINE_MAX 1024 /* octets of a reply's first line; RFC 2449 section 4 has 512 */

struct generator;

enum pop_client_state {
    POP_FREE,
    POP_DIALING,
    POP_GREETING,
    POP_STLS,
    POP_HANDSHAKE,
    POP_AUTH,
    POP_WORKING,
    POP_READY,
    POP_ENDING
};

/* A command whose reply has not come. */
struct pop_pending {
    uint8_t command; /* enum bench_command */
    uint32_t msgno;
    int64_t sent_ns;
};

struct pop_client {
    struct conn conn;
    struct generator *generator;
    struct list_link link; /* on one of the generator's lists */
    struct dial dial;
    struct deadline deadline;
    struct bench_user *user;
    enum work_kind kind;
    int64_t due_ns,
        began_ns; /* of the operation; the present command's start for what is no step */
    const enum work_step *step;
    struct examine *examine;    /* made with the first RETR */
    struct scram_client *scram; /* made with the first such login */
    uint64_t *sizes;            /* by message; of LIST */
    uint32_t size_count, size_capacity;
    uint32_t messages;        /* by STAT or LIST */
    uint32_t next_msgno;      /* the next to be fetched */
    uint32_t listed, fetched; /* in the multi-line reply that is coming; messages fetched */
    uint32_t deleted;         /* DELEs agreed to */
    bool delete_next;         /* of the fetched one comes now */
    bool calling;             /* the generator's: the session is being opened to stay */
    bool working;             /* an operation is under way */
    bool stays, multi, line_start, logged_in, connected;
    uint8_t state, auth_step;
    uint8_t in_flight, first;
    struct pop_pending pending[RUN_PIPELINE_MAX];
};

/* Readies a client that is not connected. */
void pop_client_init(struct pop_client *client, struct generator *generator);

/* Frees what it holds; it is FREE. */
void pop_client_deinit(struct pop_client *client);

/* Opens a session for `user`, who is busy from here on. For a session kind `due_ns` is the
 * operation's; with `stays` no operation is under way when it is READY. */
void pop_client_open(struct pop_client *client, enum work_kind kind, struct bench_user *user,
                     int64_t due_ns, bool stays);

/* Does the operation of a READY client. */
void pop_client_work(struct pop_client *client, int64_t due_ns);

/* Ends it: a READY one by QUIT, others at once; an operation under way counts as not ended in
 * time. */
void pop_client_stop(struct pop_client *client);

#endif
