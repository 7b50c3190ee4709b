/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wire.h"

#include <string.h>

void wire_init(struct wire_encoder *encoder)
{
    *encoder = (struct wire_encoder){.line_start = true};
}

static bool has_8bit(const uint8_t *data, size_t length)
{
    uint64_t high = 0;
    for (; length >= sizeof high; data += sizeof high, length -= sizeof high) {
        uint64_t word;
        memcpy(&word, data, sizeof word);
        high |= word;
    }
    for (; length > 0; data++, length--) {
        high |= *data;
    }
    return (high & 0x8080808080808080u) != 0;
}

/*
 * Notes what `length` octets of one line, without LF, say about the message. A CR that is the last
 * of them may still turn out to belong to a LF; whatever comes next decides.
 */
static void note_run(struct wire_encoder *encoder, const uint8_t *run, size_t length)
{
    if (encoder->after_cr) {
        encoder->flags |= WIRE_HAS_BARE_CR;
    }
    if ((encoder->flags & WIRE_HAS_BARE_CR) == 0) {
        const uint8_t *cr = memchr(run, '\r', length);
        if (cr != NULL && cr != run + length - 1) {
            encoder->flags |= WIRE_HAS_BARE_CR;
        }
    }
    if (!encoder->in_body && has_8bit(run, length)) {
        encoder->flags |= WIRE_HEADER_8BIT;
    }
    encoder->after_cr = run[length - 1] == '\r';
    encoder->line_is_cr = encoder->line_start && length == 1 && encoder->after_cr;
    encoder->line_start = false;
    encoder->octets += length;
    encoder->wire_length += length;
}

/* A LF has been written; `wrote` octets with the CR that it may have needed. */
static void end_line(struct wire_encoder *encoder, size_t wrote)
{
    bool is_empty = encoder->line_start || encoder->line_is_cr;
    encoder->octets += wrote;
    encoder->wire_length += wrote;
    if (is_empty && !encoder->in_body) {
        encoder->in_body = true;
        encoder->header_length = encoder->wire_length;
    }
    encoder->line_start = true;
    encoder->after_cr = false;
    encoder->line_is_cr = false;
}

/* Writes a line end for the LF that comes next, 0 octets if it might not fit. */
static size_t put_line_end(struct wire_encoder *encoder, uint8_t *out, size_t room)
{
    size_t wrote = 0;
    if (room < 2) {
        return 0; /* also when one would do: the caller's pieces stay easy to reason about */
    }
    if (!encoder->after_cr) {
        out[wrote++] = '\r';
        encoder->bare_lf_count++;
    }
    out[wrote++] = '\n';
    end_line(encoder, wrote);
    return wrote;
}

size_t wire_encode(struct wire_encoder *encoder, const uint8_t *data, size_t length, uint8_t *out,
                   size_t capacity, size_t *out_written)
{
    size_t taken = 0, written = 0;
    while (taken < length) {
        size_t room = capacity - written;
        if (data[taken] == '\n') {
            size_t wrote = put_line_end(encoder, out + written, room);
            if (wrote == 0) {
                break;
            }
            written += wrote;
            taken++;
            continue;
        }
        if (encoder->line_start && data[taken] == '.') {
            if (room < 2) {
                break;
            }
            out[written++] = '.'; /* the stuffing: of the wire, not of the message */
            encoder->wire_length++;
            room--;
        }
        const uint8_t *lf = memchr(data + taken, '\n', length - taken);
        size_t run = lf != NULL ? (size_t)(lf - data) - taken : length - taken;
        run = run < room ? run : room;
        if (run == 0) {
            break;
        }
        memcpy(out + written, data + taken, run);
        note_run(encoder, data + taken, run);
        taken += run;
        written += run;
    }
    /* Asked once for all lines: the whole stretch is warm, and a NUL is rare. */
    if ((encoder->flags & WIRE_HAS_NUL) == 0 && taken > 0 && memchr(data, '\0', taken) != NULL) {
        encoder->flags |= WIRE_HAS_NUL;
    }
    *out_written = written;
    return taken;
}

size_t wire_finish(struct wire_encoder *encoder, uint8_t *out)
{
    size_t wrote = 0;
    if (!encoder->line_start) {
        if (encoder->after_cr) {
            encoder->flags |= WIRE_HAS_BARE_CR; /* kept: the message gets a line end of its own */
        }
        encoder->line_is_cr = false;
        out[wrote++] = '\r';
        out[wrote++] = '\n';
        end_line(encoder, wrote);
    }
    if (!encoder->in_body) {
        encoder->flags |= WIRE_NO_SEPARATOR;
        encoder->header_length = encoder->wire_length;
    }
    memcpy(out + wrote, ".\r\n", 3);
    encoder->wire_length += 3;
    return wrote + 3;
}

bool wire_top_scan(struct wire_top *top, const uint8_t *data, size_t length)
{
    size_t passed = 0;
    while (top->lines_left > 0 && passed < length) {
        const uint8_t *lf = memchr(data + passed, '\n', length - passed);
        if (lf == NULL) {
            passed = length;
            break;
        }
        passed = (size_t)(lf - data) + 1;
        top->lines_left--;
    }
    top->position += passed;
    return top->lines_left == 0;
}
