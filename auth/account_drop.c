/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account_drop.h"

#include "auth/account_state.h"
#include "storage/bytes.h"

#include <string.h>

#define RECORD_OCTETS 12 /* volume (4), id (8) */

struct drop_entry {
    char name[AUTH_NAME_MAX + 1];
    struct store_drop drop;
};

static enum status on_entry(void *owner, struct kv_bytes key, struct kv_bytes value)
{
    struct drop_entry *entry = owner;
    if (key.length > AUTH_NAME_MAX || value.length != RECORD_OCTETS) {
        return STATUS_CORRUPT;
    }
    const uint8_t *octets = value.data;
    memcpy(entry->name, key.data, key.length);
    entry->name[key.length] = '\0';
    entry->drop = (struct store_drop){.volume = bytes_get32(octets), .id = bytes_get64(octets + 4)};
    return STATUS_OK;
}

enum status account_drop_find(struct account_db *db, const char *name, struct store_drop *out_drop)
{
    struct drop_entry entry;
    enum status status = account_get(db, db->drops, name, on_entry, &entry);
    if (status == STATUS_OK) {
        *out_drop = entry.drop;
    }
    return status;
}

enum status account_drop_add(struct account_db *db, const char *name, const struct store_drop *drop,
                             struct error *out_error)
{
    struct kv_txn *txn = NULL;
    uint8_t record[RECORD_OCTETS];
    bytes_put32(record, drop->volume);
    bytes_put64(record + 4, drop->id);
    if (account_name_domain(name) == NULL) {
        return error_set(out_error, STATUS_INVALID, 0, NULL, "a user is called local@domain");
    }
    enum status status = kv_begin_write(db->kv, &txn);
    if (status == STATUS_OK) {
        status =
            kv_add(txn, db->drops, account_text(name), (struct kv_bytes){record, sizeof record});
    }
    /* Nobody is told: who is remembered without a maildrop looks here each time. */
    return account_finish(db, &txn, status, "assigned maildrop of", name, NULL, out_error);
}

enum status account_drop_remove(struct account_db *db, const char *name, struct error *out_error)
{
    struct kv_txn *txn = NULL;
    if (account_name_domain(name) == NULL) {
        return error_set(out_error, STATUS_NOT_FOUND, 0, NULL, "there is no maildrop of %s", name);
    }
    enum status status = kv_begin_write(db->kv, &txn);
    if (status == STATUS_OK) {
        status = kv_delete(txn, db->drops, account_text(name));
    }
    return account_finish(db, &txn, status, "assigned maildrop of", name, name, out_error);
}

enum status account_drop_each(struct account_db *db, const char *after,
                              bool (*on_drop)(void *owner, const char *name,
                                              const struct store_drop *drop),
                              void *owner)
{
    struct drop_entry entry;
    enum status status = STATUS_OK;
    bool wanted = true;
    while (wanted && status == STATUS_OK) {
        status = account_next(db, db->drops, after, on_entry, &entry);
        if (status == STATUS_OK) {
            wanted = on_drop(owner, entry.name, &entry.drop);
            after = entry.name;
        }
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
