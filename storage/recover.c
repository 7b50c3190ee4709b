/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/recover.h"

#include "io/log.h"
#include "storage/index.h"
#include "storage/log_map.h"
#include "storage/orphan.h"
#include "storage/replay.h"
#include "storage/salvage.h"
#include "storage/volume.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One recovery in progress. */
struct recover {
    struct volume *volume;
    const struct recover_options *options;
    struct log_map map;
    struct replay replay;
    struct index_state state; /* of the index that was found; zero for a rebuild */
    uint64_t *retired;        /* segments that the index knows as retired, ascending */
    size_t retired_count;
    struct salvage *salvage; /* of a rebuild; NULL */
    struct error *out_error;
};

void recover_free(struct recovery *recovery)
{
    free(recovery->unretired);
    recovery->unretired = NULL;
}

static void deinit(struct recover *recover)
{
    replay_deinit(&recover->replay);
    log_map_free(&recover->map);
    free(recover->retired);
    recover->retired = NULL;
}

static void report_rebuild(const struct volume *volume, const char *why)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARNING, "index_rebuild");
    log_text(&line, "volume", volume->path);
    log_text(&line, "why", why);
    log_end(&line);
}

/* --- the index there is --- */

static enum status open_index(struct volume *volume, const char *path, struct error *out_error)
{
    struct index_config config = {.path = path,
                                  .map_size = volume->config.map_size,
                                  .check_max = volume->config.index_check_max,
                                  .volume_id = volume->identity.id};
    return index_open(&config, &volume->index, out_error);
}

static enum status read_index(struct recover *recover)
{
    struct index_reader *reader = NULL;
    enum status status = index_reader_create(recover->volume->index, &reader);
    if (status == STATUS_OK) {
        status = index_begin(reader, &recover->state);
        if (status == STATUS_OK) {
            status = index_retired_segments(reader, &recover->retired, &recover->retired_count);
            index_end(reader);
        }
    }
    index_reader_destroy(&reader);
    return status;
}

/* Whether a segment is gone that the replay would have to read: the log has been compacted since
 * this index was current. What stood in it lives on elsewhere, but not in a replay from here. */
static bool has_hole(const struct log_map *map, uint32_t from)
{
    for (size_t i = 0; i < map->count; i++) {
        const struct log_segment *segment = &map->segments[i];
        uint32_t before = segment->manifest.manifest.predecessor;
        if (!segment->is_void && segment->has_manifest && segment->id > from && before >= from &&
            log_map_find(map, before) == NULL) {
            return true;
        }
    }
    return false;
}

/* Why the index cannot be brought up to the log, or NULL. */
static const char *useless(const struct recover *recover)
{
    const struct log_position *position = &recover->state.position;
    if (!recover->state.stored) {
        return recover->map.count > 0 ? "there is no index" : NULL;
    }
    if (position->segment == 0) {
        return NULL; /* made before there was any log */
    }
    const struct log_segment *segment = log_map_find(&recover->map, position->segment);
    if (segment == NULL) {
        return "the segment that the index reached is missing";
    }
    if (position->offset > segment->end) {
        return "the log ends before the place that the index reached";
    }
    if (has_hole(&recover->map, position->segment)) {
        return "a segment behind the place that the index reached is missing";
    }
    return NULL;
}

/* --- what is not retired --- */

static int by_number(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static bool is_retired(const struct recover *recover, uint32_t id)
{
    uint64_t wide = id;
    return idset_has(&recover->replay.retired, id) ||
           (recover->retired_count > 0 && bsearch(&wide, recover->retired, recover->retired_count,
                                                  sizeof wide, by_number) != NULL);
}

static void report_missing(const struct volume *volume, uint32_t id)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_ERROR, "segment_missing");
    log_text(&line, "volume", volume->path);
    log_number(&line, "segment", id);
    log_text(&line, "text", "a segment that is not retired is gone; its messages are lost");
    log_end(&line);
}

/* The newest manifest is damaged, and the one taken in its place is older than the index. What that
 * one lists, is not there, and has no row, has been retired, unlinked and forgotten since. */
