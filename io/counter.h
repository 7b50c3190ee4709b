/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and histograms that one thread writes and any thread may read: for metrics. The writer
 * pays a plain load and store, no locked instruction.
 */
#ifndef IO_COUNTER_H
#define IO_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct counter {
    _Atomic uint64_t value;
};

/* Owner thread only. Relaxed: a reader wants a recent figure, not an order between figures. */
static inline void counter_add(struct counter *counter, uint64_t amount)
{
    uint64_t value = atomic_load_explicit(&counter->value, memory_order_relaxed);
    atomic_store_explicit(&counter->value, value + amount, memory_order_relaxed);
}

static inline void counter_set(struct counter *counter, uint64_t value)
{
    atomic_store_explicit(&counter->value, value, memory_order_relaxed);
}

/* Any thread. */
static inline uint64_t counter_read(const struct counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

#define HISTOGRAM_BUCKETS 28 /* bucket i counts values <= 2^i; the last takes the rest */

/* Powers of two; the unit (octets, microseconds, records) is said where the histogram is declared.
 */
struct histogram {
    struct counter buckets[HISTOGRAM_BUCKETS]; /* not cumulative */
    struct counter sum;
};

/* Owner thread only. */
static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    unsigned index = value <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(value - 1);
    if (index >= HISTOGRAM_BUCKETS) {
        index = HISTOGRAM_BUCKETS - 1;
    }
    counter_add(&histogram->buckets[index], 1);
    counter_add(&histogram->sum, value);
}

#endif
