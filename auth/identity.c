/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/identity.h"

#include "io/utf8.h"

#include <stdint.h>
#include <string.h>

static bool is_letter_or_digit(uint8_t octet)
{
    return (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'Z') ||
           (octet >= 'a' && octet <= 'z');
}

/* RFC 5322 section 3.2.3, and the dot. */
static bool is_local_character(uint8_t octet)
{
    return is_letter_or_digit(octet) ||
           (octet != 0 && strchr("!#$%&'*+-/=?^_`{|}~.", octet) != NULL);
}

static bool is_label_character(uint8_t octet)
{
    return is_letter_or_digit(octet) || octet == '-' || octet == '_';
}

static char lower(uint8_t octet)
{
    return (char)(octet >= 'A' && octet <= 'Z' ? octet + ('a' - 'A') : octet);
}

/* Whether `text` has only characters of the list and UTF-8, at least one. */
static bool all_allowed(const uint8_t *text, size_t length, bool (*is_allowed)(uint8_t octet))
{
    size_t at = 0;
    while (at < length) {
        size_t step =
            text[at] < 0x80 ? (size_t)is_allowed(text[at]) : utf8_sequence(text + at, length - at);
        if (step == 0) {
            return false;
        }
        at += step;
    }
    return length > 0;
}

/* Labels divided by single dots. */
static bool domain_is_valid(const uint8_t *text, size_t length)
{
    if (length == 0 || length > AUTH_DOMAIN_MAX) {
        return false;
    }
    const uint8_t *label = text, *end = text + length;
    for (;;) {
        const uint8_t *dot = memchr(label, '.', (size_t)(end - label));
        const uint8_t *behind = dot != NULL ? dot : end;
        if (!all_allowed(label, (size_t)(behind - label), is_label_character)) {
            return false;
        }
        if (dot == NULL) {
            return true;
        }
        label = dot + 1;
    }
}

/* "[...]" with printable characters but brackets and backslash, RFC 5321 section 4.1.3. */
static bool literal_is_valid(const uint8_t *text, size_t length)
{
    if (length < 3 || length > AUTH_DOMAIN_MAX || text[0] != '[' || text[length - 1] != ']') {
        return false;
    }
    for (size_t i = 1; i + 1 < length; i++) {
        if (text[i] <= ' ' || text[i] >= 0x7f || strchr("[]\\", text[i]) != NULL) {
            return false;
        }
    }
    return true;
}

/* Puts the key together. The parts have been checked. */
static enum status join(const uint8_t *local, size_t local_length, const uint8_t *domain,
                        size_t domain_length, bool nameable, struct identity *out_identity)
{
    if (local_length > AUTH_NAME_MAX || domain_length > AUTH_NAME_MAX ||
        local_length + 1 + domain_length > AUTH_NAME_MAX) {
        return STATUS_TOO_BIG;
    }
    char *to = out_identity->name;
    for (size_t i = 0; i < local_length; i++) {
        *to++ = lower(local[i]);
    }
    *to++ = '@';
    for (size_t i = 0; i < domain_length; i++) {
        *to++ = lower(domain[i]);
    }
    *to = '\0';
    out_identity->length = local_length + 1 + domain_length;
    out_identity->local_length = local_length;
    out_identity->nameable = nameable;
    return STATUS_OK;
}

enum status identity_from_login(const char *name, size_t length, const char *default_domain,
                                struct identity *out_identity)
{
    const uint8_t *local = (const uint8_t *)name;
    const uint8_t *domain = (const uint8_t *)default_domain;
    size_t local_length = length;
    size_t domain_length = default_domain == NULL ? 0 : strlen(default_domain);
    if (length > AUTH_NAME_MAX) {
        return STATUS_TOO_BIG;
    }
    const char *at = length == 0 ? NULL : memchr(name, '@', length);
    if (at != NULL) {
        local_length = (size_t)(at - name);
        domain = (const uint8_t *)at + 1;
        domain_length = length - local_length - 1;
    }
    if (!all_allowed(local, local_length, is_local_character) ||
        !domain_is_valid(domain, domain_length)) {
        return STATUS_INVALID;
    }
    return join(local, local_length, domain, domain_length, true, out_identity);
}

