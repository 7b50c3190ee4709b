/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/salvage.h"

#include "storage/bytes.h"
#include "storage/index_format.h"
#include "storage/kv_check.h"
#include "storage/volume.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1024 /* events of one transaction */

/* Walking the old index, with the new one beside it. */
struct run {
    struct salvage *salvage;
    struct volume *volume;
    const struct log_position *position;
    struct index_reader *reader; /* of the new index */
    struct delta_event events[BATCH];
    struct message_entry entries[BATCH];
    char names[BATCH][STORAGE_DROP_NAME_MAX + 1];
    size_t count;
    uint64_t kept;
    /* The last message of the old index, to see which of the new one it does not know. */
    uint64_t maildrop, uid;
    enum status failure;
};

void salvage_deinit(struct salvage *salvage)
{
    free(salvage->places);
    idset_deinit(&salvage->missing);
    *salvage = (struct salvage){0};
}

enum status salvage_note(struct salvage *salvage, uint32_t segment, uint64_t from, uint64_t to)
{
    if (salvage->count == salvage->capacity) {
        size_t capacity = salvage->capacity * 2 + 64;
        struct salvage_place *places = realloc(salvage->places, capacity * sizeof *places);
        if (places == NULL) {
            return STATUS_NO_MEMORY;
        }
        salvage->places = places;
        salvage->capacity = capacity;
    }
    salvage->places[salvage->count++] =
        (struct salvage_place){.segment = segment, .from = from, .to = to};
    return STATUS_OK;
}

/* --- reading the old index --- */

static enum status open_old(const struct volume *volume, int *out_fd)
{
    char path[VOLUME_PATH_MAX + 16];
    (void)stpcpy(stpcpy(path, volume->index_path), "/data.mdb"); /* fits */
    return disk_open(volume->disk, path, O_RDONLY, 0, out_fd, NULL);
}

struct states {
    const uint8_t *volume_id;
    bool ours;
    struct index_state state;
};

static bool on_meta(void *owner, const char *table, struct kv_bytes key, struct kv_bytes value)
{
    struct states *states = owner;
    struct index_state state;
    if (key.length == 8) {
        states->ours = value.length == INDEX_IDENTITY_SIZE &&
                       bytes_get32(value.data) == INDEX_VERSION &&
                       memcmp((const uint8_t *)value.data + 4, states->volume_id, 16) == 0;
    } else if (index_decode_state(value, &state) == STATUS_OK) {
        states->state = state;
    }
    return true;
}

static bool read_state(const struct volume *volume, int fd, bool older,
                       struct index_state *out_state)
{
    struct states states = {.volume_id = volume->identity.id};
    struct kv_check_result found;
    struct kv_check_request request = {
        .fd = fd, .older = older, .table = "meta", .is_sound = on_meta, .owner = &states};
    enum status status = kv_check(&request, &found, NULL);
    if (status != STATUS_OK || !states.ours || !states.state.stored) {
        return false;
    }
    *out_state = states.state;
    return true;
}

void salvage_state(const struct volume *volume, struct index_state *out_state, bool *out_older)
{
    struct index_state state = {0};
    bool older = false;
    int fd = -1;
    enum status status = open_old(volume, &fd);
    if (status == STATUS_OK && !read_state(volume, fd, false, &state)) {
        older = read_state(volume, fd, true, &state);
    }
    disk_close(volume->disk, &fd);
    *out_state = state;
    *out_older = older;
}

/* --- into the new one --- */

static void flush(struct run *run)
{
    const struct delta_event *order[BATCH];
    for (size_t i = 0; i < run->count; i++) {
        order[i] = &run->events[i];
    }
    if (run->count > 0 && run->failure == STATUS_OK) {
        delta_sort(order, run->count);
        run->failure =
            index_apply(run->volume->index, order, run->count, run->position, INDEX_APPLY_REBUILD);
    }
    run->count = 0;
}

static struct delta_event *add_event(struct run *run, uint64_t maildrop, enum delta_kind kind,
                                     uint64_t uid)
{
    if (run->count == BATCH) {
        flush(run);
    }
    run->events[run->count] = (struct delta_event){
        .maildrop = maildrop, .kind = kind, .uid = uid, .sequence = uid != 0 ? uid : 1};
    return &run->events[run->count++];
}

/* Whether the log's record of a message may be among what is damaged. Where a blob's record stood
 * in its segment the index does not know. */
static bool may_be_lost(const struct salvage *salvage, const struct message_entry *entry)
{
    if (idset_has(&salvage->missing, entry->segment)) {
        return true;
    }
    for (size_t i = 0; i < salvage->count; i++) {
        const struct salvage_place *place = &salvage->places[i];
        if (place->segment == entry->segment &&
            (entry->blob != 0 || (entry->offset >= place->from && entry->offset < place->to))) {
            return true;
        }
    }
    return false;
}

/* The messages of the new index between two of the old one: given out before the old one's
 * position, and not in it, they were expunged by a record that is damaged now. */
