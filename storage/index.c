/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/index.h"

#include "storage/bytes.h"
#include "storage/index_format.h"
#include "storage/kv.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_TABLES_MAX 12
#define INDEX_LIST_FIRST 64 /* ids of the first allocation */

static struct kv_bytes bytes_of(const void *data, size_t length)
{
    return (struct kv_bytes){.data = data, .length = length};
}

/* --- opening --- */

static enum status open_tables(struct index *index, struct error *out_error)
{
    /* Rows of `messages` and the state bring a check of their own. */
    struct {
        const char *name;
        unsigned *table;
        enum status (*open)(struct kv *, const char *, unsigned *, struct error *);
    } tables[] = {
        {"meta", &index->tables.meta, kv_table},
        {"messages", &index->tables.messages, kv_table},
        {"drops", &index->tables.drops, kv_table_checked},
        {"segments", &index->tables.segments, kv_table_checked},
        {"blobs", &index->tables.blobs, kv_table_checked},
        {"uidls", &index->tables.uidls, kv_table_checked},
        {"removed", &index->tables.removed, kv_table_checked},
        {"tombstones", &index->tables.tombstones, kv_table_checked},
    };
    enum status status = STATUS_OK;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && status == STATUS_OK; i++) {
        status = tables[i].open(index->kv, tables[i].name, tables[i].table, out_error);
    }
    return status;
}

/* Version and volume of an index there is, or those of ours for a new one. */
static enum status check_identity(struct index *index, const struct index_config *config,
                                  struct error *out_error)
{
    uint8_t identity[INDEX_IDENTITY_SIZE];
    bytes_put32(identity, INDEX_VERSION);
    memcpy(identity + 4, config->volume_id, 16);
    struct kv_bytes key = bytes_of("identity", 8), value;
    struct kv_txn *txn = NULL;
    enum status status = kv_begin_write(index->kv, &txn);
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, config->path, "opening the index");
    }
    status = kv_get(txn, index->tables.meta, key, &value);
    if (status == STATUS_NOT_FOUND) {
        status = kv_put(txn, index->tables.meta, key, bytes_of(identity, sizeof identity));
        if (status == STATUS_OK) {
            status = kv_commit(&txn);
        }
        kv_abort(&txn);
        return status == STATUS_OK
                   ? status
                   : error_set(out_error, status, 0, config->path, "making a new index");
    }
    if (status == STATUS_OK && (value.length < 4 || bytes_get32(value.data) != INDEX_VERSION)) {
        status = STATUS_UNSUPPORTED;
    } else if (status == STATUS_OK && (value.length != sizeof identity ||
                                       memcmp(value.data, identity, sizeof identity) != 0)) {
        status = STATUS_CORRUPT;
    }
    kv_abort(&txn);
    return status == STATUS_OK ? status
                               : error_set(out_error, status, 0, config->path,
                                           "the index is of another version or volume");
}

enum status index_open(const struct index_config *config, struct index **out_index,
                       struct error *out_error)
{
    struct index *index = calloc(1, sizeof *index);
    if (index == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, config->path, "opening the index");
    }
    struct kv_config kv = {.path = config->path,
                           .map_size = config->map_size,
                           .tables_max = INDEX_TABLES_MAX,
                           .mode = 0600,
                           .scratch = config->scratch,
                           .check_max = config->check_max,
                           .is_sound = index_pair_is_sound,
                           .tables = index_table_names};
    enum status status = kv_open(&kv, &index->kv, out_error);
    if (status == STATUS_OK) {
        status = open_tables(index, out_error);
    }
    if (status == STATUS_OK) {
        status = check_identity(index, config, out_error);
    }
    if (status != STATUS_OK) {
        index_close(&index);
        return status;
    }
    *out_index = index;
    return STATUS_OK;
}

void index_close(struct index **index)
{
    if (*index != NULL) {
        kv_close(&(*index)->kv);
        free(*index);
        *index = NULL;
    }
}

void index_check_readers(struct index *index)
{
    unsigned cleared = 0;
    (void)!kv_check_readers(index->kv, &cleared); /* tried again in a minute */
}

void index_numbers(struct index *index, struct kv_numbers *out_numbers)
{
    kv_numbers(index->kv, out_numbers);
}

/* --- reading --- */

/* The transaction is parked between snapshots and the cursor renewed: no allocation, no slot
 * search. */
struct index_reader {
    struct index *index;
    struct kv_txn *txn;       /* NULL until the first snapshot */
    struct kv_cursor *cursor; /* over messages; NULL until first used */
    bool cursor_fresh;        /* opened or renewed in this snapshot */
    uint64_t maildrop;        /* that index_next goes on in */
};

