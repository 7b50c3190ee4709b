/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/jwt.h"

#include "auth/auth_limits.h"
#include "auth/base64.h"
#include "tests/unit/jwt_maker.h"

#include <criterion/criterion.h>

#define CLAIMS "{\"sub\":\"demo\"}"

static cjose_jwk_t *rsa, *curve;
static struct jwt_keys *keys;
static char *set;

static void open_keys(void)
{
    rsa = jwt_make_key(2048, "r");
    curve = jwt_make_key(0, "e");
    cjose_jwk_t *both[] = {rsa, curve};
    set = jwt_make_set(both, 2);
    cr_assert_eq(jwt_keys_read(set, strlen(set), &keys, NULL), STATUS_OK);
}

static void close_keys(void)
{
    jwt_keys_free(&keys);
    jwt_keys_free(&keys);
    free(set);
    (void)cjose_jwk_release(rsa);
    (void)cjose_jwk_release(curve);
}

TestSuite(jwt, .init = open_keys, .fini = close_keys);

static enum status check(const char *token, size_t length)
{
    struct doc claims = {0};
    enum status status = jwt_verify(keys, token, length, &claims);
    if (status == STATUS_OK) {
        cr_expect_str_eq(doc_text(&claims, "sub"), "demo");
    }
    doc_free(&claims);
    return status;
}

static enum status check_made(const cjose_jwk_t *key, const char *algorithm, const char *id)
{
    char *token = jwt_make_token(key, algorithm, id, CLAIMS);
    enum status status = check(token, strlen(token));
    free(token);
    return status;
}

Test(jwt, takes_what_the_issuers_keys_have_signed)
{
    static const char *const algorithms[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"};
    cr_expect_eq(jwt_keys_count(keys), 2);
    for (size_t i = 0; i < 6; i++) {
        cr_expect_eq(check_made(rsa, algorithms[i], "r"), STATUS_OK, "%s", algorithms[i]);
        cr_expect_eq(check_made(rsa, algorithms[i], NULL), STATUS_OK, "%s", algorithms[i]);
    }
    cr_expect_eq(check_made(curve, "ES256", "e"), STATUS_OK);
    cr_expect_eq(check_made(curve, "ES256", NULL), STATUS_OK);
}

Test(jwt, refuses_other_keys_and_names_of_keys_unknown_here)
{
    cjose_jwk_t *other = jwt_make_key(0, "e");
    cr_expect_eq(check_made(other, "ES256", "e"), STATUS_DENIED);
    cr_expect_eq(check_made(other, "ES256", "new"), STATUS_NOT_FOUND);
    cr_expect_eq(check_made(curve, "ES256", "r"), STATUS_NOT_FOUND); /* a key of another kind */
    (void)cjose_jwk_release(other);
}

/* A public key is no secret: what is signed with its octets proves nothing. */
Test(jwt, refuses_symmetric_algorithms_and_none)
{
    cjose_err error;
    cjose_jwk_t *octets = cjose_jwk_create_oct_spec((const uint8_t *)set, strlen(set), &error);
    static const char *const algorithms[] = {"HS256", "HS384", "HS512"};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(check_made(octets, algorithms[i], "r"), STATUS_DENIED);
    }
    (void)cjose_jwk_release(octets);
    /* {"alg":"none"} and "None", and claims, and no signature. */
    static const char *const none[] = {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJkZW1vIn0.",
                                       "eyJhbGciOiJOb25lIn0.eyJzdWIiOiJkZW1vIn0.",
                                       "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJkZW1vIn0."};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(check(none[i], strlen(none[i])), STATUS_DENIED);
    }
}

Test(jwt, every_cut_and_every_changed_character_is_refused)
{
    char *token = jwt_make_token(curve, "ES256", "e", CLAIMS);
    size_t length = strlen(token);
    for (size_t cut = 0; cut < length; cut++) {
        cr_expect_neq(check(token, cut), STATUS_OK, "%zu", cut);
    }
    for (size_t at = 0; at + 1 < length; at++) { /* the last one has bits nobody reads */
        char was = token[at];
        token[at] = was == 'A' ? 'B' : 'A';
        cr_expect_neq(check(token, length), STATUS_OK, "%zu", at);
        token[at] = was;
    }
    cr_expect_eq(check(token, length), STATUS_OK);
    free(token);
}

