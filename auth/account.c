/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account.h"

#include "auth/account_record.h"
#include "auth/account_state.h"
#include "auth/credential.h"
#include "auth/password.h"
#include "auth/secret.h"
#include "io/mem.h"
#include "storage/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define FORMAT_KEY     "format"
#define FORMAT         1
#define GENERATION_KEY "generation"
#define SECRET_KEY     "secret" /* SECRET_KEY_OCTETS random octets */
#define TABLES         6

/* --- small things ------------------------------------------------------------------------------
 */

/* A number stored under `key`, 0 when there is none. */
static enum status get_number(struct kv_txn *txn, unsigned table, struct kv_bytes key,
                              uint64_t *out_number)
{
    struct kv_bytes value;
    enum status status = kv_get(txn, table, key, &value);
    if (status == STATUS_NOT_FOUND) {
        *out_number = 0;
        return STATUS_OK;
    }
    if (status == STATUS_OK && value.length != 8) {
        return STATUS_CORRUPT;
    }
    if (status == STATUS_OK) {
        *out_number = bytes_get64(value.data);
    }
    return status;
}

static enum status put_number(struct kv_txn *txn, unsigned table, struct kv_bytes key,
                              uint64_t number)
{
    uint8_t octets[8];
    bytes_put64(octets, number);
    return kv_put(txn, table, key, (struct kv_bytes){octets, sizeof octets});
}

static int64_t wall_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *account_name_domain(const char *name)
{
    const char *at = strchr(name, '@');
    bool good = at != NULL && at != name && at[1] != '\0' && strchr(at + 1, '@') == NULL &&
                strlen(name) <= AUTH_NAME_MAX;
    return good ? at + 1 : NULL;
}

/* --- opening -----------------------------------------------------------------------------------
 */

/* Notes the format in a new database; refuses another. */
static enum status check_format(struct account_db *db, struct error *out_error)
{
    struct kv_txn *txn = NULL;
    uint64_t format = 0;
    enum status status = kv_begin_write(db->kv, &txn);
    if (status == STATUS_OK) {
        status = get_number(txn, db->meta, account_text(FORMAT_KEY), &format);
    }
    if (status == STATUS_OK && format == 0) {
        status = put_number(txn, db->meta, account_text(FORMAT_KEY), FORMAT);
        if (status == STATUS_OK) {
            status = kv_commit(&txn);
        }
    } else if (status == STATUS_OK && format != FORMAT) {
        status = STATUS_UNSUPPORTED;
    }
    kv_abort(&txn);
    if (status != STATUS_OK) {
        return error_set(
            out_error, status, 0, db->path,
            "checking the format of the accounts; a later format needs a later program");
    }
    return STATUS_OK;
}

/* Reads the store's secret; makes it in a new database, and in one that an earlier program made. */
static enum status load_secret(struct account_db *db, struct error *out_error)
{
    struct kv_txn *txn = NULL;
    struct kv_bytes stored;
    enum status status = kv_begin_write(db->kv, &txn);
    if (status == STATUS_OK) {
        status = kv_get(txn, db->meta, account_text(SECRET_KEY), &stored);
    }
    if (status == STATUS_OK && stored.length == sizeof db->secret.octets) {
        memcpy(db->secret.octets, stored.data, sizeof db->secret.octets);
    } else if (status == STATUS_OK) {
        status = STATUS_CORRUPT;
    } else if (status == STATUS_NOT_FOUND) {
        secret_key_make(&db->secret);
        status = kv_put(txn, db->meta, account_text(SECRET_KEY),
                        (struct kv_bytes){db->secret.octets, sizeof db->secret.octets});
        if (status == STATUS_OK) {
            status = kv_commit(&txn);
        }
    }
    kv_abort(&txn);
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(out_error, status, 0, db->path, "reading the secret of the accounts");
}

const struct secret_key *account_db_secret(const struct account_db *db)
{
    return &db->secret;
}

static const char *const table_names[TABLES + 1] = {"accounts", "masters", "domains", "aliases",
                                                    "drops",    "meta",    NULL};

