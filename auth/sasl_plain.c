/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mechanisms that show the password: PLAIN (RFC 4616), and LOGIN, which no standard describes
 * and Outlook still speaks. Names and passwords are taken as they come, not prepared (RFC 4013):
 * so does PASS, and one account has one password.
 */
#include "auth/sasl.h"

#include <string.h>

/* --- PLAIN: [authzid] NUL authcid NUL passwd ---------------------------------------------------
 */

static enum sasl_step plain_on_response(struct auth_sasl *sasl, const char *data, size_t length)
{
    if (data == NULL) {
        return sasl_challenge(sasl, NULL, 0);
    }
    const char *end = data + length;
    const char *first = memchr(data, '\0', length);
    const char *second = first != NULL ? memchr(first + 1, '\0', (size_t)(end - first - 1)) : NULL;
    if (second == NULL || memchr(second + 1, '\0', (size_t)(end - second - 1)) != NULL) {
        return SASL_REFUSE;
    }
    sasl->login.authzid = data;
    sasl->login.authzid_length = (size_t)(first - data);
    sasl->login.authcid = first + 1;
    sasl->login.authcid_length = (size_t)(second - first - 1);
    sasl->login.password = second + 1;
    sasl->login.password_length = (size_t)(end - second - 1);
    if (sasl->login.authcid_length == 0 || sasl->login.password_length == 0) {
        return SASL_REFUSE;
    }
    return SASL_LOGIN;
}

const struct sasl_ops sasl_plain_ops = {.on_response = plain_on_response};

/* --- LOGIN: two prompts, which clients compare letter by letter ---------------------------------
 */

enum { LOGIN_BEGUN, LOGIN_NAME, LOGIN_PASSWORD };

static enum sasl_step login_on_response(struct auth_sasl *sasl, const char *data, size_t length)
{
    if (data == NULL) {
        sasl->step = LOGIN_NAME;
        return sasl_challenge(sasl, "Username:", 9);
    }
    if (length == 0 || memchr(data, '\0', length) != NULL) {
        return SASL_REFUSE;
    }
    if (sasl->step != LOGIN_PASSWORD) { /* the name, in an initial response or after the prompt */
        sasl->step = LOGIN_PASSWORD;
        return sasl_hold(sasl, data, length) ? sasl_challenge(sasl, "Password:", 9)
                                             : SASL_UNAVAILABLE;
    }
    sasl->login.authcid = sasl->held;
    sasl->login.authcid_length = sasl->held_length;
    sasl->login.password = data;
    sasl->login.password_length = length;
    return SASL_LOGIN;
}

const struct sasl_ops sasl_login_ops = {.on_response = login_on_response};
