/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/password_digest.h"

#include "auth/auth_limits.h"
#include "auth/secret.h"
#include "io/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PBKDF2_OCTETS 20 /* Dovecot's {PBKDF2} keeps one block of HMAC-SHA-1 */

/* Octets that a credential decodes to: a digest and perhaps its salt, or a password. */
struct octets {
    size_t length;
    uint8_t data[AUTH_CREDENTIAL_MAX];
};

/* A bare digest of twice its size in characters is hex, whatever its scheme prefers: LDAP servers
 * and scripts disagree, and base64 of a digest is never that long. */
static enum password_text text_form(const struct password_digest *digest, size_t length)
{
    bool either = !digest->is_explicit && digest->form == PASSWORD_DIGEST_BARE;
    if (!either) {
        return digest->text;
    }
    return length == 2 * digest_size(digest->kind) ? PASSWORD_TEXT_HEX : PASSWORD_TEXT_BASE64;
}

static enum status decode(const struct password_digest *digest, const char *data,
                          struct octets *out)
{
    size_t length = strlen(data);
    switch (text_form(digest, length)) {
    case PASSWORD_TEXT_BASE64:
        return secret_from_base64(data, length, out->data, sizeof out->data, &out->length);
    case PASSWORD_TEXT_HEX:
        return secret_from_hex(data, length, out->data, sizeof out->data, &out->length);
    default:
        if (length > sizeof out->data) {
            return STATUS_TOO_BIG;
        }
        memcpy(out->data, data, length);
        out->length = length;
        return STATUS_OK;
    }
}

/* Decodes and checks that what comes out has a size the form can have. */
static enum status decode_checked(const struct password_digest *digest, const char *data,
                                  struct octets *out)
{
    if (decode(digest, data, out) != STATUS_OK) {
        return STATUS_INVALID;
    }
    size_t size = digest_size(digest->kind);
    bool fits = digest->form == PASSWORD_DIGEST_NONE   ? out->length > 0
                : digest->form == PASSWORD_DIGEST_BARE ? out->length == size
                                                       : out->length >= size;
    return fits ? STATUS_OK : STATUS_INVALID;
}

static enum status verify_octets(const struct password_digest *digest, const struct octets *wanted,
                                 const char *password, size_t length)
{
    uint8_t computed[DIGEST_OCTETS_MAX];
    if (digest->form == PASSWORD_DIGEST_NONE) {
        bool same = wanted->length == length && secret_equal(wanted->data, password, length);
        return same ? STATUS_OK : STATUS_DENIED;
    }
    size_t size = digest_size(digest->kind);
    enum status status = digest_salted(digest->kind, password, length, wanted->data + size,
                                       wanted->length - size, computed);
    if (status == STATUS_OK) {
        status = secret_equal(computed, wanted->data, size) ? STATUS_OK : STATUS_DENIED;
    }
    mem_wipe(computed, sizeof computed);
    return status;
}

struct pbkdf2 {
    const char *salt;
    size_t salt_length;
    uint32_t iterations;
    uint8_t key[PBKDF2_OCTETS];
};

/* "$1$salt$iterations$hex": the salt is used as it is written. */
static enum status parse_pbkdf2(const char *data, struct pbkdf2 *out)
{
    if (strncmp(data, "$1$", 3) != 0) {
        return STATUS_INVALID;
    }
    out->salt = data + 3;
    const char *after_salt = strchr(out->salt, '$');
    if (after_salt == NULL || after_salt == out->salt || after_salt[1] < '1' ||
        after_salt[1] > '9') {
        return STATUS_INVALID;
    }
    out->salt_length = (size_t)(after_salt - out->salt);
    char *after = NULL;
    unsigned long iterations = strtoul(after_salt + 1, &after, 10);
    if (*after != '$' || iterations > AUTH_ITERATIONS_MAX) {
        return STATUS_INVALID;
    }
    out->iterations = (uint32_t)iterations;
    size_t length = 0;
    enum status status =
        secret_from_hex(after + 1, strlen(after + 1), out->key, sizeof out->key, &length);
    return status == STATUS_OK && length == sizeof out->key ? STATUS_OK : STATUS_INVALID;
}

static enum status verify_pbkdf2(enum digest_kind kind, const char *data, const char *password,
                                 size_t length)
{
    struct pbkdf2 wanted = {0};
    uint8_t computed[PBKDF2_OCTETS];
    enum status status = parse_pbkdf2(data, &wanted);
    if (status == STATUS_OK) {
        status = digest_pbkdf2(kind, password, length, wanted.salt, wanted.salt_length,
                               wanted.iterations, computed, sizeof computed);
    }
    if (status == STATUS_OK) {
        status = secret_equal(computed, wanted.key, sizeof computed) ? STATUS_OK : STATUS_DENIED;
        mem_wipe(computed, sizeof computed);
    }
    mem_wipe(&wanted, sizeof wanted);
    return status;
}

enum status password_digest_check(const struct password_digest *digest, const char *data)
{
    if (digest->form == PASSWORD_DIGEST_PBKDF2) {
        struct pbkdf2 parsed = {0};
        return parse_pbkdf2(data, &parsed);
    }
    struct octets octets;
    enum status status = decode_checked(digest, data, &octets);
    mem_wipe(&octets, sizeof octets);
    return status;
}

enum status password_digest_verify(const struct password_digest *digest, const char *data,
                                   const char *password, size_t length)
{
    if (digest->form == PASSWORD_DIGEST_PBKDF2) {
        return verify_pbkdf2(digest->kind, data, password, length);
    }
    struct octets wanted;
    enum status status = decode_checked(digest, data, &wanted);
    if (status == STATUS_OK) {
        status = verify_octets(digest, &wanted, password, length);
    }
    mem_wipe(&wanted, sizeof wanted);
    return status;
}
