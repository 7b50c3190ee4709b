/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for operations that a kernel has been given: a slot and that slot's generation, which
 * changes each time the slot is given back. A late answer for an operation that is gone therefore
 * finds nothing, whatever has taken its memory or its slot since. Private to io/; loop's thread.
 */
#ifndef IO_OP_TABLE_H
#define IO_OP_TABLE_H

#include "io/loop.h"

#include <stdbool.h>
#include <stdint.h>

#define OP_TABLE_NAME_BITS 62 /* a name leaves the two highest bits to the user of the table */

struct op_slot;

/* All zero is a valid empty table. */
struct op_table {
    struct op_slot *slots;
    uint32_t count;
    uint32_t free; /* first of the chain of free slots; `count` for none */
};

/* Frees the table; what was in it is forgotten. */
void op_table_deinit(struct op_table *table);

/* Gives `op` a slot, in own.slot. False when there is no memory for a larger table. */
bool op_table_put(struct op_table *table, struct loop_op *op);

/* Gives the slot back; the name it had finds nothing any more. */
void op_table_remove(struct op_table *table, const struct loop_op *op);

/* The name of an `op` that is in the table; below 2^OP_TABLE_NAME_BITS. */
uint64_t op_table_name(const struct op_table *table, const struct loop_op *op);

/* The operation with that name, or NULL. */
struct loop_op *op_table_find(const struct op_table *table, uint64_t name);

#endif
