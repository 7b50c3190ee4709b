/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded back end: one volume in a directory. This header is for the files of the back end
 * (local.c, local_open.c, local_fetch.c, local_commit.c, local_deliver.c, local_drop.c,
 * local_uidl.c) and for store.c.
 */
#ifndef STORAGE_LOCAL_H
#define STORAGE_LOCAL_H

#include "io/list.h"
#include "storage/backend.h"
#include "storage/idset.h"
#include "storage/maildrop.h"
#include "storage/volume.h"
#include "storage/writer.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct lock_table;
struct check_run;
struct lookup;

#define LOCAL_LOOKUP_MESSAGES \
    20000 /* a maildrop with more is read on the lookup thread: 1 ms warm */
#define LOCAL_MESSAGE_OCTETS_MAX (64u << 20)   /* octets of a message, by default */
#define LOCAL_BODY_MEMORY        (256ll << 20) /* octets of bodies in memory, by default */

/* The store. Immutable after opening, but for what `mutex` guards. */
struct local {
    struct store base;
    struct volume *volume;
    struct lock_table *locks;
    struct lookup *lookup;
    struct check_run *check;
    uint64_t message_octets_max;
    pthread_mutex_t mutex;
    struct list_link clients; /* local_client.link */
    struct list_link uidls;   /* local_uidl.link: imports on their way to the log */
    struct idset removed;     /* maildrops: no delivery may name one any more */
};

/* One worker's part; belongs to that worker. */
struct local_client {
    struct list_link link;
    struct maildrop_reader reader;
    struct store_client *client;
    struct writer_item *items, *last_item; /* for the writer at the end of this turn of the loop */
    struct loop_task submit;
};

/* A view as the local back end has it; belongs to its client's worker. */
struct local_view {
    struct view base;
    struct local *local;
    struct store_client *client;
    struct maildrop *maildrop;
    uint64_t lock_token; /* 0: none, by policy */
    uint32_t references; /* its owner's and one for each pending fetch */
};

/* store_open and store_rebuild for this back end. */
enum status local_open(const struct store_config *config, struct store **out_store,
                       struct error *out_error);
enum status local_rebuild(const struct store_config *config,
                          void (*on_progress)(void *owner, uint64_t done, uint64_t total),
                          void *owner, struct store_rebuilt *out_rebuilt, struct error *out_error);

static inline struct local *local_of(const struct store_client *client)
{
    return (struct local *)(void *)client->store; /* base is its first member */
}

/* The client's part, made when it is first needed. STATUS_NO_MEMORY. */
MUST_CHECK enum status local_client_get(struct store_client *client,
                                        struct local_client **out_client);

/* Hands an item to the writer; all those of one turn of the client's loop together, at its end. */
void local_submit(struct store_client *client, struct writer_item *item);

/* The operations, by file; each is one of struct store_ops. */
extern const struct store_ops local_ops;

/* local_open.c: opening, views; the contracts are those of store.h. */
enum status local_open_drop(struct store_open_request *request);
void local_open_cancel(struct store_open_request *request);
void local_view_close(struct view *view);
enum status local_view_renew(struct view *view);
void local_view_message(const struct view *view, uint32_t index, struct store_message *out_message);
uint64_t local_view_size(const struct view *view, uint32_t index);
size_t local_view_uidl(const struct view *view, uint32_t index, char out[STORAGE_UIDL_LENGTH_MAX]);
/* A reference less; the last one frees it. The lock is not touched. */
void local_view_release(struct local_view *view);

/* local_fetch.c: a message's octets. */
enum status local_fetch(struct store_fetch *fetch);
void local_fetch_cancel(struct store_fetch *fetch);

/* local_commit.c: expunging. */
enum status local_commit(struct view *view, const uint32_t *indexes, uint32_t count,
                         void (*on_done)(void *owner, enum status status), void *owner,
                         struct store_commit **out_commit);
void local_commit_detach(struct store_commit *commit);

/* local_drop.c: maildrops. */
enum status local_drop_create(struct store_drop_change *change);
enum status local_drop_rename(struct store_drop_change *change);
enum status local_drop_remove(struct store_drop_change *change);
bool local_drop_has_gone(struct store_client *client, const struct store_drop *drop);
/* The same by number. Any thread. */
bool local_drop_is_removed(struct local *local, uint64_t maildrop);

/* local_deliver.c: delivering. */
enum status local_delivery_admits(struct store_client *client);
enum status local_delivery_begin(struct store_client *client,
                                 const struct store_delivery_info *info,
                                 const struct store_delivery_events *events, void *owner,
                                 struct store_delivery **out_delivery);
enum status local_delivery_add(struct store_delivery *delivery, const uint8_t *data, size_t length);
uint64_t local_delivery_bare_lfs(const struct store_delivery *delivery);
enum status local_delivery_commit(struct store_delivery *delivery,
                                  const struct store_recipient *recipients, unsigned count);
void local_delivery_abort(struct store_delivery *delivery);

/* local_care.c: looking for damage. */
enum status local_check_closed(const struct store_config *config,
                               const struct check_options *options, struct check_result *out_result,
                               struct error *out_error);
enum status local_check_start(struct store *store, uint64_t rate);
void local_check_cancel(struct store *store);
void local_check_state(struct store *store, struct check_run_state *out_state);
size_t local_check_findings(struct store *store, size_t first, struct damage *out, size_t count);
size_t local_damaged(struct store *store, size_t first, struct store_damaged *out, size_t count);
/* The volume of a store, as it is configured. */
enum status local_volume_config(const struct store_config *config, char path[VOLUME_PATH_MAX],
                                struct volume_config *out_volume, struct error *out_error);

/* --- imported unique-ids on their way (local_uidl.c) --- */

/* One unique-id of one maildrop, from the check until the log has it: of two imports of the same
 * one at the same time the second is refused. */
struct local_uidl {
    struct list_link link;
    uint64_t maildrop;
    const char *uidl;
    size_t length;
};

/* Claims it, for `claim` to hold. STATUS_EXISTS: a message of the maildrop has it, or another
 * import is bringing it, or this volume will give it to a message of its own. */
MUST_CHECK enum status local_uidl_claim(struct store_client *client, struct local_uidl *claim,
                                        uint64_t maildrop, const char *uidl, size_t length);
/* Harmless on one that is all zero. */
void local_uidl_release(struct local *local, struct local_uidl *claim);

#endif
