/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EXTERNAL (RFC 4422 appendix A): who the client is, TLS has found out from its certificate. The
 * client may say as whom it wants to act; only as itself is allowed.
 */
#include "auth/sasl.h"

#include <string.h>

static enum sasl_step on_response(struct auth_sasl *sasl, const char *data, size_t length)
{
    const char *name = sasl->request->tls_facts->client_name; /* the mechanism's need */
    if (data == NULL) {
        return sasl_challenge(sasl, NULL, 0);
    }
    if (memchr(data, '\0', length) != NULL) {
        return SASL_REFUSE;
    }
    return sasl_hold(sasl, data, length) ? sasl_find(sasl, name, strlen(name)) : SASL_UNAVAILABLE;
}

static enum sasl_step on_account(struct auth_sasl *sasl, const struct account *account)
{
    bool admitted = account != NULL && sasl_is_same_user(sasl, sasl->held, sasl->held_length);
    return admitted ? SASL_ADMIT : SASL_REFUSE;
}

const struct sasl_ops sasl_external_ops = {.on_response = on_response, .on_account = on_account};
