/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An LMTP client: a connection that stays, one delivery at a time, one recipient each. With
 * pipelining MAIL, RCPT and DATA go together (RFC 2920). A refused delivery ends the connection,
 * which is opened again: so no state of the failed transaction is left. Owner: its generator's
 * thread.
 *
 *   FREE -> DIALING [-> HANDSHAKE] -> GREETING -> LHLO [-> STARTTLS -> HANDSHAKE -> LHLO] -> READY
 *   READY <-> WORKING; from everywhere ENDING -> FREE
 */
#ifndef BENCH_LMTP_CLIENT_H
#define BENCH_LMTP_CLIENT_H

#include "bench/dial.h"
#include "bench/population.h"
#include "bench/tally.h"
#include "io/conn.h"

struct generator;

enum lmtp_client_state {
    LMTP_FREE,
    LMTP_DIALING,
    LMTP_GREETING,
    LMTP_LHLO,
    LMTP_STARTTLS,
    LMTP_HANDSHAKE,
    LMTP_READY,
    LMTP_WORKING,
    LMTP_ENDING
};

struct lmtp_client {
    struct conn conn;
    struct generator *generator;
    struct list_link link;
    struct dial dial;
    struct deadline deadline;
    struct bench_user *user; /* of the present delivery; not the client's */
    int64_t due_ns, sent_ns;
    uint8_t state;
    uint8_t command; /* enum bench_command: whose reply comes next */
    bool calling;    /* the generator's: the session is being opened to stay */
    bool working, connected, secure;
};

/* Readies a client that is not connected. */
void lmtp_client_init(struct lmtp_client *client, struct generator *generator);

/* Connects; READY is told by generator_lmtp_free. */
void lmtp_client_open(struct lmtp_client *client);

/* A READY client delivers one letter to `user`. */
void lmtp_client_work(struct lmtp_client *client, struct bench_user *user, int64_t due_ns);

/* Ends it at once. */
void lmtp_client_stop(struct lmtp_client *client);

#endif
