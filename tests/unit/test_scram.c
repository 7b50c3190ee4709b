/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/scram.h"

#include "auth/auth_limits.h"
#include "auth/secret.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void start(void)
{
    cr_assert_eq(secret_start(), STATUS_OK);
}

TestSuite(scram, .init = start);

/* Salt, iterations and password of the examples in RFC 5802 section 5 and RFC 7677 section 3; the
 * keys by Python's hashlib and hmac. */
#define SHA_1 "4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE="
#define SHA_256                                                                   \
    "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=," \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
/* The same with the password "IX". */
#define SHA_256_IX                                                                \
    "4096,W22ZaJ0SNY7soEsUEjb6gQ==,jm4XkHvFe7q0xZ4vmAKJUiTKPr1F+7MXnYyksTUVeBE=," \
    "EqXM4c5+I7lQ5vHl5Ngu2rY8DBMM1XjG0dY6GEjwLx0="

Test(scram, verifies_the_passwords_of_the_examples)
{
    cr_expect_eq(scram_verify(SCRAM_SHA_1, SHA_1, "pencil", 6), STATUS_OK);
    cr_expect_eq(scram_verify(SCRAM_SHA_256, SHA_256, "pencil", 6), STATUS_OK);
    cr_expect_eq(scram_verify(SCRAM_SHA_256, SHA_256, "Pencil", 6), STATUS_DENIED);
    cr_expect_eq(scram_verify(SCRAM_SHA_256, SHA_256, "", 0), STATUS_DENIED);
    cr_expect_eq(scram_verify(SCRAM_SHA_256, SHA_256, "pencil\0", 7), STATUS_DENIED);
    cr_expect_eq(scram_verify(SCRAM_SHA_256, SHA_1, "pencil", 6), STATUS_INVALID);
}

/* RFC 4013 section 3, example 1: I<soft hyphen>X is IX. */
Test(scram, prepares_passwords)
{
    cr_expect_eq(scram_verify(SCRAM_SHA_256, SHA_256_IX, "I\xc2\xadX", 4), STATUS_OK);
    cr_expect_eq(scram_verify(SCRAM_SHA_256, SHA_256_IX, "IX", 2), STATUS_OK);
    /* Not UTF-8 and a control character: nobody's password, and none is made of them. */
    char text[AUTH_CREDENTIAL_MAX];
    cr_expect_eq(scram_verify(SCRAM_SHA_256, SHA_256_IX, "\xff", 1), STATUS_DENIED);
    cr_expect_eq(scram_make(SCRAM_SHA_256, "\xff", 1, text, sizeof text), STATUS_INVALID);
    cr_expect_eq(scram_make(SCRAM_SHA_256, "a\x07", 2, text, sizeof text), STATUS_INVALID);
}

Test(scram, makes_keys_that_verify)
{
    char text[AUTH_CREDENTIAL_MAX], again[AUTH_CREDENTIAL_MAX];
    cr_assert_eq(scram_make(SCRAM_SHA_256, "s\xc3\xa4 t", 5, text, sizeof text), STATUS_OK);
    cr_assert_eq(scram_make(SCRAM_SHA_1, "s\xc3\xa4 t", 5, again, sizeof again), STATUS_OK);
    cr_expect_eq(scram_check(SCRAM_SHA_256, text), STATUS_OK);
    cr_expect_eq(scram_verify(SCRAM_SHA_256, text, "s\xc3\xa4 t", 5), STATUS_OK);
    cr_expect_eq(scram_verify(SCRAM_SHA_1, again, "s\xc3\xa4 t", 5), STATUS_OK);
    cr_expect_eq(scram_verify(SCRAM_SHA_256, text, "x", 1), STATUS_DENIED);
    cr_expect_eq(strtoul(text, NULL, 10), AUTH_SCRAM_ITERATIONS);
}

Test(scram, makes_nothing_of_what_no_client_can_send)
{
    char text[AUTH_CREDENTIAL_MAX], longest[AUTH_CRYPT_MAX + 1];
    memset(longest, 'p', sizeof longest);
    cr_expect_eq(scram_make(SCRAM_SHA_256, "", 0, text, sizeof text), STATUS_INVALID);
    cr_expect_eq(scram_make(SCRAM_SHA_256, "a\0b", 3, text, sizeof text), STATUS_INVALID);
    cr_expect_eq(scram_make(SCRAM_SHA_256, longest, sizeof longest, text, sizeof text),
                 STATUS_INVALID);
    cr_expect_eq(scram_make(SCRAM_SHA_256, "secret", 6, text, 40), STATUS_TOO_BIG);
}

Test(scram, refuses_every_cut_and_malformed_numbers)
{
    for (size_t length = 0; length < strlen(SHA_256); length++) {
        char *cut = strndup(SHA_256, length);
        cr_assert_not_null(cut);
        /* Without its padding the last field is complete. */
        bool complete = length == strlen(SHA_256) - 1;
        cr_expect_eq(scram_check(SCRAM_SHA_256, cut), complete ? STATUS_OK : STATUS_INVALID, "%s",
                     cut);
        free(cut);
    }
    static const char *const bad[] = {
        "0" SHA_256,
        "-" SHA_256,
        " " SHA_256,
        "+" SHA_256,
        "9999999" SHA_256,
        SHA_256 ",",
        SHA_256 "x",
        "4096,,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(scram_check(SCRAM_SHA_256, bad[i]), STATUS_INVALID, "%s", bad[i]);
    }
}
