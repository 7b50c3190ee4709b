/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: a server that speaks just enough POP3 to be loaded and does nothing else. No state, no
 * look-up, no store: recv(2), a canned reply for each line by its first letter, send(2) (or
 * sendfile(2) for RETR). What a real server costs above it is what the real server does. One
 * thread, level-triggered epoll, independent of the project's io layer.
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include "io/address.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>

struct floor_config {
    struct address address;
    size_t message_octets; /* what RETR sends, terminator included */
    bool sendfile;         /* RETR by sendfile(2) instead of a send of a copy */
};

/* Prints "listening pop3 ADDRESS" and "floor: ready", then serves until SIGTERM or SIGINT. */
MUST_CHECK enum status floor_run(const struct floor_config *config, struct error *out_error);

#endif
