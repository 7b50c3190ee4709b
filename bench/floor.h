/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: a server that speaks just enough POP3 to be loaded and does nothing else (canned.h).
 * What a real server costs above it is what the real server does. One thread, on plain epoll and
 * independent of the project's io layer, or on that layer (floor_loop.h) to see what it alone
 * costs.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "io/address.h"
#include "io/loop.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>

/* How RETR is sent. */
enum floor_how {
    FLOOR_COPY,     /* send(2) from memory */
    FLOOR_SENDFILE, /* sendfile(2): the file's pages, no copy */
    FLOOR_SPLICE    /* splice(2) from the file into a pipe and on into the socket; plain only */
};

struct floor_config {
    struct address address;
    size_t message_octets; /* what RETR sends behind its first line, terminator included */
    enum floor_how how;
    bool on_loop;        /* on the io layer, with this back end: */
    enum loop_kind kind; /* unused otherwise */
};

/* Prints "listening pop3 ADDRESS" and "floor: ready", then serves until SIGTERM or SIGINT. */
MUST_CHECK enum status floor_run(const struct floor_config *config, struct error *out_error);

#endif
