/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/sasl.h"

#include "tests/unit/sasl_probe.h"

#include <criterion/criterion.h>

static const struct auth_policy policy = {.external = true};
static const struct auth_tls named = {.client_name = "demo@localhost"};
static const struct auth_tls stranger = {.client_name = "nobody@localhost"};
static const struct auth_tls nameless;
static struct stage stage;
static struct probe probe;

static void open_stage(void)
{
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .exempt_loopback = true});
    stage_add_complete(&stage, "demo@localhost", 3);
    probe_init(&probe, &stage, &policy, &named);
}

static void close_stage(void)
{
    auth_cancel(&probe.request);
    stage_close(&stage);
}

TestSuite(sasl_external, .init = open_stage, .fini = close_stage);

Test(sasl_external, admits_whom_the_certificate_names)
{
    cr_expect_eq(probe_start(&probe, "EXTERNAL", "", 0), AUTH_OK);
    cr_expect_eq(probe.request.identity.drop.id, 3);
    cr_expect_eq(probe_start(&probe, "EXTERNAL", "demo", 4), AUTH_OK);
    cr_assert_eq(probe_start(&probe, "EXTERNAL", NULL, 0), AUTH_CHALLENGE);
    cr_expect(probe_challenge_is(&probe, ""));
    cr_expect_eq(probe_continue(&probe, "", 0), AUTH_OK);
}

Test(sasl_external, refuses_to_act_for_another_and_strangers)
{
    cr_expect_eq(probe_start(&probe, "EXTERNAL", "other", 5), AUTH_FAILED);
    cr_expect_eq(probe_start(&probe, "EXTERNAL", "de\0mo", 5), AUTH_FAILED);
    probe_init(&probe, &stage, &policy, &stranger);
    cr_expect_eq(probe_start(&probe, "EXTERNAL", "", 0), AUTH_FAILED);
    cr_expect_str_eq(probe.request.mechanism, "EXTERNAL");
}

Test(sasl_external, is_not_there_without_a_certificate)
{
    probe_init(&probe, &stage, &policy, &nameless);
    cr_expect_eq(probe_start(&probe, "EXTERNAL", "", 0), AUTH_FAILED);
    cr_expect_str_eq(probe.request.mechanism, "unknown");
}
