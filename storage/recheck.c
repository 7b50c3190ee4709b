/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/recheck.h"

#include "storage/delta.h"
#include "storage/record.h"

static bool recheck_moved(struct delta *delta, const struct writer_item *item)
{
    struct record_delivered moved;
    struct record_recipient recipient;
    size_t cursor = 0;
    enum status status = record_decode_delivered(item->meta, item->meta_length, &moved);
    while (status == STATUS_OK) {
        status = record_next_recipient(item->meta, item->meta_length, &cursor, &recipient);
        if (status == STATUS_OK &&
            delta_since(delta, recipient.maildrop, moved.uid, item->checked_to) != DELTA_PRESENT) {
            return false;
        }
    }
    return true; /* one that does not decode is refused when it is encoded */
}

static bool recheck_name(struct delta *delta, const struct writer_item *item)
{
    uint64_t maildrop;
    struct record_bytes name;
    enum status status = record_decode_drop(item->meta, item->meta_length, &maildrop, &name);
    return status != STATUS_OK ||
           delta_since(delta, maildrop, 0, item->checked_to) == DELTA_PRESENT;
}

bool recheck_item(struct delta *delta, const struct writer_item *item)
{
    switch (item->kind) {
    case RECORD_MOVED:
        return recheck_moved(delta, item);
    case RECORD_DROP_CHANGED:
        return recheck_name(delta, item);
    default:
        return true;
    }
}
