/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table keeps a reference of its own to each file it has open, so that the next reader need not
 * open it again, and drops the one unused for longest when there are too many. A file is opened
 * with the mutex released: a slow directory must not hold up readers of other files.
 */
#include "storage/segment.h"

#include "io/list.h"
#include "storage/storage_limits.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_BUCKETS 4096 /* a power of two; chains stay short up to STORAGE_OPEN_FILES_MAX */

enum file_kind { FILE_SEGMENT, FILE_BLOB };

struct table_entry {
    struct list_link by_use; /* in segment_table.by_use, the unused at the front */
    struct table_entry *next;
    enum file_kind kind;
    uint64_t id;
    struct segment *segment; /* the table's reference */
};

struct segment_table {
    struct disk *disk;
    char paths[2][SEGMENT_PATH_MAX]; /* by enum file_kind */
    pthread_mutex_t mutex;           /* guards what follows */
    struct table_entry *buckets[TABLE_BUCKETS];
    struct list_link by_use;
    uint32_t count;
    uint64_t forgets; /* how often something was forgotten: a file opened meanwhile is not kept */
};

void segment_path(const char *segments_path, uint32_t id, char out_path[SEGMENT_PATH_MAX])
{
    int length = snprintf(out_path, SEGMENT_PATH_MAX, "%s/%08x.seg", segments_path, id);
    assert(length > 0 && length < SEGMENT_PATH_MAX);
}

void segment_blob_path(const char *blobs_path, uint64_t blob, char out_path[SEGMENT_PATH_MAX])
{
    int length = snprintf(out_path, SEGMENT_PATH_MAX, "%s/%02x/%016llx.blob", blobs_path,
                          (unsigned)(blob & 0xff), (unsigned long long)blob);
    assert(length > 0 && length < SEGMENT_PATH_MAX);
}

void segment_hold(struct segment *segment)
{
    /* Relaxed: the caller already has a reference, so nothing can be freed meanwhile. */
    (void)atomic_fetch_add_explicit(&segment->references, 1, memory_order_relaxed);
}

void segment_release(void *owner)
{
    struct segment *segment = owner;
    if (segment == NULL) {
        return;
    }
    /* Release and acquire: whoever frees it comes after every other holder's last use. */
    if (atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel) == 1) {
        disk_close(segment->disk, &segment->fd);
        free(segment);
    }
}

enum status segment_table_create(struct disk *disk, const char *segments_path,
                                 const char *blobs_path, struct segment_table **out_table,
                                 struct error *out_error)
{
    /* The longest thing appended to either is "/ab/<16>.blob". */
    if (strlen(segments_path) + 32 > SEGMENT_PATH_MAX ||
        strlen(blobs_path) + 32 > SEGMENT_PATH_MAX) {
        return error_set(out_error, STATUS_TOO_BIG, 0, segments_path, "the path is too long");
    }
    struct segment_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, segments_path, "no memory for open files");
    }
    table->disk = disk;
    strcpy(table->paths[FILE_SEGMENT], segments_path);
    strcpy(table->paths[FILE_BLOB], blobs_path);
    list_init(&table->by_use);
    (void)pthread_mutex_init(&table->mutex, NULL); /* cannot fail with default attributes */
    *out_table = table;
    return STATUS_OK;
}

static struct table_entry **bucket_of(struct segment_table *table, enum file_kind kind, uint64_t id)
{
    uint64_t hash = (id * 2 + kind) * 0x9e3779b97f4a7c15u; /* Fibonacci hashing */
    return &table->buckets[hash >> 52 & (TABLE_BUCKETS - 1)];
}

/* Where the pointer to the entry is, or to the NULL that ends its chain. */
static struct table_entry **find(struct segment_table *table, enum file_kind kind, uint64_t id)
{
    struct table_entry **entry = bucket_of(table, kind, id);
    while (*entry != NULL && ((*entry)->kind != kind || (*entry)->id != id)) {
        entry = &(*entry)->next;
    }
    return entry;
}

/* With the mutex held, as those above. Takes the entry out and returns the table's reference, to be
 * released with the mutex open where the file may be unlinked: closing it last gives its blocks
 * back, which takes a while. */
static struct segment *take_out(struct segment_table *table, struct table_entry **place)
{
    struct table_entry *entry = *place;
    struct segment *segment = entry->segment;
    *place = entry->next;
    list_remove(&entry->by_use);
    table->count--;
    free(entry);
    return segment;
}

static void drop_oldest(struct segment_table *table, uint32_t keep)
{
    while (table->count > keep) {
        struct table_entry *oldest =
            list_entry(list_first(&table->by_use), struct table_entry, by_use);
        segment_release(take_out(table, find(table, oldest->kind, oldest->id)));
    }
}

