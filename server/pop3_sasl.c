/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AUTH (RFC 5034) and APOP (RFC 1939 section 7). An exchange is lines of base64: challenges go out
 * behind "+ ", the client's answers come back through on_answer, and what they mean is auth's.
 *
 *      AUTH --> auth_start --> challenge --> answer --> auth_continue --> verdict
 *                     |            ^                          |             ^
 *                     |            +--------------------------+             |
 *                     +-----------------------------------------------------+
 *
 * "*", what is not base64, and a line that is too long end it with an error; the session stays in
 * AUTHORIZATION.
 */
#include "auth/auth_limits.h"
#include "auth/base64.h"
#include "io/mem.h"
#include "server/config.h"
#include "server/pop3.h"
#include "server/reply.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A plaintext login's response fits; a token's takes memory of its own. */
#define DECODED_INLINE_MAX 1536 /* octets */

static_assert(BASE64_DECODED_MAX(POP3_SASL_LINE_LEN_MAX) <= AUTH_SASL_RESPONSE_MAX,
              "what a line can carry, auth looks at");

/* --- what may be used --- */

size_t pop3_sasl_mechanisms(const struct pop3_session *pop3, const char *before, const char *after,
                            char *out)
{
    const struct session *session = &pop3->session;
    const char *names[AUTH_MECHANISMS_MAX];
    struct tls_binding exporter, unique;
    struct auth_tls facts;
    const struct auth_policy *policy =
        session->listener != NULL ? &session->listener->policy : NULL;
    pop3_login_facts(session, &exporter, &unique, &facts);
    size_t count = auth_mechanisms(&session->worker->auth, policy, &facts,
                                   session_is_secure(session), names, AUTH_MECHANISMS_MAX);
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        size_t needed = strlen(before) + strlen(names[i]) + strlen(after);
        assert(length + needed <= POP3_MECHANISMS_LEN_MAX);
        length += reply_text(out + length, before);
        length += reply_text(out + length, names[i]);
        length += reply_text(out + length, after);
    }
    return length;
}

/* AUTH alone, as clients older than RFC 5034 ask. */
static enum verdict list_mechanisms(struct session *session)
{
    char lines[POP3_MECHANISMS_LEN_MAX];
    size_t length = pop3_sasl_mechanisms(pop3_of(session), "", "\r\n", lines);
    reply_line(session, "+OK mechanisms follow");
    reply_octets(session, lines, length);
    reply_line(session, ".");
    return VERDICT_DONE;
}

size_t pop3_sasl_line_limit(const struct session *session, const uint8_t *data, size_t length)
{
    bool is_auth = length > 5 && strncasecmp((const char *)data, "AUTH ", 5) == 0;
    return session->asking || (is_auth && pop3_of_const(session)->state == POP3_AUTHORIZATION)
               ? POP3_SASL_LINE_LEN_MAX
               : POP3_LINE_LEN_MAX;
}

/* --- the exchange --- */

/* Octets that came in base64; they may be a secret. */
struct response {
    char *data;
    size_t length;
    char small[DECODED_INLINE_MAX];
};