static void drop_unknown(struct run *run, uint64_t maildrop, uint64_t from, uint64_t to)
{
    struct index_state state;
    struct message_entry entry;
    uint64_t limit = run->salvage->state.position.sequence;
    if (!run->salvage->whole || from >= to || index_begin(run->reader, &state) != STATUS_OK) {
        return;
    }
    enum status status = index_from(run->reader, maildrop, from, &entry);
    while (status == STATUS_OK && entry.uid < to && entry.uid <= limit) {
        (void)add_event(run, maildrop, DELTA_MESSAGE_EXPUNGED, entry.uid);
        status = index_next(run->reader, &entry);
    }
    index_end(run->reader);
}

static void on_message(struct run *run, struct kv_bytes key, struct kv_bytes value)
{
    struct message_entry entry;
    if (index_decode_message(key, value, &entry) != STATUS_OK) {
        return;
    }
    uint64_t maildrop = index_get_id(key.data);
    if (maildrop != run->maildrop) {
        drop_unknown(run, run->maildrop, run->uid + 1, UINT64_MAX);
        run->maildrop = maildrop;
        run->uid = 0;
    }
    drop_unknown(run, maildrop, run->uid + 1, entry.uid);
    run->uid = entry.uid;
    if (may_be_lost(run->salvage, &entry)) {
        struct index_state state;
        struct message_entry known;
        enum status status = index_begin(run->reader, &state);
        if (status == STATUS_OK) {
            status = index_message(run->reader, maildrop, entry.uid, &known);
            index_end(run->reader);
        }
        if (status == STATUS_NOT_FOUND) {
            struct delta_event *event = add_event(run, maildrop, DELTA_MESSAGE_ADDED, entry.uid);
            run->entries[run->count - 1] = entry;
            event->entry = &run->entries[run->count - 1];
            run->kept++;
        }
    }
}

/* A maildrop whose creation was lost, or its name with it. */
static void on_drop(struct run *run, struct kv_bytes key, struct kv_bytes value)
{
    struct index_state state;
    struct index_drop old, made = {0};
    bool removed = false;
    uint64_t maildrop = index_get_id(key.data);
    if (index_decode_drop(value, &old) != STATUS_OK) {
        return;
    }
    if (old.messages == 0) {
        drop_unknown(run, maildrop, 0, UINT64_MAX);
    }
    if (old.name[0] == '\0' || index_begin(run->reader, &state) != STATUS_OK) {
        return;
    }
    enum status status = index_drop(run->reader, maildrop, &made, &removed);
    index_end(run->reader);
    if (!removed && (status == STATUS_NOT_FOUND || (status == STATUS_OK && made.name[0] == '\0'))) {
        struct delta_event *event = add_event(run, maildrop, DELTA_DROP_CREATED, 0);
        char *name = run->names[run->count - 1];
        memcpy(name, old.name, sizeof old.name);
        event->name = name;
    }
}

static bool on_pair(void *owner, const char *table, struct kv_bytes key, struct kv_bytes value)
{
    struct run *run = owner;
    if (!index_pair_is_sound(table, key, value)) {
        return false;
    }
    if (strcmp(table, "messages") == 0) {
        on_message(run, key, value);
    } else if (strcmp(table, "drops") == 0 && key.length == INDEX_ID_KEY_SIZE) {
        value.length -= KV_CHECK_SIZE;
        on_drop(run, key, value);
    } else if (strcmp(table, "removed") == 0 && key.length == INDEX_ID_KEY_SIZE) {
        (void)add_event(run, index_get_id(key.data), DELTA_DROP_REMOVED, 0);
    }
    return true;
}

static bool pair_is_sound(void *owner, const char *table, struct kv_bytes key,
                          struct kv_bytes value)
{
    return index_pair_is_sound(table, key, value);
}

static enum status walk(struct run *run, int fd)
{
    struct kv_check_result found = {0};
    struct kv_check_request request = {.fd = fd,
                                       .older = run->salvage->older,
                                       .is_sound = pair_is_sound,
                                       .tables = index_table_names,
                                       .owner = run};
    enum status status = kv_check(&request, &found, NULL);
    if (status == STATUS_OK) {
        run->salvage->whole = found.damaged == 0 && !request.older;
        request.is_sound = on_pair;
        status = kv_check(&request, &found, NULL);
    }
    if (status == STATUS_OK) {
        drop_unknown(run, run->maildrop, run->uid + 1, UINT64_MAX);
        flush(run);
        status = run->failure;
    }
    return status;
}

enum status salvage_run(struct salvage *salvage, struct volume *volume,
                        const struct log_position *position, uint64_t *out_kept,
                        struct error *out_error)
{
    int fd = -1;
    struct run *run = NULL;
    if (!salvage->state.stored || (salvage->count == 0 && salvage->missing.count == 0) ||
        open_old(volume, &fd) != STATUS_OK) {
        return STATUS_OK; /* nothing is lost, or nobody knows what */
    }
    run = calloc(1, sizeof *run);
    enum status status = run != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        run->salvage = salvage;
        run->volume = volume;
        run->position = position;
        status = index_reader_create(volume->index, &run->reader);
    }
    if (status == STATUS_OK) {
        status = walk(run, fd);
    }
    if (status == STATUS_OK) {
        *out_kept = run->kept;
    }
    if (run != NULL) {
        index_reader_destroy(&run->reader);
        free(run);
    }
    disk_close(volume->disk, &fd);
    return status == STATUS_OK ? status
                               : error_set(out_error, status, 0, volume->index_path,
                                           "taking over what the old index knows");
}
