/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored SCRAM keys (RFC 5802, RFC 7677) in Dovecot's text form:
 * "iterations,salt,storedkey,serverkey", the last three in base64. The owner of libgsasl.
 *
 * A plaintext password can be verified against them too, because imported accounts may have nothing
 * else. Pure but for the salt; any thread but a worker: each derivation is slow.
 */
#ifndef AUTH_SCRAM_H
#define AUTH_SCRAM_H

#include "io/status.h"

#include <stddef.h>

enum scram_kind { SCRAM_SHA_1, SCRAM_SHA_256 };

/* Derives keys with a new salt and AUTH_SCRAM_ITERATIONS and writes their text. STATUS_INVALID when
 * the password cannot be prepared (RFC 4013: not UTF-8, control characters), so that no client
 * could use the keys; STATUS_TOO_BIG when `size` is small. */
MUST_CHECK enum status scram_make(enum scram_kind kind, const char *password, size_t length,
                                  char *out_text, size_t size);

/* STATUS_OK: this password; STATUS_DENIED: another; STATUS_INVALID: `text` is malformed. */
MUST_CHECK enum status scram_verify(enum scram_kind kind, const char *text, const char *password,
                                    size_t length);

/* Whether the text is well-formed: STATUS_OK or STATUS_INVALID. */
MUST_CHECK enum status scram_check(enum scram_kind kind, const char *text);

#endif
