/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   conn_start_tls, later        the receive's last answer       all sent
 *        ---> STOPPING ------------------------------> FLUSHING -------> HANDSHAKE -> ESTABLISHED
 *                                                                            ^
 *   conn_start_tls, before conn_start ---------------------------------------+
 *
 * STOPPING and FLUSHING exist for STLS. The receive is cancelled and answered, and the socket is
 * looked at once more, before the reply is handed to the kernel: until then a client that keeps to
 * the protocol has nothing to send, so that whatever comes was put in by somebody else and ends the
 * connection. What comes after the reply belongs to the handshake, and is taken by it alone: octets
 * in the clear fail there as something that is not TLS. No octet can be read as a command.
 *
 * OpenSSL reads and writes the socket itself; the loop only tells when it can. Output is gathered
 * in a block of two records, from octets, files and readers alike, so that a reply line and its
 * message share a record and no more than a block of a message is ever in memory. Where the kernel
 * encrypts, output goes the way of plaintext, sendfile included.
 *
 * A handshake costs as much as a hundred commands, so they are done by a task of the host, for at
 * most CONN_TLS_HANDSHAKES_TURN_US a turn, in the order in which they could go on.
 */
#include "io/conn_private.h"
#include "io/io_limits.h"
#include "io/tls_stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum phase { PHASE_STOPPING, PHASE_FLUSHING, PHASE_HANDSHAKE, PHASE_ESTABLISHED };

struct conn_tls {
    struct tls_stream stream;
    struct conn *conn;
    struct list_link ready; /* on the host's `handshakes` */
    struct deadline deadline;
    uint8_t *block;      /* output on its way, of SENDQ_BLOCK_SIZE; NULL when there is none */
    uint32_t start, end; /* of what is in it and not yet sent */
    uint8_t phase;
    bool calls;   /* the calling end: it speaks first */
    bool reading; /* own.send is a cold read into the block */
    bool read_on; /* input was left unread, in OpenSSL or in the socket */
};

static_assert(SENDQ_BLOCK_SIZE == 2 * TLS_RECORD_MAX, "a block is two full records");

static struct mem_pool *blocks_of(struct conn *conn)
{
    return &conn->host->pools.blocks;
}

/* The end */

void conn_tls_release(struct conn_host *host, struct conn_tls *tls)
{
    list_remove(&tls->ready);
    deadline_disarm(loop_wheel(host->loop), &tls->deadline);
    mem_pool_put(&host->pools.blocks, tls->block);
    tls_stream_deinit(&tls->stream);
    free(tls);
}

void conn_tls_finish(struct conn *conn)
{
    tls_stream_finish(&conn->own.tls->stream);
}

/* The handshake has failed: tells why and ends the connection. */
static void fail(struct conn *conn, enum tls_failure failure, enum status status)
{
    if (conn->own.state == CONN_CLOSING) {
        return;
    }
    conn->own.tls_failure = (uint8_t)failure;
    counter_add(&conn->host->counters.tls_failed[failure], 1);
    if (conn->events->on_secure != NULL) {
        conn->events->on_secure(conn, status);
    }
    conn_close_now(conn, status);
}

void conn_tls_injected(struct conn *conn)
{
    fail(conn, TLS_FAILURE_PLAINTEXT, STATUS_INVALID);
}

static void on_deadline(struct deadline *deadline)
{
    struct conn *conn = list_entry(deadline, struct conn_tls, deadline)->conn;
    if (conn->own.tls->phase != PHASE_ESTABLISHED) {
        fail(conn, TLS_FAILURE_TIMEOUT, STATUS_TIMEOUT);
    }
}

/* Input */

enum conn_receiving conn_tls_wants(const struct conn *conn)
{
    const struct conn_tls *tls = conn->own.tls;
    switch (tls->phase) {
    case PHASE_STOPPING:
    case PHASE_FLUSHING:
        return CONN_RECEIVING_NOTHING;
    case PHASE_HANDSHAKE:
        /* Not while it is queued to go on, or waits for room. */
        return !list_empty(&tls->ready) || loop_op_busy(&conn->own.send) ? CONN_RECEIVING_NOTHING
                                                                         : CONN_RECEIVING_READINESS;
    default:
        break;
    }
    if (conn->own.state != CONN_OPEN) {
        return CONN_RECEIVING_OCTETS; /* ending: discarded, encrypted as they are */
    }
    if (!conn->own.paused) {
        return CONN_RECEIVING_READINESS;
    }
    return conn->own.fin_seen ? CONN_RECEIVING_NOTHING : CONN_RECEIVING_END;
}

