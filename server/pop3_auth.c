/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AUTHORIZATION: who is this, and is the maildrop free. A right password leads straight to the
 * opening of the maildrop: lock and view in one call, so that the +OK to PASS means both.
 */
#include "server/pop3.h"

#include "io/digits.h"
#include "server/config.h"
#include "server/reply.h"

#include <string.h>
#include <time.h>

static int64_t monotonic_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- the loan --- */

static void on_verdict(struct auth_request *request, enum auth_verdict judged);

void pop3_login_facts(const struct session *session, struct tls_binding *out_exporter,
                      struct tls_binding *out_unique, struct auth_tls *out_facts)
{
    const struct tls_facts *tls = conn_tls(&session->conn);
    *out_facts = (struct auth_tls){.client_name = NULL};
    if (tls == NULL) {
        return;
    }
    conn_tls_binding(&session->conn, TLS_BINDING_EXPORTER, out_exporter);
    conn_tls_binding(&session->conn, TLS_BINDING_UNIQUE, out_unique);
    *out_facts = (struct auth_tls){
        .client_name = tls->client_name,
        .exporter = out_exporter->length > 0 ? out_exporter->octets : NULL,
        .exporter_length = out_exporter->length,
        .unique = out_unique->length > 0 ? out_unique->octets : NULL,
        .unique_length = out_unique->length,
    };
}

/* Facts and callback are set once, when the loan begins: TLS cannot start in the middle of it. */
static void login_prepare(struct pop3_session *pop3, struct pop3_login *login)
{
    struct session *session = &pop3->session;
    login->pop3 = pop3;
    login->auth.client = &session->worker->auth;
    login->auth.on_verdict = on_verdict;
    login->auth.peer = &session->conn.peer;
    login->auth.tls = session_is_secure(session);
    if (session->listener != NULL) {
        login->policy = session->listener->policy;
        login->auth.policy = &login->policy;
    }
    if (login->auth.tls) {
        pop3_login_facts(session, &login->exporter, &login->unique, &login->tls);
        login->auth.tls_facts = &login->tls;
    }
}

struct pop3_login *pop3_login_begin(struct pop3_session *pop3)
{
    struct pop3_login *login = pop3->login;
    if (login == NULL) {
        login = worker_item_get(pop3->session.worker, sizeof *login);
        if (login == NULL) {
            reply_line(&pop3->session, "-ERR [SYS/TEMP] short of memory, wait and try again later");
            return NULL;
        }
        memset(login, 0, sizeof *login);
        login_prepare(pop3, login);
        pop3->login = login;
    }
    login->started_us = monotonic_us();
    return login;
}

void pop3_login_forget(struct pop3_session *pop3)
{
    worker_item_put(pop3->session.worker, sizeof *pop3->login, pop3->login);
    pop3->login = NULL;
}

bool pop3_login_end(struct pop3_session *pop3)
{
    struct pop3_login *login = pop3->login;
    if (login == NULL) {
        return true;
    }
    if (login->open_pending) {
        store_open_cancel(&login->open);
        return false;
    }
    pop3_login_drop_exchange(pop3);
    return true;
}

void pop3_login_drop_exchange(struct pop3_session *pop3)
{
    struct pop3_login *login = pop3->login;
    if (login != NULL && (login->auth_pending || login->exchange)) {
        auth_cancel(&login->auth);
    }
    pop3_login_forget(pop3);
}

/* --- the verdict --- */

/* A stable line for fail2ban and its like: event, user, peer, reason, in this order; further fields
 * may follow. */
