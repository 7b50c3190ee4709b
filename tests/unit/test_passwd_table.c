/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passwd_table.h"

#include "auth/secret.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char told[1024];

static void on_problem(void *owner, uint64_t line, const char *problem)
{
    (void)problem;
    cr_assert_eq(owner, told);
    (void)snprintf(told + strlen(told), sizeof told - strlen(told), "%llu ",
                   (unsigned long long)line);
}

static void on_changed(void *owner, const char *name)
{
    char *list = owner;
    (void)snprintf(list + strlen(list), sizeof told - strlen(list), "%s ", name);
}

static struct passwd_table *make(const char *text)
{
    struct passwd_table *table = NULL;
    size_t length = strlen(text);
    char *copy = malloc(length > 0 ? length : 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, length);
    told[0] = '\0';
    cr_assert_eq(secret_start(), STATUS_OK);
    cr_assert_eq(passwd_table_create(copy, length, "localhost", on_problem, told, &table),
                 STATUS_OK);
    return table;
}

Test(passwd_table, finds_whoever_is_in_it)
{
    struct account account;
    struct passwd_table *table = make("# users\na:{PLAIN}1\n\nB@X:{PLAIN}2\r\nc:{PLAIN}3");
    cr_expect_eq(passwd_table_count(table), 3);
    cr_assert_eq(passwd_table_find(table, "a@localhost", &account), STATUS_OK);
    cr_expect_str_eq(account.credentials[0].text, "{PLAIN}1");
    cr_assert_eq(passwd_table_find(table, "b@x", &account), STATUS_OK);
    cr_expect_str_eq(account.credentials[0].text, "{PLAIN}2");
    cr_expect_eq(passwd_table_find(table, "c@localhost", &account), STATUS_OK);
    cr_expect_eq(passwd_table_find(table, "a@x", &account), STATUS_NOT_FOUND);
    cr_expect(passwd_table_has_domain(table, "x", 1));
    cr_expect(passwd_table_has_domain(table, "localhost", 9));
    cr_expect_not(passwd_table_has_domain(table, "y", 1));
    cr_expect_str_eq(told, "");
    passwd_table_destroy(&table);
    passwd_table_destroy(&table);
}

Test(passwd_table, tells_bad_lines_by_their_number_and_keeps_the_rest)
{
    struct account account;
    struct passwd_table *table =
        make("a:{PLAIN}1\nb b:{PLAIN}2\nc:{NOPE}3\na:{PLAIN}4\nd:{PLAIN}5\n");
    cr_expect_str_eq(told, "2 3 4 ");
    cr_expect_eq(passwd_table_count(table), 3);
    cr_assert_eq(passwd_table_find(table, "a@localhost", &account), STATUS_OK);
    cr_expect_str_eq(account.credentials[0].text, "{PLAIN}1");
    cr_assert_eq(passwd_table_find(table, "c@localhost", &account), STATUS_OK);
    cr_expect_eq(account.credential_count, 0);
    passwd_table_destroy(&table);
}

Test(passwd_table, may_be_empty)
{
    struct account account;
    struct passwd_table *table = make("");
    cr_expect_eq(passwd_table_count(table), 0);
    cr_expect_eq(passwd_table_find(table, "a@localhost", &account), STATUS_NOT_FOUND);
    cr_expect_not(passwd_table_has_domain(table, "localhost", 9));
    passwd_table_destroy(&table);
}

Test(passwd_table, takes_many)
{
    size_t size = 4000 * 40, length = 0;
    char *text = malloc(size);
    struct account account;
    struct passwd_table *table = NULL;
    cr_assert_not_null(text);
    for (unsigned i = 0; i < 4000; i++) {
        length +=
            (size_t)snprintf(text + length, size - length, "u%u@d%u:{PLAIN}%u\n", i, i % 700, i);
    }
    cr_assert_eq(secret_start(), STATUS_OK);
    cr_assert_eq(passwd_table_create(text, length, "x", on_problem, told, &table), STATUS_OK);
    for (unsigned i = 0; i < 4000; i++) {
        char name[64], credential[64];
        (void)snprintf(name, sizeof name, "u%u@d%u", i, i % 700);
        (void)snprintf(credential, sizeof credential, "{PLAIN}%u", i);
        cr_assert_eq(passwd_table_find(table, name, &account), STATUS_OK);
        cr_expect_str_eq(account.credentials[0].text, credential);
    }
    passwd_table_destroy(&table);
}

Test(passwd_table, says_what_has_changed)
{
    char changed[sizeof told] = "";
    struct passwd_table *before = make("a:{PLAIN}1\nb:{PLAIN}2\nc:{PLAIN}3\n");
    struct passwd_table *now = make("d:{PLAIN}4\nc:{PLAIN}3\nb:{PLAIN}x\n");
    passwd_table_compare(before, now, on_changed, changed);
    cr_expect(strstr(changed, "a@localhost ") != NULL);
    cr_expect(strstr(changed, "b@localhost ") != NULL);
    cr_expect(strstr(changed, "c@localhost ") == NULL);
    cr_expect(strstr(changed, "d@localhost ") != NULL);
    cr_expect_eq(strlen(changed), 3 * strlen("a@localhost "));
    changed[0] = '\0';
    passwd_table_compare(now, now, on_changed, changed);
    cr_expect_str_eq(changed, "");
    passwd_table_destroy(&before);
    passwd_table_destroy(&now);
}
