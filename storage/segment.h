/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that bytes are served from: segments (and blobs, which look the same to a reader). Each is
 * counted: whoever may still read it, a frozen view or a chunk on its way to a socket, holds a
 * reference, taken before an unlink can run; the descriptor is closed with the last one.
 */
#ifndef STORAGE_SEGMENT_H
#define STORAGE_SEGMENT_H

#include "io/status.h"
#include "storage/disk.h"

#include <stdatomic.h>
#include <stdint.h>

/* One open file. Counted by atomics: any thread may hold and release. */
struct segment {
    _Atomic uint32_t references;
    uint64_t id; /* segment number, or blob id */
    int fd;
    struct disk *disk;
};

/* One reference more, for somebody who has one. Any thread. */
void segment_hold(struct segment *segment);
/* Closes the file with the last reference; NULL is allowed. It fits a sendq_hold. */
void segment_release(void *segment);

/* The open segments of a volume, by id, opened when first asked for. Any thread; a mutex inside. */
struct segment_table;

/* An empty table over two directories, whose paths are copied. STATUS_NO_MEMORY. */
MUST_CHECK enum status segment_table_create(struct disk *disk, const char *segments_path,
                                            const char *blobs_path,
                                            struct segment_table **out_table,
                                            struct error *out_error);
/* Lets its own references go; readers keep theirs. NULLs. */
void segment_table_destroy(struct segment_table **table);

/* Returns a reference (the caller's) to segment `id`. STATUS_NOT_FOUND when the file is gone: the
 * record has been moved; look it up again. May open a file: fast, but not free. */
MUST_CHECK enum status segment_get(struct segment_table *table, uint32_t id,
                                   struct segment **out_segment, struct error *out_error);
/* The same for a blob. */
MUST_CHECK enum status segment_get_blob(struct segment_table *table, uint64_t blob,
                                        struct segment **out_segment, struct error *out_error);
/* Forgets it, so that the next get opens the file again or finds it gone; readers keep theirs. */
void segment_forget(struct segment_table *table, uint32_t id);
void segment_forget_blob(struct segment_table *table, uint64_t blob);

#define SEGMENT_PATH_MAX 512 /* octets with NUL */
/* "<segments>/00000001.seg", 8 hex digits */
void segment_path(const char *segments_path, uint32_t id, char out_path[SEGMENT_PATH_MAX]);
/* "<blobs>/ab/<16 hex digits>.blob", ab being the id's last two digits */
void segment_blob_path(const char *blobs_path, uint64_t blob, char out_path[SEGMENT_PATH_MAX]);

#endif
