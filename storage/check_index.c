/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The volume's index against the one made of its log: both are walked in the order of keys, side by
 * side. The volume's is read without LMDB, so that a damaged one can be read as far as it goes.
 */
#include "storage/check_private.h"

#include "storage/bytes.h"
#include "storage/checkpoint.h"
#include "storage/checksum.h"
#include "storage/compact.h"
#include "storage/kv_check.h"
#include "storage/segment.h"
#include "storage/writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TABLES   6
#define STILL_NS 2000000 /* between two looks whether compaction is still */

/* Walking one table of the shadow beside the volume's. */
struct compare {
    struct check *check;
    struct kv_txn *txn; /* of the shadow */
    struct kv_cursor *cursor;
    char table[16]; /* "": none yet */
    struct kv_bytes key, value;
    enum status
        there; /* STATUS_OK: the cursor stands on key and value; STATUS_NOT_FOUND: at the end */
    enum status failure;
    bool seen[TABLES]; /* by position in `tables` */
};

/* What is compared; the other tables are only looked at. */
static const char *const tables[TABLES] = {"blobs",   "drops",    "messages",
                                           "removed", "segments", "uidls"};

/* --- what a row is about --- */

static void describe_drop(struct compare *compare, struct damage *damage)
{
    uint8_t place[INDEX_ID_KEY_SIZE];
    const struct index *index = compare->check->shadow.index;
    struct kv_bytes value;
    struct index_drop drop;
    index_put_id(place, damage->maildrop);
    if (kv_get(compare->txn, index->tables.drops, (struct kv_bytes){place, sizeof place}, &value) ==
            STATUS_OK &&
        index_decode_drop(value, &drop) == STATUS_OK) {
        memcpy(damage->name, drop.name, sizeof damage->name);
    }
}

static void report_row(struct compare *compare, enum damage_kind kind, uint64_t maildrop,
                       uint64_t uid, const char *detail)
{
    struct damage damage = {.kind = kind, .maildrop = maildrop, .uid = uid};
    (void)snprintf(damage.detail, sizeof damage.detail, "table %s: %s", compare->table, detail);
    describe_drop(compare, &damage);
    check_report(compare->check, &damage);
}

static void report_message(struct compare *compare, enum damage_kind kind, uint64_t maildrop,
                           const struct message_entry *entry)
{
    struct damage damage = {.kind = kind,
                            .maildrop = maildrop,
                            .uid = entry->uid,
                            .segment = entry->segment,
                            .offset = entry->offset,
                            .octets = entry->wire_length,
                            .blob = entry->blob};
    memcpy(damage.uidl, entry->uidl, entry->uidl_length);
    describe_drop(compare, &damage);
    check_report(compare->check, &damage);
}

/* Whether the octets that a row speaks of are there and match its checksum. */
static bool body_is_whole(struct check *check, const struct message_entry *entry)
{
    char path[SEGMENT_PATH_MAX];
    int fd = -1;
    size_t got = 0;
    uint8_t *data = malloc(entry->wire_length + 1u);
    segment_path(check->shadow.segments_path, entry->segment, path);
    bool whole =
        data != NULL && disk_open(check->shadow.disk, path, O_RDONLY, 0, &fd, NULL) == STATUS_OK &&
        disk_read(check->shadow.disk, fd, data, entry->wire_length, entry->offset, &got, NULL) ==
            STATUS_OK &&
        got == entry->wire_length && checksum_body(data, got) == entry->checksum;
    disk_close(check->shadow.disk, &fd);
    free(data);
    return whole;
}

/* --- messages --- */

/* The log's record of a message that the index knows cannot be read. */
static void report_lost_record(struct compare *compare, uint64_t maildrop,
                               const struct message_entry *entry)
{
    struct check *check = compare->check;
    bool bad =
        entry->blob != 0 ? idset_has(&check->blobs_bad, entry->blob) : !body_is_whole(check, entry);
    report_message(compare, bad ? DAMAGE_MESSAGE : DAMAGE_RECORD, maildrop, entry);
}

