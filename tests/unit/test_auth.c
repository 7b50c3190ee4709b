/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"

#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>

static const struct auth_config usual = {.default_domain = "localhost", .hash_threads = 1};

Test(auth, opens_an_empty_folder_and_closes)
{
    struct stage stage;
    stage_open(&stage, &usual);
    struct auth_numbers numbers;
    auth_numbers(stage.auth, &numbers);
    cr_expect_eq(numbers.accounts, 0);
    cr_expect_not_null(auth_accounts(stage.auth));
    stage_add(&stage, "a@x", 1, STAGE_SECRET);
    auth_numbers(stage.auth, &numbers);
    cr_expect_eq(numbers.accounts, 1);
    stage_close(&stage);
    cr_expect_null(stage.auth);
    auth_close(&stage.auth);
}

Test(auth, takes_its_defaults_for_zeros)
{
    struct stage stage;
    stage_open(&stage, &(struct auth_config){0});
    stage_close(&stage);
    stage_open(&stage, &(struct auth_config){.hash_threads = 100000,
                                             .cache_entries_max = 1,
                                             .cache_ttl_s = UINT32_MAX});
    stage_close(&stage);
}

Test(auth, says_what_it_cannot_open)
{
    struct auth *auth = NULL;
    struct error error = {0};
    struct auth_config config = usual;
    config.accounts_path = "/nonexistent/accounts";
    cr_expect_neq(auth_open(&config, &auth, &error), STATUS_OK);
    cr_expect_null(auth);
    cr_expect_str_eq(error.path, "/nonexistent/accounts");
    char domain[300];
    memset(domain, 'd', sizeof domain - 1);
    domain[sizeof domain - 1] = '\0';
    config.default_domain = domain;
    cr_expect_eq(auth_open(&config, &auth, &error), STATUS_INVALID);
}

static void ignore(struct auth_request *request, enum auth_verdict verdict)
{
    (void)request;
    (void)verdict;
}

Test(auth, forgets_one_name_or_all)
{
    static const char *const forgets[] = {"demo@localhost", NULL};
    struct stage stage;
    stage_open(&stage, &usual);
    stage_add(&stage, "demo@localhost", 1, STAGE_SECRET);
    struct auth_request request = {.client = &stage.client, .on_verdict = ignore};
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(auth_login(&request, "demo", 4, "secret", 6), AUTH_PENDING);
        while (stage.client.inflight > 0) {
            loop_turn(stage.loop, -1);
        }
        auth_forget(stage.auth, forgets[i]);
    }
    cr_expect_eq(auth_login(&request, "demo", 4, "secret", 6), AUTH_PENDING);
    auth_cancel(&request);
    stage_close(&stage);
}

Test(auth, names_every_verdict)
{
    for (int verdict = 0; verdict < AUTH_VERDICTS; verdict++) {
        cr_expect_not_null(auth_verdict_name((enum auth_verdict)verdict));
    }
    cr_expect_str_eq(auth_verdict_name(AUTH_OK), "ok");
    cr_expect_str_eq(auth_verdict_name(AUTH_FAILED), "failed");
    cr_expect_str_eq(auth_verdict_name(AUTH_VERDICTS), "invalid");
}
