/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/compact_plan.h"

#include "storage/index.h"
#include "storage/log_map.h"
#include "storage/volume.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_RECORDS    512        /* looked up in one snapshot */
#define LOOK_OCTETS     (4u << 20) /* walked in one snapshot: a reader must not be old */
#define RECIPIENTS_ROOM 64         /* of the first allocation */

/* --- a walk --- */

/* What the manifest of a later segment says of where this one ends. Without one the file's end is
 * the log's: a segment whose file is longer is not outlived by that manifest. */
static enum status find_end(struct volume *volume, struct compact_walk *walk,
                            struct error *out_error)
{
    uint32_t *ids = NULL;
    size_t count = 0;
    bool found = false;
    enum status status = log_map_list(volume, &ids, &count, out_error);
    for (size_t i = 0; i < count && status == STATUS_OK && !found; i++) {
        struct scan later;
        struct scan_manifest manifest = {0};
        if (ids[i] <= walk->scan.segment) {
            continue;
        }
        status = scan_open(volume, ids[i], &later, out_error);
        if (status != STATUS_OK) {
            break;
        }
        status = scan_manifest(&later, &manifest, out_error);
        found = status == STATUS_OK;
        status = status == STATUS_CORRUPT ? STATUS_OK : status; /* made ahead, or torn */
        if (found && manifest.manifest.predecessor == walk->scan.segment &&
            manifest.manifest.predecessor_length < walk->scan.end) {
            walk->scan.end = manifest.manifest.predecessor_length;
        }
        free(manifest.unretired);
        scan_close(&later);
    }
    free(ids);
    return status;
}

