/* SPDX-License-Identifier: Apache-2.0 */
/*
 *            conn_start            conn_finish              all sent: FIN
 *     NEW ---------------> OPEN ----------------> FINISHING ------------> LINGERING
 *      |                    |                         |                       | peer's FIN, reset
 *      |                    |                         |                       | or CONN_LINGER_MS
 *      +--------------------+------ conn_abort -------+-----------------------+---> CLOSING
 *                                   or failure                 loop_close and every operation
 *                                                              answered: on_closed
 *
 * Everything that calls the owner back runs from the loop: from an operation's answer or from the
 * task at the end of the turn. The functions of conn.h only note what is wanted and queue that
 * task.
 */
#include "io/conn_private.h"
#include "io/io_limits.h"
#include "io/warm.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

void conn_host_init(struct conn_host *host, struct loop *loop)
{
    memset(host, 0, sizeof *host);
    host->loop = loop;
    sendq_pools_init(&host->pools);
    list_init(&host->handshakes);
    loop_task_init(&host->handshake_task, conn_tls_run_handshakes);
}

void conn_host_deinit(struct conn_host *host)
{
    assert(host->conn_count == 0);
    loop_task_cancel(&host->handshake_task);
    sendq_pools_deinit(&host->pools);
}

/* The end */

void conn_close_now(struct conn *conn, enum status reason)
{
    if (conn->own.state == CONN_CLOSING) {
        return;
    }
    conn->own.state = CONN_CLOSING;
    conn->own.reason = reason;
    deadline_disarm(loop_wheel(conn->host->loop), &conn->own.linger);
    loop_close(conn->host->loop, &conn->own.close, conn->fd);
}

/* The last operation to be answered ends the conn; a cold read may outlast the socket. */
static void end_if_idle(struct conn *conn)
{
    if (conn->own.state != CONN_CLOSING || loop_op_busy(&conn->own.close) ||
        loop_op_busy(&conn->own.send) || loop_op_busy(&conn->own.receive)) {
        return;
    }
    conn->fd = -1;
    loop_task_cancel(&conn->own.task);
    enum status reason = conn->own.reason;
    sendq_clear(&conn->output, reason == STATUS_OK ? STATUS_CANCELLED : reason);
    free(conn->own.held);
    conn->own.held = NULL;
    struct conn_host *host = conn->host;
    struct conn_tls *tls = conn->own.tls;
    host->conn_count--;
    conn->events->on_closed(conn, reason); /* the conn may be gone after this */
    if (tls != NULL) {
        conn_tls_release(host, tls);
    }
}

static void on_close_done(struct loop_op *op, enum status status, size_t octets)
{
    end_if_idle(list_entry(op, struct conn, own.close));
}

static void on_linger_due(struct deadline *deadline)
{
    conn_close_now(list_entry(deadline, struct conn, own.linger), STATUS_OK);
}

/* All output has been taken by the kernel: our FIN. What the peer still sends is discarded, because
 * a close with input unread makes the kernel send a reset, which can overtake the last reply. */
void conn_linger(struct conn *conn)
{
    if (conn->own.tls != NULL) {
        conn_tls_finish(conn);
    }
    (void)shutdown(conn->fd, SHUT_WR); /* if the peer is gone, the receive will say so */
    conn->own.state = CONN_LINGERING;
    if (conn->own.peer_ended) {
        conn_close_now(conn, STATUS_OK);
        return;
    }
    struct loop *loop = conn->host->loop;
    deadline_arm(loop_wheel(loop), &conn->own.linger, loop_now_ms(loop) + CONN_LINGER_MS);
}

/* Input */

static enum conn_receiving wanted_now(const struct conn *conn)
{
    if (conn->own.state == CONN_NEW || conn->own.state == CONN_CLOSING || conn->own.peer_ended) {
        return CONN_RECEIVING_NOTHING;
    }
    if (conn->own.tls != NULL) {
        return conn_tls_wants(conn);
    }
    if (conn->own.state != CONN_OPEN || !conn->own.paused) {
        return CONN_RECEIVING_OCTETS;
    }
    return conn->own.fin_seen ? CONN_RECEIVING_NOTHING : CONN_RECEIVING_END;
}

static void receive(struct conn *conn, enum conn_receiving what)
{
    struct loop *loop = conn->host->loop;
    conn->own.receiving = (uint8_t)what;
    switch (what) {
    case CONN_RECEIVING_OCTETS:
        loop_receive(loop, &conn->own.receive, conn->fd, conn->mode);
        break;
    case CONN_RECEIVING_END:
        loop_watch(loop, &conn->own.receive, conn->fd);
        break;
    case CONN_RECEIVING_READINESS:
        loop_wait_readable(loop, &conn->own.receive, conn->fd);
        break;
    case CONN_RECEIVING_NOTHING:
        break;
    }
}