void segment_table_destroy(struct segment_table **table)
{
    if (*table != NULL) {
        drop_oldest(*table, 0);
        (void)pthread_mutex_destroy(&(*table)->mutex); /* nobody has it: the caller is the last */
        free(*table);
        *table = NULL;
    }
}

static enum status open_file(struct segment_table *table, enum file_kind kind, uint64_t id,
                             struct segment **out_segment, struct error *out_error)
{
    char path[SEGMENT_PATH_MAX];
    if (kind == FILE_SEGMENT) {
        segment_path(table->paths[kind], (uint32_t)id, path);
    } else {
        segment_blob_path(table->paths[kind], id, path);
    }
    struct segment *segment = malloc(sizeof *segment);
    if (segment == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, path, "no memory to open the file");
    }
    enum status status = disk_open(table->disk, path, O_RDONLY, 0, &segment->fd, out_error);
    if (status != STATUS_OK) {
        free(segment);
        return status;
    }
    atomic_init(&segment->references, 1);
    segment->id = id;
    segment->disk = table->disk;
    *out_segment = segment;
    return STATUS_OK;
}

/* With the mutex held. Keeps a reference of the table's own, unless memory is short: then the next
 * reader opens the file again, no more. */
static void keep(struct segment_table *table, enum file_kind kind, struct segment *segment)
{
    struct table_entry **place = find(table, kind, segment->id);
    struct table_entry *entry = *place == NULL ? malloc(sizeof *entry) : NULL;
    if (entry == NULL) {
        return;
    }
    segment_hold(segment);
    *entry = (struct table_entry){.kind = kind, .id = segment->id, .segment = segment};
    *place = entry;
    list_push_back(&table->by_use, &entry->by_use);
    table->count++;
    drop_oldest(table, STORAGE_OPEN_FILES_MAX);
}

/* A reference to an open file, NULL when it is not open. `*out_forgets`: for whoever opens it then.
 */
static struct segment *look_up(struct segment_table *table, enum file_kind kind, uint64_t id,
                               uint64_t *out_forgets)
{
    struct segment *segment = NULL;
    (void)pthread_mutex_lock(&table->mutex);
    struct table_entry *entry = *find(table, kind, id);
    if (entry != NULL) {
        list_remove(&entry->by_use);
        list_push_back(&table->by_use, &entry->by_use);
        segment = entry->segment;
        segment_hold(segment);
    }
    *out_forgets = table->forgets;
    (void)pthread_mutex_unlock(&table->mutex);
    return segment;
}

static enum status get(struct segment_table *table, enum file_kind kind, uint64_t id,
                       struct segment **out_segment, struct error *out_error)
{
    uint64_t forgets;
    struct segment *segment = look_up(table, kind, id, &forgets);
    if (segment != NULL) {
        *out_segment = segment;
        return STATUS_OK;
    }
    enum status status = open_file(table, kind, id, &segment, out_error);
    if (status == STATUS_LIMIT) {
        /* Out of descriptors: give back what only the table still holds, then try once more. */
        (void)pthread_mutex_lock(&table->mutex);
        drop_oldest(table, table->count / 2);
        (void)pthread_mutex_unlock(&table->mutex);
        status = open_file(table, kind, id, &segment, out_error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&table->mutex);
    if (table->forgets == forgets) {
        keep(table, kind, segment);
    }
    (void)pthread_mutex_unlock(&table->mutex);
    *out_segment = segment;
    return STATUS_OK;
}

static void forget(struct segment_table *table, enum file_kind kind, uint64_t id)
{
    (void)pthread_mutex_lock(&table->mutex);
    struct table_entry **place = find(table, kind, id);
    struct segment *segment = *place != NULL ? take_out(table, place) : NULL;
    table->forgets++;
    (void)pthread_mutex_unlock(&table->mutex);
    segment_release(segment);
}

enum status segment_get(struct segment_table *table, uint32_t id, struct segment **out_segment,
                        struct error *out_error)
{
    return get(table, FILE_SEGMENT, id, out_segment, out_error);
}

enum status segment_get_blob(struct segment_table *table, uint64_t blob,
                             struct segment **out_segment, struct error *out_error)
{
    return get(table, FILE_BLOB, blob, out_segment, out_error);
}

void segment_forget(struct segment_table *table, uint32_t id)
{
    forget(table, FILE_SEGMENT, id);
}

void segment_forget_blob(struct segment_table *table, uint64_t blob)
{
    forget(table, FILE_BLOB, blob);
}
