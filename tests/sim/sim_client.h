/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients on the simulated loop: POP3 and LMTP, pipelining as the seed wants, reading slowly or not
 * at all, gone in the middle of anything. Each checks every octet it is sent, and writes into the
 * world's ledger what it was promised.
 */
#ifndef TESTS_SIM_SIM_CLIENT_H
#define TESTS_SIM_SIM_CLIENT_H

#include "tests/sim/sim_world.h"

struct sim_client;

struct sim_client_counters {
    uint64_t sessions, replies, messages_sent, messages_read, deletions, deaths, stalls;
};
extern struct sim_client_counters sim_client_counters;

struct sim_client *sim_client_pop3(uint64_t number);
struct sim_client *sim_client_lmtp(uint64_t number);
/* Does something, or nothing. False when it is over, with its connection. */
bool sim_client_act(struct sim_client *client);
/* Whether only the server, or time, can move it on. */
bool sim_client_waits(const struct sim_client *client);
void sim_client_free(struct sim_client *client);

#endif
