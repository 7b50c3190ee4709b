/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the account for a recipient: the address as it stands, then without its detail, then
 * whether the domain is ours at all. A database that does not block is asked on the worker; any
 * other on the hashing threads, and the answer comes by post.
 */
#include "auth/auth_state.h"
#include "io/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One look-up under way. */
struct recipient_search {
    struct verify_job job;
    struct post_message answer;
    struct passdb_query query;
    struct identity exact, stripped;
    unsigned step;  /* names tried or being tried */
    bool may_strip; /* `stripped` is one */
    struct auth *auth;
    enum status found; /* out */
    /* below: the worker's */
    struct auth_client *client;
    struct auth_lookup *lookup; /* NULL once given up */
};

/* Nobody of that name: is the domain ours? */
static enum status refuse(struct recipient_search *search)
{
    struct passdb *passdb = search->auth->passdb;
    const char *domain = identity_domain(&search->exact);
    bool exists = false;
    enum status status = passdb->ops->domain_exists(passdb, domain, strlen(domain), &exists);
    if (status != STATUS_OK) {
        return STATUS_IO;
    }
    return exists ? STATUS_NOT_FOUND : STATUS_DENIED;
}

/* Goes on after the database said `status` about the last name (STATUS_NOT_FOUND to begin with),
 * until there is a result or the database answers late (STATUS_PENDING). */
static enum status advance(struct recipient_search *search, enum status status)
{
    struct passdb *passdb = search->auth->passdb;
    unsigned names = !search->exact.nameable ? 0 : search->may_strip ? 2 : 1;
    while (status == STATUS_NOT_FOUND && search->step < names) {
        search->query.identity = search->step == 0 ? search->exact : search->stripped;
        search->step++;
        status = passdb->ops->find(passdb, &search->query);
    }
    switch (status) {
    case STATUS_OK:
    case STATUS_PENDING:
        return status;
    case STATUS_NOT_FOUND:
        return refuse(search);
    default:
        return STATUS_IO;
    }
}

static enum status prepare(struct recipient_search *search, struct auth *auth, const char *address,
                           size_t length)
{
    search->auth = auth;
    if (identity_from_address(address, length, auth->default_domain, &search->exact) != STATUS_OK) {
        return STATUS_INVALID;
    }
    search->may_strip =
        identity_strip_detail(&search->exact, auth->recipient_delimiter, &search->stripped);
    return STATUS_OK;
}

/* --- a database that blocks --- */

static void free_search(struct recipient_search *search)
{
    mem_wipe(&search->query.account, sizeof search->query.account);
    free(search);
}

/* On the worker. */
static void on_answer(struct post_message *message)
{
    struct recipient_search *search = list_entry(message, struct recipient_search, answer);
    struct auth_lookup *lookup = search->lookup;
    enum status status = search->found;
    search->client->inflight--;
    if (lookup != NULL) {
        lookup->own = NULL;
        if (status == STATUS_OK) {
            auth_identity_set(&lookup->identity, &search->query.account);
        }
    }
    free_search(search);
    if (lookup != NULL) {
        lookup->on_done(lookup, status);
    }
}

static void go_on(struct recipient_search *search, enum status status)
{
    status = advance(search, status);
    if (status != STATUS_PENDING) {
        search->found = status;
        post_send(search->client->box, &search->answer);
    }
}

static void on_run(struct verify_job *job)
{
    struct recipient_search *search = list_entry(job, struct recipient_search, job);
    go_on(search, search->found);
}

static void on_late_answer(struct passdb_query *query, enum status status)
{
    struct recipient_search *search = list_entry(query, struct recipient_search, query);
    search->found = status;
    verify_resume(search->auth->verify, &search->job);
}

static enum status search_elsewhere(struct auth_lookup *lookup, const char *address, size_t length)
{
    struct auth *auth = lookup->client->auth;
    struct recipient_search *search = calloc(1, sizeof *search);
    if (search == NULL) {
        return STATUS_IO;
    }
    enum status status = prepare(search, auth, address, length);
    if (status != STATUS_OK) {
        free_search(search);
        return status;
    }
    search->job.on_run = on_run;
    search->answer.on_receive = on_answer;
    search->query.on_answer = on_late_answer;
    search->found = STATUS_NOT_FOUND;
    search->client = lookup->client;
    search->lookup = lookup;
    if (verify_submit(auth->verify, &search->job) != STATUS_OK) {
        free_search(search);
        return STATUS_IO;
    }
    lookup->own = search;
    lookup->client->inflight++;
    return STATUS_PENDING;
}

/* --- a database that does not --- */

static enum status search_here(struct auth_lookup *lookup, const char *address, size_t length)
{
    struct recipient_search search;
    search.step = 0;
    enum status status = prepare(&search, lookup->client->auth, address, length);
    if (status == STATUS_OK) {
        status = advance(&search, STATUS_NOT_FOUND);
    }
    assert(status != STATUS_PENDING); /* auth/passdb.h: only one that may block answers late */
    if (status == STATUS_OK) {
        auth_identity_set(&lookup->identity, &search.query.account);
        mem_wipe(&search.query.account, sizeof search.query.account);
    }
    return status;
}

enum status auth_find_recipient(struct auth_lookup *lookup, const char *address, size_t length)
{
    assert(lookup->own == NULL);
    bool may_block = lookup->client->auth->passdb->ops->may_block;
    return may_block ? search_elsewhere(lookup, address, length)
                     : search_here(lookup, address, length);
}

void auth_lookup_cancel(struct auth_lookup *lookup)
{
    struct recipient_search *search = lookup->own;
    if (search != NULL) {
        lookup->own = NULL;
        search->lookup = NULL;
    }
}
