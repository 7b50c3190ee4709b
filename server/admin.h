/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The administrator's end: one thread with a loop of its own that serves a UNIX socket (mode 0600;
 * only root and the server's own user are let in). Unlike a worker it may block: passwords are
 * hashed and accounts are synced on it.
 *
 * The protocol: a request is one line of JSON, {"command": "deliver", "name": "demo1", "octets":
 * 123}, followed by as many raw octets as "octets" says (none without it). An answer is one line of
 * JSON with "ok"; when that is false, "status" is a word of io/status.h and "error" a sentence that
 * names the cure. Requests may be sent without waiting for answers, which come in the order of the
 * requests.
 *
 * The command line speaks the same protocol with a thread of its own when it opens a store itself.
 */
#ifndef SERVER_ADMIN_H
#define SERVER_ADMIN_H

#include "auth/auth.h"
#include "io/status.h"
#include "server/config.h"
#include "storage/store.h"

#include <stdatomic.h>

struct admin;

struct admin_config {
    const char *default_domain;
    struct store *store;
    struct auth *auth;
    int socket;                  /* listening; -1: none. Stays the caller's to close */
    const atomic_bool *draining; /* for `health`; NULL: never */
};

/* Main thread. Starts the thread and waits until it serves. */
MUST_CHECK enum status admin_start(const struct admin_config *config, struct admin **out_admin,
                                   struct error *out_error);

/* Main thread. Serves one connected socket, which becomes the admin's, without asking who it is. */
void admin_serve(struct admin *admin, int fd);

/* Main thread. Ends connections, waits for what was submitted to the store, ends the thread. NULLs;
 * harmless on NULL. */
void admin_stop(struct admin **admin);

/* Opens the socket at `path`, for its owner only. */
MUST_CHECK enum status admin_listen(const char *path, int *out_fd, struct error *out_error);

#endif
