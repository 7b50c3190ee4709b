/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the accounts for a recipient. In this order, and the first that is known counts:
 *
 *   the address: an account, then an alias
 *   the address without its detail: an account, then an alias
 *   "@domain": the catch-all
 *
 * An alias's targets are then looked up one by one; a target may be an alias again. Nobody at all:
 * is the domain ours? At last whoever has no maildrop yet gets one (auth/auth_drop.h).
 *
 * Databases that do not block are asked on the worker; with any other all of it happens on the
 * hashing threads and the answer comes by post. Only maildrops are always asked for on the worker.
 */
#include "auth/account_alias.h"
#include "auth/auth_state.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum phase { PHASE_EXACT, PHASE_STRIPPED, PHASE_CATCH_ALL, PHASE_TARGETS };

/* The names an alias stands for, grown as aliases among them are opened. Each stands once, so that
 * a loop ends. */
struct targets {
    struct alias alias; /* the one being read */
    struct alias_names found;
    uint32_t next; /* of those found */
};

/* One look-up under way. */
struct recipient_search {
    struct verify_job job;
    struct post_message answer;
    enum phase phase;
    bool may_strip; /* `stripped` is one */
    struct auth *auth;
    struct targets *targets; /* NULL until an alias is found */
    struct auth_identity *found;
    uint32_t found_count;
    enum status status; /* out */
    struct auth_client *client;
    /* below: the worker's */
    struct auth_lookup *lookup; /* NULL once given up */
    struct drop_ask *drop;
    uint32_t drops_known; /* of `found` */
    /* below: large, and written before it is read */
    struct identity exact, stripped;
    struct passdb_query query;
};

/* --- who it is ---------------------------------------------------------------------------------
 */

