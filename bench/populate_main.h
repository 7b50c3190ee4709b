/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_POPULATE_MAIN_H
#define BENCH_POPULATE_MAIN_H

#include <stdbool.h>

/* Whether this command line is `restante-bench populate --store DIR ...`, which fills a store
 * directly; without --store it is the one that fills any server over LMTP. */
bool populate_main_asked(int argc, char **argv);

/* Runs it, with argv[0] the command's name; returns the exit code. */
int populate_main(int argc, char **argv);

#endif
