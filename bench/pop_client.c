/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/pop_client.h"

#include "bench/generator.h"
#include "bench/pop_login.h"
#include "bench/pop_replies.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The end of an operation */

static void arm(struct pop_client *client)
{
    struct loop *loop = client->generator->loop;
    deadline_arm(loop_wheel(loop), &client->deadline,
                 loop_now_ms(loop) + client->generator->config->timeout_ms);
}

static void disarm(struct pop_client *client)
{
    deadline_disarm(loop_wheel(client->generator->loop), &client->deadline);
}

void pop_client_fail(struct pop_client *client, enum bench_error error)
{
    struct generator *generator = client->generator;
    if (client->state == POP_ENDING || client->state == POP_FREE) {
        return;
    }
    int64_t now_ns = generator_now_ns();
    disarm(client);
    if (client->working) {
        tally_failure(&generator->tally, client->kind, error, client->due_ns, now_ns);
        client->working = false;
        generator_operation_over(generator);
    } else if (!generator->ending) {
        tally_failure(&generator->tally, client->kind, error, now_ns, now_ns);
    }
    if (client->deleted > 0 || error == BENCH_ERROR_UIDL) {
        bench_user_forget(client->user);
    }
    client->state = POP_ENDING;
    if (client->connected) {
        conn_abort(&client->conn, STATUS_CANCELLED);
    } else {
        dial_cancel(&client->dial, generator->loop);
    }
}

static void operation_done(struct pop_client *client)
{
    struct generator *generator = client->generator;
    disarm(client);
    client->working = false;
    tally_operation(&generator->tally, client->kind, client->due_ns, generator_now_ns());
    if (client->stays) {
        client->state = POP_READY;
        generator_pop_free(generator, client);
    } else {
        bench_user_deleted(client->user, client->deleted);
        client->state = POP_ENDING;
        conn_finish(&client->conn);
    }
    generator_operation_over(generator);
}

/* Commands */

void pop_client_send(struct pop_client *client, enum bench_command command, uint32_t msgno,
                     const char *format, ...)
{
    char line[POP_SEND_MAX];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    unsigned slot = (client->first + client->in_flight) % RUN_PIPELINE_MAX;
    int64_t now_ns = generator_now_ns();
    client->pending[slot] =
        (struct pop_pending){.command = (uint8_t)command, .msgno = msgno, .sent_ns = now_ns};
    client->in_flight++;
    tally_octets(&client->generator->tally, 0, (uint64_t)length, now_ns);
    (void)conn_write(&client->conn, line, (size_t)length); /* a failure ends the conn */
}

/* The message the fetching step comes to next; false when there is none. */
static bool next_to_fetch(struct pop_client *client)
{
    const struct run_config *config = client->generator->config;
    bool only_new = *client->step == STEP_FETCH_NEW;
    while (only_new && client->next_msgno <= client->messages &&
           bench_user_has_fetched(client->user, client->next_msgno - 1)) {
        client->next_msgno++;
    }
    return client->next_msgno <= client->messages && client->fetched < config->fetch_max;
}

/* Sends the next RETR or DELE of a fetching step. False when the step is over. */
static bool send_fetch(struct pop_client *client)
{
    if (client->delete_next) {
        client->delete_next = false;
        pop_client_send(client, COMMAND_DELE, client->next_msgno, "DELE %u\r\n",
                        client->next_msgno);
        client->next_msgno++;
        return true;
    }
    if (!next_to_fetch(client)) {
        return false;
    }
    pop_client_send(client, COMMAND_RETR, client->next_msgno, "RETR %u\r\n", client->next_msgno);
    client->fetched++;
    client->delete_next = *client->step == STEP_FETCH_DELETE;
    client->next_msgno += !client->delete_next;
    return true;
}

static void send_retr(struct pop_client *client)
{
    uint32_t given = client->generator->config->message_number;
    uint32_t msgno = given > 0 ? given : client->next_msgno;
    if (given == 0) {
        client->next_msgno = msgno < client->messages ? msgno + 1 : 1;
    }
    pop_client_send(client, COMMAND_RETR, msgno, "RETR %u\r\n", msgno);
}

