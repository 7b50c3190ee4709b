/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passdb_embedded.h"

static struct account_db *accounts_of(struct passdb *passdb)
{
    return ((struct passdb_embedded *)(void *)passdb)->accounts;
}

static enum status find(struct passdb *passdb, struct passdb_query *query)
{
    return account_find(accounts_of(passdb), query->identity.name, &query->account);
}

static enum status domain_exists(struct passdb *passdb, const char *domain, size_t length,
                                 bool *out_exists)
{
    return account_domain_exists(accounts_of(passdb), domain, length, out_exists);
}

static enum status count(struct passdb *passdb, uint64_t *out_count)
{
    return account_count(accounts_of(passdb), out_count);
}

static enum status complete(struct passdb *passdb, const struct account *account)
{
    return account_change_unchanged(accounts_of(passdb), account, NULL);
}

static void watch(struct passdb *passdb, void (*on_change)(void *owner, const char *name),
                  void *owner)
{
    account_db_watch(accounts_of(passdb), on_change, owner);
}

static const struct passdb_ops embedded_ops = {
    .name = "embedded",
    .may_block = false,
    .find = find,
    .domain_exists = domain_exists,
    .count = count,
    .complete = complete,
    .watch = watch,
};

void passdb_embedded_init(struct passdb_embedded *embedded, struct account_db *accounts)
{
    embedded->passdb.ops = &embedded_ops;
    embedded->accounts = accounts;
}
