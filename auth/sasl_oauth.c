/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bearer tokens: OAUTHBEARER (RFC 7628) and Google's older XOAUTH2. Both carry the token in one
 * message; the first has a GS2 header in front, the second names the user in a field:
 *
 *   n,a=user,^Ahost=...^Aport=...^Aauth=Bearer TOKEN^A^A
 *   user=user^Aauth=Bearer TOKEN^A^A
 *
 * A refused token is answered by a challenge with JSON that says so; the client sends something
 * without meaning (^A, or nothing), and only then it fails (RFC 7628 section 3.2.3). What is
 * malformed fails at once.
 */
#include "auth/auth_state.h"
#include "auth/oauth.h"
#include "auth/sasl.h"
#include "auth/secret.h"

#include <string.h>
#include <strings.h>

enum { OAUTH_TOKEN, OAUTH_REFUSED };

struct text {
    const char *data;
    size_t length;
};

struct bearer {
    struct text user;  /* may be empty */
    struct text token; /* empty: the client asks what it needs (RFC 7628 section 4.3) */
};

/* Takes what stands before the next `end`, and that. False when there is none. */
static bool take(struct text *rest, char end, struct text *out)
{
    const char *stop = memchr(rest->data, end, rest->length);
    if (stop == NULL) {
        return false;
    }
    *out = (struct text){rest->data, (size_t)(stop - rest->data)};
    *rest = (struct text){stop + 1, rest->length - out->length - 1};
    return true;
}

/* "Bearer", one space, and the characters of RFC 6750 section 2.1; nothing at all is allowed. */
static bool parse_token(struct text value, struct text *out_token)
{
    static const char characters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789-._~+/=";
    *out_token = (struct text){value.data, 0};
    if (value.length == 0) {
        return true;
    }
    if (value.length < 8 || strncasecmp(value.data, "Bearer ", 7) != 0) {
        return false;
    }
    *out_token = (struct text){value.data + 7, value.length - 7};
    for (size_t i = 0; i < out_token->length; i++) {
        if (memchr(characters, out_token->data[i], sizeof characters - 1) == NULL) {
            return false;
        }
    }
    return true;
}

/* key "=" value, each with ^A behind it, and a last ^A. `user` is a key of XOAUTH2 only. */
static bool parse_fields(struct text rest, bool takes_user, struct bearer *bearer)
{
    struct text field, key;
    bool has_auth = false;
    while (take(&rest, '\1', &field)) {
        if (field.length == 0) {
            return has_auth && rest.length == 0; /* the end */
        }
        if (!take(&field, '=', &key)) {
            return false;
        }
        if (key.length == 4 && memcmp(key.data, "auth", 4) == 0) {
            if (has_auth || !parse_token(field, &bearer->token)) {
                return false;
            }
            has_auth = true;
        } else if (takes_user && key.length == 4 && memcmp(key.data, "user", 4) == 0) {
            bearer->user = field;
        }
    }
    return false;
}

/* The GS2 header of OAUTHBEARER: no channel binding, and perhaps the user's name. A name with a
 * comma or an equals sign in it is nobody's here, so none is decoded. */
static bool parse_header(struct text *rest, struct bearer *bearer)
{
    struct text field;
    if (!take(rest, ',', &field) || field.length != 1 ||
        (field.data[0] != 'n' && field.data[0] != 'y') || !take(rest, ',', &field)) {
        return false;
    }
    if (field.length > 0) {
        if (field.length < 3 || memcmp(field.data, "a=", 2) != 0) {
            return false;
        }
        bearer->user = (struct text){field.data + 2, field.length - 2};
    }
    return take(rest, '\1', &field) && field.length == 0;
}

/* --- the exchange ------------------------------------------------------------------------------
 */

static bool is_xoauth2(const struct auth_sasl *sasl)
{
    return sasl->mechanism->ops == &sasl_xoauth2_ops;
}

static enum sasl_step refuse_token(struct auth_sasl *sasl)
{
    const char *text = oauth_refusal(sasl->request->client->auth->oauth, is_xoauth2(sasl));
    sasl->step = OAUTH_REFUSED;
    return sasl_challenge(sasl, text, strlen(text));
}

static enum sasl_step on_token(struct auth_sasl *sasl, const char *data, size_t length)
{
    struct bearer bearer = {{data, 0}, {data, 0}};
    struct text rest = {data, length};
    if (memchr(data, '\0', length) != NULL ||
        (!is_xoauth2(sasl) && !parse_header(&rest, &bearer)) ||
        !parse_fields(rest, is_xoauth2(sasl), &bearer)) {
        return SASL_REFUSE;
    }
    if (!sasl_hold(sasl, bearer.user.data, bearer.user.length)) {
        return SASL_UNAVAILABLE;
    }
    if (bearer.token.length == 0) {
        return refuse_token(sasl);
    }
    sasl->fingerprint = secret_hash(&sasl->request->client->auth->fingerprint_key,
                                    bearer.token.data, bearer.token.length);
    return sasl_find_token(sasl, bearer.token.data, bearer.token.length);
}

static enum sasl_step on_response(struct auth_sasl *sasl, const char *data, size_t length)
{
    if (sasl->step == OAUTH_REFUSED) {
        return SASL_REFUSE;
    }
    return data != NULL ? on_token(sasl, data, length) : sasl_challenge(sasl, NULL, 0);
}

static enum sasl_step on_account(struct auth_sasl *sasl, const struct account *account)
{
    bool admitted = account != NULL && sasl_is_same_user(sasl, sasl->held, sasl->held_length);
    return admitted ? SASL_ADMIT : refuse_token(sasl);
}

const struct sasl_ops sasl_oauthbearer_ops = {.on_response = on_response, .on_account = on_account};
const struct sasl_ops sasl_xoauth2_ops = {.on_response = on_response, .on_account = on_account};
