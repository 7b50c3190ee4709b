/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of the administrator's protocol: blocking, for the command line. It talks to a
 * running server's socket, or opens the store itself and then to a thread of its own, which makes
 * no difference to what is above.
 */
#ifndef SERVER_ADMIN_CLIENT_H
#define SERVER_ADMIN_CLIENT_H

#include "io/doc.h"
#include "io/status.h"
#include "server/config.h"

#include <stddef.h>

struct admin_client;

/* A server's socket. STATUS_NOT_FOUND: nobody listens there. */
MUST_CHECK enum status admin_client_connect(const char *path, struct admin_client **out_client,
                                            struct error *out_error);

/* The store at config->store.path, while no server runs. STATUS_BUSY: one does. */
MUST_CHECK enum status admin_client_open(const struct config *config,
                                         struct admin_client **out_client, struct error *out_error);

/* Ends the connection, and the store if this opened it. NULLs. */
void admin_client_close(struct admin_client **client);

/* Sends a request, to which "octets" is added when `length` > 0, and the octets. May block until
 * earlier answers are read: have at most ADMIN_WINDOW requests unanswered. */
MUST_CHECK enum status admin_client_send(struct admin_client *client, struct doc *request,
                                         const void *data, size_t length, struct error *out_error);

/* The next answer, whatever it says; the caller frees it. */
MUST_CHECK enum status admin_client_receive(struct admin_client *client, struct doc *out_answer,
                                            struct error *out_error);

/* Turns a refusal into its status and sentence. */
MUST_CHECK enum status admin_client_verdict(const struct doc *answer, struct error *out_error);

/* Sends, receives, and judges: on STATUS_OK the answer is the caller's to free. Frees `request`. */
MUST_CHECK enum status admin_client_ask(struct admin_client *client, struct doc *request,
                                        const void *data, size_t length, struct doc *out_answer,
                                        struct error *out_error);

#endif
