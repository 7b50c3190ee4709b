/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a POP3 client gets from the greeting to the transaction state: STLS, then USER and PASS or a
 * SASL exchange. On the client's thread.
 */
#ifndef BENCH_POP_LOGIN_H
#define BENCH_POP_LOGIN_H

#include "bench/pop_client.h"

/* The greeting has come well: STLS where it is wanted, else the login. */
void pop_login_greeted(struct pop_client *client);

/* Begins to log in. */
void pop_login_begin(struct pop_client *client);

/* The server agrees to a step of it: +OK or, with `more`, "+ " and the challenge, which is what
 * `text` has, with its line end. */
void pop_login_reply(struct pop_client *client, bool more, const char *text, size_t length);

#endif
