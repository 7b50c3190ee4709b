/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server as a whole: puts the pieces together in the one right order, and takes them apart in
 * the opposite one. Main thread.
 *
 * The order: descriptors, sockets and certificates first (low ports and keys need privileges that
 * are dropped afterwards), then the sandbox, the log's thread and the store, the accounts, the
 * demo's mail, the workers, the seal that forbids further rings, and last what tells others that
 * the server serves.
 */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include "io/status.h"
#include "server/config.h"

#include <stdbool.h>
#include <stdio.h>

struct daemon;

/* Starts everything; with `demo` a new store gets the demo's users. `config` stays the caller's and
 * must outlive the daemon. On failure nothing is left running. */
MUST_CHECK enum status daemon_start(const struct config *config, bool demo,
                                    struct daemon **out_daemon, struct error *out_error);

/* Takes new values and certificates without dropping a session. `*config` becomes the daemon's, and
 * NULL. On failure it stays the caller's, and everything is as it was. */
MUST_CHECK enum status daemon_reload(struct daemon *daemon, struct config **config,
                                     struct error *out_error);

/* To be called about once a minute: reads ticket keys that have changed, warns of certificates that
 * expire. */
void daemon_minute(struct daemon *daemon);

/* A line `listening NAME ADDRESS` for each bound address; port 0 has become a number. */
void daemon_print_listening(const struct daemon *daemon, FILE *out);

/* The first address of the first listener of that protocol, as text; "" when there is none. */
#define DAEMON_ADDRESS_MAX 128 /* octets, as ADDRESS_TEXT_MAX */
void daemon_address(const struct daemon *daemon, enum config_protocol protocol,
                    char out_text[DAEMON_ADDRESS_MAX]);

/* The same for the listener of that name. */
void daemon_listener_address(const struct daemon *daemon, const char *name,
                             char out_text[DAEMON_ADDRESS_MAX]);

/* Stops accepting, lets sessions end, at most drain_timeout, then ends everything. NULLs. */
void daemon_stop(struct daemon **daemon);

#endif
