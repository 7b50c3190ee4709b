/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/password.h"

#include "auth/auth_limits.h"
#include "auth/password_digest.h"
#include "auth/scram.h"
#include "auth/secret.h"
#include "io/mem.h"

#include <assert.h>
#include <crypt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static_assert(AUTH_CRYPT_MAX == CRYPT_MAX_PASSPHRASE_SIZE - 1, "as many octets as libxcrypt takes");
static_assert(sizeof((struct password_dummy *)0)->setting == CRYPT_GENSALT_OUTPUT_SIZE,
              "room for any setting");

#define YESCRYPT_PREFIX "$y$"
#define SALT_OCTETS     16 /* of the salted digests made here */

enum scheme_family { FAMILY_CRYPT, FAMILY_ARGON2, FAMILY_SCRAM, FAMILY_DIGEST };

struct scheme {
    const char *name;
    enum scheme_family family;
    union {
        const char
            *prefix; /* crypt, Argon2: what the data must begin with; "" when anything goes */
        enum scram_kind scram;
        struct password_digest digest;
    };
};

#define CRYPT(text, start)                                    \
    {                                                         \
        .name = text, .family = FAMILY_CRYPT, .prefix = start \
    }
#define ARGON2(text, start)                                    \
    {                                                          \
        .name = text, .family = FAMILY_ARGON2, .prefix = start \
    }
#define SCRAM(text, which)                                   \
    {                                                        \
        .name = text, .family = FAMILY_SCRAM, .scram = which \
    }
#define DIGEST(text, a_form, a_kind, a_text)                                               \
    {                                                                                      \
        .name = text, .family = FAMILY_DIGEST, .digest = { a_form, a_kind, a_text, false } \
    }

static const struct scheme schemes[] = {
    CRYPT("CRYPT", ""),
    CRYPT("SHA512-CRYPT", "$6$"),
    CRYPT("SHA256-CRYPT", "$5$"),
    CRYPT("MD5-CRYPT", "$1$"),
    CRYPT("MD5", "$1$"),
    CRYPT("BLF-CRYPT", "$2"),
    CRYPT("DES-CRYPT", ""),
    ARGON2("ARGON2ID", "$argon2id$"),
    ARGON2("ARGON2I", "$argon2i$"),
    SCRAM("SCRAM-SHA-256", SCRAM_SHA_256),
    SCRAM("SCRAM-SHA-1", SCRAM_SHA_1),
    DIGEST("PLAIN", PASSWORD_DIGEST_NONE, DIGEST_MD5, PASSWORD_TEXT_RAW),
    DIGEST("CLEARTEXT", PASSWORD_DIGEST_NONE, DIGEST_MD5, PASSWORD_TEXT_RAW),
    DIGEST("CLEAR", PASSWORD_DIGEST_NONE, DIGEST_MD5, PASSWORD_TEXT_RAW),
    DIGEST("PBKDF2", PASSWORD_DIGEST_PBKDF2, DIGEST_SHA1, PASSWORD_TEXT_RAW),
    DIGEST("SHA", PASSWORD_DIGEST_BARE, DIGEST_SHA1, PASSWORD_TEXT_BASE64),
    DIGEST("SHA1", PASSWORD_DIGEST_BARE, DIGEST_SHA1, PASSWORD_TEXT_BASE64),
    DIGEST("SHA256", PASSWORD_DIGEST_BARE, DIGEST_SHA256, PASSWORD_TEXT_BASE64),
    DIGEST("SHA512", PASSWORD_DIGEST_BARE, DIGEST_SHA512, PASSWORD_TEXT_BASE64),
    DIGEST("PLAIN-MD5", PASSWORD_DIGEST_BARE, DIGEST_MD5, PASSWORD_TEXT_HEX),
    DIGEST("LDAP-MD5", PASSWORD_DIGEST_BARE, DIGEST_MD5, PASSWORD_TEXT_BASE64),
    DIGEST("SSHA", PASSWORD_DIGEST_SALTED, DIGEST_SHA1, PASSWORD_TEXT_BASE64),
    DIGEST("SSHA256", PASSWORD_DIGEST_SALTED, DIGEST_SHA256, PASSWORD_TEXT_BASE64),
    DIGEST("SSHA512", PASSWORD_DIGEST_SALTED, DIGEST_SHA512, PASSWORD_TEXT_BASE64),
    DIGEST("SMD5", PASSWORD_DIGEST_SALTED, DIGEST_MD5, PASSWORD_TEXT_BASE64),
};

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && strncasecmp(text, word, length) == 0;
}