static void compare_message(struct compare *compare, struct kv_bytes key, struct kv_bytes value,
                            const struct kv_bytes *ours)
{
    struct check *check = compare->check;
    struct message_entry entry;
    if (index_decode_message(key, value, &entry) != STATUS_OK) {
        return;
    }
    uint64_t maildrop = index_get_id(key.data);
    check->result.messages++;
    bool same = ours != NULL && ours->length == value.length &&
                memcmp(ours->data, value.data, value.length) == 0;
    bool lost = idset_has(&check->missing, entry.segment) ||
                (check->log_damaged && (entry.blob != 0 || check_in_damage(check, &entry, false)));
    if (!same && lost) {
        report_lost_record(compare, maildrop, &entry);
    } else if (!same && !check->index_damaged) {
        report_row(compare, ours == NULL ? DAMAGE_INDEX_AHEAD : DAMAGE_INDEX_ROW, maildrop,
                   entry.uid, ours == NULL ? "no record of this message" : "differs");
    } else if ((entry.blob != 0 && idset_has(&check->blobs_bad, entry.blob)) ||
               check_in_damage(check, &entry, true)) {
        report_message(compare, DAMAGE_MESSAGE, maildrop, &entry);
    }
}

/* --- the other tables --- */

static void compare_drop(struct compare *compare, struct kv_bytes key, struct kv_bytes value,
                         const struct kv_bytes *ours)
{
    struct check *check = compare->check;
    struct index_drop drop = {0}, made = {0};
    uint64_t id = index_get_id(key.data);
    check->result.maildrops++;
    if (index_decode_drop(value, &drop) != STATUS_OK || check->log_damaged ||
        check->index_damaged) {
        return; /* where the log has lost something the counts must differ */
    }
    if (ours == NULL || index_decode_drop(*ours, &made) != STATUS_OK) {
        report_row(compare, DAMAGE_INDEX_AHEAD, id, 0, "no record of this maildrop");
    } else if (drop.messages != made.messages || drop.octets != made.octets) {
        report_row(compare, DAMAGE_COUNTER, id, 0, "messages or octets");
    } else if (strcmp(drop.name, made.name) != 0) {
        report_row(compare, DAMAGE_INDEX_ROW, id, 0, "the name");
    }
}

/* References to segments and blobs. One without any means the same as none. */
static void compare_file(struct compare *compare, struct kv_bytes key, const struct kv_bytes *value,
                         const struct kv_bytes *ours)
{
    struct check *check = compare->check;
    struct index_file file = {0}, made = {0};
    uint64_t id = index_get_id(key.data);
    bool is_segment = strcmp(compare->table, "segments") == 0;
    if (check->log_damaged || check->index_damaged ||
        (is_segment && check_is_gone(check, (uint32_t)id)) ||
        (value != NULL && index_decode_file(*value, &file) != STATUS_OK) ||
        (ours != NULL && index_decode_file(*ours, &made) != STATUS_OK)) {
        return;
    }
    if (file.references != made.references) {
        struct damage damage = {.kind = DAMAGE_COUNTER};
        damage.segment = is_segment ? (uint32_t)id : 0;
        damage.blob = is_segment ? 0 : id;
        (void)snprintf(damage.detail, sizeof damage.detail,
                       "table %s: %llu references, the log has %llu", compare->table,
                       (unsigned long long)file.references, (unsigned long long)made.references);
        check_report(check, &damage);
    }
}

static void compare_rest(struct compare *compare, struct kv_bytes key, const struct kv_bytes *value,
                         const struct kv_bytes *ours)
{
    struct check *check = compare->check;
    bool same = value != NULL && ours != NULL && value->length == ours->length &&
                memcmp(value->data, ours->data, ours->length) == 0;
    /* That a maildrop was removed may be forgotten by the log when nothing of it is left there. */
    bool allowed = strcmp(compare->table, "removed") == 0 && ours == NULL;
    if (same || allowed || check->log_damaged || check->index_damaged || key.length < 8) {
        return;
    }
    enum damage_kind kind = value == NULL  ? DAMAGE_INDEX_BEHIND
                            : ours == NULL ? DAMAGE_INDEX_AHEAD
                                           : DAMAGE_INDEX_ROW;
    report_row(compare, kind, index_get_id(key.data), 0, "differs");
}

/* A row of both, of the volume's (`ours` NULL), or of the shadow's (`value` NULL). */
static void compare_row(struct compare *compare, struct kv_bytes key, const struct kv_bytes *value,
                        const struct kv_bytes *ours)
{
    bool messages = strcmp(compare->table, "messages") == 0;
    bool drops = strcmp(compare->table, "drops") == 0;
    if (strcmp(compare->table, "segments") == 0 || strcmp(compare->table, "blobs") == 0) {
        compare_file(compare, key, value, ours);
    } else if (value == NULL && (messages || drops)) {
        if (!compare->check->index_damaged) {
            report_row(compare, DAMAGE_INDEX_BEHIND, index_get_id(key.data),
                       messages ? index_get_id((const uint8_t *)key.data + 8) : 0,
                       messages ? "a message is not in the index" : "a maildrop is not in it");
        }
    } else if (messages) {
        compare_message(compare, key, *value, ours);
    } else if (drops) {
        compare_drop(compare, key, *value, ours);
    } else {
        compare_rest(compare, key, value, ours);
    }
}

