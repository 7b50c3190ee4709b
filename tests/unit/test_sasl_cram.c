/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/sasl.h"

#include "tests/unit/sasl_probe.h"

#include <criterion/criterion.h>

static const struct auth_policy policy = {.cram_md5 = true, .apop = true};
static struct stage stage;
static struct probe probe;

static void open_stage(void)
{
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .exempt_loopback = true});
    stage_add(&stage, "tim@localhost", 3, "{PLAIN}tanstaaftanstaaf");
    stage_add(&stage, "mrose@localhost", 4, "{PLAIN}tanstaaf");
    stage_add_complete(&stage, "demo@localhost", 5);
    probe_init(&probe, &stage, &policy, NULL);
}

static void close_stage(void)
{
    auth_cancel(&probe.request);
    stage_close(&stage);
}

TestSuite(sasl_cram, .init = open_stage, .fini = close_stage);

static void hex(const uint8_t *octets, char out[33])
{
    for (size_t i = 0; i < 16; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", octets[i]);
    }
}

static void keyed_md5(const char *password, const char *challenge, size_t length, char out[33])
{
    uint8_t digest[DIGEST_OCTETS_MAX];
    probe_hmac(DIGEST_MD5, password, strlen(password), challenge, length, digest);
    hex(digest, out);
}

/* RFC 2195 section 2. */
Test(sasl_cram, the_example_of_the_standard_comes_out)
{
    char digest[33];
    static const char challenge[] = "<1896.697170952@postoffice.reston.mci.net>";
    keyed_md5("tanstaaftanstaaf", challenge, strlen(challenge), digest);
    cr_expect_str_eq(digest, "b913a602c7eda7a495b4e6e7334d3890");
}

static enum auth_verdict cram(const char *name, const char *password)
{
    char digest[33], response[200];
    cr_assert_eq(probe_start(&probe, "CRAM-MD5", NULL, 0), AUTH_CHALLENGE);
    cr_expect_eq(probe.request.challenge[0], '<');
    cr_expect_eq(probe.request.challenge[probe.request.challenge_length - 1], '>');
    keyed_md5(password, probe.request.challenge, probe.request.challenge_length, digest);
    (void)snprintf(response, sizeof response, "%s %s", name, digest);
    return probe_continue(&probe, response, strlen(response));
}

Test(sasl_cram, admits_who_has_the_password)
{
    cr_expect_eq(cram("tim", "tanstaaftanstaaf"), AUTH_OK);
    cr_expect_eq(probe.request.identity.drop.id, 3);
    cr_expect_str_eq(probe.request.mechanism, "CRAM-MD5");
    cr_expect_eq(cram("tim", "tanstaaf"), AUTH_FAILED);
    cr_expect_eq(cram("nobody", "tanstaaf"), AUTH_FAILED);
    cr_expect_eq(cram("demo", "secret"), AUTH_FAILED); /* its password is not stored readably */
}

Test(sasl_cram, a_challenge_says_who_asks)
{
    char digest[33], response[40];
    probe.request.hostname = "mail.example.org";
    cr_assert_eq(probe_start(&probe, "CRAM-MD5", NULL, 0), AUTH_CHALLENGE);
    char *challenge = strndup(probe.request.challenge, probe.request.challenge_length);
    cr_assert_not_null(challenge);
    const char *at = strchr(challenge, '@');
    cr_assert_not_null(at);
    cr_expect_str_eq(at, "@mail.example.org>");
    keyed_md5("tanstaaftanstaaf", challenge, strlen(challenge), digest);
    (void)snprintf(response, sizeof response, "tim %s", digest);
    cr_expect_eq(probe_continue(&probe, response, strlen(response)), AUTH_OK);
    free(challenge);
}

Test(sasl_cram, each_challenge_is_another)
{
    char first[200];
    cr_assert_eq(probe_start(&probe, "CRAM-MD5", NULL, 0), AUTH_CHALLENGE);
    (void)snprintf(first, sizeof first, "%.*s", (int)probe.request.challenge_length,
                   probe.request.challenge);
    auth_cancel(&probe.request);
    cr_assert_eq(probe_start(&probe, "CRAM-MD5", NULL, 0), AUTH_CHALLENGE);
    cr_expect_not(probe_challenge_is(&probe, first));
}

Test(sasl_cram, refuses_an_initial_response_and_what_is_malformed)
{
    static const char *const wrong[] = {"", "tim", "tim b913a602c7eda7a495b4e6e7334d389",
                                        " b913a602c7eda7a495b4e6e7334d3890",
                                        "timXb913a602c7eda7a495b4e6e7334d3890"};
    cr_expect_eq(probe_start(&probe, "CRAM-MD5", "", 0), AUTH_FAILED);
    cr_expect_eq(probe_start(&probe, "CRAM-MD5", "tim", 3), AUTH_FAILED);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_eq(probe_start(&probe, "CRAM-MD5", NULL, 0), AUTH_CHALLENGE);
        cr_expect_eq(probe_continue(&probe, wrong[i], strlen(wrong[i])), AUTH_FAILED, "%s",
                     wrong[i]);
    }
}

/* RFC 1939 section 7. */
Test(sasl_cram, apop_gives_the_example_of_the_standard)
{
    static const char timestamp[] = "<1896.697170952@dbc.mtview.ca.us>";
    static const char digest[] = "c4c9334bac560ecc979e58001b3e22fb";
    struct auth_request *request = &probe.request;
    cr_expect_eq(auth_apop(request, "mrose", 5, digest, 32, timestamp), AUTH_OK);
    cr_expect_eq(request->identity.drop.id, 4);
    cr_expect_str_eq(request->mechanism, "apop");
    cr_expect_eq(auth_apop(request, "tim", 3, digest, 32, timestamp), AUTH_FAILED);
    cr_expect_eq(auth_apop(request, "demo", 4, digest, 32, timestamp), AUTH_FAILED);
    cr_expect_eq(auth_apop(request, "nobody", 6, digest, 32, timestamp), AUTH_FAILED);
    cr_expect_eq(auth_apop(request, "mrose", 5, digest, 31, timestamp), AUTH_FAILED);
    cr_expect_eq(auth_apop(request, "mrose", 5, digest, 30, timestamp), AUTH_FAILED);
    cr_expect_eq(auth_apop(request, "mrose", 5, "", 0, timestamp), AUTH_FAILED);
    cr_expect_eq(auth_apop(request, "mrose", 5, digest, 32, "<x@y>"), AUTH_FAILED);
    request->policy = NULL;
    cr_expect_eq(auth_apop(request, "mrose", 5, digest, 32, timestamp), AUTH_FAILED);
    cr_expect_null(request->own.sasl);
}
