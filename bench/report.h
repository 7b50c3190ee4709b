/* SPDX-License-Identifier: Apache-2.0 */
/* A result as one HTML page that needs nothing else: tables, and plots as SVG. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "io/doc.h"

#include <stdio.h>

/* Writes the page of a result (bench/SCHEMA.md); errors show at the file. */
void report_write(const struct doc *result, FILE *file);

#endif
