/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to the administrator's end, and the table of its commands. Private to admin*.c. Owned
 * by the admin thread.
 *
 * Life: made of a line; `begin` (if the command has one); its octets, to `octets` or into
 * `payload`; `run` when they are complete and it is not answered yet; admin_answer or admin_refuse
 * exactly once, at any of these points or later; freed when the answers before it have been
 * written.
 */
#ifndef SERVER_ADMIN_REQUEST_H
#define SERVER_ADMIN_REQUEST_H

#include "auth/account.h"
#include "auth/identity.h"
#include "io/doc.h"
#include "io/list.h"
#include "io/post.h"
#include "server/admin.h"
#include "storage/store.h"

#include <stdbool.h>

struct admin_conn;
struct admin_request;

/* What commands need to know of the thread they run on. */
struct admin_host {
    const char *default_domain;
    struct store *store;
    struct auth *auth;
    struct account_db *accounts;
    struct store_client client;
    const atomic_bool *draining;
};

struct admin_command {
    const char *name;
    /* Before the octets come; NULL: nothing to do. */
    void (*begin)(struct admin_request *request);
    /* Takes octets as they come. STATUS_PENDING: taken, no more until admin_request_resume. NULL:
     * they are gathered in `payload`, up to ADMIN_PAYLOAD_MAX. */
    enum status (*octets)(struct admin_request *request, const uint8_t *data, size_t length);
    void (*run)(struct admin_request *request);
    /* The client is gone and the octets are not complete: undo `begin`. NULL: nothing to undo. */
    void (*cancel)(struct admin_request *request);
};

struct admin_request {
    struct list_link link; /* in its connection, in order */
    struct admin_conn *conn;
    struct admin_host *host;
    const struct admin_command *command; /* NULL: unknown, answered already */
    struct doc question, answer;
    bool answered;
    uint64_t octets_left;
    uint8_t *payload;
    size_t payload_length;
    /* the commands' */
    struct identity identity;
    struct account account;
    struct store_drop_change change;
    struct store_open_request open;
    struct store_delivery *delivery;
    enum status failure; /* kept while something is undone */
    struct error error;
};

/* Answers {"ok": true} and what has been put into `answer`. */
void admin_answer(struct admin_request *request);
/* Answers a failure; printf-like, a sentence that names the cure. */
void admin_refuse(struct admin_request *request, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The connection goes on with the octets of `request`. */
void admin_request_resume(struct admin_request *request);

/* Reads "name" into `identity`, or refuses; and the account of that name. */
MUST_CHECK bool admin_read_name(struct admin_request *request);
MUST_CHECK bool admin_read_account(struct admin_request *request);

/* The request's octets, gathered; "" when there were none. */
static inline const char *admin_payload(const struct admin_request *request)
{
    return request->payload != NULL ? (const char *)request->payload : "";
}

/* The table, of admin_command.c; ends with a row without a name. */
extern const struct admin_command admin_commands[];

/* admin_user.c */
void admin_user_add(struct admin_request *request);
void admin_user_passwd(struct admin_request *request);
void admin_user_del(struct admin_request *request);
void admin_user_list(struct admin_request *request);
void admin_user_show(struct admin_request *request);
/* admin_auth.c */
void admin_auth_test(struct admin_request *request);
void admin_auth_cache(struct admin_request *request);
void admin_auth_flush(struct admin_request *request);
void admin_penalty_list(struct admin_request *request);
void admin_penalty_clear(struct admin_request *request);
/* admin_account.c */
void admin_user_terms(struct admin_request *request);
void admin_master_add(struct admin_request *request);
void admin_master_passwd(struct admin_request *request);
void admin_master_del(struct admin_request *request);
void admin_master_list(struct admin_request *request);
void admin_alias_set(struct admin_request *request);
void admin_alias_del(struct admin_request *request);
void admin_alias_list(struct admin_request *request);
/* admin_mail.c */
void admin_deliver_begin(struct admin_request *request);
enum status admin_deliver_octets(struct admin_request *request, const uint8_t *data, size_t length);
void admin_deliver_run(struct admin_request *request);
void admin_deliver_cancel(struct admin_request *request);
/* admin_store.c */
void admin_stat(struct admin_request *request);
void admin_health(struct admin_request *request);
void admin_checkpoint(struct admin_request *request);
void admin_compact(struct admin_request *request);
/* admin_care.c */
void admin_check(struct admin_request *request);
void admin_check_state(struct admin_request *request);
void admin_check_cancel(struct admin_request *request);
void admin_damaged(struct admin_request *request);

#endif
