/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LMDB 0.9.24's own dangers, and what is done about them here: a damaged page ends the process (all
 * are checked at open); a file shorter than its meta page says is a SIGBUS at the first touch (the
 * same); a MDB_TXN is bound to a thread unless
 * NOTLS is set (always set); a slot of a dead reader keeps every page it saw (cleared at open and
 * by the checkpointer); a new file begins with two pages that nobody syncs, so that a crash then
 * leaves something that is no LMDB file for ever (made under another name, synced, renamed), and
 * neither that name nor the directory's is ever synced (both are, at each open).
 */
#include "storage/kv.h"

#include "storage/bytes.h"
#include "storage/checksum.h"
#include "storage/disk.h"
#include "storage/kv_check.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct kv {
    MDB_env *env;
    _Atomic uint64_t checked;    /* a bit for each table whose values have a check */
    _Atomic unsigned last_table; /* the highest handle: each below it is a table's, too */
};

struct kv_cursor {
    MDB_cursor *real;
    bool is_checked; /* the table's values have a check: asked once, as millions of rows are read */
};

/* A transaction is LMDB's own, seen through a name of ours: no allocation is added. */
static MDB_txn *real_txn(struct kv_txn *txn)
{
    return (MDB_txn *)(void *)txn;
}

static MDB_val to_val(struct kv_bytes bytes)
{
    /* LMDB takes non-const pointers for input it only reads. */
    union {
        const void *in;
        void *out;
    } data = {.in = bytes.data};
    return (MDB_val){.mv_size = bytes.length, .mv_data = data.out};
}

static enum status map_error(int code)
{
    switch (code) {
    case MDB_SUCCESS:
        return STATUS_OK;
    case MDB_NOTFOUND:
        return STATUS_NOT_FOUND;
    case MDB_KEYEXIST:
        return STATUS_EXISTS;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return STATUS_NO_SPACE;
    case MDB_READERS_FULL:
    case MDB_DBS_FULL:
        return STATUS_LIMIT;
    case MDB_VERSION_MISMATCH:
        return STATUS_UNSUPPORTED;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_PANIC:
    case MDB_BAD_TXN:
    case MDB_CURSOR_FULL:
        return STATUS_CORRUPT;
    case MDB_BAD_VALSIZE:
        return STATUS_INVALID;
    default:
        return code > 0 ? status_from_errno(code) : STATUS_IO;
    }
}

static enum status fail(struct error *out_error, int code, const char *path, const char *doing)
{
    return error_set(out_error, map_error(code), code > 0 ? code : 0, path, "%s: %s", doing,
                     mdb_strerror(code));
}

/* --- what is in the file --- */

static bool is_sound(void *owner, const char *table, struct kv_bytes key, struct kv_bytes value)
{
    const struct kv_config *config = owner;
    return config->is_sound == NULL || config->is_sound(table, key, value);
}

/* Before LMDB sees it: no descriptor of ours may be closed while it has the file open. */
static enum status check_file(const struct kv_config *config, const char *path,
                              struct error *out_error)
{
    struct kv_check_request request = {.fd = -1,
                                       .is_sound = is_sound,
                                       .tables = config->tables,
                                       .owner = (void *)(uintptr_t)config};
    struct kv_check_result result = {0};
    uint64_t size = 0, most = config->check_max > 0 ? config->check_max : KV_CHECK_OPEN_MAX;
    enum status status = disk_open(disk_real(), path, O_RDONLY, 0, &request.fd, out_error);
    if (status == STATUS_OK) {
        status = disk_file_size(request.fd, &size, out_error);
    }
    if (status == STATUS_OK) {
        request.branches_only = size > most;
        if (!request.branches_only) {
            (void)posix_fadvise(request.fd, 0, 0, POSIX_FADV_WILLNEED); /* a hint, as all advice */
        }
        status = kv_check(&request, &result, out_error);
    }
    disk_close(disk_real(), &request.fd);
    if (status == STATUS_OK && result.damaged > 0) {
        status = error_set(out_error, STATUS_CORRUPT, 0, path,
                           "the database is damaged at page %llu: %s",
                           (unsigned long long)result.first_page, result.text);
    }
    return status;
}

