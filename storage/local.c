/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/local.h"

#include "storage/check_run.h"
#include "storage/checkpoint.h"
#include "storage/compact.h"
#include "storage/damaged.h"
#include "storage/delta.h"
#include "storage/index.h"
#include "storage/kv.h"
#include "storage/lock.h"
#include "storage/lookup.h"
#include "storage/recover.h"
#include "storage/scrub.h"
#include "storage/volume.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct local *local_store(struct store *store)
{
    return (struct local *)(void *)store; /* base is its first member */
}

/* --- opening and closing --- */

enum status local_volume_config(const struct store_config *config, char path[VOLUME_PATH_MAX],
                                struct volume_config *out_volume, struct error *out_error)
{
    int length = snprintf(path, VOLUME_PATH_MAX, "%s/volume", config->path);
    if (length < 0 || (size_t)length >= VOLUME_PATH_MAX) {
        return error_set(out_error, STATUS_INVALID, 0, config->path, "the path is too long");
    }
    *out_volume = (struct volume_config){
        .path = path,
        .segment_size = config->segment_size,
        .blob_min = config->blob_min,
        .map_size = config->map_size,
        .index_check_max = config->index_check_max,
        .checkpoint_ms = config->checkpoint_ms,
        .scrub_rate = config->scrub_rate,
        .compact_ms = config->compact_off ? VOLUME_COMPACT_ASKED : config->compact_ms,
        .compact_rate = config->compact_rate,
        .compact_live = config->compact_live,
    };
    return STATUS_OK;
}

static enum status open_volume(const struct store_config *config, struct volume **out_volume,
                               struct error *out_error)
{
    char path[VOLUME_PATH_MAX];
    struct volume_config volume;
    enum status status = local_volume_config(config, path, &volume, out_error);
    return status == STATUS_OK ? volume_open(&volume, out_volume, out_error) : status;
}

/* Which maildrops have been removed: a delivery must not be answered for one of them. */
static enum status load_removed(struct local *local)
{
    struct index_reader *reader = NULL;
    struct index_state state;
    uint64_t *ids = NULL;
    size_t count = 0;
    enum status status = index_reader_create(local->volume->index, &reader);
    if (status == STATUS_OK) {
        status = index_begin(reader, &state);
        if (status == STATUS_OK) {
            status = index_removed_drops(reader, &ids, &count);
            index_end(reader);
        }
    }
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = idset_add(&local->removed, ids[i]);
    }
    free(ids);
    index_reader_destroy(&reader);
    return status;
}

static enum status start(struct local *local, const struct store_config *config,
                         struct error *out_error)
{
    enum status status = open_volume(config, &local->volume, out_error);
    if (status == STATUS_OK) {
        int64_t memory =
            config->body_memory != 0 ? (int64_t)config->body_memory : LOCAL_BODY_MEMORY;
        atomic_store(&local->volume->memory_left, memory);
        status = volume_start(local->volume, out_error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = load_removed(local);
    if (status == STATUS_OK) {
        status = lock_table_create(&local->locks);
    }
    if (status == STATUS_OK) {
        status = check_run_create(local->volume, &local->check);
    }
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, config->path, "opening the store");
    }
    return lookup_start(local->volume, &local->lookup, out_error);
}

static void local_close(struct store *store)
{
    struct local *local = local_store(store);
    check_run_destroy(&local->check);
    lookup_stop(&local->lookup);
    struct list_link *link;
    while ((link = list_pop_front(&local->clients)) != NULL) {
        struct local_client *client = list_entry(link, struct local_client, link);
        maildrop_reader_deinit(&client->reader);
        free(client);
    }
    volume_close(&local->volume);
    lock_table_destroy(&local->locks);
    idset_deinit(&local->removed);
    (void)pthread_mutex_destroy(&local->mutex); /* all threads are gone */
    free(local);
}

