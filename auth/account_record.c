/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account_record.h"

#include "storage/bytes.h"

#include <assert.h>
#include <string.h>

#define FORMAT       2
#define FORMAT_OLDER 1

#define FLAG_DISABLED     1
#define FLAG_TLS_REQUIRED 2

#define HEADER_OLDER 40 /* octets of a header of format 1 */

static_assert(AUTH_REASON_MAX <= UINT8_MAX && AUTH_CREDENTIALS_MAX <= UINT8_MAX, "one octet each");
static_assert(AUTH_NETWORKS_MAX <= UINT8_MAX, "one octet");
static_assert(AUTH_CREDENTIAL_MAX <= UINT16_MAX, "two octets");

/* --- writing -----------------------------------------------------------------------------------
 */

static size_t network_octets(bool is_v6)
{
    return is_v6 ? 16 : 4;
}

static uint8_t *put_networks(const struct account *account, uint8_t *to)
{
    for (uint32_t i = 0; i < account->network_count; i++) {
        const struct address_network *network = &account->networks[i];
        to[0] = network->is_v6 ? 6 : 4;
        to[1] = network->bits;
        memcpy(to + 2, network->octets, network_octets(network->is_v6));
        to += 2 + network_octets(network->is_v6);
    }
    return to;
}

size_t account_record_encode(const struct account *account, uint8_t out[ACCOUNT_RECORD_MAX])
{
    size_t reason_length = strlen(account->reason);
    assert(reason_length <= AUTH_REASON_MAX && account->credential_count <= AUTH_CREDENTIALS_MAX);
    assert(account->network_count <= AUTH_NETWORKS_MAX);
    memset(out, 0, ACCOUNT_RECORD_HEADER);
    out[0] = FORMAT;
    out[1] = (uint8_t)((account->disabled ? FLAG_DISABLED : 0) |
                       (account->tls_required ? FLAG_TLS_REQUIRED : 0));
    out[2] = (uint8_t)account->credential_count;
    out[3] = (uint8_t)reason_length;
    bytes_put32(out + 4, account->drop.volume);
    bytes_put64(out + 8, account->drop.id);
    bytes_put64(out + 16, (uint64_t)account->created_ms);
    bytes_put64(out + 24, (uint64_t)account->changed_ms);
    bytes_put64(out + 32, account->generation);
    out[40] = (uint8_t)account->network_count;
    uint8_t *to = out + ACCOUNT_RECORD_HEADER;
    memcpy(to, account->reason, reason_length);
    to = put_networks(account, to + reason_length);
    for (uint32_t i = 0; i < account->credential_count; i++) {
        size_t length = strlen(account->credentials[i].text);
        assert(length <= AUTH_CREDENTIAL_MAX);
        bytes_put16(to, (uint16_t)length);
        memcpy(to + 2, account->credentials[i].text, length);
        to += 2 + length;
    }
    return (size_t)(to - out);
}

/* --- reading -----------------------------------------------------------------------------------
 */

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

static enum status take_network(const uint8_t **at, const uint8_t *end,
                                struct address_network *out_network)
{
    if (end - *at < 2 || ((*at)[0] != 4 && (*at)[0] != 6)) {
        return STATUS_CORRUPT;
    }
    bool is_v6 = (*at)[0] == 6;
    size_t octets = network_octets(is_v6);
    if ((size_t)(end - *at) < 2 + octets || (*at)[1] > octets * 8) {
        return STATUS_CORRUPT;
    }
    memset(out_network, 0, sizeof *out_network);
    out_network->is_v6 = is_v6;
    out_network->bits = (*at)[1];
    memcpy(out_network->octets, *at + 2, octets);
    *at += 2 + octets;
    return STATUS_OK;
}

static enum status take_credential(const uint8_t **at, const uint8_t *end,
                                   struct account_credential *out_credential)
{
    if (end - *at < 2) {
        return STATUS_CORRUPT;
    }
    size_t length = bytes_get16(*at);
    *at += 2;
    return take_text(at, end, length, AUTH_CREDENTIAL_MAX, out_credential->text);
}

/* The members of the header that both formats have, and how many networks follow. */
static enum status take_header(const uint8_t *data, size_t length, struct account *out_account)
{
    static const uint8_t zeros[ACCOUNT_RECORD_HEADER - HEADER_OLDER - 1];
    bool is_older = data[0] == FORMAT_OLDER;
    uint8_t flags = is_older ? FLAG_DISABLED : FLAG_DISABLED | FLAG_TLS_REQUIRED;
    if (length < (is_older ? HEADER_OLDER : ACCOUNT_RECORD_HEADER) || (data[1] & ~flags) != 0 ||
        data[2] > AUTH_CREDENTIALS_MAX) {
        return STATUS_CORRUPT;
    }
    out_account->network_count = 0;
    if (!is_older) {
        if (data[40] > AUTH_NETWORKS_MAX || memcmp(data + 41, zeros, sizeof zeros) != 0) {
            return STATUS_CORRUPT;
        }
        out_account->network_count = data[40];
    }
    out_account->disabled = (data[1] & FLAG_DISABLED) != 0;
    out_account->tls_required = (data[1] & FLAG_TLS_REQUIRED) != 0;
    out_account->credential_count = data[2];
    out_account->drop.volume = bytes_get32(data + 4);
    out_account->drop.id = bytes_get64(data + 8);
    out_account->created_ms = (int64_t)bytes_get64(data + 16);
    out_account->changed_ms = (int64_t)bytes_get64(data + 24);
    out_account->generation = bytes_get64(data + 32);
    return STATUS_OK;
}

enum status account_record_decode(const uint8_t *data, size_t length, struct account *out_account)
{
    if (length < HEADER_OLDER || data[0] < FORMAT_OLDER) {
        return STATUS_CORRUPT;
    }
    if (data[0] > FORMAT) {
        return STATUS_UNSUPPORTED;
    }
    enum status status = take_header(data, length, out_account);
    if (status != STATUS_OK) {
        return status;
    }
    const uint8_t *end = data + length;
    const uint8_t *at = data + (data[0] == FORMAT_OLDER ? HEADER_OLDER : ACCOUNT_RECORD_HEADER);
    status = take_text(&at, end, data[3], AUTH_REASON_MAX, out_account->reason);
    for (uint32_t i = 0; i < out_account->network_count && status == STATUS_OK; i++) {
        status = take_network(&at, end, &out_account->networks[i]);
    }
    for (uint32_t i = 0; i < out_account->credential_count && status == STATUS_OK; i++) {
        status = take_credential(&at, end, &out_account->credentials[i]);
    }
    if (status == STATUS_OK && at != end) {
        status = STATUS_CORRUPT;
    }
    if (status != STATUS_OK) {
        account_wipe(out_account);
    }
    return status;
}