/* A table that an older program has not made is made now: it knew nothing to put there. */
static enum status open_tables(struct account_db *db, struct error *out_error)
{
    const struct {
        const char *name;
        unsigned *table;
    } tables[TABLES] = {{"accounts", &db->accounts}, {"masters", &db->masters},
                        {"domains", &db->domains},   {"aliases", &db->aliases},
                        {"drops", &db->drops},       {"meta", &db->meta}};
    enum status status = STATUS_OK;
    for (size_t i = 0; i < TABLES && status == STATUS_OK; i++) {
        status = kv_table(db->kv, tables[i].name, tables[i].table, out_error);
    }
    return status;
}

enum status account_db_open(const char *path, struct account_db **out_db, struct error *out_error)
{
    if (secret_start() != STATUS_OK) {
        return error_set(out_error, STATUS_UNSUPPORTED, 0, NULL, "no source of random numbers");
    }
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return error_set(out_error, status_from_errno(errno), errno, path,
                         "making the folder of the accounts");
    }
    struct account_db *db = calloc(1, sizeof *db);
    if (db == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, path, "opening the accounts");
    }
    (void)snprintf(db->path, sizeof db->path, "%s", path); /* cut to fit: for messages only */
    const struct kv_config config = {.path = path,
                                     .map_size = AUTH_ACCOUNTS_MAP,
                                     .tables_max = TABLES,
                                     .mode = 0600,
                                     .tables = table_names};
    enum status status = kv_open(&config, &db->kv, out_error);
    if (status == STATUS_OK) {
        status = open_tables(db, out_error);
    }
    if (status == STATUS_OK) {
        status = check_format(db, out_error);
    }
    if (status == STATUS_OK) {
        status = load_secret(db, out_error);
    }
    if (status != STATUS_OK) {
        account_db_close(&db);
        return status;
    }
    *out_db = db;
    return STATUS_OK;
}

void account_db_close(struct account_db **db)
{
    if (*db == NULL) {
        return;
    }
    if ((*db)->kv != NULL) {
        kv_close(&(*db)->kv);
    }
    mem_wipe(&(*db)->secret, sizeof(*db)->secret);
    free(*db);
    *db = NULL;
}

void account_db_watch(struct account_db *db, void (*on_change)(void *owner, const char *name),
                      void *owner)
{
    db->on_change = on_change;
    db->owner = owner;
}

/* --- reading -----------------------------------------------------------------------------------
 */

static enum status on_account_entry(void *owner, struct kv_bytes key, struct kv_bytes value)
{
    struct account *account = owner;
    if (key.length > AUTH_NAME_MAX) {
        return STATUS_CORRUPT;
    }
    memcpy(account->name, key.data, key.length);
    account->name[key.length] = '\0';
    return account_record_decode(value.data, value.length, account);
}

enum status account_get(struct account_db *db, unsigned table, const char *name,
                        enum status (*on_entry)(void *owner, struct kv_bytes key,
                                                struct kv_bytes value),
                        void *owner)
{
    struct kv_txn *txn = NULL;
    struct kv_bytes value, key = account_text(name);
    if (key.length == 0 || key.length > AUTH_NAME_MAX) {
        return STATUS_NOT_FOUND;
    }
    enum status status = kv_begin_read(db->kv, &txn);
    if (status != STATUS_OK) {
        return status;
    }
    status = kv_get(txn, table, key, &value);
    if (status == STATUS_OK) {
        status = on_entry(owner, key, value);
    }
    kv_abort(&txn);
    return status;
}

enum status account_find(struct account_db *db, const char *name, struct account *out_account)
{
    return account_get(db, db->accounts, name, on_account_entry, out_account);
}

enum status account_master_find(struct account_db *db, const char *name,
                                struct account *out_account)
{
    return account_get(db, db->masters, name, on_account_entry, out_account);
}

enum status account_domain_exists(struct account_db *db, const char *domain, size_t length,
                                  bool *out_exists)
{
    struct kv_txn *txn = NULL;
    uint64_t count = 0;
    if (length == 0 || length > AUTH_DOMAIN_MAX) {
        *out_exists = false;
        return STATUS_OK;
    }
    enum status status = kv_begin_read(db->kv, &txn);
    if (status != STATUS_OK) {
        return status;
    }
    status = get_number(txn, db->domains, (struct kv_bytes){domain, length}, &count);
    kv_abort(&txn);
    if (status == STATUS_OK) {
        *out_exists = count > 0;
    }
    return status;
}