static bool is_forgotten(const struct recover *recover, const struct log_segment *newest,
                         uint32_t id)
{
    struct index_reader *reader = NULL;
    struct index_state state;
    struct index_file file;
    bool forgotten = false;
    if (recover->salvage != NULL || newest->id >= recover->state.position.segment ||
        index_reader_create(recover->volume->index, &reader) != STATUS_OK) {
        return false;
    }
    if (index_begin(reader, &state) == STATUS_OK) {
        forgotten = index_segment(reader, id, &file) == STATUS_NOT_FOUND;
        index_end(reader);
    }
    index_reader_destroy(&reader);
    return forgotten;
}

/* What the newest manifest lists and what came after it, without what has been retired since. */
static enum status list_unretired(struct recover *recover, struct recovery *recovery)
{
    const struct log_map *map = &recover->map;
    const struct log_segment *newest = log_map_last_manifest(map);
    size_t listed = newest != NULL ? newest->manifest.manifest.unretired_count : 0;
    uint32_t *ids = NULL;
    size_t id_count = 0, count = 0;
    enum status status = log_map_list(recover->volume, &ids, &id_count, recover->out_error);
    if (status != STATUS_OK) {
        return status;
    }
    recovery->unretired = malloc((listed + map->count + 1) * sizeof(uint32_t));
    if (recovery->unretired == NULL) {
        free(ids);
        return error_set(recover->out_error, STATUS_NO_MEMORY, 0, NULL, "recovering");
    }
    size_t next = 0;
    for (size_t i = 0; i < listed; i++) {
        uint32_t id = newest->manifest.unretired[i];
        while (next < id_count && ids[next] < id) {
            next++;
        }
        if (is_retired(recover, id)) {
            continue;
        }
        if (next < id_count && ids[next] == id) {
            recovery->unretired[count++] = id;
        } else if (!is_forgotten(recover, newest, id)) {
            report_missing(recover->volume, id);
            recovery->quarantined++;
            if (recover->salvage != NULL &&
                idset_add(&recover->salvage->missing, id) != STATUS_OK) {
                status = STATUS_NO_MEMORY;
            }
        }
    }
    uint32_t reached = recover->salvage != NULL ? recover->salvage->state.position.segment : 0;
    if (status == STATUS_OK && reached > (newest != NULL ? newest->id : 0) &&
        log_map_find(map, reached) == NULL && !is_retired(recover, reached) &&
        !idset_has(&recover->salvage->missing, reached)) {
        /* The newest one: no manifest lists it, but the index has been there. (One older than the
         * newest manifest, which does not list it, has been retired: the index is an old one.) */
        report_missing(recover->volume, reached);
        recovery->quarantined++;
        status = idset_add(&recover->salvage->missing, reached);
    }
    for (size_t i = 0; i < map->count; i++) {
        const struct log_segment *segment = &map->segments[i];
        bool is_newer = newest == NULL || segment->id >= newest->id;
        if (is_newer && !segment->is_void && !is_retired(recover, segment->id)) {
            recovery->unretired[count++] = segment->id;
        }
    }
    recovery->unretired_count = (uint32_t)count;
    recovery->next_segment = id_count > 0 ? ids[id_count - 1] + 1 : 1;
    free(ids);
    return status == STATUS_OK ? status
                               : error_set(recover->out_error, status, 0, NULL, "recovering");
}

/* --- replaying --- */

/* The normal way: from the stored position on. */
static enum status replay_rest(struct recover *recover)
{
    const struct log_position *position = &recover->state.position;
    const struct log_segment *last = log_map_last(&recover->map);
    recover->replay.reached = *position;
    recover->replay.skip_sequence = position->sequence;
    recover->replay.last_sequence = position->sequence;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < recover->map.count && status == STATUS_OK; i++) {
        const struct log_segment *segment = &recover->map.segments[i];
        if (segment->is_void || segment->id < position->segment) {
            continue; /* an older one is there for its manifest only */
        }
        uint64_t offset = segment->id == position->segment ? position->offset : 0;
        status =
            replay_segment(&recover->replay, segment, offset, segment == last, recover->out_error);
    }
    return status;
}

static bool is_listed(const struct recovery *recovery, uint32_t id)
{
    for (uint32_t i = 0; i < recovery->unretired_count; i++) {
        if (recovery->unretired[i] == id) {
            return true;
        }
    }
    return false;
}

