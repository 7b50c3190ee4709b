/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lmtp_address.h"

#include "io/utf8.h"
#include "server/server_limits.h"

#include <string.h>
#include <strings.h>

/* What is left to read. */
struct cursor {
    const char *at, *end;
    bool not_ascii; /* something beyond ASCII has been passed */
};

static bool at_octet(const struct cursor *cursor, char octet)
{
    return cursor->at < cursor->end && *cursor->at == octet;
}

static bool skip_octet(struct cursor *cursor, char octet)
{
    if (!at_octet(cursor, octet)) {
        return false;
    }
    cursor->at++;
    return true;
}

static void skip_spaces(struct cursor *cursor)
{
    while (skip_octet(cursor, ' ')) {
    }
}

static bool is_letter_or_digit(uint8_t octet)
{
    return (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'Z') ||
           (octet >= 'a' && octet <= 'z');
}

/* atext of RFC 5322 section 3.2.3, and the dot. */
static bool is_local(uint8_t octet)
{
    return is_letter_or_digit(octet) ||
           (octet != 0 && strchr("!#$%&'*+-/=?^_`{|}~.", octet) != NULL);
}

/* What a label of a domain has. The underscore is no host name's, but is in use. */
static bool is_label(uint8_t octet)
{
    return is_letter_or_digit(octet) || octet == '-' || octet == '_';
}

static bool is_printable(uint8_t octet)
{
    return octet > ' ' && octet < 0x7f;
}

/* dcontent of RFC 5321 section 4.1.3. */
static bool is_literal(uint8_t octet)
{
    return is_printable(octet) && octet != '[' && octet != ']' && octet != '\\';
}

/* qtextSMTP of RFC 5321 section 4.1.2. */
static bool is_quoted(uint8_t octet)
{
    return octet >= ' ' && octet < 0x7f && octet != '"' && octet != '\\';
}

/* esmtp-value of RFC 5321 section 4.1.2. */
static bool is_value(uint8_t octet)
{
    return is_printable(octet) && octet != '=';
}

/* xchar of RFC 3461 section 4. */
static bool is_xchar(uint8_t octet)
{
    return is_value(octet) && octet != '+';
}

static bool is_hex(uint8_t octet)
{
    return (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'F') ||
           (octet >= 'a' && octet <= 'f');
}

/* Passes octets of a kind and well-formed UTF-8; returns how many. */
static size_t skip_kind(struct cursor *cursor, bool (*is_kind)(uint8_t octet))
{
    const char *start = cursor->at;
    while (cursor->at < cursor->end) {
        const uint8_t *text = (const uint8_t *)cursor->at;
        size_t step = *text < 0x80 ? (size_t)is_kind(*text)
                                   : utf8_sequence(text, (size_t)(cursor->end - cursor->at));
        if (step == 0) {
            break;
        }
        cursor->not_ascii |= step > 1;
        cursor->at += step;
    }
    return (size_t)(cursor->at - start);
}

static bool skip_quoted(struct cursor *cursor)
{
    if (!skip_octet(cursor, '"')) {
        return false;
    }
    for (;;) {
        (void)skip_kind(cursor, is_quoted); /* an empty quoted string is one, too */
        if (skip_octet(cursor, '"')) {
            return true;
        }
        if (!skip_octet(cursor, '\\') || cursor->at == cursor->end ||
            (*cursor->at != ' ' && !is_printable((uint8_t)*cursor->at))) {
            return false;
        }
        cursor->at++;
    }
}

/* A domain or a literal: labels divided by single dots, or "[...]". */
static bool skip_domain(struct cursor *cursor)
{
    const char *start = cursor->at;
    if (skip_octet(cursor, '[')) {
        return skip_kind(cursor, is_literal) > 0 && skip_octet(cursor, ']') &&
               cursor->at - start <= LMTP_DOMAIN_LEN_MAX;
    }
    do {
        if (skip_kind(cursor, is_label) == 0) {
            return false;
        }
    } while (skip_octet(cursor, '.'));
    return cursor->at - start <= LMTP_DOMAIN_LEN_MAX;
}

