/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files are the log: the segments there are, what their manifests say of one another, and so
 * where each begins and ends. For recovery only; one thread.
 */
#ifndef STORAGE_LOG_MAP_H
#define STORAGE_LOG_MAP_H

#include "io/status.h"
#include "storage/scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct volume;

struct log_segment {
    uint32_t id;
    uint64_t size;  /* of the file */
    uint64_t start; /* of the first group; 0 when the manifest is damaged */
    uint64_t end;   /* what is behind it is no part of the log */
    bool end_known; /* a later manifest says so */
    bool has_manifest;
    bool is_void; /* made ahead, or its first group was never durable: no part of the log */
    struct scan_manifest manifest;
};

struct log_map {
    struct log_segment *segments; /* ascending by id */
    size_t count;
};

/* Reads the manifests of all segments from `first` on. The newest files are synced and read from
 * the disk: what is found there will be found again after a power cut. */
MUST_CHECK enum status log_map_read(struct volume *volume, uint32_t first, struct log_map *out_map,
                                    struct error *out_error);
void log_map_free(struct log_map *map);

/* NULL when there is no such file, or it is void. */
struct log_segment *log_map_find(const struct log_map *map, uint32_t id);
/* The newest that is not void, and the newest that also has a manifest; NULL: none. */
struct log_segment *log_map_last(const struct log_map *map);
struct log_segment *log_map_last_manifest(const struct log_map *map);

/* The ids of all segment files, ascending; freed by the caller. NULL when there are none. */
MUST_CHECK enum status log_map_list(struct volume *volume, uint32_t **out_ids, size_t *out_count,
                                    struct error *out_error);

#endif
