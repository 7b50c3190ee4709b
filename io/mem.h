/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arenas (many small things of one life time, freed in one call) and pools (many things of one
 * size, recycled). Neither is shared: each belongs to one thread.
 */
#ifndef IO_MEM_H
#define IO_MEM_H

#include "io/status.h"

#include <stddef.h>
#include <stdint.h>

struct mem_block;

/* A session's arena. All zero is a valid empty arena; it takes no memory until first used. */
struct mem_arena {
    struct mem_block *blocks; /* newest first */
    size_t block_size;        /* octets of the next block; 0 means the default of 1 KiB */
};

/* `size` octets, aligned for any type, not zeroed; NULL when memory is short. They live until
 * mem_arena_clear. A request larger than a block gets a block of its own. */
void *mem_arena_alloc(struct mem_arena *arena, size_t size);

/* A NUL-terminated copy of `length` octets, or NULL. */
char *mem_arena_copy(struct mem_arena *arena, const void *data, size_t length);

/* Frees everything the arena gave out; the arena is empty again and usable. */
void mem_arena_clear(struct mem_arena *arena);

/* Items of one size. `keep_max` free items are kept for reuse, the rest go back to the allocator.
 */
struct mem_pool {
    size_t item_size;
    uint32_t keep_max;
    uint32_t free_count;
    uint32_t used_count; /* given out and not yet returned */
    void *free_items;
};

/* Readies an empty pool. */
void mem_pool_init(struct mem_pool *pool, size_t item_size, uint32_t keep_max);

/* Frees the kept items. Every item must have been returned (asserted). */
void mem_pool_deinit(struct mem_pool *pool);

/* One item, not zeroed, or NULL when memory is short. */
void *mem_pool_get(struct mem_pool *pool);

/* Returns an item; NULL is allowed. */
void mem_pool_put(struct mem_pool *pool, void *item);

/*
 * Has the allocator give freed memory back to the kernel MEM_DECAY_MS after it was last used, by a
 * thread of its own: without one it looks at what it holds only when it is called, so that a server
 * that falls idle after a storm keeps the storm's memory. Once, early, by the thread whose limits
 * (privileges, sandbox) that thread is to inherit. Without such an allocator, as under sanitizers,
 * nothing happens.
 */
void mem_give_back(void);

/* Overwrites `size` octets so that the compiler cannot drop it: for secrets. */
void mem_wipe(void *data, size_t size);

#endif
