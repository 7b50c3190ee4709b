/* SPDX-License-Identifier: Apache-2.0 */
/* The server as a whole, in this process: what it prints, its metrics page, its end. */
#include "server/admin_client.h"
#include "server/daemon.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char folder[] = "/tmp/restante-test-daemon-XXXXXX";
static struct config *config;
static struct daemon *running;

static void load(const char *override)
{
    const char *overrides[] = {"listener.pop3.address=127.0.0.1:0",
                               "listener.pop3s.address=127.0.0.1:0",
                               "sandbox=off",
                               "listener.lmtp.address=127.0.0.1:0",
                               "listener.metrics.address=127.0.0.1:0",
                               "workers=2",
                               override};
    struct error error = {.status = STATUS_OK};
    config_free(&config);
    cr_assert_eq(config_demo(folder, overrides, override != NULL ? 7 : 6, &config, &error),
                 STATUS_OK, "%s", error.text);
}

static void setup(void)
{
    struct error error = {.status = STATUS_OK};
    cr_assert_not_null(mkdtemp(folder));
    load(NULL);
    cr_assert_eq(daemon_start(config, true, &running, &error), STATUS_OK, "%s", error.text);
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    return remove(path);
}

static void teardown(void)
{
    daemon_stop(&running);
    config_free(&config);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(daemon, .init = setup, .fini = teardown);

/* Connects, sends, and reads until the peer closes. */
static char *talk(enum config_protocol protocol, const char *question)
{
    static char text[262144];
    char address[DAEMON_ADDRESS_MAX];
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    daemon_address(running, protocol, address);
    where.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&where, sizeof where), 0);
    cr_assert_eq(send(fd, question, strlen(question), 0), (ssize_t)strlen(question));
    size_t length = 0;
    for (;;) {
        ssize_t got = recv(fd, text + length, sizeof text - 1 - length, 0);
        if (got <= 0) {
            break;
        }
        length += (size_t)got;
    }
    close(fd);
    text[length] = '\0';
    return text;
}

static char *get(const char *path)
{
    char question[128];
    (void)snprintf(question, sizeof question, "GET %s HTTP/1.0\r\n\r\n", path);
    return talk(CONFIG_METRICS, question);
}

static void expect_in(const char *text, const char *expected)
{
    cr_expect_not_null(strstr(text, expected), "\"%s\" is not in:\n%.400s", expected, text);
}

Test(daemon, says_where_it_listens_with_real_ports)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    daemon_print_listening(running, out);
    cr_assert_eq(fclose(out), 0);
    expect_in(text, "listening pop3 127.0.0.1:");
    expect_in(text, "listening lmtp 127.0.0.1:");
    expect_in(text, "listening metrics 127.0.0.1:");
    cr_expect_null(strstr(text, ":0\n"));
    free(text);
}

Test(daemon, a_demo_user_finds_mail)
{
    char *text = talk(CONFIG_POP3, "USER demo1\r\nPASS demo\r\nSTAT\r\nRETR 1\r\nQUIT\r\n");
    expect_in(text, "+OK 3 ");
    expect_in(text, "Subject: Welcome to Restante\r\n");
    expect_in(talk(CONFIG_POP3, "USER demo10\r\nPASS demo\r\nRETR 2\r\nQUIT\r\n"),
              "\r\n..profile\r\n...two dots\r\n..\r\nThe line");
    expect_in(talk(CONFIG_POP3, "USER demo1\r\nPASS wrong\r\nQUIT\r\n"), "-ERR [AUTH]");
}

