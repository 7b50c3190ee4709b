/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/lmtp_client.h"

#include "bench/generator.h"
#include "bench/letter.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void arm(struct lmtp_client *client)
{
    struct loop *loop = client->generator->loop;
    deadline_arm(loop_wheel(loop), &client->deadline,
                 loop_now_ms(loop) + client->generator->config->timeout_ms);
}

static void disarm(struct lmtp_client *client)
{
    deadline_disarm(loop_wheel(client->generator->loop), &client->deadline);
}

static void fail(struct lmtp_client *client, enum bench_error error)
{
    struct generator *generator = client->generator;
    if (client->state == LMTP_ENDING || client->state == LMTP_FREE) {
        return;
    }
    int64_t now_ns = generator_now_ns();
    disarm(client);
    if (client->working) {
        tally_failure(&generator->tally, WORK_DELIVER, error, client->due_ns, now_ns);
        client->working = false;
        generator_operation_over(generator);
    } else if (client->state != LMTP_READY && !generator->ending) {
        tally_failure(&generator->tally, WORK_DELIVER, error, now_ns, now_ns);
    }
    client->state = LMTP_ENDING;
    if (client->connected) {
        conn_abort(&client->conn, STATUS_CANCELLED);
    } else {
        dial_cancel(&client->dial, generator->loop);
    }
}

static void say(struct lmtp_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct lmtp_client *client, const char *format, ...)
{
    char line[RUN_NAME_MAX + 128];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    client->sent_ns = generator_now_ns();
    tally_octets(&client->generator->tally, 0, (uint64_t)length, client->sent_ns);
    (void)conn_write(&client->conn, line, (size_t)length); /* a failure ends the conn */
}

/* The delivery */

static void draw_letter(struct generator *generator, uint32_t user, struct letter *out_letter)
{
    const struct run_config *config = generator->config;
    *out_letter =
        (struct letter){.seed = config->seed,
                        .number = ((uint64_t)generator->part << 48) + generator->letters++,
                        .user = user,
                        .file = -1};
    if (config->corpus != NULL) {
        out_letter->file = (int32_t)dice_below(&generator->dice, config->corpus->file_count);
    } else {
        out_letter->octets = distribution_draw(&config->sizes, &generator->dice);
    }
    letter_fit(out_letter, config->corpus);
}

static void send_body(struct lmtp_client *client)
{
    struct generator *generator = client->generator;
    struct letter letter;
    size_t length = 0;
    draw_letter(generator, client->user->number, &letter);
    char *wire = letter_wire(&letter, generator->config->corpus, &length);
    if (wire == NULL) {
        fail(client, BENCH_ERROR_PROTOCOL);
        return;
    }
    client->sent_ns = generator_now_ns();
    client->command = COMMAND_BODY;
    tally_octets(&generator->tally, 0, length, client->sent_ns);
    const struct sendq_hold hold = {.release = free, .owner = wire};
    (void)conn_send_memory(&client->conn, wire, length, hold); /* a failure ends the conn */
}

static void send_recipient(struct lmtp_client *client)
{
    char recipient[RUN_NAME_MAX];
    const struct run_config *config = client->generator->config;
    if (!run_config_name(config->recipients, client->user->number, recipient, sizeof recipient)) {
        fail(client, BENCH_ERROR_PROTOCOL);
        return;
    }
    say(client, "RCPT TO:<%s>\r\n", recipient);
}

void lmtp_client_work(struct lmtp_client *client, struct bench_user *user, int64_t due_ns)
{
    client->user = user;
    client->due_ns = due_ns;
    client->working = true;
    client->state = LMTP_WORKING;
    client->command = COMMAND_MAIL;
    arm(client);
    say(client, "MAIL FROM:<bench@bench.invalid>\r\n");
    if (client->generator->config->pipeline > 1) {
        send_recipient(client);
        say(client, "DATA\r\n");
    }
}