/* Adds who has been found; his credentials are of no use here. */
static enum status add_found(struct recipient_search *search)
{
    struct account *account = &search->query.account;
    uint32_t count = search->found_count;
    struct auth_identity *grown = realloc(search->found, (count + 1) * sizeof *grown);
    if (grown != NULL) {
        search->found = grown;
        search->found_count++;
        auth_identity_set(&grown[count], account);
    }
    account_wipe(account);
    return grown != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

/* If there is an alias of that name, puts its targets with the others. STATUS_NOT_FOUND. */
static enum status open_alias(struct recipient_search *search, const char *name)
{
    struct account_db *accounts = search->auth->accounts;
    if (accounts == NULL) {
        return STATUS_NOT_FOUND;
    }
    struct targets *targets = search->targets;
    if (targets == NULL) {
        targets = calloc(1, sizeof *targets);
        if (targets == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    search->targets = targets;
    enum status status = account_alias_find(accounts, name, &targets->alias);
    for (uint32_t i = 0; status == STATUS_OK && i < targets->alias.target_count; i++) {
        account_alias_collect(&targets->found, targets->alias.targets[i]);
    }
    return status;
}

/* Nobody of that name: is the domain ours? */
static enum status refuse(const struct recipient_search *search)
{
    struct auth *auth = search->auth;
    const char *domain = identity_domain(&search->exact);
    bool exists = false;
    enum status status = STATUS_OK;
    if (auth->accounts != NULL) { /* of aliases too */
        status = account_domain_exists(auth->accounts, domain, strlen(domain), &exists);
    }
    if (status == STATUS_OK && !exists) {
        status = auth->passdb->ops->domain_exists(auth->passdb, domain, strlen(domain), &exists);
    }
    if (status != STATUS_OK) {
        return STATUS_IO;
    }
    return exists ? STATUS_NOT_FOUND : STATUS_DENIED;
}

/* The name that is asked for in this phase; NULL when there is none. */
static const char *phase_name(const struct recipient_search *search)
{
    switch (search->phase) {
    case PHASE_EXACT:
        return search->exact.nameable ? search->exact.name : NULL;
    case PHASE_STRIPPED:
        return search->exact.nameable && search->may_strip ? search->stripped.name : NULL;
    case PHASE_CATCH_ALL: /* from the "@" on; a domain literal has none */
        return search->exact.name + search->exact.local_length;
    case PHASE_TARGETS:
        return search->targets->found.names[search->targets->next];
    }
    return NULL;
}

/* Asks the databases for the name of this phase; only an account's name is one to ask for. */
static enum status ask(struct recipient_search *search)
{
    struct passdb *passdb = search->auth->passdb;
    const char *name = phase_name(search);
    if (name == NULL || name[0] == '@') {
        return STATUS_NOT_FOUND;
    }
    struct identity *identity = &search->query.identity;
    if (search->phase != PHASE_TARGETS) {
        *identity = search->phase == PHASE_STRIPPED ? search->stripped : search->exact;
    } else if (identity_from_login(name, strlen(name), NULL, identity) != STATUS_OK) {
        return STATUS_NOT_FOUND; /* a stored target that is no name */
    }
    return passdb->ops->find(passdb, &search->query);
}

/* No account of this phase's name: an alias? Goes on to the next phase or target. STATUS_AGAIN:
 * there is something to ask for. */
static enum status step(struct recipient_search *search)
{
    const char *name = phase_name(search);
    enum status status = name == NULL ? STATUS_NOT_FOUND : open_alias(search, name);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return STATUS_IO;
    }
    if (search->phase == PHASE_TARGETS) {
        search->targets->next++;
    } else if (status == STATUS_OK) {
        search->phase = PHASE_TARGETS;
    } else if (search->phase == PHASE_CATCH_ALL) {
        return refuse(search);
    } else {
        search->phase++;
    }
    return STATUS_AGAIN;
}

/* Goes on after the databases said `status` about a name, until there is a result or one answers
 * late (STATUS_PENDING). */
static enum status advance(struct recipient_search *search, enum status status)
{
    for (;;) {
        if (status == STATUS_OK) {
            status = add_found(search);
            if (status != STATUS_OK || search->phase != PHASE_TARGETS) {
                return status == STATUS_OK ? STATUS_OK : STATUS_IO;
            }
            search->targets->next++;
        } else if (status == STATUS_NOT_FOUND) {
            status = step(search);
            if (status != STATUS_AGAIN) {
                return status;
            }
        } else {
            return status == STATUS_PENDING ? status : STATUS_IO;
        }
        if (search->phase == PHASE_TARGETS &&
            search->targets->next == search->targets->found.count) {
            return search->found_count > 0 ? STATUS_OK : STATUS_NOT_FOUND;
        }
        status = ask(search);
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

/* --- the end, on the worker --------------------------------------------------------------------
 */

static void free_search(struct recipient_search *search)
{
    free(search->targets);
    free(search->found);
    free(search);
}

/* Hands over what was found. */
static void hand_over(struct recipient_search *search)
{
    struct auth_lookup *lookup = search->lookup;
    lookup->identity = search->found[0];
    lookup->other_count = search->found_count - 1;
    if (lookup->other_count > 0) {
        memmove(search->found, search->found + 1, lookup->other_count * sizeof *search->found);
        lookup->others = search->found;
        search->found = NULL;
    }
}

static void on_drop(struct drop_ask *ask);

/* Gives those a maildrop who have none. STATUS_PENDING: on_drop goes on. */
static enum status find_drops(struct recipient_search *search)
{
    while (search->drops_known < search->found_count) {
        struct auth_identity *identity = &search->found[search->drops_known];
        if (!drop_is_known(&identity->drop)) {
            enum status status = drop_want(search->client, identity->name, on_drop, search,
                                           &identity->drop, &search->drop);
            if (status != STATUS_OK) {
                return status == STATUS_PENDING ? status : STATUS_IO;
            }
        }
        search->drops_known++;
    }
    return STATUS_OK;
}

/* The last steps of a search that has a heap block of its own. */
static void finish(struct recipient_search *search, enum status status)
{
    struct auth_lookup *lookup = search->lookup;
    if (lookup != NULL && status == STATUS_OK) {
        status = find_drops(search);
        if (status == STATUS_PENDING) {
            return;
        }
    }
    if (lookup != NULL) {
        lookup->own = NULL;
        if (status == STATUS_OK) {
            hand_over(search);
        }
    }
    free_search(search);
    if (lookup != NULL) {
        lookup->on_done(lookup, status);
    }
}

static void on_drop(struct drop_ask *ask)
{
    struct recipient_search *search = ask->owner;
    enum status status = ask->status == STATUS_OK ? STATUS_OK : STATUS_IO;
    search->drop = NULL;
    search->found[search->drops_known].drop = ask->drop;
    search->drops_known++;
    finish(search, status);
}

/* --- databases that block ----------------------------------------------------------------------
 */

static void on_answer(struct post_message *message)
{
    struct recipient_search *search = list_entry(message, struct recipient_search, answer);
    search->client->inflight--;
    finish(search, search->status);
}

static void go_on(struct recipient_search *search, enum status status)
{
    status = advance(search, status);
    if (status != STATUS_PENDING) {
        search->status = status;
        post_send(search->client->box, &search->answer);
    }
}

static void on_resume(struct verify_job *job)
{
    struct recipient_search *search = list_entry(job, struct recipient_search, job);
    go_on(search, search->status);
}

static void on_run(struct verify_job *job)
{
    struct recipient_search *search = list_entry(job, struct recipient_search, job);
    search->job.on_run = on_resume;
    go_on(search, ask(search));
}

static void on_late_answer(struct passdb_query *query, enum status status)
{
    struct recipient_search *search = list_entry(query, struct recipient_search, query);
    search->status = status;
    verify_resume(search->auth->verify, &search->job);
}

static enum status search_elsewhere(struct auth_lookup *lookup, struct recipient_search *search)
{
    search->job.on_run = on_run;
    search->answer.on_receive = on_answer;
    search->query.on_answer = on_late_answer;
    if (verify_submit(search->auth->verify, &search->job) != STATUS_OK) {
        free_search(search);
        return STATUS_IO;
    }
    lookup->own = search;
    lookup->client->inflight++;
    return STATUS_PENDING;
}

/* --- databases that do not ---------------------------------------------------------------------
 */

/* Ends a search of this call's; one that waits for a maildrop goes on without it. */
static enum status finish_here(struct auth_lookup *lookup, struct recipient_search *search)
{
    enum status status = find_drops(search);
    if (status == STATUS_PENDING) {
        lookup->own = search;
        return status;
    }
    if (status == STATUS_OK) {
        hand_over(search);
    }
    free_search(search);
    return status;
}

static enum status search_here(struct auth_lookup *lookup, struct recipient_search *search)
{
    enum status status = advance(search, ask(search));
    assert(status != STATUS_PENDING); /* auth/passdb.h: only one that may block answers late */
    if (status == STATUS_OK) {
        return finish_here(lookup, search);
    }
    free_search(search);
    return status;
}

enum status auth_find_recipient(struct auth_lookup *lookup, const char *address, size_t length)
{
    assert(lookup->own == NULL);
    struct auth *auth = lookup->client->auth;
    lookup->others = NULL;
    lookup->other_count = 0;
    struct recipient_search *search = malloc(sizeof *search);
    if (search == NULL) {
        return STATUS_IO;
    }
    memset(search, 0, offsetof(struct recipient_search, exact));
    search->query.on_answer = NULL;
    search->client = lookup->client;
    search->lookup = lookup;
    enum status status = prepare(search, auth, address, length);
    if (status != STATUS_OK) {
        free_search(search);
        return status;
    }
    return auth->passdb->ops->may_block ? search_elsewhere(lookup, search)
                                        : search_here(lookup, search);
}

void auth_lookup_cancel(struct auth_lookup *lookup)
{
    struct recipient_search *search = lookup->own;
    if (search == NULL) {
        return;
    }
    lookup->own = NULL;
    search->lookup = NULL;
    if (search->drop != NULL) { /* nothing else refers to it */
        drop_give_up(&search->drop);
        free_search(search);
    } else if (verify_withdraw(search->client->auth->verify, &search->job)) {
        search->client->inflight--;
        free_search(search);
    }
}

void auth_lookup_clear(struct auth_lookup *lookup)
{
    free(lookup->others);
    lookup->others = NULL;
    lookup->other_count = 0;
}
