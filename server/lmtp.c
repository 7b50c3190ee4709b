/* SPDX-License-Identifier: Apache-2.0 */
/*
 *               LHLO            MAIL                RCPT                DATA
 *   connect --> GREETED --> READY --> ADDRESSED ----------> ACCEPTED ----------> DATA
 *                           ^  ^          ^ RCPT refused |    |  ^ RCPT           |
 *                           |  |          +--------------+    |  +---+            | CRLF.CRLF
 *                           |  |                         BDAT |                   v
 *                           |  |                              v       LAST      COMMIT
 *                           |  |               CHUNKS <---> CHUNK -------------> |
 *                           |  | RSET, LHLO           BDAT    | LAST, refused    |
 *                           |  +---- from wherever a line     v                  |
 *                           |        can be taken           READY                |
 *                           +---- durable or failed: one reply per recipient ----+
 *
 * STARTTLS leads from READY back to GREETED.
 *
 * A message that is refused on the way (too big, disk full) stays in DATA or CHUNK until all its
 * octets have been read, then answers for each recipient without a COMMIT. A BDAT that is refused
 * leaves the state as it is; its octets are thrown away.
 *
 * A peer that goes before the end of its message aborts it; behind the end the commit runs on, and
 * the session waits for it only to log it.
 */
#include "server/lmtp.h"

#include "server/config.h"
#include "server/reply.h"

#include <assert.h>
#include <string.h>

#define ANY_LINE (LMTP_GREETED | LMTP_READY | LMTP_ADDRESSED | LMTP_ACCEPTED | LMTP_CHUNKS)

static enum verdict on_lhlo(struct session *session, const struct command_line *line);
static enum verdict on_rset(struct session *session, const struct command_line *line);
static enum verdict on_noop(struct session *session, const struct command_line *line);
static enum verdict on_vrfy(struct session *session, const struct command_line *line);
static enum verdict on_help(struct session *session, const struct command_line *line);
static enum verdict on_quit(struct session *session, const struct command_line *line);
static enum verdict on_starttls(struct session *session, const struct command_line *line);

#define COUNTER(number) (COMMAND_COUNTER_LMTP + (number))

/* The only truth about commands; those a session sends most often first. */
static const struct command lmtp_commands[] = {
    {.verb = "RCPT",
     .states = LMTP_ADDRESSED | LMTP_ACCEPTED,
     .raw = true,
     .counter = COUNTER(0),
     .handler = lmtp_envelope_rcpt},
    {.verb = "MAIL",
     .states = LMTP_READY,
     .raw = true,
     .counter = COUNTER(1),
     .handler = lmtp_envelope_mail},
    {.verb = "DATA", .states = LMTP_ACCEPTED, .counter = COUNTER(2), .handler = lmtp_transfer_data},
    /* Everywhere and with any arguments: its octets have to be read even when it is refused. */
    {.verb = "BDAT",
     .states = ANY_LINE,
     .raw = true,
     .counter = COUNTER(3),
     .handler = lmtp_transfer_bdat},
    {.verb = "LHLO",
     .states = ANY_LINE,
     .args_min = 1,
     .args_max = 1,
     .counter = COUNTER(4),
     .handler = on_lhlo},
    {.verb = "RSET", .states = ANY_LINE, .counter = COUNTER(5), .handler = on_rset},
    {.verb = "NOOP", .states = ANY_LINE, .raw = true, .counter = COUNTER(6), .handler = on_noop},
    {.verb = "VRFY", .states = ANY_LINE, .raw = true, .counter = COUNTER(7), .handler = on_vrfy},
    {.verb = "HELP", .states = ANY_LINE, .raw = true, .counter = COUNTER(8), .handler = on_help},
    {.verb = "QUIT", .states = ANY_LINE, .counter = COUNTER(9), .handler = on_quit},
    {.verb = "STARTTLS",
     .states = LMTP_GREETED | LMTP_READY,
     .counter = COUNTER(10),
     .handler = on_starttls},
};

/* --- states --- */

/* Where `state` may lead, and how it is traced. */
static unsigned next_states(enum lmtp_state state, const char **out_name)
{
    switch (state) {
    case LMTP_GREETED:
        *out_name = "greeted";
        return LMTP_READY;
    case LMTP_READY:
        *out_name = "ready";
        return LMTP_ADDRESSED | LMTP_GREETED;
    case LMTP_ADDRESSED:
        *out_name = "addressed";
        return LMTP_ACCEPTED | LMTP_READY;
    case LMTP_ACCEPTED:
        *out_name = "accepted";
        return LMTP_DATA | LMTP_CHUNK | LMTP_READY;
    case LMTP_DATA:
        *out_name = "data";
        return LMTP_COMMIT | LMTP_READY;
    case LMTP_CHUNK:
        *out_name = "chunk";
        return LMTP_CHUNKS | LMTP_COMMIT | LMTP_READY;
    case LMTP_CHUNKS:
        *out_name = "chunks";
        return LMTP_CHUNK | LMTP_READY;
    case LMTP_COMMIT:
        *out_name = "commit";
        return LMTP_READY;
    }
    *out_name = "none";
    return 0;
}