static void delivered(struct lmtp_client *client)
{
    struct generator *generator = client->generator;
    disarm(client);
    client->working = false;
    client->state = LMTP_READY;
    tally_operation(&generator->tally, WORK_DELIVER, client->due_ns, generator_now_ns());
    generator_lmtp_free(generator, client);
    generator_operation_over(generator);
}

/* Replies */

static void next_command(struct lmtp_client *client)
{
    bool pipelined = client->generator->config->pipeline > 1;
    switch ((enum bench_command)client->command) {
    case COMMAND_MAIL:
        client->command = COMMAND_RCPT;
        if (!pipelined) {
            send_recipient(client);
        }
        break;
    case COMMAND_RCPT:
        client->command = COMMAND_DATA;
        if (!pipelined) {
            say(client, "DATA\r\n");
        }
        break;
    case COMMAND_DATA:
        send_body(client);
        break;
    default:
        delivered(client);
        break;
    }
}

static void say_hello(struct lmtp_client *client)
{
    client->state = LMTP_LHLO;
    client->command = COMMAND_LHLO;
    say(client, "LHLO bench.invalid\r\n");
}

static void start_tls(struct lmtp_client *client)
{
    client->state = LMTP_HANDSHAKE;
    client->sent_ns = generator_now_ns();
    if (conn_start_tls_client(&client->conn, client->generator->tls) != STATUS_OK) {
        fail(client, BENCH_ERROR_TLS);
    }
}

static void hello_agreed(struct lmtp_client *client)
{
    if (client->generator->config->lmtp_tls == RUN_TLS_STLS && !client->secure) {
        client->state = LMTP_STARTTLS;
        client->command = COMMAND_TLS;
        say(client, "STARTTLS\r\n");
        return;
    }
    disarm(client);
    client->state = LMTP_READY;
    generator_lmtp_free(client->generator, client);
}

static void good_reply(struct lmtp_client *client)
{
    struct tally *tally = &client->generator->tally;
    int64_t now_ns = generator_now_ns();
    if (client->state == LMTP_GREETING) {
        tally_command(tally, COMMAND_CONNECT, client->sent_ns, now_ns);
        say_hello(client);
    } else if (client->state == LMTP_STARTTLS) {
        start_tls(client);
    } else {
        tally_command(tally, (enum bench_command)client->command, client->sent_ns, now_ns);
        if (client->state == LMTP_LHLO) {
            hello_agreed(client);
        } else {
            next_command(client);
        }
    }
}

/* The last line of a reply. DATA wants 354, everything else 2xx. */
static void reply(struct lmtp_client *client, const char *line, size_t length)
{
    bool data = client->state == LMTP_WORKING && client->command == COMMAND_DATA;
    if (client->state == LMTP_READY) {
        fail(client, BENCH_ERROR_CLOSED); /* 421: the server has had enough of waiting */
    } else if (line[0] == (data ? '3' : '2')) {
        good_reply(client);
    } else {
        generator_note(client->generator, bench_command_name((enum bench_command)client->command),
                       line, length);
        fail(client, line[0] == '4' || line[0] == '5' ? BENCH_ERROR_REFUSED : BENCH_ERROR_PROTOCOL);
    }
}

static size_t on_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct lmtp_client *client = list_entry(conn, struct lmtp_client, conn);
    size_t taken = 0;
    while (taken < length && client->state != LMTP_ENDING) {
        const char *line = (const char *)data + taken;
        const char *feed = memchr(line, '\n', length - taken);
        if (feed == NULL) {
            break;
        }
        size_t piece = (size_t)(feed - line) + 1;
        taken += piece;
        if (piece < 5) {
            fail(client, BENCH_ERROR_PROTOCOL);
        } else if (line[3] != '-') {
            reply(client, line, piece - 2);
        }
    }
    if (client->state == LMTP_ENDING) {
        taken = length; /* nobody will look at it */
    }
    tally_octets(&client->generator->tally, taken, 0, generator_now_ns());
    return taken;
}

/* The connection */

static void on_drained(struct conn *conn)
{
}

