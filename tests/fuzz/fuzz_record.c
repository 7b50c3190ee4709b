/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the decoders of the log: any octets at all may stand on a disk. What decodes must encode
 * to the same octets; what was encoded must decode to the same fields; with one bit turned it must
 * not decode at all.
 */
#include "storage/checksum.h"
#include "storage/record.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RECIPIENTS_MAX 64

static struct checksum_key key;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any fixed key will do, if it looks like a random one: XXH3 is blind to data beside zeros in it.
 */
static void fill_key(void)
{
    uint32_t state = 1;
    for (size_t i = 0; i < CHECKSUM_KEY_SIZE; i++) {
        state = state * 1664525u + 1013904223u;
        key.octets[i] = (uint8_t)(state >> 24);
    }
}

static void check_bytes(struct record_bytes one, struct record_bytes other)
{
    assert(one.length == other.length);
    assert(one.length == 0 || memcmp(one.data, other.data, one.length) == 0);
}

/* What decodes encodes to octets that mean the same; reserved ones may differ. */
static void check_delivered(const uint8_t *meta, size_t length)
{
    struct record_delivered delivered;
    if (record_decode_delivered(meta, length, &delivered) != STATUS_OK) {
        return;
    }
    struct record_recipient recipients[RECIPIENTS_MAX];
    size_t cursor = 0;
    uint32_t count = 0;
    struct record_recipient recipient;
    while (record_next_recipient(meta, length, &cursor, &recipient) == STATUS_OK) {
        if (count < RECIPIENTS_MAX) {
            recipients[count] = recipient;
        }
        assert(recipient.address.length <= length && recipient.orcpt.length <= length);
        count++;
    }
    assert(count == delivered.recipient_count && count >= 1);
    if (count > RECIPIENTS_MAX) {
        return;
    }
    size_t again_length = record_delivered_size(&delivered, recipients);
    assert(again_length == length);
    uint8_t *again = malloc(again_length);
    assert(again != NULL);
    assert(record_encode_delivered(&delivered, recipients, again) == again_length);
    struct record_delivered second;
    assert(record_decode_delivered(again, again_length, &second) == STATUS_OK);
    assert(second.uid == delivered.uid && second.blob == delivered.blob);
    assert(second.received_ms == delivered.received_ms && second.octets == delivered.octets);
    assert(second.wire_length == delivered.wire_length);
    assert(second.header_length == delivered.header_length);
    assert(second.message_flags == delivered.message_flags);
    assert(second.recipient_count == delivered.recipient_count);
    check_bytes(second.sender, delivered.sender);
    check_bytes(second.uidl, delivered.uidl);
    check_bytes(second.extension, delivered.extension);
    free(again);
}

static void check_expunged(const uint8_t *meta, size_t length)
{
    uint64_t maildrop = 0;
    uint32_t count = 0;
    if (record_decode_expunged(meta, length, &maildrop, &count) != STATUS_OK) {
        return;
    }
    assert(RECORD_EXPUNGED_SIZE(count) <= length);
    uint64_t sum = maildrop;
    for (uint32_t i = 0; i < count; i++) {
        sum += record_expunged_uid(meta, i);
    }
    assert(sum == sum); /* the reads are the point */
}

static void check_others(const uint8_t *meta, size_t length)
{
    uint64_t maildrop = 0;
    struct record_bytes name;
    struct record_manifest manifest;
    uint32_t segment = 0;
    if (record_decode_drop(meta, length, &maildrop, &name) == STATUS_OK) {
        assert(name.length <= length);
    }
    if (record_decode_manifest(meta, length, &manifest) == STATUS_OK) {
        assert(RECORD_MANIFEST_SIZE(manifest.unretired_count) <= length);
        for (uint32_t i = 0; i < manifest.unretired_count; i++) {
            segment ^= record_manifest_unretired(meta, i);
        }
    }
    (void)!record_decode_retired(meta, length, &segment); /* either answer is right */
}

/* Raw octets as header, frame and footer: a checksum stands in the way, reading too far must not.
 */
static void check_raw(const uint8_t *data, size_t size)
{
    struct record_header header;
    struct record_frame frame;
    struct record_blob_footer footer;
    if (record_decode_header(&key, data, size, 1, 0, &header) == STATUS_OK) {
        assert(size >= RECORD_HEADER_SIZE);
    }
    if (record_decode_frame(&key, data, size, 1, 0, &frame) == STATUS_OK) {
        assert(size >= RECORD_FRAME_SIZE);
    }
    if (record_decode_blob_footer(&key, data, size, 1, &footer) == STATUS_OK) {
        assert(size >= RECORD_BLOB_FOOTER_SIZE);
    }
}

/* A valid header over the input as its meta: true comes back, a turned bit does not. */
static void check_header(const uint8_t *data, size_t size)
{
    struct record_header header = {.kind = RECORD_DELIVERED,
                                   .segment = 7,
                                   .offset = 4096,
                                   .sequence = size + 1,
                                   .meta_length = (uint32_t)size,
                                   .body_length = size * 3,
                                   .body_checksum = checksum_body(data, size)};
    uint8_t octets[RECORD_HEADER_SIZE];
    record_encode_header(&key, &header, data, octets);
    struct record_header read;
    enum status status = record_decode_header(&key, octets, sizeof(octets), 7, 4096, &read);
    assert(status == STATUS_OK);
    assert(read.kind == header.kind && read.sequence == header.sequence);
    assert(read.meta_length == header.meta_length && read.body_length == header.body_length);
    assert(read.body_checksum == header.body_checksum);
    assert(record_check_meta(&key, &read, data) == STATUS_OK);
    assert(record_decode_header(&key, octets, sizeof(octets), 8, 4096, &read) != STATUS_OK);
    assert(record_decode_header(&key, octets, sizeof(octets), 7, 4097, &read) != STATUS_OK);
    assert(record_decode_header(&key, octets, sizeof(octets) - 1, 7, 4096, &read) != STATUS_OK);
    if (size >= 2) {
        size_t bit = (data[0] | (size_t)data[1] << 8) % (RECORD_HEADER_SIZE * 8);
        octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert(record_decode_header(&key, octets, sizeof(octets), 7, 4096, &read) != STATUS_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (key.octets[0] == 0) {
        fill_key();
    }
    /* A copy without a neighbour: reading one octet too far is found. */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert(copy != NULL);
    memcpy(copy, data, size);
    check_delivered(copy, size);
    check_expunged(copy, size);
    check_others(copy, size);
    check_raw(copy, size);
    if (size > 0) {
        check_header(copy, size);
    }
    free(copy);
    return 0;
}
