/* SPDX-License-Identifier: Apache-2.0 */
#include "server/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/restante-test-config-XXXXXX";

static void make_file(void)
{
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void remove_file(void)
{
    unlink(path);
}

TestSuite(config, .init = make_file, .fini = remove_file);

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static struct config *load(const char *text, const char *const *overrides, size_t count)
{
    struct config *config = NULL;
    struct error error = {.status = STATUS_OK};
    write_file(text);
    enum status status = config_load(path, overrides, count, &config, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    return config;
}

/* The configuration is refused, and the reason holds `expected`. */
static void refused(const char *text, const char *override, const char *expected)
{
    struct config *config = NULL;
    struct error error = {.status = STATUS_OK};
    write_file(text);
    cr_expect_eq(config_load(path, &override, override != NULL, &config, &error), STATUS_INVALID,
                 "%s", text);
    cr_expect_null(config);
    cr_expect_not_null(strstr(error.text, expected), "\"%s\" is not in \"%s\"", expected,
                       error.text);
}

static void expect_address(const struct config_listener *listener, unsigned index,
                           const char *expected)
{
    char text[ADDRESS_TEXT_MAX];
    cr_assert_lt(index, listener->address_count);
    address_text(&listener->addresses[index], text);
    cr_expect_str_eq(text, expected);
}

Test(config, without_a_file_there_are_defaults)
{
    struct config *config = NULL;
    struct error error = {.status = STATUS_OK};
    cr_assert_eq(config_load(NULL, NULL, 0, &config, &error), STATUS_OK);
    cr_expect_eq(config->workers, 0);
    cr_expect_eq(config->io_backend, LOOP_AUTO);
    cr_expect_eq(config->pop3.idle_timeout_s, 600);
    cr_expect_eq(config->listener_count, 0);
    cr_expect_str_eq(config->admin_socket, "/run/restante/admin.sock");
    cr_expect_str_neq(config->hostname, "", "the system's name stands in");
    config_free(&config);
    cr_expect_null(config);
    config_free(&config);
}

Test(config, reads_sections_lists_and_units)
{
    struct config *config =
        load("hostname = mail.example\n"
             "store { path = '/srv/mail' segment_size = 64M checkpoint_interval = 500ms }\n"
             "auth { default_domain = \"example.org\" recipient_delimiter = \"-\" }\n"
             "pop3 { idle_timeout = 15m takeover = true }\n"
             "listener pop3 { address = {\"0.0.0.0:110\", \"[::]:110\"} }\n"
             "listener inside { protocol = \"lmtp\" address = \"unix:/run/lmtp.sock\" mode = 0600\n"
             "  allow = {\"10.0.0.0/8\", \"::1\"} }\n",
             NULL, 0);
    cr_expect_str_eq(config->hostname, "mail.example");
    cr_expect_str_eq(config->store.path, "/srv/mail");
    cr_expect_eq(config->store.segment_size, 64u << 20);
    cr_expect_eq(config->store.checkpoint_ms, 500);
    cr_expect_str_eq(config->auth.default_domain, "example.org");
    cr_expect_eq(config->auth.recipient_delimiter, '-');
    cr_expect_eq(config->pop3.idle_timeout_s, 900);
    cr_expect(config->pop3.takeover);
    cr_assert_eq(config->listener_count, 2);
    cr_expect_eq(config->listeners[0].protocol, CONFIG_POP3);
    expect_address(&config->listeners[0], 0, "0.0.0.0:110");
    expect_address(&config->listeners[0], 1, "[::]:110");
    cr_expect_eq(config->listeners[0].unix_owner, (uid_t)-1);
    cr_expect_str_eq(config->listeners[1].name, "inside");
    cr_expect_eq(config->listeners[1].protocol, CONFIG_LMTP);
    cr_expect_eq(config->listeners[1].unix_mode, 0600);
    cr_expect_eq(config->listeners[1].allow_count, 2);
    config_free(&config);
}

Test(config, expands_environment_variables_with_defaults)
{
    setenv("RESTANTE_TEST_DOMAIN", "set.example", 1);
    unsetenv("RESTANTE_TEST_WORKERS");
    struct config *config = load("workers = ${RESTANTE_TEST_WORKERS:-3}\n"
                                 "auth { default_domain = \"${RESTANTE_TEST_DOMAIN}\" }\n",
                                 NULL, 0);
    cr_expect_eq(config->workers, 3);
    cr_expect_str_eq(config->auth.default_domain, "set.example");
    config_free(&config);
}

Test(config, overrides_win_over_the_file)
{
    static const char *const overrides[] = {
        "workers=4", "pop3.login_timeout=20s", "listener.pop3.address=127.0.0.1:2110,[::1]:2110",
        "listener.metrics.address=127.0.0.1:0", "listener.pop3.mode=0640"};
    struct config *config =
        load("workers = 1\nlistener pop3 { address = \"0.0.0.0:110\" }\n", overrides, 5);
    cr_expect_eq(config->workers, 4);
    cr_expect_eq(config->pop3.login_timeout_s, 20);
    cr_assert_eq(config->listener_count, 2);
    cr_expect_eq(config->listeners[0].address_count, 2);
    expect_address(&config->listeners[0], 0, "127.0.0.1:2110");
    expect_address(&config->listeners[0], 1, "[::1]:2110");
    cr_expect_eq(config->listeners[0].unix_mode, 0640);
    cr_expect_eq(config->listeners[1].protocol, CONFIG_METRICS, "a listener made by -o");
    config_free(&config);
}

Test(config, says_the_line_and_the_nearest_key)
{
    char expected[256];
    (void)snprintf(expected, sizeof expected,
                   "%s:4: unknown key \"idel_timeout\" in section pop3; "
                   "did you mean \"idle_timeout\"?",
                   path);
    refused("# one\n// two\npop3 {\n  idel_timeout = 700\n}\n", NULL, expected);
    refused("lisener pop3 { }\n", NULL, "did you mean \"listener\"?");
    refused("listener pop3 {\n adress = \"127.0.0.1:1\" }\n", NULL, ":2: unknown key \"adress\"");
    refused("", "pop3.idle=700", "did you mean \"idle_timeout\"?");
    refused("", "wokers=2", "did you mean \"workers\"?");
    refused("", "listener.pop3.adress=1", "did you mean \"address\"?");
}

Test(config, comments_do_not_move_the_lines)
{
    char expected[256];
    (void)snprintf(expected, sizeof expected, "%s:7: workers", path);
    refused("# a 'comment'\n/* of\n two lines */\n// \"third\"\n"
            "hostname = \"a#b/*c\" # not\n\nworkers = many\n",
            NULL, expected);
}

Test(config, comment_marks_inside_quotes_are_text)
{
    struct config *config = load("store { path = \"/a#b//c/*d*/\" }\n", NULL, 0);
    cr_expect_str_eq(config->store.path, "/a#b//c/*d*/");
    config_free(&config);
}

Test(config, refuses_what_cannot_work)
{
    refused("workers = 999\n", NULL, "0 to 256");
    refused("pop3 { idle_timeout = 599 }\n", NULL, "RFC 1939");
    refused("listener pop3 { address = \"localhost\" }\n", NULL, ":1: listener pop3: address");
    refused("listener pop3 { protocol = pop4 address = \"127.0.0.1:1\" }\n", NULL, "pop3|lmtp");
    refused("\nlistener x { address = \"127.0.0.1:1\" }\n", NULL,
            ":2: listener x: protocol is missing: write");
    refused("listener pop3 { }\n", NULL, ":1: listener pop3: address is missing: write");
    refused("", "listener.x.mode=600", "listener x: protocol is missing");
    refused("workers = 1\nlistener pop3 { address = \"127.0.0.1:1\" tls = starttls }\n", NULL,
            ":2: listener pop3: TLS takes a certificate");
    refused("tls { certificate = a key = b }\n"
            "listener metrics { address = \"127.0.0.1:1\" tls = implicit }\n",
            NULL, ":2: listener metrics: metrics have no TLS");
    refused("tls { certificate = {a, b} key = {c} }\n", NULL, "as many keys as certificates");
    refused("tls { client_certificates = require }\n", NULL, "client_ca");
    refused("tls { sni example.org { certificate = a } }\n", NULL, "certificate and key");
    refused("tls { min_version = 1.1 }\n", NULL, "1.2|1.3");
    refused("auth { databases = {embedded, \"oracle:x\"} }\n", NULL, "passwd-file:/path");
    refused("listener pop3 { address = \"127.0.0.1:1\" auth_plaintext = never }\n", NULL,
            "tls|always");
    refused("listener lmtp { address = \"127.0.0.1:1\" allow = \"10.0.0.0/99\" }\n", NULL, "allow");
    refused("listener lmtp { address = \"unix:/x\" owner = \"no-such-user-here\" }\n", NULL,
            ":1: listener lmtp: this system knows no user");
    refused("store { path = mail }\n", NULL, "must begin with /");
    refused("hostname = \"two words\"\n", NULL, "hostname");
    refused("\nauth { default_domain = \"@example.org\" }\n", NULL,
            ":2: default_domain of auth must be a domain");
    refused("auth { default_domain = \"example org\" }\n", NULL, "such as example.org");
    refused("pop3 { idle_timeout = 700\n", NULL, "end of file");
    refused("", "workers", "section.key=value");
    refused("", "listener.pop3=1", "listener.NAME.KEY");
    refused("", "listener.pop3.address=", "value is missing");
}

Test(config, short_timeouts_are_for_tests_that_ask_for_them)
{
    static const char *const overrides[] = {"pop3.idle_timeout=2",
                                            "pop3.allow_short_timeouts=true"};
    struct config *config = load("", overrides, 2);
    cr_expect_eq(config->pop3.idle_timeout_s, 2);
    config_free(&config);
}

Test(config, a_missing_file_is_not_found)
{
    struct config *config = NULL;
    struct error error = {.status = STATUS_OK};
    cr_expect_eq(config_load("/nonexistent/restante.conf", NULL, 0, &config, &error),
                 STATUS_NOT_FOUND);
    cr_expect_str_eq(error.path, "/nonexistent/restante.conf");
}

Test(config, any_cut_of_a_file_is_read_or_refused_but_never_harmful)
{
    static const char text[] = "workers = 2 /* c */ # d\nstore { path = '/a' }\n"
                               "listener pop3 { address = {\"0.0.0.0:110\", \"[::]:110\"} }\n";
    for (size_t length = 0; length < sizeof text; length++) {
        char cut[sizeof text];
        memcpy(cut, text, length);
        cut[length] = '\0';
        write_file(cut);
        struct config *config = NULL;
        struct error error = {.status = STATUS_OK};
        enum status status = config_load(path, NULL, 0, &config, &error);
        cr_expect_eq(status == STATUS_OK, config != NULL, "cut at %zu", length);
        cr_expect(status == STATUS_OK || error.text[0] != '\0', "cut at %zu", length);
        config_free(&config);
    }
}

Test(config, the_demo_listens_on_loopback_and_lives_in_its_folder)
{
    static const char *const overrides[] = {"listener.pop3.address=127.0.0.1:0"};
    struct config *config = NULL;
    struct error error = {.status = STATUS_OK};
    cr_assert_eq(config_demo("/tmp/somewhere", overrides, 1, &config, &error), STATUS_OK, "%s",
                 error.text);
    cr_expect_str_eq(config->store.path, "/tmp/somewhere");
    cr_expect_str_eq(config->admin_socket, "/tmp/somewhere/admin.sock");
    cr_expect_str_eq(config->auth.default_domain, "localhost");
    cr_expect(config->auth.exempt_loopback);
    cr_assert_eq(config->listener_count, 4);
    expect_address(&config->listeners[0], 0, "127.0.0.1:0");
    expect_address(&config->listeners[1], 0, "127.0.0.1:2995");
    expect_address(&config->listeners[2], 0, "127.0.0.1:2024");
    expect_address(&config->listeners[3], 0, "127.0.0.1:9110");
    cr_expect_eq(config->listeners[0].tls, CONFIG_TLS_STARTTLS);
    cr_expect(config->listeners[0].policy.plaintext_without_tls);
    cr_expect(config->listeners[0].policy.scram);
    cr_expect_eq(config->listeners[1].tls, CONFIG_TLS_IMPLICIT);
    cr_expect_not(config->listeners[1].policy.plaintext_without_tls);
    cr_expect_str_eq(config->tls.certificates.items[0], "/tmp/somewhere/tls-certificate.pem");
    config_free(&config);
    cr_expect_eq(config_demo("/tmp/it's", NULL, 0, &config, &error), STATUS_INVALID);
}

Test(config, reads_certificates_and_policies)
{
    struct config *config = load("tls {\n"
                                 "    certificate = {\"/a.pem\", \"/b.pem\"}\n"
                                 "    key = {\"/a.key\", \"/b.key\"}\n"
                                 "    sni mail.example.org { certificate = /c.pem key = /c.key }\n"
                                 "    min_version = 1.3\n"
                                 "}\n"
                                 "listener pop3 { address = \"127.0.0.1:1\" tls = starttls\n"
                                 "    auth_cram_md5 = true auth_apop = yes }\n",
                                 NULL, 0);
    const struct config_tls_files *tls = &config->tls;
    cr_assert_eq(tls->certificates.count, 2);
    cr_assert_eq(tls->keys.count, 2);
    cr_expect_str_eq(tls->certificates.items[1], "/b.pem");
    cr_expect_str_eq(tls->keys.items[0], "/a.key");
    cr_assert_eq(tls->sni_count, 1);
    cr_expect_str_eq(tls->sni[0].name, "mail.example.org");
    cr_expect_str_eq(tls->sni[0].key, "/c.key");
    cr_expect_eq(tls->min_version, 1);
    const struct auth_policy *policy = &config->listeners[0].policy;
    cr_expect(policy->cram_md5 && policy->apop);
    cr_expect_not(policy->plaintext_without_tls || policy->scram || policy->external);
    config_free(&config);
}

Test(config, replaces_lists_by_overrides)
{
    static const char *const overrides[] = {"tls.certificate=/x.pem,/y.pem",
                                            "tls.key=/x.key /y.key",
                                            "auth.databases=embedded,passwd-file:/etc/users"};
    struct config *config = NULL;
    struct error error = {.status = STATUS_OK};
    cr_assert_eq(config_demo("/tmp/somewhere", overrides, 3, &config, &error), STATUS_OK, "%s",
                 error.text);
    cr_assert_eq(config->tls.certificates.count, 2);
    cr_expect_str_eq(config->tls.certificates.items[1], "/y.pem");
    cr_assert_eq(config->auth.databases.count, 2);
    cr_expect_str_eq(config->auth.databases.items[1], "passwd-file:/etc/users");
    config_free(&config);
}
