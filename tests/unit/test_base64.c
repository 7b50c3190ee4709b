/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/base64.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 4648 section 10. */
static const struct {
    const char *octets, *text;
} examples[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

Test(base64, gives_the_examples_of_the_standard_both_ways)
{
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        char text[16], octets[16];
        size_t length = base64_encode(examples[i].octets, strlen(examples[i].octets), text);
        cr_expect_eq(length, strlen(examples[i].text));
        cr_expect_eq(memcmp(text, examples[i].text, length), 0);
        cr_assert_eq(base64_decode(text, length, octets, &length), STATUS_OK);
        cr_expect_eq(length, strlen(examples[i].octets));
        cr_expect_eq(memcmp(octets, examples[i].octets, length), 0);
    }
}

Test(base64, gives_back_every_octet_also_in_place)
{
    char octets[259], text[BASE64_ENCODED(sizeof octets)];
    for (size_t i = 0; i < sizeof octets; i++) {
        octets[i] = (char)(i * 7 % 256);
    }
    for (size_t size = 0; size <= sizeof octets; size++) {
        size_t length = base64_encode(octets, size, text);
        cr_assert_eq(length, BASE64_ENCODED(size));
        cr_assert_leq(size, BASE64_DECODED_MAX(length));
        cr_assert_eq(base64_decode(text, length, text, &length), STATUS_OK);
        cr_assert_eq(length, size);
        cr_assert_eq(memcmp(text, octets, size), 0);
    }
}

Test(base64, refuses_each_character_off_the_alphabet_in_each_place)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int c = 0; c < 256; c++) {
        for (size_t place = 0; place < 8; place++) {
            char text[] = "AAAAAAAA", out[8];
            size_t length;
            bool good = c != 0 && strchr(alphabet, c) != NULL;
            text[place] = (char)c;
            if (c == '=' && place == 7) {
                good = true; /* padding */
            }
            enum status wanted = good ? STATUS_OK : STATUS_INVALID;
            cr_expect_eq(base64_decode(text, 8, out, &length), wanted, "%d at %zu", c, place);
        }
    }
}

Test(base64, refuses_padding_that_nobody_writes)
{
    static const char *const wrong[] = {
        "=",     "==",       "===",      "====", "A===", "AA=A",   "A",     "AA",       "AAA",
        "AAA=A", "AA==AAAA", "AAA=AAAA", "Zh==", "Zm9=", "Zg==\n", "Zg ==", "Zg======", " Zg==",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char out[16];
        size_t length = 99;
        cr_expect_eq(base64_decode(wrong[i], strlen(wrong[i]), out, &length), STATUS_INVALID, "%s",
                     wrong[i]);
        cr_expect_eq(length, 99);
    }
}

Test(base64, every_cut_is_refused_or_shorter)
{
    static const char text[] = "Zm9vYmFyZm9vYg==";
    char out[16];
    size_t length;
    for (size_t cut = 0; cut < strlen(text); cut++) {
        enum status wanted = cut % 4 == 0 ? STATUS_OK : STATUS_INVALID;
        cr_expect_eq(base64_decode(text, cut, out, &length), wanted, "%zu", cut);
    }
}
