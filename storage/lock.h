/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has which maildrop: a table in memory, sharded. A lock is known by a token that is never used
 * twice, so that one that was taken over cannot release its successor's. Any thread.
 */
#ifndef STORAGE_LOCK_H
#define STORAGE_LOCK_H

#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct lock_table;

/* STATUS_NO_MEMORY. */
MUST_CHECK enum status lock_table_create(struct lock_table **out_table);
void lock_table_destroy(struct lock_table **table); /* NULL inside is allowed; NULLs */

/* STATUS_BUSY: another has it; with `takeover`, only while that one is committing.
 * STATUS_NO_MEMORY. */
MUST_CHECK enum status lock_acquire(struct lock_table *table, uint64_t maildrop, bool takeover,
                                    uint64_t *out_token);

/* Whether `token` still has it. */
bool lock_held(struct lock_table *table, uint64_t maildrop, uint64_t token);

/* From here on it cannot be taken over, until it is released. STATUS_LOST: it has been already. */
MUST_CHECK enum status lock_pin(struct lock_table *table, uint64_t maildrop, uint64_t token);

/* Harmless when it has been taken over. */
void lock_release(struct lock_table *table, uint64_t maildrop, uint64_t token);

#endif
