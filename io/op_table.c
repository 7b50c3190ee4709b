/* SPDX-License-Identifier: Apache-2.0 */
#include "io/op_table.h"

#include "io/io_limits.h"

#include <assert.h>
#include <stdlib.h>

#define GENERATION_MASK 0x3fffffffu /* what is left of a name beside the slot's 32 bits */

struct op_slot {
    struct loop_op *op; /* NULL: free, and next_free counts */
    uint32_t generation;
    uint32_t next_free;
};

void op_table_deinit(struct op_table *table)
{
    free(table->slots);
    *table = (struct op_table){0};
}

static bool grow(struct op_table *table)
{
    uint32_t count = table->count == 0 ? LOOP_SLOTS_FIRST : table->count * 2;
    struct op_slot *grown = realloc(table->slots, count * sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    for (uint32_t i = table->count; i < count; i++) {
        grown[i] = (struct op_slot){.next_free = i + 1};
    }
    table->free = table->count;
    table->slots = grown;
    table->count = count;
    return true;
}

bool op_table_put(struct op_table *table, struct loop_op *op)
{
    if (table->free == table->count && !grow(table)) {
        return false;
    }
    struct op_slot *slot = &table->slots[table->free];
    op->own.slot = table->free;
    table->free = slot->next_free;
    slot->op = op;
    return true;
}

void op_table_remove(struct op_table *table, const struct loop_op *op)
{
    struct op_slot *slot = &table->slots[op->own.slot];
    assert(slot->op == op);
    slot->op = NULL;
    slot->generation = (slot->generation + 1) & GENERATION_MASK;
    slot->next_free = table->free;
    table->free = op->own.slot;
}

uint64_t op_table_name(const struct op_table *table, const struct loop_op *op)
{
    return (uint64_t)table->slots[op->own.slot].generation << 32 | op->own.slot;
}

struct loop_op *op_table_find(const struct op_table *table, uint64_t name)
{
    uint32_t index = (uint32_t)name;
    if (index >= table->count || table->slots[index].generation != name >> 32) {
        return NULL;
    }
    return table->slots[index].op;
}
