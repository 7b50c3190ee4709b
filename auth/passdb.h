/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user database: what auth/ asks of one. There are the embedded accounts and the passwd-file;
 * SQL, LDAP, HTTP and PAM fit the same shape.
 *
 * A database that answers from memory or memory-mapped files (`may_block` false) is asked on any
 * thread, workers included, and answers before the call returns. Any other is asked on the hashing
 * threads only, and on the administrator's, who explains a login; it may block there for as long as
 * its own time limit says, or return STATUS_PENDING and answer later, from any thread.
 *
 * What may go wrong, and who sees to it:
 *
 *   it answers late      nobody waits but who asked; a login is given up after AUTH_ANSWER_MAX_S,
 *                        its answer is remembered all the same when it comes
 *   it does not answer   its own time limit: it answers STATUS_TIMEOUT, once for each question
 *   it is down           it answers anything but STATUS_OK and STATUS_NOT_FOUND. After
 *                        AUTH_DATABASE_FAILURES of these in a row it is left alone for
 *                        AUTH_DATABASE_REST_S, so that nobody waits for it, and then one question
 *                        tries it again. Databases behind it are not asked for names that
 *                        could be its own. Who is remembered still gets in.
 */
#ifndef AUTH_PASSDB_H
#define AUTH_PASSDB_H

#include "auth/account.h"
#include "auth/identity.h"
#include "auth/verify.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>

struct passdb;
struct passdb_order;

/* One question. It belongs to whoever asks and stays where it is until answered. */
struct passdb_query {
    struct identity identity; /* in: nameable */
    struct account account;   /* out with STATUS_OK: `drop.volume` is AUTH_VOLUME_NONE where the
                                 database knows of no maildrops */
    /* Called once after STATUS_PENDING, on any thread, with the final status. */
    void (*on_answer)(struct passdb_query *query, enum status status);
    struct { /* of auth/passdb_order.h, when several databases are asked in turn */
        struct verify_job job;
        struct passdb_order *order;
        void (*on_answer)(struct passdb_query *query, enum status status);
        uint32_t position;
        enum status status;
    } turn;
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

    /* Answers everything that is pending (STATUS_CANCELLED) and from then on everything at once.
     * NULL: nothing is ever pending. */
    void (*stop)(struct passdb *passdb);

    /* Frees it; after it was stopped and has answered everything. NULL: it is not auth's to free.
     */
    void (*destroy)(struct passdb *passdb);
};

/* What every database begins with. */
struct passdb {
    const struct passdb_ops *ops;
};

#endif
