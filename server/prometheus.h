/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text format of Prometheus, version 0.0.4. Pure: writes into a growing text. Names get the
 * prefix "restante_"; units are base units (seconds, octets called bytes), counters end in _total.
 */
#ifndef SERVER_PROMETHEUS_H
#define SERVER_PROMETHEUS_H

#include "io/counter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prometheus {
    char *text; /* malloc'd; the owner frees it */
    size_t length, capacity;
    bool failed; /* memory was short: the text is not whole */
};

/* HELP and TYPE of the family whose samples follow; `type` is counter, gauge or histogram. */
void prometheus_family(struct prometheus *page, const char *name, const char *type,
                       const char *help);

/* One sample; `labels` is "" or ready text such as "verb=\"RETR\",result=\"ok\"". */
void prometheus_number(struct prometheus *page, const char *name, const char *labels,
                       uint64_t value);
/* `value` / `per`, with its decimals: microseconds become seconds with 1,000,000. */
void prometheus_scaled(struct prometheus *page, const char *name, const char *labels,
                       uint64_t value, uint64_t per);

/* A family of one sample. */
void prometheus_counter(struct prometheus *page, const char *name, const char *help,
                        uint64_t value);
void prometheus_gauge(struct prometheus *page, const char *name, const char *help, uint64_t value);

/* Adds `from` to `sum`, bucket by bucket. */
struct prometheus_histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t sum;
};
void prometheus_histogram_add(struct prometheus_histogram *sum, const struct histogram *from);

/* The whole family of a histogram whose values are divided by `per`. Buckets from 2^first on are
 * written; smaller values count in the first. */
void prometheus_histogram(struct prometheus *page, const char *name, const char *help,
                          const struct prometheus_histogram *histogram, unsigned first,
                          uint64_t per);

#endif
