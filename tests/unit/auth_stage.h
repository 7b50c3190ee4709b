/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of auth/ stand on: a folder of its own, accounts in it, a loop with a box, and a
 * client. All of it in one struct, so that one call sets it up and one takes it down.
 */
#ifndef TESTS_UNIT_AUTH_STAGE_H
#define TESTS_UNIT_AUTH_STAGE_H

#include "auth/account.h"
#include "auth/auth.h"
#include "io/loop.h"
#include "io/post.h"

#include <assert.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAGE_SECRET \
    "{SSHA256}as8iKPC7XcVeVGEaviMbcwqpkmL5zLNg4RjSNGla7VNwZXBwZXIhIQ==" /* "secret" */

/* The same in the credentials that a login would add: such an account is left as it is. Cheap. */
#define STAGE_YESCRYPT \
    "{CRYPT}$y$j75$F5Jx5fExrKuPp53xLKQ..1$l5YiXCKNY/N9ezall4xjJAFS/wg.kWVcFXfOzyxVn1."
#define STAGE_SCRAM                                 \
    "{SCRAM-SHA-256}4096,c2FsdCBvZiBhIHRlc3QhIQ==," \
    "sf3EocrOUYdXH2JN73l6jn099WVJYMKpxlqezuL5sF0=," \
    "wVy/Fcof6asPM5bVONmOsyE4drylXXYlTvM6Lnokahc="
#define STAGE_SCRAM_SHA_1                                                      \
    "{SCRAM-SHA-1}4096,c2FsdCBvZiBhIHRlc3QhIQ==,7xF2kVHZpwf8lzaO9oj/D82nt3w=," \
    "dBMboCBG5/bJwrBlLz733DLNXQo="

/* For a config: the one database that is asked. */
#define STAGE_ONLY(database) \
    (&(struct auth_source){.kind = AUTH_SOURCE_PASSDB, .passdb = (database)})

struct stage {
    char folder[64];
    char accounts[96];
    struct auth *auth;
    struct loop *loop;
    struct post_box box;
    struct auth_client client;
};

static inline void stage_make_folder(char out_folder[64])
{
    (void)snprintf(out_folder, 64, "%s", "/tmp/restante-auth-XXXXXX");
    char *made = mkdtemp(out_folder);
    assert(made != NULL);
    (void)made;
}

/* Removes a folder of plain files. */
static inline void stage_remove_folder(const char *folder)
{
    char path[512];
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
            (void)unlink(path); /* what stays behind fails the rmdir below */
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    (void)rmdir(folder);
}

static inline void stage_on_wake(void *owner)
{
    (void)post_run(&((struct stage *)owner)->box);
}

/* The loop and the client of `stage->auth`. */
static inline void stage_open_client(struct stage *stage)
{
    const struct loop_config config = {
        .kind = LOOP_EPOLL, .on_wake = stage_on_wake, .owner = stage};
    enum status status = loop_create(&config, &stage->loop, NULL);
    assert(status == STATUS_OK);
    (void)status;
    post_box_init_loop(&stage->box, stage->loop);
    auth_client_init(&stage->client, stage->auth, stage->loop, &stage->box);
}

static inline void stage_close_client(struct stage *stage)
{
    while (stage->client.inflight > 0) {
        loop_turn(stage->loop, -1);
    }
    post_box_deinit(&stage->box);
    loop_destroy(&stage->loop);
}

/* Opens auth with `config` (its path is set here) and a client. */
static inline void stage_open(struct stage *stage, const struct auth_config *config)
{
    struct auth_config own = *config;
    struct error error = {0};
    stage_make_folder(stage->folder);
    (void)snprintf(stage->accounts, sizeof stage->accounts, "%s/accounts", stage->folder);
    own.accounts_path = stage->accounts;
    enum status status = auth_open(&own, &stage->auth, &error);
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "%s: %s %s\n", status_name(status), error.path, error.text);
    }
    assert(status == STATUS_OK);
    stage_open_client(stage);
}

static inline void stage_close(struct stage *stage)
{
    stage_close_client(stage);
    auth_close(&stage->auth);
    stage_remove_folder(stage->accounts);
    stage_remove_folder(stage->folder);
}

/* An account that is not in the database yet. */
static inline void stage_make_account(struct account *account, const char *name, uint64_t id,
                                      const char *credential)
{
    *account = (struct account){.drop = {.id = id}};
    (void)snprintf(account->name, sizeof account->name, "%s", name);
    enum status status = account_set_credential(account, credential);
    assert(status == STATUS_OK);
    (void)status;
}

static inline void stage_add(struct stage *stage, const char *name, uint64_t id,
                             const char *credential)
{
    struct account account;
    stage_make_account(&account, name, id, credential);
    enum status status = account_add(auth_accounts(stage->auth), &account, NULL);
    assert(status == STATUS_OK);
    (void)status;
}

/* An account with the password "secret" that lacks nothing. */
static inline void stage_add_complete(struct stage *stage, const char *name, uint64_t id)
{
    struct account account;
    stage_make_account(&account, name, id, STAGE_YESCRYPT);
    (void)snprintf(account.credentials[1].text, sizeof account.credentials[1].text, STAGE_SCRAM);
    (void)snprintf(account.credentials[2].text, sizeof account.credentials[2].text,
                   STAGE_SCRAM_SHA_1);
    account.credential_count = 3;
    enum status status = account_add(auth_accounts(stage->auth), &account, NULL);
    assert(status == STATUS_OK);
    (void)status;
}

#endif
