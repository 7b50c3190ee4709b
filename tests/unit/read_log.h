/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a segment as storage/README.md says it is to be read, apart from the code that recovers:
 * what a test checks the writer's work with.
 */
#ifndef TESTS_UNIT_READ_LOG_H
#define TESTS_UNIT_READ_LOG_H

#include "storage/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct read_log_record {
    struct record_header header;
    const uint8_t *meta, *body;
    uint64_t group;
};

struct read_log {
    uint8_t *data;
    size_t size;  /* of the file */
    uint64_t end; /* behind the last valid group */
    bool has_manifest;
    struct record_manifest manifest;
    const uint8_t *manifest_meta;
    uint64_t manifest_sequence;
    struct read_log_record *records; /* of all valid groups */
    size_t count, capacity;
    unsigned groups;
    uint64_t last_group, last_sequence;
};

/* False when the file cannot be read; an invalid group ends the log, as at a torn tail. */
bool read_log_segment(const struct checksum_key *key, const char *segments_path, uint32_t id,
                      struct read_log *out_log);
void read_log_free(struct read_log *log);

#endif
