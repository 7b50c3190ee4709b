/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session shell: from a connection's octets to lines, from lines to rows of the command table,
 * from verdicts to what happens next.
 *
 *      input --> line --> row --> handler --> DONE, NEXT ------------------------> next line
 *                                        \--> WAIT --> session_continue -----------^
 *                                        \--> MORE --> session_producer_done ------^
 *                                        \--> CLOSE -> flush, end
 *
 * However much a client pipelines, the loop in session_on_input is the only one: what pauses it is
 * answered from the I/O loop, and the input held back is offered again from there. Nothing
 * recurses.
 */
#include "server/session.h"

#include "io/digits.h"
#include "server/config.h"
#include "server/reply.h"
#include "server/server_limits.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

/* --- counting and logging --- */

static void count_command(struct session *session, const struct command *row, bool ok)
{
    unsigned index = row != NULL ? row->counter : session->protocol->unknown_counter;
    struct worker_counters *counters = &session->worker->counters;
    assert(index < WORKER_COMMANDS_MAX);
    counter_add(ok ? &counters->commands_ok[index] : &counters->commands_failed[index], 1);
    /* A good STLS is no sign of good will: what was done wrong before it still counts. */
    if (ok && !session->securing) {
        session->bad_commands = 0;
    }
}

void session_id_text(const struct session *session, char out_text[SESSION_ID_MAX])
{
    size_t length = 0;
    out_text[length++] = session->protocol->name[0];
    length += digits_decimal(out_text + length, session->worker->index);
    out_text[length++] = '-';
    length += digits_hex_short(out_text + length, session->id);
    out_text[length] = '\0';
}

void session_log_begin(struct session *session, struct log_line *line, enum log_level level,
                       const char *event)
{
    log_begin(line, level, event);
    if (log_is_on(line)) {
        char id[SESSION_ID_MAX];
        session_id_text(session, id);
        log_text(line, "id", id);
    }
}

static void log_tls(const struct session *session, struct log_line *line)
{
    const struct tls_facts *tls = conn_tls(&session->conn);
    if (tls == NULL) {
        enum tls_failure failure = conn_tls_failure(&session->conn);
        log_text(line, "tls", "none");
        log_text(line, "tls_failure",
                 failure != TLS_FAILURE_NONE ? tls_failure_name(failure) : NULL);
        return;
    }
    log_text(line, "tls", tls->protocol);
    log_text(line, "cipher", tls->cipher);
    log_text(line, "sni", tls->server_name);
    log_text(line, "client_certificate", tls->client_name);
    log_text(line, "resumed", tls->resumed ? "yes" : NULL);
    log_text(line, "ktls", tls->kernel ? "yes" : NULL);
}

static void log_peer(const struct session *session, struct log_line *line)
{
    char peer[ADDRESS_TEXT_MAX];
    address_host_text(&session->conn.peer, peer);
    log_text(line, "listener",
             session->listener != NULL ? session->listener->name : session->protocol->name);
    log_text(line, "peer", peer);
    log_tls(session, line);
}

/* --- the end --- */

static void session_free(struct session *session)
{
    struct worker *worker = session->worker;
    assert(worker->session_count > 0);
    worker->session_count--;
    worker_item_put(worker, session->protocol->session_size, session);
}

static int64_t session_now_ms(const struct session *session)
{
    return loop_now_ms(session->worker->loop);
}

static void disarm_timers(struct session *session)
{
    struct deadline_wheel *wheel = loop_wheel(session->worker->loop);
    deadline_disarm(wheel, &session->idle);
    deadline_disarm(wheel, &session->login);
}

