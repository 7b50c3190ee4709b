/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/pop_login.h"

#include "auth/base64.h"
#include "bench/generator.h"
#include "bench/pop_replies.h"
#include "bench/scram_client.h"

#include <stdlib.h>
#include <string.h>

void pop_login_greeted(struct pop_client *client)
{
    if (client->generator->config->tls == RUN_TLS_STLS) {
        client->state = POP_STLS;
        pop_client_send(client, COMMAND_TLS, 0, "STLS\r\n");
    } else {
        pop_login_begin(client);
    }
}

static bool names(const struct pop_client *client, char *out_user, char *out_password)
{
    const struct run_config *config = client->generator->config;
    uint32_t number = client->user->number;
    return run_config_name(config->users, number, out_user, RUN_NAME_MAX) &&
           run_config_name(config->password, number, out_password, RUN_NAME_MAX);
}

static void send_plain(struct pop_client *client, const char *user, const char *password)
{
    char raw[2 * RUN_NAME_MAX + 2], coded[BASE64_ENCODED(sizeof raw) + 1];
    size_t user_length = strlen(user), password_length = strlen(password);
    raw[0] = '\0';
    memcpy(raw + 1, user, user_length + 1);
    memcpy(raw + 2 + user_length, password, password_length);
    coded[base64_encode(raw, 2 + user_length + password_length, coded)] = '\0';
    pop_client_send(client, COMMAND_AUTH, 0, "AUTH PLAIN %s\r\n", coded);
}

static void send_coded(struct pop_client *client, const char *text)
{
    char coded[BASE64_ENCODED(RUN_NAME_MAX) + 1];
    coded[base64_encode(text, strlen(text), coded)] = '\0';
    pop_client_send(client, COMMAND_AUTH, 0, "%s\r\n", coded);
}

/* SCRAM: first message, last message, and an empty line for the server's proof. */

static bool is_scram(enum run_auth auth)
{
    return auth == RUN_AUTH_SCRAM_SHA_1 || auth == RUN_AUTH_SCRAM_SHA_256;
}

static void send_scram(struct pop_client *client, const char *command, const char *text)
{
    char coded[BASE64_ENCODED(SCRAM_CLIENT_TEXT_MAX) + 1];
    size_t length = strlen(text);
    if (strlen(command) + BASE64_ENCODED(length) > POP_SEND_MAX - 3) {
        pop_client_fail(client, BENCH_ERROR_AUTH);
        return;
    }
    coded[base64_encode(text, length, coded)] = '\0';
    pop_client_send(client, COMMAND_AUTH, 0, "%s%s\r\n", command, coded);
}

static void begin_scram(struct pop_client *client, const char *user)
{
    struct generator *generator = client->generator;
    bool short_one = generator->config->auth == RUN_AUTH_SCRAM_SHA_1;
    char text[SCRAM_CLIENT_TEXT_MAX];
    if (client->scram == NULL) {
        client->scram = calloc(1, sizeof *client->scram);
    }
    if (client->user->keys == NULL) {
        client->user->keys = calloc(1, sizeof *client->user->keys);
    }
    if (client->scram == NULL || client->user->keys == NULL ||
        scram_client_first(client->scram, short_one ? SCRAM_SHA_1 : SCRAM_SHA_256, user,
                           &generator->dice, text) != STATUS_OK) {
        pop_client_fail(client, BENCH_ERROR_AUTH);
        return;
    }
    send_scram(client, short_one ? "AUTH SCRAM-SHA-1 " : "AUTH SCRAM-SHA-256 ", text);
}

static void go_on_scram(struct pop_client *client, const char *coded, size_t length)
{
    char user[RUN_NAME_MAX], password[RUN_NAME_MAX];
    char challenge[POP_LINE_MAX], answer[SCRAM_CLIENT_TEXT_MAX];
    while (length > 0 && (coded[length - 1] == '\n' || coded[length - 1] == '\r')) {
        length--;
    }
    bool good = length < sizeof challenge && names(client, user, password) &&
                base64_decode(coded, length, challenge, &length) == STATUS_OK;
    int step = client->auth_step++;
    if (good && step == 0 &&
        scram_client_last(client->scram, user, password, challenge, length, client->user->keys,
                          answer) == STATUS_OK) {
        send_scram(client, "", answer);
    } else if (good && step == 1 && scram_client_proved(client->scram, challenge, length)) {
        pop_client_send(client, COMMAND_AUTH, 0, "\r\n");
    } else {
        pop_client_fail(client, BENCH_ERROR_PROTOCOL);
    }
}

void pop_login_begin(struct pop_client *client)
{
    const struct run_config *config = client->generator->config;
    char user[RUN_NAME_MAX], password[RUN_NAME_MAX];
    client->state = POP_AUTH;
    client->auth_step = 0;
    client->began_ns = generator_now_ns();
    if (!names(client, user, password)) {
        pop_client_fail(client, BENCH_ERROR_AUTH);
    } else if (config->auth == RUN_AUTH_PLAIN) {
        send_plain(client, user, password);
    } else if (config->auth == RUN_AUTH_LOGIN) {
        pop_client_send(client, COMMAND_AUTH, 0, "AUTH LOGIN\r\n");
    } else if (is_scram(config->auth)) {
        begin_scram(client, user);
    } else {
        pop_client_send(client, COMMAND_AUTH, 0, "USER %s\r\n", user);
        if (config->pipeline > 1) {
            pop_client_send(client, COMMAND_AUTH, 0, "PASS %s\r\n", password);
        }
    }
}

/* The second step of USER and PASS; true when it was sent now. */
static bool send_pass(struct pop_client *client)
{
    char user[RUN_NAME_MAX], password[RUN_NAME_MAX];
    if (client->auth_step++ > 0 || !names(client, user, password)) {
        return false;
    }
    if (client->generator->config->pipeline == 1) {
        pop_client_send(client, COMMAND_AUTH, 0, "PASS %s\r\n", password);
    }
    return true;
}

static void go_on(struct pop_client *client)
{
    char user[RUN_NAME_MAX], password[RUN_NAME_MAX];
    if (!names(client, user, password) || client->auth_step > 1) {
        pop_client_fail(client, BENCH_ERROR_PROTOCOL);
    } else {
        send_coded(client, client->auth_step++ == 0 ? user : password);
    }
}

void pop_login_reply(struct pop_client *client, bool more, const char *text, size_t length)
{
    enum run_auth auth = client->generator->config->auth;
    if (more && auth == RUN_AUTH_LOGIN) {
        go_on(client);
    } else if (more && is_scram(auth)) {
        go_on_scram(client, text, length);
    } else if (more || (is_scram(auth) && client->auth_step != 2)) {
        /* +OK before the server has proved itself, too. */
        pop_client_fail(client, BENCH_ERROR_PROTOCOL);
    } else if (auth != RUN_AUTH_USER || !send_pass(client)) {
        int64_t now_ns = generator_now_ns();
        tally_command(&client->generator->tally, COMMAND_AUTH, client->began_ns, now_ns);
        pop_client_logged_in(client);
    }
}
