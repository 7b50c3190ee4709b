/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The octets of the VOLUME file: who a volume is. The layout is in storage/README.md. Pure; any
 * thread.
 */
#ifndef STORAGE_VOLUME_FILE_H
#define STORAGE_VOLUME_FILE_H

#include "io/status.h"
#include "storage/checksum.h"

#include <stddef.h>
#include <stdint.h>

#define VOLUME_FILE_FORMAT_VERSION 1
#define VOLUME_FILE_SIZE           240 /* octets */

/* What VOLUME says. Immutable after opening. */
struct volume_identity {
    uint8_t id[16];
    uint32_t epoch; /* first half of every unique-id */
    struct checksum_key key;
};

/* The octets of the VOLUME file, checksum included. Pure. */
void volume_file_encode(const struct volume_identity *identity, uint8_t out[VOLUME_FILE_SIZE]);

/* Any octets. STATUS_CORRUPT; STATUS_UNSUPPORTED: sound, but of a newer format. */
MUST_CHECK enum status volume_file_decode(const uint8_t *data, size_t length,
                                          struct volume_identity *out_identity);

#endif
