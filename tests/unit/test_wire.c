/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INPUT_MAX 4096

struct encoded {
    struct wire_encoder encoder;
    uint8_t data[WIRE_EXPANSION_MAX(INPUT_MAX) + WIRE_TAIL_MAX];
    size_t length;
};

static void add(struct encoded *encoded, const uint8_t *data, size_t length, size_t room)
{
    size_t taken = 0;
    while (taken < length) {
        size_t wrote;
        size_t took = wire_encode(&encoded->encoder, data + taken, length - taken,
                                  encoded->data + encoded->length, room, &wrote);
        cr_assert(wrote <= room && took <= length - taken && (took > 0 || wrote == 0));
        cr_assert(took > 0, "no progress with room for %zu", room);
        taken += took;
        encoded->length += wrote;
    }
}

static void finish(struct encoded *encoded)
{
    encoded->length += wire_finish(&encoded->encoder, encoded->data + encoded->length);
    cr_assert_eq(encoded->encoder.wire_length, encoded->length);
}

static void encode_whole(struct encoded *encoded, const uint8_t *data, size_t length)
{
    encoded->length = 0;
    wire_init(&encoded->encoder);
    add(encoded, data, length, WIRE_EXPANSION_MAX(INPUT_MAX));
    finish(encoded);
}

/* The message with CRLF line ends and a last line that has one: what the client must get. Written
 * apart from the code under test, octet by octet. */
static size_t normalise(const uint8_t *data, size_t length, uint8_t *out)
{
    size_t wrote = 0;
    for (size_t i = 0; i < length; i++) {
        if (data[i] == '\n' && (i == 0 || data[i - 1] != '\r')) {
            out[wrote++] = '\r';
        }
        out[wrote++] = data[i];
    }
    if (length > 0 && data[length - 1] != '\n') {
        out[wrote++] = '\r';
        out[wrote++] = '\n';
    }
    return wrote;
}

/* What a client does: reads lines up to CRLF, ends at ".", takes one dot off lines that begin with
 * one. Fails when the terminator is anywhere but at the end. */
static size_t unstuff(const uint8_t *wire, size_t length, uint8_t *out)
{
    size_t wrote = 0, start = 0;
    for (size_t i = 1; i < length; i++) {
        if (wire[i] != '\n' || wire[i - 1] != '\r') {
            continue;
        }
        size_t end = i + 1;
        if (end - start == 3 && wire[start] == '.') {
            cr_assert_eq(end, length, "the terminator is in the middle, at %zu", start);
            return wrote;
        }
        size_t skip = wire[start] == '.' ? 1 : 0;
        memcpy(out + wrote, wire + start + skip, end - start - skip);
        wrote += end - start - skip;
        start = end;
    }
    cr_assert_fail("there is no terminator");
    return 0;
}

/* Octets of `wire` up to and with the first empty line, of all lines when there is none. */
static size_t header_length(const uint8_t *wire, size_t length)
{
    if (length >= 2 && memcmp(wire, "\r\n", 2) == 0) {
        return 2;
    }
    const uint8_t *found = memmem(wire, length, "\r\n\r\n", 4);
    return found != NULL ? (size_t)(found - wire) + 4 : length - 3;
}

static unsigned expected_flags(const uint8_t *data, size_t length, const struct encoded *encoded)
{
    unsigned flags = 0;
    size_t header = header_length(encoded->data, encoded->length);
    flags |= memchr(data, '\0', length) != NULL ? WIRE_HAS_NUL : 0;
    for (size_t i = 0; i < length; i++) {
        bool is_bare = data[i] == '\r' && (i + 1 == length || data[i + 1] != '\n');
        flags |= is_bare ? WIRE_HAS_BARE_CR : 0;
    }
    for (size_t i = 0; i < header; i++) {
        flags |= encoded->data[i] >= 0x80 ? WIRE_HEADER_8BIT : 0;
    }
    if (header == encoded->length - 3 &&
        !(encoded->length >= 7 &&
          memcmp(encoded->data + encoded->length - 7, "\r\n\r\n", 4) == 0) &&
        !(encoded->length == 5)) {
        flags |= WIRE_NO_SEPARATOR;
    }
    return flags;
}

static void check(const uint8_t *data, size_t length, const struct encoded *encoded)
{
    static uint8_t wanted[2 * INPUT_MAX + 2], got[2 * INPUT_MAX + 8];
    size_t wanted_length = normalise(data, length, wanted);
    size_t got_length = unstuff(encoded->data, encoded->length, got);
    cr_assert_eq(got_length, wanted_length);
    cr_assert(memcmp(got, wanted, wanted_length) == 0);
    cr_assert_eq(encoded->encoder.octets, wanted_length);
    cr_assert_eq(encoded->encoder.header_length, header_length(encoded->data, encoded->length));
    cr_assert_eq(encoded->encoder.flags, expected_flags(data, length, encoded), "flags %x, not %x",
                 encoded->encoder.flags, expected_flags(data, length, encoded));
}

