/* SPDX-License-Identifier: Apache-2.0 */
#include "server/line.h"

#include <string.h>

void line_reader_init(struct line_reader *reader, size_t length_max)
{
    *reader = (struct line_reader){.length_max = length_max};
}

/* Whether `length` octets, cut free of their line end, may not be part of a command. */
static bool line_malformed(const uint8_t *line, size_t length)
{
    return memchr(line, '\0', length) != NULL || memchr(line, '\r', length) != NULL;
}

/* There is no line end in the `length` octets of the line begun at `*out_taken`. */
static enum line_result line_unfinished(struct line_reader *reader, size_t length,
                                        size_t *out_taken)
{
    if (length < reader->length_max) {
        reader->scanned = length;
        return LINE_PARTIAL;
    }
    *out_taken += length;
    reader->scanned = 0;
    reader->skipping = true;
    return LINE_TOO_LONG;
}

/* Throws away the rest of an over-long line. Returns the octets that are done with. */
static size_t line_skip(struct line_reader *reader, const uint8_t *data, size_t length)
{
    const uint8_t *end = memchr(data, '\n', length);
    if (end == NULL) {
        return length;
    }
    reader->skipping = false;
    return (size_t)(end - data) + 1;
}

enum line_result line_next(struct line_reader *reader, const uint8_t *data, size_t length,
                           const char **out_line, size_t *out_line_length, size_t *out_taken)
{
    *out_taken = reader->skipping && length > 0 ? line_skip(reader, data, length) : 0;
    const uint8_t *line = data + *out_taken;
    length -= *out_taken;
    if (length <= reader->scanned) {
        return LINE_PARTIAL;
    }
    const uint8_t *end = memchr(line + reader->scanned, '\n', length - reader->scanned);
    if (end == NULL) {
        return line_unfinished(reader, length, out_taken);
    }
    size_t line_length = (size_t)(end - line);
    *out_taken += line_length + 1;
    reader->scanned = 0;
    if (line_length + 1 > reader->length_max) {
        return LINE_TOO_LONG;
    }
    if (line_length > 0 && line[line_length - 1] == '\r') {
        line_length--;
    }
    if (line_malformed(line, line_length)) {
        return LINE_BAD;
    }
    *out_line = (const char *)line;
    *out_line_length = line_length;
    return LINE_WHOLE;
}
