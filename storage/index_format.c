/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/index_format.h"

#include "storage/bytes.h"
#include "storage/checksum.h"

#include <string.h>

#define IN_BLOB 0x80u /* in the octet of the unique-id's length: the place is a blob's id */

void index_message_key(uint64_t maildrop, uint64_t uid, uint8_t out[INDEX_MESSAGE_KEY_SIZE])
{
    index_put_id(out, maildrop);
    index_put_id(out + 8, uid);
}

size_t index_uidl_key(uint64_t maildrop, const char *uidl, size_t length,
                      uint8_t out[INDEX_UIDL_KEY_MAX])
{
    index_put_id(out, maildrop);
    memcpy(out + 8, uidl, length);
    return 8 + length;
}

/* LMDB has no checksums of its own. The key goes into it too: a page in the wrong place is found.
 */
static uint32_t check_of(const uint8_t *key, const uint8_t *value, size_t length)
{
    uint64_t place = index_get_id(key) * 0x9e3779b97f4a7c15u ^ index_get_id(key + 8);
    return (uint32_t)((checksum_body(value, length) ^ place * 0xff51afd7ed558ccdu) >> 32);
}

size_t index_encode_message(uint64_t maildrop, const struct message_entry *entry,
                            uint8_t out[INDEX_MESSAGE_MAX])
{
    uint8_t key[INDEX_MESSAGE_KEY_SIZE];
    bool in_blob = entry->blob != 0;
    size_t length = INDEX_MESSAGE_FIXED + entry->uidl_length;
    bytes_put32(out, entry->segment);
    bytes_put64(out + 4, in_blob ? entry->blob : entry->offset);
    bytes_put32(out + 12, entry->wire_length);
    bytes_put32(out + 16, entry->octets);
    bytes_put32(out + 20, entry->header_length);
    bytes_put16(out + 24, entry->flags);
    out[26] = entry->encoding;
    out[27] = (uint8_t)(entry->uidl_length | (in_blob ? IN_BLOB : 0));
    bytes_put64(out + 28, (uint64_t)entry->received_ms);
    bytes_put64(out + 36, entry->checksum);
    memcpy(out + INDEX_MESSAGE_FIXED, entry->uidl, entry->uidl_length);
    index_message_key(maildrop, entry->uid, key);
    bytes_put32(out + length, check_of(key, out, length));
    return length + 4;
}

enum status index_decode_message(struct kv_bytes key, struct kv_bytes value,
                                 struct message_entry *out_entry)
{
    const uint8_t *data = value.data;
    if (key.length != INDEX_MESSAGE_KEY_SIZE || value.length < INDEX_MESSAGE_FIXED + 4) {
        return STATUS_CORRUPT;
    }
    size_t uidl_length = data[27] & ~IN_BLOB;
    size_t length = INDEX_MESSAGE_FIXED + uidl_length;
    if (uidl_length > STORAGE_UIDL_LENGTH_MAX || value.length != length + 4 ||
        bytes_get32(data + length) != check_of(key.data, data, length)) {
        return STATUS_CORRUPT;
    }
    bool in_blob = (data[27] & IN_BLOB) != 0;
    uint64_t place = bytes_get64(data + 4);
    out_entry->uid = index_get_id((const uint8_t *)key.data + 8);
    out_entry->segment = bytes_get32(data);
    out_entry->offset = in_blob ? 0 : place;
    out_entry->blob = in_blob ? place : 0;
    out_entry->wire_length = bytes_get32(data + 12);
    out_entry->octets = bytes_get32(data + 16);
    out_entry->header_length = bytes_get32(data + 20);
    out_entry->flags = bytes_get16(data + 24);
    out_entry->encoding = data[26];
    out_entry->uidl_length = (uint8_t)uidl_length;
    out_entry->received_ms = (int64_t)bytes_get64(data + 28);
    out_entry->checksum = bytes_get64(data + 36);
    memcpy(out_entry->uidl, data + INDEX_MESSAGE_FIXED, uidl_length);
    return STATUS_OK;
}

