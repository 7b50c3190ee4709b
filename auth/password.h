/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored credentials: Dovecot's "{SCHEME}data", with an optional ".b64" or ".hex" behind the scheme
 * that says how the data is written. No braces means {CRYPT}, as in a passwd file. Schemes:
 *
 *   {CRYPT} and its aliases {SHA512-CRYPT} {SHA256-CRYPT} {MD5-CRYPT} {BLF-CRYPT} {DES-CRYPT}
 *   {ARGON2ID} {ARGON2I}   {SCRAM-SHA-256} {SCRAM-SHA-1}   {PBKDF2}
 *   {SSHA512} {SSHA256} {SSHA} {SMD5} {SHA512} {SHA256} {SHA} {SHA1} {LDAP-MD5} {PLAIN-MD5}
 *   {PLAIN} {CLEARTEXT} {CLEAR}
 *
 * New passwords are stored with yescrypt. The owner of libxcrypt. Any thread; verifying and making
 * are slow and never happen on a worker.
 */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include "auth/scram.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>

enum password_class {
    PASSWORD_YESCRYPT, /* what we make ourselves */
    PASSWORD_SLOW,     /* another one made to be slow */
    PASSWORD_FAST,     /* digests and plain text: verifying takes no time worth the name */
    PASSWORD_SCRAM     /* keys for a mechanism; a plaintext password can be verified as well */
};

/* Whether `credential` can be used here, and of what class it is (`out_class` may be NULL).
 * STATUS_UNSUPPORTED: an unknown scheme; STATUS_INVALID: malformed data. Fast. */
MUST_CHECK enum status password_check(const char *credential, enum password_class *out_class);

/* The password itself, inside `credential`, of one that stores it readably ({PLAIN} and its aliases
 * in their raw form); else NULL. */
const char *password_readable(const char *credential);

/* STATUS_OK: the keys of a SCRAM credential of this kind; STATUS_NOT_FOUND: it is none;
 * STATUS_INVALID: malformed. Fast. */
MUST_CHECK enum status password_scram_keys(const char *credential, enum scram_kind kind,
                                           struct scram_keys *out_keys);

/* STATUS_OK: the password is the credential's; STATUS_DENIED: it is not; STATUS_UNSUPPORTED,
 * STATUS_INVALID and STATUS_NO_MEMORY: that cannot be told. Time depends on scheme and length, not
 * on where a difference is. */
MUST_CHECK enum status password_verify(const char *credential, const char *password, size_t length);

/* Writes a new "{CRYPT}$y$..." credential. STATUS_INVALID for an empty password, one with NUL or
 * one of more than AUTH_CRYPT_MAX octets; STATUS_TOO_BIG when `size` is small. */
MUST_CHECK enum status password_make(const char *password, size_t length, char *out_credential,
                                     size_t size);

/* The schemes that password_make_for makes, ours first; ends with NULL. */
extern const char *const password_schemes[];

/* The same in another scheme: its name as in `password_schemes`, in any case; "" for ours.
 * STATUS_UNSUPPORTED for another; STATUS_INVALID also for a password that the scheme cannot take.
 */
MUST_CHECK enum status password_make_for(const char *scheme, const char *password, size_t length,
                                         char *out_credential, size_t size);

/* A setting that costs what password_make's credentials cost, for accounts that do not exist. */
struct password_dummy {
    char setting[192]; /* CRYPT_GENSALT_OUTPUT_SIZE of libxcrypt */
};
MUST_CHECK enum status password_dummy_init(struct password_dummy *out_dummy);

/* Takes the time that verifying against a credential of password_make takes, to no end. */
void password_dummy_verify(const struct password_dummy *dummy, const char *password, size_t length);

#endif