/* --- side by side --- */

static unsigned table_of(const struct index *index, size_t number)
{
    const unsigned handles[TABLES] = {index->tables.blobs,    index->tables.drops,
                                      index->tables.messages, index->tables.removed,
                                      index->tables.segments, index->tables.uidls};
    return handles[number];
}

static void step(struct compare *compare)
{
    compare->there = kv_cursor_next(compare->cursor, &compare->key, &compare->value);
}

/* What the shadow's table has behind the last row of the volume's. */
static void finish_table(struct compare *compare)
{
    while (compare->cursor != NULL && compare->there == STATUS_OK) {
        compare_row(compare, compare->key, NULL, &compare->value);
        step(compare);
    }
    if (compare->cursor != NULL && compare->there != STATUS_NOT_FOUND &&
        compare->failure == STATUS_OK) {
        compare->failure = compare->there;
    }
    kv_cursor_close(&compare->cursor);
}

static void begin_table(struct compare *compare, const char *name)
{
    finish_table(compare);
    (void)snprintf(compare->table, sizeof compare->table, "%s", name); /* ours are short */
    for (size_t i = 0; i < TABLES; i++) {
        if (strcmp(tables[i], name) != 0) {
            continue;
        }
        compare->seen[i] = true;
        compare->there = kv_cursor_open(compare->txn, table_of(compare->check->shadow.index, i),
                                        &compare->cursor);
        if (compare->there == STATUS_OK) {
            compare->there = kv_cursor_seek(compare->cursor, (struct kv_bytes){"", 0},
                                            &compare->key, &compare->value);
        }
    }
}

static int by_octets(struct kv_bytes left, struct kv_bytes right)
{
    size_t shorter = left.length < right.length ? left.length : right.length;
    int order = memcmp(left.data, right.data, shorter);
    return order != 0 ? order : (left.length > right.length) - (left.length < right.length);
}

/* A row of the volume's index, as it lies in the file. */
static bool on_pair(void *owner, const char *table, struct kv_bytes key, struct kv_bytes value)
{
    struct compare *compare = owner;
    if (strcmp(compare->table, table) != 0) {
        begin_table(compare, table);
    }
    if (!index_pair_is_sound(table, key, value)) {
        return false;
    }
    if (compare->cursor == NULL) {
        return true;
    }
    if (strcmp(table, "messages") != 0) {
        value.length -= KV_CHECK_SIZE;
    }
    while (compare->there == STATUS_OK && by_octets(compare->key, key) < 0) {
        compare_row(compare, compare->key, NULL, &compare->value);
        step(compare);
    }
    bool both = compare->there == STATUS_OK && by_octets(compare->key, key) == 0;
    compare_row(compare, key, &value, both ? &compare->value : NULL);
    if (both) {
        step(compare);
    }
    return true;
}

static bool pair_is_sound(void *owner, const char *table, struct kv_bytes key,
                          struct kv_bytes value)
{
    return index_pair_is_sound(table, key, value);
}

static bool may_read(void *owner, uint64_t octets)
{
    const struct check *check = ((const struct compare *)owner)->check;
    return check->options->on_progress == NULL ||
           check->options->on_progress(check->options->owner, &check->progress);
}

/* --- the whole --- */

static void report_file(struct check *check, const struct kv_check_result *found)
{
    struct damage damage = {.kind = DAMAGE_INDEX_FILE};
    (void)snprintf(damage.detail, sizeof damage.detail, "%llu places, the first at page %llu: %s",
                   (unsigned long long)found->damaged, (unsigned long long)found->first_page,
                   found->text); /* fits */
    check->index_damaged = true;
    check_report(check, &damage);
}

/* The totals. */
static void compare_state(struct check *check)
{
    struct index_state made;
    struct index_reader *reader = NULL;
    struct damage damage = {.kind = DAMAGE_COUNTER};
    if (check->log_damaged || check->index_damaged ||
        index_reader_create(check->shadow.index, &reader) != STATUS_OK) {
        return;
    }
    if (index_begin(reader, &made) == STATUS_OK) {
        index_end(reader);
        if (made.maildrops != check->state.maildrops || made.messages != check->state.messages ||
            made.octets != check->state.octets) {
            (void)snprintf(damage.detail, sizeof damage.detail,
                           "in all: %llu maildrops, %llu messages, %llu octets; the log has "
                           "%llu, %llu, %llu",
                           (unsigned long long)check->state.maildrops,
                           (unsigned long long)check->state.messages,
                           (unsigned long long)check->state.octets,
                           (unsigned long long)made.maildrops, (unsigned long long)made.messages,
                           (unsigned long long)made.octets);
            check_report(check, &damage);
        }
    }
    index_reader_destroy(&reader);
}

