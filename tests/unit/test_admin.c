/* SPDX-License-Identifier: Apache-2.0 */
/* The admin thread and its protocol, on a store of its own in a temporary folder. */
#include "server/admin_client.h"
#include "server/server_limits.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/restante-test-admin-XXXXXX";
static struct config *config;
static struct admin_client *client;

static void open_store(void)
{
    struct error error = {.status = STATUS_OK};
    cr_assert_eq(admin_client_open(config, &client, &error), STATUS_OK, "%s", error.text);
}

static void setup(void)
{
    struct error error = {.status = STATUS_OK};
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(config_demo(folder, NULL, 0, &config, &error), STATUS_OK, "%s", error.text);
    open_store();
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    return remove(path);
}

static void teardown(void)
{
    admin_client_close(&client);
    config_free(&config);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(admin, .init = setup, .fini = teardown);

static void begin(struct doc *request, const char *command, const char *name)
{
    doc_object(request);
    doc_put_text(request, "command", command);
    doc_put_text(request, "name", name);
}

/* Asks and returns the status; the answer is thrown away, `error` keeps the sentence. */
static enum status ask(const char *command, const char *name, const char *data, struct error *error)
{
    struct doc request, answer;
    begin(&request, command, name);
    enum status status =
        admin_client_ask(client, &request, data, data != NULL ? strlen(data) : 0, &answer, error);
    if (status == STATUS_OK) {
        doc_free(&answer);
    }
    return status;
}

static void add_user(const char *name, const char *credential)
{
    struct doc request, answer;
    struct error error = {.status = STATUS_OK};
    begin(&request, "user_add", name);
    doc_put_text(&request, "credential", credential);
    cr_assert_eq(admin_client_ask(client, &request, NULL, 0, &answer, &error), STATUS_OK, "%s",
                 error.text);
    doc_free(&answer);
}

static uint64_t number_of(const char *command, const char *name, const char *key)
{
    struct doc request, answer;
    struct error error = {.status = STATUS_OK};
    begin(&request, command, name);
    cr_assert_eq(admin_client_ask(client, &request, NULL, 0, &answer, &error), STATUS_OK, "%s",
                 error.text);
    uint64_t number = doc_number(&answer, key, UINT64_MAX);
    doc_free(&answer);
    return number;
}

Test(admin, a_user_is_added_shown_changed_and_removed)
{
    struct error error = {.status = STATUS_OK};
    cr_expect_eq(ask("user_add", "Anna", "secret word", &error), STATUS_OK, "%s", error.text);
    cr_expect_eq(number_of("user_show", "anna@localhost", "messages"), 0);
    cr_expect_eq(ask("user_add", "anna", "other", &error), STATUS_EXISTS);
    cr_expect_eq(ask("user_passwd", "anna", "other", &error), STATUS_OK);
    cr_expect_eq(ask("deliver", "anna", "Subject: x\n\nbody\n", &error), STATUS_OK);
    cr_expect_eq(ask("user_del", "anna", NULL, &error), STATUS_OK, "%s", error.text);
    cr_expect_eq(ask("user_show", "anna", NULL, &error), STATUS_NOT_FOUND);
    cr_expect_eq(ask("user_add", "anna", "secret word", &error), STATUS_OK);
    cr_expect_eq(number_of("user_show", "anna", "messages"), 0, "the mail went with the account");
}

Test(admin, names_and_passwords_that_cannot_be_are_refused)
{
    struct error error = {.status = STATUS_OK};
    cr_expect_eq(ask("user_add", "two words", "pw", &error), STATUS_INVALID);
    cr_expect_eq(ask("user_add", "a@b@c", "pw", &error), STATUS_INVALID);
    cr_expect_eq(ask("user_add", "empty", NULL, &error), STATUS_INVALID);
    cr_expect_eq(ask("user_add", NULL, "pw", &error), STATUS_INVALID);
    char longer[ADMIN_PAYLOAD_MAX + 2];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cr_expect_eq(ask("user_add", "long", longer, &error), STATUS_TOO_BIG);
    longer[ADMIN_PAYLOAD_MAX] = '\0';
    cr_expect_eq(ask("user_add", "long", longer, &error), STATUS_INVALID);
    cr_expect_eq(ask("user_show", "long", NULL, &error), STATUS_NOT_FOUND);
    cr_expect_eq(ask("conquer", NULL, "octets that are skipped", &error), STATUS_UNSUPPORTED);
    cr_expect_eq(ask("health", NULL, NULL, &error), STATUS_OK, "the connection goes on");
}

Test(admin, the_list_comes_in_pages)
{
    char last[64] = "";
    unsigned seen = 0;
    for (int i = 0; i < 5; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "u%d", i);
        add_user(name, "{PLAIN}x");
    }
    for (;;) {
        struct doc request, answer, users, user;
        struct error error = {.status = STATUS_OK};
        begin(&request, "user_list", NULL);
        doc_put_text(&request, "after", last);
        doc_put_number(&request, "limit", 2);
        cr_assert_eq(admin_client_ask(client, &request, NULL, 0, &answer, &error), STATUS_OK);
        cr_assert(doc_member(&answer, "users", &users));
        unsigned page = 0;
        for (; doc_item(&users, page, &user); page++) {
            cr_assert_lt(strcmp(last, doc_text(&user, "name")), 0, "ascending");
            (void)snprintf(last, sizeof last, "%s", doc_text(&user, "name"));
        }
        doc_free(&answer);
        cr_assert_leq(page, 2);
        seen += page;
        if (page == 0) {
            break;
        }
    }
    cr_expect_eq(seen, 5);
}