static void log_failure(const struct pop3_login *login, const char *reason)
{
    const struct session *session = &login->pop3->session;
    const struct auth_identity *identity = &login->auth.identity;
    char peer[ADDRESS_TEXT_MAX], id[SESSION_ID_MAX];
    address_host_text(&session->conn.peer, peer);
    session_id_text(session, id);
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "login_failed");
    if (identity->name[0] != '\0') {
        log_text(&line, "user", identity->name);
    } else {
        log_octets(&line, "user", login->user, login->user_length);
    }
    log_text(&line, "peer", peer);
    log_text(&line, "reason", reason);
    log_text(&line, "id", id);
    log_text(&line, "mechanism", login->auth.mechanism);
    log_text(&line, "master", identity->master[0] != '\0' ? identity->master : NULL);
    log_end(&line);
}

/* Somebody has opened another's maildrop with a password of his own: that is written down. */
static void log_master(const struct pop3_login *login)
{
    struct session *session = &login->pop3->session;
    char peer[ADDRESS_TEXT_MAX];
    address_host_text(&session->conn.peer, peer);
    struct log_line line;
    session_log_begin(session, &line, LOG_LEVEL_INFO, "master_login");
    log_text(&line, "user", login->auth.identity.name);
    log_text(&line, "master", login->auth.identity.master);
    log_text(&line, "peer", peer);
    log_text(&line, "mechanism", login->auth.mechanism);
    log_end(&line);
}

static enum verdict login_refused(struct pop3_session *pop3, const char *reason, const char *text)
{
    log_failure(pop3->login, reason);
    pop3_login_forget(pop3);
    reply_line(&pop3->session, text);
    return VERDICT_DONE;
}

static enum verdict login_disabled(struct pop3_session *pop3)
{
    /* The text may be anything an operator writes on one line. */
    struct pop3_login *login = pop3->login;
    log_failure(login, "disabled");
    if (login->auth.identity.reason[0] != '\0') {
        reply_format(&pop3->session, "-ERR [SYS/PERM] account is not admitted: %s",
                     login->auth.identity.reason);
    } else {
        reply_line(&pop3->session, "-ERR [SYS/PERM] account is disabled");
    }
    pop3_login_forget(pop3);
    return VERDICT_DONE;
}

/* What is said and logged when a right password did not lead to an open maildrop. */
static enum verdict open_refused(struct pop3_session *pop3, enum status status)
{
    if (pop3->session.worker->caps != NULL) {
        caps_log_out(pop3->session.worker->caps, &pop3->counted);
    }
    switch (status) {
    case STATUS_BUSY:
        counter_add(&pop3->session.worker->counters.login_in_use, 1);
        return login_refused(
            pop3, "in_use",
            "-ERR [IN-USE] maildrop is locked by another session, wait and try again");
    case STATUS_NOT_FOUND:
    case STATUS_CORRUPT:
        return login_refused(
            pop3, status_name(status),
            "-ERR [SYS/PERM] maildrop cannot be opened, please tell your provider");
    default:
        return login_refused(
            pop3, status_name(status),
            "-ERR [SYS/TEMP] maildrop cannot be opened now, wait and try again later");
    }
}

static void enter_transaction(struct pop3_session *pop3, struct view *view)
{
    struct session *session = &pop3->session;
    pop3->view = view;
    pop3->message_count = pop3->left_count = store_view_count(view);
    pop3->message_octets = pop3->left_octets = store_view_octets(view);
    deadline_disarm(loop_wheel(session->worker->loop), &session->login);
    if (session->worker->caps != NULL) {
        caps_disconnect(session->worker->caps, &pop3->connection);
    }
    session->bad_commands = 0;
    pop3_set_state(pop3, POP3_TRANSACTION);
    char line[64 + 2 * DIGITS_DECIMAL_MAX];
    size_t length = reply_text(line, "+OK ");
    length += digits_decimal(line + length, pop3->message_count);
    length += reply_text(line + length, " messages (");
    length += digits_decimal(line + length, pop3->message_octets);
    length += reply_text(line + length, " octets)\r\n");
    reply_octets(session, line, length);
}