static void on_input_end(struct conn *conn, size_t left)
{
    struct lmtp_client *client = list_entry(conn, struct lmtp_client, conn);
    fail(client, BENCH_ERROR_CLOSED); /* nothing, when it is ending */
    conn_finish(conn);
}

static void on_closed(struct conn *conn, enum status reason)
{
    struct lmtp_client *client = list_entry(conn, struct lmtp_client, conn);
    struct generator *generator = client->generator;
    client->connected = false;
    fail(client, client->state == LMTP_HANDSHAKE ? BENCH_ERROR_TLS : BENCH_ERROR_CLOSED);
    client->state = LMTP_FREE;
    generator->open_count--;
    generator_lmtp_gone(generator, client);
}

static void on_secure(struct conn *conn, enum status status)
{
    struct lmtp_client *client = list_entry(conn, struct lmtp_client, conn);
    struct tally *tally = &client->generator->tally;
    if (status != STATUS_OK) {
        fail(client, BENCH_ERROR_TLS);
        return;
    }
    int64_t now_ns = generator_now_ns();
    tally_command(tally, COMMAND_TLS, client->sent_ns, now_ns);
    *(conn_tls(conn)->resumed ? &tally->handshakes_resumed : &tally->handshakes_full) += 1;
    client->secure = true;
    client->sent_ns = now_ns;
    if (client->generator->config->lmtp_tls == RUN_TLS_STLS) {
        say_hello(client); /* again, RFC 3207 section 4.2 */
    } else {
        client->state = LMTP_GREETING;
    }
}

static const struct conn_events client_events = {.on_input = on_input,
                                                 .on_input_end = on_input_end,
                                                 .on_drained = on_drained,
                                                 .on_closed = on_closed,
                                                 .on_secure = on_secure};

static void connected(struct lmtp_client *client, int fd)
{
    struct generator *generator = client->generator;
    client->connected = true;
    client->secure = false;
    client->state = LMTP_GREETING;
    conn_init(&client->conn, &generator->host, fd, LOOP_RECEIVE_STREAM, &client_events,
              &generator->config->lmtp, &generator->config->lmtp);
    if (generator->config->lmtp_tls == RUN_TLS_IMPLICIT) {
        start_tls(client);
    }
    conn_start(&client->conn);
}

static void not_connected(struct lmtp_client *client)
{
    fail(client, BENCH_ERROR_CONNECT);
    client->state = LMTP_FREE;
    client->generator->open_count--;
    generator_lmtp_gone(client->generator, client);
}

static void on_dialed(struct dial *dial, enum status status, int fd)
{
    struct lmtp_client *client = list_entry(dial, struct lmtp_client, dial);
    if (status == STATUS_OK) {
        connected(client, fd);
    } else {
        not_connected(client);
    }
}

static void on_deadline(struct deadline *deadline)
{
    fail(list_entry(deadline, struct lmtp_client, deadline), BENCH_ERROR_TIMEOUT);
}

void lmtp_client_init(struct lmtp_client *client, struct generator *generator)
{
    *client = (struct lmtp_client){.generator = generator, .dial = {.on_dialed = on_dialed}};
    list_init(&client->link);
    deadline_init(&client->deadline, on_deadline);
}

void lmtp_client_open(struct lmtp_client *client)
{
    struct generator *generator = client->generator;
    client->working = false;
    client->state = LMTP_DIALING;
    client->sent_ns = generator_now_ns();
    generator->open_count++;
    arm(client);
    int fd = -1;
    enum status status = dial_start(&client->dial, generator->loop, &generator->config->lmtp, &fd);
    if (status == STATUS_OK) {
        connected(client, fd);
    } else if (status != STATUS_PENDING) {
        not_connected(client);
    }
}

void lmtp_client_stop(struct lmtp_client *client)
{
    if (client->state == LMTP_ENDING && client->connected) {
        conn_abort(&client->conn, STATUS_CANCELLED);
    } else {
        fail(client, BENCH_ERROR_TIMEOUT);
    }
}
