/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/orphan.h"

#include "io/log.h"
#include "storage/index.h"
#include "storage/segment.h"
#include "storage/volume.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORPHAN_DIRECTORIES 256
#define BLOB_NAME_LENGTH   21 /* octets of "<16 hex digits>.blob" */

struct orphans {
    struct volume *volume;
    struct index_reader *reader;
    bool trusted;
    uint64_t moved, removed;
};

static bool parse_name(const char *name, uint64_t *out_blob)
{
    char *end;
    if (strlen(name) != BLOB_NAME_LENGTH || strcmp(name + 16, ".blob") != 0 ||
        strspn(name, "0123456789abcdef") != 16) {
        return false;
    }
    *out_blob = strtoull(name, &end, 16);
    return true;
}

static enum status is_orphan(struct orphans *orphans, uint64_t blob, bool *out_is)
{
    struct index_state state;
    struct index_file file;
    enum status status = index_begin(orphans->reader, &state);
    if (status != STATUS_OK) {
        return status;
    }
    status = index_blob(orphans->reader, blob, &file);
    index_end(orphans->reader);
    *out_is = status == STATUS_NOT_FOUND;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status clear_one(struct orphans *orphans, uint64_t blob, struct error *out_error)
{
    char path[SEGMENT_PATH_MAX], to[VOLUME_PATH_MAX + 64];
    struct disk *disk = orphans->volume->disk;
    segment_blob_path(orphans->volume->blobs_path, blob, path);
    if (orphans->trusted) {
        orphans->removed++;
        return disk_unlink(disk, path, out_error);
    }
    (void)snprintf(to, sizeof to, "%s/lost+found/%016llx.blob", orphans->volume->path,
                   (unsigned long long)blob); /* fits */
    orphans->moved++;
    return disk_rename(disk, path, to, out_error);
}

static enum status clear_directory(struct orphans *orphans, unsigned number,
                                   struct error *out_error)
{
    char path[SEGMENT_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%02x", orphans->volume->blobs_path, number); /* fits */
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return errno == ENOENT
                   ? STATUS_OK
                   : error_set(out_error, status_from_errno(errno), errno, path, "listing blobs");
    }
    enum status status = STATUS_OK;
    const struct dirent *entry;
    while (status == STATUS_OK && (entry = readdir(directory)) != NULL) {
        uint64_t blob;
        bool orphan = false;
        if (!parse_name(entry->d_name, &blob) || (blob & 0xff) != number) {
            continue;
        }
        status = is_orphan(orphans, blob, &orphan);
        if (status == STATUS_OK && orphan) {
            status = clear_one(orphans, blob, out_error);
        }
    }
    (void)closedir(directory); /* only read */
    return status;
}

static void report(const struct orphans *orphans)
{
    struct log_line line;
    log_begin(&line, orphans->moved > 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "blob_orphans");
    log_text(&line, "volume", orphans->volume->path);
    log_number(&line, "removed", (int64_t)orphans->removed);
    log_number(&line, "moved_to_lost_found", (int64_t)orphans->moved);
    log_end(&line);
}

enum status orphan_clear(struct volume *volume, bool trusted, uint64_t *out_moved,
                         struct error *out_error)
{
    struct orphans orphans = {.volume = volume, .trusted = trusted};
    enum status status = index_reader_create(volume->index, &orphans.reader);
    for (unsigned i = 0; i < ORPHAN_DIRECTORIES && status == STATUS_OK; i++) {
        status = clear_directory(&orphans, i, out_error);
    }
    index_reader_destroy(&orphans.reader);
    if (orphans.moved + orphans.removed > 0) {
        report(&orphans);
    }
    *out_moved = orphans.moved;
    return status;
}
