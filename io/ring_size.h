/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large a ring is asked for, and what smaller one when locked memory is short. Pure; private to
 * io/.
 */
#ifndef IO_RING_SIZE_H
#define IO_RING_SIZE_H

#include "io/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct ring_size {
    uint32_t sq_entries, cq_entries;       /* powers of two */
    uint32_t stream_buffers, bulk_buffers; /* provided buffers of the two groups */
};

/* What a loop of this configuration asks for. */
struct ring_size ring_size_wanted(const struct loop_config *config);

/* Enough to find out whether a ring can be made at all. */
struct ring_size ring_size_smallest(void);

/* Octets of locked memory such a ring takes, roughly: what decides whether waiting for some to come
 * back can help. */
uint64_t ring_size_locked(const struct ring_size *size);

/* Makes it half as large; false when it is as small as it may be. */
bool ring_size_halve(struct ring_size *size);

#endif
