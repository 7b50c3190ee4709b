/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/idset.h"

#include <assert.h>
#include <stdlib.h>

#define IDSET_FIRST 64 /* slots, a power of two */

static size_t home_of(const struct idset *set, uint64_t id)
{
    return (id * 0x9e3779b97f4a7c15u >> 20) & set->mask;
}

static size_t slot_of(const struct idset *set, uint64_t id)
{
    size_t slot = home_of(set, id);
    while (set->slots[slot] != 0 && set->slots[slot] != id) {
        slot = (slot + 1) & set->mask;
    }
    return slot;
}

static enum status grow(struct idset *set)
{
    size_t slots = set->slots == NULL ? IDSET_FIRST : (set->mask + 1) * 2;
    struct idset grown = {
        .slots = calloc(slots, sizeof(uint64_t)), .mask = slots - 1, .count = set->count};
    if (grown.slots == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; set->slots != NULL && i <= set->mask; i++) {
        if (set->slots[i] != 0) {
            grown.slots[slot_of(&grown, set->slots[i])] = set->slots[i];
        }
    }
    free(set->slots);
    *set = grown;
    return STATUS_OK;
}

enum status idset_add(struct idset *set, uint64_t id)
{
    assert(id != 0);
    if (set->slots == NULL || set->count * 2 > set->mask) {
        enum status status = grow(set);
        if (status != STATUS_OK) {
            return status;
        }
    }
    size_t slot = slot_of(set, id);
    if (set->slots[slot] == 0) {
        set->slots[slot] = id;
        set->count++;
    }
    return STATUS_OK;
}

bool idset_has(const struct idset *set, uint64_t id)
{
    return set->count > 0 && set->slots[slot_of(set, id)] == id;
}

void idset_remove(struct idset *set, uint64_t id)
{
    if (!idset_has(set, id)) {
        return;
    }
    size_t hole = slot_of(set, id), next = hole;
    set->count--;
    /* Move up whatever a look-up would no longer reach past the hole. */
    for (;;) {
        set->slots[hole] = 0;
        do {
            next = (next + 1) & set->mask;
            if (set->slots[next] == 0) {
                return;
            }
        } while (((next - home_of(set, set->slots[next])) & set->mask) <
                 ((next - hole) & set->mask));
        set->slots[hole] = set->slots[next];
        hole = next;
    }
}

void idset_deinit(struct idset *set)
{
    free(set->slots);
    *set = (struct idset){0};
}
