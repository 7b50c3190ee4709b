/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tls_stream.h"

#include "io/tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

const char *tls_failure_name(enum tls_failure failure)
{
    static const char *const names[TLS_FAILURE_COUNT] = {
        [TLS_FAILURE_NONE] = "none",
        [TLS_FAILURE_TIMEOUT] = "timeout",
        [TLS_FAILURE_LEFT] = "left",
        [TLS_FAILURE_PLAINTEXT] = "plaintext",
        [TLS_FAILURE_VERSION] = "version",
        [TLS_FAILURE_CIPHER] = "cipher",
        [TLS_FAILURE_NAME] = "name",
        [TLS_FAILURE_PROTOCOL] = "protocol",
        [TLS_FAILURE_CERTIFICATE] = "certificate",
        [TLS_FAILURE_REFUSED] = "refused",
        [TLS_FAILURE_OTHER] = "other",
    };
    return failure < TLS_FAILURE_COUNT ? names[failure] : names[TLS_FAILURE_OTHER];
}

/* Sees every message of the protocol itself. Under kernel TLS a request for new keys cannot be
 * met: OpenSSL would change its own, and the kernel encrypt on with the old. */
static void on_message(int writing, int version, int type, const void *data, size_t length,
                       SSL *ssl, void *owner)
{
    struct tls_stream *stream = owner;
    const uint8_t *octets = data;
    if (writing == 0 && type == SSL3_RT_HANDSHAKE && length > 0 &&
        octets[0] == SSL3_MT_KEY_UPDATE) {
        stream->key_updates++;
        /* RFC 8446 section 4.6.3: a header of four octets, then 1 when it asks for ours. */
        stream->key_lost =
            stream->key_lost || (stream->facts.kernel && length > 4 && octets[4] == 1);
    }
}

enum status tls_stream_init(struct tls_stream *stream, struct tls_server *server, unsigned worker,
                            int fd)
{
    memset(stream, 0, sizeof *stream);
    SSL *ssl = SSL_new(server->workers[worker % server->worker_count].contexts[0]);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1) {
        SSL_free(ssl);
        ERR_clear_error();
        return STATUS_NO_MEMORY;
    }
    SSL_set_accept_state(ssl);
    SSL_set_msg_callback(ssl, on_message);
    SSL_set_msg_callback_arg(ssl, stream);
    stream->ssl = ssl;
    stream->server = tls_server_ref(server);
    return STATUS_OK;
}