Test(admin, answers_to_requests_sent_ahead_come_in_order)
{
    struct error error = {.status = STATUS_OK};
    add_user("anna", "{PLAIN}x");
    for (unsigned i = 0; i < ADMIN_WINDOW; i++) {
        struct doc request;
        /* Every third is refused at once, the others wait for the disk. */
        begin(&request, i % 3 == 2 ? "user_show" : "deliver", i % 3 == 2 ? "nobody" : "anna");
        const char *data = i % 3 == 2 ? "" : "Subject: x\n\nbody\n";
        cr_assert_eq(admin_client_send(client, &request, data, strlen(data), &error), STATUS_OK);
        doc_free(&request);
    }
    uint64_t uid = 0;
    for (unsigned i = 0; i < ADMIN_WINDOW; i++) {
        struct doc answer;
        cr_assert_eq(admin_client_receive(client, &answer, &error), STATUS_OK, "%s", error.text);
        cr_expect_eq(doc_bool(&answer, "ok"), i % 3 != 2, "answer %u", i);
        if (i % 3 != 2) {
            cr_expect_gt(doc_number(&answer, "uid", 0), uid, "in the order they were sent");
            uid = doc_number(&answer, "uid", 0);
        }
        doc_free(&answer);
    }
    cr_expect_eq(number_of("user_show", "anna", "messages"), ADMIN_WINDOW - ADMIN_WINDOW / 3);
}

Test(admin, a_message_for_nobody_is_skipped_whole)
{
    struct error error = {.status = STATUS_OK};
    size_t length = 300000;
    char *data = malloc(length + 1);
    cr_assert_not_null(data);
    memset(data, '\n', length);
    memcpy(data, "{\"command\":\"user_del\"}\n", 23);
    data[length] = '\0';
    cr_expect_eq(ask("deliver", "nobody", data, &error), STATUS_NOT_FOUND);
    cr_expect_eq(ask("health", NULL, NULL, &error), STATUS_OK);
    free(data);
}

Test(admin, a_large_message_arrives_and_one_too_large_is_refused)
{
    struct error error = {.status = STATUS_OK};
    size_t length = 70u << 20;
    char *data = malloc(length + 1);
    cr_assert_not_null(data);
    add_user("anna", "{PLAIN}x");
    for (size_t i = 0; i < length; i += 64) {
        memset(data + i, 'x', 63);
        data[i + 63] = '\n';
    }
    data[length] = '\0';
    cr_expect_eq(ask("deliver", "anna", data, &error), STATUS_TOO_BIG, "%s", error.text);
    data[5u << 20] = '\0';
    cr_expect_eq(ask("deliver", "anna", data, &error), STATUS_OK, "%s", error.text);
    cr_expect_eq(number_of("user_show", "anna", "messages"), 1);
    free(data);
}

Test(admin, what_was_acknowledged_is_there_after_a_restart)
{
    struct error error = {.status = STATUS_OK};
    add_user("anna", "{PLAIN}x");
    cr_assert_eq(ask("deliver", "anna", "Subject: x\n\nbody\n", &error), STATUS_OK);
    admin_client_close(&client);
    open_store();
    cr_expect_eq(number_of("user_show", "anna", "messages"), 1);
    cr_expect_eq(ask("checkpoint", NULL, NULL, &error), STATUS_OK);
    cr_expect_eq(number_of("stat", NULL, "messages"), 1);
}

Test(admin, a_store_is_opened_once)
{
    struct admin_client *second = NULL;
    struct error error = {.status = STATUS_OK};
    cr_expect_eq(admin_client_open(config, &second, &error), STATUS_BUSY);
    cr_expect_not_null(strstr(error.text, "--socket"), "%s", error.text);
}

Test(admin, a_socket_without_a_server_says_what_to_do)
{
    struct admin_client *second = NULL;
    struct error error = {.status = STATUS_OK};
    cr_expect_eq(admin_client_connect("/nonexistent/admin.sock", &second, &error),
                 STATUS_NOT_FOUND);
    cr_expect_not_null(strstr(error.text, "start restanted"));
}
