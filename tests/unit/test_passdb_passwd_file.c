/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passdb_passwd_file.h"

#include "auth/auth.h"
#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>

#define CHECK_MS 5

static char folder[64], path[96];
static struct passdb *passdb;

/* What the file's thread has told. */
static struct {
    pthread_mutex_t lock;
    char changed[256];
    char events[1024];
    uint64_t line;
    sem_t read, unreadable;
} heard;

static void on_notice(void *owner, const struct auth_notice *notice)
{
    cr_assert_eq(owner, &heard);
    cr_expect_str_eq(notice->database, path);
    (void)pthread_mutex_lock(&heard.lock);
    size_t length = strlen(heard.events);
    (void)snprintf(heard.events + length, sizeof heard.events - length, "%s ", notice->event);
    heard.line = notice->line != 0 ? notice->line : heard.line;
    (void)pthread_mutex_unlock(&heard.lock);
    if (strcmp(notice->event, "passwd_file_read") == 0) {
        (void)sem_post(&heard.read);
    } else if (strcmp(notice->event, "passwd_file_unreadable") == 0) {
        (void)sem_post(&heard.unreadable);
    }
}

static void on_change(void *owner, const char *name)
{
    (void)pthread_mutex_lock(&heard.lock);
    size_t length = strlen(heard.changed);
    (void)snprintf(heard.changed + length, sizeof heard.changed - length, "%s ", name);
    (void)pthread_mutex_unlock(&heard.lock);
    (void)owner;
}

/* Puts another file in its place, as an editor does. */
static void replace(const char *text)
{
    char other[128];
    (void)snprintf(other, sizeof other, "%s.new", path);
    FILE *file = fopen(other, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(rename(other, path), 0);
}

static void start(void)
{
    stage_make_folder(folder);
    (void)snprintf(path, sizeof path, "%s/users", folder);
    (void)pthread_mutex_init(&heard.lock, NULL);
    (void)sem_init(&heard.read, 0, 0);
    (void)sem_init(&heard.unreadable, 0, 0);
}

static void stop(void)
{
    if (passdb != NULL) {
        passdb->ops->stop(passdb);
        passdb->ops->stop(passdb); /* harmless */
        passdb->ops->destroy(passdb);
    }
    stage_remove_folder(folder);
}

TestSuite(passdb_passwd_file, .init = start, .fini = stop);

static enum status open_file(void)
{
    const struct passdb_passwd_file_config config = {.path = path,
                                                     .default_domain = "localhost",
                                                     .on_notice = on_notice,
                                                     .owner = &heard,
                                                     .check_ms = CHECK_MS};
    struct error error = {0};
    enum status status = passdb_passwd_file_create(&config, &passdb, &error);
    cr_expect_eq(status == STATUS_OK, error.text[0] == '\0');
    if (status == STATUS_OK) {
        passdb->ops->watch(passdb, on_change, NULL);
    }
    return status;
}

static enum status find(const char *name, char out_credential[64])
{
    struct passdb_query query = {0};
    cr_assert_eq(identity_from_login(name, strlen(name), "localhost", &query.identity), STATUS_OK);
    enum status status = passdb->ops->find(passdb, &query);
    if (status == STATUS_OK) {
        (void)snprintf(out_credential, 64, "%.60s", query.account.credentials[0].text);
    }
    return status;
}

Test(passdb_passwd_file, answers_from_the_file)
{
    char credential[64];
    uint64_t count = 0;
    bool exists = false;
    replace("a:{PLAIN}1\nbad line\nb@x:{PLAIN}2\n");
    cr_assert_eq(open_file(), STATUS_OK);
    cr_expect_not(passdb->ops->may_block);
    cr_expect_eq(find("a", credential), STATUS_OK);
    cr_expect_str_eq(credential, "{PLAIN}1");
    cr_expect_eq(find("b", credential), STATUS_NOT_FOUND);
    cr_expect_eq(find("b@x", credential), STATUS_OK);
    cr_expect_eq(passdb->ops->count(passdb, &count), STATUS_OK);
    cr_expect_eq(count, 2);
    cr_expect_eq(passdb->ops->domain_exists(passdb, "x", 1, &exists), STATUS_OK);
    cr_expect(exists);
    cr_expect_str_eq(heard.events, "passwd_file_line passwd_file_read ");
    cr_expect_eq(heard.line, 2);
}

Test(passdb_passwd_file, takes_a_new_file_and_says_who_has_changed)
{
    char credential[64];
    replace("a:{PLAIN}1\nb:{PLAIN}2\n");
    cr_assert_eq(open_file(), STATUS_OK);
    (void)sem_wait(&heard.read);
    replace("a:{PLAIN}1\nb:{PLAIN}other\nc:{PLAIN}3\n");
    (void)sem_wait(&heard.read);
    cr_expect_eq(find("c", credential), STATUS_OK);
    cr_expect_eq(find("b", credential), STATUS_OK);
    cr_expect_str_eq(credential, "{PLAIN}other");
    (void)pthread_mutex_lock(&heard.lock);
    cr_expect(strstr(heard.changed, "b@localhost ") != NULL);
    cr_expect(strstr(heard.changed, "c@localhost ") != NULL);
    cr_expect(strstr(heard.changed, "a@localhost ") == NULL);
    (void)pthread_mutex_unlock(&heard.lock);
}

Test(passdb_passwd_file, goes_on_with_what_it_had_when_the_file_is_gone)
{
    char credential[64];
    replace("a:{PLAIN}1\n");
    cr_assert_eq(open_file(), STATUS_OK);
    (void)sem_wait(&heard.read);
    cr_assert_eq(unlink(path), 0);
    (void)sem_wait(&heard.unreadable);
    cr_expect_eq(find("a", credential), STATUS_OK);
    replace("a:{PLAIN}2\n");
    (void)sem_wait(&heard.read);
    cr_expect_eq(find("a", credential), STATUS_OK);
    cr_expect_str_eq(credential, "{PLAIN}2");
}

Test(passdb_passwd_file, a_file_that_cannot_be_read_is_no_start)
{
    cr_expect_eq(open_file(), STATUS_NOT_FOUND);
    cr_expect_null(passdb);
    (void)snprintf(path, sizeof path, "%s", folder);
    cr_expect_neq(open_file(), STATUS_OK);
}
