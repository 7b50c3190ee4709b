/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/kv.h"
#include "storage/kv_check.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];
static struct kv *kv;
static unsigned table;

static int remove_one(const char *name, const struct stat *found, int kind, struct FTW *walk)
{
    return remove(name);
}

static enum status open_kv(uint64_t map_size)
{
    struct kv_config config = {
        .path = path, .map_size = map_size, .tables_max = 4, .mode = 0600, .readers_max = 4};
    enum status status = kv_open(&config, &kv, NULL);
    return status == STATUS_OK ? kv_table(kv, "t", &table, NULL) : status;
}

static void start(void)
{
    strcpy(path, "/tmp/restante-kv-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(open_kv(1 << 20), STATUS_OK);
}

static void end(void)
{
    kv_close(&kv);
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(kv, .init = start, .fini = end);

static struct kv_bytes text(const char *value)
{
    return (struct kv_bytes){value, strlen(value)};
}

static enum status put(const char *key, const char *value)
{
    struct kv_txn *txn = NULL;
    enum status status = kv_begin_write(kv, &txn);
    if (status == STATUS_OK) {
        status = kv_put(txn, table, text(key), text(value));
    }
    if (status == STATUS_OK) {
        return kv_commit(&txn);
    }
    kv_abort(&txn);
    return status;
}

static bool has(struct kv_txn *txn, const char *key, const char *value)
{
    struct kv_bytes found;
    return kv_get(txn, table, text(key), &found) == STATUS_OK && found.length == strlen(value) &&
           memcmp(found.data, value, found.length) == 0;
}

Test(kv, keeps_what_was_committed_over_a_reopen)
{
    struct kv_txn *txn = NULL;
    cr_assert_eq(put("a", "1"), STATUS_OK);
    kv_close(&kv);
    cr_assert_eq(open_kv(1 << 20), STATUS_OK);
    cr_assert_eq(kv_begin_read(kv, &txn), STATUS_OK);
    cr_assert(has(txn, "a", "1"));
    kv_abort(&txn);
}

Test(kv, an_aborted_transaction_leaves_nothing)
{
    struct kv_txn *txn = NULL;
    struct kv_bytes value;
    cr_assert_eq(kv_begin_write(kv, &txn), STATUS_OK);
    cr_assert_eq(kv_put(txn, table, text("a"), text("1")), STATUS_OK);
    kv_abort(&txn);
    cr_assert_null(txn);
    cr_assert_eq(kv_begin_read(kv, &txn), STATUS_OK);
    cr_assert_eq(kv_get(txn, table, text("a"), &value), STATUS_NOT_FOUND);
    kv_abort(&txn);
}

Test(kv, add_refuses_a_key_that_is_there_and_delete_one_that_is_not)
{
    struct kv_txn *txn = NULL;
    cr_assert_eq(kv_begin_write(kv, &txn), STATUS_OK);
    cr_assert_eq(kv_add(txn, table, text("a"), text("1")), STATUS_OK);
    cr_assert_eq(kv_add(txn, table, text("a"), text("2")), STATUS_EXISTS);
    cr_assert(has(txn, "a", "1"));
    cr_assert_eq(kv_delete(txn, table, text("a")), STATUS_OK);
    cr_assert_eq(kv_delete(txn, table, text("a")), STATUS_NOT_FOUND);
    kv_abort(&txn);
}

Test(kv, a_snapshot_does_not_change_until_it_is_parked)
{
    struct kv_txn *txn = NULL;
    cr_assert_eq(put("a", "1"), STATUS_OK);
    cr_assert_eq(kv_begin_read(kv, &txn), STATUS_OK);
    cr_assert_eq(put("a", "2"), STATUS_OK);
    cr_assert(has(txn, "a", "1"));
    kv_park(txn);
    cr_assert_eq(kv_unpark(txn), STATUS_OK);
    cr_assert(has(txn, "a", "2"));
    kv_abort(&txn);
}

Test(kv, a_cursor_walks_in_octet_order_and_survives_parking)
{
    struct kv_txn *txn = NULL;
    struct kv_cursor *cursor = NULL;
    struct kv_bytes key, value;
    cr_assert_eq(put("b", "2"), STATUS_OK);
    cr_assert_eq(put("a", "1"), STATUS_OK);
    cr_assert_eq(kv_begin_read(kv, &txn), STATUS_OK);
    cr_assert_eq(kv_cursor_open(txn, table, &cursor), STATUS_OK);
    cr_assert_eq(kv_cursor_seek(cursor, text("aa"), &key, &value), STATUS_OK);
    cr_assert_eq(memcmp(key.data, "b", 1), 0);
    cr_assert_eq(kv_cursor_next(cursor, &key, &value), STATUS_NOT_FOUND);
    kv_park(txn);
    cr_assert_eq(put("c", "3"), STATUS_OK);
    cr_assert_eq(kv_unpark(txn), STATUS_OK);
    cr_assert_eq(kv_cursor_renew(cursor, txn), STATUS_OK);
    cr_assert_eq(kv_cursor_seek(cursor, text("c"), &key, &value), STATUS_OK);
    cr_assert_eq(memcmp(value.data, "3", 1), 0);
    cr_assert_eq(kv_cursor_seek(cursor, text(""), &key, &value), STATUS_OK);
    cr_assert_eq(memcmp(key.data, "a", 1), 0);
    kv_cursor_close(&cursor);
    kv_abort(&txn);
}

Test(kv, deleting_at_a_cursor_leads_to_the_next_key)
{
    struct kv_txn *txn = NULL;
    struct kv_cursor *cursor = NULL;
    struct kv_bytes key, value;
    uint64_t count = 9;
    cr_assert_eq(put("a", "1"), STATUS_OK);
    cr_assert_eq(put("b", "2"), STATUS_OK);
    cr_assert_eq(kv_begin_write(kv, &txn), STATUS_OK);
    cr_assert_eq(kv_cursor_open(txn, table, &cursor), STATUS_OK);
    cr_assert_eq(kv_cursor_seek(cursor, text("a"), &key, &value), STATUS_OK);
    cr_assert_eq(kv_cursor_delete(cursor), STATUS_OK);
    cr_assert_eq(kv_cursor_next(cursor, &key, &value), STATUS_OK);
    cr_assert_eq(memcmp(key.data, "b", 1), 0);
    kv_cursor_close(&cursor);
    cr_assert_eq(kv_count(txn, table, &count), STATUS_OK);
    cr_assert_eq(count, 1);
    cr_assert_eq(kv_clear(txn, table), STATUS_OK);
    cr_assert_eq(kv_commit(&txn), STATUS_OK);
    cr_assert_eq(kv_begin_read(kv, &txn), STATUS_OK);
    cr_assert_eq(kv_count(txn, table, &count), STATUS_OK);
    cr_assert_eq(count, 0);
    kv_abort(&txn);
}

Test(kv, a_full_map_is_no_space_and_what_was_there_stays)
{
    char key[16];
    static char value[1500];
    enum status status = STATUS_OK;
    struct kv_txn *txn = NULL;
    memset(value, 'x', sizeof value - 1);
    for (int i = 0; i < 10000 && status == STATUS_OK; i++) {
        snprintf(key, sizeof key, "%08d", i);
        status = put(key, value);
    }
    cr_assert_eq(status, STATUS_NO_SPACE);
    cr_assert_eq(kv_begin_read(kv, &txn), STATUS_OK);
    cr_assert(has(txn, "00000000", value));
    kv_abort(&txn);
}

Test(kv, too_many_readers_is_a_limit)
{
    struct kv_txn *readers[4] = {0}, *more = NULL;
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(kv_begin_read(kv, &readers[i]), STATUS_OK);
    }
    cr_assert_eq(kv_begin_read(kv, &more), STATUS_LIMIT);
    for (int i = 0; i < 4; i++) {
        kv_abort(&readers[i]);
    }
}

Test(kv, a_file_cut_short_is_refused_at_open)
{
    char file[96];
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        cr_assert_eq(put(key, "a value of some length to fill pages with"), STATUS_OK);
    }
    kv_close(&kv);
    snprintf(file, sizeof file, "%s/data.mdb", path);
    cr_assert_eq(truncate(file, 8192), 0);
    cr_assert_eq(open_kv(1 << 20), STATUS_CORRUPT);
}

