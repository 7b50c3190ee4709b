/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded accounts: an LMDB environment of their own under `accounts/`, durable at every
 * change, never touched by a rebuild or a restore of a volume.
 *
 * Reading is a short read transaction, any thread. Changes commit with a sync and block: admin
 * thread, hashing threads or command line only.
 */
#ifndef AUTH_ACCOUNT_H
#define AUTH_ACCOUNT_H

#include "auth/auth.h"
#include "auth/auth_limits.h"
#include "auth/secret.h"
#include "io/address.h"
#include "io/status.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stdint.h>

struct account_db;

/* One way to prove who one is: a Dovecot-style "{SCHEME}data" string. */
struct account_credential {
    char text[AUTH_CREDENTIAL_MAX + 1];
};

struct account {
    char name[AUTH_NAME_MAX + 1]; /* the key: local@domain, lower case */
    struct store_drop drop;
    int64_t created_ms;  /* UNIX time; the database sets it when it is 0 */
    int64_t changed_ms;  /* UNIX time; the database's */
    uint64_t generation; /* the database's: a number no earlier state of it has had */
    bool disabled;
    char reason[AUTH_REASON_MAX + 1];
    bool tls_required;      /* admits nobody without TLS */
    uint32_t network_count; /* networks it admits; 0: everywhere */
    struct address_network networks[AUTH_NETWORKS_MAX];
    uint8_t source; /* which of several databases knows it; theirs, not stored */
    uint32_t credential_count;
    struct account_credential credentials[AUTH_CREDENTIALS_MAX];
};

/* Opens the database in folder `path`, creating both. Blocking. Once in a process for a folder. */
MUST_CHECK enum status account_db_open(const char *path, struct account_db **out_db,
                                       struct error *out_error);
void account_db_close(struct account_db **db);

/* Has `on_change` called, on the changing thread, after each durable change and before the call
 * that made it returns. To be set before the database is shared. */
void account_db_watch(struct account_db *db, void (*on_change)(void *owner, const char *name),
                      void *owner);

/* A secret of this store, made with it and the same for ever: what must look alike today and
 * tomorrow, and differ between stores, is derived from it. */
const struct secret_key *account_db_secret(const struct account_db *db);

/* STATUS_NOT_FOUND. `name` is the key as auth/identity.h makes it. */
MUST_CHECK enum status account_find(struct account_db *db, const char *name,
                                    struct account *out_account);
/* Whether any account is in this domain. */
MUST_CHECK enum status account_domain_exists(struct account_db *db, const char *domain,
                                             size_t length, bool *out_exists);
/* STATUS_EXISTS when there is one of this name; STATUS_INVALID when the name is not "local@domain"
 * or a member exceeds its bound. */
MUST_CHECK enum status account_add(struct account_db *db, const struct account *account,
                                   struct error *out_error);
/* Adds `count` of them in one durable change, for the price of one, or none at all. As account_add;
 * `out_error` names the one that failed. */
MUST_CHECK enum status account_add_all(struct account_db *db, const struct account *accounts,
                                       size_t count, struct error *out_error);
/* Replaces it; STATUS_NOT_FOUND when there is none. */
MUST_CHECK enum status account_change(struct account_db *db, const struct account *account,
                                      struct error *out_error);
/* The same, but only if nobody has changed it since `account` was read; else STATUS_LOST. For what
 * makes no difference to who is let in, such as more credentials of the same password: it is not
 * announced, so that verdicts that are remembered stay (they share stamps: announced, the first
 * logins after an import of many accounts would make each other forgotten). */
MUST_CHECK enum status account_change_unchanged(struct account_db *db,
                                                const struct account *account,
                                                struct error *out_error);
MUST_CHECK enum status account_remove(struct account_db *db, const char *name,
                                      struct error *out_error);
/* Calls `on_account` for each, in the order of names, starting behind `after` ("" for all); stops
 * when it answers false. Works through short transactions: the list may change meanwhile. */
MUST_CHECK enum status account_each(struct account_db *db, const char *after,
                                    bool (*on_account)(void *owner, const struct account *account),
                                    void *owner);
MUST_CHECK enum status account_count(struct account_db *db, uint64_t *out_count);

/*
 * Masters: who may act for any account ("user*master"). The same records in a list of their own, so
 * that a master is no user and has no maildrop; `drop` means nothing. Their terms (disabled, TLS,
 * networks) are those of their logins. Changes are announced under ACCOUNT_MASTER_MARK and the
 * name.
 */
#define ACCOUNT_MASTER_MARK "@"
/* As account_find, among the masters. */
MUST_CHECK enum status account_master_find(struct account_db *db, const char *name,
                                           struct account *out_account);
/* As account_add: durable when it returns. */
MUST_CHECK enum status account_master_add(struct account_db *db, const struct account *account,
                                          struct error *out_error);
/* As account_change. */
MUST_CHECK enum status account_master_change(struct account_db *db, const struct account *account,
                                             struct error *out_error);
/* As account_remove. */
MUST_CHECK enum status account_master_remove(struct account_db *db, const char *name,
                                             struct error *out_error);
/* As account_each. */
MUST_CHECK enum status
account_master_each(struct account_db *db, const char *after,
                    bool (*on_account)(void *owner, const struct account *account), void *owner);

/* Replaces the credentials by those that `user add` and `passwd` store: yescrypt and SCRAM keys.
 * Slow (tens of milliseconds): never on a worker. STATUS_INVALID for an empty or over-long
 * password, and for one with a NUL or a line end in it. */
MUST_CHECK enum status account_set_password(struct account *account, const char *password,
                                            size_t length);
/* Replaces them by a ready "{SCHEME}data" credential (imports; no braces means {CRYPT}).
 * STATUS_UNSUPPORTED for unknown schemes, STATUS_INVALID for malformed data. */
MUST_CHECK enum status account_set_credential(struct account *account, const char *credential);
/* Takes its credentials from an account that has been read: all of it that is secret. */
void account_wipe(struct account *account);

#endif
