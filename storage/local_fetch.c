/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a message's octets are. Small ones: read from the page cache and verified at once. Larger
 * warm ones: an extent. What is not in the page cache is read by the loop, so that no worker waits
 * for a disk, and verified when it is a whole message.
 */
#include "storage/local.h"

#include "io/warm.h"
#include "storage/checksum.h"
#include "storage/damaged.h"
#include "storage/disk.h"
#include "storage/scrub.h"
#include "storage/segment.h"
#include "storage/volume.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A read from the disk in flight. */
struct cold_read {
    struct store_fetch *fetch;
    struct local_view *view; /* a reference */
    struct segment *file;    /* a reference */
    uint64_t offset;         /* in the file, of data[0] */
    size_t length, done;     /* octets wanted, read so far */
    bool verify, cancelled;  /* verify: it is the whole message */
    uint8_t data[];
};

/* What is asked for, found in the view. */
struct place {
    const struct maildrop_entry *entry;
    struct segment *file; /* a reference of the caller's */
    uint64_t body_offset; /* of the whole message in the file */
};

/* What a view knows of a message, as the index says it. */
static struct message_entry entry_of(const struct local_view *view, uint32_t index)
{
    const struct maildrop_entry *entry = &view->maildrop->entries[index];
    bool in_blob = entry->file == MAILDROP_FILE_BLOB;
    const struct segment *file = in_blob ? NULL : view->maildrop->files[entry->file];
    return (struct message_entry){.uid = entry->uid,
                                  .segment = file != NULL ? (uint32_t)file->id : 0,
                                  .offset = in_blob ? 0 : entry->place,
                                  .blob = in_blob ? entry->place : 0};
}

static bool is_known_damaged(const struct store_fetch *fetch)
{
    const struct local_view *view = (const struct local_view *)(const void *)fetch->view;
    struct damaged *damaged = view->local->volume->damaged;
    if (damaged_count(damaged) == 0) {
        return false;
    }
    struct message_entry entry = entry_of(view, fetch->index);
    return damaged_at(damaged, entry.segment, entry.offset, entry.blob);
}

/* A verified read found damage: the next ones need not read. */
static void remember_damage(const struct store_fetch *fetch)
{
    const struct local_view *view = (const struct local_view *)(const void *)fetch->view;
    struct message_entry entry = entry_of(view, fetch->index);
    scrub_report(view->local->volume, view->maildrop->id, &entry, STATUS_CORRUPT, "fetch");
}

static enum status find_place(const struct store_fetch *fetch, struct place *out_place)
{
    const struct local_view *view = (const struct local_view *)(const void *)fetch->view;
    const struct maildrop *maildrop = view->maildrop;
    const struct maildrop_entry *entry = &maildrop->entries[fetch->index];
    assert(fetch->offset <= entry->wire_length &&
           fetch->length <= entry->wire_length - fetch->offset);
    *out_place = (struct place){.entry = entry};
    if (entry->file == MAILDROP_FILE_BLOB) {
        enum status status =
            segment_get_blob(view->local->volume->segments, entry->place, &out_place->file, NULL);
        return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
    }
    out_place->file = maildrop->files[entry->file];
    out_place->body_offset = entry->place;
    if (out_place->file == NULL) {
        return STATUS_CORRUPT; /* the segment is missing */
    }
    segment_hold(out_place->file);
    return STATUS_OK;
}

/* --- cold reads --- */

static void answer_cold(struct cold_read *read, enum status status)
{
    struct store_fetch *fetch = read->fetch;
    struct local_view *view = read->view;
    const struct maildrop_entry *entry = &view->maildrop->entries[fetch->index];
    if (read->cancelled) {
        status = STATUS_CANCELLED;
    } else if (status == STATUS_OK && read->verify &&
               checksum_body(read->data, read->length) != entry->checksum) {
        status = STATUS_CORRUPT;
    }
    if (status == STATUS_CORRUPT) {
        remember_damage(fetch);
    }
    segment_release(read->file);
    fetch->own = NULL;
    if (status == STATUS_OK) {
        /* The whole message may have been read to verify a part of it. */
        const uint8_t *data = read->verify ? read->data + fetch->offset : read->data;
        fetch->range = (struct store_range){.kind = STORE_RANGE_MEMORY,
                                            .length = fetch->length,
                                            .data = data,
                                            .hold = {.release = free, .owner = read}};
    } else {
        free(read);
    }
    view->client->inflight--;
    local_view_release(view);
    fetch->on_done(fetch, status);
}

static void read_on(struct cold_read *read);

static void on_read(struct loop_op *op, enum status status, size_t octets)
{
    struct store_fetch *fetch = list_entry(op, struct store_fetch, op);
    struct cold_read *read = fetch->own;
    if (status == STATUS_OK && octets > 0) {
        read->done += octets;
        if (read->done < read->length && !read->cancelled) {
            read_on(read);
            return;
        }
    } else if (status == STATUS_OK || status == STATUS_EOF) {
        status = STATUS_CORRUPT; /* the file ends before the message does */
    }
    answer_cold(read, status);
}

static void read_on(struct cold_read *read)
{
    struct store_fetch *fetch = read->fetch;
    fetch->op.on_done = on_read;
    loop_read(fetch->client->loop, &fetch->op, read->file->fd, read->data + read->done,
              read->length - read->done, read->offset + read->done);
}

