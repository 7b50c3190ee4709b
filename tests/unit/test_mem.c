/* SPDX-License-Identifier: Apache-2.0 */
#include "io/mem.h"

#include "io/io_limits.h"

#include <criterion/criterion.h>
#include <stdalign.h>
#include <string.h>

Test(mem, an_arena_gives_aligned_memory_that_does_not_overlap)
{
    struct mem_arena arena = {0};
    unsigned char *places[300];
    for (unsigned i = 0; i < 300; i++) {
        size_t size = i * 7 % 200 + 1;
        places[i] = mem_arena_alloc(&arena, size);
        cr_assert_not_null(places[i]);
        cr_assert_eq((uintptr_t)places[i] % alignof(max_align_t), 0);
        memset(places[i], (int)i, size);
    }
    for (unsigned i = 0; i < 300; i++) {
        for (size_t at = 0; at < i * 7 % 200 + 1; at++) {
            cr_assert_eq(places[i][at], (unsigned char)i);
        }
    }
    mem_arena_clear(&arena);
    cr_assert_null(arena.blocks);
}

Test(mem, an_empty_arena_takes_no_memory_and_is_usable_after_a_clear)
{
    struct mem_arena arena = {0};
    mem_arena_clear(&arena);
    cr_assert_null(arena.blocks);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_not_null(mem_arena_alloc(&arena, 10));
        mem_arena_clear(&arena);
    }
}

Test(mem, an_arena_gives_more_than_a_block)
{
    struct mem_arena arena = {0};
    unsigned char *large = mem_arena_alloc(&arena, 1000000);
    cr_assert_not_null(large);
    memset(large, 1, 1000000);
    cr_assert_not_null(mem_arena_alloc(&arena, 0));
    mem_arena_clear(&arena);
}

Test(mem, an_arena_refuses_what_cannot_be)
{
    struct mem_arena arena = {0};
    cr_assert_null(mem_arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(mem_arena_alloc(&arena, SIZE_MAX - 8));
    cr_assert_null(mem_arena_copy(&arena, "", SIZE_MAX));
    mem_arena_clear(&arena);
}

Test(mem, a_copy_ends_with_nul)
{
    struct mem_arena arena = {0};
    cr_assert_str_eq(mem_arena_copy(&arena, "demo1@localhost", 5), "demo1");
    cr_assert_str_eq(mem_arena_copy(&arena, NULL, 0), "");
    mem_arena_clear(&arena);
}

Test(mem, a_pool_gives_back_the_newest_first)
{
    struct mem_pool pool;
    mem_pool_init(&pool, 100, 2);
    void *a = mem_pool_get(&pool), *b = mem_pool_get(&pool), *c = mem_pool_get(&pool);
    cr_assert_eq(pool.used_count, 3);
    mem_pool_put(&pool, a);
    mem_pool_put(&pool, b);
    mem_pool_put(&pool, c); /* above keep_max: goes back to the allocator */
    cr_assert_eq(pool.free_count, 2);
    cr_assert_eq(mem_pool_get(&pool), b);
    cr_assert_eq(mem_pool_get(&pool), a);
    cr_assert_eq(pool.free_count, 0);
    mem_pool_put(&pool, a);
    mem_pool_put(&pool, b);
    mem_pool_put(&pool, NULL);
    cr_assert_eq(pool.used_count, 0);
    mem_pool_deinit(&pool);
}

Test(mem, a_pool_of_tiny_items_works)
{
    struct mem_pool pool;
    mem_pool_init(&pool, 1, 10);
    void *items[10];
    for (unsigned i = 0; i < 10; i++) {
        items[i] = mem_pool_get(&pool);
        memset(items[i], 0xff, 1);
    }
    for (unsigned i = 0; i < 10; i++) {
        mem_pool_put(&pool, items[i]);
    }
    mem_pool_deinit(&pool);
}

Test(mem, a_wipe_leaves_nothing)
{
    char secret[16] = "hunter2";
    mem_wipe(secret, sizeof secret);
    for (size_t i = 0; i < sizeof secret; i++) {
        cr_assert_eq(secret[i], 0);
    }
}

__attribute__((weak)) int mallctl(const char *name, void *old, size_t *old_size, void *value,
                                  size_t size);

Test(mem, has_what_is_freed_given_back_without_being_called)
{
    bool on = false;
    size_t size = sizeof on;
    ssize_t decay_ms = -1;
    mem_give_back();
    if (mallctl == NULL) {
        cr_skip_test("another allocator: a sanitizer's");
    }
    cr_expect_eq(mallctl("background_thread", &on, &size, NULL, 0), 0);
    cr_expect(on);
    size = sizeof decay_ms;
    cr_expect_eq(mallctl("arena.0.dirty_decay_ms", &decay_ms, &size, NULL, 0), 0);
    cr_expect_eq(decay_ms, MEM_DECAY_MS);
    mem_give_back(); /* harmless twice */
}
