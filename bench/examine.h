/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at a message as it is fetched, a line at a time, and says whether it is what was sent. The
 * lines are without dot-stuffing. Trace headers in front of the letter's mark are passed over; from
 * the mark on every octet counts. Owner: one client.
 */
#ifndef BENCH_EXAMINE_H
#define BENCH_EXAMINE_H

#include "bench/letter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum examine_flaw {
    EXAMINE_GOOD,
    EXAMINE_UNMARKED, /* not a letter: nothing to compare with */
    EXAMINE_SIZE,     /* another size than was announced, or than the mark says */
    EXAMINE_CONTENT,  /* other octets */
    EXAMINE_MISPLACED /* another user's */
};

struct examine {
    uint64_t octets;    /* so far */
    uint64_t announced; /* by LIST; UINT64_MAX: it was not asked */
    uint32_t user;
    uint8_t state;
    bool compares; /* octet by octet; else sizes only */
    struct letter_cursor cursor;
};

/* A message of `user` that should have `announced` octets. */
void examine_begin(struct examine *examine, uint32_t user, uint64_t announced, bool compares);

/* The next line, CRLF included, or a part of a long one; `at_start` of a line. */
void examine_feed(struct examine *examine, const struct corpus *corpus, const char *data,
                  size_t length, bool at_start);

/* The end. `*out_letter`, when good: a number of its own for each letter. */
enum examine_flaw examine_end(struct examine *examine, uint64_t *out_letter);

#endif
