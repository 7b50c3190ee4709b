/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying what is still needed of a segment to the end of the log, through the writer. Compaction's
 * thread only; blocking.
 */
#ifndef STORAGE_COMPACT_COPY_H
#define STORAGE_COMPACT_COPY_H

#include "io/post.h"
#include "io/status.h"
#include "storage/compact_plan.h"

#include <stdint.h>

struct compact_copied {
    uint64_t records, octets; /* appended */
    uint64_t damaged_offset;  /* of the body that does not match its checksum; 0: none did not */
};

/*
 * Copies by `plan`. When it answers STATUS_OK, all that is needed of the segment is durable
 * elsewhere, and shown there. STATUS_CORRUPT or STATUS_IO: part of the segment cannot be read; what
 * was copied before is harmless, the segment must stay. STATUS_AGAIN: too much has changed
 * meanwhile; later. STATUS_CANCELLED: the pacer said so. STATUS_NO_SPACE, STATUS_READ_ONLY,
 * STATUS_UNKNOWN: the writer's. `box` is the thread's own, empty but for messages that may be run.
 */
MUST_CHECK enum status compact_copy(struct compact_look *look, const struct compact_plan *plan,
                                    struct post_box *box, const struct compact_pacer *pacer,
                                    struct compact_copied *out_copied, struct error *out_error);

/* Appends the record that ends a segment, and waits for it. */
MUST_CHECK enum status compact_retire(struct volume *volume, uint32_t segment,
                                      struct post_box *box);

#endif