/* What is in flight is ended for the sake of input only: a pause lets it be until something comes.
 */
void conn_receive_as_wanted(struct conn *conn)
{
    enum conn_receiving wanted = wanted_now(conn);
    if (!loop_op_busy(&conn->own.receive)) {
        receive(conn, wanted);
    } else if (wanted != conn->own.receiving &&
               (wanted == CONN_RECEIVING_OCTETS || wanted == CONN_RECEIVING_READINESS)) {
        loop_cancel(conn->host->loop, &conn->own.receive); /* its answer brings us here again */
    }
}

/* The buffer for so much input: a power of two or three quarters of one, which the allocator has
 * too. A stranger's half line is what most of it is, and shall not take twice what it may have. */
static size_t held_size(size_t needed)
{
    size_t size = CONN_HELD_FIRST;
    while (size < needed) {
        size *= 2;
    }
    return needed > CONN_HELD_FIRST && needed <= size / 4 * 3 ? size / 4 * 3 : size;
}

/* Keeps input that the owner has not taken. */
static void hold(struct conn *conn, const uint8_t *data, size_t length)
{
    if (length > CONN_HELD_MAX - conn->own.held_length) {
        conn_close_now(conn, STATUS_TOO_BIG);
        return;
    }
    size_t needed = conn->own.held_length + length;
    size_t capacity = conn->own.held == NULL ? 0 : conn->own.held_capacity;
    if (needed > capacity) {
        capacity = held_size(needed);
        uint8_t *grown = realloc(conn->own.held, capacity);
        if (grown == NULL) {
            conn_close_now(conn, STATUS_NO_MEMORY);
            return;
        }
        conn->own.held = grown;
        conn->own.held_capacity = capacity;
    }
    memcpy(conn->own.held + conn->own.held_length, data, length);
    conn->own.held_length = needed;
}

static void drop_held(struct conn *conn)
{
    free(conn->own.held);
    conn->own.held = NULL;
    conn->own.held_length = 0;
}

/* Offers `data`; returns how many octets are to be kept: 0 when the conn is ending. */
static size_t offer(struct conn *conn, const uint8_t *data, size_t length)
{
    size_t taken = conn->events->on_input(conn, data, length);
    assert(taken <= length);
    if (taken < length && conn->own.tls != NULL && conn_tls_refuses_output(conn)) {
        conn_tls_injected(conn); /* behind the command that asked for TLS */
        return 0;
    }
    return conn->own.state == CONN_OPEN ? length - taken : 0;
}

static void offer_held(struct conn *conn)
{
    uint8_t *data = conn->own.held;
    size_t length = conn->own.held_length;
    conn->own.held = NULL; /* on_input may end the conn, which frees what it holds */
    conn->own.held_length = 0;
    size_t left = offer(conn, data, length);
    if (left == 0) {
        free(data);
        return;
    }
    memmove(data, data + (length - left), left);
    conn->own.held = data;
    conn->own.held_length = left;
}

void conn_tell_input_end(struct conn *conn)
{
    if (conn->own.state == CONN_OPEN && conn->own.peer_ended && !conn->own.end_told &&
        !conn->own.paused && !conn->own.offer_held) {
        conn->own.end_told = true;
        conn->events->on_input_end(conn, conn->own.held_length);
    }
}

void conn_take_input(struct conn *conn, const uint8_t *data, size_t length)
{
    counter_add(&conn->host->counters.octets_in, length);
    if (conn->own.paused || conn->own.offer_held) {
        hold(conn, data, length);
    } else if (conn->own.held != NULL) {
        hold(conn, data, length);
        if (conn->own.state == CONN_OPEN) {
            offer_held(conn);
        }
    } else {
        size_t left = offer(conn, data, length);
        if (left > 0) {
            hold(conn, data + (length - left), left);
        }
    }
}

static void on_data(struct loop_op *op, const uint8_t *data, size_t length)
{
    struct conn *conn = list_entry(op, struct conn, own.receive);
    if (conn->own.state != CONN_OPEN) {
        return; /* ending: discarded */
    }
    if (conn->own.tls != NULL) {
        conn_tls_injected(conn);
        return;
    }
    bool was_paused = conn->own.paused;
    conn_take_input(conn, data, length);
    if (was_paused && conn->own.state == CONN_OPEN) {
        loop_cancel(conn->host->loop, op);
    }
}

