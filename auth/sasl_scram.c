/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677), with channel binding ("-PLUS": tls-exporter,
 * RFC 9266, and tls-unique, RFC 5929) and without. libgsasl does the arithmetic; here are the
 * order of events and the rules that a library without users cannot know:
 *
 *   - The account is found between the client's first message and libgsasl's first step. Its keys
 *     are stored, so no password is ever hashed here.
 *   - A name that nobody has, or whose account has no such keys, gets a salt that is always the
 *     same for this name in this store, and keys that nobody has: it fails at the end, like a wrong
 *     password.
 *   - "y" says: the client can bind and thinks that the server cannot. Where we offer -PLUS,
 *     somebody has taken it out of the list on its way: fail.
 *
 * Channel binding type and data are both compared; a client that binds to anything but what this
 * connection has fails.
 */
#include "auth/account.h"
#include "auth/auth_state.h"
#include "auth/credential.h"
#include "auth/sasl.h"
#include "auth/sasl_gsasl.h"
#include "auth/scram.h"
#include "auth/secret.h"
#include "io/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SCRAM_FIRST, SCRAM_LAST, SCRAM_DONE };

static_assert(SECRET_DIGEST_OCTETS >= AUTH_SCRAM_SALT_OCTETS, "a digest is long enough for a salt");

/* --- the client's first message ----------------------------------------------------------------
 */

struct text {
    const char *data;
    size_t length;
};

struct client_first {
    char flag;           /* n, y or p */
    struct text binding; /* the type's name behind "p=" */
    char authzid[AUTH_NAME_MAX + 1];
    size_t authzid_length;
    char name[AUTH_NAME_MAX + 1];
    size_t name_length;
};

/* Takes what stands before the next comma, and the comma. False when there is none. */
static bool take_field(struct text *rest, struct text *out_field)
{
    const char *comma = memchr(rest->data, ',', rest->length);
    if (comma == NULL) {
        return false;
    }
    *out_field = (struct text){rest->data, (size_t)(comma - rest->data)};
    *rest = (struct text){comma + 1, rest->length - out_field->length - 1};
    return true;
}

/* Undoes "=2C" and "=3D" (RFC 5802 section 5.1); no other "=" may stand in a name. */
static bool decode_name(struct text text, char out[AUTH_NAME_MAX + 1], size_t *out_length)
{
    size_t written = 0;
    for (size_t i = 0; i < text.length; i++) {
        char character = text.data[i];
        if (character == '=') {
            bool is_comma = text.length - i >= 3 && memcmp(text.data + i, "=2C", 3) == 0;
            bool is_equals = text.length - i >= 3 && memcmp(text.data + i, "=3D", 3) == 0;
            if (!is_comma && !is_equals) {
                return false;
            }
            character = is_comma ? ',' : '=';
            i += 2;
        }
        if (written == AUTH_NAME_MAX) {
            return false;
        }
        out[written++] = character;
    }
    out[written] = '\0';
    *out_length = written;
    return true;
}

/* gs2-header, then "n=" name; the rest is libgsasl's business. */
static bool parse_first(const char *data, size_t length, struct client_first *out)
{
    struct text rest = {data, length}, field;
    memset(out, 0, sizeof *out);
    if (memchr(data, '\0', length) != NULL || !take_field(&rest, &field) || field.length == 0) {
        return false;
    }
    out->flag = field.data[0];
    if (out->flag == 'p' && field.length > 2 && field.data[1] == '=') {
        out->binding = (struct text){field.data + 2, field.length - 2};
    } else if ((out->flag != 'n' && out->flag != 'y') || field.length != 1) {
        return false;
    }
    if (!take_field(&rest, &field)) {
        return false;
    }
    if (field.length > 0) {
        struct text name = {field.data + 2, field.length - 2};
        if (field.length < 3 || memcmp(field.data, "a=", 2) != 0 ||
            !decode_name(name, out->authzid, &out->authzid_length)) {
            return false;
        }
    }
    if (!take_field(&rest, &field) || field.length < 3 || memcmp(field.data, "n=", 2) != 0) {
        return false; /* also "m=": extensions are refused, as the RFC demands */
    }
    struct text name = {field.data + 2, field.length - 2};
    return decode_name(name, out->name, &out->name_length);
}

/* --- channel binding ---------------------------------------------------------------------------
 */

static bool is_named(struct text text, const char *name)
{
    return text.length == strlen(name) && memcmp(text.data, name, text.length) == 0;
}

/* Whether what the client says of channel binding fits the mechanism and the connection. */
static bool binding_fits(const struct auth_sasl *sasl, const struct client_first *first)
{
    const struct auth_tls *tls = sasl->request->tls ? sasl->request->tls_facts : NULL;
    bool has_exporter = tls != NULL && tls->exporter != NULL;
    bool has_unique = tls != NULL && tls->unique != NULL;
    if (sasl->mechanism->need == SASL_NEEDS_BINDING) {
        return first->flag == 'p' && ((has_exporter && is_named(first->binding, "tls-exporter")) ||
                                      (has_unique && is_named(first->binding, "tls-unique")));
    }
    return first->flag == 'n' || (first->flag == 'y' && !has_exporter && !has_unique);
}

