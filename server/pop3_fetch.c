/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RETR and TOP. What the store holds is what goes out (the wire form), so that RETR is a matter of
 * where the octets are: in a block of output into which a small message is read and verified; in
 * memory, after a cold read; or in a file, from which the connection sends them without a copy.
 *
 * A TOP that ends before the message does is passed on in pieces of at most STORE_INLINE_MAX
 * octets, the first one by the handler, so that a message that cannot be read is an -ERR and not a
 * broken reply, the others by a reader: a hundred megabytes of body cost one block.
 */
#include "server/pop3.h"

#include "io/digits.h"
#include "server/reply.h"
#include "server/server_limits.h"

#include <assert.h>
#include <string.h>

#define HEAD_MAX          64 /* octets of the first line */
#define TERMINATOR_LENGTH 3  /* octets of "." CRLF */

static size_t render_head(const struct pop3_session *pop3, char out[HEAD_MAX], uint64_t octets)
{
    if (pop3->fetch_kind != POP3_FETCH_RETR) {
        return reply_text(out, "+OK top of message follows\r\n");
    }
    size_t length = reply_text(out, "+OK ");
    length += digits_decimal(out + length, octets);
    return length + reply_text(out + length, " octets\r\n");
}

static void release_range(struct store_range *range)
{
    const struct sendq_hold *hold =
        range->kind == STORE_RANGE_EXTENT ? &range->extent.hold : &range->hold;
    if (range->kind != STORE_RANGE_BUFFER && hold->release != NULL) {
        hold->release(hold->owner);
    }
}

static void count_fetched(struct pop3_session *pop3, uint64_t octets)
{
    if (pop3->fetch_kind == POP3_FETCH_RETR) {
        struct worker_counters *counters = &pop3->session.worker->counters;
        counter_add(&counters->messages_retrieved, 1);
        counter_add(&counters->octets_retrieved, octets);
        pop3->retr_count++;
        pop3->retr_octets += octets;
    } else {
        pop3->top_count++;
        pop3->top_octets += octets;
    }
}

/* --- the part of a message that TOP wants --- */

/* How many of the `length` octets at `data`, the next ones of the message, belong to the TOP. */
static size_t top_pass(struct pop3_top *top, const uint8_t *data, size_t length)
{
    uint64_t room = top->stop - top->offset;
    size_t passed = room < length ? (size_t)room : length;
    if (top->offset + passed > top->body) {
        size_t header = top->offset < top->body ? (size_t)(top->body - top->offset) : 0;
        uint64_t before = top->scan.position;
        if (wire_top_scan(&top->scan, data + header, passed - header)) {
            passed = header + (size_t)(top->scan.position - before);
            top->finished = true;
        }
    }
    top->offset += passed;
    if (top->offset == top->stop) {
        top->finished = true;
    }
    return passed;
}

static size_t top_piece_length(const struct pop3_top *top, size_t capacity)
{
    uint64_t left = top->stop - top->offset;
    size_t piece = capacity < STORE_INLINE_MAX ? capacity : STORE_INLINE_MAX;
    return left < piece ? (size_t)left : piece;
}

/* Passes on what is left of an answer in memory, and lets go of it at its end. */
static size_t top_copy_range(struct pop3_session *pop3, uint8_t *out, size_t capacity)
{
    struct pop3_top *top = &pop3->top;
    struct store_range *range = &pop3->fetch.range;
    size_t left = (size_t)range->length - top->range_taken;
    size_t passed =
        top_pass(top, range->data + top->range_taken, left < capacity ? left : capacity);
    memcpy(out, range->data + (size_t)top->range_taken, passed);
    top->range_taken += passed;
    if (top->finished || top->range_taken == range->length) {
        top->range_held = false;
        release_range(range);
    }
    return passed;
}

static void on_fetched(struct store_fetch *fetch, enum status status);

/* Asks for `length` octets from `offset` on; `buffer` may be NULL. */
static enum status start_fetch(struct pop3_session *pop3, uint64_t offset, uint64_t length,
                               uint8_t *buffer)
{
    struct store_fetch *fetch = &pop3->fetch;
    fetch->client = &pop3->session.worker->store;
    fetch->on_done = on_fetched;
    fetch->view = pop3->view;
    fetch->offset = offset;
    fetch->length = length;
    fetch->buffer = buffer;
    enum status status = store_fetch(fetch);
    pop3->fetch_pending = status == STATUS_PENDING;
    return status;
}

