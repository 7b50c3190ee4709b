/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every layout here is drawn, with its offsets, in storage/README.md. A record ends with its
 * checksum, and octets that no field uses are zero.
 */
#include "storage/record.h"

#include "storage/bytes.h"
#include "storage/storage_limits.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#define FORMAT_VERSION 1

#define FRAME_MAGIC  0x50524752u /* "RGRP", read as a little-endian number */
#define HEADER_MAGIC 0x43455252u /* "RREC" */
#define BLOB_MAGIC   0x424c4252u /* "RBLB" */

#define FRAME_CHECKED  (RECORD_FRAME_SIZE - 8) /* octets under the checksum, which follows them */
#define HEADER_CHECKED (RECORD_HEADER_SIZE - 8)
#define FOOTER_CHECKED (RECORD_BLOB_FOOTER_SIZE - 8)

#define DELIVERED_FIXED 64u
#define RECIPIENT_FIXED 12u
#define EXPUNGED_FIXED  12u
#define DROP_FIXED      10u
#define MANIFEST_FIXED  32u

static_assert(RECORD_FRAME_SIZE == 56, "frame layout");
static_assert(RECORD_HEADER_SIZE == 72, "header layout");
static_assert(RECORD_BLOB_FOOTER_SIZE == 80, "footer layout");
static_assert(RECORD_EXPUNGED_SIZE(0) == EXPUNGED_FIXED, "expunged layout");
static_assert(RECORD_EXPUNGED_SIZE(STORAGE_EXPUNGE_MAX) <= STORAGE_META_MAX, "a whole list fits");
static_assert(RECORD_DROP_SIZE(0) == DROP_FIXED, "drop layout");
static_assert(RECORD_MANIFEST_SIZE(0) == MANIFEST_FIXED, "manifest layout");
static_assert(RECORD_MANIFEST_SIZE(STORAGE_SEGMENTS_MAX) <= STORAGE_META_MAX, "all segments fit");
static_assert(STORAGE_UIDL_LENGTH_MAX <= UINT8_MAX, "one octet of length");

/* --- writing --- */

static uint8_t *put_bytes(uint8_t *out, struct record_bytes bytes)
{
    if (bytes.length > 0) {
        memcpy(out, bytes.data, bytes.length);
    }
    return out + bytes.length;
}

size_t record_delivered_size(const struct record_delivered *delivered,
                             const struct record_recipient *recipients)
{
    size_t size = DELIVERED_FIXED + (size_t)delivered->uidl.length + delivered->sender.length +
                  delivered->extension.length;
    for (uint32_t i = 0; i < delivered->recipient_count; i++) {
        size += RECIPIENT_FIXED + (size_t)recipients[i].address.length + recipients[i].orcpt.length;
    }
    return size;
}

static uint8_t *put_recipient(uint8_t *out, const struct record_recipient *recipient)
{
    assert(recipient->address.length <= UINT16_MAX && recipient->orcpt.length <= UINT16_MAX);
    bytes_put64(out, recipient->maildrop);
    bytes_put16(out + 8, (uint16_t)recipient->address.length);
    bytes_put16(out + 10, (uint16_t)recipient->orcpt.length);
    out = put_bytes(out + RECIPIENT_FIXED, recipient->address);
    return put_bytes(out, recipient->orcpt);
}

size_t record_encode_delivered(const struct record_delivered *delivered,
                               const struct record_recipient *recipients, uint8_t *out)
{
    assert(delivered->uidl.length <= STORAGE_UIDL_LENGTH_MAX);
    assert(delivered->sender.length <= UINT16_MAX);
    assert(delivered->recipient_count > 0);
    bytes_put64(out, delivered->uid);
    bytes_put64(out + 8, delivered->blob);
    bytes_put64(out + 16, (uint64_t)delivered->received_ms);
    bytes_put64(out + 24, delivered->octets);
    bytes_put64(out + 32, delivered->wire_length);
    bytes_put64(out + 40, delivered->header_length);
    bytes_put16(out + 48, delivered->message_flags);
    out[50] = delivered->encoding;
    out[51] = (uint8_t)delivered->uidl.length;
    bytes_put16(out + 52, (uint16_t)delivered->sender.length);
    bytes_put16(out + 54, 0);
    bytes_put32(out + 56, delivered->recipient_count);
    bytes_put32(out + 60, delivered->extension.length);
    uint8_t *end = put_bytes(out + DELIVERED_FIXED, delivered->uidl);
    end = put_bytes(end, delivered->sender);
    end = put_bytes(end, delivered->extension);
    for (uint32_t i = 0; i < delivered->recipient_count; i++) {
        end = put_recipient(end, &recipients[i]);
    }
    return (size_t)(end - out);
}