enum status account_count(struct account_db *db, uint64_t *out_count)
{
    struct kv_txn *txn = NULL;
    enum status status = kv_begin_read(db->kv, &txn);
    if (status != STATUS_OK) {
        return status;
    }
    status = kv_count(txn, db->accounts, out_count);
    kv_abort(&txn);
    return status;
}

enum status account_next(struct account_db *db, unsigned table, const char *after,
                         enum status (*on_entry)(void *owner, struct kv_bytes key,
                                                 struct kv_bytes value),
                         void *owner)
{
    struct kv_txn *txn = NULL;
    struct kv_cursor *cursor = NULL;
    struct kv_bytes key, value;
    char from[AUTH_NAME_MAX + 2];
    /* With its NUL a name is the smallest key behind itself, and never an empty one. */
    int length = snprintf(from, sizeof from, "%s", after);
    if (length < 0 || (size_t)length > AUTH_NAME_MAX) {
        return STATUS_INVALID;
    }
    enum status status = kv_begin_read(db->kv, &txn);
    if (status == STATUS_OK) {
        status = kv_cursor_open(txn, table, &cursor);
    }
    if (status == STATUS_OK) {
        struct kv_bytes start = {from, (size_t)length + 1};
        status = kv_cursor_seek(cursor, start, &key, &value);
    }
    if (status == STATUS_OK) {
        status = on_entry(owner, key, value);
    }
    if (cursor != NULL) {
        kv_cursor_close(&cursor);
    }
    kv_abort(&txn);
    return status;
}

