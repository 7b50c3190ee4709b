/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/password.h"

#include "auth/auth_limits.h"
#include "auth/secret.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(void)
{
    cr_assert_eq(secret_start(), STATUS_OK);
}

TestSuite(password, .init = start);

struct sample {
    const char *credential;
    enum password_class class;
};

/* All of "secret". Made with openssl passwd, perl and Python's crypt, Python's hashlib, and the
 * argon2 tool; none of them by the code under test. */
static const struct sample samples[] = {
    {"{PLAIN}secret", PASSWORD_FAST},
    {"{CLEARTEXT}secret", PASSWORD_FAST},
    {"{plain}secret", PASSWORD_FAST},
    {"{PLAIN.B64}c2VjcmV0", PASSWORD_FAST},
    {"{PLAIN.hex}736563726574", PASSWORD_FAST},
    {"{CRYPT}abNANd1rDfiNc", PASSWORD_FAST},
    {"{DES-CRYPT}abNANd1rDfiNc", PASSWORD_FAST},
    {"{MD5-CRYPT}$1$saltsalt$9xy1btjgzLYfb7hivXtC//", PASSWORD_FAST},
    {"{MD5}$1$saltsalt$9xy1btjgzLYfb7hivXtC//", PASSWORD_FAST},
    {"{SHA256-CRYPT}$5$saltsaltsaltsalt$X0ra9qlY7TJaGBDgorLevriQfwysW8fXnbybcO4mF4/",
     PASSWORD_SLOW},
    {"{SHA512-CRYPT}$6$saltsaltsaltsalt$ph0yGsyjzqdeFaon7.gJZo8eAG5/rj9/"
     "JdzOu1Rl7dKzBYg3xgvl7T2VQ2Rt81bc5AXkdA54r0p8QvC1omD6R1",
     PASSWORD_SLOW},
    {"$6$saltsaltsaltsalt$ph0yGsyjzqdeFaon7.gJZo8eAG5/rj9/"
     "JdzOu1Rl7dKzBYg3xgvl7T2VQ2Rt81bc5AXkdA54r0p8QvC1omD6R1",
     PASSWORD_SLOW},
    {"{BLF-CRYPT}$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", PASSWORD_SLOW},
    {"{CRYPT}$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", PASSWORD_SLOW},
    {"{CRYPT}$y$j75$F5Jx5fExrKuPp53xLKQ..1$l5YiXCKNY/N9ezall4xjJAFS/wg.kWVcFXfOzyxVn1.",
     PASSWORD_YESCRYPT},
    {"{CRYPT}$7$CU..../....KBzwRgMGUTiRKhdsOHAGb.$53YzmKUz4VI0WaeexcUR.8x//89ajPo55LdVpnqQG5C",
     PASSWORD_SLOW},
    {"{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0$"
     "d24DMwPvBDCOk2MMCh25X1upeHgooLW5p7HSUKjnfG0",
     PASSWORD_SLOW},
    {"{ARGON2I}$argon2i$v=19$m=256,t=3,p=1$c2FsdHNhbHRzYWx0$"
     "Qzj824+RYTikdM145ved1aZSzjXjrK5Vy96/vtxbZfM",
     PASSWORD_SLOW},
    {"{PBKDF2}$1$saltsaltsaltsalt$5000$8e455ae73af786d64f3a0b291ef71a407519dbe8", PASSWORD_SLOW},
    {"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", PASSWORD_FAST},
    {"{SHA1}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4", PASSWORD_FAST},
    {"{SHA.HEX}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4", PASSWORD_FAST},
    {"{SSHA}PazhiP0tMrhP88VfCrb/4gAaqI9wZXBwZXIhIQ==", PASSWORD_FAST},
    {"{SSHA.hex}3dace188fd2d32b84ff3c55f0ab6ffe2001aa88f7065707065722121", PASSWORD_FAST},
    {"{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", PASSWORD_FAST},
    {"{SHA256.b64}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols", PASSWORD_FAST},
    {"{SSHA256}as8iKPC7XcVeVGEaviMbcwqpkmL5zLNg4RjSNGla7VNwZXBwZXIhIQ==", PASSWORD_FAST},
    {"{SHA512.hex}bd2b1aaf7ef4f09be9f52ce2d8d599674d81aa9d6a4421696dc4d93dd0619d68"
     "2ce56b4d64a9ef097761ced99e0f67265b5f76085e5b0ee7ca4696b2ad6fe2b2",
     PASSWORD_FAST},
    {"{SSHA512}28cC8iaUHBIgnrgZ/R208vhjjoMw4OrRA7uw82bcX6bg0Cj7GQQYxAhQYAxONC4sU/"
     "2lyOs5WRrwImkUL4xwa"
     "3BlcHBlciEh",
     PASSWORD_FAST},
    {"{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69", PASSWORD_FAST},
    {"{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==", PASSWORD_FAST},
    {"{SMD5}mc0uWpXVVe5747A4pKhGJXNhbHQ=", PASSWORD_FAST},
};

#define SAMPLES (sizeof samples / sizeof samples[0])