static void input_ended(struct conn *conn)
{
    conn->own.peer_ended = true;
    conn_tell_input_end(conn);
}

/* Whether the peer plays a game with keys, or wants one that the kernel cannot change. */
static bool keys_are_spent(const struct tls_stream *stream)
{
    return stream->key_lost || stream->key_updates > CONN_TLS_KEY_UPDATES_MAX;
}

/* One record, or a part of one. False when there is no more to be had now. */
static bool read_record(struct conn *conn, uint8_t *block, size_t *out_length)
{
    struct tls_stream *stream = &conn->own.tls->stream;
    size_t length = 0;
    enum status status = tls_stream_read(stream, block, TLS_RECORD_MAX, &length);
    if (keys_are_spent(stream)) {
        status = STATUS_UNSUPPORTED;
    }
    switch (status) {
    case STATUS_OK:
        *out_length = length;
        conn_take_input(conn, block, length);
        mem_wipe(block, length); /* there may be passwords in it */
        return true;
    case STATUS_AGAIN:
        return false;
    case STATUS_EOF:
        input_ended(conn);
        return false;
    default:
        conn_close_now(conn, status);
        return false;
    }
}

static bool may_read(const struct conn *conn)
{
    return conn->own.state == CONN_OPEN && !conn->own.paused && !conn->own.offer_held &&
           !conn->own.peer_ended;
}

/* Reads until nothing is left, input is paused, or others must have their turn. Of the socket, a
 * short record says that there is nothing behind it, which the next wait proves or disproves. */
static void read_input(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    uint8_t *block = mem_pool_get(blocks_of(conn));
    if (block == NULL) {
        conn_close_now(conn, STATUS_NO_MEMORY);
        return;
    }
    size_t total = 0;
    bool more = true;
    while (more && may_read(conn) && total < CONN_TLS_INPUT_TURN) {
        size_t length = 0;
        more = read_record(conn, block, &length);
        total += length;
        more = more && (length >= TLS_RECORD_MAX / 4 || tls_stream_pending(&tls->stream));
    }
    mem_pool_put(blocks_of(conn), block);
    tls->read_on = more && conn->own.state == CONN_OPEN && !conn->own.peer_ended;
    if (tls->read_on && may_read(conn)) {
        conn_queue_task(conn);
    } else {
        conn_receive_as_wanted(conn);
    }
}

/* The handshake */

static void go_on_soon(struct conn *conn)
{
    if (list_empty(&conn->own.tls->ready)) {
        list_push_back(&conn->host->handshakes, &conn->own.tls->ready);
        loop_defer(conn->host->loop, &conn->host->handshake_task);
    }
}

static void established(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    struct conn_counters *counters = &conn->host->counters;
    tls->phase = PHASE_ESTABLISHED;
    deadline_disarm(loop_wheel(conn->host->loop), &tls->deadline);
    counter_add(tls->stream.facts.resumed ? &counters->tls_resumed : &counters->tls_full, 1);
    counter_add(&counters->tls_kernel, tls->stream.facts.kernel ? 1 : 0);
    if (conn->events->on_secure != NULL) {
        conn->events->on_secure(conn, STATUS_OK);
    }
    if (conn->own.state == CONN_OPEN) {
        /* The first commands may have come with the last of the handshake. */
        tls->read_on = tls_stream_pending(&tls->stream);
    }
    conn_receive_as_wanted(conn);
    conn_queue_task(conn);
}

static void handshake_step(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    enum status status = tls_stream_handshake(&tls->stream);
    if (status == STATUS_OK) {
        established(conn);
    } else if (status != STATUS_AGAIN) {
        fail(conn, (enum tls_failure)tls->stream.failure, status);
    } else if (tls->stream.wants_write) {
        loop_wait_writable(conn->host->loop, &conn->own.send, conn->fd);
    } else {
        conn_receive_as_wanted(conn);
    }
}

static int64_t microseconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void conn_tls_run_handshakes(struct loop_task *task)
{
    struct conn_host *host = list_entry(task, struct conn_host, handshake_task);
    int64_t until_us = microseconds_now() + CONN_TLS_HANDSHAKES_TURN_US;
    struct list_link *link;
    while ((link = list_pop_front(&host->handshakes)) != NULL) {
        struct conn *conn = list_entry(link, struct conn_tls, ready)->conn;
        if (conn->own.state != CONN_CLOSING) {
            handshake_step(conn);
        }
        if (!list_empty(&host->handshakes) && microseconds_now() >= until_us) {
            loop_defer(host->loop, task); /* the next turn, which does not wait */
            return;
        }
    }
}

