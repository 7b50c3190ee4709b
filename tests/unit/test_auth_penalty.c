/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth_penalty.h"

#include "auth/auth_state.h"
#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>

static struct stage stage;

static void open_stage(void)
{
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost", .hash_threads = 1});
    stage_add_complete(&stage, "demo@localhost", 7);
}

static void close_stage(void)
{
    stage_close(&stage);
}

TestSuite(auth_penalty, .init = open_stage, .fini = close_stage);

static void on_verdict(struct auth_request *request, enum auth_verdict verdict)
{
    (void)request;
    (void)verdict;
}

/* A failure, and how long it is held back; the reply is not waited for. */
static uint32_t fail(const char *peer, const char *name, const char *password)
{
    struct address address;
    struct auth_request request = {
        .client = &stage.client, .on_verdict = on_verdict, .peer = &address};
    cr_assert_eq(address_parse(peer, &address), STATUS_OK);
    (void)!auth_login(&request, name, strlen(name), password, strlen(password));
    while (stage.client.inflight > 0) {
        loop_turn(stage.loop, -1);
    }
    auth_cancel(&request);
    return request.delay_ms;
}

/* Tries `count` passwords, each from another prefix. */
static uint32_t try_from_many(const char *name, unsigned count)
{
    uint32_t delay_ms = 0;
    for (unsigned i = 0; i < count; i++) {
        char peer[32], password[32];
        (void)snprintf(peer, sizeof peer, "198.51.100.%u:1", i);
        (void)snprintf(password, sizeof password, "guess%u", i);
        delay_ms = fail(peer, name, password);
    }
    return delay_ms;
}

Test(auth_penalty, one_account_tried_from_many_prefixes_is_slowed)
{
    cr_expect_eq(try_from_many("demo", AUTH_THROTTLE_FREE + 1), 2000);
    cr_expect_eq(fail("203.0.113.1:1", "demo", "another"), 4000);
    cr_expect_eq(fail("203.0.113.2:1", "other", "another"), 2000); /* its prefix alone */
    cr_expect_eq(fail("203.0.113.3:1", "no body", "another"), 2000);
    /* A stranger alike. */
    cr_expect_eq(try_from_many("nobody", AUTH_THROTTLE_FREE + 4), 15000);
}

Test(auth_penalty, its_owner_is_never_locked_out)
{
    struct address peer;
    struct auth_request request = {
        .client = &stage.client, .on_verdict = on_verdict, .peer = &peer};
    cr_expect_eq(try_from_many("demo", AUTH_THROTTLE_FREE + 4), 15000);
    cr_assert_eq(address_parse("203.0.113.1:1", &peer), STATUS_OK);
    (void)!auth_login(&request, "demo", 4, "secret", 6);
    while (stage.client.inflight > 0) {
        loop_turn(stage.loop, -1);
    }
    cr_expect_eq(request.delay_ms, 0);
    cr_expect_not(deadline_armed(&request.own.delay));
    cr_expect_eq(request.identity.drop.id, 7);
}

Test(auth_penalty, all_are_listed)
{
    struct auth_penalty list[16];
    (void)fail("192.0.2.7:1", "demo", "a");
    (void)fail("192.0.2.7:1", "demo", "b");
    (void)fail("[2001:db8:1:2::3]:1", "demo", "c");
    cr_expect_eq(auth_penalties(stage.auth, list, 16), 2);
    for (size_t i = 0; i < 2; i++) {
        bool is_v4 = strcmp(list[i].who, "192.0.2.7") == 0;
        cr_expect(is_v4 || strcmp(list[i].who, "2001:db8:1::/48") == 0, "%s", list[i].who);
        cr_expect_eq(list[i].delay_ms, is_v4 ? 4000 : 2000);
        cr_expect_eq(list[i].failures, is_v4 ? 2 : 1);
        cr_expect_not(list[i].is_account);
        cr_expect_geq(list[i].age_ms, 0);
    }
    cr_expect_eq(try_from_many("demo", 4), 4000);
    cr_expect_eq(auth_penalties(stage.auth, list, 16), 7);
    cr_expect(list[6].is_account);
    cr_expect_str_eq(list[6].who, "demo@localhost");
    cr_expect_eq(auth_penalties(stage.auth, list, 1), 7); /* says how many there are */
}

Test(auth_penalty, they_can_be_cleared)
{
    (void)fail("192.0.2.7:1", "x", "a");
    (void)fail("[2001:db8:1:2::3]:1", "x", "b");
    (void)try_from_many("demo", AUTH_THROTTLE_FREE + 1);
    cr_expect_eq(auth_penalty_clear(stage.auth, "192.0.2.7"), 1);
    cr_expect_eq(auth_penalty_clear(stage.auth, "192.0.2.7"), 0);
    cr_expect_eq(auth_penalty_clear(stage.auth, "2001:db8:1::/48"), 1);
    cr_expect_eq(auth_penalty_clear(stage.auth, "Demo"), 1);
    cr_expect_eq(auth_penalty_clear(stage.auth, "no body"), 0);
    cr_expect_eq(fail("192.0.2.7:1", "demo", "c"), 2000);
    cr_expect_gt(auth_penalty_clear(stage.auth, NULL), AUTH_THROTTLE_FREE);
    cr_expect_eq(auth_penalties(stage.auth, NULL, 0), 0);
}
