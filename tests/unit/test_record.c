/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/record.h"

#include "storage/storage_limits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct checksum_key key;

static void set_up(void)
{
    for (size_t i = 0; i < sizeof key.octets; i++) {
        key.octets[i] = (uint8_t)(i * 7 + 3);
    }
}

TestSuite(record, .init = set_up);

static struct record_bytes text(const char *string)
{
    return (struct record_bytes){(const uint8_t *)string, (uint32_t)strlen(string)};
}

static bool same(struct record_bytes bytes, const char *string)
{
    return bytes.length == strlen(string) && memcmp(bytes.data, string, bytes.length) == 0;
}

static const struct record_recipient *two_recipients(void)
{
    static struct record_recipient recipients[2];
    recipients[0] = (struct record_recipient){
        .maildrop = 0x1122334455667788, .address = text("a+x@b"), .orcpt = text("rfc822;a@b")};
    recipients[1] = (struct record_recipient){.maildrop = 9, .address = text("\"q q\"@b")};
    return recipients;
}

static struct record_delivered a_delivered(void)
{
    return (struct record_delivered){.uid = 77,
                                     .blob = 0,
                                     .received_ms = -5,
                                     .octets = 1000,
                                     .wire_length = 1010,
                                     .header_length = 300,
                                     .encoding = RECORD_ENCODING_WIRE,
                                     .message_flags = 5,
                                     .sender = text("s@t"),
                                     .uidl = text("old-uidl"),
                                     .recipient_count = 2,
                                     .extension = text("ext")};
}

/* A whole record in `out`: header and the meta of a_delivered. */
static size_t a_record(uint8_t *out, struct record_header *out_header)
{
    struct record_delivered delivered = a_delivered();
    size_t length = record_encode_delivered(&delivered, two_recipients(), out + RECORD_HEADER_SIZE);
    *out_header = (struct record_header){.kind = RECORD_DELIVERED,
                                         .flags = 0,
                                         .segment = 3,
                                         .offset = 4096,
                                         .sequence = 12345678901,
                                         .meta_length = (uint32_t)length,
                                         .body_length = 1010,
                                         .body_checksum = 0xdeadbeefcafef00d};
    record_encode_header(&key, out_header, out + RECORD_HEADER_SIZE, out);
    return RECORD_HEADER_SIZE + length;
}

Test(record, header_comes_back_as_it_was)
{
    uint8_t data[512];
    struct record_header wrote, read;
    size_t length = a_record(data, &wrote);
    cr_assert_eq(record_decode_header(&key, data, RECORD_HEADER_SIZE, 3, 4096, &read), STATUS_OK);
    cr_assert_eq(read.kind, wrote.kind);
    cr_assert_eq(read.sequence, wrote.sequence);
    cr_assert_eq(read.meta_length, wrote.meta_length);
    cr_assert_eq(read.body_length, wrote.body_length);
    cr_assert_eq(read.body_checksum, wrote.body_checksum);
    cr_assert_eq(record_length(&read), length + 1010);
    cr_assert_eq(record_check_meta(&key, &read, data + RECORD_HEADER_SIZE), STATUS_OK);
}

Test(record, layout_is_that_of_the_readme)
{
    uint8_t data[512];
    struct record_header wrote;
    (void)a_record(data, &wrote);
    static const uint8_t start[] = {'R', 'R', 'E', 'C', 1, 2, 0, 0, 3, 0, 0, 0};
    static const uint8_t offset_and_sequence[] = {0x00, 0x10, 0,    0,    0, 0, 0, 0,
                                                  0x35, 0x1c, 0xdc, 0xdf, 2, 0, 0, 0};
    static const uint8_t checksum[] = {0x0d, 0xf0, 0xfe, 0xca, 0xef, 0xbe, 0xad, 0xde};
    cr_assert(memcmp(data, start, sizeof start) == 0);
    cr_assert(memcmp(data + 16, offset_and_sequence, sizeof offset_and_sequence) == 0);
    cr_assert(memcmp(data + 40, checksum, sizeof checksum) == 0);
}

