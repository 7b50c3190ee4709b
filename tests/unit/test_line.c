/* SPDX-License-Identifier: Apache-2.0 */
#include "server/line.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LENGTH_MAX 16 /* octets of a line with its end, in these tests */

/* What a reader said about a stream, as text: "W:abc;" whole, "L;" too long, "B;" malformed. */
struct record {
    char text[4096];
    size_t length;
};

static void note(struct record *record, const char *kind, const char *line, size_t length)
{
    record->length +=
        (size_t)snprintf(record->text + record->length, sizeof record->text - record->length,
                         "%s%.*s;", kind, (int)length, line);
}

/* Takes all the lines there are; returns the octets that are done with. */
static size_t take_lines(struct line_reader *reader, const uint8_t *data, size_t length,
                         struct record *record)
{
    size_t done = 0;
    for (;;) {
        const char *line = NULL;
        size_t line_length = 0, taken = 0;
        enum line_result result =
            line_next(reader, data + done, length - done, &line, &line_length, &taken);
        cr_assert_leq(taken, length - done);
        done += taken;
        switch (result) {
        case LINE_PARTIAL:
            return done;
        case LINE_WHOLE:
            note(record, "W:", line, line_length);
            break;
        case LINE_TOO_LONG:
            note(record, "L", "", 0);
            break;
        case LINE_BAD:
            note(record, "B", "", 0);
            break;
        }
    }
}

/* Feeds a stream in pieces, keeping what was not taken in front of the next piece as a connection
 * does. `cut` octets come first, then pieces of `step`. */
static void feed(const char *stream, size_t length, size_t cut, size_t step, struct record *record)
{
    struct line_reader reader;
    line_reader_init(&reader, LENGTH_MAX);
    *record = (struct record){.length = 0};
    size_t begin = 0, end = cut;
    while (true) {
        /* A copy of exactly this size, so that a sanitizer sees every octet read beyond it. */
        uint8_t *data = malloc(end - begin + 1);
        memcpy(data, stream + begin, end - begin);
        begin += take_lines(&reader, data, end - begin, record);
        free(data);
        if (end == length) {
            break;
        }
        end = end + step < length ? end + step : length;
    }
}

static void expect(const char *stream, size_t length, const char *expected)
{
    struct record record;
    feed(stream, length, length, length, &record);
    cr_assert_str_eq(record.text, expected, "whole: %s, not %s", record.text, expected);
    feed(stream, length, 0, 1, &record);
    cr_assert_str_eq(record.text, expected, "byte by byte: %s, not %s", record.text, expected);
    for (size_t cut = 0; cut <= length; cut++) {
        feed(stream, length, cut, length, &record);
        cr_assert_str_eq(record.text, expected, "cut at %zu: %s, not %s", cut, record.text,
                         expected);
    }
}

#define EXPECT(stream, expected) expect(stream, sizeof(stream) - 1, expected)

Test(line, ends_at_crlf_and_leniently_at_lf)
{
    EXPECT("NOOP\r\nSTAT\nQUIT\r\n", "W:NOOP;W:STAT;W:QUIT;");
}

Test(line, waits_for_its_end)
{
    EXPECT("NOOP\r\nQUI", "W:NOOP;");
    EXPECT("", "");
    EXPECT("A\r", "");
}

Test(line, may_be_empty)
{
    EXPECT("\r\n\n\r\n", "W:;W:;W:;");
}

Test(line, of_exactly_the_limit_is_whole)
{
    EXPECT("12345678901234\r\nA\r\n", "W:12345678901234;W:A;");
    EXPECT("123456789012345\nA\r\n", "W:123456789012345;W:A;");
}

Test(line, of_one_octet_more_is_too_long)
{
    EXPECT("123456789012345\r\nA\r\n", "L;W:A;");
    EXPECT("1234567890123456\nA\r\n", "L;W:A;");
}

Test(line, that_is_much_too_long_is_told_once)
{
    char stream[20004];
    memset(stream, 'x', 20000);
    memcpy(stream + 20000, "\r\nA\n", 4);
    struct record record;
    const size_t steps[] = {1, 3, 15, 16, 17, 4096, sizeof stream};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        feed(stream, sizeof stream, 0, steps[i], &record);
        cr_assert_str_eq(record.text, "L;W:A;");
    }
}

Test(line, that_is_too_long_may_hold_anything)
{
    EXPECT("12345678901234567\0\r8\r\nA\r\n", "L;W:A;");
}

Test(line, two_that_are_too_long_are_told_twice)
{
    EXPECT("12345678901234567890\n12345678901234567890\r\nA\n", "L;L;W:A;");
}

Test(line, with_a_nul_is_malformed)
{
    EXPECT("NO\0OP\r\n\0\r\nNOOP\0\r\nA\r\n", "B;B;B;W:A;");
}

Test(line, with_a_bare_cr_is_malformed)
{
    EXPECT("NO\rOP\r\n\rA\r\nB\r\r\nA\r\n", "B;B;B;W:A;");
}

Test(line, passes_octets_above_ascii)
{
    EXPECT("\xc3\xa9 \xff\r\n", "W:\xc3\xa9 \xff;");
}

Test(line, of_random_streams_does_not_depend_on_the_cuts)
{
    const unsigned seed = (unsigned)time(NULL);
    unsigned state = seed;
    cr_log_info("seed %u", seed);
    static const char octets[] = {'a', 'b', ' ', '\r', '\n', '\r', '\n', '\0'};
    for (unsigned round = 0; round < 300; round++) {
        char stream[64];
        size_t length = (size_t)rand_r(&state) % sizeof stream;
        for (size_t i = 0; i < length; i++) {
            stream[i] = octets[(size_t)rand_r(&state) % sizeof octets];
        }
        struct record whole;
        feed(stream, length, length, 1, &whole);
        expect(stream, length, whole.text);
    }
}
