/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of io/tls*.c share; the only header of the tree with OpenSSL's types.
 *
 *   tls_certificate.c   PEM text to keys and certificates, the names in them, self-signed ones
 *   tls_ticket.c        the keys of session tickets
 *   tls_context.c       OpenSSL contexts, and what they call back
 *   tls_server.c        struct tls_server: everything a listener needs, made at once
 *   tls_stream.c        one connection's TLS
 */
#ifndef IO_TLS_PRIVATE_H
#define IO_TLS_PRIVATE_H

#include "io/tls.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

/* Certificates */

/* A certificate with its chain and key, as read. */
struct tls_identity {
    X509 *certificate;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
};

/* Reads what `pair` names. The caller frees with tls_identity_deinit, also after a failure. */
MUST_CHECK enum status tls_identity_read(const struct tls_pair *pair,
                                         struct tls_identity *out_identity,
                                         struct error *out_error);
void tls_identity_deinit(struct tls_identity *identity);

/* Calls `on_name` for each of the certificate's names (lower case) until it fails. */
MUST_CHECK enum status tls_certificate_names(const X509 *certificate,
                                             enum status (*on_name)(void *owner, const char *name),
                                             void *owner);

/* The end of the certificate's validity, Unix time. */
int64_t tls_certificate_not_after_s(const X509 *certificate);

/* The first e-mail address of a client's certificate, or its common name, if it is printable;
 * allocated; NULL when there is none. */
char *tls_certificate_client_name(const X509 *certificate);

/* The reason at the end of OpenSSL's error queue, which is emptied. Never NULL. */
const char *tls_error_reason(void);

/* Tickets: counted; handed on from a server to its successor. Any thread. */

struct tls_tickets;

/* Keys from `file`, or, when it is NULL, random ones, replaced every `rotate_s`. The caller holds a
 * reference; `out_error` says what is wrong with the file. */
MUST_CHECK enum status tls_tickets_create(const char *file, int64_t rotate_s,
                                          struct tls_tickets **out_tickets,
                                          struct error *out_error);

/* One reference more, or less: then *tickets becomes NULL. */
struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets);
void tls_tickets_unref(struct tls_tickets **tickets);

/* Whether it has random keys that are replaced every `rotate_s`. */
bool tls_tickets_random(const struct tls_tickets *tickets, int64_t rotate_s);

/* Reads the file again if it has changed; on failure the keys stay. */
MUST_CHECK enum status tls_tickets_refresh(struct tls_tickets *tickets, struct error *out_error);

/* Readies `cipher` and `mac` to make or to open a ticket; what OpenSSL's callback of this shape
 * returns: 1; 2 when the ticket is good but should be replaced; 0 when no key has that name. */
int tls_tickets_use(struct tls_tickets *tickets, unsigned char *name, unsigned char *iv,
                    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool encrypt);

/* The server */

/* One worker's contexts: what a context's callbacks are given. */
struct tls_worker {
    struct tls_server *server;
    SSL_CTX **contexts; /* by pair */
};

struct tls_name {
    char *name; /* lower case; may begin with "*." */
    size_t pair;
};

struct tls_server {
    atomic_uint references;
    struct tls_worker *workers;
    unsigned worker_count;
    struct tls_certificate *certificates; /* by pair; their strings are owned */
    size_t pair_count;
    struct tls_name *names; /* sorted */
    size_t name_count, name_capacity;
    bool strict_names;
    unsigned char *protocol;     /* its length, then its octets, as ALPN has it; NULL: none */
    struct tls_tickets *tickets; /* NULL: none */
    uint32_t handshake_ms;
};

/* The pair for `name` (as the client wrote it); false when there is none. */
bool tls_server_find_name(const struct tls_server *server, const char *name, size_t *out_pair);

/* Contexts */

/* What all contexts of one server are made of. */
struct tls_context_parts {
    const struct tls_config *config;
    X509_STORE *client_cas; /* NULL: no client certificates; this worker's own */
    STACK_OF(X509_NAME) * client_ca_names;
};

/* A context of `worker` that presents `identity`, whose parts are copied. */
MUST_CHECK enum status tls_context_create(struct tls_worker *worker,
                                          const struct tls_context_parts *parts,
                                          const struct tls_identity *identity,
                                          SSL_CTX **out_context);

#endif
