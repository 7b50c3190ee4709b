/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/reclaim.h"

#include "storage/checkpoint.h"
#include "storage/index.h"
#include "storage/segment.h"
#include "storage/volume.h"
#include "storage/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READING_WAIT_MS 2   /* reading a maildrop takes about that long */
#define BLOB_FOLDERS    256 /* by the last two digits of the id */

/* What one run unlinks. */
struct batch {
    uint64_t *segments, *blobs; /* found, then unlinked */
    size_t segment_count, blob_count;
    uint32_t reached; /* the segment that the index had come to */
};

void reclaim_deinit(struct reclaim *reclaim)
{
    free(reclaim->waiting);
    free(reclaim->gone);
    reclaim->waiting = NULL;
    reclaim->gone = NULL;
}

/* --- segments that are gone, and whose rows are not --- */

static bool is_gone(const struct reclaim *reclaim, uint64_t segment)
{
    for (size_t i = 0; i < reclaim->gone_count; i++) {
        if (reclaim->gone[i].segment == segment) {
            return true;
        }
    }
    return false;
}

static enum status reserve_gone(struct reclaim *reclaim, size_t count)
{
    if (reclaim->gone_capacity - reclaim->gone_count < count) {
        size_t capacity = (reclaim->gone_capacity + count) * 2;
        struct reclaim_gone *larger = realloc(reclaim->gone, capacity * sizeof *larger);
        if (larger == NULL) {
            return STATUS_NO_MEMORY;
        }
        reclaim->gone = larger;
        reclaim->gone_capacity = capacity;
    }
    return STATUS_OK;
}

/* Those that the newest manifest cannot list, for the index to forget; the others stay. */
static size_t take_gone(struct reclaim *reclaim, uint64_t *out_segments)
{
    uint32_t newest = writer_position(reclaim->volume->writer).segment;
    size_t taken = 0, kept = 0;
    for (size_t i = 0; i < reclaim->gone_count; i++) {
        if (reclaim->gone[i].after < newest) {
            out_segments[taken++] = reclaim->gone[i].segment;
        } else {
            reclaim->gone[kept++] = reclaim->gone[i];
        }
    }
    reclaim->gone_count = kept;
    return taken;
}

/* --- finding --- */

/* Retired, without references, and not in the writer's list: whatever the index says. */
static enum status keep_safe_segments(struct reclaim *reclaim, struct batch *batch)
{
    uint32_t *unretired = NULL, count = 0;
    size_t kept = 0;
    enum status status = writer_unretired(reclaim->volume->writer, &unretired, &count);
    for (size_t i = 0; i < batch->segment_count && status == STATUS_OK; i++) {
        struct index_file file;
        bool listed = false;
        for (uint32_t j = 0; j < count; j++) {
            listed = listed || unretired[j] == batch->segments[i];
        }
        status = index_segment(reclaim->reader, (uint32_t)batch->segments[i], &file);
        if (status == STATUS_OK && !listed && file.references == 0 &&
            !is_gone(reclaim, batch->segments[i])) {
            batch->segments[kept++] = batch->segments[i];
        }
    }
    batch->segment_count = kept;
    free(unretired);
    return status;
}

static enum status find(struct reclaim *reclaim, struct batch *batch)
{
    struct index_state state;
    uint64_t freed = index_freed_blobs(reclaim->volume->index);
    bool look = !reclaim->looked || freed != reclaim->freed_seen;
    enum status status = index_begin(reclaim->reader, &state);
    if (status != STATUS_OK) {
        return status;
    }
    batch->reached = state.position.segment;
    status = index_retired_segments(reclaim->reader, &batch->segments, &batch->segment_count);
    if (status == STATUS_OK && batch->segment_count > 0) {
        status = keep_safe_segments(reclaim, batch);
    }
    if (status == STATUS_OK && look && reclaim->waiting_count == 0) {
        free(reclaim->waiting);
        reclaim->waiting = NULL;
        status = index_free_blobs(reclaim->reader, &reclaim->waiting, &reclaim->waiting_count);
        reclaim->looked = true;
        reclaim->freed_seen = freed;
        if (status == STATUS_OK && reclaim->waiting_count > 0) {
            /* Whoever opens a maildrop from here on has seen their expunges. */
            pins_turn(&reclaim->volume->views);
        }
    }
    index_end(reclaim->reader);
    return status;
}

/* Nobody reads a maildrop whose index entries he took before the segments' messages were moved. */
static void await_readers(struct reclaim *reclaim)
{
    struct pins *reading = &reclaim->volume->reading;
    pins_turn(reading);
    while (!pins_drained(reading)) {
        (void)post_wait(reclaim->box, READING_WAIT_MS);
        (void)post_run(reclaim->box);
    }
}

/* --- unlinking --- */

static uint64_t size_of(struct segment *file)
{
    uint64_t size = 0;
    (void)!disk_file_size(file->fd, &size, NULL); /* a figure for people, 0 when it fails */
    return size;
}

