/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every connection of a server has in common. Clients take part in all of it: versions (RFC
 * 8996: 1.0 and 1.1 are dead), ciphers with forward secrecy and authenticated encryption only,
 * ALPN against cross-protocol attacks (ALPACA), tickets instead of a session cache.
 */
#include "io/tls_private.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

/* TLS 1.2; for 1.3 all that exist are good. AES-128 first: it is a quarter faster than AES-256 and
 * nobody breaks either. A client that prefers ChaCha20 (no AES in its processor) gets it. */
#define CIPHERS_12 "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS     "X25519:P-256:P-384"

/* Callbacks */

static int on_server_name(SSL *ssl, int *alert, void *owner)
{
    const struct tls_worker *worker = owner;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    size_t pair;
    if (name == NULL) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    if (!tls_server_find_name(worker->server, name, &pair)) {
        if (worker->server->strict_names) {
            *alert = SSL_AD_UNRECOGNIZED_NAME;
            return SSL_TLSEXT_ERR_ALERT_FATAL;
        }
        return SSL_TLSEXT_ERR_NOACK;
    }
    if (pair != 0 && SSL_set_SSL_CTX(ssl, worker->contexts[pair]) == NULL) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301: a client that offers protocols and not ours means another server. */
static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                        const unsigned char *offered, unsigned offered_length, void *owner)
{
    const unsigned char *ours = ((const struct tls_worker *)owner)->server->protocol;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_length, ours, ours[0] + 1U, offered, offered_length) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypt)
{
    const struct tls_worker *worker = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    int result = tls_tickets_use(worker->server->tickets, name, iv, cipher, mac, encrypt != 0);
    /* RFC 8446 appendix C.4: a ticket is for one use, lest clients be followed about. */
    return result == 1 && encrypt == 0 && SSL_version(ssl) == TLS1_3_VERSION ? 2 : result;
}

/* A certificate that is not good counts as none; whoever reads the name looks at the result. */
static int accept_any(int good, X509_STORE_CTX *verification)
{
    return 1;
}

/* Making */

static bool set_protocol(SSL_CTX *context, const struct tls_context_parts *parts)
{
    uint64_t options = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                       SSL_OP_CLEANSE_PLAINTEXT |
                       /* Many clients just close; no command can be cut by that. */
                       SSL_OP_IGNORE_UNEXPECTED_EOF;
    if (parts->config->kernel && tls_kernel_available()) {
        options |= SSL_OP_ENABLE_KTLS;
    }
    SSL_CTX_set_options(context, options);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1); /* a record in one system call instead of two */
    return SSL_CTX_set_min_proto_version(
               context, parts->config->tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(context, CIPHERS_12) == 1 &&
           SSL_CTX_set_ciphersuites(context, CIPHERS_13) == 1 &&
           SSL_CTX_set1_groups_list(context, GROUPS) == 1;
}

static bool set_tickets(SSL_CTX *context, const struct tls_config *config,
                        const struct tls_server *server)
{
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* gives the old mode */
    /* A ticket is for the same kind of listener: one that asks for no client certificates must not
     * let sessions into one that does. */
    unsigned char context_id[] = {'r', 'e', 's', 't', (unsigned char)config->client_certificates};
    if (SSL_CTX_set_session_id_context(context, context_id, sizeof context_id) != 1) {
        return false;
    }
    if (server->tickets == NULL) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(context, 0) == 1;
    }
    int64_t rotate_s =
        config->ticket_rotate_s > 0 ? config->ticket_rotate_s : TLS_TICKET_ROTATE_S_DEFAULT;
    (void)SSL_CTX_set_timeout(context, (long)rotate_s); /* gives the old one */
    /* One: a mail client comes back with one connection at a time, and each resumption brings the
     * next ticket. */
    return SSL_CTX_set_num_tickets(context, 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1;
}

static bool set_clients(SSL_CTX *context, const struct tls_context_parts *parts)
{
    if (parts->client_cas == NULL) {
        return true;
    }
    STACK_OF(X509_NAME) *names = SSL_dup_CA_list(parts->client_ca_names);
    if (names == NULL) {
        return false;
    }
    SSL_CTX_set1_cert_store(context, parts->client_cas);
    SSL_CTX_set_client_CA_list(context, names);
    if (parts->config->client_certificates == TLS_CLIENT_REQUIRE) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    } else {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_any);
    }
    return true;
}

/* Copies: a context that shares certificates with another worker's would share their reference
 * counters, which every handshake changes. */
static bool set_identity(SSL_CTX *context, const struct tls_identity *identity)
{
    X509 *certificate = X509_dup(identity->certificate);
    EVP_PKEY *key = EVP_PKEY_dup(identity->key);
    bool set = certificate != NULL && key != NULL &&
               SSL_CTX_use_certificate(context, certificate) == 1 &&
               SSL_CTX_use_PrivateKey(context, key) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    for (int i = 0; set && i < sk_X509_num(identity->chain); i++) {
        X509 *link = X509_dup(sk_X509_value(identity->chain, i));
        set = link != NULL && SSL_CTX_add0_chain_cert(context, link) == 1;
        if (!set) {
            X509_free(link);
        }
    }
    return set;
}

enum status tls_context_create(struct tls_worker *worker, const struct tls_context_parts *parts,
                               const struct tls_identity *identity, SSL_CTX **out_context)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL) {
        return STATUS_NO_MEMORY;
    }
    SSL_CTX_set_app_data(context, worker);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context, worker);
    if (worker->server->protocol != NULL) {
        SSL_CTX_set_alpn_select_cb(context, on_protocols, worker);
    }
    if (!set_protocol(context, parts) || !set_tickets(context, parts->config, worker->server) ||
        !set_clients(context, parts) || !set_identity(context, identity)) {
        SSL_CTX_free(context);
        return STATUS_INVALID;
    }
    *out_context = context;
    return STATUS_OK;
}