static void check_same(const struct encoded *one, const struct encoded *other)
{
    cr_assert_eq(one->length, other->length);
    cr_assert(memcmp(one->data, other->data, one->length) == 0);
    cr_assert_eq(one->encoder.octets, other->encoder.octets);
    cr_assert_eq(one->encoder.header_length, other->encoder.header_length);
    cr_assert_eq(one->encoder.bare_lf_count, other->encoder.bare_lf_count);
    cr_assert_eq(one->encoder.flags, other->encoder.flags);
}

/* Encodes `data` cut in two at `cut`, with little room at a time. */
static void check_cut(const uint8_t *data, size_t length, size_t cut, const struct encoded *whole)
{
    static struct encoded parts;
    parts.length = 0;
    wire_init(&parts.encoder);
    add(&parts, data, cut, 2 + cut % 5);
    add(&parts, data + cut, length - cut, 2 + length % 3);
    finish(&parts);
    check_same(&parts, whole);
}

static const uint8_t alphabet[] = {'\r', '\n', '.', 'a', '\0', 0xff};

Test(wire, any_short_input_cut_anywhere_gives_one_right_result)
{
    static struct encoded whole;
    for (size_t length = 0; length <= 7; length++) {
        uint8_t data[8] = {0};
        unsigned long inputs = 1;
        for (size_t i = 0; i < length; i++) {
            inputs *= sizeof alphabet;
        }
        for (unsigned long n = 0; n < inputs; n++) {
            unsigned long rest = n;
            for (size_t i = 0; i < length; i++) {
                data[i] = alphabet[rest % sizeof alphabet];
                rest /= sizeof alphabet;
            }
            encode_whole(&whole, data, length);
            check(data, length, &whole);
            for (size_t cut = 0; cut <= length; cut++) {
                check_cut(data, length, cut, &whole);
            }
        }
    }
}

/* Lines as mail has them, with something odd in one of `rarity` pieces. */
static size_t write_mail(uint8_t *data, size_t length, unsigned rarity, unsigned *seed)
{
    static const struct {
        const char *text;
        size_t length;
    } pieces[] = {{"\r\n", 2},     {"words of a line, ", 17},
                  {"x", 1},        {"y.z", 3},
                  {"\r\n\r\n", 4}, {"\r\n.", 3},
                  {"\n", 1},       {"\r", 1},
                  {"\0", 1},       {"\xff", 1},
                  {"\n\r", 2},     {"\r\n..\r\n", 6},
                  {"\r\r\n", 3}};
    enum { USUAL = 5, ALL = sizeof pieces / sizeof pieces[0] };
    size_t wrote = 0;
    while (wrote < length) {
        bool is_odd = (unsigned)rand_r(seed) % rarity == 0;
        unsigned which = (unsigned)rand_r(seed) % (is_odd ? ALL : USUAL);
        size_t piece = pieces[which].length;
        piece = piece < length - wrote ? piece : length - wrote;
        memcpy(data + wrote, pieces[which].text, piece);
        wrote += piece;
    }
    return wrote;
}

Test(wire, lines_of_mail_with_odd_ones_among_them_give_one_right_result)
{
    static struct encoded whole, parts;
    static uint8_t data[INPUT_MAX];
    unsigned seed = (unsigned)time(NULL);
    (void)fprintf(stderr, "wire: seed %u\n", seed);
    for (int round = 0; round < 4000; round++) {
        size_t length = write_mail(data, (size_t)rand_r(&seed) % 700, 1u << round % 10, &seed);
        encode_whole(&whole, data, length);
        check(data, length, &whole);
        parts.length = 0;
        wire_init(&parts.encoder);
        for (size_t at = 0; at < length;) {
            size_t piece = 1 + (size_t)rand_r(&seed) % 300;
            piece = piece < length - at ? piece : length - at;
            add(&parts, data + at, piece, 2 + (size_t)rand_r(&seed) % 400);
            at += piece;
        }
        finish(&parts);
        check_same(&parts, &whole);
    }
}

