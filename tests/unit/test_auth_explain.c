/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth_explain.h"

#include "auth/account_alias.h"
#include "auth/auth_state.h"
#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>
#include <pthread.h>

static struct stage stage;
static struct auth_explanation explanation;

static void open_stage(void)
{
    struct account account;
    static struct alias alias = {
        .name = "post@localhost", .target_count = 1, .targets = {"demo@localhost"}};
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .name_separators = "%",
                                             .master_separator = '*'});
    stage_add_complete(&stage, "demo@localhost", 7);
    stage_make_account(&account, "shut@localhost", 8, STAGE_YESCRYPT);
    account.tls_required = true;
    cr_assert_eq(account_add(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    stage_make_account(&account, "admin@localhost", 0, STAGE_SECRET);
    (void)snprintf(account.credentials[0].text, sizeof account.credentials[0].text,
                   "{PLAIN}masterly");
    cr_assert_eq(account_master_add(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    cr_assert_eq(account_alias_set(auth_accounts(stage.auth), &alias, NULL), STATUS_OK);
}

static void close_stage(void)
{
    stage_close(&stage);
}

TestSuite(auth_explain, .init = open_stage, .fini = close_stage);

static enum auth_verdict explain(const char *name, const char *password, bool tls)
{
    struct address peer;
    cr_assert_eq(address_parse("192.0.2.1:1", &peer), STATUS_OK);
    const struct auth_question question = {.name = name,
                                           .name_length = strlen(name),
                                           .password = password,
                                           .password_length =
                                               password == NULL ? 0 : strlen(password),
                                           .peer = &peer,
                                           .tls = tls};
    auth_explain(stage.auth, &question, &explanation);
    for (uint32_t i = 0; i < explanation.count; i++) {
        cr_expect(password == NULL || strstr(explanation.steps[i].text, password) == NULL);
        cr_expect(strstr(explanation.steps[i].text, "$y$") == NULL);
    }
    return explanation.verdict;
}

/* The first step of that kind with that text in it. */
static const struct auth_explain_step *step_of(const char *what, const char *text)
{
    for (uint32_t i = 0; i < explanation.count; i++) {
        if (strcmp(explanation.steps[i].what, what) == 0 &&
            strstr(explanation.steps[i].text, text) != NULL) {
            return &explanation.steps[i];
        }
    }
    return NULL;
}

Test(auth_explain, a_right_password_is_followed_to_the_end)
{
    cr_expect_eq(explain("Demo", "secret", false), AUTH_OK);
    cr_expect_not_null(step_of("name", "demo@localhost"));
    cr_expect_not_null(step_of("database", "embedded"));
    cr_expect_not_null(step_of("credentials", "{CRYPT}"));
    cr_expect_not_null(step_of("credentials", "{SCRAM-SHA-256}"));
    cr_expect_not_null(step_of("terms", "open"));
    cr_expect_not_null(step_of("maildrop", "number 7"));
    cr_expect_not_null(step_of("cache", "nothing"));
    cr_expect_not_null(step_of("penalty", "demo@localhost"));
    cr_expect_not_null(step_of("password", "right"));
    cr_expect_not_null(step_of("verdict", "ok"));
}

Test(auth_explain, a_wrong_one_leaves_no_trace)
{
    struct auth_numbers numbers;
    cr_expect_eq(explain("demo", "mistaken", false), AUTH_FAILED);
    cr_expect_not(step_of("password", "wrong")->is_good);
    cr_expect_eq(explain("demo", "mistaken", false), AUTH_FAILED);
    cr_expect_not_null(step_of("cache", "nothing"));
    auth_numbers(stage.auth, &numbers);
    cr_expect_eq(numbers.penalised_prefixes + numbers.cache_entries + numbers.hashes, 0);
}

Test(auth_explain, without_a_password_it_says_what_is_known)
{
    cr_expect_eq(explain("demo", NULL, false), AUTH_PENDING);
    cr_expect_null(step_of("password", ""));
    cr_expect_eq(explain("nobody", NULL, false), AUTH_FAILED);
    cr_expect_not_null(step_of("account", "none"));
    cr_expect_eq(explain("no body", NULL, false), AUTH_FAILED);
    cr_expect_not_null(step_of("name", "malformed"));
    cr_expect_eq(explain("post", NULL, false), AUTH_FAILED);
    cr_expect_not_null(step_of("alias", "demo@localhost"));
}

Test(auth_explain, the_terms_are_the_connections)
{
    cr_expect_eq(explain("shut", "secret", false), AUTH_DISABLED);
    cr_expect_not(step_of("terms", "TLS")->is_good);
    cr_expect_eq(explain("shut", "secret", true), AUTH_OK);
    cr_expect_eq(explain("shut", "mistaken", false), AUTH_FAILED);
}

Test(auth_explain, a_master_shows_his_own_password)
{
    cr_expect_eq(explain("shut*admin", "masterly", false), AUTH_OK);
    cr_expect_not_null(step_of("master", "admin@localhost"));
    cr_expect_eq(explain("demo*admin", "secret", false), AUTH_FAILED);
    cr_expect_eq(explain("demo*other", "masterly", false), AUTH_FAILED);
    cr_expect_not_null(step_of("master", "no master"));
    cr_expect_eq(explain("nobody*admin", "masterly", false), AUTH_FAILED);
}

static void on_verdict(struct auth_request *request, enum auth_verdict verdict)
{
    (void)request;
    cr_expect_eq(verdict, AUTH_OK);
}

Test(auth_explain, tells_what_the_cache_remembers)
{
    struct auth_request request = {.client = &stage.client, .on_verdict = on_verdict};
    cr_assert_eq(auth_login(&request, "demo", 4, "secret", 6), AUTH_PENDING);
    while (stage.client.inflight > 0) {
        loop_turn(stage.loop, -1);
    }
    cr_expect_eq(explain("demo", "secret", false), AUTH_OK);
    cr_expect_not_null(step_of("cache", "as right"));
    auth_forget(stage.auth, NULL);
    cr_expect_eq(explain("demo", "secret", false), AUTH_OK);
    cr_expect_not_null(step_of("cache", "nothing"));
}

/* A database that keeps its questions. */
static struct passdb_query *kept;

static enum status keep_question(struct passdb *passdb, struct passdb_query *query)
{
    (void)passdb;
    kept = query;
    return STATUS_PENDING;
}

static enum status no_count(struct passdb *passdb, uint64_t *out_count)
{
    (void)passdb;
    *out_count = 0;
    return STATUS_OK;
}

Test(auth_explain, does_not_wait_for_ever_for_a_database)
{
    static const struct passdb_ops ops = {
        .name = "silent", .may_block = true, .find = keep_question, .count = no_count};
    static struct passdb silent = {.ops = &ops};
    stage_close(&stage);
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .sources = STAGE_ONLY(&silent),
                                             .source_count = 1});
    cr_assert_eq(explain("demo", "secret", true), AUTH_UNAVAILABLE);
    cr_assert_not_null(step_of("database", "silent, cannot tell (timeout)"));
    /* Its answer comes after all, and nobody is there any more; who looks for leaks would see. */
    cr_assert_not_null(kept);
    kept->on_answer(kept, STATUS_NOT_FOUND);
}
