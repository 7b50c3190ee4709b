/* SPDX-License-Identifier: Apache-2.0 */
/* The log and the blobs: every octet of them against its checksum. */
#include "storage/check_private.h"

#include "storage/checksum.h"
#include "storage/kv.h"
#include "storage/record.h"
#include "storage/segment.h"
#include "storage/writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOB_PIECE (256 * 1024) /* octets read at once */

/* --- damaged places --- */

static enum status add_place(struct check *check, struct check_place place)
{
    if (check->place_count == CHECK_PLACES_MAX) {
        return STATUS_OK; /* it has been told; only the messages in it are not looked for */
    }
    if (check->place_count == check->place_capacity) {
        size_t capacity = check->place_capacity * 2 + 64;
        struct check_place *places = realloc(check->places, capacity * sizeof *places);
        if (places == NULL) {
            return error_set(check->out_error, STATUS_NO_MEMORY, 0, NULL, "checking the log");
        }
        check->places = places;
        check->place_capacity = capacity;
    }
    check->places[check->place_count++] = place;
    return STATUS_OK;
}

bool check_in_damage(const struct check *check, const struct message_entry *entry, bool body)
{
    for (size_t i = 0; i < check->place_count && entry->blob == 0; i++) {
        const struct check_place *place = &check->places[i];
        if (place->segment == entry->segment && place->is_body == body &&
            entry->offset < place->to && entry->offset + entry->wire_length > place->from) {
            return true;
        }
    }
    return false;
}

/* --- records --- */

static enum status found_bad_body(struct check *check, const struct scan *scan,
                                  const struct record_header *header)
{
    struct damage damage = {.kind = DAMAGE_BODY,
                            .uid = header->sequence,
                            .segment = scan->segment,
                            .offset = header->offset,
                            .octets = record_length(header)};
    check_report(check, &damage);
    return add_place(check, (struct check_place){.segment = scan->segment,
                                                 .is_body = true,
                                                 .from = header->offset,
                                                 .to = header->offset + record_length(header)});
}

