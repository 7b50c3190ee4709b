/* SPDX-License-Identifier: Apache-2.0 */
/*
 *              USER, PASS: right, and                 QUIT with
 *              the maildrop is ours                   deletions          durable, or failed
 *   connect --> AUTHORIZATION ----> TRANSACTION ----------------> UPDATE -----------------> close
 *                    |                   |                           |
 *                    | QUIT,             | QUIT without deletions,   | the peer goes: the commit
 *                    | login deadline,   | the peer goes             | runs on, the session stays
 *                    | too many          |                           | only to log its end
 *                    v bad lines         v                           v
 *                  close               close                       close
 *
 * From TRANSACTION, a peer that goes, the idle clock, too many bad lines and a shutdown lead to the
 * close without UPDATE: nothing is removed (RFC 1939 section 6). The maildrop is released before
 * the last reply in every case: a client that logs in again at once must find it free.
 */
#include "server/pop3.h"

#include "server/config.h"
#include "server/reply.h"
#include "server/server_limits.h"

#include <assert.h>
#include <sys/random.h>

#define ANY_STATE (POP3_AUTHORIZATION | POP3_TRANSACTION)

#define ROW(number, name, when, args_least, args_most, function)                     \
    {                                                                                \
        .verb = name, .states = when, .args_min = args_least, .args_max = args_most, \
        .counter = COMMAND_COUNTER_POP3 + (number), .handler = function              \
    }

/* The only truth about commands; those a session sends most often first. */
static const struct command pop3_commands[] = {
    ROW(0, "RETR", POP3_TRANSACTION, 1, 1, pop3_retr),
    ROW(1, "DELE", POP3_TRANSACTION, 1, 1, pop3_dele),
    ROW(2, "USER", POP3_AUTHORIZATION, 1, 1, pop3_user),
    {.verb = "PASS",
     .states = POP3_AUTHORIZATION,
     .raw = true,
     .secret = true,
     .counter = COMMAND_COUNTER_POP3 + 3,
     .handler = pop3_pass},
    ROW(4, "STAT", POP3_TRANSACTION, 0, 0, pop3_stat),
    ROW(5, "LIST", POP3_TRANSACTION, 0, 1, pop3_list),
    ROW(6, "UIDL", POP3_TRANSACTION, 0, 1, pop3_uidl),
    ROW(7, "QUIT", ANY_STATE, 0, 0, pop3_quit),
    ROW(8, "TOP", POP3_TRANSACTION, 2, 2, pop3_top),
    ROW(9, "NOOP", POP3_TRANSACTION, 0, 0, pop3_noop),
    ROW(10, "CAPA", ANY_STATE, 0, 0, pop3_capa),
    ROW(11, "RSET", POP3_TRANSACTION, 0, 0, pop3_rset),
    {.verb = "AUTH",
     .states = POP3_AUTHORIZATION,
     .raw = true,
     .secret = true,
     .counter = COMMAND_COUNTER_POP3 + 12,
     .handler = pop3_sasl_auth},
    ROW(13, "STLS", POP3_AUTHORIZATION, 0, 0, pop3_stls),
    ROW(14, "APOP", POP3_AUTHORIZATION, 2, 2, pop3_sasl_apop),
};

static const char *state_name(enum pop3_state state)
{
    switch (state) {
    case POP3_AUTHORIZATION:
        return "authorization";
    case POP3_TRANSACTION:
        return "transaction";
    case POP3_UPDATE:
        return "update";
    }
    return "none";
}

void pop3_set_state(struct pop3_session *pop3, enum pop3_state state)
{
    assert(pop3->state == (enum pop3_state)(state >> 1)); /* always one step forward */
    pop3->state = state;
    struct log_line line;
    session_log_begin(&pop3->session, &line, LOG_LEVEL_DEBUG, "state");
    log_text(&line, "state", state_name(state));
    log_end(&line);
}

static unsigned state_bit(const struct session *session)
{
    return pop3_of_const(session)->state;
}

/* No version before login, and no "<" where APOP is not allowed: that would announce it (RFC 1939
 * section 7). */
static void greet(struct pop3_session *pop3)
{
    struct session *session = &pop3->session;
    bool apop = session->listener != NULL && auth_apop_allowed(&session->listener->policy);
    if (!apop || getrandom(&pop3->apop_number, sizeof pop3->apop_number, GRND_NONBLOCK) < 0) {
        pop3->apop_number = 0;
    }
    if (pop3->apop_number == 0) {
        reply_line(session, "+OK Restante POP3 server ready");
        return;
    }
    char timestamp[POP3_TIMESTAMP_MAX];
    pop3_sasl_timestamp(pop3, timestamp);
    reply_format(session, "+OK Restante POP3 server ready %s", timestamp);
}

/* Too many of a network are here without having logged in. Nobody makes a handshake with them only
 * to say so. */
static void refuse_connection(struct session *session)
{
    counter_add(&session->worker->counters.connections_refused, 1);
    if (session->securing) {
        session_abort(session, "too_many_connections");
        return;
    }
    reply_line(session, "-ERR [SYS/TEMP] too many connections from your network, wait and try "
                        "again");
    session_finish(session, "too_many_connections");
}

