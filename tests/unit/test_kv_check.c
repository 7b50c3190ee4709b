/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/kv_check.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ROWS 3000

static char path[64], file[96];
static struct kv *kv;
static unsigned checked, second;
static uint8_t *image; /* of the file as it was written */
static size_t image_size;

static int remove_one(const char *name, const struct stat *found, int kind, struct FTW *walk)
{
    return remove(name);
}

static void open_kv(void)
{
    struct kv_config config = {.path = path, .map_size = 16 << 20, .tables_max = 4, .mode = 0600};
    struct error error = {0};
    cr_assert_eq(kv_open(&config, &kv, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(kv_table_checked(kv, "checked", &checked, NULL), STATUS_OK);
    cr_assert_eq(kv_table_checked(kv, "second", &second, NULL), STATUS_OK);
}

static struct kv_bytes key_of(unsigned row, char out[16])
{
    return (struct kv_bytes){out, (size_t)sprintf(out, "key%08x", row * 2654435761u)};
}

/* Two tables of several levels, a value of several pages, and rows that are gone again. */
static void fill(void)
{
    static char large[10000];
    memset(large, 'x', sizeof large);
    for (unsigned pass = 0; pass < 3; pass++) {
        struct kv_txn *txn = NULL;
        cr_assert_eq(kv_begin_write(kv, &txn), STATUS_OK);
        for (unsigned row = pass * ROWS / 3; row < (pass + 1) * ROWS / 3; row++) {
            char key[16], value[64];
            size_t length = (size_t)sprintf(value, "value %u of a row that is a bit longer", row);
            struct kv_bytes at = key_of(row, key), bytes = {value, length};
            cr_assert_eq(kv_put(txn, checked, at, bytes), STATUS_OK);
            if (row % 10 == 0) {
                cr_assert_eq(kv_put(txn, second, at, bytes), STATUS_OK);
            }
            if (row % 7 == 3) {
                cr_assert_eq(kv_delete(txn, checked, key_of(row - 2, key)), STATUS_OK);
            }
        }
        struct kv_bytes bytes = {large, sizeof large - pass};
        cr_assert_eq(kv_put(txn, second, (struct kv_bytes){"large", 5}, bytes), STATUS_OK);
        cr_assert_eq(kv_commit(&txn), STATUS_OK);
    }
}

static void start(void)
{
    strcpy(path, "/tmp/restante-kv-check-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    (void)sprintf(file, "%s/data.mdb", path);
    open_kv();
    fill();
}

static void end(void)
{
    kv_close(&kv);
    free(image);
    image = NULL;
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(kv_check, .init = start, .fini = end);

static void take_image(void)
{
    struct stat found;
    kv_close(&kv);
    int fd = open(file, O_RDONLY);
    cr_assert(fd >= 0 && fstat(fd, &found) == 0);
    image_size = (size_t)found.st_size;
    image = malloc(image_size);
    cr_assert_eq(read(fd, image, image_size), found.st_size);
    close(fd);
}

static void write_image(void)
{
    int fd = open(file, O_WRONLY | O_TRUNC);
    cr_assert(fd >= 0 && write(fd, image, image_size) == (ssize_t)image_size);
    close(fd);
}

static bool pair_is_sound(void *owner, const char *table, struct kv_bytes key,
                          struct kv_bytes value)
{
    return kv_pair_is_sound(key, value);
}

static const char *const names[] = {"checked", "second", NULL};

static struct kv_check_result check_file(bool branches_only)
{
    struct kv_check_result result = {0};
    struct kv_check_request request = {.fd = open(file, O_RDONLY),
                                       .is_sound = pair_is_sound,
                                       .tables = names,
                                       .branches_only = branches_only};
    cr_assert_eq(kv_check(&request, &result, NULL), STATUS_OK);
    close(request.fd);
    return result;
}

/* Everything that the tables say, mixed into one number. */
static uint64_t digest(void)
{
    uint64_t mixed = 0, count = 0;
    unsigned tables[] = {checked, second};
    for (int i = 0; i < 2; i++) {
        struct kv_txn *txn = NULL;
        struct kv_cursor *cursor = NULL;
        struct kv_bytes key, value;
        cr_assert_eq(kv_begin_read(kv, &txn), STATUS_OK);
        cr_assert_eq(kv_cursor_open(txn, tables[i], &cursor), STATUS_OK);
        enum status status = kv_cursor_seek(cursor, (struct kv_bytes){"", 0}, &key, &value);
        for (; status == STATUS_OK; status = kv_cursor_next(cursor, &key, &value)) {
            for (size_t k = 0; k < key.length; k++) {
                mixed = mixed * 31 + ((const uint8_t *)key.data)[k];
            }
            for (size_t k = 0; k < value.length; k++) {
                mixed = mixed * 33 + ((const uint8_t *)value.data)[k];
            }
            count++;
        }
        cr_assert_eq(status, STATUS_NOT_FOUND);
        kv_cursor_close(&cursor);
        kv_abort(&txn);
    }
    return mixed * 1000003 + count;
}

Test(kv_check, a_sound_file_is_found_sound)
{
    take_image();
    struct kv_check_result result = check_file(false);
    cr_assert_eq(result.damaged, 0, "%s at page %lu", result.text,
                 (unsigned long)result.first_page);
    cr_assert_eq(result.pairs, ROWS - (ROWS + 3) / 7 + ROWS / 10 + 1, "%lu",
                 (unsigned long)result.pairs);
    cr_assert_gt(result.pages, 50);
    cr_assert_eq(check_file(true).damaged, 0);
    cr_assert_lt(check_file(true).pages, 20);
}

Test(kv_check, a_snapshot_is_checked_while_others_write)
{
    struct kv_check_request request = {.is_sound = pair_is_sound};
    for (int i = 0; i < 20; i++) {
        struct kv_check_result result = {0};
        fill();
        cr_assert_eq(kv_check_open(kv, &request, &result, NULL), STATUS_OK);
        cr_assert_eq(result.damaged, 0, "%s", result.text);
    }
}

static bool refuse(void *owner, uint64_t octets)
{
    return false;
}

/* Opened by its right name, such a table would be a new one, and empty. */
Test(kv_check, a_flipped_bit_in_the_name_of_a_table_is_found)
{
    take_image();
    unsigned found = 0;
    for (size_t at = 2 * 4096; at + 6 < image_size; at++) {
        if (memcmp(image + at, "second", 6) == 0) {
            image[at] ^= 1;
            write_image();
            found += check_file(true).damaged > 0;
            image[at] ^= 1;
        }
    }
    cr_assert_gt(found, 0);
}

/* The rows of a table in the snapshot before the newest, or in the one that is left. */
static uint64_t count_older(void)
{
    struct kv_check_result result = {0};
    struct kv_check_request request = {.fd = open(file, O_RDONLY),
                                       .older = true,
                                       .table = "checked",
                                       .is_sound = pair_is_sound,
                                       .tables = names};
    cr_assert_eq(kv_check(&request, &result, NULL), STATUS_OK);
    close(request.fd);
    return result.pairs;
}

Test(kv_check, when_a_page_that_describes_the_file_is_damaged_the_other_one_is_enough)
{
    take_image();
    uint64_t before = count_older(), counts[2];
    cr_assert_gt(before, 0);
    for (unsigned page = 0; page < 2; page++) {
        size_t at = page * 4096 + 18; /* its magic */
        image[at] ^= 1;
        write_image();
        cr_assert_gt(check_file(false).damaged, 0);
        cr_assert_eq(check_file(false).pairs, 0);
        counts[page] = count_older();
        image[at] ^= 1;
    }
    cr_assert(counts[0] == before || counts[1] == before);
    cr_assert_gt(counts[0], 0);
    cr_assert_gt(counts[1], 0);
    cr_assert_neq(counts[0], counts[1], "one has the last commit, one that before");
}

Test(kv_check, stops_when_it_is_told_to)
{
    struct kv_check_request request = {.may_read = refuse};
    struct kv_check_result result = {0};
    cr_assert_eq(kv_check_open(kv, &request, &result, NULL), STATUS_CANCELLED);
}

Test(kv_check, a_file_cut_anywhere_is_found_damaged)
{
    take_image();
    for (size_t size = 0; size < image_size; size += 1361) {
        write_image();
        cr_assert_eq(truncate(file, (off_t)size), 0);
        /* Free pages at the end may be missed by nobody. */
        cr_assert(check_file(false).damaged > 0, "cut at %zu", size);
    }
}

#define META_NUMBER 144 /* where a meta page has the number of its commit */

/* What the commit before the last one left: shown when one of the two meta pages looks two commits
 * older or newer than it is, which one flipped bit can do, and nothing in the file tells. Its pages
 * are still there, and the log is read from where it ends. */
static uint64_t digest_before_last(void)
{
    uint64_t numbers[2], lower;
    memcpy(&numbers[0], image + META_NUMBER, 8);
    memcpy(&numbers[1], image + 4096 + META_NUMBER, 8);
    size_t newer = (numbers[1] > numbers[0] ? 4096 : 0) + META_NUMBER;
    lower = numbers[numbers[1] > numbers[0]] - 2;
    cr_assert_lt(lower, numbers[numbers[1] <= numbers[0]]);
    memcpy(image + newer, &lower, 8);
    write_image();
    open_kv();
    uint64_t found = digest();
    kv_close(&kv);
    lower += 2;
    memcpy(image + newer, &lower, 8);
    return found;
}

/* The property that matters: whatever bit flips, it is found, or it changes nothing. */
Test(kv_check, a_flipped_bit_is_found_or_changes_nothing)
{
    const char *given = getenv("RESTANTE_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    printf("seed %u\n", seed);
    srandom(seed);
    uint64_t before = digest();
    take_image();
    uint64_t before_last = digest_before_last();
    cr_assert_neq(before_last, before);
    unsigned found = 0, harmless = 0;
    for (int i = 0; i < 1500; i++) {
        /* A third in what describes the file and in headers of pages, where they hurt most. */
        size_t at = (size_t)random() % image_size;
        at = i % 3 == 0   ? (at & ~(size_t)4095) + (size_t)random() % 32
             : i % 7 == 0 ? (size_t)random() % 8192 % 4096 % 200 + (random() & 1 ? 4096u : 0u)
                          : at;
        uint8_t bit = (uint8_t)(1u << (random() & 7));
        image[at] ^= bit;
        write_image();
        if (check_file(false).damaged > 0) {
            found++;
        } else {
            open_kv();
            uint64_t shown = digest();
            bool is_number = at < 8192 && at % 4096 / 8 == META_NUMBER / 8;
            cr_assert(shown == before || (is_number && shown == before_last), "octet %zu, bit %02x",
                      at, bit);
            kv_close(&kv);
            harmless++;
        }
        image[at] ^= bit;
    }
    printf("%u found, %u harmless\n", found, harmless);
    cr_assert_gt(found, 500);
}

Test(kv_check, opening_refuses_a_damaged_file)
{
    struct kv_config config = {.path = path, .map_size = 16 << 20, .tables_max = 4, .mode = 0600};
    struct error error = {0};
    take_image();
    image[image_size / 2 & ~(size_t)4095] ^= 1; /* the number of a page in the middle */
    write_image();
    if (check_file(false).damaged > 0) {
        cr_assert_eq(kv_open(&config, &kv, &error), STATUS_CORRUPT);
        cr_assert_not_null(strstr(error.text, "page"));
    }
}

Test(kv_check, a_value_of_another_key_is_corrupt)
{
    char key[16];
    take_image();
    struct kv_bytes at = key_of(5, key);
    uint8_t *found = memmem(image, image_size, at.data, at.length);
    cr_assert_not_null(found);
    /* Every copy of it, older ones too. */
    for (; found != NULL;
         found = memmem(found + 1, image_size - (size_t)(found + 1 - image), at.data, at.length)) {
        found[10] ^= 1;
    }
    write_image();
    cr_assert_gt(check_file(false).damaged, 0);
    /* Somebody else's pair: what opening would have found is found at reading, too. */
    struct kv_bytes pair_key = {"a", 1};
    cr_assert_not(kv_pair_is_sound(pair_key, (struct kv_bytes){"12345", 5}));
    cr_assert_not(kv_pair_is_sound(pair_key, (struct kv_bytes){"123", 3}));
}
