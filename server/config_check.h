/* SPDX-License-Identifier: Apache-2.0 */
/* What makes a configuration wrong though each of its keys is right. Pure; any thread. */
#ifndef SERVER_CONFIG_CHECK_H
#define SERVER_CONFIG_CHECK_H

#include "server/config.h"

#include <stdbool.h>

struct config_fault {
    const char *section, *key;              /* the setting to blame, for its line, or "" and "" */
    const struct config_listener *listener; /* the listener to blame, or NULL */
    char text[256];
};

/* Whether the configuration can work. If not, `out_fault` says what is in the way. */
bool config_check(const struct config *config, struct config_fault *out_fault);

#endif
