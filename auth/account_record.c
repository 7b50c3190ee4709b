/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account_record.h"

#include "storage/bytes.h"

#include <assert.h>
#include <string.h>

#define FORMAT        1
#define FLAG_DISABLED 1

static_assert(AUTH_REASON_MAX <= UINT8_MAX && AUTH_CREDENTIALS_MAX <= UINT8_MAX, "one octet each");
static_assert(AUTH_CREDENTIAL_MAX <= UINT16_MAX, "two octets");

size_t account_record_encode(const struct account *account, uint8_t out[ACCOUNT_RECORD_MAX])
{
    size_t reason_length = strlen(account->reason);
    assert(reason_length <= AUTH_REASON_MAX && account->credential_count <= AUTH_CREDENTIALS_MAX);
    out[0] = FORMAT;
    out[1] = account->disabled ? FLAG_DISABLED : 0;
    out[2] = (uint8_t)account->credential_count;
    out[3] = (uint8_t)reason_length;
    bytes_put32(out + 4, account->drop.volume);
    bytes_put64(out + 8, account->drop.id);
    bytes_put64(out + 16, (uint64_t)account->created_ms);
    bytes_put64(out + 24, (uint64_t)account->changed_ms);
    bytes_put64(out + 32, account->generation);
    uint8_t *to = out + ACCOUNT_RECORD_HEADER;
    memcpy(to, account->reason, reason_length);
    to += reason_length;
    for (uint32_t i = 0; i < account->credential_count; i++) {
        size_t length = strlen(account->credentials[i].text);
        assert(length <= AUTH_CREDENTIAL_MAX);
        bytes_put16(to, (uint16_t)length);
        memcpy(to + 2, account->credentials[i].text, length);
        to += 2 + length;
    }
    return (size_t)(to - out);
}

/* Copies a text without NUL inside and steps over it. */
static enum status take_text(const uint8_t **at, const uint8_t *end, size_t length, size_t max,
                             char *out)
{
    if (length > max || length > (size_t)(end - *at) ||
        (length > 0 && memchr(*at, '\0', length) != NULL)) {
        return STATUS_CORRUPT;
    }
    memcpy(out, *at, length);
    out[length] = '\0';
    *at += length;
    return STATUS_OK;
}

enum status account_record_decode(const uint8_t *data, size_t length, struct account *out_account)
{
    if (length < ACCOUNT_RECORD_HEADER) {
        return STATUS_CORRUPT;
    }
    if (data[0] != FORMAT) {
        return data[0] > FORMAT ? STATUS_UNSUPPORTED : STATUS_CORRUPT;
    }
    if ((data[1] & ~FLAG_DISABLED) != 0 || data[2] > AUTH_CREDENTIALS_MAX) {
        return STATUS_CORRUPT;
    }
    out_account->disabled = (data[1] & FLAG_DISABLED) != 0;
    out_account->credential_count = data[2];
    out_account->drop.volume = bytes_get32(data + 4);
    out_account->drop.id = bytes_get64(data + 8);
    out_account->created_ms = (int64_t)bytes_get64(data + 16);
    out_account->changed_ms = (int64_t)bytes_get64(data + 24);
    out_account->generation = bytes_get64(data + 32);
    const uint8_t *at = data + ACCOUNT_RECORD_HEADER, *end = data + length;
    enum status status = take_text(&at, end, data[3], AUTH_REASON_MAX, out_account->reason);
    for (uint32_t i = 0; i < out_account->credential_count && status == STATUS_OK; i++) {
        if (end - at < 2) {
            return STATUS_CORRUPT;
        }
        size_t text_length = bytes_get16(at);
        at += 2;
        status =
            take_text(&at, end, text_length, AUTH_CREDENTIAL_MAX, out_account->credentials[i].text);
    }
    return status == STATUS_OK && at != end ? STATUS_CORRUPT : status;
}
