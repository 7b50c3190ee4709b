/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients do: the kinds of operations, and workloads, which are one kind or a mix of them. The
 * tables are constant; any thread.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "bench/dice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum work_kind {
    WORK_LOGIN,    /* a session: STAT, QUIT */
    WORK_POLL,     /* a session that looks for news: STAT, UIDL, QUIT */
    WORK_NOOP,     /* one NOOP in a session that stays */
    WORK_RETR,     /* one RETR in a session that stays */
    WORK_DOWNLOAD, /* a session: STAT, LIST, RETR and DELE of each message, QUIT */
    WORK_LEAVE,    /* a session: STAT, UIDL, LIST, RETR of what is new, QUIT */
    WORK_DELIVER,  /* one LMTP delivery to one recipient, on a connection that stays */
    WORK_IDLE,     /* a session that stays and says nothing */
    WORK_KIND_COUNT
};

enum work_step {
    STEP_END,
    STEP_STAT,
    STEP_UIDL,
    STEP_LIST,
    STEP_FETCH,        /* RETR of each message, up to the maximum */
    STEP_FETCH_DELETE, /* RETR and DELE of each */
    STEP_FETCH_NEW,    /* RETR of those whose unique-id was not fetched before */
    STEP_RETR,         /* RETR of one message: a given one, or each in turn */
    STEP_NOOP,
    STEP_QUIT
};

#define WORK_STEPS_MAX 6

struct work_kind_info {
    const char *name;
    const char *about; /* for strangers: what one operation is */
    bool session;      /* each operation is a connection of its own */
    bool lmtp;
    enum work_step preamble[WORK_STEPS_MAX]; /* after login, where the session stays */
    enum work_step steps[WORK_STEPS_MAX];    /* of an operation */
};

/* The table's row. */
const struct work_kind_info *work_kind_info(enum work_kind kind);

#define WORK_LOADS_MAX 8

struct workload {
    const char *name;
    double weights[WORK_KIND_COUNT];
    const char *sizes;        /* of messages it delivers; see distribution.h */
    double rate_per_user;     /* operations a second of one user, as published; 0: none is */
    double qos_ms, qos_share; /* that share of sessions ends within so much; 0: no verdict */
    double qos_delivery_ms;   /* the same share of deliveries */
    unsigned load_count;      /* runs of it, in percent of the rate; 0: one of 100 */
    unsigned loads[WORK_LOADS_MAX];
    const char *source; /* where it is published, for reports; NULL for single kinds */
};

/* NULL when there is none of that name. */
const struct workload *workload_find(const char *name);

/* The `index`th workload, NULL behind the last. */
const struct workload *workload_at(size_t index);

/* One kind, by weight. */
enum work_kind workload_draw(const struct workload *workload, struct dice *dice);

/* Whether it has operations over LMTP, over POP3. */
bool workload_uses_lmtp(const struct workload *workload);
bool workload_uses_pop3(const struct workload *workload);

/* The kind whose sessions stay open between operations, or WORK_KIND_COUNT; a mix has none. */
enum work_kind workload_staying(const struct workload *workload);

#endif
