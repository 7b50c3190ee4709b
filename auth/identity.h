/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what a client wrote to the key accounts are found by: `local@domain`, ASCII letters in lower
 * case, the default domain appended to a bare name. Only characters of a fixed list come through,
 * so that nothing a client writes can mean anything to a database behind (pitfalls: CVE-2017-2669).
 *
 * The local part: letters, digits, dot and the other characters of an RFC 5322 atom, and
 * well-formed UTF-8 (RFC 6531). The domain: labels of letters, digits, "-", "_" and UTF-8. Beyond
 * ASCII octets stay as they are. Pure; any thread.
 */
#ifndef AUTH_IDENTITY_H
#define AUTH_IDENTITY_H

#include "auth/auth_limits.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>

struct identity {
    char name[AUTH_NAME_MAX + 1]; /* local@domain */
    size_t length;                /* octets of name */
    size_t local_length;          /* octets before the "@" that parts it from the domain */
    bool nameable; /* false: a valid address that no account here can have (quoted specials,
                      literals) */
};

/* A login name. STATUS_INVALID for a character off the list, more than one "@", an empty part, or
 * no domain and no default (NULL or ""); STATUS_TOO_BIG beyond AUTH_NAME_MAX. `out` is then
 * untouched. */
MUST_CHECK enum status identity_from_login(const char *name, size_t length,
                                           const char *default_domain,
                                           struct identity *out_identity);

/*
 * A recipient's address as RCPT has it, without the angle brackets. A source route is dropped (RFC
 * 5321 appendix C); a quoted local part means the same as its contents (section 4.1.2), so
 * "demo1"@x is demo1@x; one that needs its quotes, and a domain literal, are addresses but not
 * nameable. A bare name gets the default domain. Failures as above.
 */
MUST_CHECK enum status identity_from_address(const char *address, size_t length,
                                             const char *default_domain,
                                             struct identity *out_identity);

/* "user+detail@domain" -> "user@domain", at the first delimiter that leaves a name in front of it.
 * False, and `out_identity` untouched, when there is nothing to strip or `delimiter` is 0. */
bool identity_strip_detail(const struct identity *identity, char delimiter,
                           struct identity *out_identity);

/* The octets after the "@"; NUL-terminated. */
static inline const char *identity_domain(const struct identity *identity)
{
    return identity->name + identity->local_length + 1;
}

#endif
