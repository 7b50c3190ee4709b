/* SPDX-License-Identifier: Apache-2.0 */
/* Maildrops: create, name, remove. Each is one record. */
#include "storage/local.h"

#include "storage/record.h"
#include "storage/volume.h"

#include <stdlib.h>
#include <string.h>

struct pending_change {
    struct store_drop_change *change;
    struct writer_item item;
    uint8_t meta[RECORD_DROP_SIZE(STORAGE_DROP_NAME_MAX)];
};

bool local_drop_is_removed(struct local *local, uint64_t maildrop)
{
    (void)pthread_mutex_lock(&local->mutex);
    bool removed = idset_has(&local->removed, maildrop);
    (void)pthread_mutex_unlock(&local->mutex);
    return removed;
}

bool local_drop_has_gone(struct store_client *client, const struct store_drop *drop)
{
    return local_drop_is_removed(local_of(client), drop->id);
}

static void unmark_removed(struct local *local, uint64_t maildrop)
{
    (void)pthread_mutex_lock(&local->mutex);
    idset_remove(&local->removed, maildrop);
    (void)pthread_mutex_unlock(&local->mutex);
}

static void on_written(struct writer_item *item)
{
    struct pending_change *pending = list_entry(item, struct pending_change, item);
    struct store_drop_change *change = pending->change;
    enum status status = item->status;
    bool kept = status == STATUS_NO_SPACE || status == STATUS_READ_ONLY;
    if (item->kind == RECORD_DROP_REMOVED && kept) {
        unmark_removed(local_of(change->client), change->drop.id);
    }
    change->client->inflight--;
    free(pending);
    change->on_done(change, status);
}

static enum status submit(struct store_drop_change *change, uint8_t kind)
{
    struct pending_change *pending = calloc(1, sizeof *pending);
    if (pending == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t length = kind == RECORD_DROP_REMOVED ? 0 : strnlen(change->name, sizeof change->name);
    struct record_bytes name = {.data = (const uint8_t *)change->name, .length = (uint32_t)length};
    pending->change = change;
    pending->item.kind = kind;
    pending->item.meta = pending->meta;
    pending->item.meta_length = (uint32_t)record_encode_drop(change->drop.id, name, pending->meta);
    pending->item.reply_box = change->client->box;
    pending->item.on_done = on_written;
    pending->item.uses_reserve = kind == RECORD_DROP_REMOVED;
    change->client->inflight++;
    local_submit(change->client, &pending->item);
    return STATUS_PENDING;
}

enum status local_drop_create(struct store_drop_change *change)
{
    struct volume *volume = local_of(change->client)->volume;
    change->drop.volume = 0;
    /* Not more ids than sequences: each creation spends one of those too, so that the next start,
     * which goes on above every sequence, is above every id. */
    change->drop.id = atomic_fetch_add(&volume->next_drop, 1);
    return submit(change, RECORD_DROP_CREATED);
}

enum status local_drop_rename(struct store_drop_change *change)
{
    return submit(change, RECORD_DROP_CHANGED);
}

enum status local_drop_remove(struct store_drop_change *change)
{
    struct local *local = local_of(change->client);
    /* Before the record: a delivery that is checked from now on comes behind it in the log. */
    (void)pthread_mutex_lock(&local->mutex);
    enum status status = idset_add(&local->removed, change->drop.id);
    (void)pthread_mutex_unlock(&local->mutex);
    if (status != STATUS_OK) {
        return status;
    }
    status = submit(change, RECORD_DROP_REMOVED);
    if (status != STATUS_PENDING) {
        unmark_removed(local, change->drop.id);
    }
    return status;
}