static void send_plain(struct pop_client *client, enum bench_command command, const char *line)
{
    pop_client_send(client, command, 0, "%s", line);
    client->step++;
}

/* Sends the next command, if one can be sent now. */
static bool send_next(struct pop_client *client)
{
    switch (*client->step) {
    case STEP_STAT:
        send_plain(client, COMMAND_STAT, "STAT\r\n");
        return true;
    case STEP_UIDL:
        send_plain(client, COMMAND_UIDL, "UIDL\r\n");
        return true;
    case STEP_LIST:
        send_plain(client, COMMAND_LIST, "LIST\r\n");
        return true;
    case STEP_NOOP:
        send_plain(client, COMMAND_NOOP, "NOOP\r\n");
        return true;
    case STEP_QUIT:
        send_plain(client, COMMAND_QUIT, "QUIT\r\n");
        return true;
    case STEP_RETR:
        send_retr(client);
        client->step++;
        return true;
    case STEP_FETCH:
    case STEP_FETCH_DELETE:
    case STEP_FETCH_NEW:
        if (client->in_flight > 0 && client->fetched == 0) {
            return false; /* how many there are is not known yet */
        }
        if (send_fetch(client)) {
            return true;
        }
        client->step++;
        return send_next(client);
    case STEP_END:
        break;
    }
    return false;
}

void pop_client_advance(struct pop_client *client)
{
    unsigned depth = client->generator->config->pipeline;
    while (client->state == POP_WORKING && client->in_flight < depth && send_next(client)) {
    }
    if (client->state != POP_WORKING || client->in_flight > 0 || *client->step != STEP_END) {
        return;
    }
    if (client->working) {
        operation_done(client);
    } else { /* the preamble of a session that stays */
        disarm(client);
        client->state = POP_READY;
        client->next_msgno = 1;
        generator_pop_free(client->generator, client);
    }
}

void pop_client_logged_in(struct pop_client *client)
{
    const struct work_kind_info *info = work_kind_info(client->kind);
    client->logged_in = true;
    client->generator->session_count++;
    client->state = POP_WORKING;
    client->step = client->stays ? info->preamble : info->steps;
    pop_client_advance(client);
}

void pop_client_work(struct pop_client *client, int64_t due_ns)
{
    client->working = true;
    client->due_ns = due_ns;
    client->state = POP_WORKING;
    client->step = work_kind_info(client->kind)->steps;
    arm(client);
    if (*client->step == STEP_RETR && client->messages == 0) {
        pop_client_fail(client, BENCH_ERROR_REFUSED);
        return;
    }
    pop_client_advance(client);
}

/* The connection */

static void on_drained(struct conn *conn)
{
}

static void on_input_end(struct conn *conn, size_t left)
{
    struct pop_client *client = list_entry(conn, struct pop_client, conn);
    pop_client_fail(client, BENCH_ERROR_CLOSED); /* nothing, when it is ending */
    conn_finish(conn);
}

static void on_closed(struct conn *conn, enum status reason)
{
    struct pop_client *client = list_entry(conn, struct pop_client, conn);
    struct generator *generator = client->generator;
    client->connected = false;
    if (client->state != POP_ENDING) {
        pop_client_fail(client,
                        client->state == POP_HANDSHAKE ? BENCH_ERROR_TLS : BENCH_ERROR_CLOSED);
    }
    generator->session_count -= client->logged_in;
    client->logged_in = false;
    client->user->busy = false;
    client->user = NULL;
    client->state = POP_FREE;
    generator->open_count--;
    generator_pop_gone(generator, client, true);
}