/* What wire.h says of plain octets, octet by octet. */
static bool is_plain(const uint8_t *data, size_t length, bool is_header)
{
    bool plain = true;
    for (size_t i = 0; i < length; i++) {
        uint8_t before = i > 0 ? data[i - 1] : 'x';
        bool ends = data[i] == '\r' && (i + 1 == length || data[i + 1] != '\n');
        plain = plain && !ends && (data[i] == '\n') == (before == '\r') && data[i] != '\0';
        plain = plain && (data[i] != '.' || before != '\n');
        plain = plain && (!is_header || (data[i] < 0x80 && (data[i] != '\r' || before != '\n')));
    }
    return plain;
}

/* What wire.h says of lines before a dot, octet by octet. */
static size_t to_dot_line(const uint8_t *data, size_t length)
{
    for (size_t i = 1; i < length; i++) {
        if (data[i - 1] == '\n' && data[i] == '.') {
            return i;
        }
    }
    return length;
}

Test(wire, a_plain_run_is_plain_and_as_long_as_stretches_allow)
{
    static uint8_t data[INPUT_MAX];
    unsigned seed = (unsigned)time(NULL);
    (void)fprintf(stderr, "wire: seed %u\n", seed);
    size_t most = 0;
    for (int round = 0; round < 4000; round++) {
        size_t length = write_mail(data, (size_t)rand_r(&seed) % 700, 1u << round % 10, &seed);
        for (int is_header = 0; length > 0 && is_header < 2; is_header++) {
            size_t run = wire_plain_run(data, length, is_header);
            cr_assert(run <= length && is_plain(data, run, is_header));
            size_t wanted = length > run + 32 ? run + 32 : length;
            cr_assert(run + 32 > length || !is_plain(data, wanted - 1, is_header) ||
                      data[wanted - 2] == '\r');
            most = run > most ? run : most;
        }
        cr_assert_eq(wire_to_dot_line(data, length), to_dot_line(data, length));
    }
    cr_assert(most > 200, "the longest was %zu", most);
}

static void check_runs(const uint8_t *data, size_t length)
{
    cr_assert_eq(wire_to_dot_line(data, length), to_dot_line(data, length));
    for (int is_header = 0; is_header < 2; is_header++) {
        cr_assert(is_plain(data, wire_plain_run(data, length, is_header), is_header));
    }
}

enum { WITHIN = 160 }; /* octets: two times four stretches and more than one */

/* `odd` at every place of a text, in header and body, cut in front, within and behind. */
static void check_within(const char *odd, size_t odd_length)
{
    static struct encoded whole;
    uint8_t data[2 + WITHIN];
    for (size_t at = 0; at + odd_length <= WITHIN; at++) {
        memcpy(data, "\r\n", 2);
        memset(data + 2, 'x', WITHIN);
        memcpy(data + 2 + at, odd, odd_length);
        for (size_t skip = 0; skip <= 2; skip += 2) {
            size_t length = sizeof data - skip;
            encode_whole(&whole, data + skip, length);
            check(data + skip, length, &whole);
            check_runs(data + skip, length);
            for (size_t cut = 2 - skip + at; cut <= 2 - skip + at + odd_length; cut++) {
                check_cut(data + skip, length, cut, &whole);
            }
        }
    }
}

Test(wire, whatever_is_odd_is_found_at_every_place_of_a_long_text)
{
    for (unsigned n = 0; n < 6 * 6 * 6; n++) {
        char odd[3];
        unsigned rest = n;
        for (size_t i = 0; i < sizeof odd; i++) {
            odd[i] = (char)alphabet[rest % sizeof alphabet];
            rest /= sizeof alphabet;
        }
        if (odd[0] != 'a') { /* else met one place further on */
            check_within(odd, sizeof odd);
        }
    }
}

/* A block of its own for each length, so that a sanitizer sees what is read behind it. */
Test(wire, nothing_is_read_behind_the_end_and_little_left_before_it)
{
    for (size_t length = 1; length <= WITHIN; length++) {
        uint8_t *data = malloc(length);
        cr_assert_not_null(data);
        memset(data, 'x', length);
        cr_assert_eq(wire_to_dot_line(data, length), length);
        for (int is_header = 0; is_header < 2; is_header++) {
            cr_assert(wire_plain_run(data, length, is_header) + 17 >= length);
        }
        free(data);
    }
}

