/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A latency histogram: log-linear, as HdrHistogram's are. Values (nanoseconds, as a rule) fall into
 * buckets whose width is at most 2^-precision of the value, so that every percentile is known to
 * that share. Merging adds counts and loses nothing: merged histograms are equal to the histogram
 * of all their values. Memory is fixed at init; recording takes a few instructions and allocates
 * nothing.
 *
 * One thread at a time.
 */
#ifndef BENCH_LATENCIES_H
#define BENCH_LATENCIES_H

#include "io/status.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LATENCIES_VALUE_BITS 43 /* values up to 2^43 - 1: 2 h 26 min in nanoseconds; more is cut */

struct latencies {
    unsigned precision; /* bits: 8 is 0.4 %, 5 is 3.1 % */
    size_t bucket_count;
    uint64_t *buckets;
    uint64_t count, min, max; /* min and max as recorded; UINT64_MAX and 0 while empty */
    double sum;
};

/* An empty histogram; `precision` from 1 to 12. STATUS_NO_MEMORY: it holds nothing, and deinit is
 * harmless. */
MUST_CHECK enum status latencies_init(struct latencies *latencies, unsigned precision);

/* Frees; harmless twice and on a zeroed one. */
void latencies_deinit(struct latencies *latencies);

/* Back to empty. */
void latencies_clear(struct latencies *latencies);

/* Counts one value; what is over the range counts as its end. */
void latencies_record(struct latencies *latencies, uint64_t value);

/* Adds all of `other`, which has the same precision (asserted). */
void latencies_merge(struct latencies *latencies, const struct latencies *other);

/* The value which `share` (0 to 1) of all values do not exceed: the upper end of its bucket, but no
 * more than the greatest recorded; 0 while empty. */
uint64_t latencies_at(const struct latencies *latencies, double share);

/* The mean of what was recorded; 0 while empty. */
double latencies_mean(const struct latencies *latencies);

/* How many values are above `limit`, to the bucket. */
uint64_t latencies_count_above(const struct latencies *latencies, uint64_t limit);

/* Writes the percentile distribution in HdrHistogram's text form (.hgrm), values divided by
 * `scale`.
 */
void latencies_write_hgrm(const struct latencies *latencies, FILE *file, double scale);

#endif