enum status compact_walk_open(struct volume *volume, uint32_t segment,
                              struct compact_walk *out_walk, struct error *out_error)
{
    struct compact_walk walk = {0};
    struct scan_manifest manifest = {0};
    enum status status = scan_open(volume, segment, &walk.scan, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    status = scan_manifest(&walk.scan, &manifest, out_error);
    if (status == STATUS_OK) {
        walk.manifest = manifest.manifest;
        walk.offset = walk.group_end = manifest.length;
        walk.last_sequence = manifest.sequence;
        status = find_end(volume, &walk, out_error);
    }
    free(manifest.unretired);
    if (status != STATUS_OK) {
        scan_close(&walk.scan);
        return status;
    }
    *out_walk = walk;
    return STATUS_OK;
}

void compact_walk_close(struct compact_walk *walk)
{
    scan_close(&walk->scan);
}

static enum status next_group(struct compact_walk *walk, struct error *out_error)
{
    struct record_frame frame;
    enum status status = scan_frame(&walk->scan, walk->offset, &frame, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t room = walk->scan.end - walk->offset;
    if (room < RECORD_FRAME_SIZE || frame.length > room - RECORD_FRAME_SIZE ||
        frame.record_count == 0 || frame.number <= walk->last_number ||
        frame.first_sequence <= walk->last_sequence) {
        return STATUS_CORRUPT;
    }
    walk->last_number = frame.number;
    walk->last_sequence = frame.first_sequence - 1;
    walk->records_left = frame.record_count;
    walk->offset += RECORD_FRAME_SIZE;
    walk->group_end = walk->offset + frame.length;
    return STATUS_OK;
}

enum status compact_walk_next(struct compact_walk *walk, struct record_header *out_header,
                              const uint8_t **out_meta, struct error *out_error)
{
    enum status status = STATUS_OK;
    if (walk->records_left == 0) {
        if (walk->offset != walk->group_end) {
            return STATUS_CORRUPT; /* the group is longer than its records */
        }
        status = next_group(walk, out_error);
    }
    if (status == STATUS_OK) {
        status = scan_record(&walk->scan, walk->offset, out_header, out_meta, out_error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (out_header->sequence != walk->last_sequence + 1 ||
        record_length(out_header) > walk->group_end - walk->offset) {
        return STATUS_CORRUPT;
    }
    walk->last_sequence++;
    walk->records_left--;
    walk->offset += record_length(out_header);
    return STATUS_OK;
}

/* --- who still needs a message --- */

void compact_look_deinit(struct compact_look *look)
{
    free(look->recipients);
    look->recipients = NULL;
    look->capacity = 0;
}

static enum status reserve(struct compact_look *look, size_t count)
{
    size_t capacity = look->capacity > 0 ? look->capacity : RECIPIENTS_ROOM;
    while (capacity < count) {
        capacity *= 2;
    }
    if (capacity > look->capacity) {
        struct record_recipient *larger = realloc(look->recipients, capacity * sizeof *larger);
        if (larger == NULL) {
            return STATUS_NO_MEMORY;
        }
        look->recipients = larger;
        look->capacity = capacity;
    }
    return STATUS_OK;
}

static bool is_here(const struct message_entry *entry, const struct record_header *header,
                    const struct record_delivered *message)
{
    if (entry->segment != header->segment || entry->blob != message->blob) {
        return false;
    }
    return message->blob != 0 ||
           entry->offset == header->offset + RECORD_HEADER_SIZE + header->meta_length;
}

enum status compact_recipients(struct compact_look *look, const struct record_header *header,
                               const uint8_t *meta, struct record_delivered *out_message,
                               uint32_t *out_count)
{
    struct record_delivered message;
    struct record_recipient recipient;
    size_t cursor = 0;
    uint32_t count = 0;
    enum status status = record_decode_delivered(meta, header->meta_length, &message);
    if (status == STATUS_OK) {
        status = reserve(look, message.recipient_count);
    }
    if (status != STATUS_OK) {
        return status;
    }
    message.uid = message.uid != 0 ? message.uid : header->sequence;
    while ((status = record_next_recipient(meta, header->meta_length, &cursor, &recipient)) ==
           STATUS_OK) {
        struct message_entry entry;
        status = index_message(look->reader, recipient.maildrop, message.uid, &entry);
        if (status == STATUS_OK && is_here(&entry, header, &message)) {
            look->recipients[count++] = recipient;
        } else if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
    }
    if (status != STATUS_EOF) {
        return status;
    }
    message.recipient_count = count;
    *out_message = message;
    *out_count = count;
    return STATUS_OK;
}

/* --- the plan --- */

uint64_t compact_plan_needed(const struct compact_plan *plan)
{
    return plan->message_octets + plan->expunge_octets + plan->other_octets;
}

static enum status plan_message(struct compact_look *look, const struct record_header *header,
                                const uint8_t *meta, struct compact_plan *plan)
{
    struct record_delivered message;
    uint32_t count;
    enum status status = compact_recipients(look, header, meta, &message, &count);
    if (status == STATUS_OK && count > 0) {
        plan->messages++;
        plan->message_octets += RECORD_HEADER_SIZE +
                                record_delivered_size(&message, look->recipients) +
                                header->body_length;
    }
    return status;
}

static enum status plan_expunge(const struct record_header *header, const uint8_t *meta,
                                struct compact_plan *plan)
{
    uint64_t maildrop;
    uint32_t count, kept = 0;
    enum status status = record_decode_expunged(meta, header->meta_length, &maildrop, &count);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        kept += record_expunged_uid(meta, i) <= plan->expunge_floor;
    }
    if (status == STATUS_OK && kept > 0) {
        plan->expunge_octets += RECORD_HEADER_SIZE + RECORD_EXPUNGED_SIZE(kept);
    }
    return status;
}

static enum status plan_record(struct compact_look *look, const struct record_header *header,
                               const uint8_t *meta, bool is_dead, struct compact_plan *plan)
{
    switch ((enum record_kind)header->kind) {
    case RECORD_DELIVERED:
    case RECORD_MOVED:
        return is_dead ? STATUS_OK : plan_message(look, header, meta, plan);
    case RECORD_EXPUNGED:
        return plan_expunge(header, meta, plan);
    case RECORD_DROP_CREATED:
    case RECORD_DROP_CHANGED:
    case RECORD_DROP_REMOVED:
        plan->other_octets += RECORD_HEADER_SIZE + header->meta_length;
        return STATUS_OK;
    case RECORD_RETIRED: /* its file is gone, and no manifest behind this segment lists it */
    case RECORD_RETRIEVED:
        return STATUS_OK;
    case RECORD_MANIFEST:
        break;
    }
    return STATUS_UNSUPPORTED; /* of a newer version: who wrote it may know when it can go */
}

/* Some records, in one snapshot of the index. STATUS_EOF behind the last. */
static enum status plan_some(struct compact_look *look, struct compact_walk *walk,
                             struct compact_plan *plan, struct error *out_error)
{
    struct index_state state;
    struct index_file file = {0};
    uint64_t begin = walk->offset;
    enum status status = index_begin(look->reader, &state);
    if (status != STATUS_OK) {
        return status;
    }
    look->position = state.position.sequence;
    status = index_segment(look->reader, plan->segment, &file);
    status = status == STATUS_NOT_FOUND ? STATUS_OK : status;
    for (unsigned i = 0; i < LOOK_RECORDS && walk->offset - begin < LOOK_OCTETS; i++) {
        struct record_header header;
        const uint8_t *meta;
        if (status == STATUS_OK) {
            status = compact_walk_next(walk, &header, &meta, out_error);
        }
        if (status == STATUS_OK) {
            status = plan_record(look, &header, meta, file.references == 0, plan);
        }
        if (status != STATUS_OK) {
            break;
        }
    }
    index_end(look->reader);
    return status;
}

/* The last sequence of another segment, by its frames alone. When it cannot be told, `bound`. */
static uint64_t last_sequence_of(struct volume *volume, uint32_t segment, uint64_t bound)
{
    struct compact_walk walk;
    struct record_frame frame;
    uint64_t last = 0;
    enum status status = compact_walk_open(volume, segment, &walk, NULL);
    if (status != STATUS_OK) {
        return bound;
    }
    last = walk.last_sequence;
    uint64_t offset = walk.offset;
    while ((status = scan_frame(&walk.scan, offset, &frame, NULL)) == STATUS_OK) {
        last = frame.first_sequence + frame.record_count - 1;
        offset += RECORD_FRAME_SIZE + frame.length;
        if (offset > walk.scan.end) {
            status = STATUS_CORRUPT;
            break;
        }
    }
    compact_walk_close(&walk);
    return status == STATUS_EOF && last < bound ? last : bound;
}

/* Whether the predecessor must go first: its file is longer than the log in it. */
static bool is_longer(struct volume *volume, const struct record_manifest *manifest)
{
    struct scan scan;
    if (scan_open(volume, manifest->predecessor, &scan, NULL) != STATUS_OK) {
        return false; /* it is gone */
    }
    bool longer = scan.size > manifest->predecessor_length;
    scan_close(&scan);
    return longer;
}

enum status compact_plan_make(struct compact_look *look, uint32_t segment, uint32_t older,
                              const struct compact_pacer *pacer, struct compact_plan *out_plan,
                              struct error *out_error)
{
    struct compact_walk walk;
    struct compact_plan plan = {.segment = segment};
    enum status status = compact_walk_open(look->volume, segment, &walk, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    plan.size = walk.scan.size;
    if (older != 0) {
        plan.expunge_floor =
            last_sequence_of(look->volume, older, walk.manifest.predecessor_last_sequence);
    }
    if (older != 0 && walk.manifest.predecessor == older &&
        is_longer(look->volume, &walk.manifest)) {
        plan.waits_for = older;
    }
    while (status == STATUS_OK) {
        uint64_t begin = walk.offset;
        status = plan_some(look, &walk, &plan, out_error);
        if (status == STATUS_OK && !pacer->pace(pacer->owner, (walk.offset - begin) / 4)) {
            status = STATUS_CANCELLED;
        }
    }
    plan.last_sequence = walk.last_sequence;
    compact_walk_close(&walk);
    if (status != STATUS_EOF) {
        return status;
    }
    *out_plan = plan;
    return STATUS_OK;
}
