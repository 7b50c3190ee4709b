/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DATA and BDAT: a message's octets go to the store as they come, and each recipient is answered
 * when the store has answered. Nothing of a message is kept here; when the store has enough for
 * now, input is held back until it can take more.
 */
#include "io/digits.h"
#include "server/config.h"
#include "server/lmtp.h"
#include "server/lmtp_address.h"
#include "server/reply.h"
#include "server/trace.h"

#include <assert.h>
#include <string.h>
#include <time.h>

static int64_t clock_us(clockid_t clock)
{
    struct timespec now = {0};
    (void)clock_gettime(clock, &now); /* fails only for an unknown clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* What a recipient is told when its message could not be delivered. */
static const char *failure_text(enum status status)
{
    switch (status) {
    case STATUS_NO_SPACE:
        return "452 4.3.1 Mail store is full, try later";
    case STATUS_TOO_BIG:
        return "552 5.3.4 Message is larger than the limit";
    case STATUS_NOT_FOUND:
        return "550 5.1.1 Mailbox is gone";
    case STATUS_INVALID:
        return "550 5.6.0 Message has a line feed without a carriage return";
    case STATUS_READ_ONLY:
        return "451 4.3.0 Mail store accepts no mail now, try later";
    default:
        return "451 4.3.0 Delivery failed, try later";
    }
}

/* --- the answer --- */

static void log_recipient(struct lmtp *lmtp, const struct lmtp_recipient *recipient,
                          enum status status, uint64_t uid)
{
    const struct lmtp_transaction *transaction = lmtp->transaction;
    char peer[ADDRESS_TEXT_MAX];
    struct log_line line;
    address_host_text(&lmtp->session.conn.peer, peer);
    session_log_begin(&lmtp->session, &line,
                      status == STATUS_OK ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "delivery");
    log_text(&line, "user", recipient->user);
    log_text(&line, "from", transaction->sender);
    if (status == STATUS_OK) {
        log_hex(&line, "uid", uid);
    }
    log_number(&line, "octets", (int64_t)transaction->decoder.octets);
    log_text(&line, "status", status_name(status));
    log_text(&line, "peer", peer);
    log_end(&line);
}

static void count_message(struct lmtp *lmtp, enum status status, unsigned delivered)
{
    const struct lmtp_transaction *transaction = lmtp->transaction;
    struct worker_counters *counters = &lmtp->session.worker->counters;
    int64_t now_us = clock_us(CLOCK_MONOTONIC);
    histogram_add(&counters->delivery_us, (uint64_t)(now_us - transaction->ended_us));
    if (status != STATUS_OK) {
        counter_add(&counters->delivery_failures, 1);
        return;
    }
    counter_add(&counters->deliveries, 1);
    counter_add(&counters->delivery_recipients, delivered);
    counter_add(&counters->delivery_octets, transaction->decoder.octets);
    lmtp->message_count++;
    lmtp->recipient_count += delivered;
    lmtp->octets += transaction->decoder.octets;
}

/* What became of one recipient when the message as a whole came to `status`: another's maildrop may
 * be all that is left of several (a single one's fate is the message's). */
static enum status recipient_status(struct lmtp *lmtp, const struct lmtp_recipient *recipient,
                                    enum status status)
{
    bool may_be_gone = status == STATUS_OK && lmtp->transaction->drop_count > 1;
    return may_be_gone && store_drop_is_removed(&lmtp->session.worker->store, &recipient->to.drop)
               ? STATUS_NOT_FOUND
               : status;
}

static void reply_delivered(struct session *session, uint64_t uid)
{
    static const char words[] = "250 2.0.0 Delivered, uid ";
    char line[sizeof words + DIGITS_HEX_MAX + 2];
    size_t length = reply_text(line, words);
    length += digits_hex(line + length, uid);
    length += reply_text(line + length, "\r\n");
    reply_octets(session, line, length);
}

/* The reply to the RCPT whose recipients begin at `index`: an alias is served when one of those it
 * stands for is. Logs each; returns how many have the message. */
static unsigned answer_recipient(struct lmtp *lmtp, unsigned index, enum status status,
                                 uint64_t uid)
{
    const struct lmtp_transaction *transaction = lmtp->transaction;
    enum status answer = STATUS_NOT_FOUND;
    unsigned delivered = 0, i = index;
    do {
        const struct lmtp_recipient *recipient = &transaction->recipients[i];
        enum status own = recipient_status(lmtp, recipient, status);
        log_recipient(lmtp, recipient, own, uid);
        delivered += own == STATUS_OK;
        answer = answer == STATUS_OK ? answer : own;
    } while (++i < transaction->recipient_count && transaction->recipients[i].further);
    if (lmtp->session.ended) {
        return delivered; /* nobody is there to be told */
    }
    if (answer == STATUS_OK) {
        reply_delivered(&lmtp->session, uid);
    } else {
        reply_line(&lmtp->session, failure_text(answer));
    }
    return delivered;
}

/* The end of every message whose end was read: one reply for each accepted RCPT, in order, repeated
 * ones included (RFC 2033 section 4.2), one log line for each account; then the transaction is
 * over. */
static void answer_message(struct lmtp *lmtp, enum status status, uint64_t uid)
{
    const struct lmtp_transaction *transaction = lmtp->transaction;
    unsigned delivered = 0;
    for (unsigned i = 0; i < transaction->recipient_count; i++) {
        if (!transaction->recipients[i].further) {
            delivered += answer_recipient(lmtp, i, status, uid);
        }
    }
    count_message(lmtp, status, delivered);
    lmtp_forget(lmtp);
}

/* The store's answer. The session may have ended while the commit ran. */
static void on_done(void *owner, enum status status, uint64_t uid)
{
    struct lmtp *lmtp = owner;
    struct session *session = &lmtp->session;
    assert(lmtp->state == LMTP_COMMIT);
    lmtp->transaction->delivery = NULL; /* gone with its answer */
    answer_message(lmtp, status, uid);
    if (session->ended) {
        session_released(session);
        return;
    }
    session_continue(session, VERDICT_NEXT, status == STATUS_OK);
}

/* --- to the store --- */

/* From here on the message's octets are only read over. The first reason counts. */
static void refuse_message(struct lmtp_transaction *transaction, enum status status)
{
    if (transaction->failure == STATUS_OK) {
        transaction->failure = status;
    }
    if (transaction->delivery != NULL) {
        store_delivery_abort(&transaction->delivery);
    }
}

static enum status commit_message(struct lmtp *lmtp)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    struct store_recipient *drops =
        mem_arena_alloc(&lmtp->arena, transaction->drop_count * sizeof *drops);
    if (drops == NULL) {
        return STATUS_NO_MEMORY;
    }
    unsigned count = 0;
    for (unsigned i = 0; i < transaction->recipient_count; i++) {
        if (!transaction->recipients[i].repeated) {
            drops[count++] = transaction->recipients[i].to;
        }
    }
    assert(count == transaction->drop_count);
    return store_delivery_commit(transaction->delivery, drops, count);
}

