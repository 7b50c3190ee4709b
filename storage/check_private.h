/* SPDX-License-Identifier: Apache-2.0 */
/* One check in progress: what the check*.c files share. Owned by the thread that checks. */
#ifndef STORAGE_CHECK_PRIVATE_H
#define STORAGE_CHECK_PRIVATE_H

#include "storage/check.h"
#include "storage/idset.h"
#include "storage/index.h"
#include "storage/index_format.h"
#include "storage/log_map.h"
#include "storage/replay.h"
#include "storage/volume.h"

#define CHECK_PLACES_MAX \
    65536 /* damaged places that messages are looked for in; more are only told */

#define CHECK_FORGET_BATCH 1024       /* messages forgotten in one transaction */
#define CHECK_HELD_OCTETS  (1u << 20) /* of log that may be read while compaction is held, if ... */
#define CHECK_PASSES_MAX   16         /* ... so many passes without holding it come that near */

/* A damaged part of a segment. */
struct check_place {
    uint32_t segment;
    bool is_body; /* one record, whose body is damaged */
    uint64_t from, to;
};

struct check {
    const struct check_options *options;
    struct check_result result;
    struct error *out_error;
    struct volume *live;     /* NULL: nobody has it open */
    struct volume shadow;    /* the volume as the log's readers see it, with an index of ours */
    struct log_position end; /* what is behind it is not looked at; segment 0: all is */
    struct replay replay;
    struct idset gone;   /* segments that are retired, or were unlinked under our eyes */
    uint32_t *unretired; /* of a running volume, as of the snapshot: all others are gone, too. NULL
                           * before that */
    uint32_t unretired_count;
    uint64_t written;     /* octets that the writer had written when `end` was set */
    bool holds;           /* the running volume's compaction */
    struct idset missing; /* segments that should be there */
    struct idset blobs_seen, blobs_bad;
    struct index_state state; /* of the volume's index */
    struct check_place *places;
    size_t place_count, place_capacity;
    struct delta_event *forget; /* room for CHECK_FORGET_BATCH */
    size_t forget_count;
    bool log_damaged; /* what the log says is not all that was written: counts say nothing */
    bool index_damaged;
    struct check_progress progress;
    int64_t started_us, told_us;
    uint64_t paced; /* octets read since started_us */
};

/* Waits as the rate wants it and tells how far it is. STATUS_CANCELLED: stop. */
MUST_CHECK enum status check_pace(struct check *check, uint64_t octets);
/* Counts a finding and tells it. */
void check_report(struct check *check, const struct damage *damage);

/* check_log.c: reads what of the log has not been read, up to check->end, into the shadow's index.
 */
MUST_CHECK enum status check_log(struct check *check);
/* Reads what a running volume has written meanwhile, again and again, until little is left or it
 * becomes no less: the rest is read while compaction is held. */
MUST_CHECK enum status check_log_on(struct check *check);
/* Has `check->end` be where the log of a running volume ends now. */
void check_set_end(struct check *check);
/* Whether a segment is no part of the log any more. */
bool check_is_gone(const struct check *check, uint32_t segment);
/* Removes from the shadow's index what stands in segments that are gone: an expunge of it may have
 * been dropped since. */
MUST_CHECK enum status check_forget_gone(struct check *check);
/* Verifies the blobs that the shadow's index knows messages of. */
MUST_CHECK enum status check_blobs(struct check *check);
/* Whether a row's octets are among the damaged bodies, or its record in a damaged place. */
bool check_in_damage(const struct check *check, const struct message_entry *entry, bool body);

/* check_index.c: the volume's own index against that of the shadow. */
MUST_CHECK enum status check_index(struct check *check);

#endif
