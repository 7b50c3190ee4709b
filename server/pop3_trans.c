/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TRANSACTION: what is in the maildrop and what shall go. Numbers are fixed for the session;
 * messages marked deleted keep theirs but are left out everywhere (RFC 1939 section 5).
 */
#include "server/pop3.h"

#include "io/digits.h"
#include "server/reply.h"
#include "server/server_limits.h"

#include <assert.h>
#include <string.h>

#define MARK_BITS 64

/* Octets of one listing line at most: number, space, size or unique-id, CRLF. */
#define SIZES_LINE_MAX    (10 + 1 + DIGITS_DECIMAL_MAX + 2)
#define UIDLS_LINE_MAX    (10 + 1 + STORAGE_UIDL_LENGTH_MAX + 2)
#define LINE_MAX_OF(kind) ((kind) == POP3_LISTING_SIZES ? SIZES_LINE_MAX : UIDLS_LINE_MAX)
#define TERMINATOR_LENGTH 3  /* octets of "." CRLF */
#define LISTING_HEAD_MAX  64 /* octets of the first line */

/* --- marks --- */

bool pop3_is_deleted(const struct pop3_session *pop3, uint32_t index)
{
    return pop3->deleted != NULL &&
           (pop3->deleted[index / MARK_BITS] >> (index % MARK_BITS) & 1) != 0;
}

bool pop3_find_message(struct pop3_session *pop3, struct command_word word, uint32_t *out_index)
{
    uint64_t msgno;
    if (!command_number(word, UINT32_MAX, &msgno) || msgno < 1 || msgno > pop3->message_count) {
        reply_line(&pop3->session, "-ERR no such message");
        return false;
    }
    uint32_t index = (uint32_t)msgno - 1;
    if (pop3_is_deleted(pop3, index)) {
        reply_line(&pop3->session, "-ERR message is marked as deleted");
        return false;
    }
    *out_index = index;
    return true;
}

static bool have_marks(struct pop3_session *pop3)
{
    if (pop3->deleted == NULL) {
        size_t size = ((size_t)pop3->message_count + MARK_BITS - 1) / MARK_BITS * sizeof(uint64_t);
        pop3->deleted = mem_arena_alloc(&pop3->arena, size);
        if (pop3->deleted != NULL) {
            memset(pop3->deleted, 0, size);
        }
    }
    return pop3->deleted != NULL;
}

enum verdict pop3_dele(struct session *session, const struct command_line *line)
{
    struct pop3_session *pop3 = pop3_of(session);
    uint32_t index;
    if (!pop3_find_message(pop3, line->args[0], &index)) {
        return VERDICT_DONE;
    }
    if (!have_marks(pop3)) {
        reply_line(session, "-ERR [SYS/TEMP] short of memory, try again later");
        return VERDICT_DONE;
    }
    pop3->deleted[index / MARK_BITS] |= UINT64_C(1) << (index % MARK_BITS);
    pop3->left_count--;
    pop3->left_octets -= store_view_size(pop3->view, index);
    reply_line(session, "+OK marked to be deleted");
    return VERDICT_DONE;
}

/* --- totals --- */

/* "<lead><count><between><octets><tail>" */
static size_t render_pair(char *out, const char *lead, uint64_t first, const char *between,
                          uint64_t second, const char *tail)
{
    size_t length = reply_text(out, lead);
    length += digits_decimal(out + length, first);
    length += reply_text(out + length, between);
    length += digits_decimal(out + length, second);
    return length + reply_text(out + length, tail);
}

static size_t render_totals(const struct pop3_session *pop3, char out[LISTING_HEAD_MAX])
{
    return render_pair(out, "+OK ", pop3->left_count, " messages (", pop3->left_octets,
                       " octets)\r\n");
}

enum verdict pop3_stat(struct session *session, const struct command_line *line)
{
    const struct pop3_session *pop3 = pop3_of(session);
    char reply[LISTING_HEAD_MAX];
    size_t length = render_pair(reply, "+OK ", pop3->left_count, " ", pop3->left_octets, "\r\n");
    reply_octets(session, reply, length);
    return VERDICT_DONE;
}

enum verdict pop3_noop(struct session *session, const struct command_line *line)
{
    reply_line(session, "+OK");
    return VERDICT_DONE;
}

enum verdict pop3_rset(struct session *session, const struct command_line *line)
{
    struct pop3_session *pop3 = pop3_of(session);
    if (pop3->deleted != NULL) {
        size_t words = ((size_t)pop3->message_count + MARK_BITS - 1) / MARK_BITS;
        memset(pop3->deleted, 0, words * sizeof(uint64_t));
    }
    pop3->left_count = pop3->message_count;
    pop3->left_octets = pop3->message_octets;
    char reply[LISTING_HEAD_MAX];
    reply_octets(session, reply, render_totals(pop3, reply));
    return VERDICT_DONE;
}

