/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/jwt.h"

#include "auth/auth_limits.h"

#include <cjose/cjose.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct jwt_key {
    cjose_jwk_t *key;
    cjose_jwk_kty_t kind;
    char id[AUTH_JWT_NAME_MAX + 1];        /* "kid"; may be empty */
    char algorithm[AUTH_JWT_NAME_MAX + 1]; /* "alg": for this one only; may be empty */
};

struct jwt_keys {
    size_t count;
    struct jwt_key keys[AUTH_JWT_KEYS_MAX];
};

static const struct {
    const char *name;
    cjose_jwk_kty_t kind;
    int curve; /* of an elliptic key */
} algorithms[] = {
    {"RS256", CJOSE_JWK_KTY_RSA, 0},
    {"RS384", CJOSE_JWK_KTY_RSA, 0},
    {"RS512", CJOSE_JWK_KTY_RSA, 0},
    {"PS256", CJOSE_JWK_KTY_RSA, 0},
    {"PS384", CJOSE_JWK_KTY_RSA, 0},
    {"PS512", CJOSE_JWK_KTY_RSA, 0},
    {"ES256", CJOSE_JWK_KTY_EC, CJOSE_JWK_EC_P_256},
    {"ES384", CJOSE_JWK_KTY_EC, CJOSE_JWK_EC_P_384},
    {"ES512", CJOSE_JWK_KTY_EC, CJOSE_JWK_EC_P_521},
};

#define ALGORITHMS (sizeof algorithms / sizeof algorithms[0])

/* Whether it is base64 for addresses (RFC 7515 section 2). cjose stops the process by an assertion
 * when it decodes some texts that are not: it is given no other. */
static bool is_url_base64(const char *text, size_t length)
{
    static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789-_";
    for (size_t i = 0; i < length; i++) {
        if (memchr(characters, text[i], sizeof characters - 1) == NULL) {
            return false;
        }
    }
    return length > 0 && length % 4 != 1;
}

/* --- keys --------------------------------------------------------------------------------------
 */

/* A text of the key, or "" when it has none. False when it is too long to be compared. */
static bool copy_text(const struct doc *item, const char *name, char out[AUTH_JWT_NAME_MAX + 1])
{
    const char *text = doc_text(item, name);
    text = text != NULL ? text : "";
    if (strlen(text) > AUTH_JWT_NAME_MAX) {
        return false;
    }
    memcpy(out, text, strlen(text) + 1);
    return true;
}

/* Whether all numbers of a key are base64. */
static bool has_numbers(const struct doc *item)
{
    static const char *const names[] = {"n", "e", "x", "y", "d", "k", "p", "q", "dp", "dq", "qi"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = doc_text(item, names[i]);
        if (text != NULL && !is_url_base64(text, strlen(text))) {
            return false;
        }
    }
    return true;
}

/* Whether the key is one that algorithms[] can use: a public one, and not too weak. */
static bool is_fit(struct jwt_key *key)
{
    cjose_err error;
    key->kind = cjose_jwk_get_kty(key->key, &error);
    if (key->kind == CJOSE_JWK_KTY_RSA) {
        return cjose_jwk_get_keysize(key->key, &error) >= AUTH_JWT_RSA_BITS_MIN;
    }
    return key->kind == CJOSE_JWK_KTY_EC;
}

/* False: not a key for us. */
static bool read_key(const struct doc *item, struct jwt_key *out_key)
{
    cjose_err error;
    const char *use = doc_text(item, "use");
    if ((use != NULL && strcmp(use, "sig") != 0) || !has_numbers(item) ||
        !copy_text(item, "kid", out_key->id) || !copy_text(item, "alg", out_key->algorithm)) {
        return false;
    }
    char *text = doc_write(item, false);
    out_key->key = text != NULL ? cjose_jwk_import(text, strlen(text), &error) : NULL;
    free(text);
    if (out_key->key != NULL && !is_fit(out_key)) {
        (void)cjose_jwk_release(out_key->key); /* says whether others hold it: nobody does */
        out_key->key = NULL;
    }
    return out_key->key != NULL;
}

