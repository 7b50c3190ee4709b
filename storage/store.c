/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/store.h"

#include "storage/backend.h"
#include "storage/local.h"

#include <assert.h>

enum status store_open(const struct store_config *config, struct store **out_store,
                       struct error *out_error)
{
    return local_open(config, out_store, out_error);
}

void store_close(struct store **store)
{
    if (*store != NULL) {
        (*store)->ops->close(*store);
        *store = NULL;
    }
}

enum status store_rebuild(const struct store_config *config,
                          void (*on_progress)(void *owner, uint64_t done, uint64_t total),
                          void *owner, struct store_rebuilt *out_rebuilt, struct error *out_error)
{
    return local_rebuild(config, on_progress, owner, out_rebuilt, out_error);
}

void store_numbers(struct store *store, struct store_numbers *out_numbers)
{
    store->ops->numbers(store, out_numbers);
}

const struct writer_counters *store_writer_counters(struct store *store)
{
    return store->ops->writer_counters(store);
}

enum status store_checkpoint(struct store *store, struct error *out_error)
{
    return store->ops->checkpoint(store, out_error);
}

enum status store_check_closed(const struct store_config *config,
                               const struct check_options *options, struct check_result *out_result,
                               struct error *out_error)
{
    return local_check_closed(config, options, out_result, out_error);
}

enum status store_check_start(struct store *store, uint64_t rate)
{
    return store->ops->check_start(store, rate);
}

void store_check_cancel(struct store *store)
{
    store->ops->check_cancel(store);
}

void store_check_state(struct store *store, struct check_run_state *out_state)
{
    store->ops->check_state(store, out_state);
}

size_t store_check_findings(struct store *store, size_t first, struct damage *out, size_t count)
{
    return store->ops->check_findings(store, first, out, count);
}

size_t store_damaged(struct store *store, size_t first, struct store_damaged *out, size_t count)
{
    return store->ops->damaged(store, first, out, count);
}

enum status store_compact(struct store *store, bool all, struct error *out_error)
{
    return store->ops->compact(store, all, out_error);
}

void store_client_init(struct store_client *client, struct store *store, struct loop *loop,
                       struct post_box *box)
{
    *client = (struct store_client){.store = store, .loop = loop, .box = box};
}

enum status store_drop_create(struct store_drop_change *change)
{
    return change->client->store->ops->drop_create(change);
}

enum status store_drop_rename(struct store_drop_change *change)
{
    return change->client->store->ops->drop_rename(change);
}

enum status store_drop_remove(struct store_drop_change *change)
{
    return change->client->store->ops->drop_remove(change);
}

bool store_drop_is_removed(struct store_client *client, const struct store_drop *drop)
{
    return client->store->ops->drop_is_removed(client, drop);
}

enum status store_open_drop(struct store_open_request *request)
{
    return request->client->store->ops->open_drop(request);
}

void store_open_cancel(struct store_open_request *request)
{
    request->client->store->ops->open_cancel(request);
}

void store_view_close(struct view **view)
{
    if (*view != NULL) {
        (*view)->ops->view_close(*view);
        *view = NULL;
    }
}

enum status store_view_renew(struct view *view)
{
    return view->ops->view_renew(view);
}

uint32_t store_view_count(const struct view *view)
{
    return view->count;
}

uint64_t store_view_octets(const struct view *view)
{
    return view->octets;
}

void store_view_message(const struct view *view, uint32_t index, struct store_message *out_message)
{
    assert(index < view->count);
    view->ops->view_message(view, index, out_message);
}

uint64_t store_view_size(const struct view *view, uint32_t index)
{
    assert(index < view->count);
    return view->ops->view_size(view, index);
}

size_t store_view_uidl(const struct view *view, uint32_t index, char out[STORAGE_UIDL_LENGTH_MAX])
{
    assert(index < view->count);
    return view->ops->view_uidl(view, index, out);
}

enum status store_fetch(struct store_fetch *fetch)
{
    assert(fetch->index < fetch->view->count && fetch->length > 0);
    return fetch->view->ops->fetch(fetch);
}

void store_fetch_cancel(struct store_fetch *fetch)
{
    fetch->view->ops->fetch_cancel(fetch);
}

enum status store_commit(struct view **view, const uint32_t *indexes, uint32_t count,
                         void (*on_done)(void *owner, enum status status), void *owner,
                         struct store_commit **out_commit)
{
    struct view *taken = *view;
    assert(count > 0);
    *view = NULL;
    return taken->ops->commit(taken, indexes, count, on_done, owner, out_commit);
}

void store_commit_detach(struct store_commit **commit)
{
    if (*commit != NULL) {
        (*commit)->ops->commit_detach(*commit);
        *commit = NULL;
    }
}

enum status store_delivery_admits(struct store_client *client)
{
    return client->store->ops->delivery_admits(client);
}

enum status store_delivery_begin(struct store_client *client,
                                 const struct store_delivery_info *info,
                                 const struct store_delivery_events *events, void *owner,
                                 struct store_delivery **out_delivery)
{
    return client->store->ops->delivery_begin(client, info, events, owner, out_delivery);
}

enum status store_delivery_add(struct store_delivery *delivery, const uint8_t *data, size_t length)
{
    return delivery->ops->delivery_add(delivery, data, length);
}

uint64_t store_delivery_bare_lfs(const struct store_delivery *delivery)
{
    return delivery->ops->delivery_bare_lfs(delivery);
}

enum status store_delivery_commit(struct store_delivery *delivery,
                                  const struct store_recipient *recipients, unsigned count)
{
    assert(count > 0 && count <= STORAGE_RECIPIENTS_MAX);
    return delivery->ops->delivery_commit(delivery, recipients, count);
}

void store_delivery_abort(struct store_delivery **delivery)
{
    if (*delivery != NULL) {
        (*delivery)->ops->delivery_abort(*delivery);
        *delivery = NULL;
    }
}