Test(kv, a_file_of_something_else_is_refused_at_open)
{
    char file[96];
    static char garbage[16384];
    kv_close(&kv);
    snprintf(file, sizeof file, "%s/data.mdb", path);
    int fd = open(file, O_WRONLY | O_TRUNC);
    memset(garbage, 0x5a, sizeof garbage);
    cr_assert_eq(write(fd, garbage, sizeof garbage), (ssize_t)sizeof garbage);
    close(fd);
    cr_assert_eq(open_kv(1 << 20), STATUS_CORRUPT);
}

/* A crash in the first moments of a new file: before its two first pages were synced. */
Test(kv, what_a_crash_left_of_its_making_is_made_again)
{
    char name[128];
    kv_close(&kv);
    (void)snprintf(name, sizeof name, "%s/data.mdb", path);
    cr_assert_eq(unlink(name), 0);
    (void)snprintf(name, sizeof name, "%s/data.mdb.new", path);
    int fd = open(name, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, "half", 4), 4);
    (void)close(fd);
    cr_assert_eq(open_kv(1 << 20), STATUS_OK);
    cr_assert_eq(put("a", "1"), STATUS_OK);
    cr_assert_eq(access(name, F_OK), -1, "the attempt is still there");
}

/* Of all pages those that a look at the file does not find in any table. */
Test(kv, what_is_free_is_counted_to_the_page)
{
    struct kv_check_request request = {0};
    struct kv_check_result found;
    struct kv_numbers numbers;
    char key[16], value[3000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40; i++) {
            (void)snprintf(key, sizeof key, "key %d", i);
            cr_assert_eq(put(key, round == 1 ? "short" : value), STATUS_OK);
        }
        kv_numbers(kv, &numbers);
        cr_assert_eq(kv_check_open(kv, &request, &found, NULL), STATUS_OK);
        cr_assert_eq(found.damaged, 0);
        cr_assert_eq(numbers.free_octets, numbers.used_octets - (found.pages + 2) * 4096);
        cr_assert(round != 1 || numbers.free_octets > 20 * 4096, "most of it is free");
    }
    cr_assert_lt(numbers.free_octets, numbers.used_octets / 2, "and is used again");
}

