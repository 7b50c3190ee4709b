/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker without a thread on the simulated loop, a real store under it, and a user database that
 * answers now or later, as the seed wants. What clients are promised goes into a ledger.
 */
#ifndef TESTS_SIM_SIM_WORLD_H
#define TESTS_SIM_SIM_WORLD_H

#include "tests/proof/ledger.h"
#include "tests/proof/site.h"
#include "tests/sim/sim_loop.h"

#include "server/config.h"
#include "server/worker.h"

#define SIM_USERS 4 /* "user0" to "user3", password "right" */

struct sim_world {
    uint64_t seed;
    struct chance chance;
    struct config config;
    struct config_listener pop3_config, lmtp_config;
    struct worker_listener pop3, lmtp;
    struct worker worker;
    struct fixture site; /* the store, and a client of it for the test's own use */
    char folder[64];
    struct ledger ledger; /* its maildrops are the users */
    unsigned failures;
    char failure[256]; /* the first, in words */
};

/* The world; there is one. */
extern struct sim_world *sim_world;

void sim_world_open(uint64_t seed, enum sim_lie lie);
/* Waits until all sessions have ended, looks at what the store holds, and takes everything down. */
void sim_world_close(struct sim_counters *counters);

/* A turn of the loop, with the clock allowed to jump when `idle`. */
void sim_world_turn(bool idle);

/* A position for the ledger. */
uint64_t sim_tick(void);

/* A client has connected; what it is known by. */
struct sim_socket *sim_world_connect(struct worker_listener *listener);

void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Which message `wire` is, with the trace headers in front; NULL: none of ours, or changed. */
struct ledger_message *sim_recognise(const char *wire, size_t length);

#endif