/* Starting */

static void begin_handshake(struct conn *conn)
{
    conn->own.tls->phase = PHASE_HANDSHAKE;
    if (conn->own.tls->calls) {
        go_on_soon(conn);
    } else {
        conn_receive_as_wanted(conn);
    }
}

/* The receive is over: from here on only the kernel can have octets that came too early. */
static void stopped(struct conn *conn)
{
    uint8_t octet;
    ssize_t length = recv(conn->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    if (length > 0) {
        conn_tls_injected(conn);
    } else if (length == 0) {
        fail(conn, TLS_FAILURE_LEFT, STATUS_EOF);
    } else if (errno != EAGAIN && errno != EINTR) {
        fail(conn, TLS_FAILURE_LEFT, status_from_errno(errno));
    } else {
        conn->own.tls->phase = PHASE_FLUSHING;
        conn_queue_task(conn);
    }
}

void conn_tls_flushed(struct conn *conn)
{
    if (conn->own.tls->phase == PHASE_FLUSHING) {
        begin_handshake(conn);
    }
}

bool conn_tls_receive_done(struct conn *conn, enum status status)
{
    struct conn_tls *tls = conn->own.tls;
    if (tls->phase == PHASE_STOPPING) {
        if (status == STATUS_OK || status == STATUS_CANCELLED) {
            stopped(conn);
        } else {
            fail(conn, TLS_FAILURE_LEFT, status);
        }
        return true;
    }
    if (conn->own.receiving != CONN_RECEIVING_READINESS) {
        return false;
    }
    if (status != STATUS_OK && status != STATUS_CANCELLED) {
        conn_close_now(conn, status);
    } else if (status == STATUS_OK && tls->phase == PHASE_HANDSHAKE) {
        go_on_soon(conn);
    } else if (status == STATUS_OK && may_read(conn)) {
        read_input(conn);
    } else {
        tls->read_on = status == STATUS_OK; /* there is some, for when it is wanted */
        conn_receive_as_wanted(conn);
    }
    return true;
}

static enum status refuse(struct conn *conn, enum tls_failure failure, enum status status)
{
    conn->own.tls_failure = (uint8_t)failure;
    counter_add(&conn->host->counters.tls_failed[failure], 1);
    conn_close_now(conn, status);
    return status;
}

/* With a server's part or a client's, of which one is NULL. */
static enum status start(struct conn *conn, struct tls_server *server, struct tls_client *client)
{
    if (conn_ending(conn)) {
        return STATUS_CANCELLED;
    }
    if (conn->own.tls != NULL || conn->own.held != NULL) {
        return refuse(conn, TLS_FAILURE_PLAINTEXT, STATUS_INVALID);
    }
    struct conn_tls *tls = calloc(1, sizeof *tls);
    enum status status = STATUS_NO_MEMORY;
    if (tls != NULL) {
        status = server != NULL
                     ? tls_stream_init(&tls->stream, server, conn->host->tls_worker, conn->fd)
                     : tls_stream_init_client(&tls->stream, client, conn->fd);
    }
    if (status != STATUS_OK) {
        free(tls);
        return refuse(conn, TLS_FAILURE_OTHER, STATUS_NO_MEMORY);
    }
    struct loop *loop = conn->host->loop;
    tls->conn = conn;
    tls->calls = client != NULL;
    list_init(&tls->ready);
    deadline_init(&tls->deadline, on_deadline);
    deadline_arm(loop_wheel(loop), &tls->deadline,
                 loop_now_ms(loop) + (server != NULL ? tls_server_handshake_ms(server)
                                                     : tls_client_handshake_ms(client)));
    conn->own.tls = tls;
    if (conn->own.state == CONN_NEW) {
        tls->phase = PHASE_HANDSHAKE;
        if (tls->calls) {
            go_on_soon(conn);
        }
        return STATUS_OK;
    }
    tls->phase = PHASE_STOPPING;
    loop_cancel(loop, &conn->own.receive);
    conn_queue_task(conn); /* goes on at once where no receive was in flight */
    return STATUS_OK;
}

enum status conn_start_tls(struct conn *conn, struct tls_server *server)
{
    return start(conn, server, NULL);
}

enum status conn_start_tls_client(struct conn *conn, struct tls_client *client)
{
    return start(conn, NULL, client);
}

void conn_tls_turn(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    if (tls->phase == PHASE_STOPPING && !loop_op_busy(&conn->own.receive)) {
        if (conn->own.peer_ended) {
            fail(conn, TLS_FAILURE_LEFT, STATUS_EOF);
        } else {
            stopped(conn);
        }
    } else if (tls->phase == PHASE_ESTABLISHED && tls->read_on && may_read(conn)) {
        read_input(conn);
    }
}

/* Output */

bool conn_tls_established(const struct conn *conn)
{
    return conn->own.tls->phase == PHASE_ESTABLISHED;
}

bool conn_tls_refuses_output(const struct conn *conn)
{
    return conn->own.tls->phase < PHASE_HANDSHAKE;
}

bool conn_tls_sends_clear(const struct conn *conn)
{
    const struct conn_tls *tls = conn->own.tls;
    return tls->phase == PHASE_FLUSHING ||
           (tls->phase == PHASE_ESTABLISHED && tls->stream.facts.kernel);
}

bool conn_tls_owns_send(const struct conn *conn)
{
    const struct conn_tls *tls = conn->own.tls;
    return tls->phase == PHASE_HANDSHAKE ||
           (tls->phase == PHASE_ESTABLISHED && !tls->stream.facts.kernel);
}

size_t conn_tls_staged(const struct conn *conn)
{
    return conn->own.tls->end - conn->own.tls->start;
}

static size_t room_in(const struct conn_tls *tls)
{
    return SENDQ_BLOCK_SIZE - tls->end;
}

static void stage_octets(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    struct iovec piece;
    unsigned count = sendq_gather(&conn->output, &piece, 1);
    assert(count == 1);
    size_t length = piece.iov_len < room_in(tls) ? piece.iov_len : room_in(tls);
    memcpy(tls->block + tls->end, piece.iov_base, length);
    tls->end += (uint32_t)length;
    sendq_sent(&conn->output, length);
}

/* A part of the file at the front: what is in the page cache at once, else by an asynchronous read
 * once the block is empty. False when staging has to stop here. */
static bool stage_extent(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    const struct sendq_extent *extent = sendq_front_extent(&conn->output);
    size_t length = extent->length < room_in(tls) ? (size_t)extent->length : room_in(tls);
    struct iovec piece = {.iov_base = tls->block + tls->end, .iov_len = length};
    ssize_t got = preadv2(extent->fd, &piece, 1, (off_t)extent->offset, RWF_NOWAIT);
    if (got > 0) {
        tls->end += (uint32_t)got;
        sendq_sent(&conn->output, (uint64_t)got);
        return true;
    }
    if (got == 0) {
        /* An extent that reaches beyond its file is stored data gone wrong. */
        conn_close_now(conn, STATUS_CORRUPT);
    } else if (tls->end == tls->start) {
        tls->reading = true;
        loop_read(conn->host->loop, &conn->own.send, extent->fd, tls->block, length,
                  extent->offset);
    }
    return false;
}

static bool stage_reader(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    struct sendq_reader *reader = sendq_front_reader(&conn->output);
    if (room_in(tls) < SENDQ_RESERVE_MAX) {
        return false; /* it is promised that much room */
    }
    size_t length = 0;
    enum status status = reader->fill(reader, tls->block + tls->end, SENDQ_RESERVE_MAX, &length);
    switch (status) {
    case STATUS_OK:
    case STATUS_EOF:
        assert(length > 0 || status == STATUS_EOF);
        tls->end += (uint32_t)length;
        if (status == STATUS_EOF) {
            sendq_reader_finished(&conn->output);
        }
        return true;
    case STATUS_PENDING:
        return false;
    default:
        conn_close_now(conn, status);
        return false;
    }
}

/* Fills the block from the front of the queue, as far as that goes without waiting. */
static void stage(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    tls->start = tls->end = 0;
    bool go_on = true;
    while (go_on && room_in(tls) > 0 && conn->own.state < CONN_LINGERING) {
        switch (sendq_front(&conn->output)) {
        case SENDQ_OCTETS:
            stage_octets(conn);
            break;
        case SENDQ_EXTENT:
            go_on = stage_extent(conn);
            break;
        case SENDQ_READER:
            go_on = stage_reader(conn);
            break;
        case SENDQ_EMPTY:
            go_on = false;
            break;
        }
    }
}

/* Gives the block back when nothing is on its way: an idle connection has none. */
static void unstage(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    if (tls->start == tls->end && !tls->reading) {
        mem_pool_put(blocks_of(conn), tls->block);
        tls->block = NULL;
        tls->start = tls->end = 0;
    }
}

/* Has something in the block to be sent; false when there is nothing, or not yet. */
static bool staged(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    if (tls->start < tls->end) {
        return true;
    }
    if (sendq_empty(&conn->output)) {
        return false;
    }
    if (tls->block == NULL) {
        tls->block = mem_pool_get(blocks_of(conn));
        if (tls->block == NULL) {
            conn_close_now(conn, STATUS_NO_MEMORY);
            return false;
        }
    }
    stage(conn);
    return tls->start < tls->end && conn->own.state < CONN_LINGERING;
}

/* Writes one record of the block. False when the socket is full, or the connection has failed. */
static bool write_record(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    size_t written = 0;
    size_t length = tls->end - tls->start;
    enum status status =
        tls_stream_write(&tls->stream, tls->block + tls->start,
                         length < TLS_RECORD_MAX ? length : TLS_RECORD_MAX, &written);
    if (status == STATUS_AGAIN) {
        loop_wait_writable(conn->host->loop, &conn->own.send, conn->fd);
        return false;
    }
    if (status != STATUS_OK) {
        conn_close_now(conn, status);
        return false;
    }
    tls->start += (uint32_t)written;
    conn->own.octets_sent += written;
    counter_add(&conn->host->counters.octets_copied, written);
    return true;
}

void conn_tls_output(struct conn *conn)
{
    struct conn_tls *tls = conn->own.tls;
    if (tls->phase != PHASE_ESTABLISHED) {
        return;
    }
    size_t total = 0;
    while (!loop_op_busy(&conn->own.send) && conn->own.state < CONN_LINGERING) {
        bool was_empty = sendq_empty(&conn->output) && tls->start == tls->end;
        if (!staged(conn)) {
            bool is_empty = sendq_empty(&conn->output) && !tls->reading;
            if (is_empty && conn->own.state == CONN_FINISHING) {
                conn_linger(conn);
            } else if (is_empty && !was_empty && conn->own.state == CONN_OPEN) {
                conn_tell_drained(conn); /* a reader ended without another octet */
                continue;
            }
            break;
        }
        if (total >= CONN_TLS_OUTPUT_TURN) {
            conn_queue_task(conn); /* others first; the next turn does not wait */
            break;
        }
        size_t before = tls->start;
        if (!write_record(conn)) {
            break;
        }
        total += tls->start - before;
        if (tls->start == tls->end) {
            conn_tell_drained(conn);
        }
    }
    unstage(conn);
}

static void cold_read_done(struct conn *conn, enum status status, size_t octets)
{
    struct conn_tls *tls = conn->own.tls;
    tls->reading = false;
    if (status != STATUS_OK) {
        conn_close_now(conn, status == STATUS_EOF ? STATUS_CORRUPT : status);
        return;
    }
    counter_add(&conn->host->counters.octets_read, octets);
    tls->end = (uint32_t)octets;
    sendq_sent(&conn->output, octets);
}

void conn_tls_send_done(struct conn *conn, enum status status, size_t octets)
{
    struct conn_tls *tls = conn->own.tls;
    if (tls->reading) {
        cold_read_done(conn, status, octets);
    } else if (status != STATUS_OK && status != STATUS_CANCELLED) {
        conn_close_now(conn, status);
    } else if (tls->phase == PHASE_HANDSHAKE) {
        go_on_soon(conn);
    }
}

/* What is known */

const struct tls_facts *conn_tls(const struct conn *conn)
{
    const struct conn_tls *tls = conn->own.tls;
    return tls != NULL && tls->phase == PHASE_ESTABLISHED ? &tls->stream.facts : NULL;
}

enum tls_failure conn_tls_failure(const struct conn *conn)
{
    return (enum tls_failure)conn->own.tls_failure;
}

void conn_tls_binding(const struct conn *conn, enum tls_binding_kind kind,
                      struct tls_binding *out_binding)
{
    memset(out_binding, 0, sizeof *out_binding);
    if (conn_tls(conn) != NULL) {
        tls_stream_binding(&conn->own.tls->stream, kind, out_binding);
    }
}
