/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on one socket, for io/conn_tls.c alone: handshake, reading, writing, none of which waits. The
 * socket is read and written by OpenSSL itself, without memory in between; that is what lets the
 * kernel take over encryption. Owner: the connection; its worker's thread.
 */
#ifndef IO_TLS_STREAM_H
#define IO_TLS_STREAM_H

#include "io/tls.h"

struct ssl_st;

struct tls_stream {
    struct ssl_st *ssl;
    struct tls_server *server; /* a reference; NULL at the calling end */
    struct tls_facts facts;    /* after the handshake */
    char *client_name;
    uint32_t key_updates; /* KeyUpdate messages the peer has sent */
    uint8_t failure;      /* enum tls_failure */
    bool wants_write;     /* after STATUS_AGAIN: it waits for room, not for input */
    bool key_lost;        /* the peer wants new keys and the kernel has the old: no more output */
};

/* Readies `stream` on the socket `fd`, which stays the caller's. `worker` chooses the context. */
MUST_CHECK enum status tls_stream_init(struct tls_stream *stream, struct tls_server *server,
                                       unsigned worker, int fd);

/* The same for the calling end; tls_client.c has it. */
struct tls_client;
MUST_CHECK enum status tls_stream_init_client(struct tls_stream *stream, struct tls_client *client,
                                              int fd);

/* Frees; sends nothing. Harmless on a zeroed stream. */
void tls_stream_deinit(struct tls_stream *stream);

/* Goes on with the handshake. STATUS_OK: done, facts are filled. STATUS_AGAIN: see wants_write.
 * Else it has failed, and `failure` says why. */
MUST_CHECK enum status tls_stream_handshake(struct tls_stream *stream);

/* Reads up to `capacity` octets, at most one record. STATUS_AGAIN: nothing there; STATUS_EOF: the
 * peer has ended its side. */
MUST_CHECK enum status tls_stream_read(struct tls_stream *stream, uint8_t *out_data,
                                       size_t capacity, size_t *out_length);

/* Whether octets lie in memory that the socket will not call readable for. */
bool tls_stream_pending(const struct tls_stream *stream);

/* Writes at least one octet, or STATUS_AGAIN; the next call must then offer the same octets again
 * (from anywhere), and may offer more. */
MUST_CHECK enum status tls_stream_write(struct tls_stream *stream, const uint8_t *data,
                                        size_t length, size_t *out_written);

/* Tells the peer that no more will come (close_notify), if the socket has room for it. */
void tls_stream_finish(struct tls_stream *stream);

/* Fills `out_binding`; see conn_tls_binding. */
void tls_stream_binding(struct tls_stream *stream, enum tls_binding_kind kind,
                        struct tls_binding *out_binding);

/* Milliseconds a handshake may take. */
uint32_t tls_server_handshake_ms(const struct tls_server *server);
uint32_t tls_client_handshake_ms(const struct tls_client *client);

#endif