/* "@one,@two:" in front of an address: passed over (RFC 5321 appendix C). */
static bool skip_route(struct cursor *cursor)
{
    if (!at_octet(cursor, '@')) {
        return true;
    }
    do {
        if (!skip_octet(cursor, '@') || !skip_domain(cursor)) {
            return false;
        }
    } while (skip_octet(cursor, ','));
    return skip_octet(cursor, ':');
}

/* Reads "<path>". */
static enum lmtp_syntax read_path(struct cursor *cursor, struct command_word *out_address)
{
    if (!skip_octet(cursor, '<')) {
        return LMTP_SYNTAX_COMMAND;
    }
    struct command_word address = {cursor->at, 0};
    if (skip_octet(cursor, '>')) {
        *out_address = address;
        return LMTP_SYNTAX_OK;
    }
    if (!skip_route(cursor)) {
        return LMTP_SYNTAX_ADDRESS;
    }
    address.data = cursor->at;
    bool has_local = at_octet(cursor, '"') ? skip_quoted(cursor) : skip_kind(cursor, is_local) > 0;
    if (!has_local || (skip_octet(cursor, '@') && !skip_domain(cursor))) {
        return LMTP_SYNTAX_ADDRESS;
    }
    address.length = (size_t)(cursor->at - address.data);
    if (!skip_octet(cursor, '>') || address.length > LMTP_ADDRESS_LEN_MAX) {
        return LMTP_SYNTAX_ADDRESS;
    }
    *out_address = address;
    return LMTP_SYNTAX_OK;
}

static bool word_is(struct command_word word, const char *text)
{
    return word.length == strlen(text) && strncasecmp(word.data, text, word.length) == 0;
}

/* What the parameters of one command say. */
struct parameters {
    struct lmtp_mail mail;
    struct lmtp_rcpt rcpt;
    bool utf8; /* values may hold UTF-8 */
};

struct parameter {
    const char *name;
    bool has_value;
    enum lmtp_syntax (*read)(struct command_word value, struct parameters *parameters);
};

/* RFC 1870 section 6.1; what is beyond 64 bits is beyond every limit. */
static enum lmtp_syntax read_size(struct command_word value, struct parameters *parameters)
{
    uint64_t size = 0;
    for (size_t i = 0; i < value.length; i++) {
        uint8_t digit = (uint8_t)(value.data[i] - '0');
        if (digit > 9) {
            return LMTP_SYNTAX_PARAMETER;
        }
        if (__builtin_mul_overflow(size, 10u, &size) ||
            __builtin_add_overflow(size, digit, &size)) {
            size = UINT64_MAX;
        }
    }
    parameters->mail.size = size;
    return LMTP_SYNTAX_OK;
}

/* RFC 6152. BINARYMIME (RFC 3030) is not offered: a bare LF in it would have to be kept. */
static enum lmtp_syntax read_body(struct command_word value, struct parameters *parameters)
{
    return word_is(value, "8BITMIME") || word_is(value, "7BIT") ? LMTP_SYNTAX_OK
                                                                : LMTP_SYNTAX_UNKNOWN_PARAMETER;
}

static enum lmtp_syntax read_utf8(struct command_word value, struct parameters *parameters)
{
    parameters->mail.utf8 = true;
    return LMTP_SYNTAX_OK;
}

static enum lmtp_syntax read_ret(struct command_word value, struct parameters *parameters)
{
    return word_is(value, "FULL") || word_is(value, "HDRS") ? LMTP_SYNTAX_OK
                                                            : LMTP_SYNTAX_PARAMETER;
}