static void watch_done(struct conn *conn, enum status status)
{
    if (status == STATUS_EOF) {
        conn->own.fin_seen = true; /* the receive will meet it, in its place behind the input */
    } else if (status != STATUS_CANCELLED) {
        conn_close_now(conn, status);
    }
    conn_receive_as_wanted(conn);
}

static void receive_done(struct conn *conn, enum status status)
{
    switch (status) {
    case STATUS_OK:
    case STATUS_CANCELLED:
        conn_receive_as_wanted(conn);
        break;
    case STATUS_EOF:
        conn->own.peer_ended = true;
        if (conn->own.state == CONN_LINGERING) {
            conn_close_now(conn, STATUS_OK);
        }
        conn_tell_input_end(conn);
        break;
    default:
        /* After our FIN nothing is owed any more: many clients answer it with a reset. */
        conn_close_now(conn, conn->own.state == CONN_LINGERING ? STATUS_OK : status);
    }
}

static void on_receive_done(struct loop_op *op, enum status status, size_t octets)
{
    struct conn *conn = list_entry(op, struct conn, own.receive);
    if (conn->own.state == CONN_CLOSING) {
        end_if_idle(conn);
    } else if (conn->own.tls != NULL && conn_tls_receive_done(conn, status)) {
        return;
    } else if (conn->own.receiving == CONN_RECEIVING_END) {
        watch_done(conn, status);
    } else {
        receive_done(conn, status);
    }
}

/* Output */

void conn_tell_drained(struct conn *conn)
{
    if (conn->own.tls != NULL && conn_tls_refuses_output(conn)) {
        return;
    }
    bool low =
        conn->own.was_full && conn->output.sources == 0 && conn->output.octets <= CONN_OUTPUT_LOW;
    if (conn->own.state == CONN_OPEN && (low || sendq_empty(&conn->output))) {
        conn->own.was_full = false;
        conn->events->on_drained(conn);
    }
}

static void send_octets(struct conn *conn)
{
    struct iovec iov[LOOP_IOV_MAX];
    unsigned count = sendq_gather(&conn->output, iov, LOOP_IOV_MAX);
    loop_send(conn->host->loop, &conn->own.send, conn->fd, iov, count,
              sendq_more_behind(&conn->output, count));
}

static void read_cold(struct conn *conn, const struct sendq_extent *extent)
{
    size_t length = extent->length < CONN_READ_PIECE ? (size_t)extent->length : CONN_READ_PIECE;
    enum status status = sendq_reserve_front(&conn->output, length, &conn->own.read_block);
    if (status != STATUS_OK) {
        conn->own.read_block = NULL;
        conn_close_now(conn, status);
        return;
    }
    loop_read(conn->host->loop, &conn->own.send, extent->fd, conn->own.read_block, length,
              extent->offset);
}

/* What is sent at once. A small rest is not worth a piece of its own. */
static size_t piece_of(const struct sendq_extent *extent)
{
    return extent->length <= CONN_PIECE_MAX + CONN_PIECE_MAX / 4 ? (size_t)extent->length
                                                                 : CONN_PIECE_MAX;
}

/* Whether its owner has looked and found it all in the page cache, not long ago. */
static bool seen_warm(const struct conn *conn, const struct sendq_extent *extent)
{
    return extent->warm && loop_now_ms(conn->host->loop) - conn->own.warm_ms < CONN_WARM_MS;
}

static void send_extent(struct conn *conn)
{
    const struct sendq_extent *extent = sendq_front_extent(&conn->output);
    size_t piece = piece_of(extent);
    size_t warm = seen_warm(conn, extent) ? piece : warm_length(extent->fd, extent->offset, piece);
    if (warm > 0 && conn->own.tls != NULL) {
        loop_send_file_encrypted(conn->host->loop, &conn->own.send, conn->fd, extent->fd,
                                 extent->offset, warm);
    } else if (warm > 0) {
        loop_send_file(conn->host->loop, &conn->own.send, conn->fd, extent->fd, extent->offset,
                       warm);
    } else {
        read_cold(conn, extent);
    }
}

/* Asks the reader at the front for a block. False when it has nothing now, or has failed. */
static bool fill_from_reader(struct conn *conn)
{
    struct sendq_reader *reader = sendq_front_reader(&conn->output);
    uint8_t *data;
    size_t length = 0;
    enum status status = sendq_reserve_front(&conn->output, SENDQ_RESERVE_MAX, &data);
    if (status != STATUS_OK) {
        conn_close_now(conn, status);
        return false;
    }
    status = reader->fill(reader, data, SENDQ_RESERVE_MAX, &length);
    switch (status) {
    case STATUS_OK:
        assert(length > 0);
        sendq_commit_front(&conn->output, length);
        return true;
    case STATUS_EOF:
        sendq_reader_finished(&conn->output);
        sendq_commit_front(&conn->output, length);
        return true;
    case STATUS_PENDING:
        sendq_commit_front(&conn->output, 0);
        return false;
    default:
        sendq_commit_front(&conn->output, 0);
        conn_close_now(conn, status);
        return false;
    }
}

