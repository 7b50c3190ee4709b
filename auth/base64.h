/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 as SASL lines carry it (RFC 4648 section 4, RFC 5034 section 4): one form for each run of
 * octets and no other. Characters off the alphabet, blanks and line ends among them, missing or
 * superfluous padding, and bits behind the last octet are refused. Passwords pass through here, so
 * that neither direction looks anything up by a secret or branches on it. Pure; any thread.
 */
#ifndef AUTH_BASE64_H
#define AUTH_BASE64_H

#include "io/status.h"

#include <stddef.h>

/* Characters that `octets` become, without a NUL. */
#define BASE64_ENCODED(octets) (((octets) + 2) / 3 * 4)
/* Octets that so many characters may become at most. */
#define BASE64_DECODED_MAX(characters) ((characters) / 4 * 3)

/* Decodes `length` characters into at most BASE64_DECODED_MAX(length) octets at `out`, which may be
 * `text` itself. STATUS_INVALID for anything that base64_encode does not write; what is at `out` is
 * then not to be used. */
MUST_CHECK enum status base64_decode(const char *text, size_t length, char *out,
                                     size_t *out_length);

/* Writes BASE64_ENCODED(length) characters to `out`, without a NUL, and returns their number. The
 * two do not overlap. */
size_t base64_encode(const void *data, size_t length, char *out);

#endif
