/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for connections (conn_start_tls in io/conn.h): what a server presents and accepts, and what a
 * handshake has found out. OpenSSL's types stay behind this header: io/tls_*.c alone know them.
 *
 * A struct tls_server is made whole, from a struct tls_config, by a thread that may block, and does
 * not change any more, except for its ticket keys. It has one OpenSSL context per worker, so that
 * workers share no reference counters. It is counted: a reload makes a new one and drops its own
 * reference to the old one, which lives until the last of its connections has ended.
 */
#ifndef IO_TLS_H
#define IO_TLS_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_HANDSHAKE_MS_DEFAULT 30000 /* how long a handshake may take */
#define TLS_TICKET_ROTATE_S_DEFAULT \
    (12 * 3600) /* a key encrypts for so long, and decrypts twice \
                                                 */

/* A certificate chain (leaf first) and its private key: files, or, when the _pem members are set,
 * the same text in memory. The texts need only live until tls_server_create returns. */
struct tls_pair {
    const char *certificate_file, *key_file;
    const char *certificate_pem, *key_pem;
    /* The names it is shown for, `*.` as the first label allowed. None: those in the certificate
     * (subjectAltName DNS entries, else the common name). */
    const char *const *names;
    size_t name_count;
};

enum tls_client_certificates {
    TLS_CLIENT_NONE,
    TLS_CLIENT_REQUEST, /* one that does not verify is as good as none */
    TLS_CLIENT_REQUIRE  /* without one that verifies the handshake fails */
};

struct tls_config {
    const struct tls_pair *pairs; /* the first is for clients that name nobody, or nobody we know */
    size_t pair_count;            /* > 0 */
    bool strict_names;    /* a client that names a host we have no certificate for is refused (alert
                             unrecognized_name); one that names nobody is not */
    const char *protocol; /* ALPN: a client that offers protocols must offer this one, such as
                             "pop3", or is refused (no_application_protocol). NULL: not looked at */
    bool tls13_only;
    enum tls_client_certificates client_certificates;
    const char *client_ca_file; /* PEM; needed unless TLS_CLIENT_NONE */
    /* Tickets. With a file (one or more keys of 80 octets, newest first: 16 name, 32 HMAC-SHA-256,
     * 32 AES-256; the layout nginx uses) several nodes resume each other's sessions; all its keys
     * decrypt, the first encrypts. Without one: random keys, a new one each ticket_rotate_s. */
    bool no_tickets;
    const char *ticket_key_file;
    int64_t ticket_rotate_s; /* 0: TLS_TICKET_ROTATE_S_DEFAULT; also how long a ticket is good */
    bool kernel;             /* kernel TLS where the kernel has it (tls_kernel_available) */
    uint32_t handshake_ms;   /* 0: TLS_HANDSHAKE_MS_DEFAULT */
};

struct tls_server;

/*
 * Reads all files and makes contexts for `worker_count` workers. `previous`, if not NULL, hands on
 * its random ticket keys, so that a reload does not make clients do full handshakes. On failure
 * `out_error` names the file and what is wrong with it. The caller holds one reference.
 */
MUST_CHECK enum status tls_server_create(const struct tls_config *config, unsigned worker_count,
                                         struct tls_server *previous,
                                         struct tls_server **out_server, struct error *out_error);

/* One more reference; returns `server`. Any thread. */
struct tls_server *tls_server_ref(struct tls_server *server);

/* One less, and *server becomes NULL. Any thread. */
void tls_server_unref(struct tls_server **server);

/* Reads the ticket key file again if it has changed. Blocks: not for workers; to be called about
 * once a minute and on SIGHUP. On failure the old keys stay in use. Nothing to do without a file:
 * random keys change by themselves. */
MUST_CHECK enum status tls_server_refresh(struct tls_server *server, struct error *out_error);

/* What a server presents, for logs and metrics; `index` below tls_server_certificates. */
struct tls_certificate {
    const char *name;    /* the first of its names */
    const char *file;    /* "" when it came from memory */
    int64_t not_after_s; /* Unix time */
    size_t name_count;
};
size_t tls_server_certificates(const struct tls_server *server);
struct tls_certificate tls_server_certificate(const struct tls_server *server, size_t index);

/* The earliest end of validity of all certificates, Unix time. */
int64_t tls_server_expires_s(const struct tls_server *server);

/* A new EC P-256 key and a certificate for `names` (the first is also the common name; what parses
 * as an IP address becomes one), signed by itself: for a demonstration, and tests. Both texts are
 * PEM, allocated; tls_pem_free wipes and frees them. */
struct tls_pem {
    char *certificate, *key;
};
MUST_CHECK enum status tls_self_signed(const char *const *names, size_t name_count, unsigned days,
                                       struct tls_pem *out_pem);
void tls_pem_free(struct tls_pem *pem);

/* Whether this kernel does TLS (CONFIG_TLS): tried once, on a connected pair of sockets on the
 * loopback interface. Any thread; blocks for some microseconds the first time. */
bool tls_kernel_available(void);

/* Why a handshake failed, coarsely: for counters and the log. */
enum tls_failure {
    TLS_FAILURE_NONE,
    TLS_FAILURE_TIMEOUT,     /* the handshake's deadline passed */
    TLS_FAILURE_LEFT,        /* the peer closed or reset the connection */
    TLS_FAILURE_PLAINTEXT,   /* octets before the handshake, or something that is not TLS */
    TLS_FAILURE_VERSION,     /* no common protocol version */
    TLS_FAILURE_CIPHER,      /* no common cipher, group or signature algorithm */
    TLS_FAILURE_NAME,        /* a name that is not ours (strict_names) */
    TLS_FAILURE_PROTOCOL,    /* ALPN without ours */
    TLS_FAILURE_CERTIFICATE, /* the client's certificate: missing, or not good */
    TLS_FAILURE_REFUSED,     /* the peer sent an alert: most often it does not like ours */
    TLS_FAILURE_OTHER,
    TLS_FAILURE_COUNT
};

/* A short stable name such as "plaintext", for metrics and logs. */
const char *tls_failure_name(enum tls_failure failure);

/* What is known of a TLS connection once its handshake has ended well. */
struct tls_facts {
    const char *protocol;    /* "TLSv1.3" */
    const char *cipher;      /* OpenSSL's name */
    const char *server_name; /* what the client asked for (SNI), or NULL; unchecked client data */
    const char *client_name; /* of a client certificate that verified: its first e-mail address, or
                                else its common name; or NULL. Printable, without NUL. */
    bool resumed;
    bool kernel; /* the kernel encrypts what is sent */
};

#define TLS_BINDING_MAX 64 /* octets; an exporter has 32, a Finished message up to 48 */

enum tls_binding_kind {
    TLS_BINDING_EXPORTER, /* tls-exporter, RFC 9266; TLS 1.3 */
    TLS_BINDING_UNIQUE    /* tls-unique, RFC 5929 section 3; TLS 1.2 with the extended master secret
                             (RFC 7627), without which it binds nothing */
};

struct tls_binding {
    size_t length; /* 0: this connection has none of that kind */
    uint8_t octets[TLS_BINDING_MAX];
};

#endif