/* STATUS_INVALID: not base64; STATUS_NO_MEMORY. After STATUS_OK the response is to be wiped. */
static enum status response_decode(struct response *response, const char *text, size_t length)
{
    size_t size = BASE64_DECODED_MAX(length);
    response->data = size <= sizeof response->small ? response->small : malloc(size);
    if (response->data == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = base64_decode(text, length, response->data, &response->length);
    if (status != STATUS_OK && response->data != response->small) {
        free(response->data);
    }
    return status;
}

static void response_wipe(struct response *response)
{
    mem_wipe(response->data, response->length);
    if (response->data != response->small) {
        free(response->data);
    }
}

/* Ends what has no verdict, and says why. */
static enum verdict refuse(struct pop3_session *pop3, const char *text)
{
    pop3_login_drop_exchange(pop3);
    reply_line(&pop3->session, text);
    return VERDICT_DONE;
}

static enum verdict refuse_response(struct pop3_session *pop3, enum status status)
{
    return refuse(pop3, status == STATUS_INVALID
                            ? "-ERR that is not base64"
                            : "-ERR [SYS/TEMP] short of memory, wait and try again later");
}

enum verdict pop3_sasl_challenge(struct pop3_session *pop3)
{
    const struct auth_request *request = &pop3->login->auth;
    size_t size = 2 + BASE64_ENCODED(request->challenge_length) + 2;
    char *line = malloc(size);
    if (line == NULL) {
        return refuse_response(pop3, STATUS_NO_MEMORY);
    }
    /* The space belongs to it also when nothing follows: clients look for it. */
    size_t length = reply_text(line, "+ ");
    length += base64_encode(request->challenge, request->challenge_length, line + length);
    length += reply_text(line + length, "\r\n");
    reply_octets(&pop3->session, line, length);
    free(line);
    return VERDICT_ASK;
}

/* Starts with `initial`, NULL when the client sent none. */
static enum verdict start(struct pop3_session *pop3, struct command_word mechanism,
                          const char *initial, size_t initial_length)
{
    struct pop3_login *login = pop3_login_begin(pop3);
    if (login == NULL) {
        return VERDICT_DONE;
    }
    login->exchange = true;
    login->auth.hostname = pop3->session.worker->config->hostname; /* a reload changes it */
    enum auth_verdict judged =
        auth_start(&login->auth, mechanism.data, mechanism.length, initial, initial_length);
    if (judged == AUTH_FAILED && strcmp(login->auth.mechanism, "unknown") == 0) {
        return refuse(pop3, "-ERR this mechanism is not available here; AUTH alone lists those "
                            "that are");
    }
    return pop3_login_judged(pop3, judged);
}

enum verdict pop3_sasl_auth(struct session *session, const struct command_line *line)
{
    struct pop3_session *pop3 = pop3_of(session);
    if (line->arg_count == 0) {
        return list_mechanisms(session);
    }
    pop3_login_forget(pop3); /* what USER said */
    if (line->arg_count > 2) {
        reply_line(session, "-ERR wrong number of arguments");
        return VERDICT_DONE;
    }
    struct command_word initial = line->args[1];
    if (line->arg_count == 1) {
        return start(pop3, line->args[0], NULL, 0);
    }
    if (initial.length == 1 && initial.data[0] == '=') {
        return start(pop3, line->args[0], "", 0); /* there is one, and it is empty */
    }
    struct response response;
    enum status status = response_decode(&response, initial.data, initial.length);
    if (status != STATUS_OK) {
        return refuse_response(pop3, status);
    }
    enum verdict verdict = start(pop3, line->args[0], response.data, response.length);
    response_wipe(&response);
    return verdict;
}

enum verdict pop3_sasl_answer(struct session *session, const char *line, size_t length)
{
    struct pop3_session *pop3 = pop3_of(session);
    if (length == 1 && line[0] == '*') {
        return refuse(pop3, "-ERR authentication cancelled");
    }
    struct response response;
    enum status status = response_decode(&response, line, length);
    if (status != STATUS_OK) {
        return refuse_response(pop3, status);
    }
    enum auth_verdict judged = auth_continue(&pop3->login->auth, response.data, response.length);
    response_wipe(&response);
    return pop3_login_judged(pop3, judged);
}

/* --- APOP --- */

void pop3_sasl_timestamp(const struct pop3_session *pop3, char out[POP3_TIMESTAMP_MAX])
{
    char id[SESSION_ID_MAX];
    session_id_text(&pop3->session, id);
    (void)snprintf(out, POP3_TIMESTAMP_MAX, "<%s.%016llx@%.190s>", id,
                   (unsigned long long)pop3->apop_number, pop3->session.worker->config->hostname);
}

enum verdict pop3_sasl_apop(struct session *session, const struct command_line *line)
{
    struct pop3_session *pop3 = pop3_of(session);
    pop3_login_forget(pop3);
    if (pop3->apop_number == 0) {
        reply_line(session, "-ERR APOP is not available here");
        return VERDICT_DONE;
    }
    struct pop3_login *login = pop3_login_begin(pop3);
    if (login == NULL) {
        return VERDICT_DONE;
    }
    char timestamp[POP3_TIMESTAMP_MAX];
    pop3_sasl_timestamp(pop3, timestamp);
    login->user_length =
        line->args[0].length < sizeof login->user ? line->args[0].length : sizeof login->user;
    memcpy(login->user, line->args[0].data, login->user_length);
    return pop3_login_judged(pop3, auth_apop(&login->auth, login->user, login->user_length,
                                             line->args[1].data, line->args[1].length, timestamp));
}
