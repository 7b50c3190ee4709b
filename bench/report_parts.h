/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a report's page: verdict, plots, tables. Each writes nothing when there is
 * nothing. */
#ifndef BENCH_REPORT_PARTS_H
#define BENCH_REPORT_PARTS_H

#include "io/doc.h"

#include <stdio.h>

/* The text at `key`, or "". */
const char *report_text(const struct doc *doc, const char *key);

/* The verdict of a run or a result, and whether the generator was in the way. */
void report_verdict(const struct doc *doc, FILE *file);

/* All runs of a result in one table and one plot. */
void report_overview(const struct doc *runs, FILE *file);

/* A run's plots: latency, rate, processor time and memory. */
void report_run_plots(const struct doc *run, FILE *file);

/* A run's tables: kinds, commands, errors, the generator, metrics. */
void report_tables(const struct doc *run, FILE *file);

/* How it was measured. */
void report_settings(const struct doc *result, FILE *file);

#endif
