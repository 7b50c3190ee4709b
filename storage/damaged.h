/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a volume that are known to be damaged: found by a read that is verified, by the
 * scrubber, by a check or by compaction. A fetch of one is refused without looking; all else of its
 * maildrop works as ever. Any thread; a mutex inside, which nobody takes while the list is empty.
 */
#ifndef STORAGE_DAMAGED_H
#define STORAGE_DAMAGED_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DAMAGED_MAX 10000 /* remembered; those above are only logged */

struct damaged;

/* One message of one maildrop. */
struct damaged_message {
    uint64_t maildrop, uid;
    uint32_t segment;
    uint64_t offset;  /* of its octets in the segment; 0 in a blob */
    uint64_t blob;    /* or 0 */
    int64_t since_ms; /* UNIX milliseconds */
};

/* STATUS_NO_MEMORY. */
MUST_CHECK enum status damaged_create(struct damaged **out_damaged);
void damaged_destroy(struct damaged **damaged); /* NULL inside is allowed; NULLs */

/* Remembers it, now when since_ms is 0. Whether it is news. */
bool damaged_add(struct damaged *damaged, const struct damaged_message *message);
/* Forgets a message: it has been healed, or is gone. */
void damaged_remove(struct damaged *damaged, uint64_t maildrop, uint64_t uid);

/* Whether the octets at a place are known to be damaged, whoever's they are. */
bool damaged_at(struct damaged *damaged, uint32_t segment, uint64_t offset, uint64_t blob);
uint64_t damaged_count(const struct damaged *damaged);
/* Counts every change: for who keeps a copy. */
uint64_t damaged_version(const struct damaged *damaged);

/* Copies from number `first` on, in the order they were found; returns how many. */
size_t damaged_list(struct damaged *damaged, size_t first, struct damaged_message *out,
                    size_t count);

#endif
