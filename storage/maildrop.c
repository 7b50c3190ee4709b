/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why the order of reading matters (delta, then snapshot, then skip). The other way round loses
 * mail:
 *
 *     reader: begins the snapshot, whose position is 10
 *     checkpointer: applies event 11, a new message, and forgets it in the delta
 *     reader: copies the delta: 11 is not there, and not in the snapshot either
 *
 * In our order the event is in the copy, or the snapshot is newer than the forgetting and has it;
 * when both have it, its sequence is at or before the snapshot's position, and the copy's is
 * skipped.
 */
#include "storage/maildrop.h"

#include "storage/index.h"
#include "storage/volume.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define READ_TRIES 3  /* a segment vanishes at most once between two looks at the index */
#define UIDL_ROOM  40 /* octets of one imported unique-id, for the first allocation */

enum status maildrop_reader_init(struct maildrop_reader *reader, struct volume *volume)
{
    *reader = (struct maildrop_reader){.volume = volume};
    return index_reader_create(volume->index, &reader->index);
}

void maildrop_reader_deinit(struct maildrop_reader *reader)
{
    index_reader_destroy(&reader->index);
    mem_arena_clear(&reader->scratch);
}

void maildrop_destroy(struct maildrop **maildrop)
{
    if (*maildrop == NULL) {
        return;
    }
    if ((*maildrop)->pins != NULL) {
        pin_release((*maildrop)->pins, (*maildrop)->pin);
    }
    for (uint32_t i = 0; i < (*maildrop)->file_count; i++) {
        segment_release((*maildrop)->files[i]);
    }
    free((*maildrop)->files);
    free((*maildrop)->uidl_offsets);
    free((*maildrop)->uidl_octets);
    free(*maildrop);
    *maildrop = NULL;
}

/* --- what the events say --- */

/* The events that the snapshot does not have, by what they do. Arrays in the scratch arena. */
struct changes {
    bool there;                         /* whether the maildrop exists */
    const struct message_entry **added; /* ascending by uid */
    const struct message_entry **moved; /* ascending by uid, then in their order */
    uint64_t *gone;                     /* ascending */
    size_t added_count, moved_count, gone_count;
};

