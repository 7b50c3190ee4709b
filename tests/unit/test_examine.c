/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/examine.h"

#include <criterion/criterion.h>
#include <string.h>

static char message[8192];
static size_t message_length;

static const char trace[] = "Return-Path: <x@y>\r\nReceived: from here\r\n\tby there\r\n";

/* A letter for `user` as a server would send it, behind its trace headers. */
static void make(uint32_t user)
{
    struct letter_cursor cursor;
    struct letter letter = {.seed = 4, .number = 8, .user = user, .octets = 3000, .file = -1};
    letter_text_make();
    letter_begin(&cursor, &letter, NULL);
    memcpy(message, trace, sizeof trace - 1);
    message_length = sizeof trace - 1;
    message_length += letter_read(&cursor, message + message_length, 4000);
}

static enum examine_flaw look(uint32_t user, uint64_t announced, bool compares)
{
    struct examine examine;
    uint64_t letter = 0;
    examine_begin(&examine, user, announced, compares);
    for (size_t at = 0; at < message_length;) {
        const char *feed = memchr(message + at, '\n', message_length - at);
        size_t length = feed == NULL ? message_length - at : (size_t)(feed - (message + at)) + 1;
        examine_feed(&examine, NULL, message + at, length, true);
        at += length;
    }
    enum examine_flaw flaw = examine_end(&examine, &letter);
    cr_assert_eq(letter != 0, flaw == EXAMINE_GOOD);
    return flaw;
}

Test(examine, takes_a_letter_behind_trace_headers)
{
    make(3);
    cr_assert_eq(look(3, message_length, true), EXAMINE_GOOD);
    cr_assert_eq(look(3, UINT64_MAX, true), EXAMINE_GOOD, "LIST was not asked");
    cr_assert_eq(look(3, message_length, false), EXAMINE_GOOD);
}

Test(examine, notices_a_flipped_octet_anywhere_in_the_letter)
{
    make(3);
    for (size_t at = sizeof trace - 1 + LETTER_MARK_LENGTH; at < message_length; at++) {
        message[at] ^= 4;
        enum examine_flaw flaw = look(3, message_length, true);
        cr_assert(flaw == EXAMINE_CONTENT || flaw == EXAMINE_SIZE, "octet %zu", at);
        message[at] ^= 4;
    }
}

Test(examine, notices_another_size_than_was_announced)
{
    make(3);
    cr_assert_eq(look(3, message_length + 1, true), EXAMINE_SIZE);
    cr_assert_eq(look(3, message_length - 1, false), EXAMINE_SIZE);
}

Test(examine, notices_a_letter_cut_short)
{
    make(3);
    message_length -= 100;
    cr_assert_eq(look(3, message_length, true), EXAMINE_SIZE);
}

Test(examine, notices_octets_behind_the_letter)
{
    make(3);
    memcpy(message + message_length, "extra\r\n", 7);
    message_length += 7;
    cr_assert_eq(look(3, message_length, true), EXAMINE_CONTENT);
}

Test(examine, notices_mail_of_somebody_else)
{
    make(3);
    cr_assert_eq(look(4, message_length, true), EXAMINE_MISPLACED);
}

Test(examine, knows_that_other_mail_is_not_its_own)
{
    static const char mail[] = "Subject: hello\r\n\r\nX-Restante-Bench: not here\r\n";
    memcpy(message, mail, sizeof mail - 1);
    message_length = sizeof mail - 1;
    cr_assert_eq(look(3, message_length, true), EXAMINE_UNMARKED);
    cr_assert_eq(look(3, 5, true), EXAMINE_SIZE, "but its size counts");
}

Test(examine, cannot_judge_a_file_of_a_corpus_it_does_not_have)
{
    char text[] = "Subject: x\r\n\r\nbody\r\n";
    struct corpus_file file = {.data = text, .length = sizeof text - 1};
    struct corpus corpus = {.file_count = 1, .files = &file};
    struct letter letter = {.seed = 1, .user = 3, .file = 0};
    struct letter_cursor cursor;
    letter_fit(&letter, &corpus);
    letter_begin(&cursor, &letter, &corpus);
    message_length = letter_read(&cursor, message, sizeof message);
    cr_assert_eq(look(3, message_length, true), EXAMINE_UNMARKED);
}
