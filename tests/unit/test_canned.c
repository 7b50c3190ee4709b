/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/canned.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct canned canned;

static void make(size_t octets)
{
    cr_assert_eq(canned_init(&canned, octets), STATUS_OK);
}

static void unmake(void)
{
    canned_deinit(&canned);
}

static struct canned_reply answer(const char *line)
{
    return canned_answer(&canned, line, strlen(line));
}

static void expect(const char *line, const char *text)
{
    struct canned_reply reply = answer(line);
    cr_assert_eq(reply.length, strlen(text), "%s", line);
    cr_assert_eq(memcmp(reply.data, text, reply.length), 0, "%s", line);
    cr_assert_not(reply.message);
}

TestSuite(canned, .fini = unmake);

Test(canned, a_message_has_so_many_octets_ends_with_its_terminator_and_has_no_wide_line)
{
    static const size_t sizes[] = {5, 70, 75, 76, 77, 78, 4096, 65536};
    for (size_t index = 0; index < sizeof sizes / sizeof sizes[0]; index++) {
        make(sizes[index]);
        struct canned_reply reply = answer("RETR 1\r\n");
        const char *body = (const char *)memchr(reply.data, '\n', reply.length) + 1;
        const char *end = reply.data + reply.length;
        cr_assert(reply.message);
        cr_assert_eq((size_t)(end - body), sizes[index]);
        cr_assert_eq(memcmp(end - 5, "\r\n.\r\n", 5), 0);
        for (const char *line = body; line < end;) {
            const char *feed = memchr(line, '\n', (size_t)(end - line));
            cr_assert_not_null(feed);
            cr_assert_leq(feed - line, 78);
            cr_assert(*line != '.' || feed + 1 == end, "a terminator in the middle");
            line = feed + 1;
        }
        canned_deinit(&canned);
    }
}

Test(canned, the_file_has_the_same_octets)
{
    static char read_back[5000];
    make(4096);
    ssize_t got = pread(canned.file_fd, read_back, sizeof read_back, 0);
    cr_assert_eq((size_t)got, canned.length);
    cr_assert_eq(memcmp(read_back, canned.message, canned.length), 0);
}

Test(canned, what_it_says_of_sizes_is_true)
{
    make(103);
    expect("STAT\r\n", "+OK 1 100\r\n");
    expect("LIST\r\n", "+OK\r\n1 100\r\n.\r\n");
    cr_assert_eq(memcmp(answer("RETR 1\r\n").data, "+OK 100 octets\r\n", 16), 0);
}

Test(canned, every_line_has_an_answer_and_QUIT_is_the_last)
{
    make(5);
    expect("UIDL\r\n", "+OK\r\n1 floor\r\n.\r\n");
    expect("USER a\r\n", "+OK\r\n");
    expect("PASS b\r\n", "+OK\r\n");
    expect("NOOP\r\n", "+OK\r\n");
    expect("U", "+OK\r\n");
    expect("", "+OK\r\n");
    cr_assert_not(answer("NOOP\r\n").last);
    cr_assert(answer("QUIT\r\n").last);
    cr_assert_eq(memcmp(canned_greeting().data, "+OK ", 4), 0);
}

Test(canned, a_message_without_room_for_its_terminator_is_refused)
{
    cr_assert_neq(canned_init(&canned, CANNED_OCTETS_MIN - 1), STATUS_OK);
}

Test(canned, without_a_folder_for_files_it_is_in_memory)
{
    cr_assert_eq(setenv("TMPDIR", "/nonexistent", 1), 0);
    make(100);
    cr_assert_eq(lseek(canned.file_fd, 0, SEEK_END), (off_t)canned.length);
}
