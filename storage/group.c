/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/group.h"

#include "storage/storage_limits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define GROUP_COPY_MAX    4096               /* octets of a meta that is copied, to save an entry */
#define GROUP_HEAD_KEEP   (4u * 1024 * 1024) /* octets of head kept for the next group */
#define GROUP_ITEMS_FIRST 64

static_assert(STORAGE_GROUP_RECORDS_MAX >= GROUP_ITEMS_FIRST, "the first room is not the largest");

uint64_t group_item_octets(const struct writer_item *item)
{
    return RECORD_HEADER_SIZE + (uint64_t)item->meta_length + item->body_length;
}

/* Doubles until there is room for `wanted` elements; the old ones stay as they are on failure. */
static bool grow(void **elements, size_t *capacity, size_t wanted, size_t element_size)
{
    size_t larger = *capacity > 0 ? *capacity : GROUP_ITEMS_FIRST;
    if (wanted <= *capacity) {
        return true;
    }
    while (larger < wanted) {
        larger *= 2;
    }
    void *moved = realloc(*elements, larger * element_size);
    if (moved == NULL) {
        return false;
    }
    *elements = moved;
    *capacity = larger;
    return true;
}

bool group_add(struct group *group, struct writer_item *item)
{
    uint64_t octets = group_item_octets(item);
    size_t capacity = group->capacity;
    void *items = group->items;
    if (group->count > 0 && (group->count == STORAGE_GROUP_RECORDS_MAX ||
                             group->octets + octets > STORAGE_GROUP_OCTETS_MAX)) {
        return false;
    }
    if (!grow(&items, &capacity, (size_t)group->count + 1, sizeof(struct writer_item *))) {
        return false;
    }
    group->items = items;
    group->capacity = (unsigned)capacity;
    group->items[group->count++] = item;
    group->octets += octets;
    return true;
}

/* Room for everything, before anything is numbered or pointed to. */
static enum status make_room(struct group *group, const struct group_place *place)
{
    size_t head = RECORD_FRAME_SIZE, entries = 2; /* the head's first stretch, and one to spare */
    if (place->manifest != NULL) {
        head += RECORD_HEADER_SIZE + RECORD_MANIFEST_SIZE(place->manifest->unretired_count);
    }
    for (unsigned i = 0; i < group->count; i++) {
        const struct writer_item *item = group->items[i];
        head += RECORD_HEADER_SIZE;
        head += item->meta_length <= GROUP_COPY_MAX ? item->meta_length : 0;
        entries += 2 + (size_t)item->body_count;
    }
    void *data = group->head.data, *iov = group->out.iov;
    bool has_room = grow(&data, &group->head.capacity, head, 1);
    group->head.data = data;
    has_room = has_room && grow(&iov, &group->out.capacity, entries, sizeof(struct iovec));
    group->out.iov = iov;
    return has_room ? STATUS_OK : STATUS_NO_MEMORY;
}

/* Appends to what is to be written; what follows the last entry in memory only makes that longer.
 */
static void put(struct group *group, const void *data, size_t length)
{
    struct iovec *last = group->out.count > 0 ? &group->out.iov[group->out.count - 1] : NULL;
    if (length == 0) {
        return;
    }
    if (last != NULL && (const uint8_t *)last->iov_base + last->iov_len == data) {
        last->iov_len += length;
        return;
    }
    assert(group->out.count < group->out.capacity);
    /* The cast drops a const that pwritev does not need dropped: iovec has no const twin. */
    group->out.iov[group->out.count++] = (struct iovec){(void *)(uintptr_t)data, length};
}

/* `length` octets of the head, to be filled in, which are also the next to be written. */
static uint8_t *put_head(struct group *group, size_t length)
{
    uint8_t *data = group->head.data + group->head.length;
    assert(group->head.capacity - group->head.length >= length);
    group->head.length += length;
    put(group, data, length);
    return data;
}