/* The one way out, whatever ended the session: release, log, free. */
static void session_ended(struct session *session)
{
    session->ended = session->closing = true;
    session->waiting = session->producing = session->asking = session->securing = false;
    disarm_timers(session);
    list_remove(&session->link);
    struct log_line line;
    session_log_begin(session, &line, LOG_LEVEL_INFO, "session");
    log_peer(session, &line);
    bool released = session->protocol->on_ended(session, &line);
    log_seconds(&line, "seconds", session_now_ms(session) - session->started_ms);
    log_text(&line, "reason", session->end_reason);
    log_end(&line);
    if (released) {
        session_free(session);
    }
}

void session_released(struct session *session)
{
    assert(session->ended);
    session_free(session);
}

static void session_on_closed(struct conn *conn, enum status reason)
{
    struct session *session = list_entry(conn, struct session, conn);
    if (session->end_reason == NULL) {
        session->end_reason = status_name(reason);
    }
    session_ended(session);
}

/* No command from here on; what the protocol holds for itself alone is released at once. */
static bool begin_closing(struct session *session, const char *reason)
{
    if (session->closing) {
        return false;
    }
    session->closing = true;
    if (session->end_reason == NULL) {
        session->end_reason = reason;
    }
    return true;
}

void session_abort(struct session *session, const char *reason)
{
    if (session->ended) {
        return;
    }
    (void)begin_closing(session, reason); /* an orderly end may be under way: it is cut short */
    conn_abort(&session->conn, STATUS_CANCELLED);
}

void session_finish(struct session *session, const char *reason)
{
    if (session->ended || !begin_closing(session, reason)) {
        return;
    }
    if (session->protocol->on_finish != NULL) {
        session->protocol->on_finish(session);
    }
    conn_finish(&session->conn);
}

/* --- the command loop --- */

static bool session_busy(const struct session *session)
{
    return session->waiting || session->producing || session->securing;
}

/* Whether no further command may be taken now. */
static bool session_blocked(struct session *session)
{
    return session->closing || session_busy(session) || conn_ending(&session->conn) ||
           conn_output_full(&session->conn);
}

/* Where every step ends: input flows exactly while a command could be taken. */
static void session_settle(struct session *session)
{
    if (!session->closing && session->worker->draining && !session_busy(session)) {
        session->protocol->on_drain(session);
    }
    if (session->closing) {
        return;
    }
    if (session->securing) {
        if (session->worker->draining) {
            session_abort(session, "shutdown");
        }
        return; /* the connection needs its input for the handshake and offers us none */
    }
    if (session_blocked(session)) {
        session->input_paused = true;
        conn_input_pause(&session->conn);
    } else if (session->input_paused) {
        session->input_paused = false;
        conn_input_resume(&session->conn);
    }
}

/* Acts on what a handler, or the answer it waited for, has said. The only place. */
static void session_act(struct session *session, const struct command *row, enum verdict verdict,
                        bool ok)
{
    session->active_ms = session_now_ms(session);
    session->current = NULL;
    switch (verdict) {
    case VERDICT_WAIT:
        session->current = row;
        session->waiting = true;
        return;
    case VERDICT_ASK:
        session->current = row;
        session->asking = true;
        return;
    case VERDICT_MORE:
        session->producing = true;
        break;
    case VERDICT_CLOSE:
        session_finish(session, "quit");
        break;
    case VERDICT_DONE:
    case VERDICT_NEXT:
        break;
    }
    if (row != NULL) {
        count_command(session, row, ok);
    }
}

void session_continue(struct session *session, enum verdict verdict, bool ok)
{
    if (session->ended) {
        return;
    }
    assert(session->waiting && !session->in_commands);
    session->waiting = false;
    if (!session->closing) {
        session_act(session, session->current, verdict, ok);
    }
    session_settle(session);
}

void session_producer_done(struct session *session)
{
    if (session->ended) {
        return;
    }
    session->producing = false;
    session->active_ms = session_now_ms(session);
    session_settle(session);
}

