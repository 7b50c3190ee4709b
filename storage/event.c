/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/event.h"

#include <stdlib.h>
#include <string.h>

#define EVENT_BATCH_FIRST 64 /* events of the first allocation */

static enum status reserve(struct event_batch *batch, size_t count)
{
    size_t capacity = batch->capacity == 0 ? EVENT_BATCH_FIRST : batch->capacity;
    while (capacity - batch->count < count) {
        capacity *= 2;
    }
    if (capacity == batch->capacity) {
        return STATUS_OK;
    }
    struct delta_event *events = realloc(batch->events, capacity * sizeof *events);
    if (events == NULL) {
        return STATUS_NO_MEMORY;
    }
    batch->events = events;
    batch->capacity = capacity;
    return STATUS_OK;
}

static void append(struct event_batch *batch, const struct record_header *header,
                   enum delta_kind kind, uint64_t maildrop, uint64_t uid)
{
    batch->events[batch->count++] = (struct delta_event){
        .maildrop = maildrop, .sequence = header->sequence, .kind = kind, .uid = uid};
}

/* Lengths beyond 32 bits never enter the log (STORAGE_MESSAGE_OCTETS_MAX): such a record is
 * damaged. */
static bool fits(const struct record_delivered *delivered)
{
    return delivered->wire_length <= STORAGE_MESSAGE_OCTETS_MAX &&
           delivered->octets <= STORAGE_MESSAGE_OCTETS_MAX &&
           delivered->header_length <= delivered->wire_length &&
           delivered->uidl.length <= STORAGE_UIDL_LENGTH_MAX;
}

static void fill_entry(const struct record_header *header, const struct record_delivered *delivered,
                       struct message_entry *out_entry)
{
    memset(out_entry, 0, sizeof *out_entry);
    out_entry->uid = delivered->uid != 0 ? delivered->uid : header->sequence;
    out_entry->blob = delivered->blob;
    out_entry->offset =
        delivered->blob != 0 ? 0 : header->offset + RECORD_HEADER_SIZE + header->meta_length;
    out_entry->checksum = header->body_checksum;
    out_entry->segment = header->segment;
    out_entry->wire_length = (uint32_t)delivered->wire_length;
    out_entry->octets = (uint32_t)delivered->octets;
    out_entry->header_length = (uint32_t)delivered->header_length;
    out_entry->flags = delivered->message_flags;
    out_entry->encoding = delivered->encoding;
    out_entry->received_ms = delivered->received_ms;
    out_entry->uidl_length = (uint8_t)delivered->uidl.length;
    if (delivered->uidl.length > 0) {
        memcpy(out_entry->uidl, delivered->uidl.data, delivered->uidl.length);
    }
}

static enum status add_message(struct event_batch *batch, const struct record_header *header,
                               const uint8_t *meta)
{
    struct record_delivered delivered;
    enum status status = record_decode_delivered(meta, header->meta_length, &delivered);
    if (status != STATUS_OK) {
        return status;
    }
    bool moved = header->kind == RECORD_MOVED;
    if (!fits(&delivered) || moved != (delivered.uid != 0)) {
        return STATUS_CORRUPT;
    }
    struct message_entry *entry = mem_arena_alloc(&batch->arena, sizeof *entry);
    if (entry == NULL || reserve(batch, delivered.recipient_count) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    fill_entry(header, &delivered, entry);
    size_t cursor = 0, count = batch->count;
    struct record_recipient recipient;
    for (uint32_t i = 0; i < delivered.recipient_count; i++) {
        status = record_next_recipient(meta, header->meta_length, &cursor, &recipient);
        if (status != STATUS_OK) {
            batch->count = count;
            return STATUS_CORRUPT;
        }
        append(batch, header, moved ? DELTA_MESSAGE_MOVED : DELTA_MESSAGE_ADDED, recipient.maildrop,
               entry->uid);
        batch->events[batch->count - 1].entry = entry;
    }
    return STATUS_OK;
}

static enum status add_expunged(struct event_batch *batch, const struct record_header *header,
                                const uint8_t *meta)
{
    uint64_t maildrop;
    uint32_t count;
    enum status status = record_decode_expunged(meta, header->meta_length, &maildrop, &count);
    if (status != STATUS_OK) {
        return status;
    }
    status = reserve(batch, count);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < count; i++) {
        append(batch, header, DELTA_MESSAGE_EXPUNGED, maildrop, record_expunged_uid(meta, i));
    }
    return STATUS_OK;
}

static enum status add_drop(struct event_batch *batch, const struct record_header *header,
                            const uint8_t *meta, enum delta_kind kind)
{
    uint64_t maildrop;
    struct record_bytes name;
    enum status status = record_decode_drop(meta, header->meta_length, &maildrop, &name);
    if (status != STATUS_OK) {
        return status;
    }
    if (name.length > STORAGE_DROP_NAME_MAX) {
        return STATUS_CORRUPT;
    }
    char *copy = NULL;
    if (kind != DELTA_DROP_REMOVED) {
        copy = mem_arena_copy(&batch->arena, name.data, name.length);
        if (copy == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    status = reserve(batch, 1);
    if (status != STATUS_OK) {
        return status;
    }
    append(batch, header, kind, maildrop, 0);
    batch->events[batch->count - 1].name = copy;
    return STATUS_OK;
}

static enum status add_retired(struct event_batch *batch, const struct record_header *header,
                               const uint8_t *meta)
{
    uint32_t segment;
    enum status status = record_decode_retired(meta, header->meta_length, &segment);
    if (status != STATUS_OK) {
        return status;
    }
    status = reserve(batch, 1);
    if (status != STATUS_OK) {
        return status;
    }
    append(batch, header, DELTA_SEGMENT_RETIRED, 0, segment);
    return STATUS_OK;
}

enum status event_batch_add(struct event_batch *batch, const struct record_header *header,
                            const uint8_t *meta)
{
    switch ((enum record_kind)header->kind) {
    case RECORD_DELIVERED:
    case RECORD_MOVED:
        return add_message(batch, header, meta);
    case RECORD_EXPUNGED:
        return add_expunged(batch, header, meta);
    case RECORD_DROP_CREATED:
        return add_drop(batch, header, meta, DELTA_DROP_CREATED);
    case RECORD_DROP_CHANGED:
        return add_drop(batch, header, meta, DELTA_DROP_CHANGED);
    case RECORD_DROP_REMOVED:
        return add_drop(batch, header, meta, DELTA_DROP_REMOVED);
    case RECORD_RETIRED:
        return add_retired(batch, header, meta);
    case RECORD_MANIFEST:
    case RECORD_RETRIEVED:
        break;
    }
    return STATUS_OK;
}

void event_batch_clear(struct event_batch *batch)
{
    batch->count = 0;
    mem_arena_clear(&batch->arena);
}

void event_batch_deinit(struct event_batch *batch)
{
    mem_arena_clear(&batch->arena);
    free(batch->events);
    *batch = (struct event_batch){0};
}
