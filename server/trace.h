/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trace headers put in front of every delivered message: Return-Path (RFC 5321 section 4.4) and
 * Received, with the protocol names of RFC 3848 and RFC 6531. What a client said is cleaned on the
 * way in, so that it can neither start a line nor close a comment. Pure; any thread.
 */
#ifndef SERVER_TRACE_H
#define SERVER_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trace {
    const char *sender;      /* envelope sender, "" for <> */
    const char *client_name; /* what LHLO said */
    const char *peer;        /* where it came from, as text */
    const char *host;        /* who we are */
    const char *session;     /* id, as in the log */
    const char
        *recipient; /* the only one, or NULL: naming one of several would tell on the others */
    bool utf8;      /* the message came with SMTPUTF8 */
    bool tls;       /* it came over TLS */
    int64_t time_s; /* UNIX time */
};

#define TRACE_LENGTH_MAX 2048 /* octets of both headers */
#define TRACE_DATE_MAX   40   /* octets with NUL */

/* Writes both headers, CRLF lines of at most 998 octets (RFC 5322 section 2.1.1), without NUL.
 * Returns their length. */
size_t trace_render(const struct trace *trace, char out[TRACE_LENGTH_MAX]);

/* "Sun, 22 Nov 2026 07:21:18 +0000", RFC 5322 section 3.3, always UTC. */
void trace_date(int64_t time_s, char out[TRACE_DATE_MAX]);

#endif
