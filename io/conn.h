/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's byte stream over a socket: input as it comes, output as chunks, an orderly end. A
 * conn is embedded in its owner (a session) and belongs to one worker. Whether TLS is on, which
 * loop runs and how a chunk is sent are its secrets.
 *
 * Life: conn_init, conn_start, callbacks, conn_finish or conn_abort (or the peer ends it),
 * on_closed, after which the owner may free it. on_closed comes exactly once, never from inside a
 * conn_ call.
 *
 * Output queued in one turn of the loop leaves in one send, at the end of the turn. Files: up to
 * CONN_PIECE_MAX octets at a time, a quarter more if that is the rest; what is in the page cache by
 * sendfile(2), what is not by an asynchronous read, so that neither a cold disk nor a fast reader
 * holds up the others.
 *
 * Under TLS the same functions mean the same; files are read in blocks and encrypted here, or by
 * the kernel where it can.
 */
#ifndef IO_CONN_H
#define IO_CONN_H

#include "io/address.h"
#include "io/loop.h"
#include "io/sendq.h"
#include "io/status.h"
#include "io/tls.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONN_PIECE_MAX  (512 * 1024)      /* octets of one sendfile: bounds one client's turn */
#define CONN_READ_PIECE SENDQ_RESERVE_MAX /* octets of one cold read: one pooled block */
#define CONN_OUTPUT_HIGH \
    (64 * 1024)                     /* queued copied octets above which conn_output_full says so \
                                     */
#define CONN_OUTPUT_LOW (16 * 1024) /* on_drained is called when it falls to this */
#define CONN_LINGER_MS  2000        /* after our FIN: how long the peer may take to close */

struct conn;
struct tls_client; /* io/tls_client.h */

struct conn_events {
    /* Input. Returns how many octets were taken; the rest is kept and offered again, in front of
     * what comes next, or after conn_input_resume. While input is paused it is not called. */
    size_t (*on_input)(struct conn *conn, const uint8_t *data, size_t length);
    /* The peer will send no more (its FIN), after all input has been offered (once). Output still
     * works: a half-closed client waits for its replies. `left` octets were never taken. */
    void (*on_input_end)(struct conn *conn, size_t left);
    /* Output fell to CONN_OUTPUT_LOW after conn_output_full said true, or became empty. */
    void (*on_drained)(struct conn *conn);
    /* The end. `reason`: STATUS_OK after conn_finish, STATUS_EOF, STATUS_RESET, what conn_abort was
     * given, or what failed. All chunks have been released. The owner may free the conn here. */
    void (*on_closed)(struct conn *conn, enum status reason);
    /* The handshake that conn_start_tls asked for has ended. STATUS_OK: from here on all input and
     * output is protected, and conn_tls answers. Anything else: conn_tls_failure says why, and
     * on_closed follows with the same status. NULL for owners that never start TLS. */
    void (*on_secure)(struct conn *conn, enum status status);
};

struct conn_counters {
    struct counter octets_in;
    struct counter octets_copied;   /* sent from memory */
    struct counter octets_sendfile; /* sent from the page cache without a copy */
    struct counter octets_read;     /* of those copied, how many were read asynchronously: cold */
    struct counter tls_full;        /* handshakes that ended well, without and with a ticket */
    struct counter tls_resumed;
    struct counter tls_kernel; /* of both, how many have the kernel encrypt */
    struct counter tls_failed[TLS_FAILURE_COUNT];
};

/* What all connections of a worker share. */
struct conn_host {
    struct loop *loop;
    struct sendq_pools pools;
    uint32_t conn_count;
    unsigned tls_worker; /* which of a tls_server's contexts is this worker's; set after init */
    struct conn_counters counters;
    struct list_link handshakes; /* connections whose handshake can go on, oldest first */
    struct loop_task handshake_task;
};

/* Readies what the connections of the worker that runs `loop` share. */
void conn_host_init(struct conn_host *host, struct loop *loop);

/* No connection may be left (asserted). */
void conn_host_deinit(struct conn_host *host);

struct conn_tls;

struct conn {
    struct conn_host *host;
    const struct conn_events *events;
    int fd;
    enum loop_receive_mode mode;
    struct sendq output;
    struct address peer, local; /* data: a proxy preface may replace them */
    struct {
        struct loop_op receive, send, close; /* see enum conn_receiving; send: a cold read, too */
        struct loop_task task; /* the end of the turn: offer held input, send output */
        struct deadline linger;
        uint8_t *held; /* input offered but not taken; NULL when none */
        size_t held_length, held_capacity;
        uint8_t *read_block;  /* cold read in flight */
        struct conn_tls *tls; /* NULL in plaintext */
        uint64_t octets_sent;
        int64_t warm_ms; /* when an extent was queued that was warm */
        enum status reason;
        uint8_t state;
        uint8_t receiving;   /* what `receive` is doing: enum conn_receiving */
        uint8_t tls_failure; /* enum tls_failure */
        bool paused, offer_held, peer_ended, end_told, was_full, fin_seen;
    } own;
};