static void on_start(struct session *session)
{
    struct pop3_session *pop3 = pop3_of(session);
    const struct config *config = session->worker->config;
    pop3->arena.block_size = POP3_ARENA_BLOCK;
    counter_add(&session->worker->counters.sessions_pop3, 1);
    deadline_arm(loop_wheel(session->worker->loop), &session->login,
                 session->started_ms + (int64_t)config->pop3.login_timeout_s * 1000);
    pop3_set_state(pop3, POP3_AUTHORIZATION);
    struct caps *caps = session->worker->caps;
    if (caps == NULL || caps_connect(caps, &session->conn.peer, &pop3->connection)) {
        greet(pop3);
    } else {
        refuse_connection(session);
    }
}

static const char *refusal_text(enum session_refusal refusal)
{
    switch (refusal) {
    case SESSION_UNKNOWN_COMMAND:
        return "-ERR unknown command";
    case SESSION_WRONG_STATE:
        return "-ERR command not allowed now";
    case SESSION_WRONG_ARGUMENTS:
        return "-ERR wrong number of arguments";
    case SESSION_NEEDS_TLS:
        return "-ERR command needs TLS";
    case SESSION_LINE_TOO_LONG:
        return "-ERR line too long";
    case SESSION_LINE_MALFORMED:
        return "-ERR line with a NUL or a bare CR";
    }
    return "-ERR command refused";
}

static enum verdict on_refused(struct session *session, enum session_refusal refusal,
                               const struct command *row)
{
    struct pop3_session *pop3 = pop3_of(session);
    const struct config_pop3 *config = &session->worker->config->pop3;
    bool before_login = pop3->state == POP3_AUTHORIZATION;
    if (before_login) {
        /* Only PASS or QUIT may follow USER (RFC 1939 section 7); a challenge that was answered
         * with no line at all is not answered. */
        pop3_login_drop_exchange(pop3);
    }
    if (session->bad_commands >=
        (before_login ? config->bad_commands_login : config->bad_commands)) {
        session->end_reason = "bad_commands";
        reply_line(session, "-ERR too many bad commands");
        return VERDICT_CLOSE;
    }
    reply_line(session, refusal_text(refusal));
    return VERDICT_DONE;
}

static void on_idle(struct session *session)
{
    /* RFC 1939 section 3: closed without a response, and nothing is removed. */
}

static void on_drain(struct session *session)
{
    /* A client that has marked messages is given until the drain's deadline to say QUIT; without
     * marks nothing is lost by going now. */
    struct pop3_session *pop3 = pop3_of(session);
    if (pop3->left_count == pop3->message_count) {
        session_finish(session, "shutdown");
    }
}

static void on_finish(struct session *session)
{
    struct pop3_session *pop3 = pop3_of(session);
    if (pop3->view != NULL) {
        store_view_close(&pop3->view);
    }
}

static void log_numbers(const struct pop3_session *pop3, struct log_line *line)
{
    log_text(line, "user", pop3->user);
    log_text(line, "mechanism", pop3->mechanism);
    log_text(line, "master", pop3->master);
    if (pop3->user == NULL) {
        return;
    }
    log_number(line, "retr", pop3->retr_count);
    log_number(line, "retr_octets", (int64_t)pop3->retr_octets);
    log_number(line, "top", pop3->top_count);
    log_number(line, "top_octets", (int64_t)pop3->top_octets);
    log_number(line, "dele", pop3->message_count - pop3->left_count);
    log_number(line, "dele_octets", (int64_t)(pop3->message_octets - pop3->left_octets));
    log_number(line, "left", pop3->message_count - pop3->removed_count);
}

void pop3_released_late(struct pop3_session *pop3)
{
    mem_arena_clear(&pop3->arena);
    session_released(&pop3->session);
}

static bool on_ended(struct session *session, struct log_line *line)
{
    struct pop3_session *pop3 = pop3_of(session);
    counter_add(&session->worker->counters.sessions_pop3, UINT64_MAX); /* one less */
    log_numbers(pop3, line);
    if (session->worker->caps != NULL) {
        caps_disconnect(session->worker->caps, &pop3->connection);
        caps_log_out(session->worker->caps, &pop3->counted);
    }
    bool login_over = pop3_login_end(pop3);
    bool fetch_over = pop3_fetch_end(pop3);
    if (pop3->view != NULL) {
        store_view_close(&pop3->view);
    }
    /* A commit always runs to its end, and its audit line follows it: it is waited for. */
    if (!login_over || !fetch_over || pop3->commit_pending) {
        return false;
    }
    mem_arena_clear(&pop3->arena);
    return true;
}

const struct session_protocol pop3_protocol = {
    .name = "pop3",
    .session_size = sizeof(struct pop3_session),
    .line_length_max = POP3_LINE_LEN_MAX,
    .line_limit = pop3_sasl_line_limit,
    .mode = LOOP_RECEIVE_STREAM,
    .commands = pop3_commands,
    .command_count = sizeof pop3_commands / sizeof pop3_commands[0],
    .unknown_counter = COMMAND_COUNTER_UNKNOWN_POP3,
    .on_start = on_start,
    .state_bit = state_bit,
    .on_refused = on_refused,
    .on_answer = pop3_sasl_answer,
    .on_idle = on_idle,
    .on_drain = on_drain,
    .on_finish = on_finish,
    .on_ended = on_ended,
};
