/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account_alias.h"

#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>

static char folder[64], path[96];
static struct account_db *db;

static void start(void)
{
    stage_make_folder(folder);
    (void)snprintf(path, sizeof path, "%s/accounts", folder);
    cr_assert_eq(account_db_open(path, &db, NULL), STATUS_OK);
}

static void stop(void)
{
    account_db_close(&db);
    stage_remove_folder(path);
    stage_remove_folder(folder);
}

TestSuite(account_alias, .init = start, .fini = stop);

static enum status set(const char *name, uint32_t count, const char *first, const char *second)
{
    static struct alias alias;
    memset(&alias, 0, sizeof alias);
    alias.target_count = count;
    (void)snprintf(alias.name, sizeof alias.name, "%s", name);
    (void)snprintf(alias.targets[0], sizeof alias.targets[0], "%s", first);
    (void)snprintf(alias.targets[1], sizeof alias.targets[1], "%s", second);
    return account_alias_set(db, &alias, NULL);
}

static bool has_domain(const char *domain)
{
    bool exists = false;
    cr_assert_eq(account_domain_exists(db, domain, strlen(domain), &exists), STATUS_OK);
    return exists;
}

Test(account_alias, comes_back_as_it_was_set_and_can_be_replaced)
{
    static struct alias alias;
    cr_assert_eq(set("post@x", 2, "a@x", "b@y"), STATUS_OK);
    cr_assert_eq(account_alias_find(db, "post@x", &alias), STATUS_OK);
    cr_expect_eq(alias.target_count, 2);
    cr_expect_str_eq(alias.targets[0], "a@x");
    cr_expect_str_eq(alias.targets[1], "b@y");
    cr_assert_eq(set("post@x", 1, "c@x", ""), STATUS_OK);
    cr_assert_eq(account_alias_find(db, "post@x", &alias), STATUS_OK);
    cr_expect_eq(alias.target_count, 1);
    cr_expect_eq(account_alias_find(db, "other@x", &alias), STATUS_NOT_FOUND);
    cr_expect_eq(account_alias_find(db, "", &alias), STATUS_NOT_FOUND);
}

Test(account_alias, makes_its_domain_ours_once_however_often_it_is_set)
{
    cr_expect_not(has_domain("x"));
    cr_assert_eq(set("post@x", 1, "a@y", ""), STATUS_OK);
    cr_assert_eq(set("post@x", 1, "b@y", ""), STATUS_OK);
    cr_assert_eq(set("@x", 1, "a@y", ""), STATUS_OK);
    cr_expect(has_domain("x"));
    cr_expect_not(has_domain("y"));
    cr_assert_eq(account_alias_remove(db, "post@x", NULL), STATUS_OK);
    cr_expect(has_domain("x"));
    cr_assert_eq(account_alias_remove(db, "@x", NULL), STATUS_OK);
    cr_expect_not(has_domain("x"));
    cr_expect_eq(account_alias_remove(db, "@x", NULL), STATUS_NOT_FOUND);
}

Test(account_alias, refuses_what_is_no_alias)
{
    static const char *const names[] = {"", "@", "bare", "a@", "a@b@c", "@b@c"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_expect_eq(set(names[i], 1, "a@x", ""), STATUS_INVALID, "%s", names[i]);
        cr_expect_eq(account_alias_remove(db, names[i], NULL), STATUS_NOT_FOUND);
    }
    cr_expect_eq(set("a@x", 0, "", ""), STATUS_INVALID);
    cr_expect_eq(set("a@x", 1, "bare", ""), STATUS_INVALID);
    cr_expect_eq(set("a@x", 1, "@x", ""), STATUS_INVALID);
    cr_expect_eq(set("a@x", AUTH_ALIAS_TARGETS_MAX + 1, "a@x", ""), STATUS_INVALID);
}

Test(account_alias, refuses_what_leads_back_to_itself)
{
    static struct alias alias;
    struct error error = {.status = STATUS_OK};
    cr_expect_eq(set("a@x", 1, "a@x", ""), STATUS_INVALID);
    cr_expect_eq(set("a@x", 2, "demo@x", "a@x"), STATUS_INVALID);
    cr_expect_not(has_domain("x"), "nothing was written");
    cr_assert_eq(set("b@x", 2, "demo@x", "c@x"), STATUS_OK);
    cr_assert_eq(set("c@x", 2, "b-not@x", "d@x"), STATUS_OK);
    cr_expect_eq(set("d@x", 1, "b@x", ""), STATUS_INVALID);
    cr_assert_eq(set("d@x", 1, "demo@x", ""), STATUS_OK);
    cr_assert_eq(set("d@x", 1, "e@x", ""), STATUS_OK);
    cr_expect_eq(set("d@x", 2, "e@x", "c@x"), STATUS_INVALID);
    cr_assert_eq(account_alias_find(db, "d@x", &alias), STATUS_OK);
    cr_expect_eq(alias.target_count, 1, "a replacement that is refused changes nothing");
    (void)snprintf(alias.targets[0], sizeof alias.targets[0], "b@x");
    cr_expect_eq(account_alias_set(db, &alias, &error), STATUS_INVALID);
    cr_expect_not_null(strstr(error.text, "by way of c@x"), "%s", error.text);
    cr_assert_eq(set("two@x", 2, "c@x", "d@x"), STATUS_OK, "two ways to one place are no loop");
}

static bool on_alias(void *owner, const struct alias *alias)
{
    char *list = owner;
    (void)snprintf(list + strlen(list), 64, "%.60s ", alias->name);
    return true;
}

Test(account_alias, all_are_listed_in_order)
{
    char list[128] = "";
    cr_assert_eq(set("b@x", 1, "a@x", ""), STATUS_OK);
    cr_assert_eq(set("@x", 1, "a@x", ""), STATUS_OK);
    cr_assert_eq(set("a@x", 1, "c@x", ""), STATUS_OK);
    cr_assert_eq(account_alias_each(db, "", on_alias, list), STATUS_OK);
    cr_expect_str_eq(list, "@x a@x b@x ");
    list[0] = '\0';
    cr_assert_eq(account_alias_each(db, "a@x", on_alias, list), STATUS_OK);
    cr_expect_str_eq(list, "b@x ");
}

Test(account_alias, takes_the_largest)
{
    static struct alias alias, back;
    (void)snprintf(alias.name, sizeof alias.name, "all@x");
    alias.target_count = AUTH_ALIAS_TARGETS_MAX;
    for (uint32_t i = 0; i < alias.target_count; i++) {
        memset(alias.targets[i], 'n', AUTH_NAME_MAX);
        memcpy(alias.targets[i] + AUTH_NAME_MAX - 2, "@x", 2);
        alias.targets[i][0] = (char)('a' + i % 26);
        alias.targets[i][1] = (char)('a' + i / 26);
    }
    cr_assert_eq(account_alias_set(db, &alias, NULL), STATUS_OK);
    cr_assert_eq(account_alias_find(db, "all@x", &back), STATUS_OK);
    cr_expect_eq(memcmp(&alias, &back, sizeof back), 0);
}