void lmtp_set_state(struct lmtp *lmtp, enum lmtp_state state)
{
    const char *name = NULL;
    assert((next_states(lmtp->state, &name) & state) != 0);
    (void)next_states(state, &name); /* for the name */
    lmtp->state = state;
    struct log_line line;
    session_log_begin(&lmtp->session, &line, LOG_LEVEL_DEBUG, "state");
    log_text(&line, "state", name);
    log_end(&line);
}

void lmtp_forget(struct lmtp *lmtp)
{
    struct lmtp_transaction *transaction = lmtp->transaction;
    if (transaction == NULL) {
        return;
    }
    if (transaction->looking) {
        auth_lookup_cancel(&transaction->lookup);
    }
    if (transaction->delivery != NULL) {
        store_delivery_abort(&transaction->delivery);
    }
    lmtp->transaction = NULL;
    mem_arena_clear(&lmtp->arena);
    lmtp_set_state(lmtp, LMTP_READY);
}

static unsigned state_bit(const struct session *session)
{
    return ((const struct lmtp *)(const void *)session)->state;
}

/* --- the small commands --- */

static enum verdict on_lhlo(struct session *session, const struct command_line *line)
{
    struct lmtp *lmtp = lmtp_of(session);
    const struct config *config = session->worker->config;
    size_t length = line->args[0].length;
    if (length > LMTP_NAME_LEN_MAX) {
        length = LMTP_NAME_LEN_MAX; /* it only goes into a header */
    }
    lmtp_forget(lmtp); /* RFC 5321 section 4.1.4: as RSET does */
    memcpy(lmtp->client_name, line->args[0].data, length);
    lmtp->client_name[length] = '\0';
    if (lmtp->state == LMTP_GREETED) {
        lmtp_set_state(lmtp, LMTP_READY);
    }
    reply_format(session, "250-%s", config->hostname);
    reply_line(session, "250-PIPELINING");
    reply_line(session, "250-ENHANCEDSTATUSCODES");
    reply_line(session, "250-8BITMIME");
    reply_line(session, "250-SMTPUTF8");
    reply_line(session, "250-CHUNKING");
    if (!session_is_secure(session) && session_tls_server(session) != NULL) {
        reply_line(session, "250-STARTTLS");
    }
    reply_format(session, "250 SIZE %llu", (unsigned long long)config->lmtp.message_octets_max);
    return VERDICT_DONE;
}

static enum verdict on_rset(struct session *session, const struct command_line *line)
{
    lmtp_forget(lmtp_of(session));
    reply_line(session, "250 2.0.0 Forgotten");
    return VERDICT_DONE;
}

static enum verdict on_noop(struct session *session, const struct command_line *line)
{
    reply_line(session, "250 2.0.0 Ok");
    return VERDICT_DONE;
}

/* Who has a mailbox here is told to RCPT, where it is counted, or not at all. */
static enum verdict on_vrfy(struct session *session, const struct command_line *line)
{
    reply_line(session, "252 2.5.0 Send some mail, it will be tried");
    return VERDICT_DONE;
}

static enum verdict on_help(struct session *session, const struct command_line *line)
{
    reply_line(session, "214 2.0.0 LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT: see RFC 2033");
    return VERDICT_DONE;
}

static enum verdict on_quit(struct session *session, const struct command_line *line)
{
    reply_line(session, "221 2.0.0 Goodbye");
    return VERDICT_CLOSE;
}

/* RFC 3207: LHLO has to be said again. */
static enum verdict on_starttls(struct session *session, const struct command_line *line)
{
    struct lmtp *lmtp = lmtp_of(session);
    if (session_is_secure(session)) {
        reply_line(session, "503 5.5.1 TLS is on already");
        return VERDICT_DONE;
    }
    if (session_tls_server(session) == NULL) {
        reply_line(session, "502 5.5.1 TLS is not available here");
        return VERDICT_DONE;
    }
    lmtp->client_name[0] = '\0';
    if (lmtp->state == LMTP_READY) {
        lmtp_set_state(lmtp, LMTP_GREETED);
    }
    reply_line(session, "220 2.0.0 Begin TLS now");
    session_start_tls(session);
    return VERDICT_NEXT;
}

/* --- what the shell asks --- */

/* A network that may speak LMTP may put mail into every maildrop: it has to be named. The other end
 * of a UNIX socket has passed the socket's mode. */