enum status local_open(const struct store_config *config, struct store **out_store,
                       struct error *out_error)
{
    struct local *local = calloc(1, sizeof *local);
    if (local == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, config->path, "opening the store");
    }
    local->base.ops = &local_ops;
    local->message_octets_max =
        config->message_octets_max != 0 ? config->message_octets_max : LOCAL_MESSAGE_OCTETS_MAX;
    list_init(&local->clients);
    list_init(&local->uidls);
    (void)pthread_mutex_init(&local->mutex, NULL); /* cannot fail with default attributes */
    enum status status = start(local, config, out_error);
    if (status != STATUS_OK) {
        local_close(&local->base);
        return status;
    }
    *out_store = &local->base;
    return STATUS_OK;
}

enum status local_rebuild(const struct store_config *config,
                          void (*on_progress)(void *owner, uint64_t done, uint64_t total),
                          void *owner, struct store_rebuilt *out_rebuilt, struct error *out_error)
{
    struct volume *volume = NULL;
    struct recovery recovery = {0};
    struct recover_options options = {.rebuild = true, .on_progress = on_progress, .owner = owner};
    enum status status = open_volume(config, &volume, out_error);
    if (status == STATUS_OK) {
        status = recover_run(volume, &options, &recovery, out_error);
    }
    if (status == STATUS_OK && out_rebuilt != NULL) {
        struct index_state state = {0};
        struct index_reader *reader = NULL;
        if (index_reader_create(volume->index, &reader) == STATUS_OK &&
            index_begin(reader, &state) == STATUS_OK) {
            index_end(reader);
        } /* else the figures are missing, no more */
        index_reader_destroy(&reader);
        *out_rebuilt = (struct store_rebuilt){.segments = recovery.unretired_count,
                                              .groups = recovery.groups,
                                              .octets = recovery.log_octets,
                                              .maildrops = state.maildrops,
                                              .messages = state.messages,
                                              .damaged_places = recovery.quarantined,
                                              .kept = recovery.kept,
                                              .lost_blobs = recovery.lost_blobs};
    }
    recover_free(&recovery);
    volume_close(&volume);
    return status;
}

static void on_submit(struct loop_task *task)
{
    struct local_client *own = list_entry(task, struct local_client, submit);
    struct writer_item *items = own->items;
    own->items = own->last_item = NULL;
    writer_submit_all(local_of(own->client)->volume->writer, items);
}

/* Several messages often end in one turn: together they share a group, and the writer does not sync
 * the first of them alone while the others wait. */
void local_submit(struct store_client *client, struct writer_item *item)
{
    struct local_client *own;
    if (client->loop == NULL || local_client_get(client, &own) != STATUS_OK) {
        writer_submit(local_of(client)->volume->writer, item);
        return;
    }
    item->message.next = NULL;
    if (own->items == NULL) {
        own->items = item;
        loop_defer(client->loop, &own->submit);
    } else {
        own->last_item->message.next = &item->message;
    }
    own->last_item = item;
}

enum status local_client_get(struct store_client *client, struct local_client **out_client)
{
    struct local *local = local_of(client);
    if (client->own == NULL) {
        struct local_client *own = calloc(1, sizeof *own);
        if (own == NULL || maildrop_reader_init(&own->reader, local->volume) != STATUS_OK) {
            free(own);
            return STATUS_NO_MEMORY;
        }
        own->client = client;
        loop_task_init(&own->submit, on_submit);
        (void)pthread_mutex_lock(&local->mutex);
        list_push_back(&local->clients, &own->link);
        (void)pthread_mutex_unlock(&local->mutex);
        client->own = own;
    }
    *out_client = client->own;
    return STATUS_OK;
}

