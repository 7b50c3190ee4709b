/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines out of a byte stream. Pure: the octets stay where they are. */
#ifndef SERVER_LINE_H
#define SERVER_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum line_result {
    LINE_PARTIAL,  /* no line end yet: wait for more */
    LINE_WHOLE,    /* `*out_line`, without its end; CRLF or, leniently, LF */
    LINE_TOO_LONG, /* longer than the limit: answer once, the rest of it is being skipped */
    LINE_BAD       /* holds a NUL or a bare CR: answer with an error */
};

/* Remembers that the rest of an over-long line is being thrown away. */
struct line_reader {
    size_t length_max; /* octets with line end */
    size_t scanned;    /* octets of the partial line already searched: no quadratic rescans */
    bool skipping;
};

/* A reader at the beginning of a stream; lines have at most `length_max` octets with their end. */
void line_reader_init(struct line_reader *reader, size_t length_max);

/*
 * Looks for the next line in `length` octets at `data`, which begin where the last call's
 * `*out_taken` ended. `*out_taken` is how many octets are done with, also when the result is
 * LINE_PARTIAL (while skipping). LINE_TOO_LONG comes exactly once for each over-long line.
 */
enum line_result line_next(struct line_reader *reader, const uint8_t *data, size_t length,
                           const char **out_line, size_t *out_line_length, size_t *out_taken);

#endif
