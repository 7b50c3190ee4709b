/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What conn.c and conn_tls.c know of each other. conn.c has the connection: its states, its input
 * and output in the clear, its end. conn_tls.c takes over receiving and sending from conn_start_tls
 * on. Everything here runs on the connection's worker.
 */
#ifndef IO_CONN_PRIVATE_H
#define IO_CONN_PRIVATE_H

#include "io/conn.h"

enum conn_state { CONN_NEW, CONN_OPEN, CONN_FINISHING, CONN_LINGERING, CONN_CLOSING };

/* What own.receive is for. */
enum conn_receiving {
    CONN_RECEIVING_NOTHING,
    CONN_RECEIVING_OCTETS,    /* loop_receive */
    CONN_RECEIVING_END,       /* loop_watch: input is paused */
    CONN_RECEIVING_READINESS, /* loop_wait_readable: OpenSSL reads */
};

/* conn.c */

/* Ends at once; on_closed follows. Harmless twice. */
void conn_close_now(struct conn *conn, enum status reason);

/* Has own.receive do what the state calls for, or cancels it so that its answer comes here. */
void conn_receive_as_wanted(struct conn *conn);

/* Input has come: offers it, or keeps it. */
void conn_take_input(struct conn *conn, const uint8_t *data, size_t length);

/* Tells the end of input, if it has come and may be told now. */
void conn_tell_input_end(struct conn *conn);

/* Tells that output has drained, if it has. */
void conn_tell_drained(struct conn *conn);

/* Nothing is left to be sent, and conn_finish was called. */
void conn_linger(struct conn *conn);

/* Runs the task of the end of the turn. */
void conn_queue_task(struct conn *conn);

/* conn_tls.c: with a connection whose own.tls is not NULL */

/* What own.receive should do in this state. */
enum conn_receiving conn_tls_wants(const struct conn *conn);

/* Octets were received in the clear, after conn_start_tls: they are not the client's. */
void conn_tls_injected(struct conn *conn);

/* Whether output goes the way of plaintext: the reply to STLS, and under kernel TLS. */
bool conn_tls_sends_clear(const struct conn *conn);

/* Whether own.send is TLS's: it waits for room, or reads a file to be encrypted. */
bool conn_tls_owns_send(const struct conn *conn);

/* Whether nothing may be queued: the reply to STLS is the last that goes in the clear. */
bool conn_tls_refuses_output(const struct conn *conn);

/* Whether the handshake has ended well. */
bool conn_tls_established(const struct conn *conn);

/* The answers of own.receive, false when it is to be taken as in plaintext, and of own.send. */
bool conn_tls_receive_done(struct conn *conn, enum status status);
void conn_tls_send_done(struct conn *conn, enum status status, size_t octets);

/* Sends what is queued as far as it goes. */
void conn_tls_output(struct conn *conn);

/* All that was to go in the clear has been sent. */
void conn_tls_flushed(struct conn *conn);

/* The end of the turn: what was put off until now. */
void conn_tls_turn(struct conn *conn);

/* Octets staged and not yet sent. */
size_t conn_tls_staged(const struct conn *conn);

/* Says goodbye (close_notify). */
void conn_tls_finish(struct conn *conn);

/* Frees what was own.tls; nothing is in flight, and the conn may be gone. */
void conn_tls_release(struct conn_host *host, struct conn_tls *tls);

/* Goes on with handshakes that can: the host's task. */
void conn_tls_run_handshakes(struct loop_task *task);

#endif