size_t record_encode_expunged(uint64_t maildrop, const uint64_t *uids, uint32_t count, uint8_t *out)
{
    bytes_put64(out, maildrop);
    bytes_put32(out + 8, count);
    for (uint32_t i = 0; i < count; i++) {
        bytes_put64(out + EXPUNGED_FIXED + 8 * (size_t)i, uids[i]);
    }
    return RECORD_EXPUNGED_SIZE(count);
}

size_t record_encode_drop(uint64_t maildrop, struct record_bytes name, uint8_t *out)
{
    assert(name.length <= STORAGE_DROP_NAME_MAX);
    bytes_put64(out, maildrop);
    bytes_put16(out + 8, (uint16_t)name.length);
    (void)put_bytes(out + DROP_FIXED, name); /* its end is the size below */
    return RECORD_DROP_SIZE(name.length);
}

size_t record_encode_manifest(const struct record_manifest *manifest, const uint32_t *unretired,
                              uint8_t *out)
{
    bytes_put32(out, manifest->predecessor);
    bytes_put32(out + 4, manifest->unretired_count);
    bytes_put64(out + 8, manifest->predecessor_length);
    bytes_put64(out + 16, manifest->predecessor_last_sequence);
    bytes_put64(out + 24, manifest->first_group);
    for (uint32_t i = 0; i < manifest->unretired_count; i++) {
        bytes_put32(out + MANIFEST_FIXED + 4 * (size_t)i, unretired[i]);
    }
    return RECORD_MANIFEST_SIZE(manifest->unretired_count);
}

size_t record_encode_retired(uint32_t segment, uint8_t *out)
{
    bytes_put32(out, segment);
    return RECORD_RETIRED_SIZE;
}

static void put_checksum(const struct checksum_key *key, uint8_t *out, size_t checked)
{
    bytes_put64(out + checked, checksum_keyed(key, out, checked));
}

void record_encode_header(const struct checksum_key *key, const struct record_header *header,
                          const uint8_t *meta, uint8_t out[RECORD_HEADER_SIZE])
{
    assert(header->meta_length <= STORAGE_META_MAX);
    assert((header->flags & RECORD_IN_BLOB) == 0 || header->body_length == 0);
    bytes_put32(out, HEADER_MAGIC);
    out[4] = FORMAT_VERSION;
    out[5] = header->kind;
    bytes_put16(out + 6, header->flags);
    bytes_put32(out + 8, header->segment);
    bytes_put32(out + 12, header->meta_length);
    bytes_put64(out + 16, header->offset);
    bytes_put64(out + 24, header->sequence);
    bytes_put64(out + 32, header->body_length);
    bytes_put64(out + 40, header->body_checksum);
    bytes_put64(out + 48, checksum_keyed(key, meta, header->meta_length));
    bytes_put64(out + 56, 0);
    put_checksum(key, out, HEADER_CHECKED);
}

void record_encode_frame(const struct checksum_key *key, const struct record_frame *frame,
                         uint8_t out[RECORD_FRAME_SIZE])
{
    bytes_put32(out, FRAME_MAGIC);
    bytes_put32(out + 4, FORMAT_VERSION); /* and three zeros */
    bytes_put32(out + 8, frame->segment);
    bytes_put32(out + 12, frame->record_count);
    bytes_put64(out + 16, frame->offset);
    bytes_put64(out + 24, frame->number);
    bytes_put64(out + 32, frame->first_sequence);
    bytes_put64(out + 40, frame->length);
    put_checksum(key, out, FRAME_CHECKED);
}

void record_encode_blob_footer(const struct checksum_key *key,
                               const struct record_blob_footer *footer,
                               uint8_t out[RECORD_BLOB_FOOTER_SIZE])
{
    bytes_put32(out, BLOB_MAGIC);
    out[4] = FORMAT_VERSION;
    out[5] = footer->encoding;
    bytes_put16(out + 6, footer->message_flags);
    bytes_put64(out + 8, footer->blob);
    bytes_put64(out + 16, footer->wire_length);
    bytes_put64(out + 24, footer->octets);
    bytes_put64(out + 32, footer->header_length);
    bytes_put64(out + 40, footer->body_checksum);
    bytes_put64(out + 48, (uint64_t)footer->created_ms);
    memset(out + 56, 0, 16);
    put_checksum(key, out, FOOTER_CHECKED);
}