static enum status top_fill_piece(struct pop3_session *pop3, uint8_t *out, size_t capacity,
                                  size_t *out_length)
{
    struct pop3_top *top = &pop3->top;
    if (pop3->fetch_pending || top->failure != STATUS_OK) {
        return pop3->fetch_pending ? STATUS_PENDING : top->failure;
    }
    if (!top->range_held) {
        enum status status = start_fetch(pop3, top->offset, top_piece_length(top, capacity), out);
        if (status != STATUS_OK) {
            return status;
        }
        if (pop3->fetch.range.kind == STORE_RANGE_BUFFER) {
            *out_length = top_pass(top, out, (size_t)pop3->fetch.range.length);
            return STATUS_OK;
        }
        top->range_held = true;
        top->range_taken = 0;
    }
    *out_length = top_copy_range(pop3, out, capacity);
    return STATUS_OK;
}

static enum status top_fill(struct sendq_reader *reader, uint8_t *out_data, size_t capacity,
                            size_t *out_length)
{
    struct pop3_session *pop3 = list_entry(reader, struct pop3_session, top.reader);
    assert(capacity >= TERMINATOR_LENGTH);
    if (!pop3->top.finished) {
        size_t length = 0;
        enum status status = top_fill_piece(pop3, out_data, capacity, &length);
        if (status != STATUS_OK || length > 0) {
            *out_length = length;
            pop3->top_octets += length;
            return status;
        }
    }
    memcpy(out_data, ".\r\n", TERMINATOR_LENGTH);
    *out_length = TERMINATOR_LENGTH;
    return STATUS_EOF;
}

static void top_stop(struct sendq_reader *reader, enum status status)
{
    struct pop3_session *pop3 = list_entry(reader, struct pop3_session, top.reader);
    if (pop3->top.range_held) {
        pop3->top.range_held = false;
        release_range(&pop3->fetch.range);
    }
    if (status == STATUS_OK) {
        session_producer_done(&pop3->session);
    }
}

/* The first piece is out: what follows it. */
static enum verdict top_go_on(struct pop3_session *pop3)
{
    if (pop3->top.finished) {
        reply_octets(&pop3->session, ".\r\n", TERMINATOR_LENGTH);
        return VERDICT_DONE;
    }
    if (conn_send_reader(&pop3->session.conn, &pop3->top.reader) != STATUS_OK) {
        return VERDICT_DONE; /* the connection is ending */
    }
    return VERDICT_MORE;
}

/* --- sending what has been fetched --- */

static void log_damage(struct pop3_session *pop3, enum status status)
{
    struct log_line line;
    char uidl[STORAGE_UIDL_LENGTH_MAX];
    size_t length = store_view_uidl(pop3->view, pop3->fetch.index, uidl);
    session_log_begin(&pop3->session, &line, LOG_LEVEL_ERROR, "fetch_failed");
    log_text(&line, "user", pop3->user);
    log_octets(&line, "uidl", uidl, length);
    log_text(&line, "status", status_name(status));
    log_end(&line);
}

static enum verdict fetch_failed(struct pop3_session *pop3, enum status status)
{
    log_damage(pop3, status);
    reply_line(&pop3->session,
               status == STATUS_CORRUPT
                   ? "-ERR [SYS/PERM] this message is damaged, others are not"
                   : "-ERR [SYS/TEMP] message cannot be read now, wait and try again later");
    return VERDICT_DONE;
}

static uint64_t fetched_octets(const struct pop3_session *pop3)
{
    return pop3->fetch_kind == POP3_FETCH_RETR ? store_view_size(pop3->view, pop3->fetch.index)
                                               : pop3->fetch.length;
}

/* The octets stand behind the first line, in the room that was reserved for both. */
static enum verdict send_buffer(struct pop3_session *pop3, size_t head, const uint8_t *data)
{
    size_t length = (size_t)pop3->fetch.range.length;
    if (pop3->fetch_kind == POP3_FETCH_TOP) {
        length = top_pass(&pop3->top, data, length);
        pop3->fetch.length = length;
    }
    conn_commit(&pop3->session.conn, head + length);
    count_fetched(pop3, fetched_octets(pop3));
    return pop3->fetch_kind == POP3_FETCH_TOP ? top_go_on(pop3) : VERDICT_DONE;
}

/* The octets are somewhere else: the first line, then a reference to them. */
static enum verdict send_range(struct pop3_session *pop3)
{
    struct conn *conn = &pop3->session.conn;
    struct store_range *range = &pop3->fetch.range;
    uint64_t length = range->length;
    char head[HEAD_MAX];
    reply_octets(&pop3->session, head, render_head(pop3, head, fetched_octets(pop3)));
    if (pop3->fetch_kind == POP3_FETCH_TOP) {
        length = pop3->fetch.length = top_pass(&pop3->top, range->data, (size_t)length);
    }
    count_fetched(pop3, fetched_octets(pop3));
    /* When these fail the connection is ending, and what they were given has been released. */
    if (range->kind == STORE_RANGE_EXTENT) {
        (void)conn_send_extent(conn, &range->extent);
    } else {
        (void)conn_send_memory(conn, range->data, (size_t)length, range->hold);
    }
    return pop3->fetch_kind == POP3_FETCH_TOP ? top_go_on(pop3) : VERDICT_DONE;
}

