/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/scram.h"

#include "auth/auth_limits.h"
#include "auth/secret.h"
#include "io/mem.h"

#include <assert.h>
#include <gsasl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_OCTETS_MAX GSASL_HASH_MAX_SIZE

static_assert(KEY_OCTETS_MAX >= GSASL_HASH_SHA256_SIZE, "room for the larger hash");

/* What the text says, decoded. */
struct scram_keys {
    uint32_t iterations;
    size_t salt_length;
    uint8_t salt[AUTH_DIGEST_DATA_MAX];
    uint8_t stored[KEY_OCTETS_MAX];
    uint8_t server[KEY_OCTETS_MAX];
};

static Gsasl_hash gsasl_kind(enum scram_kind kind)
{
    return kind == SCRAM_SHA_1 ? GSASL_HASH_SHA1 : GSASL_HASH_SHA256;
}

/* Fills the two keys of `keys` from its salt and iterations. The library prepares the password (RFC
 * 4013) and refuses those that have no prepared form: STATUS_INVALID. */
static enum status derive(enum scram_kind kind, const char *password, struct scram_keys *keys)
{
    char salted[KEY_OCTETS_MAX], client[KEY_OCTETS_MAX];
    int result = gsasl_scram_secrets_from_password(
        gsasl_kind(kind), password, keys->iterations, (const char *)keys->salt, keys->salt_length,
        salted, client, (char *)keys->server, (char *)keys->stored);
    mem_wipe(salted, sizeof salted);
    mem_wipe(client, sizeof client);
    if (result == GSASL_OK) {
        return STATUS_OK;
    }
    return result == GSASL_MALLOC_ERROR ? STATUS_NO_MEMORY : STATUS_INVALID;
}

/* A copy of the octets as a string for libgsasl. STATUS_INVALID for NUL inside and beyond the
 * bound. */
static enum status to_string(const char *password, size_t length, char out[AUTH_CRYPT_MAX + 1])
{
    if (length == 0 || length > AUTH_CRYPT_MAX || memchr(password, '\0', length) != NULL) {
        return STATUS_INVALID;
    }
    memcpy(out, password, length);
    out[length] = '\0';
    return STATUS_OK;
}

/* Takes the base64 field that starts at `*text` and ends at `end`, and steps over both. */
static enum status take_field(const char **text, char end, uint8_t *out, size_t size,
                              size_t *out_length)
{
    const char *stop = strchr(*text, end);
    if (stop == NULL) {
        return STATUS_INVALID;
    }
    enum status status = secret_from_base64(*text, (size_t)(stop - *text), out, size, out_length);
    *text = end == '\0' ? stop : stop + 1;
    return status == STATUS_OK ? STATUS_OK : STATUS_INVALID;
}

static enum status parse(enum scram_kind kind, const char *text, struct scram_keys *out_keys)
{
    size_t size = gsasl_hash_length(gsasl_kind(kind));
    char *after = NULL;
    if (text[0] < '1' || text[0] > '9') {
        return STATUS_INVALID; /* strtoul would take blanks and signs */
    }
    unsigned long iterations = strtoul(text, &after, 10);
    if (*after != ',' || iterations > AUTH_ITERATIONS_MAX) {
        return STATUS_INVALID;
    }
    out_keys->iterations = (uint32_t)iterations;
    text = after + 1;
    size_t stored = 0, server = 0;
    if (take_field(&text, ',', out_keys->salt, sizeof out_keys->salt, &out_keys->salt_length) !=
            STATUS_OK ||
        take_field(&text, ',', out_keys->stored, sizeof out_keys->stored, &stored) != STATUS_OK ||
        take_field(&text, '\0', out_keys->server, sizeof out_keys->server, &server) != STATUS_OK) {
        return STATUS_INVALID;
    }
    bool fits = out_keys->salt_length > 0 && stored == size && server == size;
    return fits ? STATUS_OK : STATUS_INVALID;
}

static enum status format(const struct scram_keys *keys, size_t key_size, char *out_text,
                          size_t size)
{
    char salt[64], stored[64], server[64];
    static_assert(AUTH_SCRAM_SALT_OCTETS <= 45 && KEY_OCTETS_MAX <= 45, "64 characters of base64");
    if (secret_to_base64(keys->salt, keys->salt_length, salt, sizeof salt) != STATUS_OK ||
        secret_to_base64(keys->stored, key_size, stored, sizeof stored) != STATUS_OK ||
        secret_to_base64(keys->server, key_size, server, sizeof server) != STATUS_OK) {
        return STATUS_TOO_BIG;
    }
    int written = snprintf(out_text, size, "%u,%s,%s,%s", keys->iterations, salt, stored, server);
    return written < 0 || (size_t)written >= size ? STATUS_TOO_BIG : STATUS_OK;
}

enum status scram_make(enum scram_kind kind, const char *password, size_t length, char *out_text,
                       size_t size)
{
    char copy[AUTH_CRYPT_MAX + 1];
    struct scram_keys keys = {.iterations = AUTH_SCRAM_ITERATIONS,
                              .salt_length = AUTH_SCRAM_SALT_OCTETS};
    enum status status = to_string(password, length, copy);
    if (status == STATUS_OK) {
        secret_random(keys.salt, keys.salt_length);
        status = derive(kind, copy, &keys);
    }
    if (status == STATUS_OK) {
        status = format(&keys, gsasl_hash_length(gsasl_kind(kind)), out_text, size);
    }
    mem_wipe(copy, sizeof copy);
    mem_wipe(&keys, sizeof keys);
    return status;
}

enum status scram_verify(enum scram_kind kind, const char *text, const char *password,
                         size_t length)
{
    struct scram_keys wanted = {0}, keys;
    char copy[AUTH_CRYPT_MAX + 1];
    enum status status = parse(kind, text, &wanted);
    if (status != STATUS_OK) {
        return status;
    }
    if (to_string(password, length, copy) != STATUS_OK) {
        return STATUS_DENIED;
    }
    keys = wanted;
    status = derive(kind, copy, &keys);
    if (status == STATUS_OK) {
        size_t size = gsasl_hash_length(gsasl_kind(kind));
        bool same = secret_equal(keys.stored, wanted.stored, size);
        same &= secret_equal(keys.server, wanted.server, size);
        status = same ? STATUS_OK : STATUS_DENIED;
    }
    mem_wipe(copy, sizeof copy);
    mem_wipe(&keys, sizeof keys);
    mem_wipe(&wanted, sizeof wanted);
    /* Keys cannot have been made of a password that has no prepared form. */
    return status == STATUS_INVALID ? STATUS_DENIED : status;
}

enum status scram_check(enum scram_kind kind, const char *text)
{
    struct scram_keys keys = {0};
    enum status status = parse(kind, text, &keys);
    mem_wipe(&keys, sizeof keys);
    return status;
}
