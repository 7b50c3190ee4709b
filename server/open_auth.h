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

/* What open_auth would say of the passwd-files, and of the keys of tokens: they are read, nothing
 * else is touched, and an address is not asked. Lines that cannot be used go to the log. */
MUST_CHECK enum status check_passwd_files(const struct config *config, struct error *out_error);
MUST_CHECK enum status check_oauth(const struct config *config, struct error *out_error);

#endif
