/* SPDX-License-Identifier: Apache-2.0 */
/* What account.c, account_alias.c and account_drop.c share; nobody else includes it. */
#ifndef AUTH_ACCOUNT_STATE_H
#define AUTH_ACCOUNT_STATE_H

#include "auth/account.h"
#include "auth/secret.h"
#include "storage/kv.h"

#include <string.h>

/* Immutable after account_db_open, but for the watcher, which is set before it is shared. */
struct account_db {
    struct kv *kv;
    unsigned accounts; /* name -> account_record.h */
    unsigned masters;  /* name -> the same */
    unsigned domains;  /* domain -> accounts and aliases in it (8 octets) */
    unsigned aliases;  /* name, or "@domain" -> targets, account_alias.c */
    unsigned drops;    /* name -> maildrop of another database's user, account_drop.c */
    unsigned meta;     /* "format", "generation" (8 octets each), "secret" */
    struct secret_key secret;
    void (*on_change)(void *owner, const char *name);
    void *owner;
    char path[256];
};

static inline struct kv_bytes account_text(const char *text)
{
    return (struct kv_bytes){text, strlen(text)};
}

/* The domain of a valid account name, or NULL. Who makes names is auth/identity.h; this only keeps
 * the tables sound. */
const char *account_name_domain(const char *name);

/* Adds one to the count of names in a domain, or takes one from it. */
MUST_CHECK enum status account_count_domain(struct account_db *db, struct kv_txn *txn,
                                            const char *domain, bool is_more);

/* The entry called `name` in `table`, in a transaction of its own; `on_entry` copies what it needs
 * of it. STATUS_NOT_FOUND. */
MUST_CHECK enum status account_get(struct account_db *db, unsigned table, const char *name,
                                   enum status (*on_entry)(void *owner, struct kv_bytes key,
                                                           struct kv_bytes value),
                                   void *owner);

/* The first entry of `table` behind `after`, likewise. STATUS_NOT_FOUND at the end. */
MUST_CHECK enum status account_next(struct account_db *db, unsigned table, const char *after,
                                    enum status (*on_entry)(void *owner, struct kv_bytes key,
                                                            struct kv_bytes value),
                                    void *owner);

/* Ends a change: commits when all went well, tells the watcher of `changed` (NULL: nobody), names
 * what failed; `what` is "account", `name` its name. */
enum status account_finish(struct account_db *db, struct kv_txn **txn, enum status status,
                           const char *what, const char *name, const char *changed,
                           struct error *out_error);

#endif
