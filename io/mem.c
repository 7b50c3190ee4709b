/* SPDX-License-Identifier: Apache-2.0 */
#include "io/mem.h"

#include "io/io_limits.h"

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define ARENA_ALIGN alignof(max_align_t)

struct mem_block {
    struct mem_block *older;
    size_t used, capacity; /* octets of data */
    alignas(max_align_t) unsigned char data[];
};

static struct mem_block *block_create(struct mem_arena *arena, size_t capacity)
{
    struct mem_block *block = malloc(sizeof *block + capacity);
    if (block != NULL) {
        block->used = 0;
        block->capacity = capacity;
        block->older = arena->blocks;
        arena->blocks = block;
    }
    return block;
}

void *mem_arena_alloc(struct mem_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size = (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    struct mem_block *block = arena->blocks;
    if (block == NULL || block->capacity - block->used < size) {
        size_t next = arena->block_size != 0 ? arena->block_size : MEM_ARENA_BLOCK_FIRST;
        block = block_create(arena, size > next ? size : next);
        if (block == NULL) {
            return NULL;
        }
        /* Doubling keeps the number of blocks small however much one session asks for. */
        arena->block_size = next < MEM_ARENA_BLOCK_MAX ? next * 2 : next;
    }
    void *place = block->data + block->used;
    block->used += size;
    return place;
}

char *mem_arena_copy(struct mem_arena *arena, const void *data, size_t length)
{
    if (length == SIZE_MAX) {
        return NULL;
    }
    char *copy = mem_arena_alloc(arena, length + 1);
    if (copy != NULL) {
        if (length > 0) {
            memcpy(copy, data, length);
        }
        copy[length] = '\0';
    }
    return copy;
}

void mem_arena_clear(struct mem_arena *arena)
{
    struct mem_block *block = arena->blocks;
    while (block != NULL) {
        struct mem_block *older = block->older;
        free(block);
        block = older;
    }
    arena->blocks = NULL;
    arena->block_size = 0;
}

void mem_pool_init(struct mem_pool *pool, size_t item_size, uint32_t keep_max)
{
    memset(pool, 0, sizeof *pool);
    pool->item_size = item_size < sizeof(void *) ? sizeof(void *) : item_size;
    pool->keep_max = keep_max;
}

void mem_pool_deinit(struct mem_pool *pool)
{
    assert(pool->used_count == 0);
    while (pool->free_items != NULL) {
        void *item = pool->free_items;
        memcpy(&pool->free_items, item, sizeof pool->free_items);
        free(item);
    }
    pool->free_count = 0;
}

void *mem_pool_get(struct mem_pool *pool)
{
    void *item = pool->free_items;
    if (item != NULL) {
        memcpy(&pool->free_items, item, sizeof pool->free_items);
        pool->free_count--;
    } else {
        item = malloc(pool->item_size);
        if (item == NULL) {
            return NULL;
        }
    }
    pool->used_count++;
    return item;
}

void mem_pool_put(struct mem_pool *pool, void *item)
{
    if (item == NULL) {
        return;
    }
    assert(pool->used_count > 0);
    pool->used_count--;
    if (pool->free_count >= pool->keep_max) {
        free(item);
        return;
    }
    /* The newest returned is given out first: it is still in the processor's cache. */
    memcpy(item, &pool->free_items, sizeof pool->free_items);
    pool->free_items = item;
    pool->free_count++;
}

/* jemalloc's, where it is linked: everything it can be told goes through this one function. */
__attribute__((weak)) int mallctl(const char *name, void *old, size_t *old_size, void *value,
                                  size_t size);

void mem_give_back(void)
{
    if (mallctl == NULL) {
        return;
    }
    /* Its defaults, for arenas to come and for the main thread's. What it refuses stays as it was,
     * which costs memory and nothing else. */
    static const char *const decays[] = {"arenas.dirty_decay_ms", "arena.0.dirty_decay_ms"};
    ssize_t decay_ms = MEM_DECAY_MS;
    for (size_t i = 0; i < sizeof decays / sizeof decays[0]; i++) {
        (void)mallctl(decays[i], NULL, NULL, &decay_ms, sizeof decay_ms);
    }
    bool on = true;
    (void)mallctl("background_thread", NULL, NULL, &on, sizeof on);
}

void mem_wipe(void *data, size_t size)
{
    explicit_bzero(data, size);
}
