/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account_alias.h"
#include "auth/account_drop.h"
#include "auth/auth_state.h"
#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>
#include <ftw.h>

static struct stage stage;
static struct store *store;
static struct store_client store_client;
static char store_path[64], users[96];

/* A login or a look-up, and what came of it. */
struct probe {
    struct auth_request request;
    struct auth_lookup lookup;
    enum auth_verdict verdict;
    enum status status;
    unsigned answers;
};

static void on_verdict(struct auth_request *request, enum auth_verdict verdict)
{
    struct probe *probe = list_entry(request, struct probe, request);
    probe->verdict = verdict;
    probe->answers++;
}

static void on_done(struct auth_lookup *lookup, enum status status)
{
    struct probe *probe = list_entry(lookup, struct probe, lookup);
    probe->status = status;
    probe->answers++;
}

static void open_stage(void)
{
    struct error error = {0};
    stage_make_folder(store_path);
    (void)snprintf(users, sizeof users, "%s/users", store_path);
    FILE *file = fopen(users, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs("a:" STAGE_YESCRYPT "\nb:" STAGE_YESCRYPT "\n", file), 0);
    cr_assert_eq(fclose(file), 0);
    const struct auth_source sources[] = {{.kind = AUTH_SOURCE_EMBEDDED},
                                          {.kind = AUTH_SOURCE_PASSWD_FILE, .path = users}};
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .sources = sources,
                                             .source_count = 2});
    char path[96];
    (void)snprintf(path, sizeof path, "%s/store", store_path);
    cr_assert_eq(mkdir(path, 0700), 0);
    const struct store_config config = {.path = path};
    cr_assert_eq(store_open(&config, &store, &error), STATUS_OK, "%s", error.text);
    store_client_init(&store_client, store, stage.loop, &stage.box);
    auth_provide_drops(stage.auth, &store_client);
}

static int on_entry(const char *path, const struct stat *facts, int kind, struct FTW *place)
{
    (void)facts;
    (void)kind;
    (void)place;
    return remove(path);
}