/* The last octet has come. Either the store answers later, and the session waits, or all is
 * answered when this returns. */
static void finish_message(struct lmtp *lmtp)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    struct worker *worker = lmtp->session.worker;
    transaction->ended_us = clock_us(CLOCK_MONOTONIC);
    if (transaction->failure == STATUS_OK && store_delivery_bare_lfs(transaction->delivery) > 0) {
        counter_add(&worker->counters.bare_lf_messages, 1);
        if (worker->config->lmtp.refuse_bare_lf) {
            refuse_message(transaction, STATUS_INVALID);
        }
    }
    if (transaction->failure == STATUS_OK) {
        enum status status = commit_message(lmtp);
        if (status == STATUS_PENDING) {
            lmtp_set_state(lmtp, LMTP_COMMIT);
            lmtp->session.waiting = true;
            return;
        }
        refuse_message(transaction, status);
    }
    answer_message(lmtp, transaction->failure, 0);
}

/* The whole chunk has been taken, or its message is refused and the rest will be read over. */
static void finish_chunk(struct lmtp *lmtp)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    if (lmtp->chunk_last) {
        finish_message(lmtp);
        return;
    }
    lmtp_set_state(lmtp, LMTP_CHUNKS);
    if (transaction->failure != STATUS_OK) {
        reply_line(&lmtp->session, failure_text(transaction->failure));
        return;
    }
    reply_format(&lmtp->session, "250 2.0.0 %llu octets so far",
                 (unsigned long long)transaction->decoder.octets);
}