/* Takes ".b64", ".base64" or ".hex" off the end of a scheme's name. */
static enum status take_text_form(const char *name, size_t *length, enum password_text *out_text)
{
    const char *dot = memchr(name, '.', *length);
    if (dot == NULL) {
        return STATUS_OK;
    }
    size_t rest = *length - (size_t)(dot + 1 - name);
    *length = (size_t)(dot - name);
    if (is_word(dot + 1, rest, "b64") || is_word(dot + 1, rest, "base64")) {
        *out_text = PASSWORD_TEXT_BASE64;
        return STATUS_OK;
    }
    *out_text = PASSWORD_TEXT_HEX;
    return is_word(dot + 1, rest, "hex") ? STATUS_OK : STATUS_UNSUPPORTED;
}

/* Takes a credential apart: a copy of its scheme's row with the text form that holds here, and
 * where the data starts. */
static enum status parse(const char *credential, struct scheme *out_scheme, const char **out_data)
{
    if (strlen(credential) > AUTH_CREDENTIAL_MAX) {
        return STATUS_TOO_BIG;
    }
    if (credential[0] != '{') {
        *out_scheme = schemes[0];
        *out_data = credential;
        return STATUS_OK;
    }
    const char *name = credential + 1;
    const char *end = strchr(name, '}');
    if (end == NULL) {
        return STATUS_INVALID;
    }
    size_t length = (size_t)(end - name);
    enum password_text text = PASSWORD_TEXT_DEFAULT;
    if (take_text_form(name, &length, &text) != STATUS_OK) {
        return STATUS_UNSUPPORTED;
    }
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (!is_word(name, length, schemes[i].name)) {
            continue;
        }
        bool takes_text =
            schemes[i].family == FAMILY_DIGEST && schemes[i].digest.form != PASSWORD_DIGEST_PBKDF2;
        if (text != PASSWORD_TEXT_DEFAULT && !takes_text) {
            return STATUS_UNSUPPORTED;
        }
        *out_scheme = schemes[i];
        if (text != PASSWORD_TEXT_DEFAULT) {
            out_scheme->digest.text = text;
            out_scheme->digest.is_explicit = true;
        }
        *out_data = end + 1;
        return STATUS_OK;
    }
    return STATUS_UNSUPPORTED;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Whether a crypt(3) string is long enough to end in a hash. A plain password that was taken for
 * one
 * ("secret" names a DES salt) or a setting alone would lock its owner out. */
static bool ends_in_hash(const char *data)
{
    const char *last = strrchr(data, '$');
    if (last == NULL) {
        return strlen(data) == (data[0] == '_' ? 20 : 13); /* BSDi's DES and the traditional one */
    }
    return strlen(last + 1) >= 22; /* MD5 has the shortest */
}

/* A lock ("!", "*") and what this library cannot compute are malformed; a legacy method may be
 * imported. */
static enum status crypt_check(const char *data)
{
    int verdict = crypt_checksalt(data);
    bool known = verdict == CRYPT_SALT_OK || verdict == CRYPT_SALT_METHOD_LEGACY;
    return known && ends_in_hash(data) ? STATUS_OK : STATUS_INVALID;
}

static enum password_class crypt_class(const char *data)
{
    if (starts_with(data, YESCRYPT_PREFIX)) {
        return PASSWORD_YESCRYPT;
    }
    bool is_fast = data[0] != '$' || starts_with(data, "$1$") || starts_with(data, "$3$");
    return is_fast ? PASSWORD_FAST : PASSWORD_SLOW;
}

enum status password_check(const char *credential, enum password_class *out_class)
{
    struct scheme scheme;
    const char *data = NULL;
    enum password_class class = PASSWORD_SLOW;
    enum status status = parse(credential, &scheme, &data);
    if (status != STATUS_OK) {
        return status;
    }
    switch (scheme.family) {
    case FAMILY_CRYPT:
        status = starts_with(data, scheme.prefix) ? crypt_check(data) : STATUS_INVALID;
        class = crypt_class(data);
        break;
    case FAMILY_ARGON2:
        status = starts_with(data, scheme.prefix) ? STATUS_OK : STATUS_INVALID;
        break;
    case FAMILY_SCRAM:
        status = scram_check(scheme.scram, data);
        class = PASSWORD_SCRAM;
        break;
    case FAMILY_DIGEST:
        status = password_digest_check(&scheme.digest, data);
        class = scheme.digest.form == PASSWORD_DIGEST_PBKDF2 ? PASSWORD_SLOW : PASSWORD_FAST;
        break;
    }
    if (status == STATUS_OK && out_class != NULL) {
        *out_class = class;
    }
    return status;
}

