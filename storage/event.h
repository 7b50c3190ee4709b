/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a record means: the events it stands for. The writer asks for what it has just made durable,
 * recovery for what it reads back, so that both put the same into the delta and the index.
 *
 * A batch belongs to one thread; all zero is a valid empty one.
 */
#ifndef STORAGE_EVENT_H
#define STORAGE_EVENT_H

#include "io/mem.h"
#include "io/status.h"
#include "storage/delta.h"
#include "storage/record.h"

#include <stddef.h>
#include <stdint.h>

struct event_batch {
    struct delta_event *events; /* in log order */
    size_t count, capacity;
    struct mem_arena arena; /* what the events point to */
};

/*
 * Appends the events of one record: one for each recipient of a delivered or moved message, one for
 * each uid of an expunge, one for a maildrop change or a retired segment, none for the other kinds.
 * Only kind, flags, sequence, segment, offset, meta_length, body_length and body_checksum of
 * `header` are read. STATUS_NO_MEMORY; STATUS_CORRUPT: `meta` does not decode. On failure the batch
 * is as it was.
 */
MUST_CHECK enum status event_batch_add(struct event_batch *batch,
                                       const struct record_header *header, const uint8_t *meta);

/* Empties it for the next group, keeping the room. */
void event_batch_clear(struct event_batch *batch);
void event_batch_deinit(struct event_batch *batch);

#endif