static void on_writable(void *owner)
{
    struct lmtp *lmtp = owner;
    struct session *session = &lmtp->session;
    if (session->ended || session->closing) {
        return;
    }
    assert(session->waiting);
    if (lmtp->state == LMTP_CHUNK && lmtp->chunk_left == 0) {
        finish_chunk(lmtp);
        if (lmtp->state == LMTP_COMMIT) {
            return; /* still waiting, now for on_done */
        }
    }
    session_continue(session, VERDICT_DONE, true);
}

static const struct store_delivery_events delivery_events = {.on_writable = on_writable,
                                                             .on_done = on_done};

/* Octets of content, accounted for in the decoder already. */
static void pass(struct lmtp *lmtp, const uint8_t *data, size_t length)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    if (length == 0 || transaction->failure != STATUS_OK) {
        return;
    }
    if (transaction->decoder.octets > lmtp->session.worker->config->lmtp.message_octets_max) {
        refuse_message(transaction, STATUS_TOO_BIG);
        return;
    }
    enum status status = store_delivery_add(transaction->delivery, data, length);
    if (status == STATUS_PENDING) {
        lmtp->session.waiting = true;
    } else if (status != STATUS_OK) {
        refuse_message(transaction, status);
    }
}

#define PEER_TEXT_MAX (sizeof "[IPv6:]" + ADDRESS_TEXT_MAX)

/* An address literal of RFC 5321 section 4.1.3, or what else there is to say. */
static void describe_peer(const struct address *peer, char out[PEER_TEXT_MAX])
{
    sa_family_t family = peer->any.sa_family;
    bool is_literal = family == AF_INET || family == AF_INET6;
    out = stpcpy(out, family == AF_INET6 ? "[IPv6:" : is_literal ? "[" : "");
    address_host_text(peer, out);
    (void)stpcpy(out + strlen(out), is_literal ? "]" : "");
}

/* `size` is what is known of the message's octets, 0: nothing. */
static enum status begin_message(struct lmtp *lmtp, uint64_t size)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    struct worker *worker = lmtp->session.worker;
    char session_id[SESSION_ID_MAX], peer[PEER_TEXT_MAX], header[TRACE_LENGTH_MAX];
    int64_t now_ms = clock_us(CLOCK_REALTIME) / 1000;
    session_id_text(&lmtp->session, session_id);
    describe_peer(&lmtp->session.conn.peer, peer);
    struct trace trace = {
        .sender = transaction->sender,
        .client_name = lmtp->client_name,
        .peer = peer,
        .host = worker->config->hostname,
        .session = session_id,
        .recipient =
            transaction->recipient_count == 1 ? transaction->recipients[0].to.address : NULL,
        .utf8 = transaction->utf8,
        .tls = session_is_secure(&lmtp->session),
        .time_s = now_ms / 1000,
    };
    struct store_delivery_info info = {
        .sender = transaction->sender,
        .received_ms = now_ms,
        .header = header,
        .header_length = trace_render(&trace, header),
        .size_hint = size > 0 ? size : transaction->size,
    };
    return store_delivery_begin(&worker->store, &info, &delivery_events, lmtp,
                                &transaction->delivery);
}

/* --- the commands --- */

enum verdict lmtp_transfer_data(struct session *session, const struct command_line *line)
{
    struct lmtp *lmtp = lmtp_of(session);
    enum status status = begin_message(lmtp, 0);
    if (status != STATUS_OK) {
        reply_line(session, failure_text(status));
        return VERDICT_DONE;
    }
    lmtp_set_state(lmtp, LMTP_DATA);
    session->raw_input = true;
    reply_line(session, "354 Go ahead, end with CRLF.CRLF");
    return VERDICT_NEXT;
}