static enum verdict login_opened(struct pop3_session *pop3, enum status status)
{
    struct pop3_login *login = pop3->login;
    if (status != STATUS_OK) {
        return open_refused(pop3, status);
    }
    const struct auth_identity *identity = &login->auth.identity;
    pop3->user = mem_arena_copy(&pop3->arena, identity->name, strlen(identity->name));
    if (pop3->user == NULL) {
        store_view_close(&login->open.view);
        return open_refused(pop3, STATUS_NO_MEMORY);
    }
    if (identity->master[0] != '\0') {
        pop3->master = mem_arena_copy(&pop3->arena, identity->master, strlen(identity->master));
        log_master(login);
    }
    pop3->mechanism = login->auth.mechanism;
    histogram_add(&pop3->session.worker->counters.login_us,
                  (uint64_t)(monotonic_us() - login->started_us));
    struct view *view = login->open.view;
    pop3_login_forget(pop3);
    enter_transaction(pop3, view);
    return VERDICT_NEXT;
}

static void on_opened(struct store_open_request *request, enum status status)
{
    struct pop3_login *login = list_entry(request, struct pop3_login, open);
    struct pop3_session *pop3 = login->pop3;
    login->open_pending = false;
    if (pop3->session.ended) {
        /* The client went while the maildrop was being opened. */
        if (status == STATUS_OK) {
            store_view_close(&login->open.view);
        }
        pop3_login_forget(pop3);
        pop3_released_late(pop3);
        return;
    }
    enum verdict verdict = login_opened(pop3, status);
    session_continue(&pop3->session, verdict, verdict == VERDICT_NEXT);
}

static enum verdict login_open(struct pop3_session *pop3)
{
    struct pop3_login *login = pop3->login;
    struct worker *worker = pop3->session.worker;
    enum caps_kind kind;
    if (worker->caps != NULL && !caps_log_in(worker->caps, login->auth.identity.name,
                                             &pop3->session.conn.peer, &pop3->counted, &kind)) {
        return login_refused(pop3, "too_many_sessions",
                             "-ERR [SYS/TEMP] too many sessions of this user, wait and try again");
    }
    login->open = (struct store_open_request){
        .client = &worker->store,
        .on_done = on_opened,
        .drop = login->auth.identity.drop,
        .policy = worker->config->pop3.takeover ? STORE_LOCK_TAKEOVER : STORE_LOCK_EXCLUSIVE,
    };
    enum status status = store_open_drop(&login->open);
    if (status == STATUS_PENDING) {
        login->open_pending = true;
        return VERDICT_WAIT;
    }
    return login_opened(pop3, status);
}

enum verdict pop3_login_judged(struct pop3_session *pop3, enum auth_verdict judged)
{
    struct pop3_login *login = pop3->login;
    if (judged == AUTH_PENDING) {
        login->auth_pending = true;
        return VERDICT_WAIT;
    }
    if (judged == AUTH_CHALLENGE) {
        return pop3_sasl_challenge(pop3);
    }
    login->exchange = false;
    counter_add(&pop3->session.worker->counters.logins[judged], 1);
    switch (judged) {
    case AUTH_OK:
        return login_open(pop3);
    case AUTH_DISABLED:
        return login_disabled(pop3);
    case AUTH_FAILED:
        return login_refused(pop3, auth_verdict_name(judged),
                             "-ERR [AUTH] wrong user name or password");
    default:
        return login_refused(pop3, auth_verdict_name(judged),
                             "-ERR [SYS/TEMP] login is not possible now, wait and try again later");
    }
}

static void on_verdict(struct auth_request *request, enum auth_verdict judged)
{
    struct pop3_login *login = list_entry(request, struct pop3_login, auth);
    struct pop3_session *pop3 = login->pop3;
    login->auth_pending = false;
    enum verdict verdict = pop3_login_judged(pop3, judged);
    session_continue(&pop3->session, verdict, verdict == VERDICT_NEXT);
}

/* --- the commands --- */

