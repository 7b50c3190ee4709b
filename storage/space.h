/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free space, by arithmetic: what must stay free so that expunge, checkpoint and compaction still
 * work on a full disk, and the softer limit below which no new mail is begun. Any thread.
 */
#ifndef STORAGE_SPACE_H
#define STORAGE_SPACE_H

#include <stdbool.h>

struct volume;

#define SPACE_RECHECK_MS 1000 /* while space is low: how often somebody should look again */

/*
 * Asks how much is free. Sets volume->space_low below one and a half times the reserve and clears
 * it from twice the reserve on, with one log line a change. Returns whether less than the reserve
 * is free: then only what may use the reserve is written. When the question fails space counts as
 * there: the write itself will tell.
 */
bool space_check(struct volume *volume);

#endif