static void session_refuse(struct session *session, enum session_refusal refusal,
                           const struct command *row)
{
    /* Only what is no command at all counts towards the end: a client that tries a known command in
     * the wrong state, or mistypes a number, is told and may go on (RFC 1939 section 3). */
    if (refusal == SESSION_UNKNOWN_COMMAND || refusal == SESSION_LINE_TOO_LONG ||
        refusal == SESSION_LINE_MALFORMED) {
        session->bad_commands++;
    }
    if (session->asking) {
        row = session->current;
        session->asking = false;
    }
    count_command(session, row, false);
    session_act(session, NULL, session->protocol->on_refused(session, refusal, row), false);
}

/* What speaks against running `row`; false when nothing does. */
static bool session_refusal(const struct session *session, const struct command *row,
                            const struct command_line *line, enum session_refusal *out_refusal)
{
    if (row == NULL) {
        *out_refusal = SESSION_UNKNOWN_COMMAND;
    } else if ((row->states & session->protocol->state_bit(session)) == 0) {
        *out_refusal = SESSION_WRONG_STATE;
    } else if (row->needs_tls && !session_is_secure(session)) {
        *out_refusal = SESSION_NEEDS_TLS;
    } else if (!row->raw && (line->arg_count < row->args_min || line->arg_count > row->args_max)) {
        *out_refusal = SESSION_WRONG_ARGUMENTS;
    } else {
        return false;
    }
    return true;
}

/* A line that held a secret is wiped where it lies, in a buffer that is ours to write to: the input
 * is constant only so that nobody changes what is still to be read. */
static void wipe_taken(const char *data, size_t length)
{
    mem_wipe((void *)(uintptr_t)data, length); /* NOLINT: see above */
}

static void session_run_line(struct session *session, const char *data, size_t length)
{
    const struct session_protocol *protocol = session->protocol;
    struct command_line line;
    command_parse(data, length, &line);
    const struct command *row =
        command_find(protocol->commands, protocol->command_count, line.verb);
    enum session_refusal refusal;
    if (session_refusal(session, row, &line, &refusal)) {
        session_refuse(session, refusal, row);
        return;
    }
    session->failed = false;
    enum verdict verdict = row->handler(session, &line);
    if (row->secret) {
        wipe_taken(data, length);
    }
    session_act(session, row, verdict, !session->failed);
}

/* The answer to a handler's question; it may hold a secret, as every line of a login may. */
static void session_run_answer(struct session *session, const char *data, size_t length)
{
    const struct command *row = session->current;
    session->asking = false;
    session->failed = false;
    enum verdict verdict = session->protocol->on_answer(session, data, length);
    wipe_taken(data, length);
    session_act(session, row, verdict, !session->failed);
}

/* How long the next line may be: mostly what the protocol says, and asked only when it matters. */
static void set_line_limit(struct session *session, const uint8_t *data, size_t length)
{
    const struct session_protocol *protocol = session->protocol;
    session->reader.length_max = protocol->line_length_max;
    if (length >= protocol->line_length_max && protocol->line_limit != NULL &&
        !session->reader.skipping) {
        session->reader.length_max = protocol->line_limit(session, data, length);
    }
}

/* Takes one line, or part of a body. Returns the octets taken; 0: more input is needed first. */
static size_t session_take(struct session *session, const uint8_t *data, size_t length)
{
    if (session->raw_input) {
        session->active_ms = session_now_ms(session);
        return session->protocol->on_raw(session, data, length);
    }
    const char *line = NULL;
    size_t line_length = 0, taken = 0;
    set_line_limit(session, data, length);
    switch (line_next(&session->reader, data, length, &line, &line_length, &taken)) {
    case LINE_PARTIAL:
        break;
    case LINE_WHOLE:
        if (session->asking) {
            session_run_answer(session, line, line_length);
        } else {
            session_run_line(session, line, line_length);
        }
        break;
    case LINE_TOO_LONG:
        session_refuse(session, SESSION_LINE_TOO_LONG, NULL);
        break;
    case LINE_BAD:
        session_refuse(session, SESSION_LINE_MALFORMED, NULL);
        break;
    }
    return taken;
}

