/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LMDB 0.9.24's own dangers, and what is done about them here: a file shorter than its meta page
 * says is a SIGBUS at the first touch (checked at open); a MDB_TXN is bound to a thread unless
 * NOTLS is set (always set); a slot of a dead reader keeps every page it saw (cleared at open and
 * by the checkpointer); a new file begins with two pages that nobody syncs, so that a crash then
 * leaves something that is no LMDB file for ever (made under another name, synced, renamed), and
 * neither that name nor the directory's is ever synced (both are, at each open).
 */
#include "storage/kv.h"

#include "storage/disk.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct kv {
    MDB_env *env;
};

/* A transaction and a cursor are LMDB's own, seen through a name of ours: no allocation is added.
 */
static MDB_txn *real_txn(struct kv_txn *txn)
{
    return (MDB_txn *)(void *)txn;
}

static MDB_cursor *real_cursor(struct kv_cursor *cursor)
{
    return (MDB_cursor *)(void *)cursor;
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

/* A file that ends before its last used page is damaged; a mapped read behind its end is a SIGBUS.
 */
static enum status check_length(struct kv *kv, const char *path, struct error *out_error)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_filehandle_t fd;
    struct stat file;
    int code = mdb_env_info(kv->env, &info);
    if (code == MDB_SUCCESS) {
        code = mdb_env_stat(kv->env, &stat);
    }
    if (code == MDB_SUCCESS) {
        code = mdb_env_get_fd(kv->env, &fd);
    }
    if (code == MDB_SUCCESS && fstat(fd, &file) != 0) {
        code = errno;
    }
    if (code != MDB_SUCCESS) {
        return fail(out_error, code, path, "looking at the database");
    }
    uint64_t needed = ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    if ((uint64_t)file.st_size < needed) {
        return error_set(out_error, STATUS_CORRUPT, 0, path,
                         "the database file has %llu octets and should have %llu",
                         (unsigned long long)file.st_size, (unsigned long long)needed);
    }
    return STATUS_OK;
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
        code = mdb_env_open(kv->env, config->path, MDB_NOTLS | MDB_NORDAHEAD, config->mode);
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
        int code = open_env(kv, config);
        status = code == MDB_SUCCESS ? check_length(kv, config->path, out_error)
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
    *out_table = dbi;
    return STATUS_OK;
}

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
    *out_value = (struct kv_bytes){.data = value.mv_data, .length = value.mv_size};
    return STATUS_OK;
}

static enum status put(struct kv_txn *txn, unsigned table, struct kv_bytes key,
                       struct kv_bytes value, unsigned flags)
{
    MDB_val real_key = to_val(key), real_value = to_val(value);
    return map_error(mdb_put(real_txn(txn), table, &real_key, &real_value, flags));
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
    MDB_cursor *cursor;
    int code = mdb_cursor_open(real_txn(txn), table, &cursor);
    if (code != MDB_SUCCESS) {
        return map_error(code);
    }
    *out_cursor = (struct kv_cursor *)(void *)cursor;
    return STATUS_OK;
}

enum status kv_cursor_renew(struct kv_cursor *cursor, struct kv_txn *txn)
{
    return map_error(mdb_cursor_renew(real_txn(txn), real_cursor(cursor)));
}

void kv_cursor_close(struct kv_cursor **cursor)
{
    if (*cursor != NULL) {
        mdb_cursor_close(real_cursor(*cursor));
        *cursor = NULL;
    }
}

static enum status cursor_get(struct kv_cursor *cursor, MDB_val *key, MDB_cursor_op operation,
                              struct kv_bytes *out_key, struct kv_bytes *out_value)
{
    MDB_val value;
    int code = mdb_cursor_get(real_cursor(cursor), key, &value, operation);
    if (code != MDB_SUCCESS) {
        return map_error(code);
    }
    *out_key = (struct kv_bytes){.data = key->mv_data, .length = key->mv_size};
    *out_value = (struct kv_bytes){.data = value.mv_data, .length = value.mv_size};
    return STATUS_OK;
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
    return map_error(mdb_cursor_del(real_cursor(cursor), 0));
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
    out_numbers->last_transaction = info.me_last_txnid;
    out_numbers->readers = info.me_numreaders;
    out_numbers->readers_max = info.me_maxreaders;
}

enum status kv_copy(struct kv *kv, const char *path, struct error *out_error)
{
    int code = mdb_env_copy2(kv->env, path, MDB_CP_COMPACT);
    return code == MDB_SUCCESS ? STATUS_OK : fail(out_error, code, path, "copying a database");
}
