/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aliases, for delivery only: a name that stands for accounts, of whatever database. "@domain" is
 * the domain's catch-all: where mail for its unknown names goes. They live beside the embedded
 * accounts; threads and durability as there (auth/account.h).
 *
 * A target may be an alias too. The whole of an alias is at most AUTH_ALIAS_TARGETS_MAX names, so
 * that a loop ends; none is accepted, but former versions did.
 *
 * Record: targets (2 octets), then each: length (2), name.
 */
#ifndef AUTH_ACCOUNT_ALIAS_H
#define AUTH_ACCOUNT_ALIAS_H

#include "auth/account.h"

#include <stdbool.h>
#include <stdint.h>

struct alias {
    char name[AUTH_NAME_MAX + 1]; /* local@domain or @domain, lower case */
    uint32_t target_count;        /* at least one in what is stored */
    char targets[AUTH_ALIAS_TARGETS_MAX][AUTH_NAME_MAX + 1];
};

/* Names, each once, as an alias is opened. */
struct alias_names {
    uint32_t count;
    char names[AUTH_ALIAS_TARGETS_MAX][AUTH_NAME_MAX + 1];
};

/* Adds a name unless it is there or there is no room. Pure. */
void account_alias_collect(struct alias_names *names, const char *name);

/* Sets or replaces. STATUS_INVALID when a name is none, the count is out of its bounds, or the
 * alias would lead back to itself, which is checked in the transaction that writes it. */
MUST_CHECK enum status account_alias_set(struct account_db *db, const struct alias *alias,
                                         struct error *out_error);
MUST_CHECK enum status account_alias_remove(struct account_db *db, const char *name,
                                            struct error *out_error);
/* STATUS_NOT_FOUND. */
MUST_CHECK enum status account_alias_find(struct account_db *db, const char *name,
                                          struct alias *out_alias);
/* As account_each. */
MUST_CHECK enum status account_alias_each(struct account_db *db, const char *after,
                                          bool (*on_alias)(void *owner, const struct alias *alias),
                                          void *owner);

#endif
