/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canned replies: what the floor says to a line, by its first letters. No state, no look-up, no
 * store. RETR's reply lies ready in memory and in a file, first line and message in one piece, so
 * that it can be sent in every way there is. Immutable once made; any thread.
 */
#ifndef BENCH_CANNED_H
#define BENCH_CANNED_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>

#define CANNED_OCTETS_MIN 5 /* of a message: the line end and the terminator */
#define CANNED_LINE_MAX   64

struct canned {
    char *message; /* the first line, the message, its terminator */
    size_t length; /* octets of all that */
    int file_fd;   /* the same octets: a file without a name, in the page cache */
    char stat[CANNED_LINE_MAX], list[CANNED_LINE_MAX];
};

struct canned_reply {
    const char *data;
    size_t length; /* octets */
    bool message;  /* it is the message: `file_fd` has the same octets from the first on */
    bool last;     /* then the connection is closed */
};

/* Makes them, for a message of `octets` with its terminator (at least CANNED_OCTETS_MIN). The file
 * is made in TMPDIR (else /tmp), or in memory where that cannot be. STATUS_NO_MEMORY,
 * STATUS_NO_SPACE; in any case canned_deinit is due. */
MUST_CHECK enum status canned_init(struct canned *canned, size_t octets);
void canned_deinit(struct canned *canned);

/* The answer to a line of `length` octets, its end included. */
struct canned_reply canned_answer(const struct canned *canned, const char *line, size_t length);

/* What is said to a new connection. */
struct canned_reply canned_greeting(void);

#endif
