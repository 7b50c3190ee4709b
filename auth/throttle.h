/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brute-force defence: how long the reply to a failure is held back. Every new failure of a source
 * raises its penalty by a step (2, 4, 8, 15 seconds); AUTH_THROTTLE_DECAY_S without one lower it by
 * a step. The same wrong credential again does not: a device with an old password is no attack.
 *
 * A source is eight octets that its caller chooses: address prefixes now (io/address.h). The table
 * is bounded: the source whose last failure is longest ago gives way.
 *
 * Any thread; only failures come here, so that one lock is enough.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include "io/status.h"

#include <stdint.h>

struct throttle;

struct throttle_source {
    uint8_t octets[8];
};

/* STATUS_NO_MEMORY. */
MUST_CHECK enum status throttle_create(struct throttle **out_throttle);
void throttle_destroy(struct throttle **throttle); /* NULLs */

/* Counts a failure of `source` with the credential that `fingerprint` stands for (a keyed hash) and
 * returns the milliseconds that its reply is to be held back. */
uint32_t throttle_failure(struct throttle *throttle, const struct throttle_source *source,
                          uint64_t fingerprint, int64_t now_ms);

/* Sources with a penalty at this time. */
uint64_t throttle_count(struct throttle *throttle, int64_t now_ms);

#endif
