/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/secret.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

static_assert(SECRET_KEY_OCTETS >= crypto_shorthash_KEYBYTES, "a key serves SipHash too");
static_assert(SECRET_KEY_OCTETS <= crypto_generichash_KEYBYTES_MAX &&
                  SECRET_KEY_OCTETS >= crypto_generichash_KEYBYTES_MIN,
              "a key fits BLAKE2b");

enum status secret_start(void)
{
    return sodium_init() < 0 ? STATUS_UNSUPPORTED : STATUS_OK;
}

void secret_random(void *out, size_t size)
{
    randombytes_buf(out, size);
}

void secret_key_make(struct secret_key *out_key)
{
    secret_random(out_key->octets, sizeof out_key->octets);
}

bool secret_equal(const void *left, const void *right, size_t size)
{
    return sodium_memcmp(left, right, size) == 0;
}

void secret_digest(const struct secret_key *key, const struct secret_part *parts, size_t count,
                   struct secret_digest *out_digest)
{
    crypto_generichash_state state;
    /* These fail only for sizes out of range, and ours are checked when compiling. */
    (void)crypto_generichash_init(&state, key->octets, sizeof key->octets,
                                  sizeof out_digest->octets);
    for (size_t i = 0; i < count; i++) {
        uint64_t length = parts[i].length;
        (void)crypto_generichash_update(&state, (const unsigned char *)&length, sizeof length);
        if (parts[i].length > 0) {
            (void)crypto_generichash_update(&state, parts[i].data, parts[i].length);
        }
    }
    (void)crypto_generichash_final(&state, out_digest->octets, sizeof out_digest->octets);
    sodium_memzero(&state, sizeof state);
}

uint64_t secret_hash(const struct secret_key *key, const void *data, size_t length)
{
    uint64_t hash;
    unsigned char octets[crypto_shorthash_BYTES];
    static_assert(sizeof hash == sizeof octets, "SipHash gives 64 bits");
    (void)crypto_shorthash(octets, data, length, key->octets); /* cannot fail */
    memcpy(&hash, octets, sizeof hash);
    return hash;
}

enum status secret_from_base64(const char *text, size_t length, uint8_t *out, size_t size,
                               size_t *out_length)
{
    static const int variants[] = {sodium_base64_VARIANT_ORIGINAL,
                                   sodium_base64_VARIANT_ORIGINAL_NO_PADDING};
    if (length / 4 * 3 > size + 2) {
        return STATUS_TOO_BIG;
    }
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
        size_t decoded = 0;
        const char *end = NULL;
        if (sodium_base642bin(out, size, text, length, NULL, &decoded, &end, variants[i]) == 0 &&
            end == text + length) {
            *out_length = decoded;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

enum status secret_from_hex(const char *text, size_t length, uint8_t *out, size_t size,
                            size_t *out_length)
{
    if (length / 2 > size) {
        return STATUS_TOO_BIG;
    }
    size_t decoded = 0;
    const char *end = NULL;
    if (length % 2 != 0 || sodium_hex2bin(out, size, text, length, NULL, &decoded, &end) != 0 ||
        end != text + length) {
        return STATUS_INVALID;
    }
    *out_length = decoded;
    return STATUS_OK;
}

enum status secret_to_base64(const void *data, size_t length, char *out, size_t size)
{
    if (sodium_base64_encoded_len(length, sodium_base64_VARIANT_ORIGINAL) > size) {
        return STATUS_TOO_BIG;
    }
    (void)sodium_bin2base64(out, size, data, length, sodium_base64_VARIANT_ORIGINAL);
    return STATUS_OK;
}

enum status secret_argon2_verify(const char *hash, const char *password, size_t length)
{
    return crypto_pwhash_str_verify(hash, password, length) == 0 ? STATUS_OK : STATUS_DENIED;
}

enum status secret_argon2_make(const char *password, size_t length, char out[SECRET_ARGON2_MAX])
{
    static_assert(SECRET_ARGON2_MAX >= crypto_pwhash_STRBYTES, "room for any");
    return crypto_pwhash_str(out, password, length, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                             crypto_pwhash_MEMLIMIT_INTERACTIVE) == 0
               ? STATUS_OK
               : STATUS_NO_MEMORY;
}
