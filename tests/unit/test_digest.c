/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/digest.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void expect(enum digest_kind kind, const char *data, const char *salt, const char *hex)
{
    uint8_t digest[DIGEST_OCTETS_MAX];
    char text[2 * DIGEST_OCTETS_MAX + 1] = "";
    cr_assert_eq(digest_salted(kind, data, strlen(data), salt, strlen(salt), digest), STATUS_OK);
    for (size_t i = 0; i < digest_size(kind); i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
    cr_expect_str_eq(text, hex);
}

/* The values are Python's hashlib's. */
Test(digest, gives_the_known_digests)
{
    expect(DIGEST_MD5, "secret", "", "5ebe2294ecd0e0f08eab7690d2a6ee69");
    expect(DIGEST_SHA1, "secret", "", "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4");
    expect(DIGEST_SHA256, "secret", "",
           "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b");
    expect(DIGEST_SHA512, "secret", "",
           "bd2b1aaf7ef4f09be9f52ce2d8d599674d81aa9d6a4421696dc4d93dd0619d68"
           "2ce56b4d64a9ef097761ced99e0f67265b5f76085e5b0ee7ca4696b2ad6fe2b2");
}

Test(digest, puts_the_salt_behind_the_data)
{
    expect(DIGEST_SHA1, "secret", "pepper!!", "3dace188fd2d32b84ff3c55f0ab6ffe2001aa88f");
    expect(DIGEST_SHA1, "secretpepper!!", "", "3dace188fd2d32b84ff3c55f0ab6ffe2001aa88f");
}

/* RFC 6070, section 2. */
Test(digest, gives_the_known_pbkdf2_keys)
{
    static const uint8_t one[20] = {0x0c, 0x60, 0xc8, 0x0f, 0x96, 0x1f, 0x0e, 0x71, 0xf3, 0xa9,
                                    0xb5, 0x24, 0xaf, 0x60, 0x12, 0x06, 0x2f, 0xe0, 0x37, 0xa6};
    static const uint8_t two[20] = {0xea, 0x6c, 0x01, 0x4d, 0xc7, 0x2d, 0x6f, 0x8c, 0xcd, 0x1e,
                                    0xd9, 0x2a, 0xce, 0x1d, 0x41, 0xf0, 0xd8, 0xde, 0x89, 0x57};
    uint8_t key[20];
    cr_assert_eq(digest_pbkdf2(DIGEST_SHA1, "password", 8, "salt", 4, 1, key, sizeof key),
                 STATUS_OK);
    cr_expect_arr_eq(key, one, sizeof key);
    cr_assert_eq(digest_pbkdf2(DIGEST_SHA1, "password", 8, "salt", 4, 2, key, sizeof key),
                 STATUS_OK);
    cr_expect_arr_eq(key, two, sizeof key);
}

Test(digest, refuses_zero_iterations)
{
    uint8_t key[20];
    cr_expect_eq(digest_pbkdf2(DIGEST_SHA1, "p", 1, "s", 1, 0, key, sizeof key), STATUS_INVALID);
    cr_expect_eq(digest_pbkdf2(DIGEST_SHA1, "p", 1, "s", 1, 1, key, 0), STATUS_INVALID);
}
