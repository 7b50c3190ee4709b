/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed tokens (RFC 7515, RFC 7519) and the sets of public keys they are verified with (RFC 7517).
 * The owner of cjose.
 *
 * Algorithms: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512. Never "none", and
 * never a symmetric one: a public key is no secret. A key serves the algorithms of its own kind, or
 * the one it names. Key sets are immutable; any thread.
 */
#ifndef AUTH_JWT_H
#define AUTH_JWT_H

#include "io/doc.h"
#include "io/status.h"

#include <stddef.h>

struct jwt_keys;

/* Reads a JWK set. Keys that are not for signatures, or of kinds unknown here, are left out;
 * STATUS_INVALID when it is no set or nothing is left. */
MUST_CHECK enum status jwt_keys_read(const char *text, size_t length, struct jwt_keys **out_keys,
                                     struct error *out_error);
void jwt_keys_free(struct jwt_keys **keys); /* NULLs */
size_t jwt_keys_count(const struct jwt_keys *keys);

/*
 * Verifies the signature and nothing else. STATUS_OK: `out_claims` is the caller's to free.
 * STATUS_NOT_FOUND: it may be genuine, but no key of that name is here; STATUS_DENIED: it is not,
 * or not a token. Takes some hundred microseconds.
 */
MUST_CHECK enum status jwt_verify(const struct jwt_keys *keys, const char *token, size_t length,
                                  struct doc *out_claims);

#endif