static uint64_t put_manifest(struct group *group, const struct group_place *place)
{
    uint8_t *header_data = put_head(group, RECORD_HEADER_SIZE);
    size_t length = RECORD_MANIFEST_SIZE(place->manifest->unretired_count);
    uint8_t *meta = put_head(group, length);
    (void)record_encode_manifest(place->manifest, place->unretired, meta); /* `length` again */
    struct record_header header = {.kind = RECORD_MANIFEST,
                                   .segment = place->segment,
                                   .offset = place->offset,
                                   .sequence = place->sequence,
                                   .meta_length = (uint32_t)length,
                                   .body_checksum = checksum_body("", 0)};
    record_encode_header(place->key, &header, meta, header_data);
    return record_length(&header);
}

static void put_item(struct group *group, const struct group_place *place,
                     const struct record_header *header, const struct writer_item *item)
{
    record_encode_header(place->key, header, item->meta, put_head(group, RECORD_HEADER_SIZE));
    if (item->meta_length <= GROUP_COPY_MAX) {
        memcpy(put_head(group, item->meta_length), item->meta, item->meta_length);
    } else {
        put(group, item->meta, item->meta_length);
    }
    uint64_t body_length = 0;
    for (unsigned i = 0; i < item->body_count; i++) {
        put(group, item->body[i].iov_base, item->body[i].iov_len);
        body_length += item->body[i].iov_len;
    }
    assert(body_length == item->body_length); /* else every record behind it would be lost */
}

/* Writes the item down as the next record at `offset`; false when it has no place in the log. */
static bool encode_item(struct group *group, const struct group_place *place,
                        struct writer_item *item, uint64_t offset, uint64_t sequence)
{
    struct record_header header = {.kind = item->kind,
                                   .flags = item->flags,
                                   .segment = place->segment,
                                   .offset = offset,
                                   .sequence = sequence,
                                   .meta_length = item->meta_length,
                                   .body_length = item->body_length,
                                   .body_checksum = item->body_checksum};
    item->status = event_batch_add(&group->events, &header, item->meta);
    if (item->status != STATUS_OK) {
        item->status = item->status == STATUS_CORRUPT ? STATUS_INVALID : item->status;
        return false;
    }
    put_item(group, place, &header, item);
    item->sequence = sequence;
    item->segment = place->segment;
    item->record_offset = offset;
    item->body_offset = offset + RECORD_HEADER_SIZE + item->meta_length;
    return true;
}

enum status group_encode(struct group *group, const struct group_place *place,
                         struct delta_group *out_place, struct writer_item **out_rejected)
{
    enum status status = make_room(group, place);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t frame_offset = place->offset, first_sequence = place->sequence;
    if (place->manifest != NULL) {
        frame_offset += put_manifest(group, place);
        first_sequence++;
    }
    uint8_t *frame_data = put_head(group, RECORD_FRAME_SIZE);
    uint64_t first_record = frame_offset + RECORD_FRAME_SIZE, offset = first_record;
    unsigned count = 0;
    *out_rejected = NULL;
    for (unsigned i = 0; i < group->count; i++) {
        struct writer_item *item = group->items[i];
        if (encode_item(group, place, item, offset, first_sequence + count)) {
            group->items[count++] = item;
            offset += group_item_octets(item);
        } else {
            item->message.next = *out_rejected != NULL ? &(*out_rejected)->message : NULL;
            *out_rejected = item;
        }
    }
    group->count = count;
    group->octets = offset - first_record;
    struct record_frame frame = {.segment = place->segment,
                                 .offset = frame_offset,
                                 .number = place->number,
                                 .first_sequence = first_sequence,
                                 .record_count = count,
                                 .length = group->octets};
    record_encode_frame(place->key, &frame, frame_data);
    *out_place = (struct delta_group){.segment = place->segment,
                                      .offset = frame_offset,
                                      .end = offset,
                                      .first_sequence = first_sequence,
                                      .last_sequence = first_sequence + count - 1};
    return STATUS_OK;
}

void group_clear(struct group *group)
{
    group->count = 0;
    group->octets = 0;
    group->out.count = 0;
    group->head.length = 0;
    if (group->head.capacity > GROUP_HEAD_KEEP) {
        free(group->head.data);
        group->head.data = NULL;
        group->head.capacity = 0;
    }
    event_batch_clear(&group->events);
}

void group_deinit(struct group *group)
{
    free(group->items);
    free(group->out.iov);
    free(group->head.data);
    event_batch_deinit(&group->events);
    *group = (struct group){0};
}
