/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that look random and are repeated by their seed: splitmix64. A run with the same seed
 * draws the same sizes, users and arrivals. Pure; one owner at a time.
 */
#ifndef BENCH_DICE_H
#define BENCH_DICE_H

#include <math.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

/* The next 64 bits. */
static inline uint64_t dice_next(struct dice *dice)
{
    uint64_t mixed = dice->state += 0x9e3779b97f4a7c15ull;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
    return mixed ^ (mixed >> 31);
}

/* From 0 to `below` - 1; `below` is from 1 to 2^32. */
static inline uint64_t dice_below(struct dice *dice, uint64_t below)
{
    return ((dice_next(dice) >> 32) * below) >> 32;
}

/* From 0 up to, but not including, 1. */
static inline double dice_share(struct dice *dice)
{
    return (double)(dice_next(dice) >> 11) * 0x1p-53;
}

/* Exponentially distributed with mean 1: the gaps of a Poisson process. */
static inline double dice_gap(struct dice *dice)
{
    return -log1p(-dice_share(dice));
}

/* Normally distributed with mean 0 and deviation 1 (Box and Muller). */
static inline double dice_normal(struct dice *dice)
{
    double radius = sqrt(2 * dice_gap(dice));
    return radius * cos(2 * M_PI * dice_share(dice));
}

#endif
