/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account_alias.h"

#include "auth/account_state.h"
#include "storage/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_MAX (2 + AUTH_ALIAS_TARGETS_MAX * (2 + AUTH_NAME_MAX))

static_assert(AUTH_ALIAS_TARGETS_MAX <= UINT16_MAX && AUTH_NAME_MAX <= UINT16_MAX, "two octets");

/* --- the record --------------------------------------------------------------------------------
 */

static size_t encode(const struct alias *alias, uint8_t out[RECORD_MAX])
{
    uint8_t *to = out + 2;
    bytes_put16(out, (uint16_t)alias->target_count);
    for (uint32_t i = 0; i < alias->target_count; i++) {
        size_t length = strlen(alias->targets[i]);
        bytes_put16(to, (uint16_t)length);
        memcpy(to + 2, alias->targets[i], length);
        to += 2 + length;
    }
    return (size_t)(to - out);
}

static enum status on_entry(void *owner, struct kv_bytes name, struct kv_bytes value)
{
    struct alias *out_alias = owner;
    const uint8_t *at = value.data, *end = at + value.length;
    if (name.length > AUTH_NAME_MAX || value.length < 2 ||
        bytes_get16(at) > AUTH_ALIAS_TARGETS_MAX) {
        return STATUS_CORRUPT;
    }
    memcpy(out_alias->name, name.data, name.length);
    out_alias->name[name.length] = '\0';
    out_alias->target_count = bytes_get16(at);
    at += 2;
    for (uint32_t i = 0; i < out_alias->target_count; i++) {
        size_t length = end - at < 2 ? SIZE_MAX : bytes_get16(at);
        if (length > AUTH_NAME_MAX || length > (size_t)(end - at) - 2) {
            return STATUS_CORRUPT;
        }
        memcpy(out_alias->targets[i], at + 2, length);
        out_alias->targets[i][length] = '\0';
        at += 2 + length;
    }
    return at == end ? STATUS_OK : STATUS_CORRUPT;
}

/* --- names -------------------------------------------------------------------------------------
 */

/* The domain of an alias's name, or NULL when it is none. */
static const char *domain_of(const char *name)
{
    if (name[0] != '@') {
        return account_name_domain(name);
    }
    size_t length = strlen(name);
    bool good = length > 1 && length <= AUTH_NAME_MAX && strchr(name + 1, '@') == NULL;
    return good ? name + 1 : NULL;
}

static enum status check(const struct alias *alias, struct error *out_error)
{
    bool good = memchr(alias->name, '\0', sizeof alias->name) != NULL &&
                domain_of(alias->name) != NULL &&
                strlen(domain_of(alias->name)) <= AUTH_DOMAIN_MAX && alias->target_count > 0 &&
                alias->target_count <= AUTH_ALIAS_TARGETS_MAX;
    for (uint32_t i = 0; good && i < alias->target_count; i++) {
        good = memchr(alias->targets[i], '\0', sizeof alias->targets[i]) != NULL &&
               account_name_domain(alias->targets[i]) != NULL;
    }
    return good ? STATUS_OK
                : error_set(out_error, STATUS_INVALID, 0, NULL,
                            "an alias is called local@domain or @domain and has 1 to %d targets "
                            "called local@domain",
                            AUTH_ALIAS_TARGETS_MAX);
}

/* --- the table ---------------------------------------------------------------------------------
 */

/* The names an alias stands for, those of its targets included, as delivery opens them. */
struct walk {
    struct alias alias; /* the one being read */
    struct alias_names found;
};

void account_alias_collect(struct alias_names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->names[i], name) == 0) {
            return;
        }
    }
    if (names->count < AUTH_ALIAS_TARGETS_MAX) {
        memcpy(names->names[names->count++], name, strlen(name) + 1);
    }
}

