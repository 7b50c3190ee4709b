/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account.h"

#include "auth/password.h"
#include "storage/kv.h"
#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>

static char folder[64], path[96];
static struct account_db *db;

static void open_db(void)
{
    stage_make_folder(folder);
    (void)snprintf(path, sizeof path, "%s/accounts", folder);
    cr_assert_eq(account_db_open(path, &db, NULL), STATUS_OK);
}

static void close_db(void)
{
    account_db_close(&db);
    account_db_close(&db);
    stage_remove_folder(path);
    stage_remove_folder(folder);
}

TestSuite(account, .init = open_db, .fini = close_db);

static enum status add(const char *name)
{
    struct account account;
    stage_make_account(&account, name, 4, "{PLAIN}secret");
    return account_add(db, &account, NULL);
}

static uint64_t count(void)
{
    uint64_t count = 0;
    cr_assert_eq(account_count(db, &count), STATUS_OK);
    return count;
}

static bool has_domain(const char *domain)
{
    bool exists = false;
    cr_assert_eq(account_domain_exists(db, domain, strlen(domain), &exists), STATUS_OK);
    return exists;
}

Test(account, is_there_once_added_and_after_opening_again)
{
    struct account account = {0};
    cr_expect_eq(account_find(db, "a@x", &account), STATUS_NOT_FOUND);
    cr_assert_eq(add("a@x"), STATUS_OK);
    cr_expect_eq(add("a@x"), STATUS_EXISTS);
    account_db_close(&db);
    cr_assert_eq(account_db_open(path, &db, NULL), STATUS_OK);
    cr_assert_eq(account_find(db, "a@x", &account), STATUS_OK);
    cr_expect_str_eq(account.name, "a@x");
    cr_expect_eq(account.drop.id, 4);
    cr_expect_str_eq(account.credentials[0].text, "{PLAIN}secret");
    cr_expect_gt(account.created_ms, INT64_C(1700000000000));
    cr_expect_eq(account.created_ms, account.changed_ms);
    cr_expect_eq(count(), 1);
}

Test(account, many_are_added_together_or_not_at_all)
{
    static struct account accounts[3];
    stage_make_account(&accounts[0], "a@x", 4, "{PLAIN}secret");
    stage_make_account(&accounts[1], "b@y", 5, "{PLAIN}secret");
    stage_make_account(&accounts[2], "a@x", 6, "{PLAIN}secret");
    struct error error = {0};
    cr_expect_eq(account_add_all(db, accounts, 3, &error), STATUS_EXISTS);
    cr_expect_not_null(strstr(error.text, "a@x"));
    cr_expect_eq(count(), 0);
    cr_expect_not(has_domain("y"));
    cr_expect_eq(account_add_all(db, accounts, 2, &error), STATUS_OK);
    cr_expect_eq(count(), 2);
    struct account first = {0}, second = {0};
    cr_assert_eq(account_find(db, "a@x", &first), STATUS_OK);
    cr_assert_eq(account_find(db, "b@y", &second), STATUS_OK);
    cr_expect_eq(second.drop.id, 5);
    cr_expect_neq(first.generation, second.generation);
    cr_expect(has_domain("y"));
    memcpy(accounts[2].name, "nobody", sizeof "nobody");
    cr_expect_eq(account_add_all(db, &accounts[2], 1, NULL), STATUS_INVALID);
    cr_expect_eq(account_add_all(db, accounts, 0, NULL), STATUS_OK);
}

Test(account, every_change_has_a_generation_of_its_own)
{
    struct account first = {0}, second = {0};
    cr_assert_eq(add("a@x"), STATUS_OK);
    cr_assert_eq(account_find(db, "a@x", &first), STATUS_OK);
    cr_assert_eq(account_change(db, &first, NULL), STATUS_OK);
    cr_assert_eq(account_find(db, "a@x", &second), STATUS_OK);
    cr_expect_gt(second.generation, first.generation);
    cr_expect_eq(second.created_ms, first.created_ms);
    cr_assert_eq(account_remove(db, "a@x", NULL), STATUS_OK);
    cr_assert_eq(add("a@x"), STATUS_OK);
    cr_assert_eq(account_find(db, "a@x", &first), STATUS_OK);
    cr_expect_gt(first.generation, second.generation);
}

