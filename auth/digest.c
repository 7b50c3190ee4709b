/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/digest.h"

#include <assert.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>

size_t digest_size(enum digest_kind kind)
{
    static const size_t sizes[DIGEST_KINDS] = {
        [DIGEST_MD5] = 16, [DIGEST_SHA1] = 20, [DIGEST_SHA256] = 32, [DIGEST_SHA512] = 64};
    assert(kind < DIGEST_KINDS);
    return sizes[kind];
}

static const EVP_MD *digest_method(enum digest_kind kind)
{
    switch (kind) {
    case DIGEST_MD5:
        return EVP_md5();
    case DIGEST_SHA1:
        return EVP_sha1();
    case DIGEST_SHA256:
        return EVP_sha256();
    default:
        return EVP_sha512();
    }
}

enum status digest_salted(enum digest_kind kind, const void *data, size_t length, const void *salt,
                          size_t salt_length, uint8_t out[DIGEST_OCTETS_MAX])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL) {
        return STATUS_NO_MEMORY;
    }
    unsigned written = 0;
    bool done = EVP_DigestInit_ex(context, digest_method(kind), NULL) == 1 &&
                EVP_DigestUpdate(context, data, length) == 1 &&
                EVP_DigestUpdate(context, salt, salt_length) == 1 &&
                EVP_DigestFinal_ex(context, out, &written) == 1;
    EVP_MD_CTX_free(context); /* wipes what it held */
    assert(!done || written == digest_size(kind));
    return done ? STATUS_OK : STATUS_UNSUPPORTED;
}

enum status digest_pbkdf2(enum digest_kind kind, const char *password, size_t length,
                          const void *salt, size_t salt_length, uint32_t iterations, uint8_t *out,
                          size_t size)
{
    if (iterations == 0 || iterations > INT_MAX || length > INT_MAX || salt_length > INT_MAX ||
        size == 0 || size > INT_MAX) {
        return STATUS_INVALID;
    }
    int done = PKCS5_PBKDF2_HMAC(password, (int)length, salt, (int)salt_length, (int)iterations,
                                 digest_method(kind), (int)size, out);
    return done == 1 ? STATUS_OK : STATUS_UNSUPPORTED;
}
