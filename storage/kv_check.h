/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at an LMDB file without LMDB, which believes what it reads: a page that lies ends the
 * process there, or loses keys without a word. Every page of a snapshot is read and held against
 * what it must be: numbers, kinds, bounds, order of keys, counts, and that no page is used twice or
 * is free as well. The layout of a file is that of LMDB 0.9 on a 64-bit machine; storage/README.md
 * names what is relied on. One thread at a time; blocking; memory: a bit for each page.
 */
#ifndef STORAGE_KV_CHECK_H
#define STORAGE_KV_CHECK_H

#include "io/status.h"
#include "storage/kv.h"

#include <stdbool.h>
#include <stdint.h>

#define KV_CHECK_ALL 0 /* in kv_check_request.transaction: the newest there is */

struct kv_check_request {
    int fd;               /* of the file; only read with pread(2) */
    uint64_t transaction; /* the snapshot to look at, which must stay one; or KV_CHECK_ALL */
    /* Of the two snapshots that a file at rest has the one before the newest; when a page that
     * describes one of them is damaged, the other one. LMDB writes over nothing of either. */
    bool older;
    bool branches_only; /* leaves are not read: about a hundredth of the work */
    const char *table;  /* only this one is looked at; NULL: all, and what is free */
    /* The names a table may have, up to NULL: any other is damage, for the table that had the right
     * name is not to be found any more. NULL: any. */
    const char *const *tables;
    /* Whether a pair of a table is what its owner would write; NULL: any pair is. Asked for all
     * pairs on sound pages: tables in the order of their names, keys ascending. */
    bool (*is_sound)(void *owner, const char *table, struct kv_bytes key, struct kv_bytes value);
    /* Before so many octets are read; it may wait. False: stop. NULL: never asked. */
    bool (*may_read)(void *owner, uint64_t octets);
    /* kv_check_open: the snapshot is taken and can be read with `txn`, which stays the caller's; an
     * answer other than STATUS_OK ends the check with it. NULL: nothing to do. */
    enum status (*on_snapshot)(void *owner, struct kv_txn *txn);
    struct kv_txn *txn; /* set by kv_check_open */
    void *owner;
};

struct kv_check_result {
    uint64_t pages, pairs; /* looked at */
    uint64_t damaged;      /* pages and pairs that are not what they must be */
    uint64_t first_page;   /* of the first of them */
    char text[96];         /* what was wrong there; "" when nothing was */
};

/*
 * STATUS_OK: all of it could be looked at; `out_result` says whether it is sound. STATUS_AGAIN: the
 * snapshot is not in the file any more; STATUS_CANCELLED: may_read said so; STATUS_IO,
 * STATUS_NO_MEMORY: could not look.
 */
MUST_CHECK enum status kv_check(const struct kv_check_request *request,
                                struct kv_check_result *out_result, struct error *out_error);

#endif
