/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events into the index. Two properties carry everything else: applied a second time an event
 * changes nothing, and a reference is counted exactly when an entry is really added, changed or
 * removed. Both come from looking at the entry first.
 */
#include "storage/index.h"

#include "storage/bytes.h"
#include "storage/index_format.h"
#include "storage/kv.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define TALLY_FIRST 64 /* slots of the first table, a power of two */

/* How the references of segments or blobs change in this batch: summed first, so that a segment
 * that ten thousand messages stand in is written once. Open addressing; id 0 is a free slot. */
struct tally_item {
    uint64_t id;
    int64_t references, octets;
};

struct tally {
    struct tally_item *items;
    size_t mask, count;
};

struct apply {
    struct index *index;
    struct kv_txn *txn;
    unsigned flags;
    struct index_state state;
    struct tally segments, blobs;
    uint64_t freed_blobs;
    /* The maildrop whose events are being applied. */
    uint64_t maildrop;
    enum { DROP_NONE, DROP_UNKNOWN, DROP_REMOVED, DROP_THERE } drop_state;
    bool drop_changed;
    struct index_drop drop;
};

static struct kv_bytes bytes_of(const void *data, size_t length)
{
    return (struct kv_bytes){.data = data, .length = length};
}

/* --- tallies --- */

static struct tally_item *tally_slot(const struct tally *tally, uint64_t id)
{
    size_t place = (id * 0x9e3779b97f4a7c15u >> 20) & tally->mask;
    while (tally->items[place].id != 0 && tally->items[place].id != id) {
        place = (place + 1) & tally->mask;
    }
    return &tally->items[place];
}

static enum status tally_grow(struct tally *tally)
{
    size_t slots = tally->items == NULL ? TALLY_FIRST : (tally->mask + 1) * 2;
    struct tally grown = {
        .items = calloc(slots, sizeof *grown.items), .mask = slots - 1, .count = tally->count};
    if (grown.items == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; tally->items != NULL && i <= tally->mask; i++) {
        if (tally->items[i].id != 0) {
            *tally_slot(&grown, tally->items[i].id) = tally->items[i];
        }
    }
    free(tally->items);
    *tally = grown;
    return STATUS_OK;
}

static enum status tally_add(struct tally *tally, uint64_t id, int64_t references, int64_t octets)
{
    if (tally->items == NULL || tally->count * 2 > tally->mask) {
        enum status status = tally_grow(tally);
        if (status != STATUS_OK) {
            return status;
        }
    }
    struct tally_item *item = tally_slot(tally, id);
    if (item->id == 0) {
        item->id = id;
        tally->count++;
    }
    item->references += references;
    item->octets += octets;
    return STATUS_OK;
}

static enum status write_tally_item(struct apply *apply, unsigned table,
                                    const struct tally_item *item)
{
    uint8_t key[INDEX_ID_KEY_SIZE], data[INDEX_FILE_SIZE];
    struct kv_bytes value;
    struct index_file file = {0};
    index_put_id(key, item->id);
    enum status status = kv_get(apply->txn, table, bytes_of(key, sizeof key), &value);
    if (status == STATUS_OK) {
        status = index_decode_file(value, &file);
    } else if (status == STATUS_NOT_FOUND) {
        status = STATUS_OK;
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (item->references < 0 && file.references < (uint64_t)-item->references) {
        return STATUS_CORRUPT; /* more gone than ever came: the index is not to be trusted */
    }
    file.references += (uint64_t)item->references;
    /* A hint: never below nothing. */
    file.octets = item->octets < 0 && file.octets < (uint64_t)-item->octets
                      ? 0
                      : file.octets + (uint64_t)item->octets;
    if (file.references == 0 && table == apply->index->tables.blobs) {
        apply->freed_blobs++;
    }
    index_encode_file(&file, data);
    return kv_put(apply->txn, table, bytes_of(key, sizeof key), bytes_of(data, sizeof data));
}

static enum status write_tally(struct apply *apply, unsigned table, const struct tally *tally)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; tally->items != NULL && i <= tally->mask && status == STATUS_OK; i++) {
        if (tally->items[i].id != 0) {
            status = write_tally_item(apply, table, &tally->items[i]);
        }
    }
    return status;
}

