/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/scram_client.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct scram_client client;
static struct scram_client_keys keys;
static char out[SCRAM_CLIENT_TEXT_MAX];

static void forget(void)
{
    memset(&client, 0, sizeof client);
    memset(&keys, 0, sizeof keys);
}

TestSuite(scram_client, .init = forget);

static enum status answer(const char *challenge, const char *password)
{
    return scram_client_last(&client, "user", password, challenge, strlen(challenge), &keys, out);
}

/* Plays an exchange with the nonce that the standard's client drew. The nonces of the standards are
 * not as long as ours: the rest of the first 24 characters is the server's there. */
static void play(enum scram_kind kind, const char *nonce, const char *challenge, const char *last,
                 const char *proof)
{
    struct scram_client other;
    client.kind = kind;
    (void)snprintf(client.nonce, sizeof client.nonce, "%s", nonce);
    cr_assert_eq(answer(challenge, "pencil"), STATUS_OK);
    cr_expect_str_eq(out, last);
    cr_expect(scram_client_proved(&client, proof, strlen(proof)));
    other = client;
    other.signature[3] ^= 1;
    cr_expect_not(scram_client_proved(&other, proof, strlen(proof)));
}

/* Made with Python's hashlib from the formulas of RFC 5802 section 3; the second has the password,
 * salt and count of RFC 7677 section 3. */
Test(scram_client, proofs_are_those_of_another_implementation)
{
    play(SCRAM_SHA_1, "fyko+d2lbbFgONRv9qkxdawL",
         "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
         "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
         "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=");
    play(SCRAM_SHA_256, "rOprNGfwEbeRWgbNEkqO%hvY",
         "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
         "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=Ww1vWzDw8y1SwJ7/"
         "Q95DmS7Z1zODaYieayHgJE1O9hE=",
         "v=9lQMbbmkoWKSLKxnLKvGzqdSf0UDQelzGEr7cXXzPGA=");
}

Test(scram_client, a_name_is_escaped_and_a_nonce_is_new_each_time)
{
    struct dice dice = {.state = 7};
    struct scram_client second;
    cr_assert_eq(scram_client_first(&client, SCRAM_SHA_256, "a=b,c", &dice, out), STATUS_OK);
    cr_expect_eq(strncmp(out, "n,,n=a=3Db=2Cc,r=", 17), 0, "%s", out);
    cr_expect_eq(strlen(client.nonce), SCRAM_CLIENT_NONCE);
    cr_expect_str_eq(out + 17, client.nonce);
    cr_assert_eq(scram_client_first(&second, SCRAM_SHA_256, "a", &dice, out), STATUS_OK);
    cr_expect_str_neq(second.nonce, client.nonce);
}

Test(scram_client, a_name_that_does_not_fit_is_refused)
{
    struct dice dice = {.state = 7};
    char name[2000];
    memset(name, '=', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    cr_expect_eq(scram_client_first(&client, SCRAM_SHA_1, name, &dice, out), STATUS_TOO_BIG);
}

Test(scram_client, keys_are_derived_once_for_a_salt)
{
    struct dice dice = {.state = 7};
    char challenge[200];
    cr_assert_eq(scram_client_first(&client, SCRAM_SHA_256, "user", &dice, out), STATUS_OK);
    (void)snprintf(challenge, sizeof challenge, "r=%sxyz,s=QSXCR+Q6sek8bf92,i=10", client.nonce);
    cr_assert_eq(answer(challenge, "pencil"), STATUS_OK);
    struct scram_client_keys first = keys;
    cr_assert_eq(answer(challenge, "not asked for any more"), STATUS_OK);
    cr_expect_arr_eq(keys.client, first.client, sizeof keys.client);
    (void)snprintf(challenge, sizeof challenge, "r=%sxyz,s=QSXCR+Q6sek8bf92,i=11", client.nonce);
    cr_assert_eq(answer(challenge, "pencil"), STATUS_OK);
    cr_expect_neq(memcmp(keys.client, first.client, sizeof keys.client), 0);
}

Test(scram_client, what_no_server_should_say_is_refused)
{
    static const char *const endings[] = {"",
                                          ",s=QSXCR+Q6sek8bf92",
                                          ",s=QSXCR+Q6sek8bf92,i=0",
                                          ",s=QSXCR+Q6sek8bf92,i=1000001",
                                          ",s=QSXCR+Q6sek8bf92,i=12x",
                                          ",s=QSXCR+Q6sek8bf92,i=",
                                          ",s=not base64,i=10",
                                          ",i=10,s=QSXCR+Q6sek8bf92"};
    struct dice dice = {.state = 7};
    char challenge[2000];
    cr_assert_eq(scram_client_first(&client, SCRAM_SHA_1, "user", &dice, out), STATUS_OK);
    for (size_t index = 0; index < sizeof endings / sizeof endings[0]; index++) {
        (void)snprintf(challenge, sizeof challenge, "r=%sx%s", client.nonce, endings[index]);
        cr_expect_eq(answer(challenge, "pencil"), STATUS_INVALID, "%s", challenge);
    }
    cr_expect_eq(answer("r=another,s=QSXCR+Q6sek8bf92,i=10", "pencil"), STATUS_INVALID);
    cr_expect_eq(answer("", "pencil"), STATUS_INVALID);
    memset(challenge, 'r', sizeof challenge - 1);
    challenge[sizeof challenge - 1] = '\0';
    cr_expect_eq(answer(challenge, "pencil"), STATUS_INVALID);
    (void)snprintf(challenge, sizeof challenge, "r=%sx,s=%0200d,i=10", client.nonce, 0);
    cr_expect_eq(answer(challenge, "pencil"), STATUS_INVALID);
}

Test(scram_client, a_proof_is_whole_or_none)
{
    client.kind = SCRAM_SHA_1;
    const char *zero = "v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    cr_expect(scram_client_proved(&client, zero, strlen(zero)));
    for (size_t length = 0; length < strlen(zero); length++) {
        cr_expect_not(scram_client_proved(&client, zero, length));
    }
    cr_expect(scram_client_proved(&client, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=,x=1", 34));
    cr_expect_not(scram_client_proved(&client, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=x", 31));
    cr_expect_not(scram_client_proved(&client, "e=other-error", 13));
}
