/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message sizes: a named or described distribution, in octets. Immutable once parsed; drawing uses
 * the caller's dice. Any thread.
 */
#ifndef BENCH_DISTRIBUTION_H
#define BENCH_DISTRIBUTION_H

#include "bench/dice.h"
#include "io/status.h"

#include <stdint.h>

#define DISTRIBUTION_OCTETS_MAX (256ull << 20) /* no drawn size is above: a message, not a file */
#define DISTRIBUTION_PARTS_MAX  12             /* ranges of a table; the published ones have 4 */

enum distribution_kind { DISTRIBUTION_FIXED, DISTRIBUTION_LOGNORMAL, DISTRIBUTION_TABLE };

struct distribution_part {
    double weight;
    uint64_t from, to; /* uniform between them */
};

struct distribution {
    enum distribution_kind kind;
    uint64_t fixed;
    double log_median, sigma;
    unsigned part_count;
    struct distribution_part parts[DISTRIBUTION_PARTS_MAX];
};

/* "fixed:N" or "N", "uniform:A-B", "lognormal:MEDIAN,SIGMA", or a name (distribution_names).
 * STATUS_INVALID. Numbers may end in k or m (1024). */
MUST_CHECK enum status distribution_parse(const char *text, struct distribution *out_distribution);

/* All names, separated by a space. */
extern const char distribution_names[];

/* One size. */
uint64_t distribution_draw(const struct distribution *distribution, struct dice *dice);

/* The mean size, as far as it is finite and known; of a lognormal one without its cut. */
double distribution_mean(const struct distribution *distribution);

#endif
