/* SPDX-License-Identifier: Apache-2.0 */
/* From the configuration's auth and oauth sections to an open struct auth. Main thread. */
#ifndef SERVER_OPEN_AUTH_H
#define SERVER_OPEN_AUTH_H

#include "auth/auth.h"
#include "server/config.h"

/* As auth_open. What auth has to tell an operator goes to the log. `offline`: for the
 * administrator's command, which needs one hashing thread and no tokens. */
MUST_CHECK enum status open_auth(const struct config *config, bool offline, struct auth **out_auth,
                                 struct error *out_error);

#endif
