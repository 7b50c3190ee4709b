/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting instructions: by the processor where perf_event_open(2) is allowed, and under callgrind
 * by marks in its output. Calling thread only for the first, all threads for the second.
 */
#ifndef BENCH_INSTRUCTIONS_H
#define BENCH_INSTRUCTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Opens the processor's counter of this thread's instructions outside of the kernel. False: there
 * is none here, or it may not be used. */
bool instructions_open(void);
/* The counter now; 0 where there is none. */
uint64_t instructions_read(void);

/* Whether this process runs under callgrind, which alone makes the marks below do anything. */
bool instructions_marked(void);
/* Callgrind counts from here on, from 0, and with instructions_mark writes what it has counted,
 * under the name `mark`. */
void instructions_start_marks(void);
void instructions_mark(const char *mark);
void instructions_stop_marks(void);

#endif