/* crypt(3) of the password with `setting` into `out`. STATUS_INVALID for a setting nobody can
 * compute and for a password the library cannot take. */
const char *password_readable(const char *credential)
{
    struct scheme scheme;
    const char *data;
    bool is_readable = parse(credential, &scheme, &data) == STATUS_OK &&
                       scheme.family == FAMILY_DIGEST &&
                       scheme.digest.form == PASSWORD_DIGEST_NONE &&
                       scheme.digest.text == PASSWORD_TEXT_RAW && data[0] != '\0';
    return is_readable ? data : NULL;
}

enum status password_scram_keys(const char *credential, enum scram_kind kind,
                                struct scram_keys *out_keys)
{
    struct scheme scheme;
    const char *data;
    if (parse(credential, &scheme, &data) != STATUS_OK || scheme.family != FAMILY_SCRAM ||
        scheme.scram != kind) {
        return STATUS_NOT_FOUND;
    }
    return scram_parse(kind, data, out_keys);
}

static enum status crypt_compute(const char *setting, const char *password, size_t length,
                                 char out[CRYPT_OUTPUT_SIZE])
{
    char copy[AUTH_CRYPT_MAX + 1];
    if (length > AUTH_CRYPT_MAX || memchr(password, '\0', length) != NULL) {
        return STATUS_INVALID;
    }
    struct crypt_data *work = calloc(1, sizeof *work);
    if (work == NULL) {
        return STATUS_NO_MEMORY;
    }
    memcpy(copy, password, length);
    copy[length] = '\0';
    /* crypt_rn answers NULL where crypt_r would give a "failure token" for a hash. */
    const char *hash = crypt_rn(copy, setting, work, (int)sizeof *work);
    enum status status = hash != NULL ? STATUS_OK : STATUS_INVALID;
    if (status == STATUS_OK) {
        memcpy(out, hash, strlen(hash) + 1);
    }
    mem_wipe(copy, sizeof copy);
    mem_wipe(work, sizeof *work);
    free(work);
    return status;
}

static enum status crypt_verify(const char *data, const char *password, size_t length)
{
    char hash[CRYPT_OUTPUT_SIZE];
    if (length > AUTH_CRYPT_MAX || memchr(password, '\0', length) != NULL) {
        return STATUS_DENIED; /* no such password can have been stored */
    }
    enum status status = crypt_compute(data, password, length, hash);
    if (status != STATUS_OK) {
        return status;
    }
    size_t size = strlen(hash);
    status = size == strlen(data) && secret_equal(hash, data, size) ? STATUS_OK : STATUS_DENIED;
    mem_wipe(hash, sizeof hash);
    return status;
}

enum status password_verify(const char *credential, const char *password, size_t length)
{
    struct scheme scheme;
    const char *data = NULL;
    enum status status = parse(credential, &scheme, &data);
    if (status != STATUS_OK) {
        return status;
    }
    switch (scheme.family) {
    case FAMILY_CRYPT:
        return starts_with(data, scheme.prefix) ? crypt_verify(data, password, length)
                                                : STATUS_INVALID;
    case FAMILY_ARGON2:
        return starts_with(data, scheme.prefix) ? secret_argon2_verify(data, password, length)
                                                : STATUS_INVALID;
    case FAMILY_SCRAM:
        return scram_verify(scheme.scram, data, password, length);
    case FAMILY_DIGEST:
        return password_digest_verify(&scheme.digest, data, password, length);
    }
    return STATUS_UNSUPPORTED;
}

/* The library's default cost, also when a later version raises it. */
static enum status make_setting(const char *prefix, char out[CRYPT_GENSALT_OUTPUT_SIZE])
{
    char *setting = crypt_gensalt_rn(prefix, 0, NULL, 0, out, CRYPT_GENSALT_OUTPUT_SIZE);
    return setting != NULL ? STATUS_OK : STATUS_UNSUPPORTED;
}

