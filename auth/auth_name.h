/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a client says it is: the names of a login taken apart. Pure; any thread.
 *
 *   user            the account `user@default`
 *   user@domain     the account of that name
 *   user%domain     the same, when "%" is among the separators; "user+host" with "+" (SDPS)
 *   user*master     the account `user`, for a master who shows his own password
 *   authzid, authcid of SASL: the account is the first, a master the second, where they differ
 */
#ifndef AUTH_AUTH_NAME_H
#define AUTH_AUTH_NAME_H

#include "auth/identity.h"

#include <stdbool.h>
#include <stddef.h>

/* How names are read; strings belong to whoever fills it in and stay. */
struct auth_name_rules {
    const char *default_domain;
    const char *separators; /* part user from domain in a name without "@"; "" for none */
    char master_separator;  /* 0: none */
};

struct auth_name {
    bool is_nameable; /* false: malformed, nobody has it */
    bool has_master;
    struct identity user;   /* whose maildrop; with is_nameable */
    struct identity master; /* whose password, with has_master */
};

/* Reads what USER, or PLAIN's authcid and authzid, have said. `authzid_length` 0: none. Always
 * answers: a malformed name is one that nobody has. */
void auth_name_read(const struct auth_name_rules *rules, const char *authzid, size_t authzid_length,
                    const char *authcid, size_t authcid_length, struct auth_name *out_name);

#endif