static enum status each_in(struct account_db *db, unsigned table, const char *after,
                           bool (*on_account)(void *owner, const struct account *account),
                           void *owner)
{
    struct account account = {0};
    enum status status = STATUS_OK;
    bool wanted = true;
    while (wanted && status == STATUS_OK) {
        status = account_next(db, table, after, on_account_entry, &account);
        if (status == STATUS_OK) {
            wanted = on_account(owner, &account);
            after = account.name;
        }
    }
    mem_wipe(&account, sizeof account);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status account_each(struct account_db *db, const char *after,
                         bool (*on_account)(void *owner, const struct account *account),
                         void *owner)
{
    return each_in(db, db->accounts, after, on_account, owner);
}

enum status account_master_each(struct account_db *db, const char *after,
                                bool (*on_account)(void *owner, const struct account *account),
                                void *owner)
{
    return each_in(db, db->masters, after, on_account, owner);
}

/* --- changing ----------------------------------------------------------------------------------
 */

/* Numbers the change, stamps it and writes the record. */
static enum status write_account(struct account_db *db, unsigned table, struct kv_txn *txn,
                                 const struct account *account, bool is_new)
{
    struct account stamped = *account;
    uint8_t record[ACCOUNT_RECORD_MAX];
    enum status status =
        get_number(txn, db->meta, account_text(GENERATION_KEY), &stamped.generation);
    if (status != STATUS_OK) {
        return status;
    }
    stamped.generation++;
    stamped.changed_ms = wall_ms();
    if (stamped.created_ms == 0) {
        stamped.created_ms = stamped.changed_ms;
    }
    struct kv_bytes value = {record, account_record_encode(&stamped, record)};
    struct kv_bytes key = account_text(stamped.name);
    status = is_new ? kv_add(txn, table, key, value) : kv_put(txn, table, key, value);
    if (status == STATUS_OK) {
        status = put_number(txn, db->meta, account_text(GENERATION_KEY), stamped.generation);
    }
    mem_wipe(&stamped, sizeof stamped);
    mem_wipe(record, sizeof record);
    return status;
}

enum status account_count_domain(struct account_db *db, struct kv_txn *txn, const char *domain,
                                 bool is_more)
{
    struct kv_bytes key = account_text(domain);
    uint64_t count = 0;
    enum status status = get_number(txn, db->domains, key, &count);
    if (status != STATUS_OK) {
        return status;
    }
    if (is_more) {
        return put_number(txn, db->domains, key, count + 1);
    }
    if (count == 0) {
        return STATUS_CORRUPT;
    }
    return count == 1 ? kv_delete(txn, db->domains, key)
                      : put_number(txn, db->domains, key, count - 1);
}

enum status account_finish(struct account_db *db, struct kv_txn **txn, enum status status,
                           const char *what, const char *name, const char *changed,
                           struct error *out_error)
{
    if (status == STATUS_OK) {
        status = kv_commit(txn);
        if (db->on_change != NULL && changed != NULL) {
            /* Also when the commit failed: it may have happened all the same. */
            db->on_change(db->owner, changed);
        }
    }
    kv_abort(txn);
    switch (status) {
    case STATUS_OK:
        return STATUS_OK;
    case STATUS_EXISTS:
        return error_set(out_error, status, 0, NULL, "there is an %s %s already", what, name);
    case STATUS_NOT_FOUND:
        return error_set(out_error, status, 0, NULL, "there is no %s %s", what, name);
    case STATUS_LOST:
        return error_set(out_error, status, 0, NULL, "%s %s was changed meanwhile", what, name);
    default:
        return error_set(out_error, status, 0, db->path, "writing %s %s", what, name);
    }
}

/* The same for an account or a master; a master's changes go by another name than a user's. */
static enum status finish(struct account_db *db, unsigned table, struct kv_txn **txn,
                          enum status status, const char *name, struct error *out_error)
{
    char changed[1 + AUTH_NAME_MAX + 1];
    bool is_master = table == db->masters;
    (void)snprintf(changed, sizeof changed, "%s%.*s", is_master ? ACCOUNT_MASTER_MARK : "",
                   AUTH_NAME_MAX, name); /* names have been checked and fit */
    return account_finish(db, txn, status, is_master ? "master" : "account", name, changed,
                          out_error);
}

/* Every text NUL-terminated within its bound. */
static enum status check_account(const struct account *account, struct error *out_error)
{
    bool good = memchr(account->name, '\0', sizeof account->name) != NULL &&
                account_name_domain(account->name) != NULL &&
                strlen(account_name_domain(account->name)) <= AUTH_DOMAIN_MAX &&
                memchr(account->reason, '\0', sizeof account->reason) != NULL &&
                account->credential_count <= AUTH_CREDENTIALS_MAX &&
                account->network_count <= AUTH_NETWORKS_MAX;
    for (uint32_t i = 0; good && i < account->credential_count; i++) {
        const char *text = account->credentials[i].text;
        good = memchr(text, '\0', AUTH_CREDENTIAL_MAX + 1) != NULL;
    }
    return good ? STATUS_OK
                : error_set(out_error, STATUS_INVALID, 0, NULL,
                            "an account is called local@domain and its members have bounds");
}

static enum status add_in(struct account_db *db, unsigned table, const struct account *account,
                          struct error *out_error)
{
    struct kv_txn *txn = NULL;
    enum status status = check_account(account, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    status = kv_begin_write(db->kv, &txn);
    if (status == STATUS_OK) {
        status = write_account(db, table, txn, account, true);
    }
    if (status == STATUS_OK && table == db->accounts) {
        status = account_count_domain(db, txn, account_name_domain(account->name), true);
    }
    return finish(db, table, &txn, status, account->name, out_error);
}

enum status account_add(struct account_db *db, const struct account *account,
                        struct error *out_error)
{
    return add_in(db, db->accounts, account, out_error);
}

enum status account_add_all(struct account_db *db, const struct account *accounts, size_t count,
                            struct error *out_error)
{
    struct kv_txn *txn = NULL;
    const char *name = "";
    enum status status = kv_begin_write(db->kv, &txn);
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        name = accounts[i].name;
        status = check_account(&accounts[i], out_error);
        if (status == STATUS_OK) {
            status = write_account(db, db->accounts, txn, &accounts[i], true);
        }
        if (status == STATUS_OK) {
            status = account_count_domain(db, txn, account_name_domain(name), true);
        }
    }
    status = account_finish(db, &txn, status, "account", name, NULL, out_error);
    for (size_t i = 0; i < count && db->on_change != NULL; i++) {
        db->on_change(db->owner, accounts[i].name); /* harmless where nothing has changed */
    }
    return status;
}

enum status account_master_add(struct account_db *db, const struct account *account,
                               struct error *out_error)
{
    return add_in(db, db->masters, account, out_error);
}

/* Whether the stored account is the one that was read. */
static enum status check_generation(struct kv_bytes stored, const struct account *account)
{
    struct account current = {0};
    enum status status = account_record_decode(stored.data, stored.length, &current);
    if (status == STATUS_OK && current.generation != account->generation) {
        status = STATUS_LOST;
    }
    mem_wipe(&current, sizeof current);
    return status;
}

static enum status replace(struct account_db *db, unsigned table, const struct account *account,
                           bool only_unchanged, struct error *out_error)
{
    struct kv_txn *txn = NULL;
    struct kv_bytes stored;
    enum status status = check_account(account, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    status = kv_begin_write(db->kv, &txn);
    if (status == STATUS_OK) {
        status = kv_get(txn, table, account_text(account->name), &stored);
    }
    if (status == STATUS_OK && only_unchanged) {
        status = check_generation(stored, account);
    }
    if (status == STATUS_OK) {
        status = write_account(db, table, txn, account, false);
    }
    return only_unchanged
               ? account_finish(db, &txn, status, "account", account->name, NULL, out_error)
               : finish(db, table, &txn, status, account->name, out_error);
}

enum status account_change(struct account_db *db, const struct account *account,
                           struct error *out_error)
{
    return replace(db, db->accounts, account, false, out_error);
}

enum status account_change_unchanged(struct account_db *db, const struct account *account,
                                     struct error *out_error)
{
    return replace(db, db->accounts, account, true, out_error);
}

enum status account_master_change(struct account_db *db, const struct account *account,
                                  struct error *out_error)
{
    return replace(db, db->masters, account, false, out_error);
}

static enum status remove_in(struct account_db *db, unsigned table, const char *name,
                             struct error *out_error)
{
    struct kv_txn *txn = NULL;
    if (account_name_domain(name) == NULL) {
        return error_set(out_error, STATUS_NOT_FOUND, 0, NULL, "there is no %s %s",
                         table == db->masters ? "master" : "account", name);
    }
    enum status status = kv_begin_write(db->kv, &txn);
    if (status == STATUS_OK) {
        status = kv_delete(txn, table, account_text(name));
    }
    if (status == STATUS_OK && table == db->accounts) {
        status = account_count_domain(db, txn, account_name_domain(name), false);
    }
    return finish(db, table, &txn, status, name, out_error);
}

enum status account_remove(struct account_db *db, const char *name, struct error *out_error)
{
    return remove_in(db, db->accounts, name, out_error);
}

enum status account_master_remove(struct account_db *db, const char *name, struct error *out_error)
{
    return remove_in(db, db->masters, name, out_error);
}

/* --- credentials --- */

/* Whether PASS can carry it: a command line holds no line end and no NUL. */
static bool can_be_sent(const char *password, size_t length)
{
    return length <= AUTH_CRYPT_MAX && memchr(password, '\0', length) == NULL &&
           memchr(password, '\r', length) == NULL && memchr(password, '\n', length) == NULL;
}

void account_wipe(struct account *account)
{
    mem_wipe(account->credentials, account->credential_count * sizeof account->credentials[0]);
    account->credential_count = 0;
}

enum status account_set_password(struct account *account, const char *password, size_t length)
{
    struct account_credential made;
    if (!can_be_sent(password, length)) {
        return STATUS_INVALID;
    }
    enum status status = password_make(password, length, made.text, sizeof made.text);
    if (status != STATUS_OK) {
        return status;
    }
    mem_wipe(account->credentials, sizeof account->credentials);
    account->credentials[0] = made;
    account->credential_count = 1;
    (void)credential_complete(account, password, length); /* a password may be unfit for SCRAM */
    mem_wipe(&made, sizeof made);
    return STATUS_OK;
}

enum status account_set_credential(struct account *account, const char *credential)
{
    struct account_credential taken;
    const char *scheme = credential[0] == '{' ? "" : "{CRYPT}";
    enum status status = password_check(credential, NULL);
    if (status != STATUS_OK) {
        return status == STATUS_UNSUPPORTED ? status : STATUS_INVALID;
    }
    int length = snprintf(taken.text, sizeof taken.text, "%s%s", scheme, credential);
    if (length < 0 || (size_t)length >= sizeof taken.text) {
        return STATUS_INVALID;
    }
    mem_wipe(account->credentials, sizeof account->credentials);
    account->credentials[0] = taken;
    account->credential_count = 1;
    mem_wipe(&taken, sizeof taken);
    return STATUS_OK;
}