Test(password, verifies_hashes_made_by_other_tools)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        enum password_class class;
        const char *credential = samples[i].credential;
        cr_expect_eq(password_check(credential, &class), STATUS_OK, "%s", credential);
        cr_expect_eq(class, samples[i].class, "%s", credential);
        cr_expect_eq(password_verify(credential, "secret", 6), STATUS_OK, "%s", credential);
    }
}

Test(password, denies_every_other_password)
{
    static const char *const wrong[] = {"", "Secret", "secre", "secrets", "secret ", " secret"};
    for (size_t i = 0; i < SAMPLES; i++) {
        for (size_t j = 0; j < sizeof wrong / sizeof wrong[0]; j++) {
            enum status status = password_verify(samples[i].credential, wrong[j], strlen(wrong[j]));
            cr_expect_eq(status, STATUS_DENIED, "%s, %s", samples[i].credential, wrong[j]);
        }
        cr_expect_eq(password_verify(samples[i].credential, "secret\0x", 8), STATUS_DENIED, "%s",
                     samples[i].credential);
    }
}

Test(password, no_cut_credential_admits_the_password)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t length = strlen(samples[i].credential);
        for (size_t cut = 0; cut < length; cut++) {
            char *text = strndup(samples[i].credential, cut);
            cr_assert_not_null(text);
            enum status status = password_check(text, NULL);
            /* Verifying is slow for cuts that leave a setting to compute with: the last few do. */
            if (cut + 3 > length || cut < 12) {
                status = password_verify(text, "secret", 6);
                bool harmless = status != STATUS_OK || strcmp(text + cut - 1, "s") == 0;
                /* base64 without its padding is complete. */
                harmless |= samples[i].credential[cut] == '=';
                cr_expect(harmless, "%s", text);
            }
            free(text);
        }
    }
}

Test(password, refuses_unknown_schemes_and_malformed_data)
{
    static const struct {
        const char *credential;
        enum status status;
    } bad[] = {
        {"{CRAM-MD5}00", STATUS_UNSUPPORTED},
        {"{NOSUCH}x", STATUS_UNSUPPORTED},
        {"{}x", STATUS_UNSUPPORTED},
        {"{SHA.base32}x", STATUS_UNSUPPORTED},
        {"{CRYPT.b64}x", STATUS_UNSUPPORTED},
        {"{PBKDF2.hex}x", STATUS_UNSUPPORTED},
        {"{SHA", STATUS_INVALID},
        {"{", STATUS_INVALID},
        {"", STATUS_INVALID},
        {"!", STATUS_INVALID},
        {"*", STATUS_INVALID},
        {"{CRYPT}", STATUS_INVALID},
        {"secret", STATUS_INVALID},
        {"{CRYPT}$6$saltsaltsaltsalt$", STATUS_INVALID},
        {"{CRYPT}$6$saltsaltsaltsalt", STATUS_INVALID},
        {"{CRYPT}!$6$salt$hash", STATUS_INVALID},
        {"{SHA512-CRYPT}$5$saltsaltsaltsalt$X", STATUS_INVALID},
        {"{ARGON2ID}$argon2i$v=19$m=256,t=3,p=1$c2Fs$Qzj8", STATUS_INVALID},
        {"{PLAIN}", STATUS_INVALID},
        {"{SHA}5en6", STATUS_INVALID},
        {"{SSHA}5en6", STATUS_INVALID},
        {"{SHA256.hex}zz", STATUS_INVALID},
        {"{PBKDF2}$1$salt$0$8e455ae73af786d64f3a0b291ef71a407519dbe8", STATUS_INVALID},
        {"{PBKDF2}$1$salt$-1$8e455ae73af786d64f3a0b291ef71a407519dbe8", STATUS_INVALID},
        {"{PBKDF2}$1$salt$99999999999999999999$8e455ae73af786d64f3a0b291ef71a407519dbe8",
         STATUS_INVALID},
        {"{PBKDF2}$1$$5000$8e455ae73af786d64f3a0b291ef71a407519dbe8", STATUS_INVALID},
        {"{PBKDF2}$2$salt$5000$8e455ae73af786d64f3a0b291ef71a407519dbe8", STATUS_INVALID},
        {"{PBKDF2}$1$salt$5000$8e45", STATUS_INVALID},
        {"{SCRAM-SHA-256}4096,x", STATUS_INVALID},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        enum status status = password_check(bad[i].credential, NULL);
        cr_expect_eq(status, bad[i].status, "%s: %s", bad[i].credential, status_name(status));
        status = password_verify(bad[i].credential, "secret", 6);
        cr_expect_neq(status, STATUS_OK, "%s", bad[i].credential);
    }
}

Test(password, refuses_a_credential_that_is_too_long)
{
    char text[AUTH_CREDENTIAL_MAX + 2];
    memset(text, 'x', sizeof text);
    memcpy(text, "{PLAIN}", 7);
    text[sizeof text - 1] = '\0';
    cr_expect_eq(password_check(text, NULL), STATUS_TOO_BIG);
    text[sizeof text - 2] = '\0';
    cr_expect_eq(password_check(text, NULL), STATUS_OK);
}

