/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a POP3 client makes of what it receives: lines of listings, messages octet by octet, and
 * what the replies to its commands mean. Also what the client's other files do with each other. On
 * the client's thread.
 */
#ifndef BENCH_POP_REPLIES_H
#define BENCH_POP_REPLIES_H

#include "bench/pop_client.h"

/* The conn's on_input. */
size_t pop_replies_input(struct conn *conn, const uint8_t *data, size_t length);

/* Sends a command and expects its reply; printf-like. */
void pop_client_send(struct pop_client *client, enum bench_command command, uint32_t msgno,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The operation, or the opening of a session, has failed; ends the connection. */
void pop_client_fail(struct pop_client *client, enum bench_error error);

/* The server knows the user: the steps begin. */
void pop_client_logged_in(struct pop_client *client);

/* A reply is whole: sends what comes next, or ends the operation. */
void pop_client_advance(struct pop_client *client);

#endif
