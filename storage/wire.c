/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wire.h"

#include <string.h>

void wire_init(struct wire_encoder *encoder)
{
    *encoder = (struct wire_encoder){.line_start = true};
}

/* 16 octets at once: every processor has registers for these, and compilers take wider ones apart
 * octet by octet where it has none. */
#define STRETCH 16
typedef uint8_t stretch __attribute__((vector_size(STRETCH)));

static inline stretch load(const uint8_t *data)
{
    stretch octets;
    memcpy(&octets, data, sizeof octets);
    return octets;
}

/* Where the octets at `data`, between one in front and one behind, are not plain: not 0. Each is
 * held against its neighbours, so that a line end is seen wherever it is cut. */
static inline stretch find_odd(const uint8_t *data, bool is_header)
{
    stretch now = load(data), behind = load(data + 1);
    stretch feeds = (stretch)(now == '\n');
    stretch odd = (feeds ^ (stretch)(load(data - 1) == '\r')) | (stretch)(now == 0);
    odd |= feeds & (stretch)(behind == '.');
    if (is_header) {
        odd |= (feeds & (stretch)(behind == '\r')) | (now & 0x80);
    }
    return odd;
}

static inline bool is_none(stretch odd)
{
    uint64_t parts[STRETCH / sizeof(uint64_t)];
    memcpy(parts, &odd, sizeof odd);
    return (parts[0] | parts[1]) == 0;
}

/* Four stretches are looked at for the price of one look, what is left by one. `is_header` is
 * known where this is called from, which makes two loops of it without a question in them. */
static inline __attribute__((always_inline)) size_t plain_run(const uint8_t *data, size_t length,
                                                              bool is_header)
{
    size_t end = 1; /* the first octet has none before it */
    while (length - end > 4 * STRETCH) {
        const uint8_t *at = data + end;
        stretch odd = find_odd(at, is_header) | find_odd(at + STRETCH, is_header) |
                      find_odd(at + 2 * STRETCH, is_header) | find_odd(at + 3 * STRETCH, is_header);
        if (!is_none(odd)) {
            break;
        }
        end += 4 * STRETCH;
    }
    while (length - end > STRETCH && is_none(find_odd(data + end, is_header))) {
        end += STRETCH;
    }
    return data[end - 1] == '\r' ? end - 1 : end; /* what is behind that CR has not been seen */
}

size_t wire_plain_run(const uint8_t *data, size_t length, bool is_header)
{
    if (length <= STRETCH || data[0] == '\n' || data[0] == '\0' || (is_header && data[0] >= 0x80)) {
        return 0;
    }
    return is_header ? plain_run(data, length, true) : plain_run(data, length, false);
}

/* Where a LF at `data` or in the rest of its stretch has a dot behind it: not 0. */
static inline stretch find_dot_line(const uint8_t *data)
{
    return (stretch)(load(data) == '\n') & (stretch)(load(data + 1) == '.');
}

size_t wire_to_dot_line(const uint8_t *data, size_t length)
{
    size_t at = 0;
    while (length - at > 4 * STRETCH &&
           is_none(find_dot_line(data + at) | find_dot_line(data + at + STRETCH) |
                   find_dot_line(data + at + 2 * STRETCH) |
                   find_dot_line(data + at + 3 * STRETCH))) {
        at += 4 * STRETCH;
    }
    while (at < length) {
        const uint8_t *feed = memchr(data + at, '\n', length - at);
        at = feed != NULL ? (size_t)(feed - data) + 1 : length;
        if (at < length && data[at] == '.') {
            break;
        }
    }
    return at;
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
    if ((encoder->flags & WIRE_HAS_NUL) == 0 && memchr(run, '\0', length) != NULL) {
        encoder->flags |= WIRE_HAS_NUL;
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

/* Copies what needs no change, most of most messages, in one piece. */
static size_t put_plain(struct wire_encoder *encoder, const uint8_t *data, size_t length,
                        uint8_t *out)
{
    bool begins = encoder->line_start;
    if (encoder->after_cr || (begins && (data[0] == '.' || data[0] == '\r'))) {
        return 0;
    }
    size_t run = wire_plain_run(data, length, !encoder->in_body);
    if (run > 0) {
        memcpy(out, data, run);
        encoder->octets += run;
        encoder->wire_length += run;
        encoder->line_start = data[run - 1] == '\n';
        encoder->line_is_cr = false;
    }
    return run;
}

size_t wire_encode(struct wire_encoder *encoder, const uint8_t *data, size_t length, uint8_t *out,
                   size_t capacity, size_t *out_written)
{
    size_t taken = 0, written = 0;
    while (taken < length) {
        size_t room = capacity - written;
        size_t left = length - taken;
        size_t plain = put_plain(encoder, data + taken, left < room ? left : room, out + written);
        if (plain > 0) {
            taken += plain;
            written += plain;
            continue;
        }
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
            encoder->line_start = false; /* the message's own dot comes next, like any octet */
            continue;
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