/* `size` octets follow: whatever comes of the command, they are no commands (RFC 3030 section 2).
 */
static void expect_chunk(struct lmtp *lmtp, uint64_t size)
{
    lmtp->chunk_left = size;
    lmtp->session.raw_input = size > 0;
}

/* Whether the message may go on, by `size` octets. */
static void admit_chunk(struct lmtp *lmtp, const struct lmtp_bdat *bdat)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    uint64_t limit = lmtp->session.worker->config->lmtp.message_octets_max;
    if (transaction->failure == STATUS_OK &&
        (bdat->size > limit || transaction->decoder.octets > limit - bdat->size)) {
        refuse_message(transaction, STATUS_TOO_BIG);
    }
    if (transaction->failure == STATUS_OK && lmtp->state == LMTP_ACCEPTED) {
        enum status status = begin_message(lmtp, bdat->last ? bdat->size : 0);
        if (status != STATUS_OK) {
            refuse_message(transaction, status);
        }
    }
}

/*
 * A refusal is answered at once and the octets are read over afterwards, so that a client that
 * waits for the reply gets it. A chunk that is taken is answered when all of it is there. Behind a
 * refused chunk those that follow are refused for the same reason, the last for each recipient.
 */
enum verdict lmtp_transfer_bdat(struct session *session, const struct command_line *line)
{
    struct lmtp *lmtp = lmtp_of(session);
    struct lmtp_bdat bdat;
    enum lmtp_syntax syntax = lmtp_parse_bdat(line, &bdat);
    if (bdat.has_size) {
        expect_chunk(lmtp, bdat.size);
    }
    if (syntax != LMTP_SYNTAX_OK) {
        reply_line(session, "501 5.5.4 Say BDAT octets [LAST]");
        return VERDICT_DONE;
    }
    if (lmtp->state != LMTP_ACCEPTED && lmtp->state != LMTP_CHUNKS) {
        reply_line(session, "503 5.5.1 No recipient has been accepted");
        return VERDICT_DONE;
    }
    admit_chunk(lmtp, &bdat);
    lmtp->chunk_last = bdat.last;
    lmtp_set_state(lmtp, LMTP_CHUNK);
    if (bdat.size == 0 || lmtp->transaction->failure != STATUS_OK) {
        finish_chunk(lmtp);
    }
    return session->waiting ? VERDICT_WAIT : VERDICT_NEXT;
}

static size_t take_data(struct lmtp *lmtp, const uint8_t *data, size_t length)
{
    struct lmtp_data *decoder = &lmtp->transaction->decoder;
    size_t taken = 0;
    while (taken < length && decoder->state != LMTP_DATA_ENDED && !lmtp->session.waiting) {
        struct lmtp_run run;
        taken += lmtp_data_take(decoder, data + taken, length - taken, &run);
        pass(lmtp, run.data, run.length);
    }
    if (decoder->state == LMTP_DATA_ENDED) {
        lmtp->session.raw_input = false;
        finish_message(lmtp);
    }
    return taken;
}

static size_t take_chunk(struct lmtp *lmtp, const uint8_t *data, size_t length)
{
    size_t taken = length < lmtp->chunk_left ? length : (size_t)lmtp->chunk_left;
    lmtp->chunk_left -= taken;
    lmtp->session.raw_input = lmtp->chunk_left > 0;
    if (lmtp->state != LMTP_CHUNK) {
        return taken; /* of a refused chunk */
    }
    lmtp->transaction->decoder.octets += taken;
    pass(lmtp, data, taken);
    if (lmtp->chunk_left == 0 && !lmtp->session.waiting) {
        finish_chunk(lmtp);
    }
    return taken;
}

size_t lmtp_transfer_take(struct session *session, const uint8_t *data, size_t length)
{
    struct lmtp *lmtp = lmtp_of(session);
    return lmtp->state == LMTP_DATA ? take_data(lmtp, data, length)
                                    : take_chunk(lmtp, data, length);
}
