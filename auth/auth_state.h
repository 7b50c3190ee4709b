/* SPDX-License-Identifier: Apache-2.0 */
/* What auth.c, auth_login.c and auth_recipient.c share; nobody else includes it. */
#ifndef AUTH_AUTH_STATE_H
#define AUTH_AUTH_STATE_H

#include "auth/account.h"
#include "auth/auth.h"
#include "auth/auth_clock.h"
#include "auth/auth_drop.h"
#include "auth/auth_name.h"
#include "auth/cache.h"
#include "auth/passdb.h"
#include "auth/passdb_embedded.h"
#include "auth/passdb_order.h"
#include "auth/password.h"
#include "auth/throttle.h"
#include "auth/verify.h"

#include <stdatomic.h>

/* Immutable after auth_open, but for the counters; each part has locks of its own. */
struct auth {
    struct passdb *passdb; /* all databases in their order */
    struct passdb_order order;
    struct account_db *accounts; /* NULL without a path */
    struct passdb_embedded embedded;
    struct cache *cache;
    struct throttle *prefixes; /* who fails, by address */
    struct throttle *targets;  /* and whose account is tried */
    struct verify *verify;
    struct drop_provider drops;
    struct password_dummy dummy;
    struct secret_key fingerprint_key;
    struct secret_key lasting_key; /* the accounts' secret; without accounts, this process's */
    struct sasl_gsasl_library *gsasl;
    struct oauth *oauth; /* NULL: none */
    char default_domain[AUTH_DOMAIN_MAX + 1];
    char name_separators[AUTH_SEPARATORS_MAX + 1];
    char master_separator;
    char recipient_delimiter;
    bool exempt_loopback;
    _Atomic uint64_t hashes, hash_us_sum, delayed, stale, master_logins; /* statistics: relaxed */
};

/* How names of logins are read. */
struct auth_name_rules auth_rules(const struct auth *auth);

/* What a caller may know of an account; `reason` stays empty for one that is open. */
void auth_identity_set(struct auth_identity *identity, const struct account *account);

/* --- auth_login.c: what every way of logging in shares; on the worker ------------------------- */

/* USER and PASS, PLAIN, LOGIN: the names and a password. The mechanism has been set. */
MUST_CHECK enum auth_verdict auth_login_as(struct auth_request *request, const char *authzid,
                                           size_t authzid_length, const char *authcid,
                                           size_t authcid_length, const char *password,
                                           size_t password_length);

/*
 * Whoever it is has proved it: is this connection admitted, and where is the mail? `identity.name`
 * (and `master`) have been set; `terms` NULL for none. AUTH_OK, AUTH_DISABLED with a reason,
 * AUTH_UNAVAILABLE, or AUTH_PENDING: `on_verdict` will be called (auth_cancel gives it up).
 */
MUST_CHECK enum auth_verdict auth_admit(struct auth_request *request, const struct store_drop *drop,
                                        const struct terms *terms);

/*
 * Whoever it is has not proved it: AUTH_FAILED, or AUTH_PENDING while the reply is held back.
 * `fingerprint`, a keyed hash, stands for the credential that was shown; `identity` says whose
 * account was tried. `own.delay` has been readied and `own.started_ms` set (auth_begin).
 */
MUST_CHECK enum auth_verdict auth_refuse(struct auth_request *request, uint64_t fingerprint);

/* Readies a request for any of the above. */
void auth_begin(struct auth_request *request, const char *mechanism);

/* The terms of a login: the master's, else the account's. False: none. `master` may be NULL. */
bool auth_terms(const struct account *account, const struct account *master,
                struct terms *out_terms);

#endif
