/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mechanisms that are arithmetic on keys: CRAM-MD5 and SCRAM. The owner of libgsasl.
 *
 * The library is given everything it may ask for before each step, and no callback: a step never
 * looks anything up and never derives keys from a password. The library is shared and immutable;
 * an exchange is one thread's at a time.
 */
#ifndef AUTH_SASL_GSASL_H
#define AUTH_SASL_GSASL_H

#include "auth/scram.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sasl_gsasl_library;

/* STATUS_NO_MEMORY; STATUS_UNSUPPORTED when the system's library lacks one of the mechanisms. */
MUST_CHECK enum status sasl_gsasl_open(struct sasl_gsasl_library **out_library);
void sasl_gsasl_close(struct sasl_gsasl_library **library); /* no exchange may be open; NULLs */

/* Fills the two keys of `keys` from its salt and iterations. The password is prepared (RFC 4013);
 * STATUS_INVALID for one that has no prepared form. Slow; any thread but a worker. */
MUST_CHECK enum status sasl_gsasl_derive(enum scram_kind kind, const char *password,
                                         struct scram_keys *keys);

struct sasl_gsasl; /* the server's side of one exchange */

/* `mechanism` is a SCRAM's name in upper case, with "-PLUS" or without. */
MUST_CHECK enum status sasl_gsasl_begin(struct sasl_gsasl_library *library, const char *mechanism,
                                        struct sasl_gsasl **out_exchange);
/* Wipes what it was given. NULLs; NULL inside is allowed. */
void sasl_gsasl_end(struct sasl_gsasl **exchange);

/* Before the first SCRAM step. STATUS_NO_MEMORY. */
MUST_CHECK enum status sasl_gsasl_set_keys(struct sasl_gsasl *exchange, enum scram_kind kind,
                                           const struct scram_keys *keys);

/* Before the first SCRAM step: what -PLUS compares. Its presence also tells the other SCRAMs that
 * -PLUS was offered. At most 64 octets. STATUS_NO_MEMORY. */
MUST_CHECK enum status sasl_gsasl_set_binding(struct sasl_gsasl *exchange, bool is_exporter,
                                              const uint8_t *octets, size_t length);

#define SASL_GSASL_CRAM_DIGITS 32 /* of MD5, in hexadecimal */

/* What CRAM-MD5 (RFC 2195) makes of a challenge and a password, in lower case. The library's own
 * server would say "@localhost" in its challenge, so it is asked as a client is. The password is
 * prepared (RFC 4013); STATUS_INVALID for one that has no prepared form. STATUS_NO_MEMORY. */
MUST_CHECK enum status sasl_gsasl_cram(struct sasl_gsasl_library *library, const char *challenge,
                                       size_t length, const char *password,
                                       char out_digits[SASL_GSASL_CRAM_DIGITS]);

/*
 * Gives the client's octets (none: the mechanism speaks first) to the exchange. STATUS_OK: the
 * client has proven itself; STATUS_AGAIN: it is asked for more; both may have something to say at
 * `out_data`, which the caller frees. STATUS_DENIED: it has not; STATUS_NO_MEMORY. No hash is
 * computed more than a few times over.
 */
MUST_CHECK enum status sasl_gsasl_step(struct sasl_gsasl *exchange, const char *data, size_t length,
                                       char **out_data, size_t *out_length);

#endif