static void run_output(struct conn *conn)
{
    if (conn->own.tls != NULL && !conn_tls_sends_clear(conn)) {
        conn_tls_output(conn);
        return;
    }
    bool changed = false; /* a reader ended without another octet */
    while (!loop_op_busy(&conn->own.send) && conn->own.state < CONN_LINGERING) {
        switch (sendq_front(&conn->output)) {
        case SENDQ_OCTETS:
            send_octets(conn);
            return;
        case SENDQ_EXTENT:
            send_extent(conn);
            return;
        case SENDQ_READER:
            if (!fill_from_reader(conn)) {
                return;
            }
            changed = true;
            break;
        case SENDQ_EMPTY:
            if (conn->own.state == CONN_FINISHING) {
                conn_linger(conn);
                return;
            }
            if (conn->own.tls != NULL) {
                conn_tls_flushed(conn);
            }
            if (!changed) {
                return;
            }
            changed = false;
            conn_tell_drained(conn);
            break;
        }
    }
}

static void read_done(struct conn *conn, enum status status, size_t octets)
{
    conn->own.read_block = NULL;
    if (status != STATUS_OK) {
        /* An extent that reaches beyond its file is stored data gone wrong, not the peer's end. */
        conn_close_now(conn, status == STATUS_EOF ? STATUS_CORRUPT : status);
        return;
    }
    counter_add(&conn->host->counters.octets_read, octets);
    sendq_sent(&conn->output, octets);
    sendq_commit_front(&conn->output, octets);
}

static void sent(struct conn *conn, enum status status, size_t octets)
{
    bool is_file = sendq_front(&conn->output) == SENDQ_EXTENT;
    if (status != STATUS_OK) {
        conn_close_now(conn, is_file && status == STATUS_EOF ? STATUS_CORRUPT : status);
        return;
    }
    struct conn_counters *counters = &conn->host->counters;
    counter_add(is_file ? &counters->octets_sendfile : &counters->octets_copied, octets);
    conn->own.octets_sent += octets;
    sendq_sent(&conn->output, octets);
    conn_tell_drained(conn);
}

static void on_send_done(struct loop_op *op, enum status status, size_t octets)
{
    struct conn *conn = list_entry(op, struct conn, own.send);
    if (conn->own.state == CONN_CLOSING) {
        end_if_idle(conn);
        return;
    }
    if (conn->own.tls != NULL && conn_tls_owns_send(conn)) {
        conn_tls_send_done(conn, status, octets);
    } else if (conn->own.read_block != NULL) {
        read_done(conn, status, octets);
    } else {
        sent(conn, status, octets);
    }
    run_output(conn);
}

/* The end of the turn */

static void on_task(struct loop_task *task)
{
    struct conn *conn = list_entry(task, struct conn, own.task);
    if (conn->own.offer_held) {
        conn->own.offer_held = false;
        if (conn->own.state == CONN_OPEN && !conn->own.paused) {
            if (conn->own.held != NULL) {
                offer_held(conn);
            }
            conn_receive_as_wanted(conn);
            conn_tell_input_end(conn);
        }
    }
    if (conn->own.tls != NULL) {
        conn_tls_turn(conn);
    }
    run_output(conn);
}

void conn_queue_task(struct conn *conn)
{
    if (conn->own.state != CONN_CLOSING) {
        loop_defer(conn->host->loop, &conn->own.task);
    }
}

/* The contract */

void conn_init(struct conn *conn, struct conn_host *host, int fd, enum loop_receive_mode mode,
               const struct conn_events *events, const struct address *peer,
               const struct address *local)
{
    memset(conn, 0, sizeof *conn);
    conn->host = host;
    conn->events = events;
    conn->fd = fd;
    conn->mode = mode;
    conn->peer = *peer;
    conn->local = *local;
    conn->own.state = CONN_NEW;
    conn->own.receive.on_data = on_data;
    conn->own.receive.on_done = on_receive_done;
    conn->own.send.on_done = on_send_done;
    conn->own.close.on_done = on_close_done;
    sendq_init(&conn->output, &host->pools);
    loop_task_init(&conn->own.task, on_task);
    deadline_init(&conn->own.linger, on_linger_due);
    host->conn_count++;
}