enum status index_reader_create(struct index *index, struct index_reader **out_reader)
{
    struct index_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return STATUS_NO_MEMORY;
    }
    reader->index = index;
    *out_reader = reader;
    return STATUS_OK;
}

void index_reader_destroy(struct index_reader **reader)
{
    if (*reader != NULL) {
        kv_cursor_close(&(*reader)->cursor);
        kv_abort(&(*reader)->txn);
        free(*reader);
        *reader = NULL;
    }
}

enum status index_begin(struct index_reader *reader, struct index_state *out_state)
{
    enum status status = reader->txn == NULL ? kv_begin_read(reader->index->kv, &reader->txn)
                                             : kv_unpark(reader->txn);
    if (status != STATUS_OK) {
        return status;
    }
    reader->cursor_fresh = false;
    status = index_read_state(reader->index, reader->txn, out_state);
    if (status != STATUS_OK) {
        index_end(reader);
    }
    return status;
}

void index_end(struct index_reader *reader)
{
    kv_park(reader->txn);
}

enum status index_drop(struct index_reader *reader, uint64_t maildrop, struct index_drop *out_drop,
                       bool *out_removed)
{
    uint8_t key[INDEX_ID_KEY_SIZE];
    struct kv_bytes value;
    index_put_id(key, maildrop);
    enum status status =
        kv_get(reader->txn, reader->index->tables.drops, bytes_of(key, sizeof key), &value);
    if (status == STATUS_OK) {
        return index_decode_drop(value, out_drop);
    }
    if (status == STATUS_NOT_FOUND && out_removed != NULL) {
        enum status removed =
            kv_get(reader->txn, reader->index->tables.removed, bytes_of(key, sizeof key), &value);
        *out_removed = removed == STATUS_OK;
    }
    return status;
}

static enum status use_cursor(struct index_reader *reader)
{
    if (reader->cursor_fresh) {
        return STATUS_OK;
    }
    enum status status =
        reader->cursor == NULL
            ? kv_cursor_open(reader->txn, reader->index->tables.messages, &reader->cursor)
            : kv_cursor_renew(reader->cursor, reader->txn);
    reader->cursor_fresh = status == STATUS_OK;
    return status;
}

/* What the cursor found: an entry of the maildrop, or the end of it. */
static enum status found_entry(struct index_reader *reader, enum status status, struct kv_bytes key,
                               struct kv_bytes value, struct message_entry *out_entry)
{
    if (status == STATUS_NOT_FOUND) {
        return STATUS_EOF;
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (key.length != INDEX_MESSAGE_KEY_SIZE) {
        return STATUS_CORRUPT;
    }
    if (index_get_id(key.data) != reader->maildrop) {
        return STATUS_EOF;
    }
    return index_decode_message(key, value, out_entry);
}

enum status index_first(struct index_reader *reader, uint64_t maildrop,
                        struct message_entry *out_entry)
{
    return index_from(reader, maildrop, 0, out_entry);
}

enum status index_from(struct index_reader *reader, uint64_t maildrop, uint64_t uid,
                       struct message_entry *out_entry)
{
    uint8_t place[INDEX_MESSAGE_KEY_SIZE];
    struct kv_bytes key, value;
    enum status status = use_cursor(reader);
    if (status != STATUS_OK) {
        return status;
    }
    index_message_key(maildrop, uid, place);
    reader->maildrop = maildrop;
    status = kv_cursor_seek(reader->cursor, bytes_of(place, sizeof place), &key, &value);
    return found_entry(reader, status, key, value, out_entry);
}

enum status index_next(struct index_reader *reader, struct message_entry *out_entry)
{
    struct kv_bytes key, value;
    enum status status = kv_cursor_next(reader->cursor, &key, &value);
    return found_entry(reader, status, key, value, out_entry);
}

enum status index_message(struct index_reader *reader, uint64_t maildrop, uint64_t uid,
                          struct message_entry *out_entry)
{
    uint8_t place[INDEX_MESSAGE_KEY_SIZE];
    struct kv_bytes key = bytes_of(place, sizeof place), value;
    index_message_key(maildrop, uid, place);
    enum status status = kv_get(reader->txn, reader->index->tables.messages, key, &value);
    return status == STATUS_OK ? index_decode_message(key, value, out_entry) : status;
}

enum status index_uidl(struct index_reader *reader, uint64_t maildrop, const char *uidl,
                       size_t length, uint64_t *out_uid)
{
    uint8_t place[INDEX_UIDL_KEY_MAX];
    struct kv_bytes value;
    size_t size = index_uidl_key(maildrop, uidl, length, place);
    enum status status =
        kv_get(reader->txn, reader->index->tables.uidls, bytes_of(place, size), &value);
    if (status == STATUS_OK && value.length != 8) {
        return STATUS_CORRUPT;
    }
    if (status == STATUS_OK) {
        *out_uid = bytes_get64(value.data);
    }
    return status;
}

static enum status read_file(struct index_reader *reader, unsigned table, uint64_t id,
                             struct index_file *out_file)
{
    uint8_t key[INDEX_ID_KEY_SIZE];
    struct kv_bytes value;
    index_put_id(key, id);
    enum status status = kv_get(reader->txn, table, bytes_of(key, sizeof key), &value);
    return status == STATUS_OK ? index_decode_file(value, out_file) : status;
}

enum status index_segment(struct index_reader *reader, uint32_t segment,
                          struct index_file *out_file)
{
    return read_file(reader, reader->index->tables.segments, segment, out_file);
}

enum status index_blob(struct index_reader *reader, uint64_t blob, struct index_file *out_file)
{
    return read_file(reader, reader->index->tables.blobs, blob, out_file);
}

/* --- lists --- */

struct id_list {
    uint64_t *ids;
    size_t count, capacity;
};

static enum status list_add(struct id_list *list, uint64_t id)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? INDEX_LIST_FIRST : list->capacity * 2;
        uint64_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (ids == NULL) {
            return STATUS_NO_MEMORY;
        }
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return STATUS_OK;
}

