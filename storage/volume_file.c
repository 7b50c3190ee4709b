/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/volume_file.h"

#include "storage/bytes.h"

#include <assert.h>
#include <string.h>

#define MAGIC      "RESTANTV"
#define KEY_OFFSET 32
#define CHECKED    (VOLUME_FILE_SIZE - 8) /* octets under the checksum, which follows them */

static_assert(KEY_OFFSET + CHECKSUM_KEY_SIZE + 8 == CHECKED, "layout of VOLUME");

void volume_file_encode(const struct volume_identity *identity, uint8_t out[VOLUME_FILE_SIZE])
{
    memset(out, 0, VOLUME_FILE_SIZE);
    memcpy(out, MAGIC, 8);
    bytes_put32(out + 8, VOLUME_FILE_FORMAT_VERSION);
    bytes_put32(out + 12, identity->epoch);
    memcpy(out + 16, identity->id, sizeof identity->id);
    memcpy(out + KEY_OFFSET, identity->key.octets, CHECKSUM_KEY_SIZE);
    bytes_put64(out + CHECKED, checksum_keyed(&identity->key, out, CHECKED));
}

enum status volume_file_decode(const uint8_t *data, size_t length,
                               struct volume_identity *out_identity)
{
    struct volume_identity identity;
    if (length < 12 || memcmp(data, MAGIC, 8) != 0) {
        return STATUS_CORRUPT;
    }
    /* Before the checksum: a newer format may be of another length altogether. */
    if (bytes_get32(data + 8) > VOLUME_FILE_FORMAT_VERSION) {
        return STATUS_UNSUPPORTED;
    }
    if (length != VOLUME_FILE_SIZE) {
        return STATUS_CORRUPT;
    }
    identity.epoch = bytes_get32(data + 12);
    memcpy(identity.id, data + 16, sizeof identity.id);
    memcpy(identity.key.octets, data + KEY_OFFSET, CHECKSUM_KEY_SIZE);
    if (bytes_get64(data + CHECKED) != checksum_keyed(&identity.key, data, CHECKED)) {
        return STATUS_CORRUPT;
    }
    *out_identity = identity;
    return STATUS_OK;
}
