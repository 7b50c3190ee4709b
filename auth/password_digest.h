/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials that are plain text, a digest, a salted digest (digest, then salt), or Dovecot's
 * PBKDF2
 * ("$1$salt$iterations$hex"). Used by auth/password.c, which has found the scheme. Pure; any
 * thread; PBKDF2 is slow.
 */
#ifndef AUTH_PASSWORD_DIGEST_H
#define AUTH_PASSWORD_DIGEST_H

#include "auth/digest.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>

enum password_digest_form {
    PASSWORD_DIGEST_NONE, /* the password itself */
    PASSWORD_DIGEST_BARE,
    PASSWORD_DIGEST_SALTED,
    PASSWORD_DIGEST_PBKDF2
};

/* How the data is written. */
enum password_text {
    PASSWORD_TEXT_DEFAULT,
    PASSWORD_TEXT_RAW,
    PASSWORD_TEXT_BASE64,
    PASSWORD_TEXT_HEX
};

struct password_digest {
    enum password_digest_form form;
    enum digest_kind kind;
    enum password_text text;
    bool is_explicit; /* the credential names its text form; else a bare digest may be in either */
};

/* STATUS_OK or STATUS_INVALID. */
MUST_CHECK enum status password_digest_check(const struct password_digest *digest,
                                             const char *data);

/* As password_verify. */
MUST_CHECK enum status password_digest_verify(const struct password_digest *digest,
                                              const char *data, const char *password,
                                              size_t length);

#endif
