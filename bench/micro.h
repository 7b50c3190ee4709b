/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of the server that are measured alone: nanoseconds and instructions for one operation.
 * bench-micro runs them against the clock; tests/guard runs them under callgrind and holds their
 * instructions against recorded ones.
 */
#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

#include "bench/stage.h"

struct micro_piece {
    const char *name;
    const char *operation; /* what is counted as one */
    unsigned count;        /* operations of a short run: a few milliseconds of instructions */
    bool is_steady;        /* instruction counts repeat from run to run: the guard may watch it */
    enum loop_kind loop;
    /* Readies it; NULL: nothing to do. */
    void (*open)(struct stage *stage);
    /* Does `count` operations; more only where the piece's operations come in batches, which
     * `count` of the piece is a multiple of. */
    void (*run)(struct stage *stage, unsigned count);
    /* Undoes `open`; NULL: nothing to do. */
    void (*close)(struct stage *stage);
};

/* The pieces, by file; each list ends with a piece without a name. */
extern const struct micro_piece micro_parts[];    /* micro_parts.c: no session, no store */
extern const struct micro_piece micro_storage[];  /* micro_storage.c */
extern const struct micro_piece micro_sessions[]; /* micro_sessions.c */

#endif
