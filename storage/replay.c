/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/replay.h"

#include "io/log.h"
#include "storage/index.h"
#include "storage/scan.h"
#include "storage/torn.h"
#include "storage/volume.h"

#include <stdlib.h>

void replay_deinit(struct replay *replay)
{
    event_batch_deinit(&replay->batch);
    idset_deinit(&replay->retired);
    free(replay->order);
    replay->order = NULL;
}

/* --- applying --- */

static enum status note_retired(struct replay *replay)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < replay->batch.count && status == STATUS_OK; i++) {
        const struct delta_event *event = &replay->batch.events[i];
        if (event->kind == DELTA_SEGMENT_RETIRED && event->uid != 0) {
            status = idset_add(&replay->retired, event->uid);
        }
    }
    return status;
}

static enum status order_events(struct replay *replay, size_t *out_count)
{
    size_t count = 0;
    if (replay->batch.count > replay->order_capacity) {
        free(replay->order);
        replay->order_capacity = replay->batch.capacity;
        replay->order = malloc(replay->order_capacity * sizeof(const struct delta_event *));
        if (replay->order == NULL) {
            replay->order_capacity = 0;
            return STATUS_NO_MEMORY;
        }
    }
    for (size_t i = 0; i < replay->batch.count; i++) {
        uint64_t sequence = replay->batch.events[i].sequence;
        if (sequence > replay->skip_sequence &&
            (replay->until_sequence == 0 || sequence <= replay->until_sequence)) {
            replay->order[count++] = &replay->batch.events[i];
        }
    }
    delta_sort(replay->order, count);
    *out_count = count;
    return STATUS_OK;
}

enum status replay_flush(struct replay *replay, struct error *out_error)
{
    size_t count = 0;
    enum status status = note_retired(replay);
    if (status == STATUS_OK && !replay->only_retired) {
        status = order_events(replay, &count);
        if (status == STATUS_OK) {
            status = index_apply(replay->volume->index, replay->order, count, &replay->reached,
                                 replay->apply_flags);
        }
    }
    event_batch_clear(&replay->batch);
    return status == STATUS_OK ? status
                               : error_set(out_error, status, 0, replay->volume->index_path,
                                           "bringing the index up to the log");
}

static enum status flush_when_full(struct replay *replay, struct error *out_error)
{
    return replay->batch.count >= STORAGE_CHECKPOINT_EVENTS ? replay_flush(replay, out_error)
                                                            : STATUS_OK;
}

/* --- damage --- */

void replay_report_damage(const struct volume *volume, const struct scan *scan, uint64_t from,
                          uint64_t to, uint64_t saved)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_ERROR, "log_damaged");
    log_text(&line, "volume", volume->path);
    log_number(&line, "segment", scan->segment);
    log_number(&line, "offset", (int64_t)from);
    log_number(&line, "octets", (int64_t)(to - from));
    log_number(&line, "records_saved", (int64_t)saved);
    log_text(&line, "text", "part of the log does not match its checksums; the rest is served");
    log_end(&line);
}

/* What was durable once and is damaged now: whole records in it count, those of a sequence above
 * `above`; the rest is gone round. */