/* --- making one --- */

#define PATH_LENGTH 1024 /* octets with NUL, of the names built here */

/* An empty environment in a file of its own, durable before anybody sees it. */
static int make_file(const struct kv_config *config, const char *path)
{
    MDB_env *env = NULL;
    int code = mdb_env_create(&env);
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_mapsize(env, config->map_size);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, config->mode);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_env_sync(env, 1);
    }
    mdb_env_close(env); /* NULL is allowed */
    return code;
}

static enum status make(const struct kv_config *config, struct error *out_error)
{
    char path[PATH_LENGTH], made[PATH_LENGTH];
    struct stat found;
    int length = snprintf(made, sizeof made, "%s/data.mdb.new", config->path);
    if (length < 0 || (size_t)length >= sizeof made) {
        return error_set(out_error, STATUS_TOO_BIG, 0, config->path, "the path is too long");
    }
    (void)snprintf(path, sizeof path, "%s/data.mdb", config->path); /* fits: it is shorter */
    if (stat(path, &found) == 0) {
        return STATUS_OK;
    }
    if (errno != ENOENT) { /* there may well be one: it must not be replaced */
        return error_set(out_error, status_from_errno(errno), errno, path, "opening a database");
    }
    enum status status = disk_unlink(disk_real(), made, out_error); /* of an attempt that crashed */
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        return status;
    }
    int code = make_file(config, made);
    if (code != MDB_SUCCESS) {
        return fail(out_error, code, config->path, "making a database");
    }
    return disk_rename(disk_real(), made, path, out_error);
}

/* The names of the file and of its directory: whatever is committed stands or falls with them. Also
 * for an environment that is there already, because whoever made it may have been killed since. */
static enum status sync_names(const struct kv_config *config, struct error *out_error)
{
    char parent[PATH_LENGTH];
    int length = snprintf(parent, sizeof parent, "%s/..", config->path);
    if (length < 0 || (size_t)length >= sizeof parent) {
        return error_set(out_error, STATUS_TOO_BIG, 0, config->path, "the path is too long");
    }
    enum status status = disk_sync_directory(disk_real(), config->path, out_error);
    return status == STATUS_OK ? disk_sync_directory(disk_real(), parent, out_error) : status;
}

static int open_env(struct kv *kv, const struct kv_config *config)
{
    unsigned readers = config->readers_max != 0 ? config->readers_max : KV_READERS_DEFAULT;
    int code = mdb_env_create(&kv->env);
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_userctx(kv->env, kv);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_mapsize(kv->env, config->map_size);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_maxdbs(kv->env, config->tables_max);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_env_set_maxreaders(kv->env, readers);
    }
    if (code == MDB_SUCCESS) {
        /* NORDAHEAD: a cold index is read at random, and a page's neighbours are other people's. */
        unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (config->scratch ? MDB_NOSYNC : 0);
        code = mdb_env_open(kv->env, config->path, flags, config->mode);
    }
    return code;
}

enum status kv_open(const struct kv_config *config, struct kv **out_kv, struct error *out_error)
{
    struct kv *kv = calloc(1, sizeof *kv);
    if (kv == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, config->path, "opening a database");
    }
    enum status status = make(config, out_error);
    if (status == STATUS_OK) {
        status = sync_names(config, out_error);
    }
    if (status == STATUS_OK) {
        char path[PATH_LENGTH];
        (void)snprintf(path, sizeof path, "%s/data.mdb", config->path); /* fits: see make() */
        status = check_file(config, path, out_error);
    }
    if (status == STATUS_OK) {
        int code = open_env(kv, config);
        status = code == MDB_SUCCESS ? STATUS_OK
                                     : fail(out_error, code, config->path, "opening a database");
    }
    if (status == STATUS_OK) {
        status = kv_check_readers(kv, NULL);
    }
    if (status != STATUS_OK) {
        kv_close(&kv);
        return status;
    }
    *out_kv = kv;
    return STATUS_OK;
}

