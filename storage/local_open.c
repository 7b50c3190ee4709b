/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a maildrop: lock, then view. The order matters: what the session before committed has
 * been published when its lock is released, so that a view read under our lock has it. */
#include "storage/local.h"

#include "storage/lock.h"
#include "storage/lookup.h"

#include <stdlib.h>

/* An open that the lookup thread works on. */
struct pending_open {
    struct lookup_request lookup;
    struct store_open_request *request;
    uint64_t lock_token;
    bool cancelled;
};

static void unlock(struct local *local, uint64_t maildrop, uint64_t token)
{
    if (token != 0) {
        lock_release(local->locks, maildrop, token);
    }
}

/* Takes maildrop and lock over when it succeeds. */
static enum status make_view(struct store_open_request *request, struct maildrop *maildrop,
                             uint64_t lock_token)
{
    struct local_view *view = malloc(sizeof *view);
    if (view == NULL) {
        return STATUS_NO_MEMORY;
    }
    *view = (struct local_view){
        .base = {.ops = &local_ops, .count = maildrop->count, .octets = maildrop->octets},
        .local = local_of(request->client),
        .client = request->client,
        .maildrop = maildrop,
        .lock_token = lock_token,
        .references = 1,
    };
    request->view = &view->base;
    return STATUS_OK;
}

static void on_looked_up(struct lookup_request *lookup)
{
    struct pending_open *pending = list_entry(lookup, struct pending_open, lookup);
    struct store_open_request *request = pending->request;
    struct local *local = local_of(request->client);
    enum status status = lookup->status;
    if (pending->cancelled) {
        status = STATUS_CANCELLED;
    } else if (status == STATUS_OK) {
        status = make_view(request, lookup->result, pending->lock_token);
    }
    if (status != STATUS_OK) {
        maildrop_destroy(&lookup->result);
        unlock(local, lookup->maildrop, pending->lock_token);
    }
    request->own = NULL;
    request->client->inflight--;
    free(pending);
    request->on_done(request, status);
}

static enum status look_up(struct store_open_request *request, uint64_t lock_token)
{
    struct pending_open *pending = calloc(1, sizeof *pending);
    if (pending == NULL) {
        return STATUS_NO_MEMORY;
    }
    pending->lookup.maildrop = request->drop.id;
    pending->lookup.reply_box = request->client->box;
    pending->lookup.on_done = on_looked_up;
    pending->request = request;
    pending->lock_token = lock_token;
    request->own = pending;
    request->client->inflight++;
    lookup_ask(local_of(request->client)->lookup, &pending->lookup);
    return STATUS_PENDING;
}

static enum status open_locked(struct store_open_request *request, uint64_t lock_token)
{
    struct local_client *client;
    struct maildrop *maildrop = NULL;
    enum status status = local_client_get(request->client, &client);
    if (status == STATUS_OK) {
        status = maildrop_read(&client->reader, request->drop.id, LOCAL_LOOKUP_MESSAGES, &maildrop);
    }
    if (status == STATUS_LIMIT) {
        return look_up(request, lock_token);
    }
    if (status == STATUS_OK) {
        status = make_view(request, maildrop, lock_token);
        if (status != STATUS_OK) {
            maildrop_destroy(&maildrop);
        }
    }
    return status;
}

enum status local_open_drop(struct store_open_request *request)
{
    struct local *local = local_of(request->client);
    uint64_t token = 0;
    request->own = NULL;
    if (request->drop.volume != 0 || request->drop.id == 0) {
        return STATUS_NOT_FOUND;
    }
    if (request->policy != STORE_LOCK_NONE) {
        bool takeover = request->policy == STORE_LOCK_TAKEOVER;
        enum status status = lock_acquire(local->locks, request->drop.id, takeover, &token);
        if (status != STATUS_OK) {
            return status;
        }
    }
    enum status status = open_locked(request, token);
    if (status != STATUS_OK && status != STATUS_PENDING) {
        unlock(local, request->drop.id, token);
    }
    return status;
}

void local_open_cancel(struct store_open_request *request)
{
    struct pending_open *pending = request->own;
    if (pending != NULL) {
        pending->cancelled = true;
    }
}

/* --- views --- */

static const struct local_view *const_view(const struct view *view)
{
    return (const struct local_view *)(const void *)view; /* base is its first member */
}

void local_view_release(struct local_view *view)
{
    if (--view->references == 0) {
        maildrop_destroy(&view->maildrop);
        free(view);
    }
}

void local_view_close(struct view *base)
{
    struct local_view *view = (struct local_view *)(void *)base;
    unlock(view->local, view->maildrop->id, view->lock_token);
    local_view_release(view);
}

enum status local_view_renew(struct view *base)
{
    const struct local_view *view = const_view(base);
    return view->lock_token == 0 ||
                   lock_held(view->local->locks, view->maildrop->id, view->lock_token)
               ? STATUS_OK
               : STATUS_LOST;
}

void local_view_message(const struct view *view, uint32_t index, struct store_message *out_message)
{
    maildrop_message(const_view(view)->maildrop, index, out_message);
}

uint64_t local_view_size(const struct view *view, uint32_t index)
{
    return const_view(view)->maildrop->entries[index].octets;
}

size_t local_view_uidl(const struct view *view, uint32_t index, char out[STORAGE_UIDL_LENGTH_MAX])
{
    return maildrop_uidl(const_view(view)->maildrop, index, out);
}