static bool peer_is_allowed(const struct session *session)
{
    const struct address *peer = &session->conn.peer;
    const struct config_listener *listener = session->listener;
    if (peer->any.sa_family == AF_UNIX) {
        return true;
    }
    for (unsigned i = 0; i < listener->allow_count; i++) {
        if (address_in_network(peer, &listener->allow[i])) {
            return true;
        }
    }
    return listener->allow_count == 0 && address_is_loopback(peer);
}

static void on_start(struct session *session)
{
    struct lmtp *lmtp = lmtp_of(session);
    lmtp->state = LMTP_GREETED;
    counter_add(&session->worker->counters.sessions_lmtp, 1);
    if (!peer_is_allowed(session)) {
        counter_add(&session->worker->counters.connections_refused, 1);
        reply_line(session, "554 5.7.1 You may not deliver here"); /* RFC 5321 section 3.1 */
        session_finish(session, "denied");
        return;
    }
    reply_format(session, "220 %s LMTP Restante is ready", session->worker->config->hostname);
}

static const char *out_of_sequence(enum lmtp_state state)
{
    switch (state) {
    case LMTP_GREETED:
        return "503 5.5.1 Say LHLO first";
    case LMTP_READY:
        return "503 5.5.1 Say MAIL first";
    case LMTP_ADDRESSED:
        return "503 5.5.1 No recipient has been accepted";
    case LMTP_CHUNKS:
        return "503 5.5.1 Go on with BDAT, or say RSET";
    default:
        return "503 5.5.1 A message is under way";
    }
}

static enum verdict on_refused(struct session *session, enum session_refusal refusal,
                               const struct command *row)
{
    if (session->bad_commands >= session->worker->config->lmtp.bad_commands) {
        session->end_reason = "bad_commands";
        reply_line(session, "421 4.7.0 Too many bad commands, closing");
        return VERDICT_CLOSE;
    }
    switch (refusal) {
    case SESSION_UNKNOWN_COMMAND:
        reply_line(session, "500 5.5.1 No such command; this is LMTP, say LHLO");
        break;
    case SESSION_WRONG_STATE:
        reply_line(session,
                   row->handler == lmtp_envelope_mail && lmtp_of(session)->state != LMTP_GREETED
                       ? "503 5.5.1 A message is under way"
                       : out_of_sequence(lmtp_of(session)->state));
        break;
    case SESSION_WRONG_ARGUMENTS:
        reply_line(session, "501 5.5.4 Wrong number of arguments");
        break;
    case SESSION_NEEDS_TLS:
        reply_line(session, "530 5.7.0 Encryption needed");
        break;
    case SESSION_LINE_TOO_LONG:
        reply_line(session, "500 5.5.2 Line too long");
        break;
    case SESSION_LINE_MALFORMED:
        reply_line(session, "500 5.5.2 Line with a NUL or a bare carriage return");
        break;
    }
    return VERDICT_DONE;
}

static void on_idle(struct session *session)
{
    reply_line(session, "421 4.4.2 Idle for too long, closing");
}

/* Between messages nothing is lost; one under way is finished first. */
static void on_drain(struct session *session)
{
    enum lmtp_state state = lmtp_of(session)->state;
    if ((state == LMTP_GREETED || state == LMTP_READY) && !session->raw_input) {
        reply_line(session, "421 4.3.2 Shutting down, closing");
        session_finish(session, "shutdown");
    }
}

/* The peer will send no more, or has been told to go: half a message gives its memory back. */
static void on_finish(struct session *session)
{
    struct lmtp *lmtp = lmtp_of(session);
    if (lmtp->state != LMTP_COMMIT) {
        lmtp_forget(lmtp);
    }
}

static bool on_ended(struct session *session, struct log_line *line)
{
    struct lmtp *lmtp = lmtp_of(session);
    counter_add(&session->worker->counters.sessions_lmtp, UINT64_MAX); /* minus one */
    log_number(line, "messages", (int64_t)lmtp->message_count);
    log_number(line, "recipients", (int64_t)lmtp->recipient_count);
    log_number(line, "octets", (int64_t)lmtp->octets);
    if (lmtp->state == LMTP_COMMIT) {
        return false; /* the answer is logged in lmtp_transfer.c, then the session is released */
    }
    lmtp_forget(lmtp);
    return true;
}

const struct session_protocol lmtp_protocol = {
    .name = "lmtp",
    .session_size = sizeof(struct lmtp),
    .line_length_max = LMTP_LINE_LEN_MAX,
    .mode = LOOP_RECEIVE_BULK,
    .commands = lmtp_commands,
    .command_count = sizeof lmtp_commands / sizeof lmtp_commands[0],
    .unknown_counter = COMMAND_COUNTER_UNKNOWN_LMTP,
    .on_start = on_start,
    .state_bit = state_bit,
    .on_refused = on_refused,
    .on_raw = lmtp_transfer_take,
    .on_idle = on_idle,
    .on_drain = on_drain,
    .on_finish = on_finish,
    .on_ended = on_ended,
};
