/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches a small document by HTTPS, blocking. The owner of libcurl. Certificates and names are
 * checked, redirections are not followed, size and time are bounded.
 */
#ifndef AUTH_FETCH_H
#define AUTH_FETCH_H

#include "io/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before other threads exist. STATUS_UNSUPPORTED when the library has no TLS. */
MUST_CHECK enum status fetch_start(void);

struct fetch_request {
    const char *url;
    const char *ca_file;        /* NULL: the system's */
    size_t size_max;            /* octets */
    uint32_t timeout_ms;        /* for all of it */
    const atomic_bool *is_over; /* becomes true: give up within a second */
};

/* STATUS_OK: the caller frees `out_text`, which has a NUL behind it. STATUS_TOO_BIG,
 * STATUS_TIMEOUT, STATUS_CANCELLED, STATUS_NO_MEMORY, else STATUS_IO. */
MUST_CHECK enum status fetch_document(const struct fetch_request *request, char **out_text,
                                      size_t *out_length, struct error *out_error);

/* Whether an address may be fetched: https, or http to this machine itself. */
bool fetch_is_allowed(const char *url);

#endif
