/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an index still knows where the log is damaged. A rebuild goes by the log; where a record
 * cannot be read any more, the old index may have the message's row, its octets may well be whole,
 * and an expunge that was lost must not bring a message back. The old index is read without LMDB,
 * around its own damaged pages. For recovery only; one thread.
 */
#ifndef STORAGE_SALVAGE_H
#define STORAGE_SALVAGE_H

#include "io/status.h"
#include "storage/idset.h"
#include "storage/index.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct volume;

/* A damaged part of the log. */
struct salvage_place {
    uint32_t segment;
    uint64_t from, to; /* octets of the segment; `to` is not part of it */
};

struct salvage {
    struct index_state state; /* of the old index; all zero: it is not there, or not readable */
    bool older;               /* that of its last commit but one: the last one's is not readable */
    bool whole;               /* nothing of the old index is damaged */
    struct salvage_place *places;
    size_t count, capacity;
    struct idset missing; /* segments that are not there */
};

/* How far the volume's index, which nobody has open, has come. All zero when that cannot be read,
 * or when it is another volume's. `*out_older`: what the last commit says of it cannot be read, and
 * this is the one before. */
void salvage_state(const struct volume *volume, struct index_state *out_state, bool *out_older);

/* Notes a damaged place. STATUS_NO_MEMORY. */
MUST_CHECK enum status salvage_note(struct salvage *salvage, uint32_t segment, uint64_t from,
                                    uint64_t to);

/*
 * At the end of a rebuild, before index_finish_rebuild: takes over into volume->index what the old
 * index at volume->index_path knows of the places noted. `position` is stored with it. `*out_kept`:
 * messages.
 */
MUST_CHECK enum status salvage_run(struct salvage *salvage, struct volume *volume,
                                   const struct log_position *position, uint64_t *out_kept,
                                   struct error *out_error);
void salvage_deinit(struct salvage *salvage);

#endif
