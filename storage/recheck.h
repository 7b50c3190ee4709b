/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What compaction appends was true when it asked the index; whether it still is, the writer asks
 * the delta when it forms the group. So no record that lists a message stands in a later group than
 * an expunge of it, which is what lets expunges go with their segment (storage/README.md).
 */
#ifndef STORAGE_RECHECK_H
#define STORAGE_RECHECK_H

#include <stdbool.h>

struct delta;
struct writer_item;

/* False: a message of a moved record has been expunged, a maildrop has been removed, or (a changed
 * record) named anew, since `item->checked_to`; or the delta cannot tell any more. True for all
 * other kinds. The writer only. */
bool recheck_item(struct delta *delta, const struct writer_item *item);

#endif
