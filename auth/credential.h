/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An account's set of credentials: which one a plaintext password is verified with, and which are
 * missing. All of an account's credentials stand for the same password. Pure; any thread.
 */
#ifndef AUTH_CREDENTIAL_H
#define AUTH_CREDENTIAL_H

#include "auth/account.h"
#include "auth/password.h"

#include <stdbool.h>

/* The credential to verify a plaintext password with, or NULL when none can be used: ours first, so
 * that verifying takes the time that an account that does not exist takes; SCRAM keys last. */
const char *credential_choose(const struct account *account, enum password_class *out_class);

/* The password itself where one credential stores it readably, as APOP and CRAM-MD5 need; else
 * NULL. Part of `account`. */
const char *credential_readable(const struct account *account);

/* The account's SCRAM keys of this kind. False when there are none that can be used. */
bool credential_scram_keys(const struct account *account, enum scram_kind kind,
                           struct scram_keys *out_keys);

/* Whether yescrypt or SCRAM keys of either kind are missing and there is room for them. */
bool credential_is_missing(const struct account *account);

/* Adds those that are missing, made from the account's (verified) password. Slow. What cannot be
 * made of this password (RFC 4013 refuses some for SCRAM) is left out. Returns whether anything was
 * added. */
bool credential_complete(struct account *account, const char *password, size_t length);

#endif
