/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker per core: own loop, own listeners, own connections, timers, pools and counters. It
 * shares nothing; other threads reach it by `box`. The administrator's thread is a worker too,
 * without listeners of its own but the admin socket, and may block.
 */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "auth/auth.h"
#include "io/conn.h"
#include "io/counter.h"
#include "io/list.h"
#include "io/listen.h"
#include "io/loop.h"
#include "io/mem.h"
#include "io/post.h"
#include "server/config.h"
#include "storage/store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct session_protocol;

#define WORKER_COMMANDS_MAX 64  /* rows of all command tables together */
#define WORKER_POOLS_MAX    8   /* sizes of pooled items: session structs and what they borrow */
#define WORKER_POOL_KEEP    128 /* free items a pool keeps: 0.2 MB of sessions; a storm's go back */

/* Written by the worker, read by the metrics thread. */
struct worker_counters {
    struct counter connections_accepted, connections_refused;
    struct counter sessions_pop3, sessions_lmtp; /* open now */
    struct counter logins[AUTH_VERDICTS];
    struct counter login_in_use;                     /* right password, maildrop held */
    struct counter commands_ok[WORKER_COMMANDS_MAX]; /* by the row's counter number */
    struct counter commands_failed[WORKER_COMMANDS_MAX];
    struct counter messages_retrieved, octets_retrieved, messages_expunged;
    struct counter deliveries, delivery_recipients, delivery_octets, delivery_failures;
    struct counter bare_lf_messages;
    struct histogram login_us;    /* from PASS to the reply, without held-back failures */
    struct histogram delivery_us; /* from the final dot to the reply */
};

struct worker_listener {
    struct listener listener;
    const struct config_listener *config; /* NULL: not in the configuration, as the admin socket */
    const struct session_protocol *protocol;
    struct worker *worker;
};

struct worker {
    unsigned index;
    const struct config *config; /* immutable; worker_reconfigure replaces it */
    struct loop *loop;
    struct post_box box;
    struct conn_host host;
    struct store_client store;
    struct auth_client auth;
    struct caps *caps;                        /* shared by all workers; NULL: nothing is counted */
    struct tls_server *tls[CONFIG_PROTOCOLS]; /* what listeners of a protocol present; NULL: none */
    struct worker_counters counters;
    struct mem_pool pools[WORKER_POOLS_MAX]; /* by item size, see worker_item_get */
    struct list_link sessions;               /* those whose connection has not ended */
    uint32_t session_count;                  /* those whose memory has not been freed */
    uint64_t next_session;                   /* for session ids: worker index and this */
    unsigned listener_count;
    struct worker_listener *listeners;
    bool draining;
    struct deadline drain; /* when it is due the remaining sessions are ended */
    pthread_t thread;
    struct error io_error; /* why auto fell back to epoll, when it did */
    /* start and end of the thread, for worker_start and worker_join */
    void *own;
};

/* One bound socket: opened by main before privileges drop. It stays main's; the worker only
 * accepts. */
struct worker_socket {
    const struct config_listener *config; /* NULL when it is not in the configuration */
    int fd;
    const struct session_protocol *protocol; /* NULL: the one that `config` names */
};

struct worker_config {
    unsigned index;
    const struct config *config;
    struct store *store;
    struct auth *auth;
    struct caps *caps;                   /* NULL: nothing is counted */
    const struct worker_socket *sockets; /* this worker's; copied */
    unsigned socket_count;
    struct tls_server *const *tls; /* CONFIG_PROTOCOLS of them, or NULL; references are taken */
};

/* Starts the thread and waits until its loop runs and its listeners accept, or says why not. */
MUST_CHECK enum status worker_start(const struct worker_config *config, struct worker **out_worker,
                                    struct error *out_error);
/* An item of `size` octets, not zeroed, from the worker's pool for that size, or NULL when memory
 * is short. Worker's thread only; sizes are few and constant. */
void *worker_item_get(struct worker *worker, size_t size);
/* Gives it back; NULL is allowed. */
void worker_item_put(struct worker *worker, size_t size, void *item);

/* Main thread: has the worker take its values and certificates from here on, and waits until it
 * has; after that it refers to nothing of the former configuration. `config` has every listener of
 * the former one. Not after worker_drain. */
void worker_reconfigure(struct worker *worker, const struct config *config,
                        struct tls_server *const *tls);

/* Main thread: stop accepting, let sessions end (idle POP3 ones at once), at most
 * drain_timeout_s. */
void worker_drain(struct worker *worker);
/* Main thread, once after worker_drain: waits until the worker accepts nothing more, which is soon.
 * Its sockets may be closed then. */
void worker_wait_deaf(struct worker *worker);
/* Waits for the thread to end after worker_drain; frees. */
void worker_join(struct worker **worker);

#endif
