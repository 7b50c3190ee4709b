/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/log_map.h"

#include "storage/torn.h"
#include "storage/volume.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SETTLED_FILES       3  /* newest ones: one made ahead, one begun, the one before */
#define SEGMENT_NAME_LENGTH 12 /* octets of "00000001.seg" */

static int by_id(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

/* 0: not the name of a segment. */
static uint32_t id_of(const char *name)
{
    char *end;
    if (strlen(name) != SEGMENT_NAME_LENGTH || strcmp(name + 8, ".seg") != 0 ||
        strspn(name, "0123456789abcdef") != 8) {
        return 0;
    }
    return (uint32_t)strtoul(name, &end, 16);
}

static enum status add_id(uint32_t **ids, size_t *count, size_t *capacity, uint32_t id)
{
    if (*count == *capacity) {
        size_t larger = *capacity * 2 + 64;
        uint32_t *grown = realloc(*ids, larger * sizeof *grown);
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        *ids = grown;
        *capacity = larger;
    }
    (*ids)[(*count)++] = id;
    return STATUS_OK;
}

enum status log_map_list(struct volume *volume, uint32_t **out_ids, size_t *out_count,
                         struct error *out_error)
{
    DIR *directory = opendir(volume->segments_path);
    if (directory == NULL) {
        return error_set(out_error, status_from_errno(errno), errno, volume->segments_path,
                         "listing the segments");
    }
    uint32_t *ids = NULL;
    size_t count = 0, capacity = 0;
    enum status status = STATUS_OK;
    const struct dirent *entry;
    while (status == STATUS_OK && (entry = readdir(directory)) != NULL) {
        uint32_t id = id_of(entry->d_name);
        if (id != 0) {
            status = add_id(&ids, &count, &capacity, id);
        }
    }
    (void)closedir(directory); /* only read */
    if (status != STATUS_OK) {
        free(ids);
        return error_set(out_error, status, 0, volume->segments_path, "listing the segments");
    }
    if (count > 1) {
        qsort(ids, count, sizeof *ids, by_id);
    }
    *out_ids = ids;
    *out_count = count;
    return STATUS_OK;
}

void log_map_free(struct log_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        free(map->segments[i].manifest.unretired);
    }
    free(map->segments);
    *map = (struct log_map){0};
}

/* --- one segment --- */

/* Without a manifest: void, unless its first group was durable. It was when there is a second one,
 * or when all of that write came to the disk and the manifest has been damaged since. */
static enum status looks_void(struct scan *scan, bool *out_void, struct error *out_error)
{
    struct record_frame frames[2];
    uint64_t offset = 0;
    size_t found = 0;
    enum status status = STATUS_OK;
    while (found < 2 && status == STATUS_OK) {
        status = scan_search(scan, offset, &frames[found], out_error);
        if (status == STATUS_OK) {
            offset = frames[found++].offset + 1;
        }
    }
    if (status == STATUS_NOT_FOUND) {
        return torn_look(scan, 0, found > 0 ? &frames[0] : NULL, 0, out_void, out_error);
    }
    *out_void = false;
    return status;
}

static enum status read_segment(struct volume *volume, uint32_t id, bool settle,
                                struct log_segment *out_segment, struct error *out_error)
{
    struct scan scan;
    struct log_segment segment = {.id = id};
    enum status status = scan_open(volume, id, &scan, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    if (settle) {
        status = scan_settle(&scan, out_error);
    }
    segment.size = segment.end = scan.size;
    if (status == STATUS_OK) {
        status = scan_manifest(&scan, &segment.manifest, out_error);
        segment.has_manifest = status == STATUS_OK;
        segment.start = segment.manifest.length;
    }
    if (status == STATUS_CORRUPT) {
        status = looks_void(&scan, &segment.is_void, out_error);
    } else if (status == STATUS_UNSUPPORTED) {
        (void)error_set(out_error, status, 0, volume->segments_path,
                        "segment %08x was written by a newer version", id);
    }
    scan_close(&scan);
    *out_segment = segment;
    return status;
}

/* --- all of them --- */

static bool lists(const struct scan_manifest *manifest, uint32_t id)
{
    return bsearch(&id, manifest->unretired, manifest->manifest.unretired_count,
                   sizeof manifest->unretired[0], by_id) != NULL;
}

/* A segment without a manifest is part of the log if a later one knows of it: by what it lists. */
static void judge_by_successors(struct log_map *map)
{
    const struct log_segment *later = NULL;
    for (size_t i = map->count; i > 0; i--) {
        struct log_segment *segment = &map->segments[i - 1];
        if (segment->has_manifest) {
            later = segment;
        } else if (later != NULL) {
            segment->is_void = later->manifest.manifest.predecessor != segment->id &&
                               !lists(&later->manifest, segment->id);
        }
    }
}

static void set_ends(struct log_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct log_segment *segment = &map->segments[i];
        if (!segment->has_manifest) {
            continue;
        }
        struct log_segment *before = log_map_find(map, segment->manifest.manifest.predecessor);
        uint64_t end = segment->manifest.manifest.predecessor_length;
        if (before != NULL && before->id < segment->id) {
            before->end_known = true;
            before->end = end < before->size ? end : before->size;
        }
    }
}

enum status log_map_read(struct volume *volume, uint32_t first, struct log_map *out_map,
                         struct error *out_error)
{
    uint32_t *ids = NULL;
    size_t count = 0;
    struct log_map map = {0};
    enum status status = log_map_list(volume, &ids, &count, out_error);
    if (status != STATUS_OK || count == 0) {
        *out_map = map;
        return status;
    }
    map.segments = calloc(count, sizeof *map.segments);
    if (map.segments == NULL) {
        status = error_set(out_error, STATUS_NO_MEMORY, 0, volume->path, "reading the manifests");
    }
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        if (ids[i] < first) {
            continue;
        }
        bool settle = !volume->observed && count - i <= SETTLED_FILES;
        status = read_segment(volume, ids[i], settle, &map.segments[map.count], out_error);
        if (status == STATUS_NOT_FOUND && volume->observed) {
            status = STATUS_OK; /* unlinked since the directory was read */
            continue;
        }
        map.count += status == STATUS_OK;
    }
    free(ids);
    if (status != STATUS_OK) {
        log_map_free(&map);
        return status;
    }
    judge_by_successors(&map);
    set_ends(&map);
    *out_map = map;
    return STATUS_OK;
}

struct log_segment *log_map_find(const struct log_map *map, uint32_t id)
{
    for (size_t low = 0, high = map->count; low < high;) {
        size_t middle = low + (high - low) / 2;
        struct log_segment *segment = &map->segments[middle];
        if (segment->id == id) {
            return segment->is_void ? NULL : segment;
        }
        if (segment->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

struct log_segment *log_map_last(const struct log_map *map)
{
    for (size_t i = map->count; i > 0; i--) {
        if (!map->segments[i - 1].is_void) {
            return &map->segments[i - 1];
        }
    }
    return NULL;
}

struct log_segment *log_map_last_manifest(const struct log_map *map)
{
    for (size_t i = map->count; i > 0; i--) {
        if (!map->segments[i - 1].is_void && map->segments[i - 1].has_manifest) {
            return &map->segments[i - 1];
        }
    }
    return NULL;
}
