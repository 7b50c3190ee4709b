/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of the bench. A letter is made from a few numbers and says them in its first line,
 * so that whoever fetches it can make it again and compare every octet, without memory of what was
 * sent:
 *
 * X-Restante-Bench: seed=0123456789abcdef number=0000000000000001 user=0000000001 octets=0000004096
 * file=-0000001
 *
 * `octets` counts from that line to the end, as CRLF lines before dot-stuffing. Servers put trace
 * headers in front; they never change what follows. `user` is the number of the recipient: mail in
 * the wrong maildrop is noticed too. The body is lines of 40 to 76 octets from a fixed text of
 * random printable octets, some of which begin with dots; with a corpus it is a file of it.
 *
 * The text and the corpus are made once (letter_text_make, corpus_open) and then read by any
 * thread; a cursor is its owner's.
 */
#ifndef BENCH_LETTER_H
#define BENCH_LETTER_H

#include "bench/corpus.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LETTER_MARK_LENGTH 113 /* octets of the first line, with CRLF */
#define LETTER_OCTETS_MIN  512 /* a shorter letter could not hold its headers */

struct letter {
    uint64_t seed, number, octets;
    uint32_t user;
    int32_t file; /* of the corpus; -1: lines made from the seed */
};

struct letter_cursor {
    struct letter letter;
    const struct corpus *corpus;
    uint64_t state, left; /* octets after the present piece */
    const char *piece;    /* what comes next: `head`, a line, or a file */
    size_t piece_left;
    char head[LETTER_OCTETS_MIN];
};

/* Fills the text that bodies are cut from; once, before threads. */
void letter_text_make(void);

/* Makes the size and the file number fit each other: at least LETTER_OCTETS_MIN, or head and
 * file. */
void letter_fit(struct letter *letter, const struct corpus *corpus);

/* Stands at the beginning of the letter. `corpus` may be NULL when the letter has no file. */
void letter_begin(struct letter_cursor *cursor, const struct letter *letter,
                  const struct corpus *corpus);

/* The next octets without dot-stuffing: at most `capacity`; 0 at the end. */
size_t letter_read(struct letter_cursor *cursor, char *out_data, size_t capacity);

/* Whether the next octets of the letter are `data`; goes past them. False once is false for
 * good. */
bool letter_compare(struct letter_cursor *cursor, const char *data, size_t length);

/* Whether nothing is left. */
bool letter_at_end(const struct letter_cursor *cursor);

/* Reads a first line (with or without CRLF). False when it is none. */
bool letter_parse_mark(const char *line, size_t length, struct letter *out_letter);

/* The whole letter as sent on the wire: dot-stuffed, with CRLF.CRLF behind. Allocated, NUL behind
 * it;
 * NULL: out of memory. */
char *letter_wire(const struct letter *letter, const struct corpus *corpus, size_t *out_length);

#endif
