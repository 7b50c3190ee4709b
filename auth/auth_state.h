/* SPDX-License-Identifier: Apache-2.0 */
/* What auth.c, auth_login.c and auth_recipient.c share; nobody else includes it. */
#ifndef AUTH_AUTH_STATE_H
#define AUTH_AUTH_STATE_H

#include "auth/auth.h"
#include "auth/cache.h"
#include "auth/passdb.h"
#include "auth/passdb_embedded.h"
#include "auth/password.h"
#include "auth/throttle.h"
#include "auth/verify.h"

#include <stdatomic.h>

/* Immutable after auth_open, but for the counters; each part has locks of its own. */
struct auth {
    struct passdb *passdb;
    struct account_db *accounts;     /* NULL with another database */
    struct passdb_embedded embedded; /* used when it is the database */
    struct cache *cache;
    struct throttle *throttle;
    struct verify *verify;
    struct password_dummy dummy;
    struct secret_key fingerprint_key;
    char default_domain[AUTH_DOMAIN_MAX + 1];
    char recipient_delimiter;
    bool exempt_loopback;
    _Atomic uint64_t hashes, hash_us_sum, delayed; /* statistics: relaxed */
};

/* Monotonic time for threads that run no loop; the loop's clock is the same. */
int64_t auth_clock_us(void);

/* What a caller may know of an account; `reason` stays empty for one that is open. */
void auth_identity_set(struct auth_identity *identity, const struct account *account);

#endif