Test(wire, random_long_input_cut_anywhere_gives_one_right_result)
{
    static struct encoded whole, parts;
    static uint8_t data[INPUT_MAX];
    unsigned seed = (unsigned)time(NULL);
    (void)fprintf(stderr, "wire: seed %u\n", seed);
    for (int round = 0; round < 2000; round++) {
        size_t length = (size_t)rand_r(&seed) % (round % 50 == 0 ? INPUT_MAX : 200);
        unsigned letters = 2 + (unsigned)rand_r(&seed) % 20; /* the more, the longer the lines */
        for (size_t i = 0; i < length; i++) {
            unsigned letter = (unsigned)rand_r(&seed) % letters;
            data[i] = letter < sizeof alphabet ? alphabet[letter] : 'x';
        }
        encode_whole(&whole, data, length);
        check(data, length, &whole);
        parts.length = 0;
        wire_init(&parts.encoder);
        for (size_t at = 0; at < length;) {
            size_t piece = 1 + (size_t)rand_r(&seed) % 40;
            piece = piece < length - at ? piece : length - at;
            add(&parts, data + at, piece, 2 + (size_t)rand_r(&seed) % 60);
            at += piece;
        }
        finish(&parts);
        check_same(&parts, &whole);
    }
}

static void check_text(const char *message, const char *wire, uint64_t octets, uint64_t header,
                       uint64_t bare_lf, unsigned flags)
{
    static struct encoded encoded;
    encode_whole(&encoded, (const uint8_t *)message, strlen(message));
    cr_assert_eq(encoded.length, strlen(wire), "%s", message);
    cr_assert(memcmp(encoded.data, wire, encoded.length) == 0, "%s", message);
    cr_assert_eq(encoded.encoder.octets, octets);
    cr_assert_eq(encoded.encoder.header_length, header);
    cr_assert_eq(encoded.encoder.bare_lf_count, bare_lf);
    cr_assert_eq(encoded.encoder.flags, flags);
}

Test(wire, the_empty_message_is_just_the_terminator)
{
    check_text("", ".\r\n", 0, 0, 0, WIRE_NO_SEPARATOR);
}

Test(wire, a_message_in_order_is_only_terminated)
{
    check_text("A: b\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n.\r\n", 11, 8, 0, 0);
}

Test(wire, a_bare_line_feed_becomes_a_line_end_and_is_counted)
{
    check_text("A: b\n\n.\n", "A: b\r\n\r\n..\r\n.\r\n", 11, 8, 3, 0);
}

Test(wire, a_bare_carriage_return_is_kept_and_begins_no_line)
{
    check_text("\r.\r\n", "\r.\r\n.\r\n", 4, 4, 0, WIRE_NO_SEPARATOR | WIRE_HAS_BARE_CR);
    check_text("x\r", "x\r\r\n.\r\n", 4, 4, 0, WIRE_NO_SEPARATOR | WIRE_HAS_BARE_CR);
    check_text("\r\r\n", "\r\r\n.\r\n", 3, 3, 0, WIRE_NO_SEPARATOR | WIRE_HAS_BARE_CR);
}

Test(wire, a_dot_at_a_line_start_is_doubled_and_not_counted)
{
    check_text(".", "..\r\n.\r\n", 3, 4, 0, WIRE_NO_SEPARATOR);
    check_text("\r\n.\r\n", "\r\n..\r\n.\r\n", 5, 2, 0, 0);
}

Test(wire, the_smuggling_line_ends_end_nothing)
{
    check_text("\r\nx\n.\r\ny", "\r\nx\r\n..\r\ny\r\n.\r\n", 11, 2, 1, 0);
    check_text("\r\nx\n.\ny", "\r\nx\r\n..\r\ny\r\n.\r\n", 11, 2, 2, 0);
    check_text("\r\nx\r\n.\ny", "\r\nx\r\n..\r\ny\r\n.\r\n", 11, 2, 1, 0);
    check_text("\r\nx\r.\ry", "\r\nx\r.\ry\r\n.\r\n", 9, 2, 0, WIRE_HAS_BARE_CR);
}

Test(wire, octets_of_the_body_are_not_8bit_headers)
{
    check_text("A\r\n\r\n\xc3\xa4\r\n", "A\r\n\r\n\xc3\xa4\r\n.\r\n", 9, 5, 0, 0);
    check_text("\xc3\xa4\r\n\r\n", "\xc3\xa4\r\n\r\n.\r\n", 6, 6, 0, WIRE_HEADER_8BIT);
}

Test(wire, top_ends_behind_the_line_asked_for_cut_anywhere)
{
    static const uint8_t body[] = "one\r\n\r\nthree\r\nfour\r\n";
    static const uint64_t ends[] = {0, 5, 7, 14, 20, 20};
    size_t length = sizeof body - 1;
    for (uint64_t lines = 0; lines < 6; lines++) {
        for (size_t cut = 0; cut <= length; cut++) {
            struct wire_top top = {.lines_left = lines};
            bool is_found = wire_top_scan(&top, body, cut);
            if (!is_found) {
                is_found = wire_top_scan(&top, body + cut, length - cut);
            }
            cr_assert_eq(is_found, lines < 5);
            cr_assert_eq(top.position, ends[lines]);
        }
    }
}
