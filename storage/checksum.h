/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums. Bodies have a plain XXH3-64. What the log itself is made of (record headers, frames)
 * has one keyed with the volume's secret, so that a mail body that looks like a record is not one.
 * Pure; any thread.
 */
#ifndef STORAGE_CHECKSUM_H
#define STORAGE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#define CHECKSUM_KEY_SIZE 192 /* octets; XXH3's own secret size (at least 136 are required) */

struct checksum_key {
    uint8_t octets[CHECKSUM_KEY_SIZE];
};

/* Plain, for message bodies and blobs. */
uint64_t checksum_body(const void *data, size_t length);
/* Keyed with the volume's secret, for what the log itself is made of. */
uint64_t checksum_keyed(const struct checksum_key *key, const void *data, size_t length);

/* The body checksum of octets that come in pieces; equal to checksum_body of the whole. */
struct checksum_stream {
    _Alignas(64) uint8_t state[640];
};
void checksum_stream_init(struct checksum_stream *stream);
void checksum_stream_add(struct checksum_stream *stream, const void *data, size_t length);
uint64_t checksum_stream_result(const struct checksum_stream *stream);

#endif