/* Counts it in `count`. STATUS_OK also when a run before this one has unlinked it. */
static enum status unlink_file(struct reclaim *reclaim, struct segment *file, const char *path,
                               uint64_t *count, struct error *out_error)
{
    uint64_t size = file != NULL ? size_of(file) : 0;
    enum status status = disk_unlink(reclaim->volume->disk, path, out_error);
    if (status == STATUS_OK) {
        ++*count;
        reclaim->octets += size;
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status unlink_segment(struct reclaim *reclaim, uint32_t id, struct error *out_error)
{
    struct volume *volume = reclaim->volume;
    struct segment *file = NULL;
    char path[SEGMENT_PATH_MAX];
    segment_path(volume->segments_path, id, path);
    (void)!segment_get(volume->segments, id, &file, NULL); /* it is unlinked all the same */
    enum status status = unlink_file(reclaim, file, path, &reclaim->segments, out_error);
    segment_forget(volume->segments, id);
    segment_release(file);
    return status;
}

static enum status unlink_blob(struct reclaim *reclaim, uint64_t id, struct error *out_error)
{
    struct volume *volume = reclaim->volume;
    struct segment *file = NULL;
    char path[SEGMENT_PATH_MAX];
    segment_blob_path(volume->blobs_path, id, path);
    (void)!segment_get_blob(volume->segments, id, &file, NULL);
    enum status status = unlink_file(reclaim, file, path, &reclaim->blobs, out_error);
    segment_forget_blob(volume->segments, id);
    segment_release(file);
    return status;
}

static enum status unlink_segments(struct reclaim *reclaim, const struct batch *batch,
                                   struct error *out_error)
{
    enum status status = STATUS_OK;
    if (batch->segment_count == 0) {
        return STATUS_OK;
    }
    uint32_t newest = writer_position(reclaim->volume->writer).segment;
    status = reserve_gone(reclaim, batch->segment_count);
    if (status == STATUS_OK) {
        await_readers(reclaim);
    }
    for (size_t i = 0; i < batch->segment_count && status == STATUS_OK; i++) {
        status = unlink_segment(reclaim, (uint32_t)batch->segments[i], out_error);
    }
    if (status == STATUS_OK) {
        status =
            disk_sync_directory(reclaim->volume->disk, reclaim->volume->segments_path, out_error);
    }
    for (size_t i = 0; i < batch->segment_count && status == STATUS_OK; i++) {
        reclaim->gone[reclaim->gone_count++] =
            (struct reclaim_gone){.segment = batch->segments[i], .after = newest};
    }
    return status;
}

static enum status unlink_blobs(struct reclaim *reclaim, const struct batch *batch,
                                struct error *out_error)
{
    bool touched[BLOB_FOLDERS] = {false};
    enum status status = STATUS_OK;
    for (size_t i = 0; i < batch->blob_count && status == STATUS_OK; i++) {
        status = unlink_blob(reclaim, batch->blobs[i], out_error);
        touched[batch->blobs[i] % BLOB_FOLDERS] = true;
    }
    for (unsigned i = 0; i < BLOB_FOLDERS && status == STATUS_OK; i++) {
        char path[SEGMENT_PATH_MAX];
        if (!touched[i]) {
            continue;
        }
        int length = snprintf(path, sizeof path, "%s/%02x", reclaim->volume->blobs_path, i);
        (void)length; /* fits: a blob's path, which is longer, does */
        status = disk_sync_directory(reclaim->volume->disk, path, out_error);
        status = status == STATUS_NOT_FOUND ? STATUS_OK : status; /* with all that was in it */
    }
    return status;
}

/* --- all of it --- */

static enum status unlink_all(struct reclaim *reclaim, const struct batch *batch,
                              struct error *out_error)
{
    const struct index_forget nothing = {0};
    /* What the snapshot said one checkpoint has said; now a second one. */
    enum status status = checkpoint_settle(reclaim->volume->checkpoint, &nothing);
    if (status == STATUS_OK) {
        status = unlink_segments(reclaim, batch, out_error);
    }
    return status == STATUS_OK ? unlink_blobs(reclaim, batch, out_error) : status;
}

/* Has the index forget what is gone for good. */
static enum status forget(struct reclaim *reclaim, const struct batch *batch)
{
    struct index_forget gone = {.blobs = batch->blobs, .blob_count = batch->blob_count};
    uint64_t *segments = malloc((reclaim->gone_count + 1) * sizeof *segments);
    enum status status = STATUS_OK;
    if (segments == NULL) {
        return STATUS_NO_MEMORY;
    }
    gone.segments = segments;
    gone.segment_count = take_gone(reclaim, segments);
    if (gone.segment_count + gone.blob_count > 0) {
        status = checkpoint_settle(reclaim->volume->checkpoint, &gone);
    }
    free(segments);
    return status;
}

enum status reclaim_run(struct reclaim *reclaim, struct error *out_error)
{
    struct batch batch = {0};
    enum status status = find(reclaim, &batch);
    if (status == STATUS_OK && reclaim->waiting_count > 0 &&
        pins_drained(&reclaim->volume->views)) {
        batch.blobs = reclaim->waiting;
        batch.blob_count = reclaim->waiting_count;
    }
    if (status == STATUS_OK && batch.segment_count + batch.blob_count > 0) {
        status = unlink_all(reclaim, &batch, out_error);
    }
    if (status == STATUS_OK) {
        status = forget(reclaim, &batch);
    }
    if (status == STATUS_OK) {
        reclaim->reached = batch.reached;
    }
    if (status == STATUS_OK && batch.blob_count > 0) {
        free(reclaim->waiting);
        reclaim->waiting = NULL;
        reclaim->waiting_count = 0;
    }
    free(batch.segments);
    return status;
}