Test(account, a_change_can_insist_on_what_was_read)
{
    struct account account = {0}, other = {0};
    struct error error = {0};
    cr_assert_eq(add("a@x"), STATUS_OK);
    cr_assert_eq(account_find(db, "a@x", &account), STATUS_OK);
    other = account;
    cr_assert_eq(account_change_unchanged(db, &other, NULL), STATUS_OK);
    cr_expect_eq(account_change_unchanged(db, &account, &error), STATUS_LOST);
    cr_expect_eq(error.status, STATUS_LOST);
    cr_assert_eq(account_remove(db, "a@x", NULL), STATUS_OK);
    cr_expect_eq(account_change_unchanged(db, &account, NULL), STATUS_NOT_FOUND);
    cr_expect_eq(account_change(db, &account, NULL), STATUS_NOT_FOUND);
    cr_expect_eq(account_remove(db, "a@x", NULL), STATUS_NOT_FOUND);
}

Test(account, a_domain_exists_as_long_as_someone_is_in_it)
{
    cr_expect_not(has_domain("x"));
    cr_assert_eq(add("a@x"), STATUS_OK);
    cr_assert_eq(add("b@x"), STATUS_OK);
    cr_assert_eq(add("a@y"), STATUS_OK);
    cr_expect_eq(add("a@x"), STATUS_EXISTS); /* counts nothing */
    cr_expect(has_domain("x"));
    cr_assert_eq(account_remove(db, "a@x", NULL), STATUS_OK);
    cr_expect(has_domain("x"));
    cr_assert_eq(account_remove(db, "b@x", NULL), STATUS_OK);
    cr_expect_not(has_domain("x"));
    cr_expect(has_domain("y"));
    cr_expect_not(has_domain(""));
}

Test(account, refuses_names_that_are_no_keys)
{
    static const char *const bad[] = {"", "a", "@x", "a@", "a@b@c"};
    struct account account = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(add(bad[i]), STATUS_INVALID, "%s", bad[i]);
        cr_expect_eq(account_find(db, bad[i], &account), STATUS_NOT_FOUND, "%s", bad[i]);
        cr_expect_eq(account_remove(db, bad[i], NULL), STATUS_NOT_FOUND, "%s", bad[i]);
    }
    stage_make_account(&account, "a@x", 1, "{PLAIN}secret");
    memset(account.reason, 'x', sizeof account.reason);
    cr_expect_eq(account_add(db, &account, NULL), STATUS_INVALID);
    cr_expect_eq(count(), 0);
}

struct seen {
    char names[16][8];
    unsigned count, stop_at;
};

static bool on_account(void *owner, const struct account *account)
{
    struct seen *seen = owner;
    (void)snprintf(seen->names[seen->count], sizeof seen->names[0], "%.7s", account->name);
    return ++seen->count != seen->stop_at;
}

Test(account, lists_in_order_from_anywhere_until_told_to_stop)
{
    struct seen seen = {0};
    cr_assert_eq(account_each(db, "", on_account, &seen), STATUS_OK);
    cr_expect_eq(seen.count, 0);
    cr_assert(add("b@x") == STATUS_OK && add("a@x") == STATUS_OK && add("a@xx") == STATUS_OK);
    cr_assert_eq(account_each(db, "", on_account, &seen), STATUS_OK);
    cr_expect_eq(seen.count, 3);
    cr_expect_str_eq(seen.names[0], "a@x");
    cr_expect_str_eq(seen.names[1], "a@xx");
    cr_expect_str_eq(seen.names[2], "b@x");
    seen = (struct seen){0};
    cr_assert_eq(account_each(db, "a@x", on_account, &seen), STATUS_OK);
    cr_expect(seen.count == 2 && strcmp(seen.names[0], "a@xx") == 0);
    seen = (struct seen){.stop_at = 1};
    cr_assert_eq(account_each(db, "", on_account, &seen), STATUS_OK);
    cr_expect_eq(seen.count, 1);
}

static void on_change(void *owner, const char *name)
{
    struct seen *seen = owner;
    (void)snprintf(seen->names[seen->count++], sizeof seen->names[0], "%.7s", name);
}

Test(account, tells_its_watcher_of_changes_that_happened)
{
    struct seen seen = {0};
    struct account account = {0};
    account_db_watch(db, on_change, &seen);
    cr_assert_eq(add("a@x"), STATUS_OK);
    cr_assert_eq(add("a@x"), STATUS_EXISTS);
    cr_assert_eq(account_find(db, "a@x", &account), STATUS_OK);
    cr_assert_eq(account_change_unchanged(db, &account, NULL), STATUS_OK); /* not of this */
    cr_assert_eq(account_change(db, &account, NULL), STATUS_OK);
    cr_assert_eq(account_remove(db, "a@x", NULL), STATUS_OK);
    cr_expect_eq(seen.count, 3);
    cr_expect_str_eq(seen.names[2], "a@x");
}

