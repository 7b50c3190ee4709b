/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed-width little-endian numbers in octets, whatever the machine and the alignment: what every
 * format on disk is made of. Pure; any thread. The compiler turns each into one load or store.
 */
#ifndef STORAGE_BYTES_H
#define STORAGE_BYTES_H

#include <stdint.h>

static inline void bytes_put16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static inline void bytes_put32(uint8_t *out, uint32_t value)
{
    bytes_put16(out, (uint16_t)value);
    bytes_put16(out + 2, (uint16_t)(value >> 16));
}

static inline void bytes_put64(uint8_t *out, uint64_t value)
{
    bytes_put32(out, (uint32_t)value);
    bytes_put32(out + 4, (uint32_t)(value >> 32));
}

static inline uint16_t bytes_get16(const uint8_t *data)
{
    return (uint16_t)(data[0] | data[1] << 8);
}

static inline uint32_t bytes_get32(const uint8_t *data)
{
    return bytes_get16(data) | (uint32_t)bytes_get16(data + 2) << 16;
}

static inline uint64_t bytes_get64(const uint8_t *data)
{
    return bytes_get32(data) | (uint64_t)bytes_get32(data + 4) << 32;
}

#endif
