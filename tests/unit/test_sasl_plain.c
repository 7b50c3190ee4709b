/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/sasl.h"

#include "tests/unit/sasl_probe.h"

#include <criterion/criterion.h>

static const struct auth_policy policy = {.plaintext_without_tls = true};
static struct stage stage;
static struct probe probe;

static void open_stage(void)
{
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .exempt_loopback = true});
    stage_add_complete(&stage, "demo@localhost", 3);
    probe_init(&probe, &stage, &policy, NULL);
}

static void close_stage(void)
{
    auth_cancel(&probe.request);
    stage_close(&stage);
}

TestSuite(sasl_plain, .init = open_stage, .fini = close_stage);

static enum auth_verdict plain(const char *data, size_t length)
{
    return probe_start(&probe, "PLAIN", data, length);
}

Test(sasl_plain, admits_in_one_line_and_in_two_and_remembers)
{
    cr_expect_eq(plain("\0demo\0secret", 12), AUTH_OK);
    cr_expect_eq(probe.request.identity.drop.id, 3);
    cr_expect_str_eq(probe.request.mechanism, "PLAIN");
    cr_assert_eq(probe_start(&probe, "plain", NULL, 0), AUTH_CHALLENGE);
    cr_expect(probe_challenge_is(&probe, ""));
    /* At once, from the cache that PASS uses. */
    cr_expect_eq(auth_continue(&probe.request, "\0demo\0secret", 12), AUTH_OK);
    cr_expect_eq(auth_login(&probe.request, "demo", 4, "secret", 6), AUTH_OK);
}

Test(sasl_plain, takes_its_own_name_to_act_as)
{
    cr_expect_eq(plain("demo\0demo\0secret", 16), AUTH_OK);
    cr_expect_eq(plain("other\0demo\0secret", 17), AUTH_FAILED);
}

Test(sasl_plain, refuses_a_wrong_password_and_what_is_malformed)
{
    static const struct {
        const char *data;
        size_t length;
    } wrong[] = {
        {"\0demo\0Secret", 12},
        {"", 0},
        {"demo", 4},
        {"\0", 1},
        {"\0\0", 2},
        {"\0demo\0", 6},
        {"\0\0secret", 8},
        {"demo\0secret", 11},
        {"\0demo\0sec\0ret", 13},
        {"\0\0demo\0secret", 13},
        {"\0demo\0secret\0", 13},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_expect_eq(plain(wrong[i].data, wrong[i].length), AUTH_FAILED, "%zu", i);
        cr_expect_null(probe.request.own.sasl);
    }
}

Test(sasl_plain, every_cut_fails)
{
    for (size_t cut = 0; cut < 12; cut++) {
        cr_expect_eq(plain("\0demo\0secret", cut), AUTH_FAILED, "%zu", cut);
    }
}

Test(sasl_plain, refuses_what_is_too_long)
{
    static char text[AUTH_SASL_RESPONSE_MAX + 1];
    memset(text, 'a', sizeof text);
    text[0] = text[5] = '\0';
    cr_expect_eq(plain(text, AUTH_SASL_RESPONSE_MAX), AUTH_FAILED);
    cr_expect_eq(plain(text, sizeof text), AUTH_FAILED);
    text[5] = 'a';
    text[sizeof text - 3] = '\0';
    cr_expect_eq(plain(text, AUTH_SASL_RESPONSE_MAX), AUTH_FAILED);
}

Test(sasl_plain, failures_are_held_back)
{
    cr_assert_eq(address_parse("192.0.2.1:1", &probe.peer), STATUS_OK);
    cr_expect_eq(auth_start(&probe.request, "PLAIN", 5, "bad", 3), AUTH_PENDING);
    cr_expect(deadline_armed(&probe.request.own.delay));
    cr_expect_gt(probe.request.delay_ms, 0);
    cr_expect_null(probe.request.own.sasl);
    auth_cancel(&probe.request);
}

Test(sasl_plain, login_asks_for_name_and_password)
{
    cr_assert_eq(probe_start(&probe, "LOGIN", NULL, 0), AUTH_CHALLENGE);
    cr_expect(probe_challenge_is(&probe, "Username:"));
    cr_assert_eq(probe_continue(&probe, "demo", 4), AUTH_CHALLENGE);
    cr_expect(probe_challenge_is(&probe, "Password:"));
    cr_expect_eq(probe_continue(&probe, "secret", 6), AUTH_OK);
    cr_expect_str_eq(probe.request.mechanism, "LOGIN");
    cr_expect_eq(probe.request.identity.drop.id, 3);
}

Test(sasl_plain, login_takes_the_name_at_once)
{
    cr_assert_eq(probe_start(&probe, "LOGIN", "demo", 4), AUTH_CHALLENGE);
    cr_expect(probe_challenge_is(&probe, "Password:"));
    cr_expect_eq(probe_continue(&probe, "wrong", 5), AUTH_FAILED);
    cr_expect_eq(probe_start(&probe, "LOGIN", "", 0), AUTH_FAILED);
    cr_expect_eq(probe_start(&probe, "LOGIN", "de\0mo", 5), AUTH_FAILED);
    cr_assert_eq(probe_start(&probe, "LOGIN", "demo", 4), AUTH_CHALLENGE);
    cr_expect_eq(probe_continue(&probe, "", 0), AUTH_FAILED);
}

Test(sasl_plain, can_be_given_up_after_each_step)
{
    cr_assert_eq(probe_start(&probe, "PLAIN", NULL, 0), AUTH_CHALLENGE);
    auth_cancel(&probe.request);
    cr_assert_eq(probe_start(&probe, "LOGIN", NULL, 0), AUTH_CHALLENGE);
    auth_cancel(&probe.request);
    cr_assert_eq(probe_start(&probe, "LOGIN", "demo", 4), AUTH_CHALLENGE);
    auth_cancel(&probe.request);
    cr_assert_eq(auth_start(&probe.request, "PLAIN", 5, "\0demo\0secret", 12), AUTH_PENDING);
    auth_cancel(&probe.request);
    cr_expect_null(probe.request.own.wait);
}
