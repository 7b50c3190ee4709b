/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passwd_line.h"

#include "auth/password.h"
#include "auth/terms.h"
#include "io/mem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FIELD_PASSWORD 1
#define FIELD_EXTRA    7

/* A run of octets in the line. */
struct text {
    const char *data;
    size_t length;
};

/* The field of that number; empty when the line has fewer. The last one goes to the line's end, for
 * an extra field may hold colons. */
static struct text field_of(struct text line, unsigned number)
{
    struct text rest = line;
    for (unsigned i = 0; i < number; i++) {
        const char *colon = rest.length == 0 ? NULL : memchr(rest.data, ':', rest.length);
        if (colon == NULL) {
            return (struct text){line.data, 0};
        }
        rest.length -= (size_t)(colon + 1 - rest.data);
        rest.data = colon + 1;
    }
    if (number < FIELD_EXTRA && rest.length > 0) {
        const char *colon = memchr(rest.data, ':', rest.length);
        rest.length = colon == NULL ? rest.length : (size_t)(colon - rest.data);
    }
    return rest;
}

static bool is_text(struct text text, const char *word)
{
    return text.length == strlen(word) && strncasecmp(text.data, word, text.length) == 0;
}

static struct text trim_end(const char *line, size_t length)
{
    if (length > 0 && line[length - 1] == '\r') {
        length--;
    }
    return (struct text){line, length};
}

enum passwd_line_kind passwd_line_name(const char *line, size_t length, const char *default_domain,
                                       struct identity *out_identity, const char **out_problem)
{
    struct text whole = trim_end(line, length);
    if (whole.length == 0 || whole.data[0] == '#') {
        return PASSWD_LINE_EMPTY;
    }
    if (whole.length > AUTH_PASSWD_LINE_MAX) {
        *out_problem = "the line is too long";
        return PASSWD_LINE_BAD;
    }
    if (memchr(whole.data, '\0', whole.length) != NULL) {
        *out_problem = "there is a NUL in it";
        return PASSWD_LINE_BAD;
    }
    struct text name = field_of(whole, 0);
    if (identity_from_login(name.data, name.length, default_domain, out_identity) != STATUS_OK) {
        *out_problem = "the name before the first colon cannot be a user's";
        return PASSWD_LINE_BAD;
    }
    return PASSWD_LINE_USER;
}

/* --- extra fields ------------------------------------------------------------------------------
 */

struct extra {
    bool has_value;
    struct text key, value;
};

/* Takes the next word from the front of `rest`. False at the end. */
static bool take_extra(struct text *rest, struct extra *out_extra)
{
    while (rest->length > 0 && (*rest->data == ' ' || *rest->data == '\t')) {
        rest->data++;
        rest->length--;
    }
    size_t length = 0;
    while (length < rest->length && rest->data[length] != ' ' && rest->data[length] != '\t') {
        length++;
    }
    struct text word = {rest->data, length};
    rest->data += length;
    rest->length -= length;
    const char *equals = length == 0 ? NULL : memchr(word.data, '=', length);
    *out_extra = (struct extra){.has_value = equals != NULL, .key = word};
    if (equals != NULL) {
        out_extra->key.length = (size_t)(equals - word.data);
        out_extra->value = (struct text){equals + 1, length - out_extra->key.length - 1};
    }
    return length > 0;
}

/* Whether a switch is on: bare, or with a value that is not a "no". */
static bool is_on(const struct extra *extra)
{
    return !extra->has_value || !(is_text(extra->value, "n") || is_text(extra->value, "no") ||
                                  is_text(extra->value, "0") || is_text(extra->value, "false"));
}

static void set_reason(struct account *account, struct text text)
{
    size_t length = text.length < AUTH_REASON_MAX ? text.length : AUTH_REASON_MAX;
    for (size_t i = 0; i < length; i++) {
        char octet = text.data[i];
        /* It goes into a reply of one line, in ASCII. */
        account->reason[i] = octet == '_' || octet < ' ' || octet == 0x7f ? ' ' : octet;
    }
    account->reason[length] = '\0';
}

/* What one word does to the account; the problem with it, or NULL. */
static const char *apply_extra(struct account *account, const struct extra *extra)
{
    static const char *const refused[] = {"nopassword", "proxy", "proxy_maybe", "host"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (is_text(extra->key, refused[i]) && is_on(extra)) {
            return "nopassword, proxy and host are not supported";
        }
    }
    if (is_text(extra->key, "nologin")) {
        account->disabled = is_on(extra);
    } else if (is_text(extra->key, "reason")) {
        set_reason(account, extra->value);
    } else if (is_text(extra->key, "tls_required")) {
        account->tls_required = is_on(extra);
    } else if (is_text(extra->key, "allow_nets")) {
        if (terms_parse_networks(extra->value.data, extra->value.length, account) != STATUS_OK) {
            return "allow_nets has something that is no network, or too many";
        }
    }
    return NULL;
}

static const char *apply_extras(struct account *account, struct text extras)
{
    struct extra extra;
    while (take_extra(&extras, &extra)) {
        const char *problem = apply_extra(account, &extra);
        if (problem != NULL) {
            return problem;
        }
    }
    return NULL;
}

/* --- the password ------------------------------------------------------------------------------
 */

/* Takes the credential over. The problem with it, or NULL. */
static const char *take_password(struct account *account, struct text password)
{
    char text[AUTH_CREDENTIAL_MAX + 1];
    if (password.length == 0 || password.data[0] == '!' || password.data[0] == '*') {
        return NULL;
    }
    if (password.length > AUTH_CREDENTIAL_MAX) {
        return "the password field is too long; nobody can log in with it";
    }
    memcpy(text, password.data, password.length);
    text[password.length] = '\0';
    enum status status = account_set_credential(account, text);
    mem_wipe(text, sizeof text); /* some schemes are the password itself */
    switch (status) {
    case STATUS_OK:
        return NULL;
    case STATUS_UNSUPPORTED:
        return "the password's scheme is unknown here; nobody can log in with it";
    default:
        return "the password is malformed for its scheme; nobody can log in with it";
    }
}

enum passwd_line_kind passwd_line_read(const char *line, size_t length, const char *default_domain,
                                       struct account *out_account, const char **out_problem)
{
    struct identity identity;
    struct text whole = trim_end(line, length);
    enum passwd_line_kind kind =
        passwd_line_name(line, length, default_domain, &identity, out_problem);
    if (kind != PASSWD_LINE_USER) {
        return kind;
    }
    *out_account = (struct account){.drop = {.volume = AUTH_VOLUME_NONE}};
    memcpy(out_account->name, identity.name, identity.length + 1);
    const char *problem = apply_extras(out_account, field_of(whole, FIELD_EXTRA));
    if (problem != NULL) {
        *out_problem = problem;
        return PASSWD_LINE_BAD;
    }
    problem = take_password(out_account, field_of(whole, FIELD_PASSWORD));
    if (problem != NULL) {
        *out_problem = problem;
        return PASSWD_LINE_LOCKED;
    }
    return PASSWD_LINE_USER;
}