static void on_secure(struct conn *conn, enum status status)
{
    struct pop_client *client = list_entry(conn, struct pop_client, conn);
    struct tally *tally = &client->generator->tally;
    if (status != STATUS_OK) {
        pop_client_fail(client, BENCH_ERROR_TLS);
        return;
    }
    int64_t now_ns = generator_now_ns();
    tally_command(tally, COMMAND_TLS, client->began_ns, now_ns);
    *(conn_tls(conn)->resumed ? &tally->handshakes_resumed : &tally->handshakes_full) += 1;
    client->began_ns = now_ns;
    if (client->generator->config->tls == RUN_TLS_STLS) {
        pop_login_begin(client);
    } else {
        client->state = POP_GREETING;
    }
}

static const struct conn_events client_events = {.on_input = pop_replies_input,
                                                 .on_input_end = on_input_end,
                                                 .on_drained = on_drained,
                                                 .on_closed = on_closed,
                                                 .on_secure = on_secure};

static void connected(struct pop_client *client, int fd)
{
    struct generator *generator = client->generator;
    const struct run_config *config = generator->config;
    client->connected = true;
    client->state = POP_GREETING;
    conn_init(&client->conn, &generator->host, fd, LOOP_RECEIVE_STREAM, &client_events,
              &config->pop3, &config->pop3);
    if (config->tls == RUN_TLS_IMPLICIT) {
        client->state = POP_HANDSHAKE;
        if (conn_start_tls_client(&client->conn, generator->tls) != STATUS_OK) {
            pop_client_fail(client, BENCH_ERROR_TLS);
        }
    }
    conn_start(&client->conn);
}

/* There never was a connection. */
static void not_connected(struct pop_client *client)
{
    struct generator *generator = client->generator;
    pop_client_fail(client, BENCH_ERROR_CONNECT);
    client->user->busy = false;
    client->user = NULL;
    client->state = POP_FREE;
    generator->open_count--;
    generator_pop_gone(generator, client, false);
}

static void on_dialed(struct dial *dial, enum status status, int fd)
{
    struct pop_client *client = list_entry(dial, struct pop_client, dial);
    if (status == STATUS_OK) {
        connected(client, fd);
    } else {
        not_connected(client);
    }
}

static void on_deadline(struct deadline *deadline)
{
    struct pop_client *client = list_entry(deadline, struct pop_client, deadline);
    pop_client_fail(client, BENCH_ERROR_TIMEOUT);
}

void pop_client_init(struct pop_client *client, struct generator *generator)
{
    *client = (struct pop_client){.generator = generator, .dial = {.on_dialed = on_dialed}};
    list_init(&client->link);
    deadline_init(&client->deadline, on_deadline);
}

void pop_client_deinit(struct pop_client *client)
{
    free(client->examine);
    free(client->scram);
    free(client->sizes);
}

void pop_client_open(struct pop_client *client, enum work_kind kind, struct bench_user *user,
                     int64_t due_ns, bool stays)
{
    struct generator *generator = client->generator;
    client->kind = kind;
    client->user = user;
    client->due_ns = due_ns;
    client->began_ns = generator_now_ns();
    client->stays = stays;
    client->working = !stays;
    client->state = POP_DIALING;
    client->messages = client->size_count = client->fetched = client->deleted = 0;
    client->next_msgno = 1;
    client->delete_next = client->multi = false;
    client->in_flight = client->first = 0;
    generator->open_count++;
    arm(client);
    int fd = -1;
    enum status status = dial_start(&client->dial, generator->loop, &generator->config->pop3, &fd);
    if (status == STATUS_OK) {
        connected(client, fd);
    } else if (status != STATUS_PENDING) {
        not_connected(client);
    }
}

void pop_client_stop(struct pop_client *client)
{
    static const char bye[] = "QUIT\r\n";
    if (client->state == POP_READY) {
        /* In order, and on_closed comes when the server has closed: the maildrop is free then, for
         * whoever measures next. */
        client->state = POP_ENDING;
        (void)conn_write(&client->conn, bye, sizeof bye - 1); /* a failure ends the conn */
        conn_finish(&client->conn);
    } else if (client->state == POP_ENDING && client->connected) {
        conn_abort(&client->conn, STATUS_CANCELLED);
    } else {
        pop_client_fail(client, BENCH_ERROR_TIMEOUT);
    }
}
