/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/password_digest.h"

#include "auth/secret.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define SHA1_BASE64 "5en6G6MezRroT3XKqkdPOmY/BfQ="
#define SHA1_HEX    "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"
#define SSHA_BASE64 "PazhiP0tMrhP88VfCrb/4gAaqI9wZXBwZXIhIQ=="

static const struct password_digest bare = {
    .form = PASSWORD_DIGEST_BARE, .kind = DIGEST_SHA1, .text = PASSWORD_TEXT_BASE64};
static const struct password_digest salted = {
    .form = PASSWORD_DIGEST_SALTED, .kind = DIGEST_SHA1, .text = PASSWORD_TEXT_BASE64};

static void start(void)
{
    cr_assert_eq(secret_start(), STATUS_OK);
}

TestSuite(password_digest, .init = start);

static enum status verify(const struct password_digest *digest, const char *data)
{
    return password_digest_verify(digest, data, "secret", 6);
}

Test(password_digest, tells_hex_from_base64_by_length_unless_told)
{
    struct password_digest told = bare;
    cr_expect_eq(verify(&bare, SHA1_BASE64), STATUS_OK);
    cr_expect_eq(verify(&bare, SHA1_HEX), STATUS_OK);
    told.is_explicit = true;
    cr_expect_eq(verify(&told, SHA1_BASE64), STATUS_OK);
    cr_expect_eq(verify(&told, SHA1_HEX), STATUS_INVALID);
    told.text = PASSWORD_TEXT_HEX;
    cr_expect_eq(verify(&told, SHA1_HEX), STATUS_OK);
    cr_expect_eq(verify(&told, SHA1_BASE64), STATUS_INVALID);
}

Test(password_digest, a_salted_digest_may_have_any_salt_or_none)
{
    cr_expect_eq(verify(&salted, SSHA_BASE64), STATUS_OK);
    cr_expect_eq(verify(&salted, SHA1_BASE64), STATUS_OK);
    cr_expect_eq(password_digest_verify(&salted, SSHA_BASE64, "Secret", 6), STATUS_DENIED);
}

Test(password_digest, refuses_every_cut)
{
    for (size_t length = 0; length < strlen(SHA1_BASE64) - 1; length++) {
        char *cut = strndup(SHA1_BASE64, length);
        cr_assert_not_null(cut);
        cr_expect_eq(password_digest_check(&bare, cut), STATUS_INVALID, "%s", cut);
        cr_expect_eq(password_digest_check(&salted, cut), STATUS_INVALID, "%s", cut);
        free(cut);
    }
}

Test(password_digest, plain_text_is_compared_whole)
{
    const struct password_digest plain = {.form = PASSWORD_DIGEST_NONE, .text = PASSWORD_TEXT_RAW};
    cr_expect_eq(verify(&plain, "secret"), STATUS_OK);
    cr_expect_eq(verify(&plain, "secrets"), STATUS_DENIED);
    cr_expect_eq(verify(&plain, "secre"), STATUS_DENIED);
    cr_expect_eq(verify(&plain, ""), STATUS_INVALID);
}