/* --- reading: any octets at all --- */

/* Magic, checksum, then version: a newer version keeps the places of all three. */
static enum status check_envelope(const struct checksum_key *key, const uint8_t *data,
                                  size_t length, uint32_t magic, size_t checked)
{
    if (length < checked + 8 || bytes_get32(data) != magic) {
        return STATUS_CORRUPT;
    }
    if (bytes_get64(data + checked) != checksum_keyed(key, data, checked)) {
        return STATUS_CORRUPT;
    }
    return data[4] == FORMAT_VERSION ? STATUS_OK : STATUS_UNSUPPORTED;
}

static bool kind_is_known(uint8_t kind)
{
    return kind >= RECORD_MANIFEST && kind <= RECORD_RETIRED;
}

enum status record_decode_header(const struct checksum_key *key, const uint8_t *data, size_t length,
                                 uint32_t segment, uint64_t offset,
                                 struct record_header *out_header)
{
    enum status status = check_envelope(key, data, length, HEADER_MAGIC, HEADER_CHECKED);
    if (status != STATUS_OK) {
        return status;
    }
    struct record_header header = {.kind = data[5],
                                   .flags = bytes_get16(data + 6),
                                   .segment = bytes_get32(data + 8),
                                   .meta_length = bytes_get32(data + 12),
                                   .offset = bytes_get64(data + 16),
                                   .sequence = bytes_get64(data + 24),
                                   .body_length = bytes_get64(data + 32),
                                   .body_checksum = bytes_get64(data + 40),
                                   .meta_checksum = bytes_get64(data + 48)};
    if (header.segment != segment || header.offset != offset ||
        header.meta_length > STORAGE_META_MAX || header.body_length > STORAGE_MESSAGE_OCTETS_MAX ||
        ((header.flags & RECORD_IN_BLOB) != 0 && header.body_length != 0)) {
        return STATUS_CORRUPT;
    }
    if (!kind_is_known(header.kind) && (header.flags & RECORD_OPTIONAL) == 0) {
        return STATUS_UNSUPPORTED;
    }
    *out_header = header;
    return STATUS_OK;
}

enum status record_check_meta(const struct checksum_key *key, const struct record_header *header,
                              const uint8_t *meta)
{
    uint64_t checksum = checksum_keyed(key, meta, header->meta_length);
    return checksum == header->meta_checksum ? STATUS_OK : STATUS_CORRUPT;
}

uint64_t record_length(const struct record_header *header)
{
    return RECORD_HEADER_SIZE + (uint64_t)header->meta_length + header->body_length;
}

enum status record_decode_frame(const struct checksum_key *key, const uint8_t *data, size_t length,
                                uint32_t segment, uint64_t offset, struct record_frame *out_frame)
{
    enum status status = check_envelope(key, data, length, FRAME_MAGIC, FRAME_CHECKED);
    if (status != STATUS_OK) {
        return status;
    }
    struct record_frame frame = {.segment = bytes_get32(data + 8),
                                 .record_count = bytes_get32(data + 12),
                                 .offset = bytes_get64(data + 16),
                                 .number = bytes_get64(data + 24),
                                 .first_sequence = bytes_get64(data + 32),
                                 .length = bytes_get64(data + 40)};
    /* Divided, because a product of two numbers from the disk may overflow. */
    if (frame.segment != segment || frame.offset != offset || frame.record_count == 0 ||
        frame.length / RECORD_HEADER_SIZE < frame.record_count || frame.length > INT64_MAX ||
        frame.first_sequence > UINT64_MAX - frame.record_count) {
        return STATUS_CORRUPT;
    }
    *out_frame = frame;
    return STATUS_OK;
}

/* --- what has been a frame or a header --- */

/* Both have these at the same places. */
static int bits_turned(const uint8_t *data, uint32_t magic, uint32_t segment, uint64_t offset)
{
    return __builtin_popcount(bytes_get32(data) ^ magic) +
           __builtin_popcount(bytes_get32(data + 8) ^ segment) +
           __builtin_popcountll(bytes_get64(data + 16) ^ offset);
}

