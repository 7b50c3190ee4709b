/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/latencies.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values below 2^precision have a bucket each; above it, every power of two has 2^precision / 2 of
 * them, so that a bucket is at most 2 / 2^precision of its values wide. To hold the promise of the
 * header one bit more is kept inside. */
#define VALUE_MAX ((1ull << LATENCIES_VALUE_BITS) - 1)

static unsigned bits_of(const struct latencies *latencies)
{
    return latencies->precision + 1;
}

static size_t index_of(const struct latencies *latencies, uint64_t value)
{
    unsigned bits = bits_of(latencies);
    if (value < (1ull << bits)) {
        return (size_t)value;
    }
    unsigned shift = 64 - (unsigned)__builtin_clzll(value) - bits;
    size_t half = (size_t)1 << (bits - 1);
    return (size_t)(value >> shift) + shift * half;
}

/* The greatest value of the bucket. */
static uint64_t upper_of(const struct latencies *latencies, size_t index)
{
    unsigned bits = bits_of(latencies);
    size_t half = (size_t)1 << (bits - 1);
    if (index < 2 * half) {
        return index;
    }
    unsigned shift = (unsigned)(index / half) - 1;
    uint64_t top = (uint64_t)(index - shift * half);
    return ((top + 1) << shift) - 1;
}

enum status latencies_init(struct latencies *latencies, unsigned precision)
{
    assert(precision >= 1 && precision <= 12);
    *latencies = (struct latencies){.precision = precision, .min = UINT64_MAX};
    latencies->bucket_count = index_of(latencies, VALUE_MAX) + 1;
    latencies->buckets = calloc(latencies->bucket_count, sizeof latencies->buckets[0]);
    return latencies->buckets == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

void latencies_deinit(struct latencies *latencies)
{
    free(latencies->buckets);
    latencies->buckets = NULL;
}

void latencies_clear(struct latencies *latencies)
{
    memset(latencies->buckets, 0, latencies->bucket_count * sizeof latencies->buckets[0]);
    latencies->count = 0;
    latencies->sum = 0;
    latencies->min = UINT64_MAX;
    latencies->max = 0;
}

void latencies_record(struct latencies *latencies, uint64_t value)
{
    value = value < VALUE_MAX ? value : VALUE_MAX;
    latencies->buckets[index_of(latencies, value)]++;
    latencies->count++;
    latencies->sum += (double)value;
    latencies->min = value < latencies->min ? value : latencies->min;
    latencies->max = value > latencies->max ? value : latencies->max;
}

void latencies_merge(struct latencies *latencies, const struct latencies *other)
{
    assert(latencies->precision == other->precision);
    for (size_t index = 0; index < latencies->bucket_count; index++) {
        latencies->buckets[index] += other->buckets[index];
    }
    latencies->count += other->count;
    latencies->sum += other->sum;
    latencies->min = other->min < latencies->min ? other->min : latencies->min;
    latencies->max = other->max > latencies->max ? other->max : latencies->max;
}

uint64_t latencies_at(const struct latencies *latencies, double share)
{
    if (latencies->count == 0) {
        return 0;
    }
    /* A share such as 0.026 has no exact form: what is over by so little is not one value more. */
    uint64_t wanted = (uint64_t)ceil(share * (double)latencies->count - 1e-6);
    wanted = wanted < 1 ? 1 : wanted;
    uint64_t seen = 0;
    for (size_t index = 0; index < latencies->bucket_count; index++) {
        seen += latencies->buckets[index];
        if (seen >= wanted) {
            uint64_t upper = upper_of(latencies, index);
            return upper < latencies->max ? upper : latencies->max;
        }
    }
    return latencies->max;
}

double latencies_mean(const struct latencies *latencies)
{
    return latencies->count == 0 ? 0 : latencies->sum / (double)latencies->count;
}

uint64_t latencies_count_above(const struct latencies *latencies, uint64_t limit)
{
    uint64_t above = 0;
    size_t from = index_of(latencies, limit < VALUE_MAX ? limit : VALUE_MAX) + 1;
    for (size_t index = from; index < latencies->bucket_count; index++) {
        above += latencies->buckets[index];
    }
    return above;
}

static double deviation(const struct latencies *latencies)
{
    double mean = latencies_mean(latencies), squares = 0;
    for (size_t index = 0; index < latencies->bucket_count; index++) {
        double away = (double)upper_of(latencies, index) - mean;
        squares += away * away * (double)latencies->buckets[index];
    }
    return latencies->count == 0 ? 0 : sqrt(squares / (double)latencies->count);
}

/* Steps of the text form: five to each halving of what is left above. */
static double next_share(double share)
{
    double halvings = floor(log2(1.0 / (1.0 - share))) + 1;
    return share + 1.0 / (5.0 * pow(2.0, halvings));
}

void latencies_write_hgrm(const struct latencies *latencies, FILE *file, double scale)
{
    fprintf(file, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    uint64_t seen = 0;
    double share = 0;
    for (size_t index = 0; index < latencies->bucket_count && seen < latencies->count; index++) {
        seen += latencies->buckets[index];
        double reached = (double)seen / (double)latencies->count;
        if (latencies->buckets[index] == 0 || reached < share || seen == latencies->count) {
            continue;
        }
        fprintf(file, "%12.3f %2.12f %10lu %14.2f\n", (double)upper_of(latencies, index) / scale,
                reached, (unsigned long)seen, 1.0 / (1.0 - reached));
        while (share <= reached) {
            share = next_share(share);
        }
    }
    fprintf(file, "%12.3f %2.12f %10lu\n", (double)latencies->max / scale, 1.0,
            (unsigned long)latencies->count);
    fprintf(file, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n",
            latencies_mean(latencies) / scale, deviation(latencies) / scale);
    fprintf(file, "#[Max     = %12.3f, Total count    = %12lu]\n", (double)latencies->max / scale,
            (unsigned long)latencies->count);
    fprintf(file, "#[Buckets = %12u, SubBuckets     = %12lu]\n",
            LATENCIES_VALUE_BITS - latencies->precision, 2ul << latencies->precision);
}
