/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blob files that no record names: what a crash left of a delivery. For recovery only.
 */
#ifndef STORAGE_ORPHAN_H
#define STORAGE_ORPHAN_H

#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct volume;

/*
 * Looks at every blob file. One that the index has never counted is removed when `trusted`, or else
 * moved to lost+found/: where the log is damaged, the record that names it may be among what was
 * lost.
 */
MUST_CHECK enum status orphan_clear(struct volume *volume, bool trusted, uint64_t *out_moved,
                                    struct error *out_error);

#endif
