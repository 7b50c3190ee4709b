/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maildrops for users whose database knows of none. They are made on one thread of the store's
 * (auth_provide_drops), one at a time for a name, so that nobody ever gets two. Whoever needs one
 * asks by post and is answered by post. Private to auth/.
 */
#ifndef AUTH_AUTH_DROP_H
#define AUTH_AUTH_DROP_H

#include "auth/auth_limits.h"
#include "io/list.h"
#include "io/post.h"
#include "io/status.h"
#include "storage/store.h"

#include <pthread.h>
#include <stdbool.h>

struct auth;
struct auth_client;

struct drop_provider {
    pthread_mutex_t lock;
    struct store_client *store; /* under the lock; NULL: nobody provides */
    struct list_link creations; /* the providing thread's */
};

/* Begins without a provider: questions are then answered that nobody provides. */
void drop_provider_init(struct drop_provider *provider);
/* No question may be waiting. */
void drop_provider_deinit(struct drop_provider *provider);

/* One question. On the heap: it lives until its answer has come back, also when given up. */
struct drop_ask {
    struct post_message message; /* there and back */
    struct list_link link;       /* the provider's */
    struct auth_client *client;
    /* On the asking worker; NULL once given up. It may read, and the struct is freed afterwards. */
    void (*on_done)(struct drop_ask *ask);
    void *owner;
    char name[AUTH_NAME_MAX + 1];
    enum status status; /* out */
    struct store_drop drop;
};

/* STATUS_OK: `out_drop`, known already. STATUS_PENDING: `on_done` will be called with `*out_ask`.
 * Anything else: none can be had now. Worker of the client. */
MUST_CHECK enum status drop_want(struct auth_client *client, const char *name,
                                 void (*on_done)(struct drop_ask *ask), void *owner,
                                 struct store_drop *out_drop, struct drop_ask **out_ask);
/* Gives it up: no callback comes. NULLs; NULL inside is allowed. */
void drop_give_up(struct drop_ask **ask);

static inline bool drop_is_known(const struct store_drop *drop)
{
    return drop->volume != AUTH_VOLUME_NONE;
}

#endif
