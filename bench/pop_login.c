/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/pop_login.h"

#include "auth/base64.h"
#include "bench/generator.h"
#include "bench/pop_replies.h"

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

void pop_login_reply(struct pop_client *client, bool good, bool more)
{
    enum run_auth auth = client->generator->config->auth;
    if (!good) {
        pop_client_fail(client, BENCH_ERROR_AUTH);
    } else if (more && auth == RUN_AUTH_LOGIN) {
        go_on(client);
    } else if (more) {
        pop_client_fail(client, BENCH_ERROR_PROTOCOL);
    } else if (auth != RUN_AUTH_USER || !send_pass(client)) {
        int64_t now_ns = generator_now_ns();
        tally_command(&client->generator->tally, COMMAND_AUTH, client->began_ns, now_ns);
        pop_client_logged_in(client);
    }
}