/* --- listings --- */

/* "<number> <size or unique-id>" CRLF; returns its octets. */
static size_t render_line(const struct pop3_session *pop3, enum pop3_listing_kind kind,
                          uint32_t index, char *out)
{
    size_t length = digits_decimal(out, (uint64_t)index + 1);
    out[length++] = ' ';
    if (kind == POP3_LISTING_SIZES) {
        length += digits_decimal(out + length, store_view_size(pop3->view, index));
    } else {
        length += store_view_uidl(pop3->view, index, out + length);
    }
    out[length++] = '\r';
    out[length++] = '\n';
    return length;
}

/* Renders as many lines, and then the terminator, as are sure to fit. Returns the octets. */
static size_t render_lines(const struct pop3_session *pop3, struct pop3_listing *listing, char *out,
                           size_t capacity)
{
    size_t length = 0;
    const size_t line_max = LINE_MAX_OF(listing->kind);
    while (listing->next < pop3->message_count && capacity - length >= line_max) {
        uint32_t index = listing->next++;
        if (!pop3_is_deleted(pop3, index)) {
            length += render_line(pop3, listing->kind, index, out + length);
        }
    }
    if (listing->next == pop3->message_count && capacity - length >= TERMINATOR_LENGTH) {
        length += reply_text(out + length, ".\r\n");
        listing->ended = true;
    }
    return length;
}

static enum status listing_fill(struct sendq_reader *reader, uint8_t *out_data, size_t capacity,
                                size_t *out_length)
{
    struct pop3_session *pop3 = list_entry(reader, struct pop3_session, listing.reader);
    assert(capacity >= UIDLS_LINE_MAX); /* so that every call gets on */
    *out_length = render_lines(pop3, &pop3->listing, (char *)out_data, capacity);
    return pop3->listing.ended ? STATUS_EOF : STATUS_OK;
}

static void listing_stop(struct sendq_reader *reader, enum status status)
{
    struct pop3_session *pop3 = list_entry(reader, struct pop3_session, listing.reader);
    if (status == STATUS_OK) {
        session_producer_done(&pop3->session);
    }
}

/* A listing that fits into a small part of a block is written where it will be sent from. */
static enum verdict listing_at_once(struct pop3_session *pop3, size_t room)
{
    uint8_t *data;
    if (conn_reserve(&pop3->session.conn, room, &data) == STATUS_OK) {
        char *out = (char *)data;
        size_t length = render_totals(pop3, out);
        length += render_lines(pop3, &pop3->listing, out + length, room - length);
        assert(pop3->listing.ended);
        conn_commit(&pop3->session.conn, length);
    }
    return VERDICT_DONE;
}

static enum verdict list_all(struct pop3_session *pop3, enum pop3_listing_kind kind)
{
    struct session *session = &pop3->session;
    pop3->listing =
        (struct pop3_listing){.reader = {.fill = listing_fill, .stop = listing_stop}, .kind = kind};
    uint64_t room =
        LISTING_HEAD_MAX + (uint64_t)pop3->message_count * LINE_MAX_OF(kind) + TERMINATOR_LENGTH;
    if (room <= POP3_LISTING_INLINE_MAX) {
        return listing_at_once(pop3, (size_t)room);
    }
    char head[LISTING_HEAD_MAX];
    reply_octets(session, head, render_totals(pop3, head));
    if (conn_send_reader(&session->conn, &pop3->listing.reader) != STATUS_OK) {
        return VERDICT_DONE; /* the connection is ending */
    }
    return VERDICT_MORE;
}

static enum verdict list_one(struct pop3_session *pop3, enum pop3_listing_kind kind,
                             struct command_word word)
{
    uint32_t index;
    if (pop3_find_message(pop3, word, &index)) {
        char reply[4 + UIDLS_LINE_MAX];
        size_t length = reply_text(reply, "+OK ");
        length += render_line(pop3, kind, index, reply + length);
        reply_octets(&pop3->session, reply, length);
    }
    return VERDICT_DONE;
}

static enum verdict list_some(struct session *session, const struct command_line *line,
                              enum pop3_listing_kind kind)
{
    struct pop3_session *pop3 = pop3_of(session);
    return line->arg_count == 0 ? list_all(pop3, kind) : list_one(pop3, kind, line->args[0]);
}

enum verdict pop3_list(struct session *session, const struct command_line *line)
{
    return list_some(session, line, POP3_LISTING_SIZES);
}

enum verdict pop3_uidl(struct session *session, const struct command_line *line)
{
    return list_some(session, line, POP3_LISTING_UIDLS);
}