void kv_close(struct kv **kv)
{
    if (*kv == NULL) {
        return;
    }
    if ((*kv)->env != NULL) {
        mdb_env_close((*kv)->env);
    }
    free(*kv);
    *kv = NULL;
}

enum status kv_table(struct kv *kv, const char *name, unsigned *out_table, struct error *out_error)
{
    /* Opening one that exists costs no write: a commit with nothing in it returns at once. */
    MDB_txn *txn;
    MDB_dbi dbi;
    int code = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (code == MDB_SUCCESS) {
        code = mdb_dbi_open(txn, name, MDB_CREATE, &dbi);
        if (code == MDB_SUCCESS) {
            code = mdb_txn_commit(txn);
        } else {
            mdb_txn_abort(txn);
        }
    }
    if (code != MDB_SUCCESS) {
        return fail(out_error, code, name, "opening a table");
    }
    if (dbi > atomic_load(&kv->last_table)) {
        atomic_store(&kv->last_table, dbi); /* tables are opened by one thread */
    }
    *out_table = dbi;
    return STATUS_OK;
}

enum status kv_table_checked(struct kv *kv, const char *name, unsigned *out_table,
                             struct error *out_error)
{
    unsigned table = 0;
    enum status status = kv_table(kv, name, &table, out_error);
    if (status == STATUS_OK && table >= 64) {
        status = error_set(out_error, STATUS_LIMIT, 0, name, "too many tables");
    }
    if (status == STATUS_OK) {
        atomic_fetch_or(&kv->checked, 1ull << table);
        *out_table = table;
    }
    return status;
}

/* --- checks of values --- */

static uint32_t check_of(const void *key, size_t key_length, const void *value, size_t length)
{
    uint64_t mixed = checksum_body(key, key_length) * 0x9e3779b97f4a7c15u;
    return (uint32_t)((checksum_body(value, length) ^ mixed) >> 32);
}

bool kv_pair_is_sound(struct kv_bytes key, struct kv_bytes value)
{
    if (value.length < KV_CHECK_SIZE) {
        return false;
    }
    size_t length = value.length - KV_CHECK_SIZE;
    return bytes_get32((const uint8_t *)value.data + length) ==
           check_of(key.data, key.length, value.data, length);
}

static bool is_checked(MDB_txn *txn, unsigned table)
{
    const struct kv *kv = mdb_env_get_userctx(mdb_txn_env(txn));
    return table < 64 && (atomic_load_explicit(&kv->checked, memory_order_relaxed) >> table & 1);
}

/* What is read, without its check; STATUS_CORRUPT when that does not match. */
static enum status take_value(bool has_check, MDB_val key, MDB_val value,
                              struct kv_bytes *out_value)
{
    struct kv_bytes own_key = {.data = key.mv_data, .length = key.mv_size};
    struct kv_bytes own = {.data = value.mv_data, .length = value.mv_size};
    if (has_check) {
        if (!kv_pair_is_sound(own_key, own)) {
            return STATUS_CORRUPT;
        }
        own.length -= KV_CHECK_SIZE;
    }
    *out_value = own;
    return STATUS_OK;
}

/* --- transactions --- */

static enum status begin(struct kv *kv, unsigned flags, struct kv_txn **out_txn)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(kv->env, NULL, flags, &txn);
    if (code != MDB_SUCCESS) {
        return map_error(code);
    }
    *out_txn = (struct kv_txn *)(void *)txn;
    return STATUS_OK;
}

enum status kv_begin_write(struct kv *kv, struct kv_txn **out_txn)
{
    return begin(kv, 0, out_txn);
}

enum status kv_begin_read(struct kv *kv, struct kv_txn **out_txn)
{
    return begin(kv, MDB_RDONLY, out_txn);
}

enum status kv_commit(struct kv_txn **txn)
{
    int code = mdb_txn_commit(real_txn(*txn));
    *txn = NULL;
    return map_error(code);
}

void kv_abort(struct kv_txn **txn)
{
    if (*txn != NULL) {
        mdb_txn_abort(real_txn(*txn));
        *txn = NULL;
    }
}