/* Tries each bit, whichever it was. */
static bool mend(const struct checksum_key *key, uint8_t *data, uint32_t magic, size_t checked)
{
    size_t bits = (checked + 8) * 8;
    bool whole = check_envelope(key, data, checked + 8, magic, checked) == STATUS_OK;
    for (size_t bit = 0; bit < bits && !whole; bit++) {
        uint8_t mask = (uint8_t)(1u << bit % 8);
        data[bit / 8] ^= mask;
        whole = check_envelope(key, data, checked + 8, magic, checked) == STATUS_OK;
        data[bit / 8] ^= whole ? 0 : mask;
    }
    return whole;
}

bool record_was_here(const struct checksum_key *key, const uint8_t *data, size_t length,
                     uint32_t segment, uint64_t offset, uint64_t *out_sequence)
{
    static const struct {
        uint32_t magic;
        size_t checked, sequence;
    } kinds[] = {{FRAME_MAGIC, FRAME_CHECKED, 32}, {HEADER_MAGIC, HEADER_CHECKED, 24}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uint8_t copy[RECORD_HEADER_SIZE];
        size_t size = kinds[i].checked + 8;
        if (length < size || bits_turned(data, kinds[i].magic, segment, offset) > 1) {
            continue;
        }
        memcpy(copy, data, size);
        if (mend(key, copy, kinds[i].magic, kinds[i].checked) &&
            bits_turned(copy, kinds[i].magic, segment, offset) == 0) {
            *out_sequence = bytes_get64(copy + kinds[i].sequence);
            return true;
        }
    }
    return false;
}

enum status record_decode_blob_footer(const struct checksum_key *key, const uint8_t *data,
                                      size_t length, uint64_t blob,
                                      struct record_blob_footer *out_footer)
{
    enum status status = check_envelope(key, data, length, BLOB_MAGIC, FOOTER_CHECKED);
    if (status != STATUS_OK) {
        return status;
    }
    struct record_blob_footer footer = {.encoding = data[5],
                                        .message_flags = bytes_get16(data + 6),
                                        .blob = bytes_get64(data + 8),
                                        .wire_length = bytes_get64(data + 16),
                                        .octets = bytes_get64(data + 24),
                                        .header_length = bytes_get64(data + 32),
                                        .body_checksum = bytes_get64(data + 40),
                                        .created_ms = (int64_t)bytes_get64(data + 48)};
    if (footer.blob != blob || footer.header_length > footer.wire_length) {
        return STATUS_CORRUPT;
    }
    *out_footer = footer;
    return STATUS_OK;
}

/* --- meta blocks --- */

enum status record_next_recipient(const uint8_t *meta, size_t length, size_t *cursor,
                                  struct record_recipient *out_recipient)
{
    size_t at = *cursor;
    if (at == 0) {
        at = DELIVERED_FIXED + meta[51] + (size_t)bytes_get16(meta + 52) + bytes_get32(meta + 60);
    }
    if (at == length) {
        return STATUS_EOF;
    }
    if (at > length || length - at < RECIPIENT_FIXED) {
        return STATUS_CORRUPT;
    }
    const uint8_t *data = meta + at;
    uint16_t address_length = bytes_get16(data + 8), orcpt_length = bytes_get16(data + 10);
    size_t size = RECIPIENT_FIXED + (size_t)address_length + orcpt_length;
    if (length - at < size) {
        return STATUS_CORRUPT;
    }
    data += RECIPIENT_FIXED;
    *out_recipient = (struct record_recipient){.maildrop = bytes_get64(data - RECIPIENT_FIXED),
                                               .address = {data, address_length},
                                               .orcpt = {data + address_length, orcpt_length}};
    *cursor = at + size;
    return STATUS_OK;
}

/* Whether exactly `count` recipients stand behind the fixed part and the strings. */
static bool recipients_fit(const uint8_t *meta, size_t length, uint32_t count)
{
    size_t cursor = 0;
    struct record_recipient recipient;
    for (uint32_t i = 0; i < count; i++) {
        if (record_next_recipient(meta, length, &cursor, &recipient) != STATUS_OK) {
            return false;
        }
    }
    return cursor == length;
}