Test(kv, numbers_and_copies)
{
    struct kv_numbers numbers;
    char copy[96];
    cr_assert_eq(put("a", "1"), STATUS_OK);
    kv_numbers(kv, &numbers);
    cr_assert_eq(numbers.map_octets, 1 << 20);
    cr_assert(numbers.used_octets > 0 && numbers.used_octets <= numbers.map_octets);
    unsigned dead = 9;
    cr_assert_eq(kv_check_readers(kv, &dead), STATUS_OK);
    cr_assert_eq(dead, 0);
    snprintf(copy, sizeof copy, "%s/copy", path);
    cr_assert_eq(mkdir(copy, 0700), 0);
    cr_assert_eq(kv_copy(kv, copy, NULL), STATUS_OK);
    kv_close(&kv);
    struct kv_config config = {.path = copy, .map_size = 1 << 20, .tables_max = 4, .mode = 0600};
    struct kv_txn *txn = NULL;
    cr_assert_eq(kv_open(&config, &kv, NULL), STATUS_OK);
    cr_assert_eq(kv_table(kv, "t", &table, NULL), STATUS_OK);
    cr_assert_eq(kv_begin_read(kv, &txn), STATUS_OK);
    cr_assert(has(txn, "a", "1"));
    kv_abort(&txn);
}