void kv_park(struct kv_txn *txn)
{
    mdb_txn_reset(real_txn(txn));
}

enum status kv_unpark(struct kv_txn *txn)
{
    return map_error(mdb_txn_renew(real_txn(txn)));
}

enum status kv_get(struct kv_txn *txn, unsigned table, struct kv_bytes key,
                   struct kv_bytes *out_value)
{
    MDB_val real_key = to_val(key), value;
    int code = mdb_get(real_txn(txn), table, &real_key, &value);
    if (code != MDB_SUCCESS) {
        return map_error(code);
    }
    return take_value(is_checked(real_txn(txn), table), real_key, value, out_value);
}

static enum status put(struct kv_txn *txn, unsigned table, struct kv_bytes key,
                       struct kv_bytes value, unsigned flags)
{
    MDB_val real_key = to_val(key), real_value = to_val(value);
    if (!is_checked(real_txn(txn), table)) {
        return map_error(mdb_put(real_txn(txn), table, &real_key, &real_value, flags));
    }
    uint32_t check = check_of(key.data, key.length, value.data, value.length);
    real_value = (MDB_val){.mv_size = value.length + KV_CHECK_SIZE};
    int code = mdb_put(real_txn(txn), table, &real_key, &real_value, flags | MDB_RESERVE);
    if (code == MDB_SUCCESS) {
        memcpy(real_value.mv_data, value.data, value.length);
        bytes_put32((uint8_t *)real_value.mv_data + value.length, check);
    }
    return map_error(code);
}

enum status kv_put(struct kv_txn *txn, unsigned table, struct kv_bytes key, struct kv_bytes value)
{
    return put(txn, table, key, value, 0);
}

enum status kv_add(struct kv_txn *txn, unsigned table, struct kv_bytes key, struct kv_bytes value)
{
    return put(txn, table, key, value, MDB_NOOVERWRITE);
}

enum status kv_delete(struct kv_txn *txn, unsigned table, struct kv_bytes key)
{
    MDB_val real_key = to_val(key);
    return map_error(mdb_del(real_txn(txn), table, &real_key, NULL));
}

enum status kv_clear(struct kv_txn *txn, unsigned table)
{
    return map_error(mdb_drop(real_txn(txn), table, 0));
}

enum status kv_count(struct kv_txn *txn, unsigned table, uint64_t *out_count)
{
    MDB_stat stat;
    int code = mdb_stat(real_txn(txn), table, &stat);
    if (code != MDB_SUCCESS) {
        return map_error(code);
    }
    *out_count = stat.ms_entries;
    return STATUS_OK;
}

enum status kv_cursor_open(struct kv_txn *txn, unsigned table, struct kv_cursor **out_cursor)
{
    struct kv_cursor *cursor = malloc(sizeof *cursor);
    if (cursor == NULL) {
        return STATUS_NO_MEMORY;
    }
    int code = mdb_cursor_open(real_txn(txn), table, &cursor->real);
    if (code != MDB_SUCCESS) {
        free(cursor);
        return map_error(code);
    }
    cursor->is_checked = is_checked(real_txn(txn), table);
    *out_cursor = cursor;
    return STATUS_OK;
}

enum status kv_cursor_renew(struct kv_cursor *cursor, struct kv_txn *txn)
{
    return map_error(mdb_cursor_renew(real_txn(txn), cursor->real));
}

void kv_cursor_close(struct kv_cursor **cursor)
{
    if (*cursor != NULL) {
        mdb_cursor_close((*cursor)->real);
        free(*cursor);
        *cursor = NULL;
    }
}

static enum status cursor_get(struct kv_cursor *cursor, MDB_val *key, MDB_cursor_op operation,
                              struct kv_bytes *out_key, struct kv_bytes *out_value)
{
    MDB_val value;
    int code = mdb_cursor_get(cursor->real, key, &value, operation);
    if (code != MDB_SUCCESS) {
        return map_error(code);
    }
    *out_key = (struct kv_bytes){.data = key->mv_data, .length = key->mv_size};
    return take_value(cursor->is_checked, *key, value, out_value);
}

