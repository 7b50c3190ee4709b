/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/roll.h"

static void set_name(uint32_t number, char out_name[32])
{
    (void)snprintf(out_name, 32, "user%u@roll.test", number);
}

static enum status open_db(const char *path, struct account_db **out_db, struct error *out_error)
{
    char accounts[256];
    int length = snprintf(accounts, sizeof accounts, "%s/accounts", path);
    assert(length > 0 && (size_t)length < sizeof accounts);
    return account_db_open(accounts, out_db, out_error);
}

void roll_open(struct roll *roll, const char *path)
{
    enum status status = open_db(path, &roll->db, NULL);
    assert(status == STATUS_OK);
}

void roll_close(struct roll *roll)
{
    account_db_close(&roll->db);
}

static void add(struct roll *roll)
{
    struct account account = {.drop = {0, roll->count + 1}};
    struct roll_entry *entry = &roll->entries[roll->count];
    if (roll->count == ROLL_MAX) {
        return;
    }
    set_name(roll->count++, account.name);
    enum status status = account_set_credential(&account, "{PLAIN}secret");
    assert(status == STATUS_OK);
    *entry = (struct roll_entry){roll->position(), LEDGER_NEVER, LEDGER_NEVER, LEDGER_NEVER};
    status = account_add(roll->db, &account, NULL);
    assert(status == STATUS_OK);
    entry->added = roll->position();
}

static void remove_one(struct roll *roll, struct roll_entry *entry)
{
    char name[32];
    set_name((uint32_t)(entry - roll->entries), name);
    entry->removing = roll->position();
    enum status status = account_remove(roll->db, name, NULL);
    assert(status == STATUS_OK);
    entry->removed = roll->position();
}

void roll_step(struct roll *roll, struct chance *chance)
{
    struct roll_entry *entry =
        roll->count > 0 ? &roll->entries[chance_below(chance, roll->count)] : NULL;
    if (entry != NULL && entry->removing == LEDGER_NEVER && chance_percent(chance, 40)) {
        remove_one(roll, entry);
    } else {
        add(roll);
    }
}

static void check_entry(const struct roll *roll, uint32_t number, struct account_db *db,
                        uint64_t position, struct inspection *inspection)
{
    const struct roll_entry *entry = &roll->entries[number];
    struct account account;
    char name[32];
    set_name(number, name);
    enum status status = account_find(db, name, &account);
    bool may_be = entry->sent < position && entry->removed > position;
    bool must_be = entry->added <= position && entry->removing >= position;
    if (status == STATUS_OK && !may_be) {
        inspect_complain(inspection, "account %s is there and must not be", name);
    } else if (status == STATUS_OK && account.drop.id != number + 1) {
        inspect_complain(inspection, "account %s is changed", name);
    } else if (status == STATUS_NOT_FOUND && must_be) {
        inspect_complain(inspection, "account %s was acknowledged and is lost", name);
    } else if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        inspect_complain(inspection, "account %s cannot be read: %s", name, status_name(status));
    }
}

void roll_inspect(const struct roll *roll, const char *path, uint64_t position,
                  struct inspection *inspection)
{
    struct account_db *db = NULL;
    struct error error = {0};
    enum status status = open_db(path, &db, &error);
    if (status != STATUS_OK) {
        inspect_complain(inspection, "the accounts do not open: %s, %s", status_name(status),
                         error.text);
        return;
    }
    for (uint32_t i = 0; i < roll->count; i++) {
        check_entry(roll, i, db, position, inspection);
    }
    account_db_close(&db);
}
