/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/sasl.h"

#include "auth/oauth.h"
#include "tests/unit/jwt_maker.h"
#include "tests/unit/sasl_probe.h"

#include <criterion/criterion.h>

static const struct auth_policy policy = {.oauth = true, .oauth_without_tls = true};
static struct stage stage;
static struct probe probe;
static cjose_jwk_t *key;
static char folder[64], path[96];
static char *good, *stranger;

#define REFUSAL         "{\"status\":\"invalid_token\",\"scope\":\"pop\"}"
#define XOAUTH2_REFUSAL "{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"pop\"}"

static char *make_token(const char *user)
{
    char claims[300];
    (void)snprintf(claims, sizeof claims,
                   "{\"scope\":\"pop\",\"email\":\"%s\",\"exp\":99999999999}", user);
    return jwt_make_token(key, "ES256", "one", claims);
}

static void open_stage(void)
{
    stage_make_folder(folder);
    (void)snprintf(path, sizeof path, "%s/jwks", folder);
    key = jwt_make_key(0, "one");
    char *set = jwt_make_set(&key, 1);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fputs(set, file);
    (void)fclose(file);
    free(set);
    const struct oauth_config oauth = {.jwks_file = path, .scope = "pop"};
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .exempt_loopback = true,
                                             .oauth = &oauth});
    stage_add_complete(&stage, "demo@localhost", 3);
    probe_init(&probe, &stage, &policy, NULL);
    good = make_token("demo@localhost");
    stranger = make_token("nobody");
}

static void close_stage(void)
{
    auth_cancel(&probe.request);
    stage_close(&stage);
    stage_remove_folder(folder);
    (void)cjose_jwk_release(key);
    free(good);
    free(stranger);
}

TestSuite(sasl_oauth, .init = open_stage, .fini = close_stage);

/* A message of either mechanism; `user` NULL: none. */
static size_t make(const char *mechanism, const char *user, const char *token, char out[2000])
{
    int length;
    if (mechanism[0] == 'O') {
        length = snprintf(out, 2000, "n,%s%s,\1host=mail.example.org\1port=995\1auth=Bearer %s\1\1",
                          user != NULL ? "a=" : "", user != NULL ? user : "", token);
    } else {
        length =
            snprintf(out, 2000, "user=%s\1auth=Bearer %s\1\1", user != NULL ? user : "", token);
    }
    return (size_t)length;
}

static enum auth_verdict present(const char *mechanism, const char *user, const char *token)
{
    char message[2000];
    size_t length = make(mechanism, user, token, message);
    return probe_start(&probe, mechanism, message, length);
}

static const char *const mechanisms[] = {"OAUTHBEARER", "XOAUTH2"};

Test(sasl_oauth, admits_a_good_token_in_one_line_and_in_two)
{
    for (size_t i = 0; i < 2; i++) {
        char message[2000];
        cr_expect_eq(present(mechanisms[i], "demo@localhost", good), AUTH_OK);
        cr_expect_str_eq(probe.request.identity.name, "demo@localhost");
        cr_expect_eq(probe.request.identity.drop.id, 3);
        cr_expect_eq(present(mechanisms[i], NULL, good), AUTH_OK);
        cr_assert_eq(probe_start(&probe, mechanisms[i], NULL, 0), AUTH_CHALLENGE);
        cr_expect(probe_challenge_is(&probe, ""));
        size_t length = make(mechanisms[i], "demo", good, message);
        cr_expect_eq(probe_continue(&probe, message, length), AUTH_OK);
        cr_expect_str_eq(probe.request.mechanism, mechanisms[i]);
    }
}

Test(sasl_oauth, says_why_and_fails_after_one_more_line)
{
    static const char *const answers[] = {"\1", "", "anything"};
    for (size_t i = 0; i < 6; i++) {
        const char *mechanism = mechanisms[i % 2], *answer = answers[i / 2];
        const char *token = i == 0 ? stranger : i == 2 ? "no.to.ken" : "x";
        cr_assert_eq(present(mechanism, NULL, token), AUTH_CHALLENGE, "%zu", i);
        cr_expect(probe_challenge_is(&probe, i % 2 == 0 ? REFUSAL : XOAUTH2_REFUSAL));
        cr_expect_eq(probe_continue(&probe, answer, strlen(answer)), AUTH_FAILED);
    }
    /* A token of one's own does not open another's account. */
    cr_assert_eq(present("XOAUTH2", "other", good), AUTH_CHALLENGE);
    cr_expect_eq(probe_continue(&probe, "", 0), AUTH_FAILED);
}