/* Takes the place's reference over. */
static enum status fetch_cold(struct store_fetch *fetch, const struct place *place, bool whole)
{
    struct local_view *view = (struct local_view *)(void *)fetch->view;
    size_t length = whole ? place->entry->wire_length : (size_t)fetch->length;
    struct cold_read *read = malloc(sizeof *read + length);
    if (read == NULL) {
        segment_release(place->file);
        return STATUS_NO_MEMORY;
    }
    *read = (struct cold_read){.fetch = fetch,
                               .view = view,
                               .file = place->file,
                               .offset = place->body_offset + (whole ? 0 : fetch->offset),
                               .length = length,
                               .verify = whole};
    view->references++;
    view->client->inflight++;
    memset(&fetch->op, 0, sizeof fetch->op);
    fetch->own = read;
    read_on(read);
    return STATUS_PENDING;
}

/* --- warm ones --- */

/* Hands out octets that are in hand: in the caller's buffer when there is one, else in memory. */
static enum status give_copy(struct store_fetch *fetch, const uint8_t *data)
{
    uint8_t *copy = fetch->buffer != NULL ? fetch->buffer : malloc(fetch->length);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    memcpy(copy, data, fetch->length);
    fetch->range =
        (struct store_range){.kind = STORE_RANGE_BUFFER, .length = fetch->length, .data = copy};
    if (copy != fetch->buffer) {
        fetch->range.kind = STORE_RANGE_MEMORY;
        fetch->range.hold = (struct sendq_hold){.release = free, .owner = copy};
    }
    return STATUS_OK;
}

/* A message of up to STORE_INLINE_MAX octets is always read and verified whole. */
static enum status fetch_small(struct store_fetch *fetch, const struct place *place)
{
    uint8_t stack[STORE_INLINE_MAX];
    size_t length = place->entry->wire_length;
    bool in_place = fetch->buffer != NULL && fetch->length == length;
    uint8_t *data = in_place ? fetch->buffer : stack;
    enum status status = disk_read_now(place->file->fd, data, length, place->body_offset);
    if (status == STATUS_AGAIN) {
        return fetch_cold(fetch, place, true);
    }
    if (status == STATUS_OK && checksum_body(data, length) != place->entry->checksum) {
        status = STATUS_CORRUPT;
    }
    if (status == STATUS_CORRUPT) {
        remember_damage(fetch);
    }
    segment_release(place->file);
    if (status != STATUS_OK || !in_place) {
        return status == STATUS_OK ? give_copy(fetch, data + fetch->offset) : status;
    }
    fetch->range = (struct store_range){.kind = STORE_RANGE_BUFFER, .length = length, .data = data};
    return STATUS_OK;
}

/* A short part of a large message: not verified, for that would mean to read it all. */
static enum status fetch_part(struct store_fetch *fetch, const struct place *place)
{
    uint8_t stack[STORE_INLINE_MAX];
    uint8_t *data = fetch->buffer != NULL ? fetch->buffer : stack;
    enum status status =
        disk_read_now(place->file->fd, data, fetch->length, place->body_offset + fetch->offset);
    if (status == STATUS_AGAIN) {
        return fetch_cold(fetch, place, false);
    }
    segment_release(place->file);
    if (status != STATUS_OK || data == stack) {
        return status == STATUS_OK ? give_copy(fetch, data) : status;
    }
    fetch->range =
        (struct store_range){.kind = STORE_RANGE_BUFFER, .length = fetch->length, .data = data};
    return STATUS_OK;
}

/* The range's octets are sent from the file, which stays open until they are. */
static enum status give_extent(struct store_fetch *fetch, const struct place *place, bool warm)
{
    fetch->range = (struct store_range){
        .kind = STORE_RANGE_EXTENT,
        .length = fetch->length,
        .extent = {.fd = place->file->fd,
                   .offset = place->body_offset + fetch->offset,
                   .length = fetch->length,
                   .hold = {.release = segment_release, .owner = place->file},
                   .warm = warm},
    };
    return STATUS_OK;
}

enum status local_fetch(struct store_fetch *fetch)
{
    struct place place;
    fetch->own = NULL;
    if (is_known_damaged(fetch)) {
        return STATUS_CORRUPT;
    }
    enum status status = find_place(fetch, &place);
    if (status == STATUS_CORRUPT) {
        remember_damage(fetch);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (place.entry->wire_length <= STORE_INLINE_MAX) {
        return fetch_small(fetch, &place);
    }
    if (fetch->length <= STORE_INLINE_MAX) {
        return fetch_part(fetch, &place);
    }
    uint64_t offset = place.body_offset + fetch->offset;
    if (place.entry->file == MAILDROP_FILE_BLOB) {
        return give_extent(fetch, &place, false);
    }
    if (warm_range(place.file->fd, offset, fetch->length)) {
        return give_extent(fetch, &place, true);
    }
    return fetch_cold(fetch, &place, fetch->length == place.entry->wire_length);
}

void local_fetch_cancel(struct store_fetch *fetch)
{
    struct cold_read *read = fetch->own;
    if (read != NULL) {
        read->cancelled = true;
        loop_cancel(fetch->client->loop, &fetch->op);
    }
}