/* --- the maildrop at hand --- */

static enum status flush_drop(struct apply *apply)
{
    if (!apply->drop_changed) {
        return STATUS_OK;
    }
    uint8_t key[INDEX_ID_KEY_SIZE], data[INDEX_DROP_MAX];
    index_put_id(key, apply->maildrop);
    size_t size = index_encode_drop(&apply->drop, data);
    apply->drop_changed = false;
    return kv_put(apply->txn, apply->index->tables.drops, bytes_of(key, sizeof key),
                  bytes_of(data, size));
}

static enum status use_drop(struct apply *apply, uint64_t maildrop)
{
    if (apply->drop_state != DROP_NONE && apply->maildrop == maildrop) {
        return STATUS_OK;
    }
    enum status status = flush_drop(apply);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t key[INDEX_ID_KEY_SIZE];
    struct kv_bytes value;
    index_put_id(key, maildrop);
    apply->maildrop = maildrop;
    status = kv_get(apply->txn, apply->index->tables.drops, bytes_of(key, sizeof key), &value);
    if (status == STATUS_OK) {
        apply->drop_state = DROP_THERE;
        return index_decode_drop(value, &apply->drop);
    }
    if (status == STATUS_NOT_FOUND) {
        status =
            kv_get(apply->txn, apply->index->tables.removed, bytes_of(key, sizeof key), &value);
        apply->drop_state = status == STATUS_OK ? DROP_REMOVED : DROP_UNKNOWN;
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* A message or a name for a maildrop whose creation has not been seen: in a rebuild that may still
 * come, and where its record is damaged the mail must not be lost with it. */
static void make_drop(struct apply *apply)
{
    if (apply->drop_state == DROP_UNKNOWN) {
        memset(&apply->drop, 0, sizeof apply->drop);
        apply->drop_state = DROP_THERE;
        apply->drop_changed = true;
        apply->state.maildrops++;
    }
}

/* --- messages --- */

/* Counts an entry in (+1) or out (-1), everywhere. */
static enum status count_entry(struct apply *apply, const struct message_entry *entry, int sign)
{
    int64_t octets = (int64_t)entry->wire_length * sign;
    enum status status =
        tally_add(&apply->segments, entry->segment, sign, entry->blob == 0 ? octets : 0);
    if (status == STATUS_OK && entry->blob != 0) {
        status = tally_add(&apply->blobs, entry->blob, sign, octets);
    }
    uint64_t one = sign > 0 ? 1 : (uint64_t)-1;
    apply->drop.messages += one;
    apply->drop.octets += one * entry->octets;
    apply->state.messages += one;
    apply->state.octets += one * entry->octets;
    apply->drop_changed = true;
    return status;
}

static enum status read_entry(struct apply *apply, uint64_t uid, struct message_entry *out_entry)
{
    uint8_t place[INDEX_MESSAGE_KEY_SIZE];
    struct kv_bytes key = bytes_of(place, sizeof place), value;
    index_message_key(apply->maildrop, uid, place);
    enum status status = kv_get(apply->txn, apply->index->tables.messages, key, &value);
    return status == STATUS_OK ? index_decode_message(key, value, out_entry) : status;
}

static enum status put_entry(struct apply *apply, const struct message_entry *entry, bool is_new)
{
    uint8_t key[INDEX_MESSAGE_KEY_SIZE], data[INDEX_MESSAGE_MAX];
    index_message_key(apply->maildrop, entry->uid, key);
    size_t size = index_encode_message(apply->maildrop, entry, data);
    unsigned table = apply->index->tables.messages;
    return is_new ? kv_add(apply->txn, table, bytes_of(key, sizeof key), bytes_of(data, size))
                  : kv_put(apply->txn, table, bytes_of(key, sizeof key), bytes_of(data, size));
}

static enum status put_uidl(struct apply *apply, const struct message_entry *entry)
{
    if (entry->uidl_length == 0) {
        return STATUS_OK;
    }
    uint8_t key[INDEX_UIDL_KEY_MAX], value[8];
    size_t size = index_uidl_key(apply->maildrop, entry->uidl, entry->uidl_length, key);
    bytes_put64(value, entry->uid);
    return kv_put(apply->txn, apply->index->tables.uidls, bytes_of(key, size),
                  bytes_of(value, sizeof value));
}

/* Only while it still means this message: the same unique-id may have been imported again since. */
static enum status remove_uidl(struct apply *apply, const struct message_entry *entry)
{
    if (entry->uidl_length == 0) {
        return STATUS_OK;
    }
    uint8_t place[INDEX_UIDL_KEY_MAX];
    size_t size = index_uidl_key(apply->maildrop, entry->uidl, entry->uidl_length, place);
    struct kv_bytes key = bytes_of(place, size), value;
    enum status status = kv_get(apply->txn, apply->index->tables.uidls, key, &value);
    if (status == STATUS_OK && value.length == 8 && bytes_get64(value.data) == entry->uid) {
        status = kv_delete(apply->txn, apply->index->tables.uidls, key);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Rebuild: whether an expunge of this uid has been met. */
static enum status is_tombstone(struct apply *apply, uint64_t uid, bool *out_is)
{
    *out_is = false;
    if ((apply->flags & INDEX_APPLY_REBUILD) == 0) {
        return STATUS_OK;
    }
    uint8_t key[INDEX_MESSAGE_KEY_SIZE];
    struct kv_bytes value;
    index_message_key(apply->maildrop, uid, key);
    enum status status =
        kv_get(apply->txn, apply->index->tables.tombstones, bytes_of(key, sizeof key), &value);
    *out_is = status == STATUS_OK;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status apply_added(struct apply *apply, const struct message_entry *entry)
{
    bool gone;
    enum status status = is_tombstone(apply, entry->uid, &gone);
    if (status != STATUS_OK || gone || apply->drop_state == DROP_REMOVED) {
        return status;
    }
    make_drop(apply);
    status = put_entry(apply, entry, true);
    if (status == STATUS_EXISTS) {
        return STATUS_OK; /* applied before, or (rebuild) moved before it was met here */
    }
    if (status == STATUS_OK) {
        status = put_uidl(apply, entry);
    }
    return status == STATUS_OK ? count_entry(apply, entry, 1) : status;
}

static enum status apply_moved(struct apply *apply, const struct message_entry *entry)
{
    struct message_entry old;
    if (apply->drop_state == DROP_THERE) {
        enum status status = read_entry(apply, entry->uid, &old);
        if (status == STATUS_OK) {
            status = put_entry(apply, entry, false);
            if (status == STATUS_OK) {
                status = count_entry(apply, &old, -1);
            }
            return status == STATUS_OK ? count_entry(apply, entry, 1) : status;
        }
        if (status != STATUS_NOT_FOUND) {
            return status;
        }
    }
    /* Expunged while compaction copied it; but a rebuild may not have any other record of it. */
    return (apply->flags & INDEX_APPLY_REBUILD) != 0 ? apply_added(apply, entry) : STATUS_OK;
}

static enum status remove_entry(struct apply *apply, const struct message_entry *entry)
{
    uint8_t key[INDEX_MESSAGE_KEY_SIZE];
    index_message_key(apply->maildrop, entry->uid, key);
    enum status status =
        kv_delete(apply->txn, apply->index->tables.messages, bytes_of(key, sizeof key));
    if (status == STATUS_OK) {
        status = remove_uidl(apply, entry);
    }
    return status == STATUS_OK ? count_entry(apply, entry, -1) : status;
}

static enum status apply_expunged(struct apply *apply, uint64_t uid)
{
    enum status status = STATUS_OK;
    if ((apply->flags & INDEX_APPLY_REBUILD) != 0) {
        uint8_t key[INDEX_MESSAGE_KEY_SIZE];
        index_message_key(apply->maildrop, uid, key);
        status = kv_put(apply->txn, apply->index->tables.tombstones, bytes_of(key, sizeof key),
                        bytes_of("", 0));
    }
    if (status != STATUS_OK || apply->drop_state != DROP_THERE) {
        return status;
    }
    struct message_entry entry;
    status = read_entry(apply, uid, &entry);
    if (status == STATUS_OK) {
        return remove_entry(apply, &entry);
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* --- maildrops and segments --- */

static enum status apply_name(struct apply *apply, const char *name)
{
    if (apply->drop_state == DROP_REMOVED) {
        return STATUS_OK;
    }
    make_drop(apply);
    if (strcmp(apply->drop.name, name) != 0) {
        size_t length = strlen(name);
        assert(length <= STORAGE_DROP_NAME_MAX);
        memcpy(apply->drop.name, name, length + 1);
        apply->drop_changed = true;
    }
    return STATUS_OK;
}

/* Takes all messages out, one after the other from the front. */
static enum status remove_messages(struct apply *apply)
{
    uint8_t place[INDEX_MESSAGE_KEY_SIZE];
    struct kv_cursor *cursor = NULL;
    struct kv_bytes key, value;
    index_message_key(apply->maildrop, 0, place);
    enum status status = kv_cursor_open(apply->txn, apply->index->tables.messages, &cursor);
    if (status == STATUS_OK) {
        status = kv_cursor_seek(cursor, bytes_of(place, sizeof place), &key, &value);
    }
    while (status == STATUS_OK && key.length == sizeof place &&
           index_get_id(key.data) == apply->maildrop) {
        struct message_entry entry;
        status = index_decode_message(key, value, &entry);
        if (status == STATUS_OK) {
            status = kv_cursor_delete(cursor);
        }
        if (status == STATUS_OK) {
            status = remove_uidl(apply, &entry);
        }
        if (status == STATUS_OK) {
            status = count_entry(apply, &entry, -1);
        }
        if (status == STATUS_OK) {
            status = kv_cursor_next(cursor, &key, &value);
        }
    }
    kv_cursor_close(&cursor);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status apply_drop_removed(struct apply *apply)
{
    uint8_t key[INDEX_ID_KEY_SIZE];
    enum status status = STATUS_OK;
    index_put_id(key, apply->maildrop);
    if (apply->drop_state == DROP_THERE) {
        /* Written first, so that there is a row to delete also for one made in this batch. */
        status = flush_drop(apply);
        if (status == STATUS_OK) {
            status = remove_messages(apply);
        }
        if (status == STATUS_OK) {
            status = kv_delete(apply->txn, apply->index->tables.drops, bytes_of(key, sizeof key));
        }
        apply->state.maildrops--;
        apply->drop_changed = false;
    }
    apply->drop_state = DROP_REMOVED;
    return status == STATUS_OK ? kv_put(apply->txn, apply->index->tables.removed,
                                        bytes_of(key, sizeof key), bytes_of("", 0))
                               : status;
}

static enum status apply_retired(struct apply *apply, uint64_t segment)
{
    uint8_t key[INDEX_ID_KEY_SIZE], data[INDEX_FILE_SIZE];
    struct kv_bytes value;
    struct index_file file = {0};
    unsigned table = apply->index->tables.segments;
    index_put_id(key, segment);
    enum status status = kv_get(apply->txn, table, bytes_of(key, sizeof key), &value);
    if (status == STATUS_OK) {
        status = index_decode_file(value, &file);
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    file.retired = true;
    index_encode_file(&file, data);
    return kv_put(apply->txn, table, bytes_of(key, sizeof key), bytes_of(data, sizeof data));
}

/* --- the batch --- */

static enum status apply_event(struct apply *apply, const struct delta_event *event)
{
    if (event->kind == DELTA_SEGMENT_RETIRED) {
        return apply_retired(apply, event->uid);
    }
    enum status status = use_drop(apply, event->maildrop);
    if (status != STATUS_OK) {
        return status;
    }
    switch (event->kind) {
    case DELTA_MESSAGE_ADDED:
        return apply_added(apply, event->entry);
    case DELTA_MESSAGE_EXPUNGED:
        return apply_expunged(apply, event->uid);
    case DELTA_MESSAGE_MOVED:
        return apply_moved(apply, event->entry);
    case DELTA_DROP_CREATED:
    case DELTA_DROP_CHANGED:
        return apply_name(apply, event->name);
    case DELTA_DROP_REMOVED:
        return apply_drop_removed(apply);
    case DELTA_SEGMENT_RETIRED:
        break;
    }
    return STATUS_OK;
}

static enum status apply_all(struct apply *apply, const struct delta_event *const *events,
                             size_t count, const struct log_position *position)
{
    enum status status = index_read_state(apply->index, apply->txn, &apply->state);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = apply_event(apply, events[i]);
    }
    if (status == STATUS_OK) {
        status = flush_drop(apply);
    }
    if (status == STATUS_OK) {
        status = write_tally(apply, apply->index->tables.segments, &apply->segments);
    }
    if (status == STATUS_OK) {
        status = write_tally(apply, apply->index->tables.blobs, &apply->blobs);
    }
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t data[INDEX_STATE_SIZE];
    apply->state.position = *position;
    apply->state.clean = (apply->flags & INDEX_APPLY_CLEAN) != 0;
    if (apply->index->next_sequence != 0) {
        apply->state.next_sequence = apply->index->next_sequence;
    }
    index_encode_state(&apply->state, data);
    return kv_put(apply->txn, apply->index->tables.meta, bytes_of("state", 5),
                  bytes_of(data, sizeof data));
}

enum status index_apply(struct index *index, const struct delta_event *const *events, size_t count,
                        const struct log_position *position, unsigned flags)
{
    struct apply apply = {.index = index, .flags = flags};
    enum status status = kv_begin_write(index->kv, &apply.txn);
    if (status == STATUS_OK) {
        status = apply_all(&apply, events, count, position);
    }
    if (status == STATUS_OK) {
        status = kv_commit(&apply.txn);
    }
    if (status == STATUS_OK) {
        /* Not before: whoever sees the count must find the blobs. Pairs with index_freed_blobs. */
        atomic_fetch_add_explicit(&index->freed_blobs, apply.freed_blobs, memory_order_release);
    }
    kv_abort(&apply.txn);
    free(apply.segments.items);
    free(apply.blobs.items);
    return status;
}

static enum status forget_row(struct kv_txn *txn, unsigned table, uint64_t id, bool retired)
{
    uint8_t key[INDEX_ID_KEY_SIZE];
    struct kv_bytes value;
    struct index_file file = {0};
    index_put_id(key, id);
    enum status status = kv_get(txn, table, bytes_of(key, sizeof key), &value);
    if (status == STATUS_OK) {
        status = index_decode_file(value, &file);
    }
    if (status == STATUS_OK && file.references == 0 && file.retired == retired) {
        status = kv_delete(txn, table, bytes_of(key, sizeof key));
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* The state is written again, though it is the same: a transaction that changes nothing is none. */
static enum status forget_rows(struct index *index, struct kv_txn *txn,
                               const struct index_forget *forget)
{
    struct index_state state;
    uint8_t data[INDEX_STATE_SIZE];
    enum status status = index_read_state(index, txn, &state);
    for (size_t i = 0; i < forget->segment_count && status == STATUS_OK; i++) {
        status = forget_row(txn, index->tables.segments, forget->segments[i], true);
    }
    for (size_t i = 0; i < forget->blob_count && status == STATUS_OK; i++) {
        status = forget_row(txn, index->tables.blobs, forget->blobs[i], false);
    }
    if (status != STATUS_OK || !state.stored) {
        return status; /* not stored: nothing has ever been applied, nothing can be covered */
    }
    state.clean = false;
    index_encode_state(&state, data);
    return kv_put(txn, index->tables.meta, bytes_of("state", 5), bytes_of(data, sizeof data));
}

enum status index_forget(struct index *index, const struct index_forget *forget)
{
    struct kv_txn *txn = NULL;
    enum status status = kv_begin_write(index->kv, &txn);
    if (status == STATUS_OK) {
        status = forget_rows(index, txn, forget);
    }
    if (status == STATUS_OK) {
        status = kv_commit(&txn);
    }
    kv_abort(&txn);
    return status;
}

void index_set_next_sequence(struct index *index, uint64_t next_sequence)
{
    index->next_sequence = next_sequence;
}

enum status index_finish_rebuild(struct index *index)
{
    struct kv_txn *txn = NULL;
    enum status status = kv_begin_write(index->kv, &txn);
    if (status == STATUS_OK) {
        status = kv_clear(txn, index->tables.tombstones);
    }
    if (status == STATUS_OK) {
        status = kv_commit(&txn);
    }
    kv_abort(&txn);
    return status;
}
