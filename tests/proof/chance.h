/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random numbers that a seed repeats: xorshift64*, one stream for each purpose, so that what one
 * part of a test draws does not change what another gets.
 */
#ifndef TESTS_PROOF_CHANCE_H
#define TESTS_PROOF_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

struct chance {
    uint64_t state; /* never 0 */
};

static inline uint64_t chance_next(struct chance *chance)
{
    chance->state ^= chance->state >> 12;
    chance->state ^= chance->state << 25;
    chance->state ^= chance->state >> 27;
    return chance->state * 0x2545f4914f6cdd1dull;
}

/* A stream of its own for every pair of numbers. */
static inline struct chance chance_make(uint64_t seed, uint64_t stream)
{
    uint64_t state = (seed + 1) * 0x9e3779b97f4a7c15ull ^ (stream + 1) * 0xd1b54a32d192ed03ull;
    struct chance chance = {.state = state != 0 ? state : 1};
    (void)chance_next(&chance);
    (void)chance_next(&chance);
    return chance;
}

/* 0 to `bound` - 1; `bound` above 0. */
static inline uint64_t chance_below(struct chance *chance, uint64_t bound)
{
    return (chance_next(chance) >> 16) % bound;
}

static inline uint64_t chance_between(struct chance *chance, uint64_t low, uint64_t high)
{
    return low + chance_below(chance, high - low + 1);
}

static inline bool chance_percent(struct chance *chance, unsigned percent)
{
    return chance_below(chance, 100) < percent;
}

#endif