static bool any_file(const struct index_file *file)
{
    (void)file;
    return true;
}

static bool is_retired(const struct index_file *file)
{
    return file->retired;
}

static bool is_free(const struct index_file *file)
{
    return file->references == 0;
}

/* The keys of a table of ids, those for whose values `wanted` is true. */
static enum status list_table(struct index_reader *reader, unsigned table,
                              bool (*wanted)(const struct index_file *file), uint64_t **out_ids,
                              size_t *out_count)
{
    struct kv_cursor *cursor = NULL;
    struct kv_bytes key, value;
    struct id_list list = {0};
    enum status status = kv_cursor_open(reader->txn, table, &cursor);
    if (status == STATUS_OK) {
        status = kv_cursor_seek(cursor, bytes_of("", 0), &key, &value);
    }
    while (status == STATUS_OK) {
        struct index_file file = {0};
        if (key.length != INDEX_ID_KEY_SIZE) {
            status = STATUS_CORRUPT;
        } else if (wanted != any_file) {
            status = index_decode_file(value, &file);
        }
        if (status == STATUS_OK && wanted(&file)) {
            status = list_add(&list, index_get_id(key.data));
        }
        if (status == STATUS_OK) {
            status = kv_cursor_next(cursor, &key, &value);
        }
    }
    kv_cursor_close(&cursor);
    if (status != STATUS_NOT_FOUND) {
        free(list.ids);
        return status;
    }
    *out_ids = list.ids;
    *out_count = list.count;
    return STATUS_OK;
}

enum status index_removed_drops(struct index_reader *reader, uint64_t **out_ids, size_t *out_count)
{
    return list_table(reader, reader->index->tables.removed, any_file, out_ids, out_count);
}

enum status index_retired_segments(struct index_reader *reader, uint64_t **out_ids,
                                   size_t *out_count)
{
    return list_table(reader, reader->index->tables.segments, is_retired, out_ids, out_count);
}

enum status index_free_blobs(struct index_reader *reader, uint64_t **out_ids, size_t *out_count)
{
    return list_table(reader, reader->index->tables.blobs, is_free, out_ids, out_count);
}

uint64_t index_freed_blobs(const struct index *index)
{
    return atomic_load_explicit(&index->freed_blobs,
                                memory_order_acquire); /* pairs with index_apply */
}

enum status index_drops(struct index_reader *reader, uint64_t after, uint64_t *out_ids,
                        size_t count, size_t *out_count)
{
    uint8_t place[INDEX_ID_KEY_SIZE];
    struct kv_cursor *cursor = NULL;
    struct kv_bytes key, value;
    size_t found = 0;
    if (after == UINT64_MAX) {
        *out_count = 0;
        return STATUS_OK;
    }
    index_put_id(place, after + 1);
    enum status status = kv_cursor_open(reader->txn, reader->index->tables.drops, &cursor);
    if (status == STATUS_OK) {
        status = kv_cursor_seek(cursor, bytes_of(place, sizeof place), &key, &value);
    }
    while (status == STATUS_OK && found < count) {
        if (key.length != INDEX_ID_KEY_SIZE) {
            status = STATUS_CORRUPT;
            break;
        }
        out_ids[found++] = index_get_id(key.data);
        status = kv_cursor_next(cursor, &key, &value);
    }
    kv_cursor_close(&cursor);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    *out_count = found;
    return STATUS_OK;
}
