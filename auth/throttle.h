/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brute-force defence: how long the reply to a failure is held back. Every new failure of a source
 * raises its penalty by a step (2, 4, 8, 15 seconds); AUTH_THROTTLE_DECAY_S without one lower it by
 * a step. The same wrong credential again does not: a device with an old password is no attack.
 *
 * A source is eight octets that its caller chooses: an address prefix (io/address.h), or whose
 * account is tried. The table is bounded: the source whose last failure is longest ago gives way.
 *
 * Any thread; only failures come here, so that one lock is enough.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include "auth/auth_limits.h"
#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct throttle;

struct throttle_source {
    uint8_t octets[8];
};

/* The first `free_failures` of a source cost nothing. STATUS_NO_MEMORY. */
MUST_CHECK enum status throttle_create(uint32_t free_failures, struct throttle **out_throttle);
void throttle_destroy(struct throttle **throttle); /* NULLs */

/* The source that a name is, under a key of this process. */
struct throttle_source throttle_source_of(const struct throttle *throttle, const char *name);

/* Counts a failure of `source` with the credential that `fingerprint` stands for (a keyed hash) and
 * returns the milliseconds that its reply is to be held back. `label` (NULL: none; cut to fit) is
 * what a person knows the source by. */
uint32_t throttle_failure(struct throttle *throttle, const struct throttle_source *source,
                          const char *label, uint64_t fingerprint, int64_t now_ms);

/* What the next reply to the same failure would be held back, without counting one. */
uint32_t throttle_delay(struct throttle *throttle, const struct throttle_source *source,
                        int64_t now_ms);

/* Sources with a penalty at this time, free failures left out. */
uint64_t throttle_count(struct throttle *throttle, int64_t now_ms);

struct throttle_penalty {
    struct throttle_source source;
    char label[AUTH_THROTTLE_LABEL_MAX + 1];
    uint32_t failures; /* that count now */
    uint32_t delay_ms;
    int64_t age_ms; /* since the last of them */
};
/* Writes up to `max` of them, in no order; returns how many there are. */
uint64_t throttle_list(struct throttle *throttle, int64_t now_ms, struct throttle_penalty *out,
                       uint64_t max);

/* Forgets a source (NULL: all); returns how many had a penalty or were about to. */
uint64_t throttle_clear(struct throttle *throttle, const struct throttle_source *source);

#endif