/* What is gone round may still be known to the index there was. */
static enum status on_damage(void *owner, struct scan *scan, uint64_t from, uint64_t to,
                             uint64_t records_saved)
{
    const struct recover *recover = owner;
    replay_report_damage(recover->volume, scan, from, to, records_saved);
    return salvage_note(recover->salvage, scan->segment, from, to);
}

/* All of the log that is not retired. A retired segment must not be read: an expunge of what stands
 * in it may have been dropped since. */
static enum status replay_all(struct recover *recover, const struct recovery *recovery)
{
    const struct log_segment *last = log_map_last(&recover->map);
    struct replay *replay = &recover->replay;
    replay->apply_flags = INDEX_APPLY_REBUILD;
    replay->on_progress = recover->options->on_progress;
    replay->owner = recover->options->owner;
    replay->known = recover->salvage->state.position;
    replay->watch = (struct replay_watch){.on_damage = on_damage, .owner = recover};
    for (size_t i = 0; i < recover->map.count; i++) {
        if (is_listed(recovery, recover->map.segments[i].id)) {
            replay->octets_total += recover->map.segments[i].end;
        }
    }
    enum status status = STATUS_OK;
    for (size_t i = 0; i < recover->map.count && status == STATUS_OK; i++) {
        const struct log_segment *segment = &recover->map.segments[i];
        if (is_listed(recovery, segment->id)) {
            status = replay_segment(replay, segment, 0, segment == last, recover->out_error);
        }
    }
    return status;
}

/* --- what the writer must know --- */

static void set_result(struct recover *recover, struct recovery *recovery)
{
    const struct replay *replay = &recover->replay;
    const struct log_segment *last = log_map_last(&recover->map);
    /* Above all that was ever given out, also by a run that left no trace in the log. */
    uint64_t spent = replay->last_sequence > recover->state.next_sequence
                         ? replay->last_sequence
                         : recover->state.next_sequence;
    spent += STORAGE_GROUP_RECORDS_MAX; /* by a group of which nothing can be read any more */
    recovery->next_sequence = (spent / STORAGE_SEQUENCE_STEP + 1) * STORAGE_SEQUENCE_STEP;
    /* A group has at least one sequence, so that group numbers never get above sequences. */
    recovery->next_group = recovery->next_sequence;
    recovery->groups = replay->groups;
    recovery->quarantined += replay->quarantined;
    recovery->predecessor = replay->reached;
    for (size_t i = 0; i < recover->map.count; i++) {
        recovery->log_octets += recover->map.segments[i].size;
    }
    bool whole = last != NULL && !replay->torn && last->id == replay->reached.segment &&
                 replay->reached.offset == last->size;
    /* One that is not listed has been retired: nothing more is written to it. */
    if (whole && last->has_manifest && is_listed(recovery, last->id)) {
        recovery->tail = replay->reached;
    }
}

/* --- rebuilding --- */

static void index_file(const char *directory, const char *name, char out_path[VOLUME_PATH_MAX + 32])
{
    (void)stpcpy(stpcpy(stpcpy(out_path, directory), "/"), name); /* fits: see the callers' sizes */
}

/* Removes an index directory that is not open. Missing is fine. */
static enum status remove_index(struct volume *volume, const char *directory,
                                struct error *out_error)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "data.mdb.new", "damaged",
                                        "damaged.tmp"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[VOLUME_PATH_MAX + 32];
        index_file(directory, names[i], path);
        enum status status = disk_unlink(volume->disk, path, out_error);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
    }
    (void)rmdir(directory); /* empty, or not there, or in the way of the rename, which will tell */
    return STATUS_OK;
}

/* Puts the new index in the place of the old one. After a crash in between there is none: that is a
 * reason to rebuild, too. */
static enum status swap_index(struct volume *volume, const char *new_path, struct error *out_error)
{
    char old_path[VOLUME_PATH_MAX + 8];
    (void)stpcpy(stpcpy(old_path, volume->index_path), ".old");
    enum status status = remove_index(volume, old_path, out_error);
    if (status == STATUS_OK) {
        status = disk_rename(volume->disk, volume->index_path, old_path, out_error);
    }
    if (status == STATUS_OK) {
        status = disk_rename(volume->disk, new_path, volume->index_path, out_error);
    }
    if (status == STATUS_OK) {
        status = disk_sync_directory(volume->disk, volume->path, out_error);
    }
    return status == STATUS_OK ? remove_index(volume, old_path, out_error) : status;
}