static int by_number(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static bool is_gone(const struct changes *changes, uint64_t uid)
{
    return changes->gone_count > 0 && bsearch(&uid, changes->gone, changes->gone_count,
                                              sizeof changes->gone[0], by_number) != NULL;
}

/* By uid; of equal ones the later event is behind: they were copied to one block in their order. */
static int by_moved(const void *left, const void *right)
{
    const struct message_entry *a = *(const struct message_entry *const *)left;
    const struct message_entry *b = *(const struct message_entry *const *)right;
    if (a->uid != b->uid) {
        return a->uid < b->uid ? -1 : 1;
    }
    return (uintptr_t)a < (uintptr_t)b ? -1 : (uintptr_t)a > (uintptr_t)b;
}

/* Of several moves the last counts. */
static const struct message_entry *moved_to(const struct changes *changes,
                                            const struct message_entry *entry)
{
    size_t low = 0, high = changes->moved_count;
    while (low < high) { /* to the first with a higher uid */
        size_t middle = low + (high - low) / 2;
        if (changes->moved[middle]->uid <= entry->uid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && changes->moved[low - 1]->uid == entry->uid ? changes->moved[low - 1] : entry;
}

static void sort_event(struct changes *changes, const struct delta_event *event)
{
    switch (event->kind) {
    case DELTA_MESSAGE_ADDED:
        changes->there = true;
        changes->added[changes->added_count++] = event->entry;
        break;
    case DELTA_MESSAGE_EXPUNGED:
        changes->gone[changes->gone_count++] = event->uid;
        break;
    case DELTA_MESSAGE_MOVED:
        changes->moved[changes->moved_count++] = event->entry;
        break;
    case DELTA_DROP_CREATED:
    case DELTA_DROP_CHANGED:
        changes->there = true;
        break;
    case DELTA_DROP_REMOVED:
    case DELTA_SEGMENT_RETIRED:
        break;
    }
}

/* `changes->there` says on entry what the snapshot knows. STATUS_NOT_FOUND: removed, for good. */
static enum status sort_events(struct mem_arena *scratch, const struct maildrop_events *events,
                               uint64_t position, struct changes *changes)
{
    size_t size = events->count * sizeof(void *);
    if (events->count == 0) {
        return STATUS_OK;
    }
    changes->added = mem_arena_alloc(scratch, size);
    changes->moved = mem_arena_alloc(scratch, size);
    changes->gone = mem_arena_alloc(scratch, events->count * sizeof(uint64_t));
    if (changes->added == NULL || changes->moved == NULL || changes->gone == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < events->count; i++) {
        const struct delta_event *event = &events->events[i];
        if (event->sequence <= position) {
            continue;
        }
        if (event->kind == DELTA_DROP_REMOVED) {
            return STATUS_NOT_FOUND;
        }
        sort_event(changes, event);
    }
    if (changes->gone_count > 1) {
        qsort(changes->gone, changes->gone_count, sizeof changes->gone[0], by_number);
    }
    if (changes->moved_count > 1) {
        qsort(changes->moved, changes->moved_count, sizeof changes->moved[0], by_moved);
    }
    return STATUS_OK;
}

/* --- building --- */

struct builder {
    struct maildrop *maildrop;
    size_t capacity;
    size_t uidl_capacity, uidl_used;
};

static enum status reserve_entry(struct builder *builder)
{
    struct maildrop *maildrop = builder->maildrop;
    if (maildrop->count < builder->capacity) {
        return STATUS_OK;
    }
    /* The maildrop's row counted fewer than there are. */
    size_t capacity = builder->capacity * 2 + 16;
    if (capacity > UINT32_MAX / 2 || maildrop->uidl_offsets != NULL) {
        return STATUS_CORRUPT;
    }
    maildrop = realloc(maildrop, sizeof *maildrop + capacity * sizeof maildrop->entries[0]);
    if (maildrop == NULL) {
        return STATUS_NO_MEMORY;
    }
    builder->maildrop = maildrop;
    builder->capacity = capacity;
    return STATUS_OK;
}

static enum status add_uidl(struct builder *builder, const struct message_entry *entry)
{
    struct maildrop *maildrop = builder->maildrop;
    if (maildrop->uidl_offsets == NULL) {
        maildrop->uidl_offsets = calloc(builder->capacity + 1, sizeof maildrop->uidl_offsets[0]);
        if (maildrop->uidl_offsets == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    if (builder->uidl_used + entry->uidl_length > builder->uidl_capacity) {
        size_t capacity = (builder->uidl_capacity + UIDL_ROOM) * 2;
        capacity = capacity < entry->uidl_length ? (size_t)entry->uidl_length * 2 : capacity;
        char *octets = capacity <= UINT32_MAX ? realloc(maildrop->uidl_octets, capacity) : NULL;
        if (octets == NULL) {
            return STATUS_NO_MEMORY;
        }
        maildrop->uidl_octets = octets;
        builder->uidl_capacity = capacity;
    }
    memcpy(maildrop->uidl_octets + builder->uidl_used, entry->uidl, entry->uidl_length);
    builder->uidl_used += entry->uidl_length;
    return STATUS_OK;
}

/* `file` is the segment's id until use_files has opened them. */
static enum status add_entry(struct builder *builder, const struct message_entry *entry)
{
    enum status status = reserve_entry(builder);
    if (status == STATUS_OK && entry->uidl_length > 0) {
        status = add_uidl(builder, entry);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct maildrop *maildrop = builder->maildrop;
    uint64_t received = (uint64_t)entry->received_ms;
    maildrop->entries[maildrop->count++] = (struct maildrop_entry){
        .uid = entry->uid,
        .place = entry->blob != 0 ? entry->blob : entry->offset,
        .checksum = entry->checksum,
        .received_low = (uint32_t)received,
        .received_high = (uint16_t)(received >> 32),
        .flags = entry->flags,
        .wire_length = entry->wire_length,
        .octets = entry->octets,
        .header_length = entry->header_length,
        .file = entry->blob != 0 ? MAILDROP_FILE_BLOB : entry->segment,
    };
    maildrop->octets += entry->octets;
    if (maildrop->uidl_offsets != NULL) {
        maildrop->uidl_offsets[maildrop->count] = (uint32_t)builder->uidl_used;
    }
    return STATUS_OK;
}

static enum status add_all(struct maildrop_reader *reader, uint64_t id,
                           const struct changes *changes, struct builder *builder)
{
    struct message_entry entry;
    enum status status = index_first(reader->index, id, &entry);
    while (status == STATUS_OK) {
        if (!is_gone(changes, entry.uid)) {
            status = add_entry(builder, moved_to(changes, &entry));
        }
        if (status == STATUS_OK) {
            status = index_next(reader->index, &entry);
        }
    }
    if (status != STATUS_EOF) {
        return status;
    }
    /* What the delta adds was delivered after the snapshot: its uids are higher. */
    for (size_t i = 0; i < changes->added_count; i++) {
        if (!is_gone(changes, changes->added[i]->uid)) {
            status = add_entry(builder, moved_to(changes, changes->added[i]));
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

static int by_segment(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

/* The distinct segments of the entries, ascending. Mail of one maildrop comes in log order, so that
 * the list is nearly sorted and short before it is sorted. */
static enum status list_segments(struct mem_arena *scratch, const struct maildrop *maildrop,
                                 uint32_t **out_ids, uint32_t *out_count)
{
    size_t runs = 0;
    uint32_t last = MAILDROP_FILE_BLOB;
    for (uint32_t i = 0; i < maildrop->count; i++) {
        runs += maildrop->entries[i].file != last;
        last = maildrop->entries[i].file;
    }
    uint32_t *ids = mem_arena_alloc(scratch, (runs + 1) * sizeof *ids);
    if (ids == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t count = 0;
    last = MAILDROP_FILE_BLOB;
    for (uint32_t i = 0; i < maildrop->count; i++) {
        uint32_t file = maildrop->entries[i].file;
        if (file != last && file != MAILDROP_FILE_BLOB) {
            ids[count++] = file;
        }
        last = file;
    }
    if (count > 1) {
        qsort(ids, count, sizeof *ids, by_segment);
    }
    uint32_t distinct = 0;
    for (size_t i = 0; i < count; i++) {
        if (distinct == 0 || ids[distinct - 1] != ids[i]) {
            ids[distinct++] = ids[i];
        }
    }
    *out_ids = ids;
    *out_count = distinct;
    return STATUS_OK;
}

static uint32_t file_of(const uint32_t *ids, uint32_t count, uint32_t segment)
{
    const uint32_t *found = bsearch(&segment, ids, count, sizeof *ids, by_segment);
    assert(found != NULL);
    return (uint32_t)(found - ids);
}

/* Takes references to all segments, and makes the entries point to them. */
static enum status use_files(struct maildrop_reader *reader, struct maildrop *maildrop,
                             bool last_try)
{
    uint32_t *ids, count;
    enum status status = list_segments(&reader->scratch, maildrop, &ids, &count);
    if (status != STATUS_OK || count == 0) {
        return status;
    }
    maildrop->files = calloc(count, sizeof(struct segment *));
    if (maildrop->files == NULL) {
        return STATUS_NO_MEMORY;
    }
    maildrop->file_count = count;
    for (uint32_t i = 0; i < count; i++) {
        status = segment_get(reader->volume->segments, ids[i], &maildrop->files[i], NULL);
        if (status == STATUS_NOT_FOUND && !last_try) {
            return STATUS_AGAIN;
        }
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
    }
    uint32_t segment = 0, file = 0;
    for (uint32_t i = 0; i < maildrop->count; i++) {
        struct maildrop_entry *entry = &maildrop->entries[i];
        if (entry->file == MAILDROP_FILE_BLOB) {
            continue;
        }
        if (entry->file != segment) {
            segment = entry->file;
            file = file_of(ids, count, segment);
        }
        entry->file = file;
    }
    return STATUS_OK;
}

/* --- reading --- */

enum status maildrop_copy(struct maildrop_reader *reader, uint64_t id,
                          struct maildrop_events *out_events)
{
    return delta_copy(reader->volume->delta, id, &reader->scratch, &out_events->events,
                      &out_events->count);
}

static enum status build(struct maildrop_reader *reader, uint64_t id, const struct changes *changes,
                         uint64_t expected, struct builder *builder)
{
    builder->capacity = expected + changes->added_count;
    if (builder->capacity > UINT32_MAX / 2) {
        return STATUS_CORRUPT; /* more messages than a log can have */
    }
    struct maildrop *maildrop =
        malloc(sizeof *maildrop + builder->capacity * sizeof maildrop->entries[0]);
    if (maildrop == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(maildrop, 0, sizeof *maildrop);
    maildrop->id = id;
    maildrop->epoch = reader->volume->identity.epoch;
    builder->maildrop = maildrop;
    return add_all(reader, id, changes, builder);
}

/* Between index_begin and index_end. */
static enum status merge_snapshot(struct maildrop_reader *reader, uint64_t id,
                                  const struct maildrop_events *events, uint64_t position,
                                  uint64_t messages_max, struct builder *builder)
{
    struct index_drop drop = {0};
    struct changes changes = {0};
    enum status status = index_drop(reader->index, id, &drop, NULL);
    changes.there = status == STATUS_OK;
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    status = sort_events(&reader->scratch, events, position, &changes);
    if (status != STATUS_OK) {
        return status;
    }
    if (!changes.there) {
        return STATUS_NOT_FOUND;
    }
    if (drop.messages > messages_max) {
        return STATUS_LIMIT;
    }
    return build(reader, id, &changes, drop.messages, builder);
}

enum status maildrop_merge(struct maildrop_reader *reader, uint64_t id,
                           const struct maildrop_events *events, uint64_t messages_max,
                           bool last_try, struct maildrop **out_maildrop)
{
    struct builder builder = {0};
    struct index_state state;
    enum status status = index_begin(reader->index, &state);
    if (status != STATUS_OK) {
        return status;
    }
    status = merge_snapshot(reader, id, events, state.position.sequence, messages_max, &builder);
    index_end(reader->index);
    if (status == STATUS_OK) {
        status = use_files(reader, builder.maildrop, last_try);
    }
    if (status != STATUS_OK) {
        maildrop_destroy(&builder.maildrop);
        return status;
    }
    *out_maildrop = builder.maildrop;
    return STATUS_OK;
}

enum status maildrop_read(struct maildrop_reader *reader, uint64_t id, uint64_t messages_max,
                          struct maildrop **out_maildrop)
{
    struct volume *volume = reader->volume;
    enum status status = STATUS_AGAIN;
    /* Before the first look: no segment is unlinked while this reads, and no blob of what it finds
     * before it is destroyed. */
    unsigned reading = pin_take(&volume->reading), pin = pin_take(&volume->views);
    for (int i = 1; i <= READ_TRIES && status == STATUS_AGAIN; i++) {
        struct maildrop_events events;
        status = maildrop_copy(reader, id, &events);
        if (status == STATUS_OK) {
            status =
                maildrop_merge(reader, id, &events, messages_max, i == READ_TRIES, out_maildrop);
        }
        mem_arena_clear(&reader->scratch);
    }
    pin_release(&volume->reading, reading);
    if (status == STATUS_OK) {
        (*out_maildrop)->pins = &volume->views;
        (*out_maildrop)->pin = pin;
    } else {
        pin_release(&volume->views, pin);
    }
    return status;
}

/* --- looking into it --- */

void maildrop_message(const struct maildrop *maildrop, uint32_t index,
                      struct store_message *out_message)
{
    assert(index < maildrop->count);
    const struct maildrop_entry *entry = &maildrop->entries[index];
    /* 48 bits, signed: times before 1970 stay what they are. */
    uint64_t received = (uint64_t)entry->received_high << 48 | (uint64_t)entry->received_low << 16;
    *out_message = (struct store_message){
        .uid = entry->uid,
        .octets = entry->octets,
        .wire_length = entry->wire_length,
        .header_length = entry->header_length,
        .received_ms = (int64_t)received / 65536,
        .flags = entry->flags,
    };
}

static void put_hex(char *out, uint64_t value, unsigned digits)
{
    for (unsigned i = digits; i > 0; i--) {
        out[i - 1] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

void maildrop_make_uidl(uint32_t epoch, uint64_t uid, char out[MAILDROP_UIDL_LENGTH])
{
    put_hex(out, epoch, 8);
    out[8] = '.';
    put_hex(out + 9, uid, 16);
}

bool maildrop_parse_uidl(const char *uidl, size_t length, uint32_t epoch, uint64_t *out_uid)
{
    uint64_t uid = 0;
    char made[MAILDROP_UIDL_LENGTH];
    if (length != MAILDROP_UIDL_LENGTH) {
        return false;
    }
    for (size_t i = 9; i < MAILDROP_UIDL_LENGTH; i++) {
        char digit = uidl[i];
        uint64_t value =
            digit >= '0' && digit <= '9' ? (uint64_t)(digit - '0') : (uint64_t)(digit - 'a') + 10;
        uid = uid << 4 | (value & 15);
    }
    maildrop_make_uidl(epoch, uid, made);
    *out_uid = uid;
    return memcmp(made, uidl, sizeof made) == 0;
}

size_t maildrop_uidl(const struct maildrop *maildrop, uint32_t index,
                     char out[STORAGE_UIDL_LENGTH_MAX])
{
    assert(index < maildrop->count);
    if (maildrop->uidl_offsets != NULL) {
        uint32_t start = maildrop->uidl_offsets[index];
        size_t length = maildrop->uidl_offsets[index + 1] - start;
        if (length > 0) {
            memcpy(out, maildrop->uidl_octets + start, length);
            return length;
        }
    }
    maildrop_make_uidl(maildrop->epoch, maildrop->entries[index].uid, out);
    return MAILDROP_UIDL_LENGTH;
}
