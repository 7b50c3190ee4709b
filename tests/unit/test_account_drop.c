/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account_drop.h"

#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>

static char folder[64], path[96];
static struct account_db *db;
static char changed[128];

static void on_change(void *owner, const char *name)
{
    (void)snprintf(owner, sizeof changed, "%s", name);
}

static void start(void)
{
    stage_make_folder(folder);
    (void)snprintf(path, sizeof path, "%s/accounts", folder);
    cr_assert_eq(account_db_open(path, &db, NULL), STATUS_OK);
    account_db_watch(db, on_change, changed);
}

static void stop(void)
{
    account_db_close(&db);
    stage_remove_folder(path);
    stage_remove_folder(folder);
}

TestSuite(account_drop, .init = start, .fini = stop);

Test(account_drop, a_name_has_one_maildrop_until_it_is_removed)
{
    struct store_drop drop = {.volume = 2, .id = 0x1122334455667788}, found = {0};
    cr_expect_eq(account_drop_find(db, "a@x", &found), STATUS_NOT_FOUND);
    cr_assert_eq(account_drop_add(db, "a@x", &drop, NULL), STATUS_OK);
    cr_expect_eq(account_drop_add(db, "a@x", &drop, NULL), STATUS_EXISTS);
    cr_expect_eq(account_drop_add(db, "bare", &drop, NULL), STATUS_INVALID);
    cr_assert_eq(account_drop_find(db, "a@x", &found), STATUS_OK);
    cr_expect(found.volume == drop.volume && found.id == drop.id);
    changed[0] = '\0';
    cr_assert_eq(account_drop_remove(db, "a@x", NULL), STATUS_OK);
    cr_expect_str_eq(changed, "a@x");
    cr_expect_eq(account_drop_find(db, "a@x", &found), STATUS_NOT_FOUND);
    cr_expect_eq(account_drop_remove(db, "a@x", NULL), STATUS_NOT_FOUND);
    cr_expect_eq(account_drop_remove(db, "bare", NULL), STATUS_NOT_FOUND);
}

static bool on_drop(void *owner, const char *name, const struct store_drop *drop)
{
    char *list = owner;
    (void)snprintf(list + strlen(list), 64, "%.30s=%llu ", name, (unsigned long long)drop->id);
    return drop->id != 2;
}

Test(account_drop, all_are_listed_until_enough)
{
    char list[128] = "";
    cr_assert_eq(account_drop_add(db, "b@x", &(struct store_drop){.id = 2}, NULL), STATUS_OK);
    cr_assert_eq(account_drop_add(db, "a@x", &(struct store_drop){.id = 1}, NULL), STATUS_OK);
    cr_assert_eq(account_drop_add(db, "c@x", &(struct store_drop){.id = 3}, NULL), STATUS_OK);
    cr_assert_eq(account_drop_each(db, "", on_drop, list), STATUS_OK);
    cr_expect_str_eq(list, "a@x=1 b@x=2 ");
}

Test(account_drop, masters_are_no_users_and_are_announced_by_another_name)
{
    struct account master, found;
    stage_make_account(&master, "admin@x", 0, "{PLAIN}secret");
    cr_assert_eq(account_master_add(db, &master, NULL), STATUS_OK);
    cr_expect_str_eq(changed, ACCOUNT_MASTER_MARK "admin@x");
    cr_expect_eq(account_master_add(db, &master, NULL), STATUS_EXISTS);
    cr_expect_eq(account_find(db, "admin@x", &found), STATUS_NOT_FOUND);
    cr_assert_eq(account_master_find(db, "admin@x", &found), STATUS_OK);
    bool exists = true;
    cr_assert_eq(account_domain_exists(db, "x", 1, &exists), STATUS_OK);
    cr_expect_not(exists);
    found.disabled = true;
    cr_assert_eq(account_master_change(db, &found, NULL), STATUS_OK);
    cr_assert_eq(account_master_find(db, "admin@x", &found), STATUS_OK);
    cr_expect(found.disabled);
    cr_assert_eq(account_master_remove(db, "admin@x", NULL), STATUS_OK);
    cr_expect_eq(account_master_find(db, "admin@x", &found), STATUS_NOT_FOUND);
    cr_expect_eq(account_master_change(db, &found, NULL), STATUS_NOT_FOUND);
}