static enum status fill_new_index(struct recover *recover, struct recovery *recovery)
{
    enum status status = replay_find_retired(recover->volume, &recover->map,
                                             &recover->replay.retired, recover->out_error);
    if (status == STATUS_OK) {
        status = list_unretired(recover, recovery);
    }
    if (status == STATUS_OK) {
        status = replay_all(recover, recovery);
    }
    if (status == STATUS_OK) {
        set_result(recover, recovery);
        index_set_next_sequence(recover->volume->index, recovery->next_sequence);
        status = replay_flush(&recover->replay, recover->out_error);
    }
    if (status == STATUS_OK) {
        status = salvage_run(recover->salvage, recover->volume, &recover->replay.reached,
                             &recovery->kept, recover->out_error);
    }
    if (status == STATUS_OK) {
        status = index_finish_rebuild(recover->volume->index);
    }
    return status;
}

/* `spent`: the highest sequence that the old index knew of, which the log may not have any more. */
static enum status rebuild(struct volume *volume, const struct recover_options *options,
                           const char *why, uint64_t spent, struct recovery *recovery,
                           struct error *out_error)
{
    char path[VOLUME_PATH_MAX + 8];
    struct salvage salvage = {0};
    struct recover recover = {.volume = volume,
                              .options = options,
                              .replay = {.volume = volume},
                              .salvage = &salvage,
                              .out_error = out_error};
    (void)stpcpy(stpcpy(path, volume->index_path), ".new");
    report_rebuild(volume, why);
    index_close(&volume->index);
    salvage_state(volume, &salvage.state, &salvage.older);
    recover.state.next_sequence =
        spent > salvage.state.next_sequence ? spent : salvage.state.next_sequence;
    recover_free(recovery);
    *recovery = (struct recovery){.rebuilt = true};
    enum status status = remove_index(volume, path, out_error);
    if (status == STATUS_OK) {
        status = disk_mkdir(volume->disk, path, 0700, out_error);
    }
    if (status == STATUS_OK) {
        status = log_map_read(volume, 0, &recover.map, out_error);
    }
    if (status == STATUS_OK) {
        status = open_index(volume, path, out_error);
    }
    if (status == STATUS_OK) {
        status = fill_new_index(&recover, recovery);
    }
    index_close(&volume->index);
    if (status == STATUS_OK) {
        status = swap_index(volume, path, out_error);
    }
    deinit(&recover);
    salvage_deinit(&salvage);
    return status == STATUS_OK ? open_index(volume, volume->index_path, out_error) : status;
}

/* --- the normal way --- */

static enum status bring_up(struct recover *recover, struct recovery *recovery)
{
    enum status status = replay_rest(recover);
    if (status == STATUS_OK) {
        /* Once for the events, among them segments that have been retired ... */
        status = replay_flush(&recover->replay, recover->out_error);
    }
    if (status == STATUS_OK) {
        status = list_unretired(recover, recovery);
    }
    if (status == STATUS_OK) {
        /* ... and once for what the writer will begin with. */
        set_result(recover, recovery);
        index_set_next_sequence(recover->volume->index, recovery->next_sequence);
        status = replay_flush(&recover->replay, recover->out_error);
    }
    return status;
}

/* What crashed rebuilds and checks have left. */
static enum status remove_leftovers(struct volume *volume, struct error *out_error)
{
    static const char *const suffixes[] = {".new", ".old", ".check"};
    enum status status = STATUS_OK;
    for (size_t i = 0; i < 3 && status == STATUS_OK; i++) {
        char path[VOLUME_PATH_MAX + 8];
        (void)stpcpy(stpcpy(path, volume->index_path), suffixes[i]);
        status = remove_index(volume, path, out_error);
    }
    return status;
}

/* The scrubber reads the pages that an open does not, and leaves a note when one is damaged. It
 * goes with the index that it is about. */
