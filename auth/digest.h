/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fast digests that imported credentials and APOP are made with. None of them is fit for new
 * passwords.
 * The owner of libcrypto's EVP. Pure; any thread.
 */
#ifndef AUTH_DIGEST_H
#define AUTH_DIGEST_H

#include "io/status.h"

#include <stddef.h>
#include <stdint.h>

enum digest_kind { DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA512, DIGEST_KINDS };

#define DIGEST_OCTETS_MAX 64 /* SHA-512 */

/* Octets the digest has. */
size_t digest_size(enum digest_kind kind);

/* The digest of `data` followed by `salt`. STATUS_UNSUPPORTED when this libcrypto refuses the kind
 * (a FIPS build has no MD5), STATUS_NO_MEMORY. */
MUST_CHECK enum status digest_salted(enum digest_kind kind, const void *data, size_t length,
                                     const void *salt, size_t salt_length,
                                     uint8_t out[DIGEST_OCTETS_MAX]);

/* PBKDF2 with HMAC of `kind`, RFC 8018 section 5.2. STATUS_INVALID for zero iterations or sizes
 * beyond what the library takes. Slow. */
MUST_CHECK enum status digest_pbkdf2(enum digest_kind kind, const char *password, size_t length,
                                     const void *salt, size_t salt_length, uint32_t iterations,
                                     uint8_t *out, size_t size);

#endif