/* xtext of RFC 3461 section 4, and UTF-8 where RFC 6533 section 3 lets it stand. */
static bool is_xtext(struct command_word value, bool utf8)
{
    struct cursor cursor = {value.data, value.data + value.length, false};
    while (cursor.at < cursor.end) {
        (void)skip_kind(&cursor, is_xchar); /* may be none before a "+" */
        if (cursor.at == cursor.end) {
            break;
        }
        if (cursor.end - cursor.at < 3 || *cursor.at != '+' || !is_hex((uint8_t)cursor.at[1]) ||
            !is_hex((uint8_t)cursor.at[2])) {
            return false;
        }
        cursor.at += 3;
    }
    return value.length > 0 && (utf8 || !cursor.not_ascii);
}

static enum lmtp_syntax read_envid(struct command_word value, struct parameters *parameters)
{
    return value.length <= LMTP_ENVID_LEN_MAX && is_xtext(value, false) ? LMTP_SYNTAX_OK
                                                                        : LMTP_SYNTAX_PARAMETER;
}

/* NEVER, or a list of the others, RFC 3461 section 4.1. */
static enum lmtp_syntax read_notify(struct command_word value, struct parameters *parameters)
{
    if (word_is(value, "NEVER")) {
        return LMTP_SYNTAX_OK;
    }
    const char *at = value.data, *end = value.data + value.length;
    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        struct command_word item = {at, (size_t)((comma != NULL ? comma : end) - at)};
        if (!word_is(item, "SUCCESS") && !word_is(item, "FAILURE") && !word_is(item, "DELAY")) {
            return LMTP_SYNTAX_PARAMETER;
        }
        if (comma == NULL) {
            return LMTP_SYNTAX_OK;
        }
        at = comma + 1;
    }
}

/* "rfc822;someone@example", RFC 3461 section 4.2. */
static enum lmtp_syntax read_orcpt(struct command_word value, struct parameters *parameters)
{
    struct cursor cursor = {value.data, value.data + value.length, false};
    while (cursor.at < cursor.end &&
           (is_letter_or_digit((uint8_t)*cursor.at) || *cursor.at == '-')) {
        cursor.at++;
    }
    bool has_type = cursor.at > value.data && skip_octet(&cursor, ';');
    struct command_word address = {cursor.at, (size_t)(cursor.end - cursor.at)};
    if (!has_type || value.length > LMTP_ORCPT_LEN_MAX || !is_xtext(address, parameters->utf8)) {
        return LMTP_SYNTAX_PARAMETER;
    }
    parameters->rcpt.orcpt = value;
    return LMTP_SYNTAX_OK;
}

static const struct parameter mail_parameters[] = {
    {"SIZE", true, read_size}, {"BODY", true, read_body},   {"SMTPUTF8", false, read_utf8},
    {"RET", true, read_ret},   {"ENVID", true, read_envid}, {NULL, false, NULL},
};

static const struct parameter rcpt_parameters[] = {
    {"NOTIFY", true, read_notify},
    {"ORCPT", true, read_orcpt},
    {NULL, false, NULL},
};

static enum lmtp_syntax read_parameter(struct command_word name, struct command_word value,
                                       bool has_value, const struct parameter *table,
                                       unsigned *seen, struct parameters *parameters)
{
    for (unsigned i = 0; table[i].name != NULL; i++) {
        if (!word_is(name, table[i].name)) {
            continue;
        }
        if (table[i].has_value != has_value || (*seen & (1u << i)) != 0) {
            return LMTP_SYNTAX_PARAMETER;
        }
        *seen |= 1u << i;
        return table[i].read(value, parameters);
    }
    return LMTP_SYNTAX_UNKNOWN_PARAMETER;
}

