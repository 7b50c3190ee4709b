/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/sasl.h"

#include "tests/unit/sasl_probe.h"

#include <criterion/criterion.h>

static const struct auth_policy policy = {.scram = true, .plaintext_without_tls = true};
static struct stage stage;
static struct probe probe;

static const uint8_t exporter[32] = "the exporter's octets, are 32 .";
static const uint8_t unique[12] = "a finished.";
static const struct auth_tls tls_1_3 = {.exporter = exporter, .exporter_length = 32};
static const struct auth_tls tls_1_2 = {.unique = unique, .unique_length = 12};

static void open_stage(void)
{
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .exempt_loopback = true});
    stage_add_complete(&stage, "demo@localhost", 3);
    stage_add(&stage, "bare@localhost", 4, STAGE_YESCRYPT);
    probe_init(&probe, &stage, &policy, NULL);
}

static void close_stage(void)
{
    auth_cancel(&probe.request);
    stage_close(&stage);
}

TestSuite(sasl_scram, .init = open_stage, .fini = close_stage);

/* RFC 5802 section 5 and RFC 7677 section 3: the test's own arithmetic is right. */
Test(sasl_scram, the_examples_of_the_standards_come_out)
{
    char proof[64], signature[64];
    probe_scram(DIGEST_SHA1, "pencil", "QSXCR+Q6sek8bf92", 4096,
                "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
                "s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
                proof, signature);
    cr_expect_str_eq(proof, "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    cr_expect_str_eq(signature, "rmF9pqV8S7suAoZWja4dJRkFsKQ=");
    probe_scram(DIGEST_SHA256, "pencil", "W22ZaJ0SNY7soEsUEjb6gQ==", 4096,
                "n=user,r=rOprNGfwEbeRWgbNEkqO,"
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,"
                "i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                proof, signature);
    cr_expect_str_eq(proof, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    cr_expect_str_eq(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

/* One client of one mechanism. */
struct client {
    const char *mechanism, *header, *name, *password;
    const void *binding; /* what goes behind the header in "c=" */
    size_t binding_length;
    bool in_two_lines;
    char salt[64], signature[64], first[256];
    unsigned iterations;
    /* where to stop: 0 never, else after so many steps */
    int steps_max;
};

/* Takes the server's first message apart and writes the client's last one. */
static void answer(struct client *client, char *out, size_t size)
{
    char server_first[512], nonce[200], message[1600], bound[256], c[400], proof[64];
    enum digest_kind kind = strstr(client->mechanism, "256") != NULL ? DIGEST_SHA256 : DIGEST_SHA1;
    (void)snprintf(server_first, sizeof server_first, "%.*s", (int)probe.request.challenge_length,
                   probe.request.challenge);
    int found =
        sscanf(server_first, "r=%199[^,],s=%63[^,],i=%u", nonce, client->salt, &client->iterations);
    cr_assert_eq(found, 3, "%s", server_first);
    size_t length = strlen(client->header);
    memcpy(bound, client->header, length);
    if (client->binding_length > 0) {
        memcpy(bound + length, client->binding, client->binding_length);
    }
    c[base64_encode(bound, length + client->binding_length, c)] = '\0';
    (void)snprintf(message, sizeof message, "%s,%s,c=%s,r=%s",
                   client->first + strlen(client->header), server_first, c, nonce);
    probe_scram(kind, client->password, client->salt, client->iterations, message, proof,
                client->signature);
    (void)snprintf(out, size, "c=%s,r=%s,p=%s", c, nonce, proof);
}

static enum auth_verdict run(struct client *client)
{
    char last[1600], expected[80];
    (void)snprintf(client->first, sizeof client->first, "%sn=%s,r=abcdefghijkl", client->header,
                   client->name);
    enum auth_verdict verdict;
    if (client->in_two_lines) {
        verdict = probe_start(&probe, client->mechanism, NULL, 0);
        cr_assert_eq(verdict, AUTH_CHALLENGE);
        cr_assert(probe_challenge_is(&probe, ""));
        verdict = probe_continue(&probe, client->first, strlen(client->first));
    } else {
        verdict = probe_start(&probe, client->mechanism, client->first, strlen(client->first));
    }
    if (verdict != AUTH_CHALLENGE || client->steps_max == 1) {
        return verdict;
    }
    answer(client, last, sizeof last);
    verdict = probe_continue(&probe, last, strlen(last));
    if (verdict != AUTH_CHALLENGE || client->steps_max == 2) {
        return verdict;
    }
    (void)snprintf(expected, sizeof expected, "v=%s", client->signature);
    cr_expect(probe_challenge_is(&probe, expected));
    return probe_continue(&probe, "", 0);
}

static struct client make(const char *mechanism, const char *header)
{
    return (struct client){
        .mechanism = mechanism, .header = header, .name = "demo", .password = "secret"};
}

Test(sasl_scram, admits_who_has_the_password_in_one_line_and_in_two)
{
    static const char *const mechanisms[] = {"SCRAM-SHA-1", "SCRAM-SHA-256", "scram-sha-256"};
    static const char *const headers[] = {"n,,", "y,,", "n,a=demo@localhost,"};
    for (size_t i = 0; i < 9; i++) {
        for (int two = 0; two < 2; two++) {
            struct client client = make(mechanisms[i / 3], headers[i % 3]);
            client.in_two_lines = two != 0;
            cr_expect_eq(run(&client), AUTH_OK, "%s %s", client.mechanism, client.header);
            cr_expect_str_eq(probe.request.identity.name, "demo@localhost");
            cr_expect_eq(probe.request.identity.drop.id, 3);
            cr_expect_eq(strncmp(probe.request.mechanism, "SCRAM-SHA-", 10), 0);
            cr_expect_null(probe.request.own.sasl);
        }
    }
}

Test(sasl_scram, refuses_another_password_and_who_acts_for_another)
{
    struct client client = make("SCRAM-SHA-256", "n,,");
    client.password = "Secret";
    cr_expect_eq(run(&client), AUTH_FAILED);
    client = make("SCRAM-SHA-256", "n,a=bare,");
    cr_expect_eq(run(&client), AUTH_FAILED);
}

static void find_salt(const char *mechanism, const char *name, char out[80])
{
    struct client client = make(mechanism, "n,,");
    client.name = name;
    cr_assert_eq(run(&client), AUTH_FAILED);
    (void)snprintf(out, 80, "%u %s", client.iterations, client.salt);
}

Test(sasl_scram, a_stranger_looks_like_a_wrong_password_today_and_tomorrow)
{
    char first[80], again[80], other[80], sha_1[80];
    find_salt("SCRAM-SHA-256", "nobody", first);
    find_salt("SCRAM-SHA-256", "Nobody@LOCALHOST", again);
    find_salt("SCRAM-SHA-256", "nobody2", other);
    find_salt("SCRAM-SHA-1", "nobody", sha_1);
    cr_expect_str_eq(first, again);
    cr_expect_str_neq(first, other);
    cr_expect_str_neq(first, sha_1);
    cr_expect_eq(strtoul(first, NULL, 10), AUTH_SCRAM_ITERATIONS);
    cr_expect_eq(strlen(strchr(first, ' ') + 1), BASE64_ENCODED(AUTH_SCRAM_SALT_OCTETS));
    /* Accounts without keys, and names that cannot be, are strangers too. */
    find_salt("SCRAM-SHA-256", "bare", other);
    find_salt("SCRAM-SHA-256", "no body", other);
    find_salt("SCRAM-SHA-256", "a=2Cb=3D", other);
    /* The same after another start. */
    auth_cancel(&probe.request);
    stage_close_client(&stage);
    auth_close(&stage.auth);
    struct auth_config config = {.accounts_path = stage.accounts,
                                 .default_domain = "localhost",
                                 .hash_threads = 1,
                                 .exempt_loopback = true};
    cr_assert_eq(auth_open(&config, &stage.auth, NULL), STATUS_OK);
    stage_open_client(&stage);
    probe_init(&probe, &stage, &policy, NULL);
    find_salt("SCRAM-SHA-256", "nobody", again);
    cr_expect_str_eq(first, again);
}

Test(sasl_scram, binds_to_the_channel)
{
    static const char *const mechanisms[] = {"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"};
    for (size_t i = 0; i < 2; i++) {
        struct client client = make(mechanisms[i], "p=tls-exporter,,");
        client.binding = exporter;
        client.binding_length = sizeof exporter;
        probe_init(&probe, &stage, &policy, &tls_1_3);
        cr_expect_eq(run(&client), AUTH_OK, "%s", mechanisms[i]);
        client = make(mechanisms[i], "p=tls-unique,,");
        client.binding = unique;
        client.binding_length = sizeof unique;
        probe_init(&probe, &stage, &policy, &tls_1_2);
        cr_expect_eq(run(&client), AUTH_OK, "%s", mechanisms[i]);
    }
}

Test(sasl_scram, refuses_another_channel)
{
    struct client client = make("SCRAM-SHA-256-PLUS", "p=tls-exporter,,");
    static const uint8_t theirs[32] = "the man in the middle's octets.";
    probe_init(&probe, &stage, &policy, &tls_1_3);
    client.binding = theirs;
    client.binding_length = sizeof theirs;
    cr_expect_eq(run(&client), AUTH_FAILED);
    client.binding_length = 0;
    cr_expect_eq(run(&client), AUTH_FAILED);
    client = make("SCRAM-SHA-256-PLUS", "p=tls-unique,,"); /* which this connection has not */
    client.binding = exporter;
    client.binding_length = sizeof exporter;
    cr_expect_eq(run(&client), AUTH_FAILED);
    client = make("SCRAM-SHA-256-PLUS", "n,,"); /* -PLUS without a binding */
    cr_expect_eq(run(&client), AUTH_FAILED);
    client = make("SCRAM-SHA-256", "p=tls-exporter,,"); /* a binding without -PLUS */
    client.binding = exporter;
    client.binding_length = sizeof exporter;
    cr_expect_eq(run(&client), AUTH_FAILED);
}

Test(sasl_scram, a_client_that_was_kept_from_binding_fails)
{
    struct client client = make("SCRAM-SHA-256", "y,,");
    probe_init(&probe, &stage, &policy, &tls_1_3);
    cr_expect_eq(run(&client), AUTH_FAILED);
    probe_init(&probe, &stage, &policy, &tls_1_2);
    cr_expect_eq(run(&client), AUTH_FAILED);
    client = make("SCRAM-SHA-256", "n,,"); /* one that cannot bind may come in */
    cr_expect_eq(run(&client), AUTH_OK);
}

Test(sasl_scram, refuses_first_messages_that_are_none)
{
    static const char *const wrong[] = {
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,n=demo",
        "n,,r=x",
        "x,,n=demo,r=x",
        "p,,n=demo,r=x",
        "p=,,n=demo,r=x",
        "nn,,n=demo,r=x",
        "n,demo,n=demo,r=x",
        "n,a=,n=demo,r=x",
        "n,,m=x,n=demo,r=x",
        "n,,n=a=b,r=x",
        "n,,n=a=2c,r=x",
        "n,,n=demo,",
        "n,,n=demo,x=y",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        enum auth_verdict verdict =
            probe_start(&probe, "SCRAM-SHA-256", wrong[i], strlen(wrong[i]));
        cr_expect_eq(verdict, AUTH_FAILED, "%s", wrong[i]);
    }
    cr_expect_eq(probe_start(&probe, "SCRAM-SHA-256", "n,,n=de\0mo,r=x", 14), AUTH_FAILED);
    char name[AUTH_NAME_MAX + 32];
    memset(name, 'a', sizeof name);
    memcpy(name, "n,,n=", 5);
    memcpy(name + sizeof name - 4, ",r=x", 4);
    cr_expect_eq(probe_start(&probe, "SCRAM-SHA-256", name, sizeof name), AUTH_FAILED);
}

Test(sasl_scram, refuses_last_messages_that_are_none)
{
    static const char *const wrong[] = {"", "c=biws", "c=biws,r=x,p=AAAA", "c=,r=,p=", "n,,n=demo"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct client client = make("SCRAM-SHA-256", "n,,");
        client.steps_max = 1;
        cr_assert_eq(run(&client), AUTH_CHALLENGE);
        cr_expect_eq(probe_continue(&probe, wrong[i], strlen(wrong[i])), AUTH_FAILED, "%s",
                     wrong[i]);
    }
    struct client client = make("SCRAM-SHA-256", "n,,");
    client.steps_max = 2;
    cr_assert_eq(run(&client), AUTH_CHALLENGE);
    cr_expect_eq(probe_continue(&probe, "x", 1), AUTH_FAILED);
}

Test(sasl_scram, can_be_given_up_after_each_step)
{
    for (int steps = 1; steps <= 2; steps++) {
        struct client client = make("SCRAM-SHA-256", "n,,");
        client.steps_max = steps;
        cr_assert_eq(run(&client), AUTH_CHALLENGE);
        auth_cancel(&probe.request);
        cr_expect_null(probe.request.own.sasl);
        cr_expect_null(probe.request.challenge);
    }
    cr_assert_eq(probe_start(&probe, "SCRAM-SHA-1", NULL, 0), AUTH_CHALLENGE);
}

Test(sasl_scram, a_closed_account_hears_why_after_its_proof_only)
{
    struct account account;
    stage_make_account(&account, "shut@localhost", 5, STAGE_SCRAM);
    account.disabled = true;
    (void)snprintf(account.reason, sizeof account.reason, "unpaid");
    cr_assert_eq(account_add(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    struct client client = make("SCRAM-SHA-256", "n,,");
    client.name = "shut";
    cr_expect_eq(run(&client), AUTH_DISABLED);
    cr_expect_str_eq(probe.request.identity.reason, "unpaid");
    client.password = "wrong";
    cr_expect_eq(run(&client), AUTH_FAILED);
    cr_expect_str_eq(probe.request.identity.reason, "");
}
