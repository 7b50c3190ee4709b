/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire form: a message as POP3 will send it, so that RETR is one copy from the page cache.
 * Lines end with CRLF, a line that begins with "." has another "." in front, and the whole ends
 * with
 * "." CRLF after a line end (RFC 1939 section 3).
 *
 * Made from any octets at all: a LF without CR before it becomes CRLF (and is counted), a CR not
 * followed by LF and a NUL are kept, a last line without an end gets one. What holds for any input,
 * cut anywhere: CRLF "." CRLF occurs in the result only at its end. Nothing of the message is
 * removed, and `octets` is what the client counts after it has taken the stuffing off (RFC 1939
 * section 11). The empty message is just the terminator, "." CRLF, and has 0 octets.
 *
 * Pure: no allocation, no I/O; one thread at a time for one encoder.
 */
#ifndef STORAGE_WIRE_H
#define STORAGE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_flag {
    WIRE_HAS_NUL = 1u << 0,
    WIRE_HEADER_8BIT = 1u << 1,  /* octets of 0x80 and above in the header section */
    WIRE_NO_SEPARATOR = 1u << 2, /* no empty line ends the header section: all of it is header */
    WIRE_HAS_BARE_CR = 1u << 3,
};

struct wire_encoder {
    uint64_t octets;        /* message octets so far: with CRLF, without stuffing and terminator */
    uint64_t wire_length;   /* octets written so far */
    uint64_t header_length; /* wire octets up to and with the empty line; all lines, but not the
                               terminator, when there is none */
    uint64_t bare_lf_count; /* line feeds that had no carriage return */
    unsigned flags;         /* enum wire_flag; complete after wire_finish */
    bool in_body, line_start, after_cr;
    bool line_is_cr; /* the line so far is one CR: with a LF it is the empty line */
};

/* Begins a message. */
void wire_init(struct wire_encoder *encoder);

/* The most octets that `length` input octets can become in one wire_encode. */
#define WIRE_EXPANSION_MAX(length) ((length)*2)
#define WIRE_TAIL_MAX              5 /* octets that wire_finish writes at most: CRLF "." CRLF */

/*
 * Encodes `length` octets into `out`, which has room for `capacity`. Stops when the next octet
 * might not fit. Returns how many octets of input were taken; `*out_written` is what was written.
 */
size_t wire_encode(struct wire_encoder *encoder, const uint8_t *data, size_t length, uint8_t *out,
                   size_t capacity, size_t *out_written);

/* Ends the message; writes at most WIRE_TAIL_MAX octets and returns how many. */
size_t wire_finish(struct wire_encoder *encoder, uint8_t *out);

/*
 * How many octets from `data` on are plain: the same in the message and on the wire, so that they
 * may be copied as they are. Every LF has its CR in front, every CR its LF behind it, no line
 * begins with a dot, there is no NUL; with `is_header` no octet of 0x80 and above and no empty line
 * either. `data` stands behind an octet that is no CR; whether it is a line start the caller knows.
 * Looks at stretches of 16 octets: what is plain may be cut short, down to 0.
 */
size_t wire_plain_run(const uint8_t *data, size_t length, bool is_header);

/* How many octets from `data` on there are up to and with the first LF that a dot follows, where a
 * message may end; `length` when there is none. */
size_t wire_to_dot_line(const uint8_t *data, size_t length);

/*
 * Where the wire form of a TOP ends: given wire octets of the body (from header_length on) in
 * pieces, finds the octet behind the `lines`th line. Feed pieces until it returns true or the body
 * ends.
 */
struct wire_top {
    uint64_t lines_left;
    uint64_t position; /* body octets passed */
};
bool wire_top_scan(struct wire_top *top, const uint8_t *data, size_t length);

#endif