enum status jwt_keys_read(const char *text, size_t length, struct jwt_keys **out_keys,
                          struct error *out_error)
{
    struct doc set, list, item;
    enum status status = doc_parse(text, length, &set, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    struct jwt_keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL) {
        doc_free(&set);
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "reading a set of keys");
    }
    bool is_set = doc_member(&set, "keys", &list);
    for (size_t i = 0; is_set && keys->count < AUTH_JWT_KEYS_MAX && doc_item(&list, i, &item);
         i++) {
        keys->count += read_key(&item, &keys->keys[keys->count]);
    }
    doc_free(&set);
    if (keys->count == 0) {
        jwt_keys_free(&keys);
        return error_set(out_error, STATUS_INVALID, 0, NULL,
                         "no key for signatures (RSA of %d bits or more, or elliptic curves) is in "
                         "the set of keys",
                         AUTH_JWT_RSA_BITS_MIN);
    }
    *out_keys = keys;
    return STATUS_OK;
}

void jwt_keys_free(struct jwt_keys **keys)
{
    if (*keys == NULL) {
        return;
    }
    for (size_t i = 0; i < (*keys)->count; i++) {
        (void)cjose_jwk_release((*keys)->keys[i].key); /* as above */
    }
    free(*keys);
    *keys = NULL;
}

size_t jwt_keys_count(const struct jwt_keys *keys)
{
    return keys->count;
}

/* --- tokens ------------------------------------------------------------------------------------
 */

/* Whether the key may verify what `which` of the algorithms has signed. */
static bool key_serves(const struct jwt_key *key, size_t which, const char *id)
{
    cjose_err error;
    if (key->kind != algorithms[which].kind || (id != NULL && strcmp(key->id, id) != 0) ||
        (key->algorithm[0] != '\0' && strcmp(key->algorithm, algorithms[which].name) != 0)) {
        return false;
    }
    return key->kind != CJOSE_JWK_KTY_EC ||
           (int)cjose_jwk_EC_get_curve(key->key, &error) == algorithms[which].curve;
}

static bool find_algorithm(const char *name, size_t *out_which)
{
    for (size_t i = 0; name != NULL && i < ALGORITHMS; i++) {
        if (strcmp(algorithms[i].name, name) == 0) {
            *out_which = i;
            return true;
        }
    }
    return false;
}

static enum status verify(const struct jwt_keys *keys, cjose_jws_t *jws)
{
    cjose_err error;
    struct doc member;
    size_t which;
    /* cjose's header is jansson's object, and remains the token's. */
    struct doc header = {.value = cjose_jws_get_protected(jws)};
    const char *id = doc_text(&header, "kid");
    if (!find_algorithm(doc_text(&header, "alg"), &which) || doc_member(&header, "crit", &member)) {
        return STATUS_DENIED; /* what is critical is unknown here (RFC 7515 section 4.1.11) */
    }
    enum status status = STATUS_NOT_FOUND;
    for (size_t i = 0; i < keys->count; i++) {
        if (!key_serves(&keys->keys[i], which, id)) {
            continue;
        }
        if (cjose_jws_verify(jws, keys->keys[i].key, &error)) {
            return STATUS_OK;
        }
        status = STATUS_DENIED;
    }
    return status;
}

/* Three parts in base64 for addresses, and nothing around them. */
static bool looks_signed(const char *token, size_t length)
{
    const char *end = token + length;
    const char *first = memchr(token, '.', length);
    const char *second = first != NULL ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    return second != NULL && is_url_base64(token, (size_t)(first - token)) &&
           is_url_base64(first + 1, (size_t)(second - first - 1)) &&
           is_url_base64(second + 1, (size_t)(end - second - 1));
}

enum status jwt_verify(const struct jwt_keys *keys, const char *token, size_t length,
                       struct doc *out_claims)
{
    cjose_err error;
    uint8_t *claims = NULL;
    size_t claims_length = 0;
    cjose_jws_t *jws = looks_signed(token, length) ? cjose_jws_import(token, length, &error) : NULL;
    if (jws == NULL) {
        return STATUS_DENIED;
    }
    enum status status = verify(keys, jws);
    if (status == STATUS_OK) {
        bool has_claims =
            cjose_jws_get_plaintext(jws, &claims, &claims_length, &error) &&
            doc_parse((const char *)claims, claims_length, out_claims, NULL) == STATUS_OK;
        status = has_claims ? STATUS_OK : STATUS_DENIED;
    }
    cjose_jws_release(jws);
    return status;
}
