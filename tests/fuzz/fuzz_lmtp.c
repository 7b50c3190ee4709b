/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what a delivering client can say: the octets of DATA on their way into the wire form, the
 * arguments of MAIL, RCPT and BDAT, and what of them ends up in the trace headers.
 */
#include "server/command.h"
#include "server/lmtp_address.h"
#include "server/lmtp_data.h"
#include "server/trace.h"
#include "storage/wire.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct stored {
    uint8_t *wire;
    size_t length;
    uint64_t octets;
    uint64_t header_length;
    uint64_t bare_lf_count;
    unsigned flags;
    bool ended;
    size_t taken;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t at_most(size_t value, size_t limit)
{
    return value < limit ? value : limit;
}

/* One run of content into the wire form, through a small output buffer when `room` is small. */
static void encode(struct wire_encoder *encoder, struct lmtp_run run, size_t room,
                   struct stored *stored)
{
    while (run.length > 0) {
        size_t written = 0;
        size_t taken = wire_encode(encoder, run.data, run.length, stored->wire + stored->length,
                                   room, &written);
        assert(taken <= run.length && written <= room && taken > 0);
        stored->length += written;
        run.data += taken;
        run.length -= taken;
    }
}

/* DATA in pieces of `piece` octets becomes a stored message. */
static struct stored store(const uint8_t *data, size_t size, size_t piece, size_t room)
{
    struct stored stored = {.wire = malloc(WIRE_EXPANSION_MAX(size) + room + WIRE_TAIL_MAX)};
    assert(stored.wire != NULL);
    struct lmtp_data decoder;
    struct wire_encoder encoder;
    lmtp_data_init(&decoder);
    wire_init(&encoder);
    while (stored.taken < size && decoder.state != LMTP_DATA_ENDED) {
        size_t some = at_most(piece, size - stored.taken);
        while (some > 0 && decoder.state != LMTP_DATA_ENDED) {
            struct lmtp_run run = {NULL, 0};
            size_t taken = lmtp_data_take(&decoder, data + stored.taken, some, &run);
            assert(taken <= some);
            encode(&encoder, run, room, &stored);
            stored.taken += taken;
            some -= taken;
        }
    }
    stored.ended = decoder.state == LMTP_DATA_ENDED;
    stored.length += wire_finish(&encoder, stored.wire + stored.length);
    stored.octets = encoder.octets;
    stored.header_length = encoder.header_length;
    stored.bare_lf_count = encoder.bare_lf_count;
    stored.flags = encoder.flags;
    return stored;
}

/* The promise of storage/wire.h, for any input. */
static void check_wire(const struct stored *stored)
{
    static const char end[] = "\r\n.\r\n";
    const uint8_t *wire = stored->wire;
    size_t length = stored->length;
    assert(length >= 3 && memcmp(wire + length - 3, ".\r\n", 3) == 0);
    size_t stuffed = 0;
    for (size_t i = 0; i + 1 < length; i++) {
        bool line_start = i == 0 || (i >= 2 && wire[i - 2] == '\r' && wire[i - 1] == '\n');
        assert(wire[i] != '\n' || (i > 0 && wire[i - 1] == '\r'));
        if (line_start && wire[i] == '.' && i + 3 != length) {
            assert(wire[i + 1] == '.');
            stuffed++;
        }
        assert(i + 5 >= length || memcmp(wire + i, end, 5) != 0);
    }
    assert(stored->octets == length - 3 - stuffed);
    assert(stored->header_length <= length);
}

static void check_data(const uint8_t *data, size_t size)
{
    struct stored whole = store(data, size, size + 1, WIRE_EXPANSION_MAX(size) + 16);
    check_wire(&whole);
    static const size_t pieces[] = {1, 2, 3, 7};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct stored other = store(data, size, pieces[i], 8 + i);
        assert(other.length == whole.length && other.ended == whole.ended);
        assert(memcmp(other.wire, whole.wire, whole.length) == 0);
        assert(other.taken == whole.taken && other.octets == whole.octets);
        assert(other.header_length == whole.header_length && other.flags == whole.flags);
        assert(other.bare_lf_count == whole.bare_lf_count);
        free(other.wire);
    }
    /* TOP finds a line's end wherever the body is cut. */
    for (uint64_t lines = 0; lines < 4; lines++) {
        struct wire_top once = {.lines_left = lines};
        struct wire_top often = {.lines_left = lines};
        const uint8_t *body = whole.wire + whole.header_length;
        size_t length = whole.length - (size_t)whole.header_length;
        bool found = wire_top_scan(&once, body, length);
        bool found_often = lines == 0 && wire_top_scan(&often, body, 0);
        for (size_t i = 0; i < length && !found_often; i++) {
            found_often = wire_top_scan(&often, body + i, 1);
        }
        assert(found == found_often && once.position == often.position);
    }
    free(whole.wire);
}

static void check_word(struct command_word word, const char *line, size_t length)
{
    if (word.length == 0) {
        return;
    }
    assert(word.data >= line && word.data + word.length <= line + length);
    for (size_t i = 0; i < word.length; i++) {
        assert((unsigned char)word.data[i] >= 0x20 && word.data[i] != 0x7f);
    }
}

/* Trace headers are CRLF lines without anything that a sender could slip in. */
static void check_trace(const char *said)
{
    struct trace trace = {.sender = said,
                          .client_name = said,
                          .peer = said,
                          .host = "mail.example",
                          .session = "l0-1",
                          .recipient = said,
                          .time_s = 1700000000};
    char text[TRACE_LENGTH_MAX];
    size_t length = trace_render(&trace, text);
    assert(length <= TRACE_LENGTH_MAX && length > 2);
    size_t line = 0;
    for (size_t i = 0; i < length; i++) {
        assert(text[i] != '\0');
        assert((text[i] == '\n') == (i > 0 && text[i - 1] == '\r'));
        assert(++line <= 1000);
        if (text[i] == '\n') {
            assert(i + 1 == length || text[i + 1] == ' ' || text[i + 1] == '\t' ||
                   strncmp(text + i + 1, "Received: ", 10) == 0);
            line = 0;
        }
    }
    assert(strncmp(text, "Return-Path: ", 13) == 0 && text[length - 1] == '\n');
}

static void check_arguments(const char *text, size_t length)
{
    struct command_word rest = {text, length};
    struct lmtp_mail mail;
    struct lmtp_rcpt rcpt;
    if (lmtp_parse_mail(rest, &mail) == LMTP_SYNTAX_OK) {
        check_word(mail.sender, text, length);
    }
    for (int utf8 = 0; utf8 < 2; utf8++) {
        if (lmtp_parse_rcpt(rest, utf8 == 1, &rcpt) == LMTP_SYNTAX_OK) {
            check_word(rcpt.address, text, length);
            check_word(rcpt.orcpt, text, length);
        }
    }
    struct command_line line;
    struct lmtp_bdat bdat;
    command_parse(text, length, &line);
    (void)lmtp_parse_bdat(&line, &bdat); /* any verdict is right; reading too far is not */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Copies without neighbours: reading one octet too far is found. */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    char *said = malloc(size + 1);
    assert(copy != NULL && said != NULL);
    memcpy(copy, data, size);
    memcpy(said, data, size);
    said[size] = '\0';
    check_data(copy, size);
    check_arguments((const char *)copy, size);
    check_trace(said);
    free(said);
    free(copy);
    return 0;
}