enum status record_decode_delivered(const uint8_t *meta, size_t length,
                                    struct record_delivered *out_delivered)
{
    if (length < DELIVERED_FIXED || length > STORAGE_META_MAX) {
        return STATUS_CORRUPT;
    }
    uint32_t uidl_length = meta[51], sender_length = bytes_get16(meta + 52),
             extension_length = bytes_get32(meta + 60);
    size_t left = length - DELIVERED_FIXED;
    if (uidl_length > STORAGE_UIDL_LENGTH_MAX || left < uidl_length + sender_length ||
        left - uidl_length - sender_length < extension_length) {
        return STATUS_CORRUPT;
    }
    const uint8_t *uidl = meta + DELIVERED_FIXED, *sender = uidl + uidl_length;
    struct record_delivered delivered = {.uid = bytes_get64(meta),
                                         .blob = bytes_get64(meta + 8),
                                         .received_ms = (int64_t)bytes_get64(meta + 16),
                                         .octets = bytes_get64(meta + 24),
                                         .wire_length = bytes_get64(meta + 32),
                                         .header_length = bytes_get64(meta + 40),
                                         .message_flags = bytes_get16(meta + 48),
                                         .encoding = meta[50],
                                         .uidl = {uidl, uidl_length},
                                         .sender = {sender, sender_length},
                                         .extension = {sender + sender_length, extension_length},
                                         .recipient_count = bytes_get32(meta + 56)};
    if (delivered.wire_length > STORAGE_MESSAGE_OCTETS_MAX ||
        delivered.octets > delivered.wire_length ||
        delivered.header_length > delivered.wire_length || delivered.recipient_count == 0 ||
        !recipients_fit(meta, length, delivered.recipient_count)) {
        return STATUS_CORRUPT;
    }
    *out_delivered = delivered;
    return STATUS_OK;
}

enum status record_decode_expunged(const uint8_t *meta, size_t length, uint64_t *out_maildrop,
                                   uint32_t *out_count)
{
    if (length < EXPUNGED_FIXED) {
        return STATUS_CORRUPT;
    }
    uint32_t count = bytes_get32(meta + 8);
    if (count == 0 || count > STORAGE_EXPUNGE_MAX || length != RECORD_EXPUNGED_SIZE(count)) {
        return STATUS_CORRUPT;
    }
    *out_maildrop = bytes_get64(meta);
    *out_count = count;
    return STATUS_OK;
}

uint64_t record_expunged_uid(const uint8_t *meta, uint32_t index)
{
    return bytes_get64(meta + EXPUNGED_FIXED + 8 * (size_t)index);
}

enum status record_decode_drop(const uint8_t *meta, size_t length, uint64_t *out_maildrop,
                               struct record_bytes *out_name)
{
    if (length < DROP_FIXED || length != RECORD_DROP_SIZE(bytes_get16(meta + 8)) ||
        bytes_get16(meta + 8) > STORAGE_DROP_NAME_MAX) {
        return STATUS_CORRUPT;
    }
    *out_maildrop = bytes_get64(meta);
    *out_name = (struct record_bytes){meta + DROP_FIXED, bytes_get16(meta + 8)};
    return STATUS_OK;
}

enum status record_decode_manifest(const uint8_t *meta, size_t length,
                                   struct record_manifest *out_manifest)
{
    if (length < MANIFEST_FIXED) {
        return STATUS_CORRUPT;
    }
    struct record_manifest manifest = {.predecessor = bytes_get32(meta),
                                       .unretired_count = bytes_get32(meta + 4),
                                       .predecessor_length = bytes_get64(meta + 8),
                                       .predecessor_last_sequence = bytes_get64(meta + 16),
                                       .first_group = bytes_get64(meta + 24)};
    if (manifest.unretired_count > STORAGE_SEGMENTS_MAX ||
        length != RECORD_MANIFEST_SIZE(manifest.unretired_count)) {
        return STATUS_CORRUPT;
    }
    *out_manifest = manifest;
    return STATUS_OK;
}

uint32_t record_manifest_unretired(const uint8_t *meta, uint32_t index)
{
    return bytes_get32(meta + MANIFEST_FIXED + 4 * (size_t)index);
}

enum status record_decode_retired(const uint8_t *meta, size_t length, uint32_t *out_segment)
{
    if (length != RECORD_RETIRED_SIZE) {
        return STATUS_CORRUPT;
    }
    *out_segment = bytes_get32(meta);
    return STATUS_OK;
}