void tls_stream_deinit(struct tls_stream *stream)
{
    if (stream->ssl != NULL && stream->server == NULL) {
        /* OpenSSL would take a session for spoilt whose connection ended without a goodbye, and not
         * offer it again. */
        SSL_set_shutdown(stream->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(stream->ssl);
    free(stream->client_name);
    tls_server_unref(&stream->server);
    stream->ssl = NULL;
    stream->client_name = NULL;
}

/* Failures */

static enum tls_failure failure_of_reason(int reason)
{
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
    case SSL_R_LENGTH_TOO_SHORT:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_RECORD_TOO_SMALL:
        return TLS_FAILURE_PLAINTEXT;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_UNSUPPORTED_SSL_VERSION:
    case SSL_R_INAPPROPRIATE_FALLBACK:
        return TLS_FAILURE_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_BAD_KEY_SHARE:
        return TLS_FAILURE_CIPHER;
    case SSL_R_CALLBACK_FAILED: /* of ours, only that for the server's name can refuse */
        return TLS_FAILURE_NAME;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return TLS_FAILURE_PROTOCOL;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_BAD_SIGNATURE:
        return TLS_FAILURE_CERTIFICATE;
    default:
        return reason > SSL_AD_REASON_OFFSET ? TLS_FAILURE_REFUSED : TLS_FAILURE_OTHER;
    }
}

/* The first error is the cause; those behind it are its consequences. */
static enum tls_failure failure_of_queue(void)
{
    unsigned long code = ERR_peek_error();
    ERR_clear_error();
    return ERR_GET_LIB(code) == ERR_LIB_SSL ? failure_of_reason(ERR_GET_REASON(code))
                                            : TLS_FAILURE_OTHER;
}

/* What a call that did not succeed means. `saved_errno` as the call left it. */
static enum status outcome(struct tls_stream *stream, int result, int saved_errno)
{
    stream->wants_write = false;
    switch (SSL_get_error(stream->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return STATUS_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        stream->wants_write = true;
        return STATUS_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        stream->failure = TLS_FAILURE_LEFT;
        return STATUS_EOF;
    case SSL_ERROR_SYSCALL:
        ERR_clear_error();
        stream->failure = TLS_FAILURE_LEFT;
        return saved_errno == 0 ? STATUS_RESET : status_from_errno(saved_errno);
    default:
        stream->failure = (uint8_t)failure_of_queue();
        return stream->failure == TLS_FAILURE_PLAINTEXT ? STATUS_INVALID : STATUS_DENIED;
    }
}

/* The handshake */

static void learn(struct tls_stream *stream)
{
    SSL *ssl = stream->ssl;
    struct tls_facts *facts = &stream->facts;
    facts->protocol = SSL_get_version(ssl);
    facts->cipher = SSL_get_cipher_name(ssl);
    facts->server_name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    facts->resumed = SSL_session_reused(ssl) == 1;
    facts->kernel = BIO_get_ktls_send(SSL_get_wbio(ssl)) != 0;
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (certificate != NULL && SSL_get_verify_result(ssl) == X509_V_OK) {
        stream->client_name = tls_certificate_client_name(certificate);
        facts->client_name = stream->client_name;
    }
}

enum status tls_stream_handshake(struct tls_stream *stream)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(stream->ssl);
    if (result != 1) {
        return outcome(stream, result, errno);
    }
    learn(stream);
    return STATUS_OK;
}

/* Octets */

enum status tls_stream_read(struct tls_stream *stream, uint8_t *out_data, size_t capacity,
                            size_t *out_length)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_read_ex(stream->ssl, out_data, capacity, out_length);
    if (result == 1) {
        return STATUS_OK;
    }
    return outcome(stream, result, errno);
}

bool tls_stream_pending(const struct tls_stream *stream)
{
    return SSL_has_pending(stream->ssl) == 1;
}

enum status tls_stream_write(struct tls_stream *stream, const uint8_t *data, size_t length,
                             size_t *out_written)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_write_ex(stream->ssl, data, length, out_written);
    if (result == 1) {
        return STATUS_OK;
    }
    return outcome(stream, result, errno);
}

void tls_stream_finish(struct tls_stream *stream)
{
    ERR_clear_error();
    (void)SSL_shutdown(stream->ssl); /* best effort: the FIN says nearly the same */
    ERR_clear_error();
}

/* Bindings */

void tls_stream_binding(struct tls_stream *stream, enum tls_binding_kind kind,
                        struct tls_binding *out_binding)
{
    static const char label[] = "EXPORTER-Channel-Binding"; /* RFC 9266 section 4.2 */
    SSL *ssl = stream->ssl;
    bool is_13 = SSL_version(ssl) == TLS1_3_VERSION;
    memset(out_binding, 0, sizeof *out_binding);
    if (kind == TLS_BINDING_EXPORTER && is_13) {
        if (SSL_export_keying_material(ssl, out_binding->octets, 32, label, sizeof label - 1, NULL,
                                       0, 0) == 1) {
            out_binding->length = 32;
        }
    } else if (kind == TLS_BINDING_UNIQUE && !is_13 && SSL_get_extms_support(ssl) == 1) {
        /* The first Finished message: the client's in a full handshake, ours in a resumed one. */
        size_t length =
            stream->facts.resumed
                ? SSL_get_finished(ssl, out_binding->octets, sizeof out_binding->octets)
                : SSL_get_peer_finished(ssl, out_binding->octets, sizeof out_binding->octets);
        out_binding->length = length <= sizeof out_binding->octets ? length : 0;
    }
    ERR_clear_error();
}
