/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/sasl_gsasl.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct sasl_gsasl_library *library;

static void open_library(void)
{
    cr_assert_eq(sasl_gsasl_open(&library), STATUS_OK);
}

static void close_library(void)
{
    sasl_gsasl_close(&library);
    sasl_gsasl_close(&library);
}

TestSuite(sasl_gsasl, .init = open_library, .fini = close_library);

/* RFC 5802 section 5; the keys by Python's hashlib and hmac. */
Test(sasl_gsasl, derives_the_keys_of_the_example)
{
    struct scram_keys wanted, keys;
    cr_assert_eq(scram_parse(SCRAM_SHA_1,
                             "4096,QSXCR+Q6sek8bf92,6dlGYMOdZcOPutkcNY8U2g7vK9Y=,"
                             "D+CSWLOshSulAsxiupA+qs2/fTE=",
                             &wanted),
                 STATUS_OK);
    keys = wanted;
    memset(keys.stored, 0, sizeof keys.stored);
    memset(keys.server, 0, sizeof keys.server);
    cr_assert_eq(sasl_gsasl_derive(SCRAM_SHA_1, "pencil", &keys), STATUS_OK);
    cr_expect_eq(memcmp(keys.stored, wanted.stored, 20), 0);
    cr_expect_eq(memcmp(keys.server, wanted.server, 20), 0);
    cr_expect_eq(sasl_gsasl_derive(SCRAM_SHA_1, "a\x07", &keys), STATUS_INVALID);
}

Test(sasl_gsasl, sends_the_salt_and_iterations_it_was_given)
{
    struct sasl_gsasl *exchange = NULL;
    struct scram_keys keys = {.iterations = 4096, .salt_length = 3, .salt = "abc"};
    char *output = NULL;
    size_t length = 0;
    cr_assert_eq(sasl_gsasl_begin(library, "SCRAM-SHA-256", &exchange), STATUS_OK);
    cr_assert_eq(sasl_gsasl_set_keys(exchange, SCRAM_SHA_256, &keys), STATUS_OK);
    cr_assert_eq(sasl_gsasl_step(exchange, "n,,n=demo,r=abc", 15, &output, &length), STATUS_AGAIN);
    cr_expect_eq(strncmp(output, "r=abc", 5), 0);
    cr_expect_not_null(strstr(output, ",s=YWJj,i=4096"));
    free(output);
    sasl_gsasl_end(&exchange);
    sasl_gsasl_end(&exchange);
}

/* RFC 2195 section 2. */
Test(sasl_gsasl, gives_the_digest_of_the_example)
{
    static const char challenge[] = "<1896.697170952@postoffice.reston.mci.net>";
    char digits[SASL_GSASL_CRAM_DIGITS];
    cr_assert_eq(sasl_gsasl_cram(library, challenge, strlen(challenge), "tanstaaftanstaaf", digits),
                 STATUS_OK);
    cr_expect_eq(memcmp(digits, "b913a602c7eda7a495b4e6e7334d3890", sizeof digits), 0);
    cr_expect_eq(sasl_gsasl_cram(library, challenge, strlen(challenge), "a\x07", digits),
                 STATUS_INVALID);
}

Test(sasl_gsasl, denies_garbage)
{
    struct sasl_gsasl *exchange = NULL;
    struct scram_keys keys = {.iterations = 4096, .salt_length = 3, .salt = "abc"};
    char *output = NULL;
    size_t length = 0;
    cr_assert_eq(sasl_gsasl_begin(library, "SCRAM-SHA-1", &exchange), STATUS_OK);
    cr_assert_eq(sasl_gsasl_set_keys(exchange, SCRAM_SHA_1, &keys), STATUS_OK);
    cr_expect_eq(sasl_gsasl_step(exchange, "garbage", 7, &output, &length), STATUS_DENIED);
    cr_expect_null(output);
    sasl_gsasl_end(&exchange);
    cr_expect_eq(sasl_gsasl_begin(library, "NO-SUCH", &exchange), STATUS_NO_MEMORY);
}
