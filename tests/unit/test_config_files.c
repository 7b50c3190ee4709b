/* SPDX-License-Identifier: Apache-2.0 */
#include "server/config_files.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/restante-test-config-files-XXXXXX";
static struct config *config;
static struct error error;

static const char *path_of(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void make_pair(const char *certificate, const char *key)
{
    static const char *const names[] = {"mail.example"};
    struct tls_pem pem;
    cr_assert_eq(tls_self_signed(names, 1, 30, &pem), STATUS_OK);
    write_text(certificate, pem.certificate);
    write_text(key, pem.key);
    tls_pem_free(&pem);
}

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chmod(folder, 0755), 0);
    make_pair("one.pem", "one.key");
    make_pair("two.pem", "two.key");
    write_text("users", "one:{PLAIN}x::::::\n");
    write_text("nonsense", "nonsense\n");
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    return remove(path);
}

static void tear_down(void)
{
    config_free(&config);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(config_files, .init = set_up, .fini = tear_down);

/* A file of a listener with TLS on line 1 and `text` from line 2 on; in both "@" is the folder. */
static enum status check(const char *text, const char *override)
{
    char whole[2048] = "listener pop3 { address = \"127.0.0.1:0\" tls = \"starttls\" }\n";
    size_t length = strlen(whole);
    for (const char *at = text; *at != '\0'; at++) {
        length += (size_t)snprintf(whole + length, sizeof whole - length, "%.*s",
                                   *at == '@' ? 64 : 1, *at == '@' ? folder : at);
    }
    write_text("restante.conf", whole);
    config_free(&config);
    memset(&error, 0, sizeof error);
    cr_assert_eq(
        config_load(path_of("restante.conf"), &override, override != NULL, &config, &error),
        STATUS_OK, "%s", error.text);
    return config_files_check(config, &error);
}

/* The line of the configuration and the file are named. */
static void expect_blame(int line, const char *name)
{
    char place[160];
    (void)snprintf(place, sizeof place, "%s:%d", path_of("restante.conf"), line);
    cr_expect_str_eq(error.path, place, "%s: %s", error.path, error.text);
    cr_expect_not_null(strstr(error.text, path_of(name)), "%s", error.text);
}

#define TLS(more) "tls { certificate = \"@/one.pem\" key = \"@/one.key\"\n" more "}\n"

Test(config_files, that_are_good_make_nothing)
{
    cr_expect_eq(check("store { path = \"@/store\" }\n" TLS(
                           "") "auth { databases = {\"passwd-file:@/users\", \"embedded\"} }\n",
                       NULL),
                 STATUS_OK, "%s: %s", error.path, error.text);
    cr_expect_neq(access(path_of("store"), F_OK), 0);
}

Test(config_files, of_tls_that_are_missing_are_named_with_their_line)
{
    cr_expect_neq(check("tls { certificate = \"@/none.pem\"\n key = \"@/one.key\" }\n", NULL),
                  STATUS_OK);
    expect_blame(2, "none.pem");
    cr_expect_neq(check("tls { certificate = \"@/one.pem\"\n key = \"@/none.key\" }\n", NULL),
                  STATUS_OK);
    expect_blame(3, "none.key");
    cr_expect_neq(check(TLS("client_certificates = request\n client_ca = \"@/none\"\n"), NULL),
                  STATUS_OK);
    expect_blame(4, "none");
    cr_expect_neq(check(TLS("ticket_key_file = \"@/none\"\n"), NULL), STATUS_OK);
    expect_blame(3, "none");
}

Test(config_files, of_tls_that_are_wrong_are_named_with_their_line)
{
    cr_expect_neq(check("tls { certificate = \"@/one.pem\"\n key = \"@/two.key\" }\n", NULL),
                  STATUS_OK);
    expect_blame(3, "two.key");
    cr_expect_neq(check("tls { certificate = \"@/nonsense\"\n key = \"@/two.key\" }\n", NULL),
                  STATUS_OK);
    expect_blame(2, "nonsense");
    cr_expect_neq(
        check(TLS("sni a.example {\n certificate = \"@/two.pem\" key = \"@/nonsense\" }\n"), NULL),
        STATUS_OK);
    expect_blame(4, "nonsense");
    cr_expect_neq(check(TLS("client_certificates = request\n client_ca = \"@/nonsense\"\n"), NULL),
                  STATUS_OK);
    expect_blame(4, "nonsense");
}

Test(config_files, that_no_listener_uses_are_left_alone)
{
    cr_expect_eq(check("tls { certificate = \"@/none.pem\" key = \"@/one.key\" }\n",
                       "listener.pop3.tls=none"),
                 STATUS_OK, "as at the start: %s", error.text);
}

Test(config_files, of_an_override_are_named_by_their_key)
{
    char override[160];
    (void)snprintf(override, sizeof override, "tls.key=%s", path_of("none.key"));
    cr_expect_neq(check(TLS(""), override), STATUS_OK);
    cr_expect_str_eq(error.path, "-o tls.key");
    cr_expect_not_null(strstr(error.text, path_of("none.key")), "%s", error.text);
}

Test(config_files, of_users_and_tokens_are_named_with_their_line)
{
    cr_expect_neq(check(TLS("") "auth { databases = {\"passwd-file:@/none\"} }\n", NULL),
                  STATUS_OK);
    expect_blame(4, "none");
    enum status status = check(TLS("") "oauth {\n jwks = \"@/none\" }\n", NULL);
    cr_expect_neq(status, STATUS_OK);
    if (status == STATUS_UNSUPPORTED) {
        return; /* built without OAuth */
    }
    expect_blame(5, "none");
    cr_expect_neq(check(TLS("") "oauth {\n jwks = \"@/nonsense\" }\n", NULL), STATUS_OK);
    expect_blame(5, "nonsense");
    cr_expect_neq(check(TLS("") "oauth {\n jwks = \"http://example.org/\" }\n", NULL), STATUS_OK);
    cr_expect_not_null(strstr(error.text, "https"), "%s", error.text);
    cr_expect_neq(
        check(TLS("") "oauth { jwks = \"https://issuer.invalid/\"\n ca = \"@/none\" }\n", NULL),
        STATUS_OK, "and nobody is asked");
    expect_blame(5, "none");
}

Test(config_files, are_read_by_a_user_that_the_system_knows)
{
    cr_expect_neq(check(TLS("") "user = \"nobody-of-that-name\"\n", NULL), STATUS_OK);
    cr_expect_not_null(strstr(error.path, "restante.conf:4"), "%s", error.path);
    cr_expect_neq(check(TLS("") "group = \"nobody-of-that-name\"\n", NULL), STATUS_OK);
    cr_expect_not_null(strstr(error.path, "restante.conf:4"), "%s", error.path);
}

Test(config_files, that_only_root_may_read_are_refused_where_the_server_is_root_no_more)
{
    if (geteuid() != 0) {
        return; /* cannot be played */
    }
    cr_assert_eq(chmod(path_of("one.key"), 0600), 0);
    cr_assert_eq(chmod(path_of("users"), 0600), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) { /* it is root no more afterwards, and could not tidy up */
        enum status status = check(
            TLS("") "user = \"nobody\"\nauth { databases = {\"passwd-file:@/users\"} }\n", NULL);
        bool is_right = status == STATUS_DENIED && strstr(error.path, ":5") != NULL;
        _exit(is_right ? 0 : 1);
    }
    int outcome = -1;
    cr_assert_eq(waitpid(child, &outcome, 0), child);
    cr_expect_eq(outcome, 0);
}
