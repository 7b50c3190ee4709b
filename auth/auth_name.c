/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth_name.h"

#include <string.h>

/* The last place of one of `characters` in the name, or NULL. */
static const char *find_last(const char *name, size_t length, const char *characters)
{
    for (size_t i = length; i > 0; i--) {
        if (name[i - 1] != '\0' && strchr(characters, name[i - 1]) != NULL) {
            return name + i - 1;
        }
    }
    return NULL;
}

/* One name: one without "@" has the last of the separators taken for it. */
static bool read_name(const struct auth_name_rules *rules, const char *name, size_t length,
                      struct identity *out_identity)
{
    char copy[AUTH_NAME_MAX];
    if (length > 0 && length <= sizeof copy && memchr(name, '@', length) == NULL) {
        const char *cut = find_last(name, length, rules->separators);
        if (cut != NULL) {
            memcpy(copy, name, length);
            copy[cut - name] = '@';
            name = copy;
        }
    }
    return identity_from_login(name, length, rules->default_domain, out_identity) == STATUS_OK;
}

static bool is_same(const struct identity *left, const struct identity *right)
{
    return left->length == right->length && memcmp(left->name, right->name, left->length) == 0;
}

/* "user*master". */
static bool read_pair(const struct auth_name_rules *rules, const char *name, size_t length,
                      const char *cut, struct auth_name *out_name)
{
    size_t user_length = (size_t)(cut - name);
    out_name->has_master = true;
    return read_name(rules, name, user_length, &out_name->user) &&
           read_name(rules, cut + 1, length - user_length - 1, &out_name->master);
}

void auth_name_read(const struct auth_name_rules *rules, const char *authzid, size_t authzid_length,
                    const char *authcid, size_t authcid_length, struct auth_name *out_name)
{
    const char separator[] = {rules->master_separator, '\0'};
    const char *cut = authcid_length == 0 ? NULL : find_last(authcid, authcid_length, separator);
    struct identity wanted;
    out_name->has_master = false;
    if (cut != NULL) {
        out_name->is_nameable = read_pair(rules, authcid, authcid_length, cut, out_name);
    } else {
        out_name->is_nameable = read_name(rules, authcid, authcid_length, &out_name->user);
    }
    if (!out_name->is_nameable || authzid_length == 0) {
        return;
    }
    out_name->is_nameable = read_name(rules, authzid, authzid_length, &wanted);
    if (!out_name->is_nameable || is_same(&wanted, &out_name->user)) {
        return;
    }
    if (out_name->has_master) {
        out_name->is_nameable = false; /* it names two accounts */
        return;
    }
    out_name->has_master = true;
    out_name->master = out_name->user;
    out_name->user = wanted;
}
