/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies: lines into a session's output. Nothing here fails for the caller: when memory is short the
 * connection is being aborted already. The hot replies (constant text, numbers) avoid printf.
 */
#ifndef SERVER_REPLY_H
#define SERVER_REPLY_H

#include <stddef.h>
#include <stdint.h>

struct session;

/* `text` and CRLF. */
void reply_line(struct session *session, const char *text);

/* A printf-like line and CRLF; cut at 510 octets (RFC 1939 section 3). Never give it client data. */
void reply_format(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Writes `number` in decimal; returns the octets written, at most REPLY_NUMBER_MAX. */
#define REPLY_NUMBER_MAX 20
size_t reply_number(char *out, uint64_t number);

#endif
