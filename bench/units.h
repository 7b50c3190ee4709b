/* SPDX-License-Identifier: Apache-2.0 */
/* Figures for people: three digits and a unit. Pure. */
#ifndef BENCH_UNITS_H
#define BENCH_UNITS_H

/* Each writes into `out`, which has room for 24 octets, and returns it. */
const char *units_time(double us, char *out);       /* "12.3 ms" */
const char *units_count(double count, char *out);   /* "12.3k" */
const char *units_octets(double octets, char *out); /* "12.3 MiB" */

#endif