Test(account, stores_yescrypt_and_scram_for_a_password)
{
    struct account account = {.credential_count = 3};
    cr_assert_eq(account_set_password(&account, "s e", 3), STATUS_OK);
    cr_expect_eq(account.credential_count, 3);
    cr_expect_eq(strncmp(account.credentials[0].text, "{CRYPT}$y$", 10), 0);
    cr_expect_eq(strncmp(account.credentials[1].text, "{SCRAM-SHA-256}", 15), 0);
    cr_expect_eq(strncmp(account.credentials[2].text, "{SCRAM-SHA-1}", 13), 0);
    for (uint32_t i = 0; i < account.credential_count; i++) {
        cr_expect_eq(password_verify(account.credentials[i].text, "s e", 3), STATUS_OK);
    }
    cr_expect_eq(account_set_password(&account, "", 0), STATUS_INVALID);
    char longest[AUTH_CRYPT_MAX + 1];
    memset(longest, 'p', sizeof longest);
    cr_expect_eq(account_set_password(&account, longest, sizeof longest), STATUS_INVALID);
    cr_expect_eq(account_set_password(&account, "a\rb", 3), STATUS_INVALID);
    cr_expect_eq(account_set_password(&account, "a\nb", 3), STATUS_INVALID);
    cr_expect_eq(account_set_password(&account, "a\0b", 3), STATUS_INVALID);
    cr_expect_eq(account_set_password(&account, longest, AUTH_CRYPT_MAX), STATUS_OK);
    cr_expect_eq(account.credential_count, 3); /* untouched */
}

Test(account, leaves_no_octet_of_a_credential_that_is_wiped)
{
    static const struct account empty;
    struct account account = {
        .name = "a@b", .credential_count = 2, .credentials = {{"{PLAIN}a"}, {"{PLAIN}b"}}};
    account_wipe(&account);
    cr_assert_eq(account.credential_count, 0);
    cr_assert(memcmp(account.credentials, empty.credentials, sizeof empty.credentials) == 0);
    cr_assert_str_eq(account.name, "a@b");
}

Test(account, takes_ready_credentials_of_known_schemes)
{
    struct account account = {0};
    cr_assert_eq(account_set_credential(&account, "{PLAIN}x"), STATUS_OK);
    cr_assert_eq(account_set_credential(&account, "$1$saltsalt$9xy1btjgzLYfb7hivXtC//"), STATUS_OK);
    cr_expect_eq(account.credential_count, 1);
    cr_expect_str_eq(account.credentials[0].text, "{CRYPT}$1$saltsalt$9xy1btjgzLYfb7hivXtC//");
    cr_expect_eq(account_set_credential(&account, "{NOSUCH}x"), STATUS_UNSUPPORTED);
    cr_expect_eq(account_set_credential(&account, "{SHA}x"), STATUS_INVALID);
    cr_expect_eq(account_set_credential(&account, "plain"), STATUS_INVALID);
    cr_expect_eq(account.credential_count, 1);
}

Test(account, refuses_the_database_of_a_later_format)
{
    struct kv *kv = NULL;
    struct kv_txn *txn = NULL;
    unsigned meta = 0;
    uint8_t later[8] = {2};
    struct error error = {0};
    account_db_close(&db);
    const struct kv_config config = {
        .path = path, .map_size = 1 << 20, .tables_max = 3, .mode = 0600};
    cr_assert_eq(kv_open(&config, &kv, NULL), STATUS_OK);
    cr_assert_eq(kv_table(kv, "meta", &meta, NULL), STATUS_OK);
    cr_assert_eq(kv_begin_write(kv, &txn), STATUS_OK);
    cr_assert_eq(kv_put(txn, meta, (struct kv_bytes){"format", 6}, (struct kv_bytes){later, 8}),
                 STATUS_OK);
    cr_assert_eq(kv_commit(&txn), STATUS_OK);
    kv_close(&kv);
    cr_expect_eq(account_db_open(path, &db, &error), STATUS_UNSUPPORTED);
    cr_expect_null(db);
    cr_expect_eq(error.status, STATUS_UNSUPPORTED);
}

Test(account, says_where_it_cannot_open)
{
    struct account_db *other = NULL;
    struct error error = {0};
    cr_expect_neq(account_db_open("/nonexistent/accounts", &other, &error), STATUS_OK);
    cr_expect_str_eq(error.path, "/nonexistent/accounts");
    cr_expect_null(other);
}

Test(account, keeps_a_secret_of_the_store)
{
    struct secret_key first, zeros = {{0}};
    memcpy(&first, account_db_secret(db), sizeof first);
    cr_expect_neq(memcmp(&first, &zeros, sizeof first), 0);
    account_db_close(&db);
    cr_assert_eq(account_db_open(path, &db, NULL), STATUS_OK);
    cr_expect_eq(memcmp(&first, account_db_secret(db), sizeof first), 0);
}
