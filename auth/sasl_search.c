/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a mechanism wants to know about. A database that does not block is asked on the worker, in
 * the call; any other, and whoever checks tokens, on the hashing threads, and the answer comes by
 * post. A search belongs to those threads from its submission to its post.
 */
#include "auth/auth_state.h"
#include "auth/oauth.h"
#include "auth/sasl.h"
#include "io/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct sasl_search {
    struct verify_job job;
    struct post_message answer;
    struct passdb_query query;
    struct auth *auth;
    bool is_nameable;  /* false: the name is malformed, nobody has it */
    enum status found; /* out */
    /* below: the worker's */
    struct auth_client *client;
    struct auth_sasl *sasl; /* NULL once given up */
    size_t token_length;    /* constant; 0: no token */
    char token[];           /* constant; wiped with the struct */
};

static void free_search(struct sasl_search *search)
{
    mem_wipe(search, sizeof *search + search->token_length);
    free(search);
}

/* On the worker. */
static void on_answer(struct post_message *message)
{
    struct sasl_search *search = list_entry(message, struct sasl_search, answer);
    struct auth_sasl *sasl = search->sasl;
    search->client->inflight--;
    if (sasl != NULL) {
        struct auth_request *request = sasl->request;
        deadline_disarm(loop_wheel(search->client->loop), &request->own.delay);
        sasl->search = NULL;
        if (search->token_length > 0 && search->is_nameable) {
            memcpy(request->identity.name, search->query.identity.name,
                   search->query.identity.length + 1);
        }
        sasl_resume(sasl, search->found, &search->query.account);
    }
    free_search(search);
}

/* --- on a hashing thread -----------------------------------------------------------------------
 */

static void answer(struct sasl_search *search, enum status status)
{
    search->found = status;
    post_send(search->client->box, &search->answer);
}

/* The database has answered late; any thread. */
static void on_late_answer(struct passdb_query *query, enum status status)
{
    answer(list_entry(query, struct sasl_search, query), status);
}

/* Who the token stands for. STATUS_DENIED: it is none of ours. */
static enum status name_bearer(struct sasl_search *search)
{
    char user[AUTH_NAME_MAX + 1];
    enum status status =
        oauth_check(search->auth->oauth, search->token, search->token_length, user, sizeof user);
    if (status == STATUS_OK) {
        struct auth_name_rules rules = auth_rules(search->auth);
        struct auth_name name;
        auth_name_read(&rules, NULL, 0, user, strlen(user), &name);
        search->is_nameable = name.is_nameable && !name.has_master;
        if (search->is_nameable) {
            search->query.identity = name.user;
        }
    }
    return status;
}

static void on_run(struct verify_job *job)
{
    struct sasl_search *search = list_entry(job, struct sasl_search, job);
    struct passdb *passdb = search->auth->passdb;
    enum status status = search->token_length > 0 ? name_bearer(search) : STATUS_OK;
    if (status == STATUS_OK) {
        status = search->is_nameable ? passdb->ops->find(passdb, &search->query) : STATUS_NOT_FOUND;
    }
    if (status != STATUS_PENDING) {
        answer(search, status);
    }
}

/* --- on the worker -----------------------------------------------------------------------------
 */

/* A database does not answer and does not say so: this request is not kept any longer. */
static void on_too_late(struct deadline *deadline)
{
    struct auth_request *request = list_entry(deadline, struct auth_request, own.delay);
    sasl_end(request);
    request->on_verdict(request, AUTH_UNAVAILABLE);
}

static enum sasl_step search_elsewhere(struct auth_sasl *sasl, const struct identity *identity,
                                       const char *token, size_t length)
{
    struct auth_client *client = sasl->request->client;
    struct sasl_search *search = calloc(1, sizeof *search + length);
    if (search == NULL) {
        return SASL_UNAVAILABLE;
    }
    search->job.on_run = on_run;
    search->answer.on_receive = on_answer;
    search->query.on_answer = on_late_answer;
    search->auth = client->auth;
    search->client = client;
    search->sasl = sasl;
    search->token_length = length;
    if (identity != NULL) {
        search->query.identity = *identity;
        search->is_nameable = true;
    }
    if (length > 0) {
        memcpy(search->token, token, length);
    }
    if (verify_submit(client->auth->verify, &search->job) != STATUS_OK) {
        free_search(search);
        return SASL_UNAVAILABLE;
    }
    sasl->search = search;
    client->inflight++;
    struct deadline *deadline = &sasl->request->own.delay;
    deadline_init(deadline, on_too_late);
    deadline_arm(loop_wheel(client->loop), deadline,
                 loop_now_ms(client->loop) + AUTH_ANSWER_MAX_S * INT64_C(1000));
    return SASL_WAIT;
}

static enum sasl_step search_here(struct auth_sasl *sasl, const struct identity *identity)
{
    struct passdb *passdb = sasl->request->client->auth->passdb;
    struct passdb_query query;
    enum status status = STATUS_NOT_FOUND;
    if (identity != NULL) {
        query.identity = *identity;
        query.on_answer = NULL;
        status = passdb->ops->find(passdb, &query);
        assert(status != STATUS_PENDING); /* auth/passdb.h: only one that may block does that */
    }
    enum sasl_step step = sasl_on_found(sasl, status, status == STATUS_OK ? &query.account : NULL);
    if (status == STATUS_OK) {
        mem_wipe(&query.account, sizeof query.account);
    }
    return step;
}

enum sasl_step sasl_find(struct auth_sasl *sasl, const char *name, size_t length)
{
    struct auth_request *request = sasl->request;
    struct auth *auth = request->client->auth;
    struct auth_name_rules rules = auth_rules(auth);
    struct auth_name read;
    auth_name_read(&rules, NULL, 0, name, length, &read);
    /* A master shows his password: keys, digests and certificates are for oneself. */
    const struct identity *known = read.is_nameable && !read.has_master ? &read.user : NULL;
    request->identity.name[0] = '\0';
    if (known != NULL) {
        memcpy(request->identity.name, known->name, known->length + 1);
    }
    return auth->passdb->ops->may_block ? search_elsewhere(sasl, known, NULL, 0)
                                        : search_here(sasl, known);
}

enum sasl_step sasl_find_token(struct auth_sasl *sasl, const char *token, size_t length)
{
    assert(length > 0);
    return search_elsewhere(sasl, NULL, token, length);
}

void sasl_search_cancel(struct auth_sasl *sasl)
{
    struct sasl_search *search = sasl->search;
    if (search == NULL) {
        return;
    }
    sasl->search = NULL;
    if (verify_withdraw(search->auth->verify, &search->job)) {
        search->client->inflight--;
        free_search(search);
    } else {
        search->sasl = NULL; /* its answer is in the box, or will be in a moment */
    }
}
