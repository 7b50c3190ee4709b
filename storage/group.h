/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One group on its way to the log: the records that share a write and a sync, turned into a list of
 * octets to write and the events they will be. Belongs to the writer's thread; its room is kept
 * from group to group, so that a record costs no allocation.
 */
#ifndef STORAGE_GROUP_H
#define STORAGE_GROUP_H

#include "io/status.h"
#include "storage/event.h"
#include "storage/record.h"
#include "storage/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* All zero is a valid empty group. */
struct group {
    struct writer_item **items; /* in log order */
    unsigned count, capacity;
    uint64_t octets; /* of the records in `items` */
    struct {
        struct iovec *iov;
        size_t count, capacity;
    } out;
    struct {
        uint8_t *data; /* manifest, frame, headers and small metas, copied */
        size_t length, capacity;
    } head;
    struct event_batch events;
};

/* Where the group is to stand. */
struct group_place {
    const struct checksum_key *key;
    uint32_t segment;
    uint64_t offset; /* of the manifest, or of the frame when there is none */
    uint64_t number;
    uint64_t sequence;                      /* of the manifest, or of the first record */
    const struct record_manifest *manifest; /* NULL: the segment has one */
    const uint32_t *unretired;
};

/* Adds an item. False: the group is full, or memory is short; what is in it is a good group. A
 * first item, however large, is only refused for want of memory. */
bool group_add(struct group *group, struct writer_item *item);

/*
 * Numbers the items and makes the octets: `out.iov` is then what to write at `place->offset`, and
 * `*out_place` says where it stands. Items whose meta does not decode are taken out and listed in
 * `*out_rejected` by message.next, with STATUS_INVALID; the group may end up empty.
 * STATUS_NO_MEMORY: nothing has been numbered.
 */
MUST_CHECK enum status group_encode(struct group *group, const struct group_place *place,
                                    struct delta_group *out_place,
                                    struct writer_item **out_rejected);

/* Empties it for the next group. The items are not touched. */
void group_clear(struct group *group);
void group_deinit(struct group *group);

/* Octets that an item takes in the log. */
uint64_t group_item_octets(const struct writer_item *item);

#endif