static size_t session_on_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct session *session = list_entry(conn, struct session, conn);
    session->in_commands = true;
    size_t taken = 0;
    while (taken < length && !session_blocked(session)) {
        bool raw = session->raw_input;
        size_t step = session_take(session, data + taken, length - taken);
        taken += step;
        if (step == 0 && raw == session->raw_input) {
            break;
        }
    }
    session->in_commands = false;
    session_settle(session);
    return session->closing ? length : taken;
}

static void session_on_input_end(struct conn *conn, size_t left)
{
    struct session *session = list_entry(conn, struct session, conn);
    /* Comes only while a command could be taken, so everything asked for has been answered; half a
     * line is no command. Replies still queued reach a client that has closed its sending side. */
    session->input_ended = true;
    session_finish(session, "eof");
}

static void session_on_drained(struct conn *conn)
{
    struct session *session = list_entry(conn, struct session, conn);
    session->active_ms = session_now_ms(session);
    session_settle(session);
}

/* --- TLS --- */

struct tls_server *session_tls_server(const struct session *session)
{
    const struct config_listener *listener = session->listener;
    if (listener == NULL || listener->tls == CONFIG_TLS_NONE) {
        return NULL;
    }
    return session->worker->tls[listener->protocol];
}

bool session_is_secure(const struct session *session)
{
    return conn_tls(&session->conn) != NULL;
}

void session_start_tls(struct session *session)
{
    session->securing = true;
    if (conn_start_tls(&session->conn, session_tls_server(session)) == STATUS_INVALID) {
        session->end_reason = "plaintext_behind_starttls";
    }
}

static void session_on_secure(struct conn *conn, enum status status)
{
    struct session *session = list_entry(conn, struct session, conn);
    session->securing = false;
    if (status != STATUS_OK) {
        if (session->end_reason == NULL) {
            session->end_reason = "tls_failed";
        }
        return; /* on_closed follows */
    }
    session->active_ms = session_now_ms(session);
    session_settle(session);
}

static const struct conn_events session_conn_events = {
    .on_input = session_on_input,
    .on_input_end = session_on_input_end,
    .on_drained = session_on_drained,
    .on_closed = session_on_closed,
    .on_secure = session_on_secure,
};

void session_drain(struct session *session)
{
    session_settle(session);
}

/* --- timers --- */

/* A quarter of the stall time: how exactly the end of a connection that takes no output is met. */
#define STALL_LOOKS 4

static void arm_idle(struct session *session, int64_t due_ms)
{
    deadline_arm(loop_wheel(session->worker->loop), &session->idle, due_ms);
}

static uint32_t shorter_timeout_ms(const struct session *session)
{
    return session->idle_timeout_ms < session->stall_timeout_ms ? session->idle_timeout_ms
                                                                : session->stall_timeout_ms;
}

/* Octets that the peer has taken since the last look. */
static uint64_t octets_taken(struct session *session)
{
    uint64_t taken = conn_octets_sent(&session->conn) - conn_unacknowledged(&session->conn);
    uint64_t since = taken - session->progress_octets;
    session->progress_octets = taken;
    return since;
}

/* Output is queued: as long as the peer takes some of it the session is neither idle nor stalled.
 * It may also be a reply that is out a moment later: the next look is not after the idle time. */
static void look_for_stall(struct session *session, int64_t now_ms)
{
    session->draining = true;
    if (octets_taken(session) > 0) {
        session->active_ms = now_ms;
    } else if (now_ms - session->active_ms >= session->stall_timeout_ms) {
        session_abort(session, "stalled");
        return;
    }
    uint32_t look_ms = session->stall_timeout_ms / STALL_LOOKS + 1;
    uint32_t shorter_ms = shorter_timeout_ms(session);
    arm_idle(session, now_ms + (look_ms < shorter_ms ? look_ms : shorter_ms));
}

