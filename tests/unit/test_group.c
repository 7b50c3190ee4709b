/* SPDX-License-Identifier: Apache-2.0 */
/* How a group's octets are laid out; what the writer makes of them is in test_writer.c. */
#include "storage/group.h"

#include "storage/storage_limits.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct checksum_key key;
static struct group group;

static void tear_down(void)
{
    group_deinit(&group);
}

TestSuite(group, .fini = tear_down);

static struct writer_item expunge(uint8_t *meta, uint32_t count)
{
    uint64_t *uids = calloc(count, sizeof *uids);
    struct writer_item item = {.kind = RECORD_EXPUNGED, .meta = meta};
    for (uint32_t i = 0; i < count; i++) {
        uids[i] = i + 1;
    }
    item.meta_length = (uint32_t)record_encode_expunged(7, uids, count, meta);
    free(uids);
    return item;
}

static uint8_t *flatten(size_t *out_length)
{
    uint8_t *data = malloc(STORAGE_META_MAX);
    *out_length = 0;
    for (size_t i = 0; i < group.out.count; i++) {
        memcpy(data + *out_length, group.out.iov[i].iov_base, group.out.iov[i].iov_len);
        *out_length += group.out.iov[i].iov_len;
    }
    return data;
}

Test(group, small_records_are_one_stretch_of_octets)
{
    uint8_t metas[3][64];
    struct writer_item items[3], *rejected;
    struct record_manifest manifest = {.predecessor = 1, .predecessor_length = 5};
    struct group_place place = {
        .key = &key, .segment = 2, .number = 9, .sequence = 100, .manifest = &manifest};
    struct delta_group where;
    for (int i = 0; i < 3; i++) {
        items[i] = expunge(metas[i], 1);
        cr_assert(group_add(&group, &items[i]));
    }
    cr_assert_eq(group_encode(&group, &place, &where, &rejected), STATUS_OK);
    cr_assert_null(rejected);
    cr_assert_eq(group.out.count, 1u);
    cr_assert_eq(where.first_sequence, 101u);
    cr_assert_eq(where.last_sequence, 103u);
    cr_assert_eq(where.offset, RECORD_HEADER_SIZE + RECORD_MANIFEST_SIZE(0));
    cr_assert_eq(where.end, group.out.iov[0].iov_len);
    cr_assert_eq(group.events.count, 3u);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(items[i].sequence, 101u + (uint64_t)i);
    }
}

Test(group, large_metas_are_written_from_where_they_are)
{
    enum { COUNT = 5000 };
    uint8_t *meta = malloc(RECORD_EXPUNGED_SIZE(COUNT));
    struct writer_item item = expunge(meta, COUNT), *rejected;
    struct group_place place = {.key = &key, .segment = 2, .offset = 500, .sequence = 100};
    struct delta_group where;
    struct record_header header;
    size_t length;
    cr_assert(group_add(&group, &item));
    cr_assert_eq(group_encode(&group, &place, &where, &rejected), STATUS_OK);
    cr_assert_eq(group.out.count, 2u);
    cr_assert_eq(group.out.iov[1].iov_base, meta);
    uint8_t *data = flatten(&length);
    cr_assert_eq(length, where.end - 500);
    cr_assert_eq(record_decode_header(&key, data + RECORD_FRAME_SIZE, RECORD_HEADER_SIZE, 2,
                                      500 + RECORD_FRAME_SIZE, &header),
                 STATUS_OK);
    cr_assert_eq(record_check_meta(&key, &header, data + RECORD_FRAME_SIZE + RECORD_HEADER_SIZE),
                 STATUS_OK);
    free(data);
    free(meta);
}

Test(group, is_full_at_its_bounds_but_takes_a_first_item_of_any_size)
{
    struct writer_item large = {.kind = RECORD_DELIVERED,
                                .body_length = STORAGE_GROUP_OCTETS_MAX + 1},
                       small = {.kind = RECORD_EXPUNGED};
    cr_assert(group_add(&group, &large));
    cr_assert_not(group_add(&group, &small));
    group_clear(&group);
    for (int i = 0; i < STORAGE_GROUP_RECORDS_MAX; i++) {
        cr_assert(group_add(&group, &small));
    }
    cr_assert_not(group_add(&group, &small));
}

Test(group, all_of_whose_items_mean_nothing_is_empty)
{
    uint8_t meta[4] = {0};
    struct writer_item items[2] = {
        {.kind = RECORD_EXPUNGED, .meta = meta, .meta_length = sizeof meta},
        {.kind = RECORD_DELIVERED, .meta = meta, .meta_length = sizeof meta}};
    struct writer_item *rejected;
    struct group_place place = {.key = &key, .segment = 2, .offset = 500, .sequence = 100};
    struct delta_group where;
    cr_assert(group_add(&group, &items[0]) && group_add(&group, &items[1]));
    cr_assert_eq(group_encode(&group, &place, &where, &rejected), STATUS_OK);
    cr_assert_eq(group.count, 0u);
    cr_assert_eq(rejected, &items[1]);
    cr_assert_eq(rejected->message.next, &items[0].message);
    cr_assert_eq(items[0].status, STATUS_INVALID);
}