size_t index_encode_drop(const struct index_drop *drop, uint8_t out[INDEX_DROP_MAX])
{
    size_t length = strlen(drop->name);
    bytes_put64(out, drop->messages);
    bytes_put64(out + 8, drop->octets);
    bytes_put16(out + 16, (uint16_t)length);
    memcpy(out + INDEX_DROP_FIXED, drop->name, length);
    return INDEX_DROP_FIXED + length;
}

enum status index_decode_drop(struct kv_bytes value, struct index_drop *out_drop)
{
    const uint8_t *data = value.data;
    if (value.length < INDEX_DROP_FIXED) {
        return STATUS_CORRUPT;
    }
    size_t length = bytes_get16(data + 16);
    if (length > STORAGE_DROP_NAME_MAX || value.length != INDEX_DROP_FIXED + length) {
        return STATUS_CORRUPT;
    }
    out_drop->messages = bytes_get64(data);
    out_drop->octets = bytes_get64(data + 8);
    memcpy(out_drop->name, data + INDEX_DROP_FIXED, length);
    out_drop->name[length] = '\0';
    return STATUS_OK;
}

void index_encode_file(const struct index_file *file, uint8_t out[INDEX_FILE_SIZE])
{
    bytes_put64(out, file->references);
    bytes_put64(out + 8, file->octets);
    out[16] = file->retired ? 1 : 0;
}

enum status index_decode_file(struct kv_bytes value, struct index_file *out_file)
{
    const uint8_t *data = value.data;
    if (value.length != INDEX_FILE_SIZE) {
        return STATUS_CORRUPT;
    }
    out_file->references = bytes_get64(data);
    out_file->octets = bytes_get64(data + 8);
    out_file->retired = data[16] != 0;
    return STATUS_OK;
}

void index_encode_state(const struct index_state *state, uint8_t out[INDEX_STATE_SIZE])
{
    bytes_put32(out, state->position.segment);
    bytes_put64(out + 4, state->position.offset);
    bytes_put64(out + 12, state->position.sequence);
    out[20] = state->clean ? 1 : 0;
    bytes_put64(out + 21, state->maildrops);
    bytes_put64(out + 29, state->messages);
    bytes_put64(out + 37, state->octets);
    bytes_put64(out + 45, state->next_sequence);
    bytes_put32(out + 53, (uint32_t)checksum_body(out, 53));
}

enum status index_decode_state(struct kv_bytes value, struct index_state *out_state)
{
    const uint8_t *data = value.data;
    if (value.length != INDEX_STATE_SIZE ||
        bytes_get32(data + 53) != (uint32_t)checksum_body(data, 53)) {
        return STATUS_CORRUPT;
    }
    *out_state = (struct index_state){
        .position = {.segment = bytes_get32(data),
                     .offset = bytes_get64(data + 4),
                     .sequence = bytes_get64(data + 12)},
        .stored = true,
        .clean = data[20] != 0,
        .maildrops = bytes_get64(data + 21),
        .messages = bytes_get64(data + 29),
        .octets = bytes_get64(data + 37),
        .next_sequence = bytes_get64(data + 45),
    };
    return STATUS_OK;
}

const char *const index_table_names[] = {"meta",  "messages", "drops",      "segments", "blobs",
                                         "uidls", "removed",  "tombstones", NULL};

bool index_pair_is_sound(const char *table, struct kv_bytes key, struct kv_bytes value)
{
    struct message_entry entry;
    struct index_state state;
    if (strcmp(table, "messages") == 0) {
        return index_decode_message(key, value, &entry) == STATUS_OK;
    }
    if (strcmp(table, "meta") != 0) {
        return kv_pair_is_sound(key, value);
    }
    /* The identity is compared whole when the index is opened. */
    return key.length == 8 || index_decode_state(value, &state) == STATUS_OK;
}

enum status index_read_state(struct index *index, struct kv_txn *txn, struct index_state *out_state)
{
    struct kv_bytes value;
    enum status status = kv_get(txn, index->tables.meta, (struct kv_bytes){"state", 5}, &value);
    if (status == STATUS_NOT_FOUND) {
        *out_state = (struct index_state){0};
        return STATUS_OK;
    }
    return status == STATUS_OK ? index_decode_state(value, out_state) : status;
}