/* --- figures --- */

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* cannot fail with this clock */
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void local_numbers(struct store *store, struct store_numbers *out_numbers)
{
    struct volume *volume = local_store(store)->volume;
    struct checkpoint_numbers checkpoint;
    struct compact_numbers compact;
    struct kv_numbers map;
    struct scrub_numbers scrub;
    compact_numbers(volume->compact, &compact);
    checkpoint_numbers(volume->checkpoint, &checkpoint);
    index_numbers(volume->index, &map);
    scrub_numbers(volume->scrub, &scrub);
    const struct writer_counters *writer = writer_counters(volume->writer);
    int64_t oldest_ms = delta_oldest_ms(volume->delta);
    uint64_t events = delta_events(volume->delta);
    *out_numbers = (struct store_numbers){
        .maildrops = checkpoint.state.maildrops,
        .messages = checkpoint.state.messages,
        .octets = checkpoint.state.octets,
        .segments = writer_unretired_count(volume->writer),
        .log_octets = compact.log_octets + counter_read(&writer->octets) - compact.written_octets,
        .delta_events = events,
        .delta_octets = delta_octets(volume->delta),
        .checkpoint_lag_events = events,
        .checkpoint_lag_ms = oldest_ms != 0 ? (uint64_t)(now_ms() - oldest_ms) : 0,
        .checkpoints = checkpoint.count,
        .checkpoint_us_sum = checkpoint.us_sum,
        .map_octets = map.map_octets,
        .map_used_octets = map.used_octets,
        .map_free_octets = map.free_octets,
        .quarantined = volume->quarantined,
        .scrub_octets = scrub.octets,
        .scrub_messages = scrub.messages,
        .scrub_passes = scrub.passes,
        .damaged = damaged_count(volume->damaged),
        .index_damaged = scrub.index_damaged,
        .needed_octets = compact.needed_octets,
        .copied_octets = compact.copied_octets,
        .copied_records = compact.copied_records,
        .reclaimed_segments = compact.segments,
        .reclaimed_blobs = compact.blobs,
        .reclaimed_octets = compact.reclaimed_octets,
        .waiting_blobs = compact.waiting_blobs,
        .left_segments = compact.left,
        .reclaimed_ms = compact.last_ms,
        .compact_stopped = compact.stopped,
        .read_only = atomic_load(&volume->read_only),
        .space_low = atomic_load(&volume->space_low),
    };
}

static const struct writer_counters *local_writer_counters(struct store *store)
{
    return writer_counters(local_store(store)->volume->writer);
}

static enum status local_checkpoint(struct store *store, struct error *out_error)
{
    struct volume *volume = local_store(store)->volume;
    enum status status = checkpoint_now(volume->checkpoint);
    return status == STATUS_OK
               ? status
               : error_set(out_error, status, 0, volume->path,
                           status == STATUS_NO_SPACE ? "no room to write the index: make room"
                                                     : "the checkpointer has stopped");
}

static enum status local_compact(struct store *store, bool all, struct error *out_error)
{
    struct volume *volume = local_store(store)->volume;
    enum status status = compact_now(volume->compact, all);
    const char *text = "compaction has stopped, see the log";
    if (status == STATUS_NO_SPACE) {
        text = "too little is free to copy anything: make room";
    } else if (status == STATUS_AGAIN) {
        text = "mail came and went too fast; try again";
    }
    return status == STATUS_OK ? status : error_set(out_error, status, 0, volume->path, "%s", text);
}

const struct store_ops local_ops = {
    .close = local_close,
    .numbers = local_numbers,
    .writer_counters = local_writer_counters,
    .checkpoint = local_checkpoint,
    .check_start = local_check_start,
    .check_cancel = local_check_cancel,
    .check_state = local_check_state,
    .check_findings = local_check_findings,
    .damaged = local_damaged,
    .compact = local_compact,
    .drop_create = local_drop_create,
    .drop_rename = local_drop_rename,
    .drop_remove = local_drop_remove,
    .drop_is_removed = local_drop_has_gone,
    .open_drop = local_open_drop,
    .open_cancel = local_open_cancel,
    .view_close = local_view_close,
    .view_renew = local_view_renew,
    .view_message = local_view_message,
    .view_size = local_view_size,
    .view_uidl = local_view_uidl,
    .fetch = local_fetch,
    .fetch_cancel = local_fetch_cancel,
    .commit = local_commit,
    .commit_detach = local_commit_detach,
    .delivery_admits = local_delivery_admits,
    .delivery_begin = local_delivery_begin,
    .delivery_add = local_delivery_add,
    .delivery_bare_lfs = local_delivery_bare_lfs,
    .delivery_commit = local_delivery_commit,
    .delivery_abort = local_delivery_abort,
};
