/* SPDX-License-Identifier: Apache-2.0 */
#include "server/importer.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEEN_MAX 16

struct seen {
    unsigned count;
    char texts[SEEN_MAX][512];
    int64_t dates[SEEN_MAX];
    uint64_t done, total;
    enum status answer;
};

static enum status on_message(void *owner, const struct importer_message *message)
{
    struct seen *seen = owner;
    cr_assert_lt(seen->count, SEEN_MAX);
    cr_assert_lt(message->length, sizeof seen->texts[0]);
    memcpy(seen->texts[seen->count], message->data, message->length);
    seen->texts[seen->count][message->length] = '\0';
    seen->dates[seen->count] = message->received_ms;
    seen->count++;
    cr_expect_geq(message->octets_done, seen->done);
    seen->done = message->octets_done;
    seen->total = message->octets_total;
    return seen->answer;
}

static enum status split(const char *text, struct seen *seen)
{
    struct importer_visitor visitor = {on_message, seen};
    return importer_mbox((const uint8_t *)text, strlen(text), 42, "test", &visitor);
}

#define FROM "From a@b.example Thu Jan  1 00:00:00 1970 +0000\n"

Test(importer, an_mbox_is_split_at_from_lines_behind_empty_lines)
{
    struct seen seen = {.count = 0};
    cr_assert_eq(split(FROM "Subject: one\n\nbody\n\n" FROM "Subject: two\n\nbody\n\n", &seen),
                 STATUS_OK);
    cr_assert_eq(seen.count, 2);
    cr_expect_str_eq(seen.texts[0], "Subject: one\n\nbody\n");
    cr_expect_str_eq(seen.texts[1], "Subject: two\n\nbody\n");
    cr_expect_eq(seen.done, seen.total);
}

Test(importer, mboxrd_quoting_is_undone_by_one_mark)
{
    struct seen seen = {.count = 0};
    cr_assert_eq(split(FROM "S: x\n\n>From me\n>>From you\n> From\n>Frome\n", &seen), STATUS_OK);
    cr_assert_eq(seen.count, 1);
    cr_expect_str_eq(seen.texts[0], "S: x\n\nFrom me\n>From you\n> From\n>Frome\n");
}

Test(importer, a_line_that_only_looks_like_a_separator_is_text)
{
    struct seen seen = {.count = 0};
    cr_assert_eq(
        split(FROM "S: x\n\nFrom here on\n\nFrom the hills, Mon and Tue\n" FROM "z\n", &seen),
        STATUS_OK);
    cr_assert_eq(seen.count, 1, "no date, or no empty line in front");
}

Test(importer, an_mbox_with_crlf_keeps_its_line_ends)
{
    struct seen seen = {.count = 0};
    cr_assert_eq(split("From a Thu Jan  1 00:00:01 1970 +0000\r\nS: x\r\n\r\nb\r\n\r\n"
                       "From a Thu Jan  1 00:00:02 1970 +0000\r\nS: y\r\n\r\nc\r\n",
                       &seen),
                 STATUS_OK);
    cr_assert_eq(seen.count, 2);
    cr_expect_str_eq(seen.texts[0], "S: x\r\n\r\nb\r\n");
    cr_expect_eq(seen.dates[0], 1000);
    cr_expect_eq(seen.dates[1], 2000);
}

Test(importer, an_undated_first_line_takes_the_date_of_the_file)
{
    struct seen seen = {.count = 0};
    cr_assert_eq(split("\nFrom nobody\nS: x\n\nb\n", &seen), STATUS_OK);
    cr_assert_eq(seen.count, 1);
    cr_expect_eq(seen.dates[0], 42);
}

Test(importer, what_is_no_mbox_is_refused_and_nothing_is_nothing)
{
    struct seen seen = {.count = 0};
    cr_expect_eq(split("Subject: an eml file\n\nbody\n", &seen), STATUS_INVALID);
    cr_expect_eq(split("", &seen), STATUS_OK);
    cr_expect_eq(split("\n\n", &seen), STATUS_OK);
    cr_expect_eq(seen.count, 0);
}

Test(importer, an_mbox_cut_anywhere_loses_only_its_end)
{
    static const char text[] = FROM "S: 1\n\n>From x\n\n" FROM "S: 2\n\nb\n\n";
    for (size_t length = 0; length < sizeof text; length++) {
        struct seen seen = {.count = 0};
        struct importer_visitor visitor = {on_message, &seen};
        enum status status = importer_mbox((const uint8_t *)text, length, 42, "test", &visitor);
        cr_expect(status == STATUS_OK || (status == STATUS_INVALID && length < 5), "cut at %zu",
                  length);
        cr_expect_leq(seen.count, 2);
    }
}

Test(importer, the_visitor_can_end_an_import)
{
    struct seen seen = {.answer = STATUS_NO_SPACE};
    cr_expect_eq(split(FROM "a\n\n" FROM "b\n", &seen), STATUS_NO_SPACE);
    cr_expect_eq(seen.count, 1);
}

static bool date(const char *line, int64_t *out_ms)
{
    return importer_from_line((const uint8_t *)line, strlen(line), out_ms);
}

