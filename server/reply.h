/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies: lines into a session's output. Nothing here fails for the caller: when memory is short
 * the connection is being aborted already. The hot replies (constant text, and numbers by
 * io/digits) avoid printf.
 *
 * A line that begins with "-", "4" or "5" is an error in every protocol spoken here; it marks the
 * present command as failed (session->failed), which is what the command is counted as.
 */
#ifndef SERVER_REPLY_H
#define SERVER_REPLY_H

#include <stddef.h>
#include <stdint.h>

struct session;

/* `text` and CRLF; cut at 510 octets like reply_format. */
void reply_line(struct session *session, const char *text);

/* A printf-like line and CRLF; cut at 510 octets (RFC 1939 section 3). Never give it client data.
 */
void reply_format(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Octets the caller has put together, line ends and all. */
void reply_octets(struct session *session, const char *data, size_t length);

/* Copies `text` without its NUL; returns the octets written. For putting a reply together. */
size_t reply_text(char *out, const char *text);

#endif