/* Drops "@one,@two:" from the front, if it is there. */
static void skip_route(const uint8_t **address, size_t *length)
{
    if (*length == 0 || **address != '@') {
        return;
    }
    const uint8_t *colon = memchr(*address, ':', *length);
    if (colon != NULL) {
        *length -= (size_t)(colon + 1 - *address);
        *address = colon + 1;
    }
}

/*
 * Reads a quoted local part (RFC 5321 section 4.1.2) into `out`, without its quotes and
 * backslashes. Returns the octets read with both quotes, or 0 when it is malformed; SMTPUTF8 allows
 * UTF-8 in it.
 */
static size_t unquote(const uint8_t *text, size_t length, uint8_t *out, size_t *out_length)
{
    size_t written = 0;
    for (size_t at = 1; at < length; at++) {
        uint8_t octet = text[at];
        if (octet == '"') {
            *out_length = written;
            return at + 1;
        }
        bool is_escape = octet == '\\';
        if (is_escape && ++at == length) {
            return 0;
        }
        octet = text[at];
        if (octet < ' ' || octet == 0x7f || (is_escape && octet >= 0x80)) {
            return 0;
        }
        size_t step = octet < 0x80 ? 1 : utf8_sequence(text + at, length - at);
        if (step == 0 || written + step > AUTH_NAME_MAX) {
            return 0;
        }
        memcpy(out + written, text + at, step);
        written += step;
        at += step - 1;
    }
    return 0;
}

enum status identity_from_address(const char *address, size_t length, const char *default_domain,
                                  struct identity *out_identity)
{
    const uint8_t *text = (const uint8_t *)address;
    uint8_t unquoted[AUTH_NAME_MAX] = {0};
    skip_route(&text, &length);
    if (length == 0) {
        return STATUS_INVALID;
    }
    const uint8_t *local = text;
    size_t local_length = 0, used = 0;
    if (text[0] == '"') {
        local = unquoted;
        used = unquote(text, length, unquoted, &local_length);
    } else {
        const uint8_t *at = memchr(text, '@', length);
        used = local_length = at == NULL ? length : (size_t)(at - text);
    }
    bool nameable = all_allowed(local, local_length, is_local_character);
    if (used == 0 || (text[0] != '"' && !nameable) || (used < length && text[used] != '@')) {
        return STATUS_INVALID;
    }
    const uint8_t *domain = (const uint8_t *)default_domain;
    size_t domain_length = default_domain == NULL ? 0 : strlen(default_domain);
    if (used < length) {
        domain = text + used + 1;
        domain_length = length - used - 1;
    }
    if (!domain_is_valid(domain, domain_length)) {
        if (!literal_is_valid(domain, domain_length)) {
            return STATUS_INVALID;
        }
        nameable = false;
    }
    return join(local, local_length, domain, domain_length, nameable, out_identity);
}

bool identity_strip_detail(const struct identity *identity, char delimiter,
                           struct identity *out_identity)
{
    if (delimiter == '\0' || identity->local_length < 2) {
        return false;
    }
    const char *cut = memchr(identity->name + 1, delimiter, identity->local_length - 1);
    if (cut == NULL) {
        return false;
    }
    size_t local_length = (size_t)(cut - identity->name);
    size_t rest = identity->length - identity->local_length; /* from the "@" on */
    struct identity stripped = {.length = local_length + rest,
                                .local_length = local_length,
                                .nameable = identity->nameable};
    memcpy(stripped.name, identity->name, local_length);
    memcpy(stripped.name + local_length, identity->name + identity->local_length, rest);
    *out_identity = stripped;
    return true;
}