void conn_start(struct conn *conn)
{
    if (conn->own.state == CONN_NEW) {
        conn->own.state = CONN_OPEN;
        conn_receive_as_wanted(conn);
    }
}

bool conn_ending(const struct conn *conn)
{
    return conn->own.state >= CONN_FINISHING;
}

static bool refuses_output(const struct conn *conn)
{
    return conn_ending(conn) || (conn->own.tls != NULL && conn_tls_refuses_output(conn));
}

/* Queues what a sendq_ call has added, or ends the conn when it had no memory. */
static enum status queued(struct conn *conn, enum status status)
{
    if (status == STATUS_OK) {
        conn_queue_task(conn);
    } else if (status == STATUS_NO_MEMORY) {
        conn_close_now(conn, status);
    }
    return status;
}

enum status conn_write(struct conn *conn, const void *data, size_t length)
{
    if (refuses_output(conn)) {
        return STATUS_CANCELLED;
    }
    return queued(conn, sendq_copy(&conn->output, data, length));
}

enum status conn_reserve(struct conn *conn, size_t length, uint8_t **out_data)
{
    if (refuses_output(conn)) {
        return STATUS_CANCELLED;
    }
    return queued(conn, sendq_reserve(&conn->output, length, out_data));
}

void conn_commit(struct conn *conn, size_t length)
{
    sendq_commit(&conn->output, length);
}

static void release(const struct sendq_hold *hold_to_release)
{
    if (hold_to_release->release != NULL) {
        hold_to_release->release(hold_to_release->owner);
    }
}

enum status conn_send_memory(struct conn *conn, const void *data, size_t length,
                             struct sendq_hold hold_by)
{
    enum status status = STATUS_CANCELLED;
    if (!refuses_output(conn) && length > 0) {
        status = queued(conn, sendq_borrow(&conn->output, data, length, hold_by));
    } else if (!refuses_output(conn)) {
        release(&hold_by);
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        release(&hold_by);
    }
    return status;
}

enum status conn_send_extent(struct conn *conn, const struct sendq_extent *extent)
{
    enum status status = STATUS_CANCELLED;
    if (extent->warm) {
        conn->own.warm_ms = loop_now_ms(conn->host->loop);
    }
    if (!refuses_output(conn)) {
        status = queued(conn, sendq_extent(&conn->output, extent));
    }
    if (status != STATUS_OK) {
        release(&extent->hold);
    }
    return status;
}

enum status conn_send_reader(struct conn *conn, struct sendq_reader *reader)
{
    enum status status = STATUS_CANCELLED;
    if (!refuses_output(conn)) {
        status = queued(conn, sendq_reader(&conn->output, reader));
    }
    if (status != STATUS_OK) {
        reader->stop(reader, status);
    }
    return status;
}

void conn_reader_ready(struct conn *conn)
{
    conn_queue_task(conn);
}

uint64_t conn_output_pending(const struct conn *conn)
{
    return conn->output.octets + (conn->own.tls == NULL ? 0 : conn_tls_staged(conn));
}

uint64_t conn_unacknowledged(const struct conn *conn)
{
    int octets = 0;
    if (conn->fd < 0 || ioctl(conn->fd, SIOCOUTQ, &octets) != 0 || octets < 0) {
        return 0;
    }
    return (uint64_t)octets;
}

bool conn_output_full(struct conn *conn)
{
    if (conn->output.sources > 0 || conn->output.octets > CONN_OUTPUT_HIGH) {
        conn->own.was_full = true;
        return true;
    }
    return false;
}

void conn_input_pause(struct conn *conn)
{
    conn->own.paused = true;
}

void conn_input_resume(struct conn *conn)
{
    if (conn->own.paused) {
        conn->own.paused = false;
        conn->own.offer_held = true;
        conn_queue_task(conn);
    }
}

uint64_t conn_octets_sent(const struct conn *conn)
{
    return conn->own.octets_sent;
}

void conn_finish(struct conn *conn)
{
    if (conn_ending(conn)) {
        return;
    }
    if (conn->own.tls != NULL && !conn_tls_established(conn)) {
        conn_close_now(conn, STATUS_OK); /* nobody to say anything to */
        return;
    }
    conn->own.state = CONN_FINISHING;
    conn->own.paused = false;
    conn->own.offer_held = false;
    drop_held(conn);
    conn_receive_as_wanted(conn);
    conn_queue_task(conn);
}

void conn_abort(struct conn *conn, enum status reason)
{
    conn_close_now(conn, reason);
}
