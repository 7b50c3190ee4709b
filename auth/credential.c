/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/credential.h"

#include "auth/scram.h"

#include <stdio.h>
#include <string.h>

#define SCRAM_SCHEME "{SCRAM-SHA-256}"

/* The order in which classes are preferred is the order of the enum. */
const char *credential_choose(const struct account *account, enum password_class *out_class)
{
    const char *chosen = NULL;
    enum password_class best = PASSWORD_SCRAM;
    for (uint32_t i = 0; i < account->credential_count; i++) {
        enum password_class class;
        const char *text = account->credentials[i].text;
        if (password_check(text, &class) == STATUS_OK && (chosen == NULL || class < best)) {
            chosen = text;
            best = class;
        }
    }
    if (chosen != NULL) {
        *out_class = best;
    }
    return chosen;
}

static bool has_yescrypt(const struct account *account)
{
    enum password_class class;
    return credential_choose(account, &class) != NULL && class == PASSWORD_YESCRYPT;
}

static bool has_scram(const struct account *account)
{
    for (uint32_t i = 0; i < account->credential_count; i++) {
        if (strncmp(account->credentials[i].text, SCRAM_SCHEME, strlen(SCRAM_SCHEME)) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_room(const struct account *account)
{
    return account->credential_count < AUTH_CREDENTIALS_MAX;
}

bool credential_is_missing(const struct account *account)
{
    return has_room(account) && (!has_yescrypt(account) || !has_scram(account));
}

static bool add_yescrypt(struct account *account, const char *password, size_t length)
{
    char *text = account->credentials[account->credential_count].text;
    if (password_make(password, length, text, AUTH_CREDENTIAL_MAX + 1) != STATUS_OK) {
        return false;
    }
    account->credential_count++;
    return true;
}

static bool add_scram(struct account *account, const char *password, size_t length)
{
    char keys[AUTH_CREDENTIAL_MAX + 1 - sizeof SCRAM_SCHEME];
    char *text = account->credentials[account->credential_count].text;
    if (scram_make(SCRAM_SHA_256, password, length, keys, sizeof keys) != STATUS_OK) {
        return false;
    }
    (void)snprintf(text, AUTH_CREDENTIAL_MAX + 1, SCRAM_SCHEME "%s", keys); /* fits by its size */
    account->credential_count++;
    return true;
}

bool credential_complete(struct account *account, const char *password, size_t length)
{
    bool added = false;
    if (has_room(account) && !has_yescrypt(account)) {
        added |= add_yescrypt(account, password, length);
    }
    if (has_room(account) && !has_scram(account)) {
        added |= add_scram(account, password, length);
    }
    return added;
}
