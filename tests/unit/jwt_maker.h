/* SPDX-License-Identifier: Apache-2.0 */
/* An issuer of tokens for tests: keys made as they are wanted, and tokens signed with them. */
#ifndef TESTS_UNIT_JWT_MAKER_H
#define TESTS_UNIT_JWT_MAKER_H

#include <assert.h>
#include <cjose/cjose.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A key of `bits` (RSA) or on P-256 (0). */
static inline cjose_jwk_t *jwt_make_key(size_t bits, const char *id)
{
    static const uint8_t exponent[] = {1, 0, 1};
    cjose_err error;
    cjose_jwk_t *key = bits > 0
                           ? cjose_jwk_create_RSA_random(bits, exponent, sizeof exponent, &error)
                           : cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, &error);
    assert(key != NULL);
    if (id != NULL) {
        bool set = cjose_jwk_set_kid(key, id, strlen(id), &error);
        assert(set);
        (void)set;
    }
    return key;
}

/* The set of the public halves; the caller frees it. */
static inline char *jwt_make_set(cjose_jwk_t *const *keys, size_t count)
{
    cjose_err error;
    char *text = calloc(1, 65536);
    assert(text != NULL);
    (void)strcpy(text, "{\"keys\":[");
    for (size_t i = 0; i < count; i++) {
        char *key = cjose_jwk_to_json(keys[i], false, &error);
        assert(key != NULL && strlen(text) + strlen(key) < 65000);
        (void)strcat(strcat(text, i > 0 ? "," : ""), key);
        free(key);
    }
    return strcat(text, "]}");
}

/* A signed token; the caller frees it. */
static inline char *jwt_make_token(const cjose_jwk_t *key, const char *algorithm, const char *id,
                                   const char *claims)
{
    cjose_err error;
    const char *text = NULL;
    cjose_header_t *header = cjose_header_new(&error);
    bool good = header != NULL && cjose_header_set(header, CJOSE_HDR_ALG, algorithm, &error);
    if (good && id != NULL) {
        good = cjose_header_set(header, CJOSE_HDR_KID, id, &error);
    }
    cjose_jws_t *jws =
        good ? cjose_jws_sign(key, header, (const uint8_t *)claims, strlen(claims), &error) : NULL;
    good = jws != NULL && cjose_jws_export(jws, &text, &error);
    assert(good);
    char *copy = strdup(text);
    cjose_jws_release(jws);
    cjose_header_release(header);
    return copy;
}

#endif
