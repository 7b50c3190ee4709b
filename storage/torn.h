/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A write that a crash cut off, or one that was whole and has been damaged since? Where the log
 * seems to end in something that is no group this is the question, and what was answered for hangs
 * on it. storage/README.md, "Torn or damaged", has the reasons. For recovery only; one thread.
 */
#ifndef STORAGE_TORN_H
#define STORAGE_TORN_H

#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct record_frame;
struct scan;

#define TORN_SECTOR 512 /* octets that reach a disk together, or not at all */

/*
 * Looks at what stands from `from` on, where a write began that is the last one of the segment.
 * `frame` is the frame of its group, or NULL when none is whole. Records of a sequence up to
 * `above` are leftovers of writes that had failed before, and prove nothing.
 *
 * `*out_torn`: it may have been cut off: it ends before its end, a sector is zero where no whole
 * record says that it has to be, or there is nothing of ours in it. Else it was written whole.
 */
MUST_CHECK enum status torn_look(struct scan *scan, uint64_t from, const struct record_frame *frame,
                                 uint64_t above, bool *out_torn, struct error *out_error);

#endif
