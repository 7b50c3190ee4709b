/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored SCRAM keys (RFC 5802, RFC 7677) in Dovecot's text form:
 * "iterations,salt,storedkey,serverkey", the last three in base64.
 *
 * A plaintext password can be verified against them too, because imported accounts may have nothing
 * else. Pure but for the salt; any thread but a worker: each derivation is slow.
 */
#ifndef AUTH_SCRAM_H
#define AUTH_SCRAM_H

#include "auth/auth_limits.h"
#include "io/status.h"

#include <stddef.h>
#include <stdint.h>

enum scram_kind { SCRAM_SHA_1, SCRAM_SHA_256 };

#define SCRAM_KEY_OCTETS_MAX 32 /* SHA-256 */

/* What a text says, decoded. A secret: whoever has it can pass for the server. */
struct scram_keys {
    uint32_t iterations;
    size_t salt_length;
    uint8_t salt[AUTH_DIGEST_DATA_MAX];
    uint8_t stored[SCRAM_KEY_OCTETS_MAX]; /* as many octets as the hash has */
    uint8_t server[SCRAM_KEY_OCTETS_MAX];
};

/* Octets of each key. */
size_t scram_key_size(enum scram_kind kind);

/* STATUS_OK, or STATUS_INVALID for malformed text. */
MUST_CHECK enum status scram_parse(enum scram_kind kind, const char *text,
                                   struct scram_keys *out_keys);

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
