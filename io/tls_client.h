/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of TLS: what a load generator's connections share when they call a server. It
 * proves nothing about the server (certificates are not checked): it is for measuring, not for
 * trusting.
 *
 * Owner: one thread, that of the connections it is given to (conn_start_tls_client); it outlives
 * them.
 */
#ifndef IO_TLS_CLIENT_H
#define IO_TLS_CLIENT_H

#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct tls_client;

struct tls_client_config {
    bool resume;      /* offer the last session the server gave; else every handshake is full */
    const char *name; /* the server's, for SNI; NULL: none */
    uint32_t handshake_ms; /* 0: TLS_HANDSHAKE_MS_DEFAULT */
};

/* STATUS_NO_MEMORY with a text. */
MUST_CHECK enum status tls_client_create(const struct tls_client_config *config,
                                         struct tls_client **out_client, struct error *out_error);

/* No connection may use it any more. Harmless on NULL. */
void tls_client_destroy(struct tls_client **client);

#endif