/* Takes `fd` over. Nothing happens until conn_start. */
void conn_init(struct conn *conn, struct conn_host *host, int fd, enum loop_receive_mode mode,
               const struct conn_events *events, const struct address *peer,
               const struct address *local);

/* Begins to receive. */
void conn_start(struct conn *conn);

/*
 * Changes over to TLS with what `server` presents (a reference is taken); on_secure follows.
 * Between conn_init and conn_start: implicit TLS; output queued meanwhile waits for the handshake.
 * Later, from on_input: STLS (RFC 2595). What is queued is then sent in the clear, and after it
 * nothing but the handshake is received. A client has to wait for that reply, so every octet behind
 * the command, in the same on_input, in the kernel, or on its way through a receive that was armed,
 * was put there by somebody else: it ends the connection with STATUS_INVALID, without a word, the
 * reply included. The receive is ended before the reply is sent, therefore the ClientHello can not
 * be among those octets. STATUS_INVALID: there were such octets already, or TLS is on; the
 * connection has been aborted. STATUS_NO_MEMORY: the same. STATUS_CANCELLED: it was ending.
 */
MUST_CHECK enum status conn_start_tls(struct conn *conn, struct tls_server *server);

/* The same at the calling end, with what `client` has, which must outlive the connection: between
 * conn_init and conn_start, or from on_input once the server has agreed to STLS. The handshake
 * begins in this turn of the loop. */
MUST_CHECK enum status conn_start_tls_client(struct conn *conn, struct tls_client *client);

/* What is known of the TLS connection; NULL in plaintext and before on_secure. Valid until
 * on_closed returns. */
const struct tls_facts *conn_tls(const struct conn *conn);

/* Why the handshake failed, from on_secure on until on_closed returns. */
enum tls_failure conn_tls_failure(const struct conn *conn);

/* The channel binding of that kind; its length is 0 when there is none. */
void conn_tls_binding(const struct conn *conn, enum tls_binding_kind kind,
                      struct tls_binding *out_binding);

/* Queue output. STATUS_NO_MEMORY: the connection has been aborted with that reason; the caller
 * needs do nothing more. After conn_finish or conn_abort they do nothing and return
 * STATUS_CANCELLED (holds are released and readers stopped all the same). */
enum status conn_write(struct conn *conn, const void *data, size_t length);
enum status conn_reserve(struct conn *conn, size_t length, uint8_t **out_data);
void conn_commit(struct conn *conn, size_t length);
enum status conn_send_memory(struct conn *conn, const void *data, size_t length,
                             struct sendq_hold hold);
enum status conn_send_extent(struct conn *conn, const struct sendq_extent *extent);
enum status conn_send_reader(struct conn *conn, struct sendq_reader *reader);

/* A reader that answered STATUS_PENDING has something now. */
void conn_reader_ready(struct conn *conn);

/* Octets of output queued and not yet taken by the socket. */
uint64_t conn_output_pending(const struct conn *conn);

/* Octets that the kernel has taken and the peer has not acknowledged: a slow reader is still at
 * them when nothing is queued here any more. A system call; 0 when it cannot tell. */
uint64_t conn_unacknowledged(const struct conn *conn);

/* True when the producer should wait for on_drained: more than CONN_OUTPUT_HIGH, or an extent or
 * reader, is queued. */
bool conn_output_full(struct conn *conn);

/* Whether conn_finish or conn_abort was called, or the connection failed: nothing more can be sent.
 */
bool conn_ending(const struct conn *conn);

/* Stops offering input. What arrives all the same is kept, and the first that does ends receiving,
 * so that the kernel's buffers hold the peer back. A reset is still noticed and ends the
 * connection; a peer's FIN is told after conn_input_resume, since a half-closed client waits for
 * its replies. */
void conn_input_pause(struct conn *conn);

/* Offers what was kept, from the loop, not inside this call; then receives on. */
void conn_input_resume(struct conn *conn);

/* Whether output is making progress: total octets taken by the socket since conn_init. */
uint64_t conn_octets_sent(const struct conn *conn);

/* Sends what is queued, then FIN, waits up to CONN_LINGER_MS for the peer's, closes. Input is
 * discarded from now on. Readers still queued run to their end; how long a peer may take to read is
 * for the caller to judge (conn_octets_sent, conn_abort). */
void conn_finish(struct conn *conn);

/* Ends at once: queued output is dropped. on_closed follows with `reason`. Harmless twice. */
void conn_abort(struct conn *conn, enum status reason);

#endif
