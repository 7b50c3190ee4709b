/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/sasl.h"

#include "auth/passdb.h"
#include "tests/unit/sasl_probe.h"

#include <criterion/criterion.h>

static struct stage stage;
static struct probe probe;

static void open_stage(void)
{
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .exempt_loopback = true});
    stage_add_complete(&stage, "demo@localhost", 3);
}

static void close_stage(void)
{
    stage_close(&stage);
}

TestSuite(sasl, .init = open_stage, .fini = close_stage);

static const uint8_t octets[32];

static void expect_names(const struct auth_policy *policy, const struct auth_tls *facts, bool tls,
                         const char *wanted)
{
    const char *names[AUTH_MECHANISMS_MAX];
    char text[300] = "";
    size_t count = auth_mechanisms(&stage.client, policy, facts, tls, names, AUTH_MECHANISMS_MAX);
    for (size_t i = 0; i < count; i++) {
        (void)strcat(strcat(text, i > 0 ? " " : ""), names[i]);
    }
    cr_expect_str_eq(text, wanted);
}

Test(sasl, announces_what_may_be_used_and_nothing_else)
{
    static const struct auth_policy demo = {.plaintext_without_tls = true, .scram = true};
    static const struct auth_policy all = {.plaintext_without_tls = true,
                                           .apop = true,
                                           .cram_md5 = true,
                                           .scram = true,
                                           .external = true,
                                           .oauth = true};
    static const struct auth_tls bound = {.exporter = octets, .exporter_length = 32};
    static const struct auth_tls named = {.client_name = "demo"};
    expect_names(NULL, NULL, false, "");
    expect_names(NULL, NULL, true, "PLAIN LOGIN");
    expect_names(NULL, &bound, true, "PLAIN LOGIN");
    expect_names(&demo, NULL, false, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN");
    expect_names(&demo, NULL, true, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN");
    expect_names(&demo, &bound, true,
                 "SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN");
    expect_names(&demo, &bound, false, "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN");
    /* No keys of an issuer: no tokens. */
    expect_names(&all, &named, true, "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 EXTERNAL PLAIN LOGIN");
    expect_names(&all, &named, false, "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN");
    const char *name = NULL;
    cr_expect_eq(auth_mechanisms(&stage.client, &all, NULL, true, &name, 1), 1);
    cr_expect_str_eq(name, "SCRAM-SHA-256");
}

Test(sasl, says_when_a_password_may_come_as_it_is)
{
    static const struct auth_policy demo = {.plaintext_without_tls = true}, strict,
                                    old = {.apop = true};
    cr_expect(auth_plaintext_allowed(NULL, true));
    cr_expect_not(auth_plaintext_allowed(NULL, false));
    cr_expect_not(auth_plaintext_allowed(&strict, false));
    cr_expect(auth_plaintext_allowed(&demo, false));
    cr_expect_not(auth_apop_allowed(NULL));
    cr_expect_not(auth_apop_allowed(&strict));
    cr_expect(auth_apop_allowed(&old));
}

Test(sasl, refuses_what_it_does_not_announce)
{
    static const char *const names[] = {
        "",         "PLAINX",  "PLAI",     "DIGEST-MD5", "PLAIN",         "LOGIN",
        "CRAM-MD5", "XOAUTH2", "EXTERNAL", "apop",       "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"};
    probe_init(&probe, &stage, NULL, NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_expect_eq(auth_start(&probe.request, names[i], strlen(names[i]), "x", 1), AUTH_FAILED);
        cr_expect_str_eq(probe.request.mechanism, "unknown");
        cr_expect_null(probe.request.own.sasl);
    }
}

Test(sasl, an_exchange_that_was_never_begun_can_be_given_up)
{
    auth_cancel(&(struct auth_request){.client = &stage.client});
}
