/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds a volume against itself: every checksum of log, blobs and index, the index against the log,
 * and the counts. The log is read from the first segment to the last into an index made for the
 * purpose, in a directory that is thrown away; that one is compared with the volume's own, row by
 * row. So memory stays small whatever the size of the volume, and the directory grows to the size
 * of an index. Nothing else of the volume is written.
 *
 * A volume that is open may go on working: the check reads up to the end of the log, brings its own
 * index up to a snapshot of the volume's, and compares with that. Blocking; a thread of its own.
 */
#ifndef STORAGE_CHECK_H
#define STORAGE_CHECK_H

#include "io/status.h"
#include "storage/damage.h"

#include <stdbool.h>
#include <stdint.h>

struct volume;
struct volume_config;

struct check_progress {
    uint64_t octets_done, octets_total; /* of log and blobs; the total may grow */
    const char *step;                   /* a word: "log", "blobs" or "index" */
};

struct check_options {
    uint64_t rate;       /* octets of the disk a second; 0: as fast as it goes */
    const char *scratch; /* an existing directory to work in; NULL: that of the volume */
    /* Now and then; false: stop. NULL: nobody asks. */
    bool (*on_progress)(void *owner, const struct check_progress *progress);
    /* Each finding, which is valid during the call. */
    void (*on_damage)(void *owner, const struct damage *damage);
    void *owner;
};

struct check_result {
    uint64_t segments, groups, records, bodies, blobs; /* of the log, verified */
    uint64_t octets;                                   /* of log and blobs read */
    uint64_t index_pages, maildrops, messages;         /* of the index, compared */
    uint64_t torn_octets; /* behind the end of the log: no part of it */
    uint64_t damages;     /* findings */
};

/*
 * A volume that nobody has open; it is locked meanwhile, not recovered. STATUS_OK: looked at all of
 * it. STATUS_CORRUPT: VOLUME itself is damaged or missing. STATUS_BUSY: somebody has it.
 * STATUS_CANCELLED, STATUS_NO_SPACE (for the directory), STATUS_IO, ...: could not check.
 */
MUST_CHECK enum status check_closed(const struct volume_config *config,
                                    const struct check_options *options,
                                    struct check_result *out_result, struct error *out_error);

/* A volume that is running. STATUS_READ_ONLY: its checkpointer has stopped. */
MUST_CHECK enum status check_running(struct volume *volume, const struct check_options *options,
                                     struct check_result *out_result, struct error *out_error);

#endif
