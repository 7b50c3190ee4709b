/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server in one thread, for measuring its pieces: a real store and user database in a folder, and
 * a worker without a thread, whose loop the caller turns. Clients are the other ends of socket
 * pairs, so that a reply costs no network and every step happens on the calling thread, but for
 * what the store's own threads do.
 *
 * A stage is filled once (users and their mail), which takes seconds, and may be opened often.
 * Whatever goes wrong ends the process with a word on standard error: a measurement that went on
 * would say something untrue.
 */
#ifndef BENCH_STAGE_H
#define BENCH_STAGE_H

#include "auth/auth.h"
#include "io/status.h"
#include "server/config.h"
#include "server/worker.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The users, all with password "word", and what is in their maildrops. */
enum stage_user {
    STAGE_FEW,      /* ten messages of 4 KB */
    STAGE_THOUSAND, /* a thousand small ones */
    STAGE_LARGE,    /* a hundred thousand small ones */
    STAGE_INBOX,    /* none: deliveries go here */
    STAGE_USERS
};

#define STAGE_MESSAGE_OCTETS 4096 /* of a message that is delivered or retrieved */
#define STAGE_GROUP          64   /* deliveries that stage_deliver_group sends off at once */

struct stage {
    const char *folder;
    struct config *config;
    struct store *store;
    struct auth *auth;
    struct worker worker;
    struct worker_listener pop3, lmtp;
    struct store_drop drops[STAGE_USERS];
    char message[STAGE_MESSAGE_OCTETS + 1];
    struct address peer; /* of all clients, as the server sees it */
    unsigned waiting;    /* answers of the store that have not come */
};

/* Makes the users and their mail in an empty folder. */
void stage_fill(const char *folder);

/* Opens a filled folder; `folder` stays the caller's. `loop` is LOOP_EPOLL or LOOP_IO_URING. */
void stage_open(struct stage *stage, const char *folder, enum loop_kind loop);

/* All clients must have been closed. Waits for what is in flight. */
void stage_close(struct stage *stage);

/* The name of a user, as USER and RCPT have it. */
const char *stage_name(enum stage_user user);

/* --- clients --- */

/* The client's end of a new connection. */
int stage_connect(struct stage *stage, struct worker_listener *listener);

/* Sends `length` octets. */
void stage_say(struct stage *stage, int client, const char *text, size_t length);

/* Receives until the octets so far end with `end` ("\r\n" for a line, "\r\n.\r\n" for a listing);
 * returns how many there were. A reply that is not a success ends the process. */
size_t stage_hear(struct stage *stage, int client, const char *end);

/* Says a command line without its end and hears the reply. */
size_t stage_ask(struct stage *stage, int client, const char *command, const char *end);

/* Closes the client's end and waits until the server's is gone. */
void stage_leave(struct stage *stage, int client);

/* A session in TRANSACTION. */
int stage_login(struct stage *stage, enum stage_user user);

/* --- the store, without a session --- */

/* Opens a maildrop without a lock, waiting for the answer. */
struct view *stage_view(struct stage *stage, enum stage_user user);

/* STAGE_GROUP messages for STAGE_INBOX, submitted together; waits until all are durable. */
void stage_deliver_group(struct stage *stage);

/* Ends the process when `good` is false. */
void stage_check(bool good, const char *what);

#endif
