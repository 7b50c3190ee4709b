/* SPDX-License-Identifier: Apache-2.0 */
/* A run's result in a few lines, for whoever started it. */
#ifndef BENCH_SUMMARY_H
#define BENCH_SUMMARY_H

#include "bench/trial.h"
#include "bench/verdict.h"

#include <stdio.h>

/* Writes it. */
void summary_write(const struct run_config *config, const struct trial *trial,
                   const struct verdict *verdict, FILE *file);

#endif
