/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/scram.h"

#include "auth/digest.h"
#include "auth/sasl_gsasl.h"
#include "auth/secret.h"
#include "io/mem.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(SCRAM_KEY_OCTETS_MAX == 32, "room for the larger hash");

size_t scram_key_size(enum scram_kind kind)
{
    return digest_size(kind == SCRAM_SHA_1 ? DIGEST_SHA1 : DIGEST_SHA256);
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

enum status scram_parse(enum scram_kind kind, const char *text, struct scram_keys *out_keys)
{
    size_t size = scram_key_size(kind);
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
    static_assert(AUTH_SCRAM_SALT_OCTETS <= 45 && SCRAM_KEY_OCTETS_MAX <= 45,
                  "64 characters of base64");
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
        status = sasl_gsasl_derive(kind, copy, &keys);
    }
    if (status == STATUS_OK) {
        status = format(&keys, scram_key_size(kind), out_text, size);
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
    enum status status = scram_parse(kind, text, &wanted);
    if (status != STATUS_OK) {
        return status;
    }
    if (to_string(password, length, copy) != STATUS_OK) {
        return STATUS_DENIED;
    }
    keys = wanted;
    status = sasl_gsasl_derive(kind, copy, &keys);
    if (status == STATUS_OK) {
        size_t size = scram_key_size(kind);
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
    enum status status = scram_parse(kind, text, &keys);
    mem_wipe(&keys, sizeof keys);
    return status;
}