/* RFC 7628 section 4.1, but for a token that is nobody's. */
Test(sasl_oauth, reads_the_example_of_the_standard)
{
    static const char message[] = "n,a=user@example.com,\1host=server.example.com\1port=143\1"
                                  "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1";
    cr_expect_eq(probe_start(&probe, "OAUTHBEARER", message, sizeof message - 1), AUTH_CHALLENGE);
    cr_expect_eq(probe_continue(&probe, "\1", 1), AUTH_FAILED);
    /* Section 4.3: a client that asks what it needs. */
    static const char question[] = "n,a=user@example.com,\1host=s\1port=143\1auth=\1\1";
    cr_expect_eq(probe_start(&probe, "OAUTHBEARER", question, sizeof question - 1), AUTH_CHALLENGE);
    cr_expect(probe_challenge_is(&probe, REFUSAL));
}

Test(sasl_oauth, refuses_malformed_messages_at_once)
{
    static const char *const bearer[] = {
        "",
        "n",
        "n,,",
        "n,,\1",
        "n,,\1\1",
        "n,,\1auth=Bearer x",
        "n,,\1auth=Bearer x\1",
        "n,,\1auth=Bearer x\1\1\1",
        "n,,\1auth=Basic x\1\1",
        "n,,\1auth=Bearer  x\1\1",
        "n,,\1auth=Bearer x\1auth=Bearer y\1\1",
        "p=tls-unique,,\1auth=Bearer x\1\1",
        "n,x=demo,\1auth=Bearer x\1\1",
        "n,a=,\1auth=Bearer x\1\1",
        "\1auth=Bearer x\1\1",
        "n,,\1host\1auth=Bearer x\1\1",
        "n,,\1auth=Bearer a!b\1\1",
        "n,,\1auth=Bearer x\1\1junk",
    };
    for (size_t i = 0; i < sizeof bearer / sizeof bearer[0]; i++) {
        cr_expect_eq(probe_start(&probe, "OAUTHBEARER", bearer[i], strlen(bearer[i])), AUTH_FAILED,
                     "%zu", i);
    }
    static const char *const google[] = {"", "user=demo", "user=demo\1\1", "user=demo\1auth=\1",
                                         "n,,\1auth=Bearer x\1\1junk"};
    for (size_t i = 0; i < sizeof google / sizeof google[0]; i++) {
        cr_expect_eq(probe_start(&probe, "XOAUTH2", google[i], strlen(google[i])), AUTH_FAILED,
                     "%zu", i);
    }
}

Test(sasl_oauth, every_cut_fails)
{
    char message[2000];
    size_t length = make("OAUTHBEARER", "demo", good, message);
    for (size_t cut = 0; cut < length; cut++) {
        cr_expect_eq(probe_start(&probe, "OAUTHBEARER", message, cut), AUTH_FAILED, "%zu", cut);
    }
}

Test(sasl_oauth, can_be_given_up_after_each_step)
{
    char message[2000];
    size_t length = make("XOAUTH2", "demo", good, message);
    cr_assert_eq(probe_start(&probe, "XOAUTH2", NULL, 0), AUTH_CHALLENGE);
    auth_cancel(&probe.request);
    cr_assert_eq(auth_start(&probe.request, "XOAUTH2", 7, message, length), AUTH_PENDING);
    auth_cancel(&probe.request); /* while the token is looked at */
    cr_assert_eq(present("XOAUTH2", "demo", stranger), AUTH_CHALLENGE);
    auth_cancel(&probe.request);
    cr_expect_null(probe.request.own.sasl);
}

Test(sasl_oauth, needs_tls_unless_the_listener_says_otherwise)
{
    static const struct auth_policy strict = {.oauth = true};
    static const struct auth_tls tls = {0};
    probe.request.policy = &strict;
    cr_expect_eq(present("XOAUTH2", "demo", good), AUTH_FAILED);
    probe_init(&probe, &stage, &strict, &tls);
    cr_expect_eq(present("XOAUTH2", "demo", good), AUTH_OK);
}
