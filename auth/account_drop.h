/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maildrops of users whose database knows of none (a passwd-file, SQL): name to maildrop. They
 * live beside the embedded accounts; threads and durability as there (auth/account.h). Nothing is
 * removed when a user disappears from his database: he may be back, and his mail is his.
 */
#ifndef AUTH_ACCOUNT_DROP_H
#define AUTH_ACCOUNT_DROP_H

#include "auth/account.h"

/* STATUS_NOT_FOUND. */
MUST_CHECK enum status account_drop_find(struct account_db *db, const char *name,
                                         struct store_drop *out_drop);
/* STATUS_EXISTS. */
MUST_CHECK enum status account_drop_add(struct account_db *db, const char *name,
                                        const struct store_drop *drop, struct error *out_error);
/* Forgets it; the maildrop is then the caller's to remove from the store. */
MUST_CHECK enum status account_drop_remove(struct account_db *db, const char *name,
                                           struct error *out_error);
/* As account_each. */
MUST_CHECK enum status account_drop_each(struct account_db *db, const char *after,
                                         bool (*on_drop)(void *owner, const char *name,
                                                         const struct store_drop *drop),
                                         void *owner);

#endif
