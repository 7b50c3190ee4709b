/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/letter.h"

#include "bench/dice.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char plain[70000];

static size_t make(const struct letter *letter, const struct corpus *corpus, size_t piece)
{
    struct letter_cursor cursor;
    size_t length = 0, got;
    letter_begin(&cursor, letter, corpus);
    while ((got = letter_read(&cursor, plain + length, piece)) > 0) {
        length += got;
        cr_assert_lt(length + piece, sizeof plain);
    }
    cr_assert(letter_at_end(&cursor));
    return length;
}

Test(letter, has_exactly_the_octets_it_says_for_every_size)
{
    letter_text_make();
    for (uint64_t octets = 0; octets < 1200; octets++) {
        struct letter letter = {
            .seed = 5, .number = octets, .user = 9, .octets = octets, .file = -1};
        letter_fit(&letter, NULL);
        size_t length = make(&letter, NULL, 1000);
        cr_assert_eq(length, octets < LETTER_OCTETS_MIN ? LETTER_OCTETS_MIN : octets);
        cr_assert_eq(memcmp(plain + length - 2, "\r\n", 2), 0);
    }
}

Test(letter, consists_of_crlf_lines_no_longer_than_mail_allows)
{
    letter_text_make();
    struct letter letter = {.seed = 77, .number = 1, .octets = 60000, .file = -1};
    size_t length = make(&letter, NULL, 333), column = 0, dots = 0;
    for (size_t at = 0; at < length; at++) {
        dots += column == 0 && plain[at] == '.';
        if (plain[at] == '\n') {
            cr_assert_eq(plain[at - 1], '\r');
            column = 0;
            continue;
        }
        cr_assert(plain[at] == '\r' || (plain[at] >= ' ' && plain[at] <= '~'));
        cr_assert_leq(++column, 130);
    }
    cr_assert_gt(dots, 5, "some lines have to be stuffed");
}

Test(letter, says_in_its_first_line_how_it_is_made)
{
    letter_text_make();
    struct letter letter = {.seed = 0xfedcba9876543210ull,
                            .number = 3,
                            .user = 4000000000u,
                            .octets = 2000,
                            .file = -1};
    struct letter read;
    size_t length = make(&letter, NULL, 100);
    cr_assert(letter_parse_mark(plain, length, &read));
    cr_assert_eq(read.seed, letter.seed);
    cr_assert_eq(read.number, letter.number);
    cr_assert_eq(read.user, letter.user);
    cr_assert_eq(read.octets, letter.octets);
    cr_assert_eq(read.file, -1);
    cr_assert_eq((char *)memchr(plain, '\n', length) - plain + 1, LETTER_MARK_LENGTH);
    for (size_t cut = 0; cut < LETTER_MARK_LENGTH - 12; cut++) {
        cr_assert_not(letter_parse_mark(plain, cut, &read), "cut at %zu", cut);
    }
    cr_assert_not(letter_parse_mark("Received: from x\r\n", 18, &read));
}

Test(letter, any_changed_octet_is_noticed_however_it_comes)
{
    letter_text_make();
    struct dice dice = {.state = 9};
    struct letter letter = {.seed = 1, .number = 2, .octets = 3000, .file = -1};
    size_t length = make(&letter, NULL, 512);
    for (size_t changed = 0; changed <= length; changed++) {
        struct letter_cursor cursor;
        bool same = true;
        letter_begin(&cursor, &letter, NULL);
        plain[changed] ^= changed < length ? 1 : 0;
        for (size_t at = 0; at < length && same;) {
            size_t piece = 1 + (size_t)dice_below(&dice, 200);
            piece = piece < length - at ? piece : length - at;
            same = letter_compare(&cursor, plain + at, piece);
            at += piece;
        }
        plain[changed] ^= changed < length ? 1 : 0;
        cr_assert_eq(same, changed == length, "octet %zu", changed);
    }
}

Test(letter, more_or_less_than_all_is_noticed)
{
    letter_text_make();
    struct letter_cursor cursor;
    struct letter letter = {.seed = 1, .number = 2, .octets = 900, .file = -1};
    size_t length = make(&letter, NULL, 512);
    letter_begin(&cursor, &letter, NULL);
    cr_assert(letter_compare(&cursor, plain, length - 1));
    cr_assert_not(letter_at_end(&cursor));
    cr_assert(letter_compare(&cursor, plain + length - 1, 1));
    cr_assert(letter_at_end(&cursor));
    cr_assert_not(letter_compare(&cursor, "x", 1));
}

/* What a receiver makes of the wire form: the lines, unstuffed, up to the dot. */
static size_t unstuff(const char *wire, size_t length, char *out)
{
    size_t made = 0;
    bool at_start = true;
    for (size_t at = 0; at < length; at++) {
        if (at_start && wire[at] == '.') {
            if (at + 3 == length) {
                return made;
            }
            at++;
        }
        out[made++] = wire[at];
        at_start = wire[at] == '\n';
    }
    cr_assert(false, "no end");
    return 0;
}

Test(letter, its_wire_form_is_stuffed_and_ended)
{
    static char back[70000];
    letter_text_make();
    struct dice dice = {.state = 1};
    for (unsigned round = 0; round < 300; round++) {
        struct letter letter = {.seed = dice_next(&dice),
                                .number = round,
                                .octets = 512 + dice_below(&dice, 9000),
                                .file = -1};
        size_t wire_length, length = make(&letter, NULL, 4096);
        char *wire = letter_wire(&letter, NULL, &wire_length);
        cr_assert_eq(memcmp(wire + wire_length - 5, "\r\n.\r\n", 5), 0);
        cr_assert_eq(unstuff(wire, wire_length, back), length);
        cr_assert_eq(memcmp(back, plain, length), 0);
        cr_assert_null(memmem(wire, wire_length - 1, "\r\n.\r\n", 5));
        free(wire);
    }
}

Test(letter, a_file_of_a_corpus_stands_behind_the_mark)
{
    static char back[4096];
    char text[] = "Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n";
    struct corpus_file file = {.data = text, .length = sizeof text - 1};
    struct corpus corpus = {.file_count = 1, .files = &file};
    struct letter letter = {.seed = 1, .number = 2, .octets = 7, .file = 0}, read;
    size_t wire_length;
    letter_fit(&letter, &corpus);
    cr_assert_eq(letter.octets, LETTER_MARK_LENGTH + file.length);
    size_t length = make(&letter, &corpus, 50);
    cr_assert_eq(length, letter.octets);
    cr_assert(letter_parse_mark(plain, length, &read));
    cr_assert_eq(read.file, 0);
    cr_assert_eq(memcmp(plain + LETTER_MARK_LENGTH, text, file.length), 0);
    char *wire = letter_wire(&letter, &corpus, &wire_length);
    cr_assert_eq(wire_length, length + 3 + 2, "two dots and the end");
    cr_assert_eq(unstuff(wire, wire_length, back), length);
    free(wire);
}