/* Commands only note the time; this timer comes round now and then and looks, which is cheaper than
 * moving it with every command. */
static void on_idle_due(struct deadline *deadline)
{
    struct session *session = list_entry(deadline, struct session, idle);
    int64_t now_ms = session_now_ms(session);
    if (conn_output_pending(&session->conn) > 0 || session->producing ||
        conn_unacknowledged(&session->conn) > 0) {
        look_for_stall(session, now_ms);
        return;
    }
    /* The peer took the last of its output since the last look, and perhaps only just now: that,
     * too, was a sign of life. Of a few lines it is known that they are taken at once. */
    if (octets_taken(session) >= SESSION_SLOW_OCTETS || session->draining) {
        session->draining = false;
        session->active_ms = now_ms;
    }
    uint32_t shorter_ms = shorter_timeout_ms(session);
    if (session->closing || session->waiting) {
        /* The server's own delay is not the client's idleness. */
        session->active_ms = now_ms;
        arm_idle(session, now_ms + shorter_ms);
        return;
    }
    int64_t due_ms = session->active_ms + session->idle_timeout_ms;
    if (now_ms < due_ms) {
        arm_idle(session, due_ms < now_ms + shorter_ms ? due_ms : now_ms + shorter_ms);
        return;
    }
    session->end_reason = "idle";
    session->protocol->on_idle(session);
    session_finish(session, "idle");
}

static void on_login_due(struct deadline *deadline)
{
    session_abort(list_entry(deadline, struct session, login), "login_timeout");
}

/* --- the beginning --- */

static uint32_t milliseconds(uint32_t seconds)
{
    return seconds < UINT32_MAX / 1000 ? seconds * 1000 : UINT32_MAX;
}

static void set_timeouts(struct session *session)
{
    const struct config *config = session->worker->config;
    bool lmtp = session->listener != NULL && session->listener->protocol == CONFIG_LMTP;
    session->idle_timeout_ms =
        milliseconds(lmtp ? config->lmtp.idle_timeout_s : config->pop3.idle_timeout_s);
    session->stall_timeout_ms = milliseconds(config->pop3.stall_timeout_s);
}

static struct session *session_create(struct worker_listener *listener)
{
    struct worker *worker = listener->worker;
    const struct session_protocol *protocol = listener->protocol;
    struct session *session = worker_item_get(worker, protocol->session_size);
    if (session == NULL) {
        return NULL;
    }
    memset(session, 0, protocol->session_size);
    session->worker = worker;
    session->protocol = protocol;
    session->listener = listener->config;
    session->id = worker->next_session++;
    session->started_ms = session->active_ms = loop_now_ms(worker->loop);
    line_reader_init(&session->reader, protocol->line_length_max);
    deadline_init(&session->idle, on_idle_due);
    deadline_init(&session->login, on_login_due);
    list_push_back(&worker->sessions, &session->link);
    worker->session_count++;
    set_timeouts(session);
    return session;
}

void session_accept(struct worker_listener *listener, int fd, const struct address *peer,
                    const struct address *local)
{
    struct worker *worker = listener->worker;
    struct session *session = NULL;
    if (!worker->draining) {
        session = session_create(listener);
    }
    if (session == NULL) {
        counter_add(&worker->counters.connections_refused, 1);
        (void)close(fd); /* nothing has been written to it */
        return;
    }
    counter_add(&worker->counters.connections_accepted, 1);
    conn_init(&session->conn, &worker->host, fd, session->protocol->mode, &session_conn_events,
              peer, local);
    if (listener->config != NULL && listener->config->tls == CONFIG_TLS_IMPLICIT) {
        session_start_tls(session);
    }
    conn_start(&session->conn);
    session->protocol->on_start(session);
    arm_idle(session, session->started_ms + shorter_timeout_ms(session));
}