/* --- a running volume --- */

static void let_go(struct check *check)
{
    if (check->holds) {
        compact_let_go(check->live->compact);
        check->holds = false;
    }
}

/* From here to let_go no segment comes to an end, so that log and snapshot speak of the same ones;
 * and all that has been read is to be in the snapshot that it is compared with. */
static enum status hold_still(struct check *check)
{
    const struct timespec pause = {.tv_nsec = STILL_NS};
    enum status status = STATUS_OK;
    if (check->live == NULL) {
        return status;
    }
    compact_hold(check->live->compact);
    check->holds = true;
    while (status == STATUS_OK && !compact_is_still(check->live->compact)) {
        (void)nanosleep(&pause, NULL); /* shorter is harmless */
        status = check_pace(check, 0);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = checkpoint_now(check->live->checkpoint);
    return status == STATUS_OK
               ? status
               : error_set(check->out_error, status, 0, check->live->path,
                           "a volume that is read-only after a failure cannot be checked while it "
                           "runs: stop the server and check it then");
}

/* A snapshot of a running volume's index is held: brings the shadow's up to it. */
static enum status catch_up(void *owner, struct kv_txn *txn)
{
    struct compare *compare = owner;
    struct check *check = compare->check;
    if (check->live != NULL) {
        enum status status = index_read_state(check->live->index, txn, &check->state);
        if (status != STATUS_OK) {
            return status;
        }
        check_set_end(check);
        check->replay.until_sequence = check->state.position.sequence;
        check->progress.step = "log";
        status = writer_unretired(check->live->writer, &check->unretired, &check->unretired_count);
        if (status == STATUS_OK) {
            status = check_log(check);
        }
        let_go(check);
        if (status == STATUS_OK) {
            status = check_forget_gone(check);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    check->progress.step = "index";
    return kv_begin_read(check->shadow.index->kv, &compare->txn);
}

static enum status look(struct check *check, struct kv_check_request *request,
                        struct kv_check_result *out_result)
{
    return check->live != NULL
               ? kv_check_open(check->live->index->kv, request, out_result, check->out_error)
               : kv_check(request, out_result, check->out_error);
}

/* First whether it can be trusted at all; then row by row. */
static enum status compare_all(struct check *check, int fd)
{
    struct compare compare = {.check = check};
    struct kv_check_result found = {0};
    struct kv_check_request request = {.fd = fd,
                                       .is_sound = pair_is_sound,
                                       .may_read = may_read,
                                       .tables = index_table_names,
                                       .owner = &compare};
    enum status status = look(check, &request, &found);
    if (status == STATUS_OK && found.damaged > 0) {
        report_file(check, &found);
    }
    check->result.index_pages = found.pages;
    if (status == STATUS_OK && (check->live != NULL || check->state.stored)) {
        request.is_sound = on_pair;
        request.on_snapshot = catch_up;
        status = check->live != NULL ? check_log_on(check) : STATUS_OK;
        if (status == STATUS_OK) {
            status = hold_still(check);
        }
        if (status == STATUS_OK) {
            status = look(check, &request, &found);
        }
        let_go(check);
        for (size_t i = 0; i < TABLES && status == STATUS_OK; i++) {
            if (!compare.seen[i]) {
                begin_table(&compare, tables[i]); /* one without a row is not met by the walk */
            }
        }
        finish_table(&compare);
        kv_abort(&compare.txn);
        status = status == STATUS_OK ? compare.failure : status;
        if (status == STATUS_OK) {
            compare_state(check);
        }
    }
    return status;
}

enum status check_index(struct check *check)
{
    char path[VOLUME_PATH_MAX + 16];
    int fd = -1;
    check->progress.step = "index";
    if (check->live != NULL) {
        return compare_all(check, -1);
    }
    (void)stpcpy(stpcpy(path, check->shadow.index_path), "/data.mdb"); /* fits */
    enum status status = disk_open(check->shadow.disk, path, O_RDONLY, 0, &fd, check->out_error);
    if (status == STATUS_NOT_FOUND) {
        struct damage damage = {.kind = DAMAGE_INDEX_FILE, .detail = "there is none"};
        if (check->result.groups > 0) {
            check_report(check, &damage);
        }
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = compare_all(check, fd);
    }
    disk_close(check->shadow.disk, &fd);
    return status;
}