static bool is_known_damaged(struct volume *volume)
{
    char path[VOLUME_PATH_MAX + 32];
    int fd = -1;
    index_file(volume->index_path, "damaged", path);
    enum status status = disk_open(volume->disk, path, O_RDONLY, 0, &fd, NULL);
    disk_close(volume->disk, &fd);
    return status == STATUS_OK;
}

/*
 * The log from the index's position on. Which segments are not retired says the newest manifest.
 * When none is left that is whole, because that of the newest segment is damaged, an older one must
 * do: else the next manifest would list none of the older segments, and a rebuild not read them.
 */
static enum status read_map(struct recover *recover, struct recovery *recovery)
{
    struct volume *volume = recover->volume;
    uint32_t first = recover->state.position.segment;
    enum status status = log_map_read(volume, first, &recover->map, recover->out_error);
    const struct log_segment *damaged = log_map_find(&recover->map, first);
    if (status != STATUS_OK || damaged == NULL || log_map_last_manifest(&recover->map) != NULL) {
        return status;
    }
    struct scan scan = {.segment = damaged->id};
    replay_report_damage(volume, &scan, 0, RECORD_HEADER_SIZE, 0);
    recovery->quarantined++;
    log_map_free(&recover->map);
    return log_map_read(volume, 0, &recover->map, recover->out_error);
}

/* Tries the index there is. `*out_why`: it cannot be used, and why; then the status says nothing.
 */
static enum status recover_index(struct recover *recover, struct recovery *recovery,
                                 const char **out_why)
{
    *out_why = NULL;
    enum status status =
        open_index(recover->volume, recover->volume->index_path, recover->out_error);
    if (status == STATUS_OK) {
        status = read_index(recover);
    }
    if (status == STATUS_OK) {
        status = read_map(recover, recovery);
        if (status != STATUS_OK) {
            return status;
        }
        *out_why = useless(recover);
        if (*out_why != NULL) {
            return STATUS_CORRUPT;
        }
        status = bring_up(recover, recovery);
    }
    if (status == STATUS_CORRUPT) {
        *out_why = "the index is damaged, or of another volume";
    } else if (status == STATUS_UNSUPPORTED && recover->map.segments == NULL) {
        *out_why = "the index has another version";
    }
    return status;
}

static void report(const struct volume *volume, const struct recovery *recovery)
{
    struct log_line line;
    log_begin(&line, recovery->quarantined > 0 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "recovered");
    log_text(&line, "volume", volume->path);
    log_number(&line, "groups", (int64_t)recovery->groups);
    log_number(&line, "segments", recovery->unretired_count);
    log_text(&line, "rebuilt", recovery->rebuilt ? "yes" : "no");
    log_number(&line, "damaged_places", (int64_t)recovery->quarantined);
    log_number(&line, "kept_of_old_index", (int64_t)recovery->kept);
    log_number(&line, "lost_blobs", (int64_t)recovery->lost_blobs);
    log_end(&line);
}

enum status recover_run(struct volume *volume, const struct recover_options *options,
                        struct recovery *out_recovery, struct error *out_error)
{
    struct recover recover = {
        .volume = volume, .options = options, .replay = {.volume = volume}, .out_error = out_error};
    const char *why = options->rebuild ? "it was asked for" : NULL;
    *out_recovery = (struct recovery){0};
    enum status status = remove_leftovers(volume, out_error);
    if (status == STATUS_OK && why == NULL && is_known_damaged(volume)) {
        why = "the scrubber found a damaged page";
    }
    if (status == STATUS_OK && why == NULL) {
        status = recover_index(&recover, out_recovery, &why);
    }
    bool quiet = recover.state.clean && recover.replay.groups == 0 && why == NULL;
    uint64_t spent = recover.state.next_sequence > recover.state.position.sequence
                         ? recover.state.next_sequence
                         : recover.state.position.sequence;
    deinit(&recover);
    if (why != NULL) {
        status = rebuild(volume, options, why, spent, out_recovery, out_error);
    }
    if (status == STATUS_OK && !quiet) {
        status = orphan_clear(volume, out_recovery->quarantined == 0, &out_recovery->lost_blobs,
                              out_error);
    }
    if (status == STATUS_OK) {
        report(volume, out_recovery);
    }
    return status;
}
