/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread of the load: a loop, its clients, its part of the schedule. Arrivals are taken from
 * the schedule when they are due, or, in a closed loop, made when an operation ends; each is given
 * to a free client, and waits in a queue while there is none. Latency of an open loop is counted
 * from the time an arrival was due, whatever it had to wait for: the generator itself, a
 * connection, a user whose maildrop is not in use, the server.
 *
 * Life: generator_init by the thread that makes it, generator_main on its own thread, which makes
 * and ends all clients, generator_deinit after joining. `go_ns` is the one word others write.
 */
#ifndef BENCH_GENERATOR_H
#define BENCH_GENERATOR_H

#include "bench/population.h"
#include "bench/run_config.h"
#include "bench/tally.h"
#include "io/conn.h"
#include "io/tls_client.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define GENERATOR_QUEUE     65536 /* arrivals taken from the schedule before they can be started */
#define GENERATOR_TICK_MS   50    /* how often a quiet thread looks around */
#define GENERATOR_CALLS_MAX 64    /* connections being made at once while sessions are opened */

struct pop_client;
struct lmtp_client;

struct arrival {
    int64_t due_ns;
    enum work_kind kind;
};

struct arrival_queue {
    struct arrival *ring;
    uint32_t head, count;
};

struct generator {
    const struct run_config *config;
    unsigned part;
    double load; /* factor on the rate */
    struct tally tally;
    /* Written by others, once. */
    _Atomic int64_t go_ns; /* 0: not yet; then the start of the measured time */
    atomic_bool ready;     /* by this thread: staying sessions are open */
    atomic_bool failed;    /* by this thread: it could not begin */
    atomic_bool stop;      /* end early */
    /* This thread's. */
    struct error error;
    struct loop *loop;
    struct conn_host host;
    struct tls_client *tls;
    struct population population;
    struct dice dice;
    struct schedule schedule, warmup;
    struct loop_op timer_op;
    struct loop_task dispatch_task;
    int timer_fd;
    int64_t next_due_ns; /* of the schedule; INT64_MAX: no more */
    bool warming, generating;
    bool finishing;         /* a closed loop begins nothing new */
    bool ending;            /* clients are being stopped */
    int64_t pause_until_ns; /* no calls before: the last one failed */
    uint64_t made, over;    /* operations: taken from the schedule, ended */
    uint64_t wanted;        /* populate: letters of this part's users, after which it ends */
    uint64_t letters, waiting_users;
    struct arrival_queue pop_queue, lmtp_queue;
    struct pop_client *pop_clients;
    struct lmtp_client *lmtp_clients;
    unsigned pop_count, lmtp_count, open_count, session_count, calling_count;
    struct list_link pop_free, lmtp_free; /* ready for the next operation */
    struct list_link pop_idle, lmtp_idle; /* not connected, and to be kept connected */
};

/* Readies part `part` of `config->threads`. Nothing runs yet. */
MUST_CHECK enum status generator_init(struct generator *generator, const struct run_config *config,
                                      unsigned part, double load, unsigned window_count,
                                      int64_t window_ns);
void generator_deinit(struct generator *generator);

/* The thread's function; `argument` is the generator. Returns NULL. */
void *generator_main(void *argument);

/* For clients: nanoseconds of CLOCK_MONOTONIC. */
int64_t generator_now_ns(void);

/* For clients: an operation has ended (well or not), so that a closed loop goes on. */
void generator_operation_over(struct generator *generator);

/* For clients: this one can take an operation. */
void generator_pop_free(struct generator *generator, struct pop_client *client);
void generator_lmtp_free(struct generator *generator, struct lmtp_client *client);

/* For clients: this one has lost its connection, or never had one. */
void generator_pop_gone(struct generator *generator, struct pop_client *client, bool connected);
void generator_lmtp_gone(struct generator *generator, struct lmtp_client *client);

/* For clients: remembers what the first refusal said. */
void generator_note(struct generator *generator, const char *command, const char *line,
                    size_t length);

#endif
