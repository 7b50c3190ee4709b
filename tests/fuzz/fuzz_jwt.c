/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes tokens and sets of keys. An input whose first octet is even is a token, to be verified
 * with a key whose private half nobody has: it never is. Any other is a set of keys.
 */
#include "auth/jwt.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The public keys of RFC 7517 appendix A.1, the first for signatures. */
static const char set[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
    "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\",\"kid\":\"1\"},"
    "{\"kty\":\"RSA\",\"n\":"
    "\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7"
    "aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5"
    "v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bF"
    "TWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw\","
    "\"e\":\"AQAB\",\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}]}";

static void verify(const uint8_t *data, size_t size)
{
    static struct jwt_keys *keys;
    struct doc claims = {0};
    if (keys == NULL) {
        enum status read = jwt_keys_read(set, sizeof set - 1, &keys, NULL);
        assert(read == STATUS_OK && jwt_keys_count(keys) == 2);
    }
    char *token = malloc(size > 0 ? size : 1);
    assert(token != NULL);
    memcpy(token, data, size);
    enum status status = jwt_verify(keys, token, size, &claims);
    assert(status != STATUS_OK);
    free(token);
}

static void read_set(const uint8_t *data, size_t size)
{
    struct jwt_keys *keys = NULL;
    if (jwt_keys_read((const char *)data, size, &keys, NULL) == STATUS_OK) {
        assert(jwt_keys_count(keys) > 0);
    }
    jwt_keys_free(&keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] % 2 == 0) {
        verify(data + 1, size - 1);
    } else if (size > 0) {
        read_set(data + 1, size - 1);
    }
    return 0;
}
