/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/secret.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void start(void)
{
    cr_assert_eq(secret_start(), STATUS_OK);
}

TestSuite(secret, .init = start);

Test(secret, digests_depend_on_key_and_on_where_parts_end)
{
    struct secret_key key, other;
    struct secret_digest first, second;
    secret_key_make(&key);
    secret_key_make(&other);
    const struct secret_part ab_c[] = {{"ab", 2}, {"c", 1}}, a_bc[] = {{"a", 1}, {"bc", 2}};
    secret_digest(&key, ab_c, 2, &first);
    secret_digest(&key, a_bc, 2, &second);
    cr_expect_not(secret_equal(&first, &second, sizeof first));
    secret_digest(&key, ab_c, 2, &second);
    cr_expect(secret_equal(&first, &second, sizeof first));
    secret_digest(&other, ab_c, 2, &second);
    cr_expect_not(secret_equal(&first, &second, sizeof first));
    cr_expect_eq(secret_hash(&key, "x", 1), secret_hash(&key, "x", 1));
    cr_expect_neq(secret_hash(&key, "x", 1), secret_hash(&other, "x", 1));
}

Test(secret, decodes_base64_with_and_without_padding)
{
    uint8_t out[8];
    size_t length = 0;
    cr_assert_eq(secret_from_base64("c2FsdA==", 8, out, sizeof out, &length), STATUS_OK);
    cr_expect(length == 4 && memcmp(out, "salt", 4) == 0);
    cr_assert_eq(secret_from_base64("c2FsdA", 6, out, sizeof out, &length), STATUS_OK);
    cr_expect(length == 4 && memcmp(out, "salt", 4) == 0);
    cr_assert_eq(secret_from_base64("", 0, out, sizeof out, &length), STATUS_OK);
    cr_expect_eq(length, 0);
}

Test(secret, refuses_bad_base64_and_what_does_not_fit)
{
    static const char *const bad[] = {
        "c2FsdA=", "c2Fsd", "c2Fs dA==", "====", "c2FsdA==x", "c2-_", "\xff"};
    uint8_t out[8];
    size_t length = 77;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_neq(secret_from_base64(bad[i], strlen(bad[i]), out, sizeof out, &length),
                      STATUS_OK, "%s", bad[i]);
    }
    cr_expect_neq(secret_from_base64("MDEyMzQ1Njc4", 12, out, sizeof out, &length), STATUS_OK);
    cr_expect_eq(length, 77);
}

Test(secret, decodes_hex_in_either_case_and_nothing_else)
{
    uint8_t out[4];
    size_t length = 0;
    cr_assert_eq(secret_from_hex("73616C74", 8, out, sizeof out, &length), STATUS_OK);
    cr_expect(length == 4 && memcmp(out, "salt", 4) == 0);
    cr_expect_neq(secret_from_hex("736", 3, out, sizeof out, &length), STATUS_OK);
    cr_expect_neq(secret_from_hex("7g", 2, out, sizeof out, &length), STATUS_OK);
    cr_expect_neq(secret_from_hex("7361 C74", 8, out, sizeof out, &length), STATUS_OK);
    cr_expect_neq(secret_from_hex("73616c7400", 10, out, sizeof out, &length), STATUS_OK);
}

Test(secret, writes_padded_base64_only_where_it_fits)
{
    char out[9];
    cr_assert_eq(secret_to_base64("salt", 4, out, sizeof out), STATUS_OK);
    cr_expect_str_eq(out, "c2FsdA==");
    cr_expect_eq(secret_to_base64("salt", 4, out, sizeof out - 1), STATUS_TOO_BIG);
}

/* Made with the argon2 tool of Debian: printf secret | argon2 saltsaltsalt -id -t 2 -k 256 -p 1 -e
 */
#define ARGON2ID \
    "$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0$d24DMwPvBDCOk2MMCh25X1upeHgooLW5p7HSUKjnfG0"

Test(secret, verifies_argon2_made_by_its_own_tool)
{
    cr_expect_eq(secret_argon2_verify(ARGON2ID, "secret", 6), STATUS_OK);
    cr_expect_eq(secret_argon2_verify(ARGON2ID, "Secret", 6), STATUS_DENIED);
    cr_expect_eq(secret_argon2_verify(ARGON2ID, "", 0), STATUS_DENIED);
}

Test(secret, denies_every_cut_of_an_argon2_text)
{
    for (size_t length = 0; length < strlen(ARGON2ID); length++) {
        char *cut = strndup(ARGON2ID, length);
        cr_assert_not_null(cut);
        cr_expect_eq(secret_argon2_verify(cut, "secret", 6), STATUS_DENIED, "%s", cut);
        free(cut);
    }
}
