/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two results side by side. The windows of all runs of a result are its samples; each figure is
 * compared by the ratio of the means with a confidence interval. Where the interval holds 1 there
 * is no difference that these runs show.
 */
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include "io/doc.h"

#include <stdbool.h>
#include <stdio.h>

/* Compares `b` with `a`; the document of it is the caller's. Returns whether b is worse in some
 * figure
 * by more than `max_regression` percent for sure (its whole interval is); false when that is
 * below 0. */
bool compare_results(const struct doc *a, const struct doc *b, double max_regression,
                     struct doc *out_result);

/* The comparison as a table. */
void compare_write(const struct doc *result, const char *name_a, const char *name_b, FILE *file);

#endif