static void on_fetched(struct store_fetch *fetch, enum status status)
{
    struct pop3_session *pop3 = list_entry(fetch, struct pop3_session, fetch);
    pop3->fetch_pending = false;
    if (pop3->session.ended) {
        /* The client went while its message was being read. */
        if (status == STATUS_OK) {
            release_range(&fetch->range);
        }
        pop3_released_late(pop3);
        return;
    }
    if (pop3->session.producing) {
        pop3->top.failure = status;
        pop3->top.range_held = status == STATUS_OK;
        pop3->top.range_taken = 0;
        conn_reader_ready(&pop3->session.conn);
        return;
    }
    enum verdict verdict = status == STATUS_OK ? send_range(pop3) : fetch_failed(pop3, status);
    session_continue(&pop3->session, verdict, status == STATUS_OK);
}

bool pop3_fetch_end(struct pop3_session *pop3)
{
    if (pop3->fetch_pending) {
        store_fetch_cancel(&pop3->fetch);
        return false;
    }
    return true;
}

/* --- the commands --- */

/* Sends the first `length` octets of a message, or what TOP wants of them. A small piece is read
 * right behind the first line, in the output itself: one piece of memory, one send. */
static enum verdict send_message(struct pop3_session *pop3, enum pop3_fetch_kind kind,
                                 uint32_t index, uint64_t length)
{
    struct conn *conn = &pop3->session.conn;
    uint8_t *room = NULL, *buffer = NULL;
    size_t head = 0;
    pop3->fetch_kind = kind;
    pop3->fetch.index = index;
    if (length <= STORE_INLINE_MAX) {
        if (conn_reserve(conn, HEAD_MAX + (size_t)length, &room) != STATUS_OK) {
            return VERDICT_DONE; /* the connection is ending */
        }
        head = render_head(pop3, (char *)room, store_view_size(pop3->view, index));
        buffer = room + head;
    }
    enum status status = start_fetch(pop3, 0, length, buffer);
    if (status == STATUS_OK && pop3->fetch.range.kind == STORE_RANGE_BUFFER) {
        return send_buffer(pop3, head, buffer);
    }
    if (room != NULL) {
        conn_commit(conn, 0);
    }
    if (status == STATUS_PENDING) {
        return VERDICT_WAIT;
    }
    return status == STATUS_OK ? send_range(pop3) : fetch_failed(pop3, status);
}

enum verdict pop3_retr(struct session *session, const struct command_line *line)
{
    struct pop3_session *pop3 = pop3_of(session);
    uint32_t index;
    if (!pop3_find_message(pop3, line->args[0], &index)) {
        return VERDICT_DONE;
    }
    struct store_message message;
    store_view_message(pop3->view, index, &message);
    return send_message(pop3, POP3_FETCH_RETR, index, message.wire_length);
}

enum verdict pop3_top(struct session *session, const struct command_line *line)
{
    struct pop3_session *pop3 = pop3_of(session);
    uint32_t index;
    uint64_t lines;
    if (!pop3_find_message(pop3, line->args[0], &index)) {
        return VERDICT_DONE;
    }
    if (!command_number(line->args[1], UINT64_MAX, &lines)) {
        reply_line(session, "-ERR number of lines expected");
        return VERDICT_DONE;
    }
    struct store_message message;
    store_view_message(pop3->view, index, &message);
    uint64_t end = message.wire_length - TERMINATOR_LENGTH;
    /* Every line has its CRLF, so this many lines are all there can be: nothing need be counted. */
    if (lines >= (end - message.header_length) / 2) {
        return send_message(pop3, POP3_FETCH_TOP_WHOLE, index, message.wire_length);
    }
    pop3->top = (struct pop3_top){
        .reader = {.fill = top_fill, .stop = top_stop},
        .scan = {.lines_left = lines},
        .body = message.header_length,
        .stop = lines == 0 ? message.header_length : end,
    };
    /* A small message is read whole, because only then it is verified. */
    uint64_t length = message.wire_length <= STORE_INLINE_MAX
                          ? message.wire_length
                          : top_piece_length(&pop3->top, STORE_INLINE_MAX);
    return send_message(pop3, POP3_FETCH_TOP, index, length);
}