/* Puts "{SCHEME}" and the data together. */
static enum status write_credential(const char *scheme, const char *data, char *out, size_t size)
{
    int length = snprintf(out, size, "{%s}%s", scheme, data);
    return length > 0 && (size_t)length < size ? STATUS_OK : STATUS_TOO_BIG;
}

static enum status make_crypt(const char *scheme, const char *prefix, const char *password,
                              size_t length, char *out, size_t size)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], hash[CRYPT_OUTPUT_SIZE];
    enum status status = make_setting(prefix, setting);
    if (status == STATUS_OK) {
        status = crypt_compute(setting, password, length, hash);
    }
    return status == STATUS_OK ? write_credential(scheme, hash, out, size) : status;
}

enum status password_make(const char *password, size_t length, char *out_credential, size_t size)
{
    if (length == 0) {
        return STATUS_INVALID;
    }
    return make_crypt("CRYPT", YESCRYPT_PREFIX, password, length, out_credential, size);
}

const char *const password_schemes[] = {
    "CRYPT",   "SHA512-CRYPT", "SHA256-CRYPT",  "BLF-CRYPT",   "ARGON2ID", "SSHA512",
    "SSHA256", "PLAIN",        "SCRAM-SHA-256", "SCRAM-SHA-1", NULL};

static enum status make_salted(const struct scheme *scheme, const char *password, size_t length,
                               char *out, size_t size)
{
    uint8_t data[DIGEST_OCTETS_MAX + SALT_OCTETS];
    char text[AUTH_CREDENTIAL_MAX + 1];
    size_t digest = digest_size(scheme->digest.kind);
    secret_random(data + digest, SALT_OCTETS);
    enum status status =
        digest_salted(scheme->digest.kind, password, length, data + digest, SALT_OCTETS, data);
    if (status == STATUS_OK) {
        status = secret_to_base64(data, digest + SALT_OCTETS, text, sizeof text);
    }
    return status == STATUS_OK ? write_credential(scheme->name, text, out, size) : status;
}

static enum status make_plain(const char *password, size_t length, char *out, size_t size)
{
    char text[AUTH_CREDENTIAL_MAX + 1];
    if (length >= sizeof text || memchr(password, '\0', length) != NULL) {
        return STATUS_INVALID;
    }
    memcpy(text, password, length);
    text[length] = '\0';
    enum status status = write_credential("PLAIN", text, out, size);
    mem_wipe(text, sizeof text);
    return status;
}

static enum status make_of(const struct scheme *scheme, const char *password, size_t length,
                           char *out, size_t size)
{
    char text[AUTH_CREDENTIAL_MAX + 1];
    enum status status = STATUS_UNSUPPORTED;
    switch (scheme->family) {
    case FAMILY_CRYPT:
        /* "$2" alone begins several; the letter says which one is new. */
        return make_crypt(scheme->name, strcmp(scheme->prefix, "$2") == 0 ? "$2b$" : scheme->prefix,
                          password, length, out, size);
    case FAMILY_ARGON2:
        status = secret_argon2_make(password, length, text);
        break;
    case FAMILY_SCRAM:
        status = scram_make(scheme->scram, password, length, text, sizeof text);
        break;
    case FAMILY_DIGEST:
        return scheme->digest.form == PASSWORD_DIGEST_NONE
                   ? make_plain(password, length, out, size)
                   : make_salted(scheme, password, length, out, size);
    }
    return status == STATUS_OK ? write_credential(scheme->name, text, out, size) : status;
}

enum status password_make_for(const char *scheme, const char *password, size_t length,
                              char *out_credential, size_t size)
{
    if (length == 0) {
        return STATUS_INVALID;
    }
    if (scheme[0] == '\0' || strcasecmp(scheme, password_schemes[0]) == 0) {
        return password_make(password, length, out_credential, size);
    }
    bool is_made = false;
    for (size_t i = 0; password_schemes[i] != NULL; i++) {
        is_made |= strcasecmp(scheme, password_schemes[i]) == 0;
    }
    for (size_t i = 0; is_made && i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strcasecmp(scheme, schemes[i].name) == 0) {
            return make_of(&schemes[i], password, length, out_credential, size);
        }
    }
    return STATUS_UNSUPPORTED;
}

enum status password_dummy_init(struct password_dummy *out_dummy)
{
    return make_setting(YESCRYPT_PREFIX, out_dummy->setting);
}

void password_dummy_verify(const struct password_dummy *dummy, const char *password, size_t length)
{
    (void)crypt_verify(dummy->setting, password, length); /* only its time is wanted */
}