/* Adds the targets of `alias`; STATUS_INVALID when one of them is `wanted`. */
static enum status walk_open(struct walk *walk, const struct alias *alias, const char *wanted,
                             struct error *out_error)
{
    for (uint32_t i = 0; i < alias->target_count; i++) {
        if (strcmp(alias->targets[i], wanted) == 0) {
            return error_set(out_error, STATUS_INVALID, 0, NULL,
                             "an alias must not lead back to itself, as it would by way of %.160s",
                             alias->name);
        }
        account_alias_collect(&walk->found, alias->targets[i]);
    }
    return STATUS_OK;
}

/* STATUS_INVALID when the alias would lead back to itself. */
static enum status check_loop(struct account_db *db, struct kv_txn *txn, const struct alias *alias,
                              struct error *out_error)
{
    struct walk *walk = calloc(1, sizeof *walk);
    struct kv_bytes value;
    if (walk == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "writing alias %s", alias->name);
    }
    enum status status = walk_open(walk, alias, alias->name, out_error);
    for (uint32_t i = 0; i < walk->found.count && status == STATUS_OK; i++) {
        struct kv_bytes key = account_text(walk->found.names[i]);
        status = kv_get(txn, db->aliases, key, &value);
        if (status == STATUS_NOT_FOUND) {
            status = STATUS_OK; /* somebody's name, or nobody's yet */
            continue;
        }
        if (status == STATUS_OK) {
            status = on_entry(&walk->alias, key, value);
        }
        if (status == STATUS_OK) {
            status = walk_open(walk, &walk->alias, alias->name, out_error);
        } else {
            (void)error_set(out_error, status, 0, db->path, "reading alias %s",
                            walk->found.names[i]);
        }
    }
    free(walk);
    return status;
}

/* Sets it and counts it in its domain, if it is new. */
static enum status put(struct account_db *db, struct kv_txn *txn, const struct alias *alias,
                       struct kv_bytes value)
{
    struct kv_bytes key = account_text(alias->name);
    enum status status = kv_add(txn, db->aliases, key, value);
    if (status == STATUS_EXISTS) {
        return kv_put(txn, db->aliases, key, value);
    }
    return status == STATUS_OK ? account_count_domain(db, txn, domain_of(alias->name), true)
                               : status;
}

enum status account_alias_set(struct account_db *db, const struct alias *alias,
                              struct error *out_error)
{
    struct kv_txn *txn = NULL;
    enum status status = check(alias, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *record = malloc(RECORD_MAX);
    if (record == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "writing alias %s", alias->name);
    }
    status = kv_begin_write(db->kv, &txn);
    if (status == STATUS_OK) {
        status = check_loop(db, txn, alias, out_error);
        if (status != STATUS_OK) {
            kv_abort(&txn);
            free(record);
            return status;
        }
        status = put(db, txn, alias, (struct kv_bytes){record, encode(alias, record)});
    }
    free(record);
    return account_finish(db, &txn, status, "alias", alias->name, NULL, out_error);
}

enum status account_alias_remove(struct account_db *db, const char *name, struct error *out_error)
{
    struct kv_txn *txn = NULL;
    if (domain_of(name) == NULL) {
        return error_set(out_error, STATUS_NOT_FOUND, 0, NULL, "there is no alias %s", name);
    }
    enum status status = kv_begin_write(db->kv, &txn);
    if (status == STATUS_OK) {
        status = kv_delete(txn, db->aliases, account_text(name));
    }
    if (status == STATUS_OK) {
        status = account_count_domain(db, txn, domain_of(name), false);
    }
    return account_finish(db, &txn, status, "alias", name, NULL, out_error);
}

enum status account_alias_find(struct account_db *db, const char *name, struct alias *out_alias)
{
    return account_get(db, db->aliases, name, on_entry, out_alias);
}

enum status account_alias_each(struct account_db *db, const char *after,
                               bool (*on_alias)(void *owner, const struct alias *alias),
                               void *owner)
{
    struct alias *alias = malloc(sizeof *alias);
    enum status status = alias == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    bool wanted = true;
    while (wanted && status == STATUS_OK) {
        status = account_next(db, db->aliases, after, on_entry, alias);
        if (status == STATUS_OK) {
            wanted = on_alias(owner, alias);
            after = alias->name;
        }
    }
    free(alias);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
