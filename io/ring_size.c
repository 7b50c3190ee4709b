/* SPDX-License-Identifier: Apache-2.0 */
#include "io/ring_size.h"

#include "io/io_limits.h"

/* Octets of the kernel's structures, fixed by its interface. */
enum { SQ_ENTRY = 64 + 4, CQ_ENTRY = 16, BUFFER_ENTRY = 16 };

struct ring_size ring_size_wanted(const struct loop_config *config)
{
    struct ring_size size = {.sq_entries = LOOP_SQ_ENTRIES, .cq_entries = LOOP_CQ_ENTRIES_MIN};
    uint32_t connections =
        config->connections_max != 0 ? config->connections_max : LOOP_CONNECTIONS_DEFAULT;
    while (size.cq_entries < connections && size.cq_entries < LOOP_CQ_ENTRIES_MAX) {
        size.cq_entries *= 2;
    }
    size.stream_buffers =
        config->stream_buffers != 0 ? config->stream_buffers : LOOP_STREAM_BUFFERS_DEFAULT;
    size.bulk_buffers =
        config->bulk_buffers != 0 ? config->bulk_buffers : LOOP_BULK_BUFFERS_DEFAULT;
    return size;
}

struct ring_size ring_size_smallest(void)
{
    return (struct ring_size){.sq_entries = LOOP_SQ_ENTRIES_MIN,
                              .cq_entries = LOOP_SQ_ENTRIES_MIN * 2,
                              .stream_buffers = 1,
                              .bulk_buffers = 1};
}

uint64_t ring_size_locked(const struct ring_size *size)
{
    return (uint64_t)size->sq_entries * SQ_ENTRY + (uint64_t)size->cq_entries * CQ_ENTRY +
           ((uint64_t)size->stream_buffers + size->bulk_buffers) * BUFFER_ENTRY;
}

bool ring_size_halve(struct ring_size *size)
{
    if (size->sq_entries / 2 < LOOP_SQ_ENTRIES_MIN) {
        return false;
    }
    size->sq_entries /= 2;
    size->cq_entries /= 2;
    size->stream_buffers = size->stream_buffers > 1 ? size->stream_buffers / 2 : 1;
    size->bulk_buffers = size->bulk_buffers > 1 ? size->bulk_buffers / 2 : 1;
    return true;
}
