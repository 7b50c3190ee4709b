/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Under which terms an account admits whoever has its password: open or closed, only with TLS, only
 * from certain networks. They are asked after the password was found right and never before, so
 * that they tell a stranger nothing. Pure; any thread.
 */
#ifndef AUTH_TERMS_H
#define AUTH_TERMS_H

#include "auth/auth_limits.h"
#include "io/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account;

/* All zero: everybody with the password. */
struct terms {
    bool is_disabled;
    bool needs_tls;
    uint8_t network_count; /* 0: from anywhere */
    struct address_network networks[AUTH_NETWORKS_MAX];
    char reason[AUTH_REASON_MAX + 1]; /* why disabled; may be empty */
};

/* The account's terms. False, and `out_terms` untouched, when it has none. */
bool terms_of(const struct account *account, struct terms *out_terms);

/* Whether a connection from `peer` (NULL: unknown) is admitted. If not, `out_reason` says why, in
 * words for the account's owner; empty when the operator gave none. A peer on a UNIX socket is in
 * no network. */
bool terms_admit(const struct terms *terms, const struct address *peer, bool tls,
                 char out_reason[AUTH_REASON_MAX + 1]);

/* Reads "192.0.2.0/24,2001:db8::/32" (commas or spaces; "local" means loopback) into an account's
 * networks. STATUS_INVALID for one that is none, STATUS_LIMIT for more than AUTH_NETWORKS_MAX; the
 * account is then untouched. */
MUST_CHECK enum status terms_parse_networks(const char *text, size_t length,
                                            struct account *account);

#endif