Test(record, header_of_another_place_key_or_size_is_no_record)
{
    uint8_t data[512];
    struct record_header header;
    struct checksum_key other;
    (void)a_record(data, &header);
    memset(&other, 0x77, sizeof other);
    cr_assert_eq(record_decode_header(&key, data, RECORD_HEADER_SIZE, 4, 4096, &header),
                 STATUS_CORRUPT);
    cr_assert_eq(record_decode_header(&key, data, RECORD_HEADER_SIZE, 3, 4097, &header),
                 STATUS_CORRUPT);
    cr_assert_eq(record_decode_header(&other, data, RECORD_HEADER_SIZE, 3, 4096, &header),
                 STATUS_CORRUPT);
    for (size_t length = 0; length < RECORD_HEADER_SIZE; length++) {
        cr_assert_eq(record_decode_header(&key, data, length, 3, 4096, &header), STATUS_CORRUPT);
    }
}

Test(record, every_flipped_bit_of_header_and_meta_is_noticed)
{
    uint8_t data[512];
    struct record_header header;
    size_t length = a_record(data, &header);
    for (size_t bit = 0; bit < 8 * length; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum status status = record_decode_header(&key, data, RECORD_HEADER_SIZE, 3, 4096, &header);
        if (status == STATUS_OK) {
            cr_assert(bit / 8 >= RECORD_HEADER_SIZE);
            status = record_check_meta(&key, &header, data + RECORD_HEADER_SIZE);
        }
        cr_assert_eq(status, STATUS_CORRUPT, "bit %zu", bit);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* Writes a changed octet into a header and makes its checksum right again, as a later version
 * would. */
static enum status decode_changed(size_t at, uint8_t value)
{
    uint8_t data[512];
    struct record_header header;
    (void)a_record(data, &header);
    data[at] = value;
    uint64_t checksum = checksum_keyed(&key, data, RECORD_HEADER_SIZE - 8);
    for (size_t i = 0; i < 8; i++) {
        data[RECORD_HEADER_SIZE - 8 + i] = (uint8_t)(checksum >> 8 * i);
    }
    return record_decode_header(&key, data, RECORD_HEADER_SIZE, 3, 4096, &header);
}

Test(record, newer_version_and_unknown_kind_are_unsupported_not_corrupt)
{
    cr_assert_eq(decode_changed(4, 2), STATUS_UNSUPPORTED);
    cr_assert_eq(decode_changed(5, 200), STATUS_UNSUPPORTED);
    cr_assert_eq(decode_changed(5, RECORD_RETRIEVED), STATUS_UNSUPPORTED);
    cr_assert_eq(decode_changed(5, RECORD_RETIRED), STATUS_OK);
}

Test(record, unknown_kind_that_is_optional_can_be_skipped)
{
    uint8_t data[RECORD_HEADER_SIZE] = {0};
    struct record_header header = {
        .kind = 200, .flags = RECORD_OPTIONAL, .segment = 1, .offset = 8, .meta_length = 0};
    record_encode_header(&key, &header, data, data);
    cr_assert_eq(record_decode_header(&key, data, sizeof data, 1, 8, &header), STATUS_OK);
    cr_assert_eq(header.kind, 200);
}

Test(record, sound_header_with_impossible_lengths_is_corrupt)
{
    cr_assert_eq(decode_changed(15, 0x10), STATUS_CORRUPT);          /* meta of 256 MiB */
    cr_assert_eq(decode_changed(39, 0x7f), STATUS_CORRUPT);          /* body of 2^62 */
    cr_assert_eq(decode_changed(6, RECORD_IN_BLOB), STATUS_CORRUPT); /* in blob, yet here */
}

Test(record, frame_comes_back_as_it_was_and_only_in_its_place)
{
    struct record_frame wrote = {.segment = 7,
                                 .offset = 99,
                                 .number = 4,
                                 .first_sequence = 1000,
                                 .record_count = 3,
                                 .length = 5000},
                        read;
    uint8_t data[RECORD_FRAME_SIZE];
    record_encode_frame(&key, &wrote, data);
    cr_assert_eq(record_decode_frame(&key, data, sizeof data, 7, 99, &read), STATUS_OK);
    cr_assert_eq(read.number, 4u);
    cr_assert_eq(read.first_sequence, 1000u);
    cr_assert_eq(read.record_count, 3u);
    cr_assert_eq(read.length, 5000u);
    cr_assert_eq(record_decode_frame(&key, data, sizeof data, 7, 100, &read), STATUS_CORRUPT);
    cr_assert_eq(record_decode_frame(&key, data, sizeof data, 8, 99, &read), STATUS_CORRUPT);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(record_decode_frame(&key, data, sizeof data, 7, 99, &read), STATUS_CORRUPT);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void turn(uint8_t *data, size_t bit)
{
    data[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

Test(record, frame_and_header_are_known_again_with_any_one_bit_turned)
{
    struct record_frame frame = {.segment = 7,
                                 .offset = 99,
                                 .number = 4,
                                 .first_sequence = 1000,
                                 .record_count = 3,
                                 .length = 5000};
    struct record_header header = {
        .kind = RECORD_DELIVERED, .segment = 7, .offset = 99, .sequence = 1000};
    uint8_t data[2][RECORD_HEADER_SIZE] = {0};
    const size_t lengths[2] = {RECORD_FRAME_SIZE, RECORD_HEADER_SIZE};
    uint64_t sequence;
    record_encode_frame(&key, &frame, data[0]);
    record_encode_header(&key, &header, data[0], data[1]);
    for (size_t i = 0; i < 2; i++) {
        size_t bits = 8 * lengths[i];
        cr_assert(record_was_here(&key, data[i], lengths[i], 7, 99, &sequence), "whole");
        for (size_t bit = 0; bit < bits; bit++) {
            turn(data[i], bit);
            cr_assert(record_was_here(&key, data[i], lengths[i], 7, 99, &sequence), "%zu", bit);
            cr_assert_eq(sequence, 1000u);
            turn(data[i], (bit + 9) % bits);
            cr_assert_not(record_was_here(&key, data[i], lengths[i], 7, 99, &sequence), "two");
            turn(data[i], (bit + 9) % bits);
            turn(data[i], bit);
        }
        cr_assert_not(record_was_here(&key, data[i], lengths[i] - 1, 7, 99, &sequence));
        cr_assert_not(record_was_here(&key, data[i], lengths[i], 7, 98, &sequence), "one bit off");
        cr_assert_not(record_was_here(&key, data[i], lengths[i], 6, 99, &sequence), "one bit off");
    }
}

Test(record, frame_whose_numbers_cannot_be_is_corrupt)
{
    static const struct record_frame wrong[] = {
        {.segment = 1, .record_count = 0, .length = 100},
        {.segment = 1, .record_count = 2, .length = 143},
        {.segment = 1, .record_count = UINT32_MAX, .length = 1000},
        {.segment = 1, .record_count = 1, .length = UINT64_MAX},
        {.segment = 1, .record_count = 1, .length = 100, .first_sequence = UINT64_MAX}};
    struct record_frame read;
    uint8_t data[RECORD_FRAME_SIZE];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        record_encode_frame(&key, &wrong[i], data);
        cr_assert_eq(record_decode_frame(&key, data, sizeof data, 1, 0, &read), STATUS_CORRUPT);
    }
}

Test(record, blob_footer_comes_back_as_it_was)
{
    struct record_blob_footer wrote = {.blob = 0x1234,
                                       .wire_length = 5000000,
                                       .octets = 4999000,
                                       .header_length = 800,
                                       .body_checksum = 42,
                                       .created_ms = 1700000000000,
                                       .message_flags = 3,
                                       .encoding = 0},
                              read;
    uint8_t data[RECORD_BLOB_FOOTER_SIZE];
    record_encode_blob_footer(&key, &wrote, data);
    cr_assert_eq(record_decode_blob_footer(&key, data, sizeof data, 0x1234, &read), STATUS_OK);
    cr_assert_eq(read.wire_length, wrote.wire_length);
    cr_assert_eq(read.octets, wrote.octets);
    cr_assert_eq(read.header_length, wrote.header_length);
    cr_assert_eq(read.body_checksum, wrote.body_checksum);
    cr_assert_eq(read.created_ms, wrote.created_ms);
    cr_assert_eq(read.message_flags, wrote.message_flags);
    cr_assert_eq(record_decode_blob_footer(&key, data, sizeof data, 0x1235, &read), STATUS_CORRUPT);
    cr_assert_eq(record_decode_blob_footer(&key, data, sizeof data - 1, 0x1234, &read),
                 STATUS_CORRUPT);
    data[20] ^= 1;
    cr_assert_eq(record_decode_blob_footer(&key, data, sizeof data, 0x1234, &read), STATUS_CORRUPT);
}

Test(record, delivered_comes_back_with_all_recipients)
{
    uint8_t meta[512];
    struct record_delivered wrote = a_delivered(), read;
    struct record_recipient recipient;
    size_t length = record_encode_delivered(&wrote, two_recipients(), meta), cursor = 0;
    cr_assert_eq(length, record_delivered_size(&wrote, two_recipients()));
    cr_assert_eq(record_decode_delivered(meta, length, &read), STATUS_OK);
    cr_assert_eq(read.uid, 77u);
    cr_assert_eq(read.received_ms, -5);
    cr_assert_eq(read.octets, 1000u);
    cr_assert_eq(read.wire_length, 1010u);
    cr_assert_eq(read.header_length, 300u);
    cr_assert_eq(read.message_flags, 5);
    cr_assert(same(read.sender, "s@t"));
    cr_assert(same(read.uidl, "old-uidl"));
    cr_assert(same(read.extension, "ext"));
    cr_assert_eq(record_next_recipient(meta, length, &cursor, &recipient), STATUS_OK);
    cr_assert_eq(recipient.maildrop, 0x1122334455667788u);
    cr_assert(same(recipient.address, "a+x@b"));
    cr_assert(same(recipient.orcpt, "rfc822;a@b"));
    cr_assert_eq(record_next_recipient(meta, length, &cursor, &recipient), STATUS_OK);
    cr_assert_eq(recipient.maildrop, 9u);
    cr_assert(same(recipient.address, "\"q q\"@b"));
    cr_assert(same(recipient.orcpt, ""));
    cr_assert_eq(record_next_recipient(meta, length, &cursor, &recipient), STATUS_EOF);
}

Test(record, delivered_cut_anywhere_or_too_long_is_corrupt)
{
    uint8_t meta[512] = {0};
    struct record_delivered wrote = a_delivered(), read;
    size_t length = record_encode_delivered(&wrote, two_recipients(), meta);
    for (size_t cut = 0; cut < length; cut++) {
        cr_assert_eq(record_decode_delivered(meta, cut, &read), STATUS_CORRUPT, "%zu", cut);
    }
    cr_assert_eq(record_decode_delivered(meta, length + 1, &read), STATUS_CORRUPT);
}

Test(record, expunged_comes_back_and_only_whole)
{
    static const uint64_t uids[] = {5, UINT64_MAX, 7};
    uint8_t meta[64];
    uint64_t maildrop;
    uint32_t count;
    size_t length = record_encode_expunged(42, uids, 3, meta);
    cr_assert_eq(length, RECORD_EXPUNGED_SIZE(3));
    cr_assert_eq(record_decode_expunged(meta, length, &maildrop, &count), STATUS_OK);
    cr_assert_eq(maildrop, 42u);
    cr_assert_eq(count, 3u);
    cr_assert_eq(record_expunged_uid(meta, 1), UINT64_MAX);
    for (size_t cut = 0; cut < length; cut++) {
        cr_assert_eq(record_decode_expunged(meta, cut, &maildrop, &count), STATUS_CORRUPT);
    }
}

Test(record, drop_manifest_and_retired_come_back_and_only_whole)
{
    static const uint32_t unretired[] = {1, 5};
    uint8_t meta[64];
    uint64_t maildrop;
    uint32_t segment;
    struct record_bytes name;
    struct record_manifest manifest = {.predecessor = 5,
                                       .predecessor_length = 1u << 30,
                                       .predecessor_last_sequence = 10,
                                       .first_group = 11,
                                       .unretired_count = 2},
                           read;
    size_t length = record_encode_drop(8, text("a@b"), meta);
    cr_assert_eq(record_decode_drop(meta, length, &maildrop, &name), STATUS_OK);
    cr_assert(maildrop == 8 && same(name, "a@b"));
    cr_assert_eq(record_decode_drop(meta, length - 1, &maildrop, &name), STATUS_CORRUPT);
    length = record_encode_manifest(&manifest, unretired, meta);
    cr_assert_eq(record_decode_manifest(meta, length, &read), STATUS_OK);
    cr_assert_eq(read.predecessor_length, 1u << 30);
    cr_assert_eq(read.predecessor_last_sequence, 10u);
    cr_assert_eq(read.first_group, 11u);
    cr_assert_eq(record_manifest_unretired(meta, 1), 5u);
    cr_assert_eq(record_decode_manifest(meta, length - 1, &read), STATUS_CORRUPT);
    length = record_encode_retired(6, meta);
    cr_assert_eq(record_decode_retired(meta, length, &segment), STATUS_OK);
    cr_assert_eq(segment, 6u);
    cr_assert_eq(record_decode_retired(meta, length - 1, &segment), STATUS_CORRUPT);
}

/* All decoders of a meta on the same octets, in a heap block of exactly that size, so that the
 * address sanitizer sees a step outside. What they accept must be whole. */
static void decode_all(const uint8_t *data, size_t length)
{
    uint8_t *meta = malloc(length > 0 ? length : 1);
    struct record_delivered delivered;
    struct record_recipient recipient;
    struct record_manifest manifest;
    struct record_bytes name;
    uint64_t maildrop;
    uint32_t count;
    memcpy(meta, data, length);
    if (record_decode_delivered(meta, length, &delivered) == STATUS_OK) {
        size_t cursor = 0;
        for (uint32_t i = 0; i < delivered.recipient_count; i++) {
            cr_assert_eq(record_next_recipient(meta, length, &cursor, &recipient), STATUS_OK);
            cr_assert(recipient.orcpt.data + recipient.orcpt.length <= meta + length);
        }
        cr_assert_eq(record_next_recipient(meta, length, &cursor, &recipient), STATUS_EOF);
    }
    if (record_decode_expunged(meta, length, &maildrop, &count) == STATUS_OK) {
        (void)record_expunged_uid(meta, count - 1);
    }
    if (record_decode_manifest(meta, length, &manifest) == STATUS_OK &&
        manifest.unretired_count > 0) {
        (void)record_manifest_unretired(meta, manifest.unretired_count - 1);
    }
    if (record_decode_drop(meta, length, &maildrop, &name) == STATUS_OK) {
        cr_assert(name.data + name.length == meta + length);
    }
    (void)!record_decode_retired(meta, length, &count);
    free(meta);
}

Test(record, random_changes_never_lead_a_decoder_astray)
{
    static const uint64_t uids[] = {1, 2, 3};
    static const uint32_t unretired[] = {1, 2};
    unsigned seed = (unsigned)time(NULL);
    (void)fprintf(stderr, "record: seed %u\n", seed);
    for (int round = 0; round < 200000; round++) {
        uint8_t meta[512] = {0};
        struct record_delivered delivered = a_delivered();
        struct record_manifest manifest = {.unretired_count = 2};
        size_t length = round % 4 == 0 ? record_encode_delivered(&delivered, two_recipients(), meta)
                        : round % 4 == 1 ? record_encode_expunged(1, uids, 3, meta)
                        : round % 4 == 2 ? record_encode_manifest(&manifest, unretired, meta)
                                         : record_encode_drop(1, text("name"), meta);
        for (int changes = rand_r(&seed) % 6; changes > 0; changes--) {
            meta[(size_t)rand_r(&seed) % length] = (uint8_t)rand_r(&seed);
        }
        if (rand_r(&seed) % 4 == 0) {
            length = (size_t)rand_r(&seed) % sizeof meta;
        }
        decode_all(meta, length);
    }
}
