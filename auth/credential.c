/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/credential.h"

#include "auth/scram.h"
#include "io/mem.h"

#include <stdio.h>
#include <string.h>

#define SCRAM_SCHEME_MAX sizeof "{SCRAM-SHA-256}" /* octets of the longer one, with NUL */

static const struct {
    enum scram_kind kind;
    const char *scheme;
} scrams[] = {{SCRAM_SHA_256, "{SCRAM-SHA-256}"}, {SCRAM_SHA_1, "{SCRAM-SHA-1}"}};

#define SCRAMS (sizeof scrams / sizeof scrams[0])

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

const char *credential_readable(const struct account *account)
{
    const char *password = NULL;
    for (uint32_t i = 0; password == NULL && i < account->credential_count; i++) {
        password = password_readable(account->credentials[i].text);
    }
    return password;
}

bool credential_scram_keys(const struct account *account, enum scram_kind kind,
                           struct scram_keys *out_keys)
{
    for (uint32_t i = 0; i < account->credential_count; i++) {
        if (password_scram_keys(account->credentials[i].text, kind, out_keys) == STATUS_OK) {
            return true;
        }
    }
    return false;
}

static bool has_scram(const struct account *account, enum scram_kind kind)
{
    struct scram_keys keys;
    bool has = credential_scram_keys(account, kind, &keys);
    mem_wipe(&keys, sizeof keys);
    return has;
}

static bool has_room(const struct account *account)
{
    return account->credential_count < AUTH_CREDENTIALS_MAX;
}

bool credential_is_missing(const struct account *account)
{
    if (!has_room(account)) {
        return false;
    }
    bool missing = !has_yescrypt(account);
    for (size_t i = 0; i < SCRAMS; i++) {
        missing |= !has_scram(account, scrams[i].kind);
    }
    return missing;
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

static bool add_scram(struct account *account, size_t which, const char *password, size_t length)
{
    char keys[AUTH_CREDENTIAL_MAX + 1 - SCRAM_SCHEME_MAX];
    char *text = account->credentials[account->credential_count].text;
    if (scram_make(scrams[which].kind, password, length, keys, sizeof keys) != STATUS_OK) {
        return false;
    }
    /* Fits by the size of `keys`. */
    (void)snprintf(text, AUTH_CREDENTIAL_MAX + 1, "%s%s", scrams[which].scheme, keys);
    mem_wipe(keys, sizeof keys);
    account->credential_count++;
    return true;
}

bool credential_complete(struct account *account, const char *password, size_t length)
{
    bool added = false;
    if (has_room(account) && !has_yescrypt(account)) {
        added |= add_yescrypt(account, password, length);
    }
    for (size_t i = 0; i < SCRAMS; i++) {
        if (has_room(account) && !has_scram(account, scrams[i].kind)) {
            added |= add_scram(account, i, password, length);
        }
    }
    return added;
}
