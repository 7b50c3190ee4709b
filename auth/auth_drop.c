/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth_drop.h"

#include "auth/account_drop.h"
#include "auth/auth_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One maildrop being made, and who waits for it. */
struct drop_creation {
    struct list_link link;
    struct list_link asks;
    struct auth *auth;
    struct store_drop_change change;
};

/* --- the providing thread ----------------------------------------------------------------------
 */

static void on_answer(struct post_message *message);

static void answer(struct drop_ask *ask, enum status status, const struct store_drop *drop)
{
    ask->status = status;
    if (status == STATUS_OK) {
        ask->drop = *drop;
    }
    ask->message.on_receive = on_answer;
    post_send(ask->client->box, &ask->message);
}

static void on_created(struct store_drop_change *change, enum status status)
{
    struct drop_creation *creation = list_entry(change, struct drop_creation, change);
    if (status == STATUS_OK) {
        /* Should that fail, an empty maildrop stays behind that nobody knows of. */
        status = account_drop_add(creation->auth->accounts, change->name, &change->drop, NULL);
    }
    list_remove(&creation->link);
    for (struct list_link *link; (link = list_pop_front(&creation->asks)) != NULL;) {
        answer(list_entry(link, struct drop_ask, link), status, &change->drop);
    }
    free(creation);
}

static struct drop_creation *find_creation(struct drop_provider *provider, const char *name)
{
    struct list_link *list = &provider->creations;
    for (struct list_link *link = list->next; link != list; link = link->next) {
        struct drop_creation *creation = list_entry(link, struct drop_creation, link);
        if (strcmp(creation->change.name, name) == 0) {
            return creation;
        }
    }
    return NULL;
}

static void create(struct auth *auth, struct store_client *store, struct drop_ask *ask)
{
    struct drop_creation *creation = calloc(1, sizeof *creation);
    if (creation == NULL) {
        answer(ask, STATUS_NO_MEMORY, NULL);
        return;
    }
    creation->auth = auth;
    list_init(&creation->asks);
    list_push_back(&auth->drops.creations, &creation->link);
    list_push_back(&creation->asks, &ask->link);
    creation->change.client = store;
    creation->change.on_done = on_created;
    memcpy(creation->change.name, ask->name, sizeof ask->name);
    enum status status = store_drop_create(&creation->change);
    if (status != STATUS_PENDING) {
        on_created(&creation->change, status);
    }
}

static void on_ask(struct post_message *message)
{
    struct drop_ask *ask = list_entry(message, struct drop_ask, message);
    struct auth *auth = ask->client->auth;
    struct drop_provider *provider = &auth->drops;
    struct store_drop drop = {0};
    /* Who waited in the queue while another made it finds it here. */
    enum status status = account_drop_find(auth->accounts, ask->name, &drop);
    if (status != STATUS_NOT_FOUND) {
        answer(ask, status, &drop);
        return;
    }
    struct drop_creation *running = find_creation(provider, ask->name);
    if (running != NULL) {
        list_push_back(&running->asks, &ask->link);
        return;
    }
    (void)pthread_mutex_lock(&provider->lock); /* a default mutex of ours cannot fail */
    struct store_client *store = provider->store;
    (void)pthread_mutex_unlock(&provider->lock); /* see above */
    if (store == NULL) {
        answer(ask, STATUS_CANCELLED, NULL); /* it is ending */
        return;
    }
    create(auth, store, ask);
}

void drop_provider_init(struct drop_provider *provider)
{
    int result = pthread_mutex_init(&provider->lock, NULL);
    assert(result == 0); /* a default mutex takes no resources on Linux */
    (void)result;
    provider->store = NULL;
    list_init(&provider->creations);
}

void drop_provider_deinit(struct drop_provider *provider)
{
    assert(list_empty(&provider->creations));
    (void)pthread_mutex_destroy(&provider->lock); /* nobody holds it */
}

void auth_provide_drops(struct auth *auth, struct store_client *store)
{
    (void)pthread_mutex_lock(&auth->drops.lock); /* see on_ask */
    auth->drops.store = auth->accounts != NULL ? store : NULL;
    (void)pthread_mutex_unlock(&auth->drops.lock); /* see on_ask */
}

/* --- the asking worker -------------------------------------------------------------------------
 */

static void on_answer(struct post_message *message)
{
    struct drop_ask *ask = list_entry(message, struct drop_ask, message);
    ask->client->inflight--;
    if (ask->on_done != NULL) {
        ask->on_done(ask);
    }
    free(ask);
}

/* Posts it to whoever provides. Under the lock: the box does not go meanwhile. */
static bool post_ask(struct drop_provider *provider, struct drop_ask *ask)
{
    (void)pthread_mutex_lock(&provider->lock); /* see on_ask */
    bool is_provided = provider->store != NULL;
    if (is_provided) {
        post_send(provider->store->box, &ask->message);
    }
    (void)pthread_mutex_unlock(&provider->lock); /* see on_ask */
    return is_provided;
}

enum status drop_want(struct auth_client *client, const char *name,
                      void (*on_done)(struct drop_ask *ask), void *owner,
                      struct store_drop *out_drop, struct drop_ask **out_ask)
{
    struct auth *auth = client->auth;
    if (auth->accounts == NULL) {
        return STATUS_UNSUPPORTED;
    }
    enum status status = account_drop_find(auth->accounts, name, out_drop);
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    struct drop_ask *ask = calloc(1, sizeof *ask);
    if (ask == NULL) {
        return STATUS_NO_MEMORY;
    }
    ask->message.on_receive = on_ask;
    ask->client = client;
    ask->on_done = on_done;
    ask->owner = owner;
    memcpy(ask->name, name, strlen(name) + 1);
    *out_ask = ask;
    client->inflight++;
    if (!post_ask(&auth->drops, ask)) {
        client->inflight--;
        free(ask);
        *out_ask = NULL;
        return STATUS_UNSUPPORTED;
    }
    return STATUS_PENDING;
}

void drop_give_up(struct drop_ask **ask)
{
    if (*ask != NULL) {
        (*ask)->on_done = NULL;
        *ask = NULL;
    }
}