Test(daemon, metrics_count_what_happened)
{
    (void)talk(CONFIG_POP3, "USER demo1\r\nPASS demo\r\nRETR 1\r\nDELE 9\r\nBLURB x\r\nQUIT\r\n");
    (void)talk(CONFIG_LMTP, "BLURB\r\nHELO\r\nQUIT\r\n");
    char *page = get("/metrics");
    expect_in(page, "200 OK");
    expect_in(page, "restante_commands_total{protocol=\"pop3\",verb=\"RETR\",result=\"ok\"} 1\n");
    expect_in(page,
              "restante_commands_total{protocol=\"pop3\",verb=\"DELE\",result=\"failed\"} 1\n");
    expect_in(page,
              "restante_commands_total{protocol=\"pop3\",verb=\"unknown\",result=\"failed\"} 1\n");
    expect_in(page,
              "restante_commands_total{protocol=\"lmtp\",verb=\"unknown\",result=\"failed\"} 2\n");
    cr_expect_null(strstr(page, "BLURB"), "nothing a client made up in a label");
    expect_in(page, "restante_logins_total{result=\"ok\"} 1\n");
    expect_in(page, "restante_messages_retrieved_total 1\n");
    expect_in(page, "restante_accounts 10\n");
    expect_in(page, "restante_sessions{protocol=\"pop3\"} ");
    expect_in(page, "restante_commit_sync_duration_seconds_count ");
    cr_expect_null(strstr(page, "demo1"), "no user in a label");
}

Test(daemon, probes_answer)
{
    expect_in(get("/livez"), "200 OK");
    expect_in(get("/readyz"), "200 OK");
    expect_in(get("/elsewhere"), "404");
    expect_in(talk(CONFIG_METRICS, "POST /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n"), "405");
}

Test(daemon, the_admin_socket_is_there_for_its_owner_only)
{
    struct error error = {.status = STATUS_OK};
    struct admin_client *client = NULL;
    struct stat facts;
    cr_assert_eq(admin_client_connect(config->admin_socket, &client, &error), STATUS_OK, "%s",
                 error.text);
    struct doc request, answer;
    doc_object(&request);
    doc_put_text(&request, "command", "health");
    cr_assert_eq(admin_client_ask(client, &request, NULL, 0, &answer, &error), STATUS_OK);
    cr_expect(doc_bool(&answer, "healthy"));
    doc_free(&answer);
    admin_client_close(&client);
    cr_assert_eq(stat(config->admin_socket, &facts), 0);
    cr_expect_eq(facts.st_mode & 0777, 0600);
}

Test(daemon, a_second_start_keeps_the_mail_and_adds_none)
{
    struct error error = {.status = STATUS_OK};
    daemon_stop(&running);
    cr_expect_neq(access(config->admin_socket, F_OK), 0, "the socket is removed at the end");
    cr_assert_eq(daemon_start(config, true, &running, &error), STATUS_OK, "%s", error.text);
    expect_in(talk(CONFIG_POP3, "USER demo1\r\nPASS demo\r\nQUIT\r\n"), "3 messages");
}

Test(daemon, a_second_server_on_the_store_is_refused)
{
    struct error error = {.status = STATUS_OK};
    struct daemon *second = NULL;
    cr_expect_eq(daemon_start(config, true, &second, &error), STATUS_BUSY);
    expect_in(error.text, "another process");
    expect_in(get("/readyz"), "200 OK");
}

Test(daemon, a_port_in_use_is_refused_with_its_name)
{
    char address[DAEMON_ADDRESS_MAX], override[256], other[64] = "/tmp/restante-test-other-XXXXXX";
    struct error error = {.status = STATUS_OK};
    struct daemon *second = NULL;
    struct config *second_config = NULL;
    daemon_address(running, CONFIG_POP3, address);
    (void)snprintf(override, sizeof override, "listener.pop3.address=%s", address);
    const char *overrides[] = {override, "workers=2"};
    cr_assert_not_null(mkdtemp(other));
    cr_assert_eq(config_demo(other, overrides, 2, &second_config, &error), STATUS_OK);
    cr_expect_eq(daemon_start(second_config, true, &second, &error), STATUS_EXISTS);
    expect_in(error.text, "is in use by another program");
    config_free(&second_config);
    (void)nftw(other, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
