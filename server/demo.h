/* SPDX-License-Identifier: Apache-2.0 */
/* What --demo puts into a store that was just made: ten users and a few messages each. */
#ifndef SERVER_DEMO_H
#define SERVER_DEMO_H

#include "auth/auth.h"
#include "io/status.h"
#include "storage/store.h"

#include <stdbool.h>

#define DEMO_USERS    10
#define DEMO_PASSWORD "demo"

/* Main thread, before workers run. Does nothing when there are accounts already. */
MUST_CHECK enum status demo_fill(struct store *store, struct auth *auth, const char *domain,
                                 bool *out_filled, struct error *out_error);

#endif
