/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/index_format.h"

#include <criterion/criterion.h>
#include <string.h>

static struct message_entry entry_with(uint64_t blob, const char *uidl)
{
    struct message_entry entry = {.uid = 0x0102030405060708,
                                  .blob = blob,
                                  .offset = blob != 0 ? 0 : 0x1122334455,
                                  .checksum = 0xfedcba9876543210,
                                  .segment = 77,
                                  .wire_length = 0xf0000000,
                                  .octets = 5,
                                  .header_length = 4,
                                  .flags = 9,
                                  .encoding = 2,
                                  .received_ms = -1,
                                  .uidl_length = (uint8_t)strlen(uidl)};
    memcpy(entry.uidl, uidl, strlen(uidl));
    return entry;
}

static void check_round_trip(const struct message_entry *entry)
{
    uint8_t key[INDEX_MESSAGE_KEY_SIZE], data[INDEX_MESSAGE_MAX];
    struct message_entry back;
    memset(&back, 0, sizeof back);
    index_message_key(7, entry->uid, key);
    size_t length = index_encode_message(7, entry, data);
    cr_assert_eq(index_decode_message((struct kv_bytes){key, sizeof key},
                                      (struct kv_bytes){data, length}, &back),
                 STATUS_OK);
    cr_assert_eq(memcmp(entry, &back, sizeof back), 0);
    for (size_t i = 0; i < length; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            data[i] ^= (uint8_t)(1u << bit);
            cr_assert_eq(index_decode_message((struct kv_bytes){key, sizeof key},
                                              (struct kv_bytes){data, length}, &back),
                         STATUS_CORRUPT);
            data[i] ^= (uint8_t)(1u << bit);
        }
    }
    for (size_t cut = 0; cut < length; cut++) {
        cr_assert_eq(index_decode_message((struct kv_bytes){key, sizeof key},
                                          (struct kv_bytes){data, cut}, &back),
                     STATUS_CORRUPT);
    }
    key[3] ^= 1; /* the right value in the wrong place */
    cr_assert_eq(index_decode_message((struct kv_bytes){key, sizeof key},
                                      (struct kv_bytes){data, length}, &back),
                 STATUS_CORRUPT);
}

Test(index_format, a_message_comes_back_and_any_change_is_found)
{
    struct message_entry plain = entry_with(0, ""), blob = entry_with(5, ""),
                         imported = entry_with(0, "an imported one");
    check_round_trip(&plain);
    check_round_trip(&blob);
    check_round_trip(&imported);
}

Test(index_format, keys_sort_like_their_numbers)
{
    uint8_t a[INDEX_MESSAGE_KEY_SIZE], b[INDEX_MESSAGE_KEY_SIZE];
    static const uint64_t numbers[] = {0, 1, 255, 256, 1ull << 31, 1ull << 32, UINT64_MAX};
    for (size_t i = 0; i + 1 < sizeof numbers / sizeof numbers[0]; i++) {
        index_message_key(numbers[i], UINT64_MAX, a);
        index_message_key(numbers[i + 1], 0, b);
        cr_assert(memcmp(a, b, sizeof a) < 0);
        cr_assert_eq(index_get_id(a), numbers[i]);
        index_message_key(5, numbers[i], a);
        index_message_key(5, numbers[i + 1], b);
        cr_assert(memcmp(a, b, sizeof a) < 0);
    }
}

Test(index_format, drops_files_and_state_come_back)
{
    uint8_t data[INDEX_DROP_MAX], file_data[INDEX_FILE_SIZE], state_data[INDEX_STATE_SIZE];
    struct index_drop drop = {.messages = 3, .octets = 1ull << 40}, drop_back;
    strcpy(drop.name, "someone@localhost");
    size_t length = index_encode_drop(&drop, data);
    cr_assert_eq(index_decode_drop((struct kv_bytes){data, length}, &drop_back), STATUS_OK);
    cr_assert_eq(drop_back.octets, drop.octets);
    cr_assert_str_eq(drop_back.name, drop.name);
    cr_assert_eq(index_decode_drop((struct kv_bytes){data, length - 1}, &drop_back),
                 STATUS_CORRUPT);

    struct index_file file = {.references = 9, .octets = 8, .retired = true}, file_back;
    index_encode_file(&file, file_data);
    cr_assert_eq(index_decode_file((struct kv_bytes){file_data, sizeof file_data}, &file_back),
                 STATUS_OK);
    cr_assert_eq(file_back.references, 9);
    cr_assert(file_back.retired);
    cr_assert_eq(index_decode_file((struct kv_bytes){file_data, 3}, &file_back), STATUS_CORRUPT);

    struct index_state state = {.position = {5, 6, 7},
                                .stored = true,
                                .next_sequence = 8,
                                .clean = true,
                                .maildrops = 9,
                                .messages = 10,
                                .octets = 11},
                       state_back;
    index_encode_state(&state, state_data);
    cr_assert_eq(index_decode_state((struct kv_bytes){state_data, sizeof state_data}, &state_back),
                 STATUS_OK);
    cr_assert_eq(state_back.position.offset, 6);
    cr_assert_eq(state_back.next_sequence, 8);
    cr_assert_eq(state_back.octets, 11);
    state_data[4] ^= 1;
    cr_assert_eq(index_decode_state((struct kv_bytes){state_data, sizeof state_data}, &state_back),
                 STATUS_CORRUPT);
}
