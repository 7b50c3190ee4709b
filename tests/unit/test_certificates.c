/* SPDX-License-Identifier: Apache-2.0 */
#include "server/certificates.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY_S 86400

static char folder[] = "/tmp/restante-test-certificates-XXXXXX";
static struct config *config;
static struct certificates loaded;
static struct error error;

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    return remove(path);
}

static void tear_down(void)
{
    certificates_unload(&loaded);
    config_free(&config);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(certificates, .init = set_up, .fini = tear_down);

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

/* NAME.pem and NAME.key for the host "NAME.example", good for `days`. */
static void make_pair(const char *name, unsigned days)
{
    char host[64], file[64];
    struct tls_pem pem;
    (void)snprintf(host, sizeof host, "%s.example", name);
    const char *const names[] = {host};
    cr_assert_eq(tls_self_signed(names, 1, days, &pem), STATUS_OK);
    (void)snprintf(file, sizeof file, "%s.pem", name);
    write_text(path_of(file), pem.certificate);
    (void)snprintf(file, sizeof file, "%s.key", name);
    write_text(path_of(file), pem.key);
    tls_pem_free(&pem);
}

/* The demo's configuration with lists of certificates and keys, and one more override or NULL. */
static void configure(const char *certificates, const char *keys, const char *override)
{
    char texts[2][512];
    (void)snprintf(texts[0], sizeof texts[0], "tls.certificate=%s", certificates);
    (void)snprintf(texts[1], sizeof texts[1], "tls.key=%s", keys);
    const char *overrides[] = {texts[0], texts[1], override};
    config_free(&config);
    cr_assert_eq(config_demo(folder, overrides, override != NULL ? 3 : 2, &config, &error),
                 STATUS_OK, "%s", error.text);
}

static void configure_demo(const char *override)
{
    config_free(&config);
    cr_assert_eq(config_demo(folder, &override, override != NULL, &config, &error), STATUS_OK);
}

static enum status load(const struct certificates *former)
{
    return certificates_load(config, 2, former, &loaded, &error);
}

Test(certificates, of_the_demo_are_made_once_and_for_their_owner_only)
{
    struct privileges privileges = {.changes = false};
    struct stat first, second;
    configure_demo(NULL);
    const char *key = config->tls.keys.items[0];
    cr_assert_eq(certificates_make_demo(config, &privileges, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(stat(key, &first), 0);
    cr_assert_eq(first.st_mode & 07777, 0600);
    cr_assert_eq(certificates_make_demo(config, &privileges, &error), STATUS_OK);
    cr_assert_eq(stat(key, &second), 0);
    cr_assert_eq(first.st_ino, second.st_ino);
    cr_assert_eq(first.st_mtim.tv_nsec, second.st_mtim.tv_nsec);
    cr_assert_eq(load(NULL), STATUS_OK, "%s", error.text);
    cr_assert_gt(certificates_expire_s(&loaded), time(NULL) + 800 * DAY_S);
}

Test(certificates, of_the_demo_that_cannot_be_written_are_said_so)
{
    struct privileges privileges = {.changes = false};
    configure(path_of("nowhere/a.pem"), path_of("nowhere/a.key"), NULL);
    cr_assert_eq(certificates_make_demo(config, &privileges, &error), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(error.path, "nowhere"));
}

Test(certificates, belong_to_the_protocols_that_have_tls)
{
    make_pair("one", 30);
    configure(path_of("one.pem"), path_of("one.key"), NULL);
    cr_assert_eq(load(NULL), STATUS_OK, "%s", error.text);
    cr_assert_not_null(loaded.servers[CONFIG_POP3]);
    cr_assert_null(loaded.servers[CONFIG_LMTP]);
    cr_assert_null(loaded.servers[CONFIG_METRICS]);
    certificates_unload(&loaded);
    cr_assert_null(loaded.servers[CONFIG_POP3]);
    configure(path_of("one.pem"), path_of("one.key"), "listener.lmtp.tls=starttls");
    cr_assert_eq(load(NULL), STATUS_OK, "%s", error.text);
    cr_assert_not_null(loaded.servers[CONFIG_LMTP]);
}

Test(certificates, that_end_first_are_told)
{
    char certificates[256], keys[256];
    make_pair("long", 300);
    make_pair("short", 3);
    (void)snprintf(certificates, sizeof certificates, "%s,%s", path_of("long.pem"),
                   path_of("short.pem"));
    (void)snprintf(keys, sizeof keys, "%s,%s", path_of("long.key"), path_of("short.key"));
    configure(certificates, keys, NULL);
    cr_assert_eq(load(NULL), STATUS_OK, "%s", error.text);
    int64_t expires_s = certificates_expire_s(&loaded);
    cr_assert_gt(expires_s, time(NULL) + 2 * DAY_S);
    cr_assert_lt(expires_s, time(NULL) + 4 * DAY_S);
    certificates_log_expiry(&loaded, time(NULL)); /* for who looks for memory faults */
    certificates_log_expiry(&loaded, time(NULL) + 10 * DAY_S);
}

Test(certificates, that_are_none_expire_never)
{
    cr_assert_eq(certificates_expire_s(&loaded), 0);
    certificates_log_expiry(&loaded, time(NULL));
    certificates_refresh(&loaded);
}

Test(certificates, that_are_bad_are_named_and_leave_nothing_behind)
{
    make_pair("one", 30);
    make_pair("two", 30);
    configure(path_of("missing.pem"), path_of("one.key"), "listener.lmtp.tls=starttls");
    cr_assert_neq(load(NULL), STATUS_OK);
    cr_assert_not_null(strstr(error.path, "missing.pem"), "%s", error.path);
    configure(path_of("one.pem"), path_of("two.key"), NULL);
    cr_assert_neq(load(NULL), STATUS_OK);
    write_text(path_of("one.pem"), "-----BEGIN CERTIFICATE-----\nnonsense\n");
    configure(path_of("one.pem"), path_of("one.key"), NULL);
    cr_assert_neq(load(NULL), STATUS_OK);
    cr_assert_null(loaded.servers[CONFIG_POP3]);
}

Test(certificates, of_a_name_of_its_own_are_read_with_the_others)
{
    char file[160], text[1024];
    make_pair("one", 30);
    make_pair("two", 30);
    (void)snprintf(file, sizeof file, "%s", path_of("restante.conf"));
    (void)snprintf(
        text, sizeof text,
        "store { path = \"%s\" }\n"
        "tls { certificate = \"%s/one.pem\" key = \"%s/one.key\"\n"
        "  sni \"other.example\" { certificate = \"%s/two.pem\" key = \"%s/two.key\" } }\n"
        "listener pop3s { protocol = pop3 address = \"127.0.0.1:0\" tls = implicit }\n",
        folder, folder, folder, folder, folder);
    write_text(file, text);
    cr_assert_eq(config_load(file, NULL, 0, &config, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(load(NULL), STATUS_OK, "%s", error.text);
    cr_assert_eq(tls_server_certificates(loaded.servers[CONFIG_POP3]), 2);
}

Test(certificates, are_replaced_while_the_former_ones_live_on)
{
    struct certificates former;
    make_pair("one", 30);
    configure(path_of("one.pem"), path_of("one.key"), NULL);
    cr_assert_eq(load(NULL), STATUS_OK, "%s", error.text);
    former = loaded;
    struct tls_server *held = tls_server_ref(former.servers[CONFIG_POP3]); /* a connection's */
    make_pair("one", 60);
    cr_assert_eq(load(&former), STATUS_OK, "%s", error.text);
    certificates_unload(&former);
    cr_assert_gt(tls_server_expires_s(loaded.servers[CONFIG_POP3]), tls_server_expires_s(held));
    tls_server_unref(&held);
}

Test(certificates, keep_their_ticket_keys_when_new_ones_cannot_be_read)
{
    char setting[160];
    static const char keys[160] = "two keys of eighty octets each";
    make_pair("one", 30);
    int fd = open(path_of("tickets"), O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, keys, sizeof keys), (ssize_t)sizeof keys);
    cr_assert_eq(close(fd), 0);
    (void)snprintf(setting, sizeof setting, "tls.ticket_key_file=%s", path_of("tickets"));
    configure(path_of("one.pem"), path_of("one.key"), setting);
    cr_assert_eq(load(NULL), STATUS_OK, "%s", error.text);
    write_text(path_of("tickets"), "too short");
    certificates_refresh(&loaded); /* logs it */
    cr_assert_not_null(loaded.servers[CONFIG_POP3]);
    cr_assert_eq(unlink(path_of("tickets")), 0);
    certificates_refresh(&loaded);
    certificates_unload(&loaded);
    cr_assert_neq(load(NULL), STATUS_OK, "a start without them is refused");
}
