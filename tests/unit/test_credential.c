/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/credential.h"

#include "auth/secret.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define SHA512_CRYPT                                                     \
    "{SHA512-CRYPT}$6$saltsaltsaltsalt$ph0yGsyjzqdeFaon7.gJZo8eAG5/rj9/" \
    "JdzOu1Rl7dKzBYg3xgvl7T2VQ2Rt81bc5AXkdA54r0p8QvC1omD6R1"
#define YESCRYPT "{CRYPT}$y$j75$F5Jx5fExrKuPp53xLKQ..1$l5YiXCKNY/N9ezall4xjJAFS/wg.kWVcFXfOzyxVn1."
#define SCRAM                                                                                    \
    "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=," \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

#define SCRAM_SHA1                                                                             \
    "{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/" \
    "fTE="

static void start(void)
{
    cr_assert_eq(secret_start(), STATUS_OK);
}

TestSuite(credential, .init = start);

static void add(struct account *account, const char *text)
{
    (void)snprintf(account->credentials[account->credential_count++].text, AUTH_CREDENTIAL_MAX + 1,
                   "%s", text);
}

static void expect_choice(const struct account *account, const char *text)
{
    enum password_class class;
    const char *chosen = credential_choose(account, &class);
    cr_assert_not_null(chosen);
    cr_expect_str_eq(chosen, text);
}

Test(credential, prefers_our_own_hash_and_uses_scram_keys_last)
{
    struct account account = {0};
    enum password_class class;
    cr_expect_null(credential_choose(&account, &class));
    add(&account, "{NOSUCH}x");
    add(&account, "{SHA}cut");
    cr_expect_null(credential_choose(&account, &class));
    add(&account, SCRAM);
    expect_choice(&account, SCRAM);
    add(&account, "{PLAIN}x");
    expect_choice(&account, "{PLAIN}x");
    add(&account, SHA512_CRYPT);
    expect_choice(&account, SHA512_CRYPT);
    add(&account, YESCRYPT);
    expect_choice(&account, YESCRYPT);
}

Test(credential, knows_what_is_missing)
{
    struct account account = {0};
    add(&account, SHA512_CRYPT);
    cr_expect(credential_is_missing(&account));
    add(&account, YESCRYPT);
    cr_expect(credential_is_missing(&account));
    add(&account, SCRAM);
    cr_expect(credential_is_missing(&account));
    add(&account, SCRAM_SHA1);
    cr_expect_not(credential_is_missing(&account));
}

Test(credential, finds_scram_keys_of_the_kind_asked_for)
{
    struct account account = {0};
    struct scram_keys keys;
    add(&account, SCRAM);
    add(&account, "{SCRAM-SHA-1}4096,cut");
    cr_expect_not(credential_scram_keys(&account, SCRAM_SHA_1, &keys));
    cr_assert(credential_scram_keys(&account, SCRAM_SHA_256, &keys));
    cr_expect_eq(keys.iterations, 4096);
    cr_expect_eq(keys.salt_length, 16);
    add(&account, SCRAM_SHA1);
    cr_assert(credential_scram_keys(&account, SCRAM_SHA_1, &keys));
    cr_expect_eq(keys.salt_length, 12);
    cr_expect_eq(keys.stored[0], 0xe9);
}

Test(credential, finds_a_readable_password_in_its_raw_form_only)
{
    struct account account = {0};
    add(&account, YESCRYPT);
    add(&account, "{PLAIN}");
    add(&account, "{PLAIN.b64}cGVuY2ls");
    cr_expect_null(credential_readable(&account));
    add(&account, "{clear}pencil");
    cr_assert_not_null(credential_readable(&account));
    cr_expect_str_eq(credential_readable(&account), "pencil");
}

Test(credential, adds_only_what_is_missing)
{
    struct account account = {0};
    add(&account, YESCRYPT);
    cr_assert(credential_complete(&account, "secret", 6));
    cr_assert_eq(account.credential_count, 3);
    cr_expect_str_eq(account.credentials[0].text, YESCRYPT);
    cr_expect_eq(password_verify(account.credentials[1].text, "secret", 6), STATUS_OK);
    cr_expect_eq(password_verify(account.credentials[2].text, "secret", 6), STATUS_OK);
    cr_expect_not(credential_complete(&account, "secret", 6));
}

Test(credential, leaves_out_what_cannot_be_made)
{
    struct account account = {0};
    cr_assert(credential_complete(&account, "\xff", 1)); /* no UTF-8: no SCRAM keys */
    cr_expect_eq(account.credential_count, 1);
    cr_expect_eq(strncmp(account.credentials[0].text, "{CRYPT}$y$", 10), 0);
    cr_expect_not(credential_complete(&(struct account){0}, "", 0));
}

Test(credential, stops_where_an_account_is_full)
{
    struct account account = {0};
    for (int i = 0; i < AUTH_CREDENTIALS_MAX; i++) {
        add(&account, "{PLAIN}secret");
    }
    cr_expect_not(credential_is_missing(&account));
    cr_expect_not(credential_complete(&account, "secret", 6));
    cr_expect_eq(account.credential_count, AUTH_CREDENTIALS_MAX);
    account.credential_count--;
    cr_expect(credential_complete(&account, "secret", 6));
    cr_expect_eq(account.credential_count, AUTH_CREDENTIALS_MAX);
}
