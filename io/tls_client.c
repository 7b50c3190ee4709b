/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tls_client.h"

#include "io/tls_private.h"
#include "io/tls_stream.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

struct tls_client {
    SSL_CTX *context;
    SSL_SESSION *session; /* the newest, when sessions are resumed; NULL before the first */
    char *name;
    uint32_t handshake_ms;
};

/* A ticket has come: in TLS 1.3 some time after the handshake. The reference is ours. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    SSL_SESSION_free(client->session);
    client->session = session;
    return 1;
}

enum status tls_client_create(const struct tls_client_config *config,
                              struct tls_client **out_client, struct error *out_error)
{
    struct tls_client *client = calloc(1, sizeof *client);
    SSL_CTX *context = client == NULL ? NULL : SSL_CTX_new(TLS_client_method());
    if (context == NULL ||
        (config->name != NULL && (client->name = strdup(config->name)) == NULL)) {
        SSL_CTX_free(context);
        free(client);
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for TLS");
    }
    client->context = context;
    client->handshake_ms =
        config->handshake_ms > 0 ? config->handshake_ms : TLS_HANDSHAKE_MS_DEFAULT;
    SSL_CTX_set_app_data(context, client);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF); /* many servers just close */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    if (config->resume) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, on_session);
    } else {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    }
    *out_client = client;
    return STATUS_OK;
}

void tls_client_destroy(struct tls_client **client)
{
    if (*client != NULL) {
        SSL_SESSION_free((*client)->session);
        SSL_CTX_free((*client)->context);
        free((*client)->name);
        free(*client);
        *client = NULL;
    }
}

enum status tls_stream_init_client(struct tls_stream *stream, struct tls_client *client, int fd)
{
    memset(stream, 0, sizeof *stream);
    SSL *ssl = SSL_new(client->context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 ||
        (client->name != NULL && SSL_set_tlsext_host_name(ssl, client->name) != 1)) {
        SSL_free(ssl);
        ERR_clear_error();
        return STATUS_NO_MEMORY;
    }
    /* A copy: OpenSSL marks a TLS 1.3 session as used up by the first connection that resumes it,
     * and
     * there may be many before the next ticket. */
    SSL_SESSION *session = client->session == NULL ? NULL : SSL_SESSION_dup(client->session);
    if (session != NULL) {
        (void)SSL_set_session(ssl, session); /* what cannot be offered is not resumed */
        SSL_SESSION_free(session);
    }
    SSL_set_connect_state(ssl);
    stream->ssl = ssl;
    return STATUS_OK;
}

uint32_t tls_client_handshake_ms(const struct tls_client *client)
{
    return client->handshake_ms;
}
