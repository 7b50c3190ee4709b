/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads segments in order and applies what they say to an index. For recovery only; one thread.
 */
#ifndef STORAGE_REPLAY_H
#define STORAGE_REPLAY_H

#include "io/status.h"
#include "storage/event.h"
#include "storage/idset.h"
#include "storage/log_map.h"

#include <stdbool.h>
#include <stdint.h>

struct volume;

/* For who looks on; both may be NULL, and stop the replay by an answer other than STATUS_OK. */
struct replay_watch {
    /* A group that counts. */
    enum status (*on_group)(void *owner, struct scan *scan, const struct delta_group *group);
    /* Damage that was gone round, in place of a line in the log; `to` is not part of it. */
    enum status (*on_damage)(void *owner, struct scan *scan, uint64_t from, uint64_t to,
                             uint64_t records_saved);
    void *owner;
};

struct replay {
    struct volume *volume;
    struct replay_watch watch;
    unsigned apply_flags;    /* enum index_apply_flag */
    bool only_retired;       /* look for retired records, apply nothing and report nothing */
    uint64_t skip_sequence;  /* records up to it are in the index already */
    uint64_t until_sequence; /* records above it are read, not applied; 0: all are */
    /* The log went on at least to here, as an index knows: what is no group before it is damage and
     * no torn end. Segment 0: nobody knows. */
    struct log_position known;
    void (*on_progress)(void *owner, uint64_t done, uint64_t total); /* NULL: nobody asks */
    void *owner;
    uint64_t octets_done, octets_total;

    /* What came of it. */
    struct log_position reached; /* behind the last valid group */
    bool torn;                   /* something follows it that is no group */
    uint64_t last_sequence;      /* seen anywhere, in torn groups too */
    uint64_t groups, records, quarantined;
    struct idset retired; /* segments for which a retired record was met */

    struct event_batch batch;
    const struct delta_event **order;
    size_t order_capacity;
    uint64_t last_number, last_group_sequence; /* groups must be above both */
};

/* One segment, from `offset` on, which is a group's place. `last`: no other follows in the log. */
MUST_CHECK enum status replay_segment(struct replay *replay, const struct log_segment *segment,
                                      uint64_t offset, bool last, struct error *out_error);
/* Applies what is left in the batch, and stores the position reached, in any case. */
MUST_CHECK enum status replay_flush(struct replay *replay, struct error *out_error);
void replay_deinit(struct replay *replay);

/* The line in the log for damage that was gone round. */
void replay_report_damage(const struct volume *volume, const struct scan *scan, uint64_t from,
                          uint64_t to, uint64_t saved);

/* Which segments have been retired, by the records behind the newest manifest (which knows of all
 * that were retired before it). Adds to `retired`. */
MUST_CHECK enum status replay_find_retired(struct volume *volume, const struct log_map *map,
                                           struct idset *retired, struct error *out_error);

#endif
