/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passdb_embedded.h"

#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>

static void on_change(void *owner, const char *name)
{
    (void)name;
    ++*(unsigned *)owner;
}

Test(passdb_embedded, answers_from_the_accounts)
{
    char folder[64], path[96];
    struct account_db *db = NULL;
    struct passdb_embedded embedded;
    struct passdb *passdb = &embedded.passdb;
    struct passdb_query query = {0};
    unsigned changes = 0;
    uint64_t count = 0;
    bool exists = false;
    stage_make_folder(folder);
    (void)snprintf(path, sizeof path, "%s/accounts", folder);
    cr_assert_eq(account_db_open(path, &db, NULL), STATUS_OK);
    passdb_embedded_init(&embedded, db);
    cr_expect_not(passdb->ops->may_block);
    passdb->ops->watch(passdb, on_change, &changes);

    cr_assert_eq(identity_from_login("a@x", 3, NULL, &query.identity), STATUS_OK);
    cr_expect_eq(passdb->ops->find(passdb, &query), STATUS_NOT_FOUND);
    struct account account;
    stage_make_account(&account, "a@x", 3, STAGE_SECRET);
    cr_assert_eq(account_add(db, &account, NULL), STATUS_OK);
    cr_expect_eq(changes, 1);
    cr_assert_eq(passdb->ops->find(passdb, &query), STATUS_OK);
    cr_expect_eq(query.account.drop.id, 3);
    cr_expect_eq(passdb->ops->domain_exists(passdb, "x", 1, &exists), STATUS_OK);
    cr_expect(exists);
    cr_expect_eq(passdb->ops->count(passdb, &count), STATUS_OK);
    cr_expect_eq(count, 1);
    cr_expect_eq(passdb->ops->complete(passdb, &query.account), STATUS_OK);
    cr_expect_eq(passdb->ops->complete(passdb, &query.account), STATUS_LOST);

    account_db_close(&db);
    stage_remove_folder(path);
    stage_remove_folder(folder);
}