Test(password, makes_yescrypt_that_verifies)
{
    char first[AUTH_CREDENTIAL_MAX + 1], second[AUTH_CREDENTIAL_MAX + 1];
    enum password_class class;
    cr_assert_eq(password_make("s\xc3\xa4 cret", 8, first, sizeof first), STATUS_OK);
    cr_assert_eq(password_make("s\xc3\xa4 cret", 8, second, sizeof second), STATUS_OK);
    cr_expect_str_neq(first, second);
    cr_expect_eq(strncmp(first, "{CRYPT}$y$", 10), 0);
    cr_expect_eq(password_check(first, &class), STATUS_OK);
    cr_expect_eq(class, PASSWORD_YESCRYPT);
    cr_expect_eq(password_verify(first, "s\xc3\xa4 cret", 8), STATUS_OK);
    cr_expect_eq(password_verify(first, "s\xc3\xa4 creT", 8), STATUS_DENIED);
}

Test(password, makes_nothing_of_passwords_it_could_not_verify)
{
    char text[AUTH_CREDENTIAL_MAX + 1], longest[AUTH_CRYPT_MAX + 1];
    memset(longest, 'p', sizeof longest);
    cr_expect_eq(password_make("", 0, text, sizeof text), STATUS_INVALID);
    cr_expect_eq(password_make("a\0b", 3, text, sizeof text), STATUS_INVALID);
    cr_expect_eq(password_make(longest, sizeof longest, text, sizeof text), STATUS_INVALID);
    cr_expect_eq(password_make("secret", 6, text, 20), STATUS_TOO_BIG);
    cr_assert_eq(password_make(longest, AUTH_CRYPT_MAX, text, sizeof text), STATUS_OK);
    cr_expect_eq(password_verify(text, longest, AUTH_CRYPT_MAX), STATUS_OK);
    cr_expect_eq(password_verify(text, longest, AUTH_CRYPT_MAX - 1), STATUS_DENIED);
    cr_expect_eq(password_verify(text, longest, AUTH_CRYPT_MAX + 1), STATUS_DENIED);
}

Test(password, the_dummy_costs_what_our_own_hashes_cost)
{
    struct password_dummy dummy;
    char text[AUTH_CREDENTIAL_MAX + 1];
    cr_assert_eq(password_dummy_init(&dummy), STATUS_OK);
    cr_assert_eq(password_make("secret", 6, text, sizeof text), STATUS_OK);
    /* The cost is in the characters between the second and the third dollar sign. */
    const char *cost = text + strlen("{CRYPT}");
    size_t length = (size_t)(strchr(cost + 3, '$') - cost);
    cr_expect_eq(strncmp(cost, dummy.setting, length + 1), 0, "%s, %s", cost, dummy.setting);
    password_dummy_verify(&dummy, "secret", 6);
    password_dummy_verify(&dummy, "", 0);
}

Test(password, makes_credentials_of_every_scheme_it_names)
{
    char text[AUTH_CREDENTIAL_MAX + 1], again[AUTH_CREDENTIAL_MAX + 1], start[40];
    for (size_t i = 0; password_schemes[i] != NULL; i++) {
        const char *scheme = password_schemes[i];
        cr_assert_eq(password_make_for(scheme, "secret", 6, text, sizeof text), STATUS_OK, "%s",
                     scheme);
        int length = snprintf(start, sizeof start, "{%s}", scheme);
        cr_expect_eq(strncmp(text, start, (size_t)length), 0, "%s", text);
        cr_expect_eq(password_check(text, NULL), STATUS_OK, "%s", scheme);
        cr_expect_eq(password_verify(text, "secret", 6), STATUS_OK, "%s", scheme);
        cr_expect_eq(password_verify(text, "secreT", 6), STATUS_DENIED, "%s", scheme);
        cr_assert_eq(password_make_for(scheme, "secret", 6, again, sizeof again), STATUS_OK);
        cr_expect_eq(strcmp(text, again) == 0, strcmp(scheme, "PLAIN") == 0, "%s", scheme);
        cr_expect_eq(password_make_for(scheme, "secret", 6, text, 8), STATUS_TOO_BIG, "%s", scheme);
        cr_expect_eq(password_make_for(scheme, "", 0, text, sizeof text), STATUS_INVALID);
    }
    cr_expect_eq(password_make_for("ssha512", "secret", 6, text, sizeof text), STATUS_OK);
    cr_expect_eq(password_make_for("", "secret", 6, text, sizeof text), STATUS_OK);
    cr_expect_eq(strncmp(text, "{CRYPT}$y$", 10), 0);
    cr_expect_eq(password_make_for("MD5", "secret", 6, text, sizeof text), STATUS_UNSUPPORTED);
    cr_expect_eq(password_make_for("NOPE", "secret", 6, text, sizeof text), STATUS_UNSUPPORTED);
    cr_expect_eq(password_make_for("PLAIN", "a\0b", 3, text, sizeof text), STATUS_INVALID);
}