static enum status set_binding(struct auth_sasl *sasl, const struct client_first *first)
{
    const struct auth_tls *tls = sasl->request->tls_facts;
    if (first->flag != 'p') {
        return STATUS_OK;
    }
    bool is_exporter = is_named(first->binding, "tls-exporter");
    return sasl_gsasl_set_binding(sasl->gsasl, is_exporter,
                                  is_exporter ? tls->exporter : tls->unique,
                                  is_exporter ? tls->exporter_length : tls->unique_length);
}

/* --- keys --------------------------------------------------------------------------------------
 */

/* Keys nobody has, with what a client would see of real ones. */
static void make_false_keys(const struct auth_sasl *sasl, const struct client_first *first,
                            struct scram_keys *out_keys)
{
    struct auth_request *request = sasl->request;
    const char *known = request->identity.name; /* what all spellings of a name come to */
    struct text name = known[0] != '\0' ? (struct text){known, strlen(known)}
                                        : (struct text){first->name, first->name_length};
    char kind = (char)sasl->mechanism->kind;
    const struct secret_part parts[] = {{"scram", 5}, {&kind, 1}, {name.data, name.length}};
    struct secret_digest digest;
    secret_digest(&request->client->auth->lasting_key, parts, 3, &digest);
    *out_keys = (struct scram_keys){.iterations = AUTH_SCRAM_ITERATIONS,
                                    .salt_length = AUTH_SCRAM_SALT_OCTETS};
    memcpy(out_keys->salt, digest.octets, AUTH_SCRAM_SALT_OCTETS);
    secret_random(out_keys->stored, sizeof out_keys->stored);
    secret_random(out_keys->server, sizeof out_keys->server);
}

/* --- the exchange ------------------------------------------------------------------------------
 */

static enum sasl_step on_first(struct auth_sasl *sasl, const char *data, size_t length)
{
    struct client_first first;
    if (!parse_first(data, length, &first) || !binding_fits(sasl, &first)) {
        return SASL_REFUSE;
    }
    return sasl_hold(sasl, data, length) ? sasl_find(sasl, first.name, first.name_length)
                                         : SASL_UNAVAILABLE;
}

/* Passes the client's message on; what libgsasl says becomes the challenge. */
static enum sasl_step pass_on(struct auth_sasl *sasl, const char *data, size_t length,
                              enum status wanted)
{
    char *output = NULL;
    size_t output_length = 0;
    enum status status = sasl_gsasl_step(sasl->gsasl, data, length, &output, &output_length);
    enum sasl_step step = status == STATUS_NO_MEMORY ? SASL_UNAVAILABLE : SASL_REFUSE;
    if (status == wanted) {
        step = sasl_challenge(sasl, output, output_length);
    }
    free(output);
    return step;
}

static enum sasl_step on_account(struct auth_sasl *sasl, const struct account *account)
{
    struct client_first first;
    struct scram_keys keys;
    enum scram_kind kind = (enum scram_kind)sasl->mechanism->kind;
    bool parsed = parse_first(sasl->held, sasl->held_length, &first);
    assert(parsed); /* it did before */
    (void)parsed;
    if (account == NULL || !credential_scram_keys(account, kind, &keys) ||
        !sasl_is_same_user(sasl, first.authzid, first.authzid_length)) {
        sasl->has_account = false;
        make_false_keys(sasl, &first, &keys);
    }
    enum status status =
        sasl_gsasl_begin(sasl->request->client->auth->gsasl, sasl->mechanism->name, &sasl->gsasl);
    if (status == STATUS_OK) {
        status = sasl_gsasl_set_keys(sasl->gsasl, kind, &keys);
    }
    if (status == STATUS_OK) {
        status = set_binding(sasl, &first);
    }
    mem_wipe(&keys, sizeof keys);
    if (status != STATUS_OK) {
        return SASL_UNAVAILABLE;
    }
    sasl->step = SCRAM_LAST;
    return pass_on(sasl, sasl->held, sasl->held_length, STATUS_AGAIN);
}

static enum sasl_step on_response(struct auth_sasl *sasl, const char *data, size_t length)
{
    if (data == NULL) {
        return sasl_challenge(sasl, NULL, 0);
    }
    if (sasl->step == SCRAM_FIRST) {
        return on_first(sasl, data, length);
    }
    if (sasl->step == SCRAM_LAST) {
        /* The server's last words are a challenge, as POP3 has no place for them in +OK. */
        sasl->step = SCRAM_DONE;
        bool has_nul = memchr(data, '\0', length) != NULL;
        return has_nul ? SASL_REFUSE : pass_on(sasl, data, length, STATUS_OK);
    }
    return length == 0 && sasl->has_account ? SASL_ADMIT : SASL_REFUSE;
}

const struct sasl_ops sasl_scram_ops = {.on_response = on_response, .on_account = on_account};
