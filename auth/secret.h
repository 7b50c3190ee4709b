/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What handling secrets needs: random octets, comparisons that take the same time wherever the
 * difference is, digests under a key of this process, text forms decoded without branching on their
 * contents, Argon2. The owner of libsodium.
 *
 * Pure but for the random source; any thread, once secret_start has succeeded.
 */
#ifndef AUTH_SECRET_H
#define AUTH_SECRET_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_KEY_OCTETS    32
#define SECRET_DIGEST_OCTETS 32

struct secret_key {
    uint8_t octets[SECRET_KEY_OCTETS];
};

struct secret_digest {
    uint8_t octets[SECRET_DIGEST_OCTETS];
};

/* One piece of what is digested. */
struct secret_part {
    const void *data;
    size_t length;
};

/* Harmless when repeated. STATUS_UNSUPPORTED when there is no source of randomness. */
MUST_CHECK enum status secret_start(void);

/* Fills what is given with random octets, good enough for keys. */
void secret_random(void *out, size_t size);
void secret_key_make(struct secret_key *out_key);

/* Whether two runs of `size` octets are equal, in time that depends on `size` alone. */
bool secret_equal(const void *left, const void *right, size_t size);

/* A keyed BLAKE2b of the parts, each preceded by its length, so that no two lists run together. */
void secret_digest(const struct secret_key *key, const struct secret_part *parts, size_t count,
                   struct secret_digest *out_digest);

/* A short keyed hash (SipHash) for tables that strangers fill. */
uint64_t secret_hash(const struct secret_key *key, const void *data, size_t length);

/* Decodes exactly `length` characters, base64 with or without its padding. STATUS_INVALID for
 * anything else, STATUS_TOO_BIG when it does not fit `size`; `out_length` is then untouched. */
MUST_CHECK enum status secret_from_base64(const char *text, size_t length, uint8_t *out,
                                          size_t size, size_t *out_length);
MUST_CHECK enum status secret_from_hex(const char *text, size_t length, uint8_t *out, size_t size,
                                       size_t *out_length);

/* Writes padded base64 with its NUL. STATUS_TOO_BIG when it does not fit. */
MUST_CHECK enum status secret_to_base64(const void *data, size_t length, char *out, size_t size);

/* Verifies "$argon2i$..." or "$argon2id$...": STATUS_OK, or STATUS_DENIED for a mismatch, malformed
 * text and parameters that need more memory than there is alike. Slow. */
MUST_CHECK enum status secret_argon2_verify(const char *hash, const char *password, size_t length);

#define SECRET_ARGON2_MAX 128 /* octets of what is made, with its NUL */
/* Makes one, with the library's parameters for interactive use. Slow. STATUS_NO_MEMORY. */
MUST_CHECK enum status secret_argon2_make(const char *password, size_t length,
                                          char out[SECRET_ARGON2_MAX]);

#endif