Test(importer, from_lines_are_read_with_zones_and_without)
{
    int64_t ms = 0;
    setenv("TZ", "UTC0", 1);
    cr_expect(date("From a@b Thu Jan  1 00:00:10 1970", &ms));
    cr_expect_eq(ms, 10000);
    cr_expect(date("From a@b Fri Nov 14 22:13:20 2023\r\n", &ms));
    cr_expect_eq(ms, 1700000000000);
    cr_expect(date("From a@b Sat Nov 15 00:13:20 2023 +0200", &ms));
    cr_expect_eq(ms, 1700000000000);
    cr_expect(date("From a@b Fri Nov 14 17:13:20 -0500 2023", &ms));
    cr_expect_eq(ms, 1700000000000);
    cr_expect(date("From - Fri Nov 14 22:13:20 GMT 2023", &ms));
    cr_expect_eq(ms, 1700000000000);
    cr_expect(date("From a b c Fri Nov 14 22:13 2023", &ms), "no seconds, spaces in the address");
    cr_expect_not(date("From a@b", &ms));
    cr_expect_not(date("From a@b Fri Nov 14 22:13:20", &ms));
    cr_expect_not(date("From a@b Fri Nov 99 22:13:20 2023", &ms));
    cr_expect_not(date("from a@b Fri Nov 14 22:13:20 2023", &ms));
    cr_expect_not(date("", &ms));
}

Test(importer, maildir_names_begin_with_their_time)
{
    int64_t ms = 0;
    cr_expect(importer_maildir_time("1700000000.M1P2.host:2,S", &ms));
    cr_expect_eq(ms, 1700000000000);
    cr_expect_not(importer_maildir_time("message.eml", &ms));
    cr_expect_not(importer_maildir_time("1700000000", &ms));
    cr_expect_not(importer_maildir_time("9999999999999999999.x", &ms));
}

/* --- folders --- */

static char folder[] = "/tmp/restante-test-importer-XXXXXX";

static void put(const char *name, const char *text)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    (void)fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

static void make_folder(void)
{
    char path[512];
    cr_assert_not_null(mkdtemp(folder));
    static const char *const parts[] = {"cur", "new", "tmp"};
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, parts[i]);
        cr_assert_eq(mkdir(path, 0700), 0);
    }
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    return remove(path);
}

static void remove_folder(void)
{
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(folders, .init = make_folder, .fini = remove_folder);

static enum status run(enum importer_format format, const char *name, struct seen *seen)
{
    char path[512];
    struct importer_visitor visitor = {on_message, seen};
    struct error error;
    (void)snprintf(path, sizeof path, "%s%s%s", folder, name[0] != '\0' ? "/" : "", name);
    return importer_run(format, path, &visitor, &error);
}

Test(folders, a_maildir_is_read_in_the_order_of_delivery)
{
    struct seen seen = {.count = 0};
    put("cur/1700000002.b.host:2,S", "third");
    put("new/1700000001.z.host", "first");
    put("cur/1700000002.a.host:2,", "second");
    put("tmp/1700000000.half.host", "never");
    put("cur/.hidden", "never");
    cr_assert_eq(run(IMPORTER_MAILDIR, "", &seen), STATUS_OK);
    cr_assert_eq(seen.count, 3);
    cr_expect_str_eq(seen.texts[0], "first");
    cr_expect_str_eq(seen.texts[1], "second");
    cr_expect_str_eq(seen.texts[2], "third");
    cr_expect_eq(seen.dates[0], 1700000001000);
    cr_expect_eq(seen.done, seen.total);
}

Test(folders, a_folder_without_cur_and_new_is_no_maildir)
{
    struct seen seen = {.count = 0};
    cr_expect_eq(run(IMPORTER_MAILDIR, "cur", &seen), STATUS_INVALID);
    cr_expect_eq(run(IMPORTER_MAILDIR, "nothing", &seen), STATUS_INVALID);
}

Test(folders, eml_files_come_alone_or_by_name)
{
    struct seen seen = {.count = 0};
    put("b.EML", "two");
    put("a.eml", "one");
    put("c.txt", "no mail");
    put("empty.eml", "");
    cr_assert_eq(run(IMPORTER_EML, "", &seen), STATUS_OK);
    cr_assert_eq(seen.count, 3);
    cr_expect_str_eq(seen.texts[0], "one");
    cr_expect_str_eq(seen.texts[1], "two");
    cr_expect_str_eq(seen.texts[2], "");
    struct seen one = {.count = 0};
    cr_assert_eq(run(IMPORTER_EML, "c.txt", &one), STATUS_OK, "a file that is named is read");
    cr_expect_eq(one.count, 1);
    cr_expect_eq(run(IMPORTER_EML, "missing.eml", &one), STATUS_NOT_FOUND);
}

Test(folders, an_mbox_file_is_read_from_disk)
{
    struct seen seen = {.count = 0};
    put("box", FROM "S: 1\n\nb\n\n" FROM "S: 2\n\nb\n");
    cr_assert_eq(run(IMPORTER_MBOX, "box", &seen), STATUS_OK);
    cr_expect_eq(seen.count, 2);
    put("box", "S: 1\n");
    cr_expect_eq(run(IMPORTER_MBOX, "box", &seen), STATUS_INVALID);
}