enum status kv_cursor_seek(struct kv_cursor *cursor, struct kv_bytes key, struct kv_bytes *out_key,
                           struct kv_bytes *out_value)
{
    MDB_val real_key = to_val(key);
    return cursor_get(cursor, &real_key, key.length == 0 ? MDB_FIRST : MDB_SET_RANGE, out_key,
                      out_value);
}

enum status kv_cursor_next(struct kv_cursor *cursor, struct kv_bytes *out_key,
                           struct kv_bytes *out_value)
{
    MDB_val real_key;
    return cursor_get(cursor, &real_key, MDB_NEXT, out_key, out_value);
}

enum status kv_cursor_delete(struct kv_cursor *cursor)
{
    return map_error(mdb_cursor_del(cursor->real, 0));
}

enum status kv_check_readers(struct kv *kv, unsigned *out_count)
{
    int dead = 0;
    int code = mdb_reader_check(kv->env, &dead);
    if (code == MDB_SUCCESS && out_count != NULL) {
        *out_count = (unsigned)dead;
    }
    return map_error(code);
}

/* Octets of the pages that a table has in a snapshot. */
static uint64_t table_octets(struct kv_txn *txn, unsigned table)
{
    MDB_stat stat;
    if (mdb_stat(real_txn(txn), table, &stat) != MDB_SUCCESS) {
        return 0;
    }
    return (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize;
}

/* Two pages describe the file, the tables have theirs, LMDB's own two (of names, and of what is
 * free: handles 0 and 1) included: all others are free. Nothing is read but the tables' rows. */
static uint64_t free_octets(struct kv *kv, uint64_t used_octets, uint64_t page_size)
{
    struct kv_txn *txn = NULL;
    uint64_t taken = 2 * page_size;
    if (kv_begin_read(kv, &txn) != STATUS_OK) {
        return 0; /* all readers' slots are taken: the next time */
    }
    for (unsigned table = 0; table <= atomic_load(&kv->last_table); table++) {
        taken += table_octets(txn, table);
    }
    kv_abort(&txn);
    return taken < used_octets ? used_octets - taken : 0; /* of two moments, when others write */
}

void kv_numbers(struct kv *kv, struct kv_numbers *out_numbers)
{
    MDB_envinfo info;
    MDB_stat stat;
    memset(out_numbers, 0, sizeof *out_numbers);
    if (mdb_env_info(kv->env, &info) != MDB_SUCCESS ||
        mdb_env_stat(kv->env, &stat) != MDB_SUCCESS) {
        return;
    }
    out_numbers->map_octets = info.me_mapsize;
    out_numbers->used_octets = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    out_numbers->free_octets = free_octets(kv, out_numbers->used_octets, stat.ms_psize);
    out_numbers->last_transaction = info.me_last_txnid;
    out_numbers->readers = info.me_numreaders;
    out_numbers->readers_max = info.me_maxreaders;
}

enum status kv_check_open(struct kv *kv, const struct kv_check_request *request,
                          struct kv_check_result *out_result, struct error *out_error)
{
    struct kv_check_request own = *request;
    mdb_filehandle_t fd;
    enum status status = STATUS_AGAIN;
    if (mdb_env_get_fd(kv->env, &fd) != MDB_SUCCESS) {
        return error_set(out_error, STATUS_IO, 0, NULL, "looking at a database");
    }
    own.fd = fd;
    /* Two commits between these two lines, and the snapshot is not described any more. */
    while (status == STATUS_AGAIN) {
        struct kv_txn *txn = NULL;
        status = kv_begin_read(kv, &txn);
        if (status == STATUS_OK) {
            own.transaction = mdb_txn_id(real_txn(txn));
            own.txn = txn;
            status = kv_check(&own, out_result, out_error);
        }
        kv_abort(&txn);
    }
    return status;
}

enum status kv_copy(struct kv *kv, const char *path, struct error *out_error)
{
    int code = mdb_env_copy2(kv->env, path, MDB_CP_COMPACT);
    return code == MDB_SUCCESS ? STATUS_OK : fail(out_error, code, path, "copying a database");
}
