/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of 64-bit ids other than 0. One thread at a time; all zero is a valid empty set.
 */
#ifndef STORAGE_IDSET_H
#define STORAGE_IDSET_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idset {
    uint64_t *slots; /* open addressing; 0 is free */
    size_t mask, count;
};

/* STATUS_OK also when it is there already. STATUS_NO_MEMORY. */
MUST_CHECK enum status idset_add(struct idset *set, uint64_t id);
bool idset_has(const struct idset *set, uint64_t id);
void idset_remove(struct idset *set, uint64_t id); /* harmless when it is not there */
void idset_deinit(struct idset *set);

#endif
