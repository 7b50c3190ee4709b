/* SPDX-License-Identifier: Apache-2.0 */
/* What the administrator may ask of the defence: who is held back, and forgetting it. Any thread.
 */
#ifndef AUTH_AUTH_PENALTY_H
#define AUTH_AUTH_PENALTY_H

#include "auth/auth.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth_penalty {
    bool is_account;            /* an account that is tried, else where failures come from */
    char who[ADDRESS_TEXT_MAX]; /* "192.0.2.7", "2001:db8:1::/48"; or the account, cut to fit */
    uint32_t failures;          /* that count now */
    uint32_t delay_ms;          /* what the next failure will cost at least */
    int64_t age_ms;             /* since the last one */
};

/* Writes up to `max` of them, the prefixes first; returns how many there are. */
uint64_t auth_penalties(struct auth *auth, struct auth_penalty *out, size_t max);

/* Forgets the penalty of an address (and its prefix) or of an account, or all of them (NULL);
 * returns how many that were. */
uint64_t auth_penalty_clear(struct auth *auth, const char *who);

#endif