/* Reads " NAME=value NAME" to the end. */
static enum lmtp_syntax read_parameters(struct cursor *cursor, const struct parameter *table,
                                        struct parameters *parameters)
{
    unsigned seen = 0;
    while (cursor->at < cursor->end) {
        if (!at_octet(cursor, ' ')) {
            return LMTP_SYNTAX_PARAMETER;
        }
        skip_spaces(cursor);
        if (cursor->at == cursor->end) {
            break;
        }
        struct command_word name = {cursor->at, 0}, value = {NULL, 0};
        while (cursor->at < cursor->end &&
               (is_letter_or_digit((uint8_t)*cursor->at) || *cursor->at == '-')) {
            cursor->at++;
        }
        name.length = (size_t)(cursor->at - name.data);
        bool has_value = skip_octet(cursor, '=');
        if (has_value) {
            value.data = cursor->at;
            value.length = skip_kind(cursor, is_value);
        }
        if (name.length == 0 || (has_value && value.length == 0)) {
            return LMTP_SYNTAX_PARAMETER;
        }
        enum lmtp_syntax syntax = read_parameter(name, value, has_value, table, &seen, parameters);
        if (syntax != LMTP_SYNTAX_OK) {
            return syntax;
        }
    }
    return LMTP_SYNTAX_OK;
}

/* "FROM:" or "TO:" in any case, then spaces, then the path. */
static enum lmtp_syntax read_start(struct cursor *cursor, const char *word,
                                   struct command_word *out_address)
{
    size_t length = strlen(word);
    if ((size_t)(cursor->end - cursor->at) < length || strncasecmp(cursor->at, word, length) != 0) {
        return LMTP_SYNTAX_COMMAND;
    }
    cursor->at += length;
    skip_spaces(cursor);
    return read_path(cursor, out_address);
}

enum lmtp_syntax lmtp_parse_mail(struct command_word rest, struct lmtp_mail *out_mail)
{
    struct cursor cursor = {rest.data, rest.data + rest.length, false};
    struct parameters parameters = {0};
    enum lmtp_syntax syntax = read_start(&cursor, "FROM:", &parameters.mail.sender);
    if (syntax != LMTP_SYNTAX_OK) {
        return syntax;
    }
    bool not_ascii = cursor.not_ascii;
    syntax = read_parameters(&cursor, mail_parameters, &parameters);
    if (syntax == LMTP_SYNTAX_OK && not_ascii && !parameters.mail.utf8) {
        syntax = LMTP_SYNTAX_NOT_ASCII;
    }
    if (syntax == LMTP_SYNTAX_OK) {
        *out_mail = parameters.mail;
    }
    return syntax;
}

enum lmtp_syntax lmtp_parse_rcpt(struct command_word rest, bool utf8, struct lmtp_rcpt *out_rcpt)
{
    struct cursor cursor = {rest.data, rest.data + rest.length, false};
    struct parameters parameters = {.utf8 = utf8};
    enum lmtp_syntax syntax = read_start(&cursor, "TO:", &parameters.rcpt.address);
    if (syntax != LMTP_SYNTAX_OK) {
        return syntax;
    }
    if (parameters.rcpt.address.length == 0) {
        return LMTP_SYNTAX_ADDRESS;
    }
    bool not_ascii = cursor.not_ascii;
    syntax = read_parameters(&cursor, rcpt_parameters, &parameters);
    if (syntax == LMTP_SYNTAX_OK && not_ascii && !utf8) {
        syntax = LMTP_SYNTAX_NOT_ASCII;
    }
    if (syntax == LMTP_SYNTAX_OK) {
        *out_rcpt = parameters.rcpt;
    }
    return syntax;
}

enum lmtp_syntax lmtp_parse_bdat(const struct command_line *line, struct lmtp_bdat *out_bdat)
{
    *out_bdat = (struct lmtp_bdat){0};
    if (line->arg_count == 0 ||
        !command_number(line->args[0], LMTP_CHUNK_OCTETS_MAX, &out_bdat->size)) {
        return LMTP_SYNTAX_PARAMETER;
    }
    out_bdat->has_size = true;
    out_bdat->last = line->arg_count > 1 && word_is(line->args[1], "LAST");
    bool is_right = line->arg_count == 1 || (line->arg_count == 2 && out_bdat->last);
    return is_right ? LMTP_SYNTAX_OK : LMTP_SYNTAX_PARAMETER;
}
