/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/corpus.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/restante-corpus-XXXXXX";

static void write_file(const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void begin(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static void end(void)
{
    static const char *const names[] = {"b", "a", "c", ".hidden"};
    char path[128];
    for (size_t index = 0; index < 4; index++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[index]);
        unlink(path);
    }
    (void)snprintf(path, sizeof path, "%s/folder", folder);
    rmdir(path);
    rmdir(folder);
}

Test(corpus, reads_files_in_order_as_crlf_lines, .init = begin, .fini = end)
{
    char path[128];
    struct corpus *corpus;
    write_file("b", "two\r\nlines\r\n");
    write_file("a", "one\n\nopen end");
    write_file("c", "");
    write_file(".hidden", "not mail\n");
    (void)snprintf(path, sizeof path, "%s/folder", folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(corpus_open(folder, &corpus, NULL), STATUS_OK);
    cr_assert_eq(corpus->file_count, 3);
    cr_assert_eq(corpus->files[0].length, 17);
    cr_assert_eq(memcmp(corpus->files[0].data, "one\r\n\r\nopen end\r\n", 17), 0);
    cr_assert_eq(memcmp(corpus->files[1].data, "two\r\nlines\r\n", 12), 0);
    cr_assert_eq(corpus->files[2].length, 2);
    corpus_close(&corpus);
    corpus_close(&corpus);
}

Test(corpus, says_that_there_is_nothing, .init = begin, .fini = end)
{
    struct corpus *corpus;
    struct error error = {.text = ""};
    cr_assert_eq(corpus_open(folder, &corpus, &error), STATUS_NOT_FOUND);
    cr_assert_eq(corpus_open("/nowhere/at/all", &corpus, &error), STATUS_NOT_FOUND);
    cr_assert_str_neq(error.text, "");
}
