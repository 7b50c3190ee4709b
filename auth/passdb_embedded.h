/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded accounts (auth/account.h) as a user database. Threads as there. */
#ifndef AUTH_PASSDB_EMBEDDED_H
#define AUTH_PASSDB_EMBEDDED_H

#include "auth/passdb.h"

struct passdb_embedded {
    struct passdb passdb;
    struct account_db *accounts;
};

/* `accounts` remains the caller's and must outlive it. */
void passdb_embedded_init(struct passdb_embedded *embedded, struct account_db *accounts);

#endif