Test(jwt, refuses_what_is_around_a_token_and_claims_that_are_no_object)
{
    char *token = jwt_make_token(curve, "ES256", "e", CLAIMS), longer[2000];
    (void)snprintf(longer, sizeof longer, "%s\n", token);
    cr_expect_eq(check(longer, strlen(longer)), STATUS_DENIED);
    (void)snprintf(longer, sizeof longer, " %s", token);
    cr_expect_eq(check(longer, strlen(longer)), STATUS_DENIED);
    (void)snprintf(longer, sizeof longer, "%s.x", token);
    cr_expect_eq(check(longer, strlen(longer)), STATUS_DENIED);
    free(token);
    token = jwt_make_token(curve, "ES256", "e", "demo");
    cr_expect_eq(check(token, strlen(token)), STATUS_DENIED);
    free(token);
}

static enum status read_set(const char *text)
{
    struct jwt_keys *read = NULL;
    struct error error = {0};
    enum status status = jwt_keys_read(text, strlen(text), &read, &error);
    jwt_keys_free(&read);
    return status;
}

/* cjose ends the process by an assertion when it decodes what is not base64. */
Test(jwt, refuses_what_is_not_base64_in_tokens_and_keys)
{
    static const char *const wrong[] = {
        "A.A.A",
        "AAAAA.AAAA.AAAA",
        "AAAA.AAAAA.AAAA",
        "AAAA.AAAA.AAAAA",
        "..",
        "AA=A.AAAA.AAAA",
        "eyJhbGciOiJFUzI1NiJ9.e30.A",
        "eyJhbGciOiJFUzI1NiJ9.e30.AAAAA",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_expect_eq(check(wrong[i], strlen(wrong[i])), STATUS_DENIED);
    }
    cr_expect_eq(read_set("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MK=A\","
                          "\"y\":\"AAAA\"}]}"),
                 STATUS_INVALID);
    cr_expect_eq(read_set("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AAAAA\",\"e\":\"AQAB\"}]}"),
                 STATUS_INVALID);
}

Test(jwt, leaves_out_keys_that_are_not_for_this)
{
    cr_expect_eq(read_set(""), STATUS_INVALID);
    cr_expect_eq(read_set("{}"), STATUS_INVALID);
    cr_expect_eq(read_set("{\"keys\":{}}"), STATUS_INVALID);
    cr_expect_eq(read_set("{\"keys\":[]}"), STATUS_INVALID);
    cr_expect_eq(read_set("{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}"), STATUS_INVALID);
    cr_expect_eq(read_set("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"AQAB\"}]}"),
                 STATUS_INVALID);
    cjose_jwk_t *weak = jwt_make_key(1024, "w");
    char *text = jwt_make_set(&weak, 1);
    cr_expect_eq(read_set(text), STATUS_INVALID);
    free(text);
    (void)cjose_jwk_release(weak);
    text = jwt_make_set(&curve, 1);
    char other[4000];
    cr_expect_eq(read_set(text), STATUS_OK);
    (void)snprintf(other, sizeof other, "{\"keys\":[{\"use\":\"enc\",%s", text + 10);
    cr_expect_eq(read_set(other), STATUS_INVALID);
    /* One that names its algorithm serves no other. */
    (void)snprintf(other, sizeof other, "{\"keys\":[{\"alg\":\"ES384\",%s", text + 10);
    jwt_keys_free(&keys);
    cr_assert_eq(jwt_keys_read(other, strlen(other), &keys, NULL), STATUS_OK);
    cr_expect_eq(check_made(curve, "ES256", "e"), STATUS_NOT_FOUND);
    free(text);
}