enum verdict pop3_user(struct session *session, const struct command_line *line)
{
    const struct auth_policy *policy =
        session->listener != NULL ? &session->listener->policy : NULL;
    if (!auth_plaintext_allowed(policy, session_is_secure(session))) {
        reply_line(session, session_tls_server(session) != NULL
                                ? "-ERR passwords in the clear are not taken here, say STLS first"
                                : "-ERR passwords in the clear are not taken here");
        return VERDICT_DONE;
    }
    struct pop3_login *login = pop3_login_begin(pop3_of(session));
    if (login == NULL) {
        return VERDICT_DONE;
    }
    /* One octet more than a name may have is kept: that no account is called so shows at PASS, like
     * every other wrong name. */
    struct command_word name = line->args[0];
    login->user_length = name.length < sizeof login->user ? name.length : sizeof login->user;
    memcpy(login->user, name.data, login->user_length);
    reply_line(session, "+OK send PASS");
    return VERDICT_DONE;
}

enum verdict pop3_pass(struct session *session, const struct command_line *line)
{
    struct pop3_session *pop3 = pop3_of(session);
    struct pop3_login *login = pop3->login;
    if (login == NULL) {
        reply_line(session, "-ERR send USER first");
        return VERDICT_DONE;
    }
    if (line->rest.length == 0) {
        pop3_login_forget(pop3);
        reply_line(session, "-ERR PASS needs a password");
        return VERDICT_DONE;
    }
    login->started_us = monotonic_us();
    /* The password is the rest of the line, spaces and all (RFC 1939 section 7). */
    return pop3_login_judged(pop3, auth_login(&login->auth, login->user, login->user_length,
                                              line->rest.data, line->rest.length));
}

/* Capabilities that depend on the connection; what is announced must work on it. */
static size_t capa_of_connection(const struct session *session, char *out)
{
    const struct auth_policy *policy =
        session->listener != NULL ? &session->listener->policy : NULL;
    bool is_secure = session_is_secure(session);
    size_t length = 0;
    if (auth_plaintext_allowed(policy, is_secure)) {
        length += reply_text(out + length, "USER\r\n");
    }
    char names[POP3_MECHANISMS_LEN_MAX + 1];
    size_t names_length = pop3_sasl_mechanisms(pop3_of_const(session), " ", "", names);
    if (names_length > 0) {
        names[names_length] = '\0';
        length += reply_text(out + length, "SASL");
        length += reply_text(out + length, names);
        length += reply_text(out + length, "\r\n");
    }
    if (!is_secure && session_tls_server(session) != NULL) {
        length += reply_text(out + length, "STLS\r\n");
    }
    return length;
}

enum verdict pop3_capa(struct session *session, const struct command_line *line)
{
    /* RFC 2449 section 5: what is announced before login stays announced after it. The
     * implementation is named only to those who have logged in. */
    char text[POP3_MECHANISMS_LEN_MAX + 256];
    size_t length = reply_text(text, "+OK capabilities follow\r\nTOP\r\nUIDL\r\nPIPELINING\r\n"
                                     "RESP-CODES\r\nAUTH-RESP-CODE\r\n");
    length += capa_of_connection(session, text + length);
    if (pop3_of(session)->state != POP3_AUTHORIZATION) {
        length += reply_text(text + length, "IMPLEMENTATION Restante-" RESTANTE_VERSION "\r\n");
    }
    length += reply_text(text + length, ".\r\n");
    reply_octets(session, text, length);
    return VERDICT_DONE;
}

enum verdict pop3_stls(struct session *session, const struct command_line *line)
{
    if (session_is_secure(session)) {
        reply_line(session, "-ERR TLS is on already");
        return VERDICT_DONE;
    }
    if (session_tls_server(session) == NULL) {
        reply_line(session, "-ERR TLS is not available here");
        return VERDICT_DONE;
    }
    pop3_login_forget(pop3_of(session)); /* RFC 2595 section 4; what was done wrong still counts */
    reply_line(session, "+OK begin TLS now");
    session_start_tls(session);
    return VERDICT_NEXT;
}