/* The bodies of all whole records between two offsets. */
static enum status verify_bodies(struct check *check, struct scan *scan, uint64_t from, uint64_t to)
{
    for (uint64_t offset = from;;) {
        struct record_header header;
        const uint8_t *meta;
        enum status status = scan_next_record(scan, &offset, to, &header, &meta, check->out_error);
        if (status == STATUS_NOT_FOUND || status == STATUS_CORRUPT) {
            return STATUS_OK;
        }
        if (status == STATUS_OK) {
            check->result.records++;
            check->result.bodies += header.body_length > 0;
            status = scan_body(scan, &header, check->out_error);
        }
        if (status == STATUS_CORRUPT) {
            status = found_bad_body(check, scan, &header);
        }
        if (status == STATUS_OK) {
            status = check_pace(check, record_length(&header));
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
}

static enum status on_group(void *owner, struct scan *scan, const struct delta_group *group)
{
    struct check *check = owner;
    check->result.groups++;
    return verify_bodies(check, scan, group->offset, group->end);
}

static enum status on_damage(void *owner, struct scan *scan, uint64_t from, uint64_t to,
                             uint64_t saved)
{
    struct check *check = owner;
    struct damage damage = {
        .kind = DAMAGE_LOG, .segment = scan->segment, .offset = from, .octets = to - from};
    (void)snprintf(damage.detail, sizeof damage.detail, "%llu records in it can still be read",
                   (unsigned long long)saved); /* fits */
    check_report(check, &damage);
    check->log_damaged = true;
    enum status status =
        add_place(check, (struct check_place){.segment = scan->segment, .from = from, .to = to});
    return status == STATUS_OK ? verify_bodies(check, scan, from, to) : status;
}

/* --- segments --- */

/* What a running volume's writer has not published yet is not looked at. */
static void clip(struct log_map *map, const struct log_position *end)
{
    for (size_t i = 0; i < map->count && end->segment != 0; i++) {
        struct log_segment *segment = &map->segments[i];
        segment->is_void = segment->is_void || segment->id > end->segment;
        if (segment->id == end->segment && end->offset < segment->end) {
            segment->end = end->offset;
        }
    }
}

static int by_id(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static bool lists(const uint32_t *ids, uint32_t count, uint32_t id)
{
    return count > 0 && bsearch(&id, ids, count, sizeof *ids, by_id) != NULL;
}

bool check_is_gone(const struct check *check, uint32_t segment)
{
    return idset_has(&check->gone, segment) ||
           (check->unretired != NULL && !lists(check->unretired, check->unretired_count, segment));
}

/* A file that is not there has been unlinked since the manifest was written, unless the writer of
 * the next one would list it still. */
static enum status was_retired(struct check *check, uint32_t id, bool *out_retired)
{
    uint32_t *ids = NULL, count = 0;
    *out_retired = false;
    if (check->live == NULL) {
        return STATUS_OK;
    }
    enum status status = writer_unretired(check->live->writer, &ids, &count);
    if (status == STATUS_OK) {
        *out_retired = !lists(ids, count, id);
    }
    free(ids);
    return status;
}

static enum status want_segment(struct check *check, const struct log_map *map, uint32_t id)
{
    bool retired;
    if (check_is_gone(check, id) || log_map_find(map, id) != NULL ||
        idset_has(&check->missing, id) || id < check->replay.reached.segment) {
        return STATUS_OK;
    }
    enum status status = was_retired(check, id, &retired);
    if (status != STATUS_OK || retired) {
        return status == STATUS_OK ? idset_add(&check->gone, id) : status;
    }
    struct damage damage = {.kind = DAMAGE_SEGMENT_MISSING, .segment = id};
    check_report(check, &damage);
    check->log_damaged = true;
    return idset_add(&check->missing, id);
}

/* What the newest manifest lists, and where the index says that the log has been. */
static enum status report_missing(struct check *check, const struct log_map *map)
{
    const struct log_segment *newest = log_map_last_manifest(map);
    enum status status = STATUS_OK;
    for (uint32_t i = 0;
         newest != NULL && i < newest->manifest.manifest.unretired_count && status == STATUS_OK;
         i++) {
        status = want_segment(check, map, newest->manifest.unretired[i]);
    }
    if (status == STATUS_OK && check->replay.known.segment != 0 && check->end.segment == 0) {
        status = want_segment(check, map, check->replay.known.segment);
    }
    return status == STATUS_OK ? status
                               : error_set(check->out_error, status, 0, NULL, "checking the log");
}

static bool is_listed(const struct log_map *map, uint32_t id)
{
    const struct log_segment *newest = log_map_last_manifest(map);
    if (newest == NULL || id >= newest->id) {
        return true;
    }
    for (uint32_t i = 0; i < newest->manifest.manifest.unretired_count; i++) {
        if (newest->manifest.unretired[i] == id) {
            return true;
        }
    }
    return false;
}

static enum status read_segments(struct check *check, const struct log_map *map)
{
    const struct log_segment *last = log_map_last(map);
    struct log_position from = check->replay.reached;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < map->count && status == STATUS_OK; i++) {
        const struct log_segment *segment = &map->segments[i];
        if (segment->is_void || check_is_gone(check, segment->id) || !is_listed(map, segment->id)) {
            continue;
        }
        uint64_t offset = segment->id == from.segment ? from.offset : 0;
        status = replay_segment(&check->replay, segment, offset, segment == last, check->out_error);
        if (status == STATUS_NOT_FOUND && check->live != NULL) {
            status = idset_add(&check->gone, segment->id); /* compacted under our eyes */
        }
        check->result.segments += offset == 0;
        if (check->replay.torn && segment->size > check->replay.reached.offset) {
            check->result.torn_octets += segment->size - check->replay.reached.offset;
        }
    }
    return status;
}

enum status check_log(struct check *check)
{
    struct log_map map = {0};
    check->replay.volume = &check->shadow;
    check->replay.apply_flags = INDEX_APPLY_REBUILD;
    check->replay.watch =
        (struct replay_watch){.on_group = on_group, .on_damage = on_damage, .owner = check};
    enum status status =
        log_map_read(&check->shadow, check->replay.reached.segment, &map, check->out_error);
    if (status == STATUS_OK) {
        clip(&map, &check->end);
        check->progress.octets_total = check->progress.octets_done;
        for (size_t i = 0; i < map.count; i++) {
            check->progress.octets_total += map.segments[i].is_void ? 0 : map.segments[i].end;
        }
        status = replay_find_retired(&check->shadow, &map, &check->gone, check->out_error);
    }
    if (status == STATUS_OK) {
        status = report_missing(check, &map);
    }
    if (status == STATUS_OK) {
        status = read_segments(check, &map);
    }
    if (status == STATUS_OK) {
        status = replay_flush(&check->replay, check->out_error);
    }
    log_map_free(&map);
    return status;
}

void check_set_end(struct check *check)
{
    struct writer *writer = check->live->writer;
    check->written = counter_read(&writer_counters(writer)->octets); /* first: rather too few */
    check->end = check->replay.known = writer_position(writer);
}

/* Octets of the log behind what has been read. */
static uint64_t octets_left(const struct check *check)
{
    return counter_read(&writer_counters(check->live->writer)->octets) - check->written;
}

enum status check_log_on(struct check *check)
{
    uint64_t before = UINT64_MAX;
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < CHECK_PASSES_MAX && status == STATUS_OK; i++) {
        uint64_t left = octets_left(check);
        if (left <= CHECK_HELD_OCTETS || left > before - before / 4) {
            break; /* it comes as fast as it is read: another pass would leave no less */
        }
        before = left;
        check_set_end(check);
        check->progress.step = "log";
        status = check_log(check);
    }
    return status;
}

/* --- the shadow's messages --- */

/* Calls `visit` for each message of the shadow's index, in one snapshot. */
static enum status each_message(struct check *check,
                                enum status (*visit)(struct check *check, uint64_t maildrop,
                                                     const struct message_entry *entry))
{
    const struct index *index = check->shadow.index;
    struct kv_txn *txn = NULL;
    struct kv_cursor *cursor = NULL;
    struct kv_bytes key, value;
    enum status status = kv_begin_read(index->kv, &txn);
    if (status == STATUS_OK) {
        status = kv_cursor_open(txn, index->tables.messages, &cursor);
    }
    if (status == STATUS_OK) {
        status = kv_cursor_seek(cursor, (struct kv_bytes){"", 0}, &key, &value);
    }
    while (status == STATUS_OK) {
        struct message_entry entry;
        status = index_decode_message(key, value, &entry);
        if (status == STATUS_OK) {
            status = visit(check, index_get_id(key.data), &entry);
        }
        if (status == STATUS_OK) {
            status = kv_cursor_next(cursor, &key, &value);
        }
    }
    kv_cursor_close(&cursor);
    kv_abort(&txn);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status collect_gone(struct check *check, uint64_t maildrop,
                                const struct message_entry *entry)
{
    if (!check_is_gone(check, entry->segment)) {
        return STATUS_OK;
    }
    if (check->forget_count == CHECK_FORGET_BATCH) {
        return STATUS_LIMIT;
    }
    check->forget[check->forget_count++] = (struct delta_event){
        .maildrop = maildrop, .kind = DELTA_MESSAGE_EXPUNGED, .uid = entry->uid, .sequence = 1};
    return STATUS_OK;
}

enum status check_forget_gone(struct check *check)
{
    const struct delta_event *order[CHECK_FORGET_BATCH];
    bool any = check->gone.count > 0 || check->unretired != NULL;
    enum status status = any ? STATUS_LIMIT : STATUS_OK;
    while (status == STATUS_LIMIT) {
        check->forget_count = 0;
        status = each_message(check, collect_gone);
        for (size_t i = 0; i < check->forget_count; i++) {
            order[i] = &check->forget[i];
        }
        if (status == STATUS_OK || status == STATUS_LIMIT) {
            enum status applied = index_apply(check->shadow.index, order, check->forget_count,
                                              &check->replay.reached, 0);
            status = applied == STATUS_OK ? status : applied;
        }
    }
    return status;
}

/* --- blobs --- */

static enum status sum_blob(struct check *check, int fd, uint64_t length, uint64_t *out_checksum)
{
    struct checksum_stream checksum;
    uint8_t *piece = malloc(BLOB_PIECE);
    enum status status = piece != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    checksum_stream_init(&checksum);
    for (uint64_t offset = 0; offset < length && status == STATUS_OK;) {
        size_t wanted = length - offset < BLOB_PIECE ? (size_t)(length - offset) : BLOB_PIECE, got;
        status = disk_read(check->shadow.disk, fd, piece, wanted, offset, &got, check->out_error);
        if (status == STATUS_OK && got < wanted) {
            status = STATUS_CORRUPT;
        }
        if (status == STATUS_OK) {
            checksum_stream_add(&checksum, piece, got);
            offset += got;
            check->progress.octets_total += got;
            status = check_pace(check, got);
        }
    }
    free(piece);
    *out_checksum = checksum_stream_result(&checksum);
    return status;
}

/* STATUS_CORRUPT: it is not what the record says. STATUS_NOT_FOUND: it is not there. */
static enum status verify_blob(struct check *check, const struct message_entry *entry)
{
    char path[SEGMENT_PATH_MAX];
    uint8_t data[RECORD_BLOB_FOOTER_SIZE];
    struct record_blob_footer footer;
    int fd = -1;
    size_t got = 0;
    uint64_t size = 0, checksum = 0;
    segment_blob_path(check->shadow.blobs_path, entry->blob, path);
    enum status status = disk_open(check->shadow.disk, path, O_RDONLY, 0, &fd, check->out_error);
    if (status == STATUS_OK) {
        status = disk_file_size(fd, &size, check->out_error);
    }
    if (status == STATUS_OK) {
        status = sum_blob(check, fd, entry->wire_length, &checksum);
    }
    if (status == STATUS_OK) {
        status = disk_read(check->shadow.disk, fd, data, sizeof data, entry->wire_length, &got,
                           check->out_error);
    }
    disk_close(check->shadow.disk, &fd);
    if (status == STATUS_OK) {
        status =
            record_decode_blob_footer(&check->shadow.identity.key, data, got, entry->blob, &footer);
    }
    if (status == STATUS_OK &&
        (size != entry->wire_length + sizeof data || checksum != entry->checksum ||
         footer.body_checksum != checksum || footer.wire_length != entry->wire_length ||
         footer.octets != entry->octets)) {
        status = STATUS_CORRUPT;
    }
    return status == STATUS_UNSUPPORTED ? STATUS_CORRUPT : status;
}

/* Whether the volume's own index has forgotten the blob since: then its file may well be gone. */
static bool is_expunged(struct check *check, uint64_t maildrop, uint64_t uid)
{
    struct index_reader *reader = NULL;
    struct index_state state;
    struct message_entry entry;
    bool gone = false;
    if (check->live == NULL || index_reader_create(check->live->index, &reader) != STATUS_OK) {
        return false;
    }
    if (delta_find_uid(check->live->delta, maildrop, uid) == DELTA_GONE) {
        gone = true;
    } else if (index_begin(reader, &state) == STATUS_OK) {
        gone = index_message(reader, maildrop, uid, &entry) == STATUS_NOT_FOUND;
        index_end(reader);
    }
    index_reader_destroy(&reader);
    return gone;
}

static enum status check_blob(struct check *check, uint64_t maildrop,
                              const struct message_entry *entry)
{
    if (entry->blob == 0 || idset_has(&check->blobs_seen, entry->blob)) {
        return STATUS_OK;
    }
    enum status status = verify_blob(check, entry);
    if (status == STATUS_NOT_FOUND && is_expunged(check, maildrop, entry->uid)) {
        return STATUS_OK;
    }
    if (status == STATUS_CORRUPT || status == STATUS_NOT_FOUND) {
        struct damage damage = {.kind =
                                    status == STATUS_CORRUPT ? DAMAGE_BLOB : DAMAGE_BLOB_MISSING,
                                .maildrop = maildrop,
                                .uid = entry->uid,
                                .blob = entry->blob,
                                .octets = entry->wire_length};
        check_report(check, &damage);
        status = idset_add(&check->blobs_bad, entry->blob);
    }
    check->result.blobs++;
    return status == STATUS_OK ? idset_add(&check->blobs_seen, entry->blob) : status;
}

enum status check_blobs(struct check *check)
{
    check->progress.step = "blobs";
    return each_message(check, check_blob);
}