static enum status quarantine(struct replay *replay, struct scan *scan, uint64_t from, uint64_t to,
                              uint64_t above, struct error *out_error)
{
    uint64_t saved, last_sequence;
    enum status status =
        scan_salvage(scan, from, to, above, &replay->batch, &saved, &last_sequence, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    if (replay->watch.on_damage != NULL) {
        status = replay->watch.on_damage(replay->watch.owner, scan, from, to, saved);
    } else if (!replay->only_retired) {
        replay_report_damage(replay->volume, scan, from, to, saved);
    }
    if (status != STATUS_OK) {
        return status;
    }
    replay->quarantined++;
    replay->records += saved;
    if (last_sequence > replay->last_sequence) {
        replay->last_sequence = last_sequence;
    }
    if (last_sequence > replay->last_group_sequence) {
        replay->last_group_sequence = last_sequence;
    }
    return flush_when_full(replay, out_error);
}

static bool in_order(const struct replay *replay, const struct record_frame *frame)
{
    return frame->number > replay->last_number &&
           frame->first_sequence > replay->last_group_sequence;
}

/* The next frame that can be part of the log: leftovers of failed groups have lower numbers. */
static enum status search(struct replay *replay, struct scan *scan, uint64_t offset,
                          struct record_frame *out_frame, struct error *out_error)
{
    enum status status;
    do {
        status = scan_search(scan, offset, out_frame, out_error);
        offset = out_frame->offset + 1;
    } while (status == STATUS_OK && !in_order(replay, out_frame));
    return status;
}

/* Whether somebody knows that the log went on behind `offset`. */
static bool is_known(const struct replay *replay, const struct scan *scan, uint64_t offset)
{
    return offset < scan->end &&
           (replay->known.segment > scan->segment ||
            (replay->known.segment == scan->segment && offset < replay->known.offset));
}

/* What a record at `offset` must be above: what is not was written before all of this, by a group
 * that failed. */
static uint64_t sequence_before(const struct replay *replay, const struct record_frame *frame)
{
    if (frame != NULL) {
        return frame->first_sequence - 1;
    }
    return replay->last_group_sequence > replay->skip_sequence ? replay->last_group_sequence
                                                               : replay->skip_sequence;
}

/* Damage up to `end`, behind which the log goes on, if it does. `frame`: of the group there, if
 * that is whole. */
static enum status go_on_at(struct replay *replay, struct scan *scan, uint64_t offset, uint64_t end,
                            const struct record_frame *frame, struct error *out_error)
{
    uint64_t above = sequence_before(replay, frame);
    replay->reached.offset = end; /* or the damage would be no part of the log from now on */
    enum status status = quarantine(replay, scan, offset, end, above, out_error);
    if (frame != NULL) {
        replay->last_number = frame->number;
        replay->last_group_sequence = frame->first_sequence + frame->record_count - 1;
    }
    if (replay->last_group_sequence > replay->reached.sequence) {
        replay->reached.sequence = replay->last_group_sequence;
    }
    return status;
}

/*
 * Nothing valid follows `offset`, and nobody knows of anything there. Either a group was written
 * whole and has been damaged since, or it was cut off, and the log ends here: STATUS_EOF.
 */
static enum status judge_end(struct replay *replay, struct scan *scan,
                             const struct log_segment *segment, uint64_t offset,
                             uint64_t *out_offset, struct error *out_error)
{
    struct record_frame found;
    const struct record_frame *frame = NULL;
    uint64_t begin = segment->has_manifest && offset == segment->start ? 0 : offset;
    bool torn = true;
    enum status status = scan_frame(scan, offset, &found, out_error);
    if (status == STATUS_OK && in_order(replay, &found)) {
        frame = &found;
    }
    if (status == STATUS_OK || status == STATUS_CORRUPT) {
        status = torn_look(scan, begin, frame, sequence_before(replay, frame), &torn, out_error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (torn) {
        replay->torn = true;
        return STATUS_EOF;
    }
    *out_offset = frame != NULL ? offset + RECORD_FRAME_SIZE + frame->length : scan->end;
    return go_on_at(replay, scan, offset, *out_offset, frame, out_error);
}

/*
 * No valid group at `offset`. With a valid frame behind it, or a later segment that says that the
 * log went on here, or a whole write there, it is damage: `*out_offset` is where to go on.
 * Otherwise the log ends here.
 */
static enum status go_round(struct replay *replay, struct scan *scan,
                            const struct log_segment *segment, bool last, uint64_t offset,
                            uint64_t *out_offset, struct error *out_error)
{
    struct record_frame frame = {0};
    uint64_t above = sequence_before(replay, NULL);
    enum status status = search(replay, scan, offset + 1, &frame, out_error);
    if (status == STATUS_OK) {
        *out_offset = frame.offset;
        return quarantine(replay, scan, offset, frame.offset, above, out_error);
    }
    if (status != STATUS_NOT_FOUND) {
        return status;
    }
    if (!last && segment->end_known) {
        *out_offset = scan->end;
        return quarantine(replay, scan, offset, scan->end, above, out_error);
    }
    if (is_known(replay, scan, offset)) {
        bool within = replay->known.segment == scan->segment && replay->known.offset < scan->end;
        *out_offset = within ? replay->known.offset : scan->end;
        return go_on_at(replay, scan, offset, *out_offset, NULL, out_error);
    }
    return judge_end(replay, scan, segment, offset, out_offset, out_error);
}

/* --- walking --- */

/* Those before the last group of the log were durable before the next one was begun. */
static bool is_followed(struct scan *scan, const struct record_frame *frame)
{
    struct record_frame next;
    uint64_t end = frame->offset + RECORD_FRAME_SIZE + frame->length;
    return end < scan->end && scan_frame(scan, end, &next, NULL) == STATUS_OK;
}

static void accept(struct replay *replay, const struct record_frame *frame,
                   const struct delta_group *group)
{
    replay->reached = (struct log_position){
        .segment = group->segment, .offset = group->end, .sequence = group->last_sequence};
    replay->last_number = frame->number;
    replay->last_group_sequence = group->last_sequence;
    if (group->last_sequence > replay->last_sequence) {
        replay->last_sequence = group->last_sequence;
    }
    replay->groups++;
    replay->records += frame->record_count;
}

/* The last group of the log is all or nothing, bodies too: nobody has been answered for it if any
 * of it is missing. A body that was there and has been damaged since costs no more than itself. */
static enum status read_last(struct replay *replay, struct scan *scan,
                             const struct record_frame *frame, struct delta_group *out_group,
                             struct error *out_error)
{
    bool torn = true;
    enum status status = scan_group(scan, frame, true, &replay->batch, out_group, out_error);
    if (status != STATUS_CORRUPT) {
        return status;
    }
    status =
        torn_look(scan, frame->offset, frame, sequence_before(replay, frame), &torn, out_error);
    if (status == STATUS_OK) {
        status = torn ? STATUS_CORRUPT
                      : scan_group(scan, frame, false, &replay->batch, out_group, out_error);
    }
    return status;
}

/* One group. STATUS_OK: it counts. STATUS_CORRUPT: there is none. STATUS_EOF: the segment's end. */
static enum status read_group(struct replay *replay, struct scan *scan, bool last, uint64_t offset,
                              struct delta_group *out_group, struct error *out_error)
{
    struct record_frame frame;
    enum status status = scan_frame(scan, offset, &frame, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    if (!in_order(replay, &frame)) {
        return STATUS_CORRUPT;
    }
    if (last && !is_known(replay, scan, offset) && !is_followed(scan, &frame)) {
        status = read_last(replay, scan, &frame, out_group, out_error);
    } else {
        status = scan_group(scan, &frame, false, &replay->batch, out_group, out_error);
    }
    if (status == STATUS_OK) {
        accept(replay, &frame, out_group);
    } else if (status == STATUS_CORRUPT) {
        /* Torn or damaged, its sequences have been given out. */
        uint64_t spent = frame.first_sequence + frame.record_count - 1;
        replay->last_sequence = spent > replay->last_sequence ? spent : replay->last_sequence;
    }
    return status;
}

static enum status walk(struct replay *replay, struct scan *scan, const struct log_segment *segment,
                        bool last, uint64_t offset, struct error *out_error)
{
    for (;;) {
        struct delta_group group;
        enum status status = read_group(replay, scan, last, offset, &group, out_error);
        if (status == STATUS_OK) {
            offset = group.end;
            status = replay->watch.on_group != NULL
                         ? replay->watch.on_group(replay->watch.owner, scan, &group)
                         : STATUS_OK;
            if (status == STATUS_OK) {
                status = flush_when_full(replay, out_error);
            }
        } else if (status == STATUS_CORRUPT) {
            status = go_round(replay, scan, segment, last, offset, &offset, out_error);
        } else if (status == STATUS_UNSUPPORTED) {
            (void)error_set(out_error, status, 0, replay->volume->segments_path,
                            "segment %08x was written by a newer version", scan->segment);
        }
        if (status != STATUS_OK) {
            return status == STATUS_EOF ? STATUS_OK : status;
        }
        if (replay->on_progress != NULL && !replay->only_retired) {
            replay->on_progress(replay->owner, replay->octets_done + offset, replay->octets_total);
        }
    }
}

enum status replay_segment(struct replay *replay, const struct log_segment *segment,
                           uint64_t offset, bool last, struct error *out_error)
{
    struct scan scan;
    enum status status = scan_open(replay->volume, segment->id, &scan, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    scan.end = segment->end;
    if (!segment->has_manifest && offset == 0 && !replay->only_retired) {
        if (replay->watch.on_damage == NULL) {
            replay_report_damage(replay->volume, &scan, 0, RECORD_HEADER_SIZE, 0);
        } /* else the quarantine tells: without a manifest no group begins at offset 0 */
        replay->quarantined++;
    }
    if (segment->manifest.sequence > replay->last_sequence) {
        replay->last_sequence = segment->manifest.sequence;
    }
    replay->torn = false;
    uint64_t start = segment->start;
    if (replay->reached.segment != segment->id || replay->reached.offset < start) {
        replay->reached = (struct log_position){.segment = segment->id,
                                                .offset = offset > start ? offset : start,
                                                .sequence = replay->reached.sequence};
    }
    status = walk(replay, &scan, segment, last, offset > start ? offset : start, out_error);
    replay->octets_done += segment->end;
    scan_close(&scan);
    return status;
}

enum status replay_find_retired(struct volume *volume, const struct log_map *map,
                                struct idset *retired, struct error *out_error)
{
    const struct log_segment *newest = log_map_last_manifest(map);
    const struct log_segment *last = log_map_last(map);
    struct replay scout = {.volume = volume, .only_retired = true, .retired = *retired};
    enum status status = STATUS_OK;
    for (size_t i = 0; i < map->count && status == STATUS_OK; i++) {
        const struct log_segment *segment = &map->segments[i];
        if (!segment->is_void && newest != NULL && segment->id >= newest->id) {
            status = replay_segment(&scout, segment, 0, segment == last, out_error);
        }
    }
    if (status == STATUS_OK) {
        status = replay_flush(&scout, out_error);
    }
    *retired = scout.retired;
    scout.retired = (struct idset){0};
    replay_deinit(&scout);
    return status;
}
