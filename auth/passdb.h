/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user database: what auth/ asks of one, so that further ones can follow the embedded accounts.
 *
 * A database that answers from memory or memory-mapped files (`may_block` false) is asked on any
 * thread, workers included, and answers before the call returns. Any other is asked on the hashing
 * threads only; it may block there for as long as its own time limit says, or return STATUS_PENDING
 * and answer later, from any thread.
 */
#ifndef AUTH_PASSDB_H
#define AUTH_PASSDB_H

#include "auth/account.h"
#include "auth/identity.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>

struct passdb;

/* One question. It belongs to whoever asks and stays where it is until answered. */
struct passdb_query {
    struct identity identity; /* in: nameable */
    struct account account;   /* out with STATUS_OK */
    /* Called once after STATUS_PENDING, on any thread, with the final status. */
    void (*on_answer)(struct passdb_query *query, enum status status);
};

struct passdb_ops {
    const char *name; /* for a person: "embedded" */
    bool may_block;

    /* Who is this? STATUS_OK; STATUS_NOT_FOUND: nobody of that name; STATUS_PENDING: on_answer
     * follows; anything else: the database cannot tell now. */
    enum status (*find)(struct passdb *passdb, struct passdb_query *query);

    /* Whether any account is in the domain. STATUS_OK, or the database cannot tell now. */
    enum status (*domain_exists)(struct passdb *passdb, const char *domain, size_t length,
                                 bool *out_exists);

    /* How many accounts there are, as far as it is known cheaply. */
    enum status (*count)(struct passdb *passdb, uint64_t *out_count);

    /* Keeps an account's further credentials, unless it has changed since it was read
     * (STATUS_LOST). On a hashing thread; may block. NULL: this database is not written. */
    enum status (*complete)(struct passdb *passdb, const struct account *account);

    /* Has `on_change` called after every change the database hears of and before the change is
     * confirmed to who makes it. NULL: it hears of none, and remembered verdicts live as long as
     * the cache says. */
    void (*watch)(struct passdb *passdb, void (*on_change)(void *owner, const char *name),
                  void *owner);
};

/* What every database begins with. */
struct passdb {
    const struct passdb_ops *ops;
};

#endif