static void close_stage(void)
{
    auth_provide_drops(stage.auth, NULL);
    while (store_client.inflight > 0 || stage.client.inflight > 0) {
        loop_turn(stage.loop, -1);
    }
    store_close(&store);
    stage_close(&stage);
    (void)nftw(store_path, on_entry, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(auth_drop, .init = open_stage, .fini = close_stage);

static void begin_login(struct probe *probe, const char *name, const char *password)
{
    *probe = (struct probe){.request = {.client = &stage.client, .on_verdict = on_verdict}};
    probe->verdict = auth_login(&probe->request, name, strlen(name), password, strlen(password));
}

static void begin_lookup(struct probe *probe, const char *address)
{
    *probe = (struct probe){.lookup = {.client = &stage.client, .on_done = on_done}};
    probe->status = auth_find_recipient(&probe->lookup, address, strlen(address));
}

static void turn(void)
{
    while (stage.client.inflight > 0) {
        loop_turn(stage.loop, -1);
    }
}

Test(auth_drop, whoever_logs_in_first_gets_a_maildrop_and_keeps_it)
{
    struct probe probe;
    struct store_drop drop;
    begin_login(&probe, "a", "secret");
    cr_assert_eq(probe.verdict, AUTH_PENDING);
    turn();
    cr_assert_eq(probe.verdict, AUTH_OK);
    cr_expect_eq(probe.answers, 1);
    cr_assert(drop_is_known(&probe.request.identity.drop));
    cr_assert_eq(account_drop_find(auth_accounts(stage.auth), "a@localhost", &drop), STATUS_OK);
    cr_expect_eq(drop.id, probe.request.identity.drop.id);
    begin_login(&probe, "a", "secret");
    cr_expect_eq(probe.verdict, AUTH_OK);
    cr_expect_eq(drop.id, probe.request.identity.drop.id);
}

Test(auth_drop, a_wrong_password_makes_none)
{
    struct probe probe;
    struct store_drop drop;
    begin_login(&probe, "a", "wrong");
    turn();
    auth_cancel(&probe.request);
    cr_expect_eq(account_drop_find(auth_accounts(stage.auth), "a@localhost", &drop),
                 STATUS_NOT_FOUND);
}

Test(auth_drop, whoever_is_sent_something_gets_one)
{
    struct probe probe;
    struct store_drop drop;
    begin_lookup(&probe, "a@localhost");
    cr_assert_eq(probe.status, STATUS_PENDING);
    turn();
    cr_assert_eq(probe.status, STATUS_OK);
    cr_expect_str_eq(probe.lookup.identity.name, "a@localhost");
    drop = probe.lookup.identity.drop;
    begin_lookup(&probe, "a@localhost");
    cr_assert_eq(probe.status, STATUS_OK);
    cr_expect_eq(probe.lookup.identity.drop.id, drop.id);
    begin_lookup(&probe, "nobody@localhost");
    cr_expect_eq(probe.status, STATUS_NOT_FOUND);
}

Test(auth_drop, two_at_once_get_the_same)
{
    struct probe probes[4];
    for (size_t i = 0; i < 4; i++) {
        begin_lookup(&probes[i], "b@localhost");
        cr_assert_eq(probes[i].status, STATUS_PENDING);
    }
    auth_lookup_cancel(&probes[1].lookup);
    turn();
    cr_expect_eq(probes[1].answers, 0);
    for (size_t i = 0; i < 4; i++) {
        if (i != 1) {
            cr_assert_eq(probes[i].status, STATUS_OK);
            cr_expect_eq(probes[i].lookup.identity.drop.id, probes[0].lookup.identity.drop.id);
        }
    }
}

Test(auth_drop, all_of_an_alias_get_theirs)
{
    static struct alias alias = {.name = "all@localhost",
                                 .target_count = 3,
                                 .targets = {"a@localhost", "gone@localhost", "b@localhost"}};
    struct probe probe;
    cr_assert_eq(account_alias_set(auth_accounts(stage.auth), &alias, NULL), STATUS_OK);
    begin_lookup(&probe, "all");
    turn();
    cr_assert_eq(probe.status, STATUS_OK);
    cr_expect_str_eq(probe.lookup.identity.name, "a@localhost");
    cr_assert_eq(probe.lookup.other_count, 1);
    cr_expect_str_eq(probe.lookup.others[0].name, "b@localhost");
    cr_expect(drop_is_known(&probe.lookup.others[0].drop));
    cr_expect_neq(probe.lookup.others[0].drop.id, probe.lookup.identity.drop.id);
    auth_lookup_clear(&probe.lookup);
    auth_lookup_clear(&probe.lookup);
}

Test(auth_drop, a_request_may_be_given_up_while_it_is_made)
{
    struct probe probe;
    struct store_drop drop;
    begin_login(&probe, "a", "secret");
    while (probe.request.own.drop == NULL) {
        loop_turn(stage.loop, -1);
    }
    auth_cancel(&probe.request);
    auth_cancel(&probe.request);
    turn();
    cr_expect_eq(probe.answers, 0);
    cr_expect_eq(account_drop_find(auth_accounts(stage.auth), "a@localhost", &drop), STATUS_OK);
}

Test(auth_drop, without_a_provider_it_is_for_later)
{
    struct probe probe;
    auth_provide_drops(stage.auth, NULL);
    begin_login(&probe, "a", "secret");
    turn();
    cr_expect_eq(probe.verdict, AUTH_UNAVAILABLE);
    begin_lookup(&probe, "a@localhost");
    cr_expect_eq(probe.status, STATUS_IO);
    auth_provide_drops(stage.auth, &store_client);
    begin_login(&probe, "a", "secret");
    turn();
    cr_expect_eq(probe.verdict, AUTH_OK);
}
