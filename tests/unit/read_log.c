/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/read_log.h"

#include "storage/segment.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_file(const char *path, struct read_log *log)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    log->size = (size_t)size;
    log->data = malloc(log->size + 1);
    bool is_read = log->data != NULL && pread(fd, log->data, log->size, 0) == size;
    (void)close(fd);
    return is_read;
}

/* One record at `offset`, whole and right, or false. */
static bool read_record(const struct checksum_key *key, const struct read_log *log,
                        uint32_t segment, uint64_t offset, struct read_log_record *out_record)
{
    size_t left = log->size - (size_t)offset;
    const uint8_t *data = log->data + offset;
    struct record_header *header = &out_record->header;
    if (record_decode_header(key, data, left, segment, offset, header) != STATUS_OK ||
        record_length(header) > left) {
        return false;
    }
    out_record->meta = data + RECORD_HEADER_SIZE;
    out_record->body = out_record->meta + header->meta_length;
    return record_check_meta(key, header, out_record->meta) == STATUS_OK &&
           ((header->flags & RECORD_IN_BLOB) != 0 ||
            checksum_body(out_record->body, (size_t)header->body_length) == header->body_checksum);
}

static void keep(struct read_log *log, const struct read_log_record *record)
{
    if (log->count == log->capacity) {
        log->capacity = log->capacity > 0 ? 2 * log->capacity : 256;
        log->records = realloc(log->records, log->capacity * sizeof *log->records);
        if (log->records == NULL) {
            abort();
        }
    }
    log->records[log->count++] = *record;
}

/* All or nothing. */
static bool read_group(const struct checksum_key *key, struct read_log *log, uint32_t segment)
{
    struct record_frame frame;
    size_t before = log->count;
    uint64_t offset = log->end;
    if (record_decode_frame(key, log->data + offset, log->size - (size_t)offset, segment, offset,
                            &frame) != STATUS_OK ||
        frame.number <= log->last_group || frame.first_sequence <= log->last_sequence) {
        return false;
    }
    offset += RECORD_FRAME_SIZE;
    uint64_t end = offset + frame.length;
    for (uint32_t i = 0; i < frame.record_count; i++) {
        struct read_log_record record = {.group = frame.number};
        if (offset > log->size || !read_record(key, log, segment, offset, &record) ||
            record.header.sequence != frame.first_sequence + i) {
            log->count = before;
            return false;
        }
        keep(log, &record);
        offset += record_length(&record.header);
    }
    if (offset != end) {
        log->count = before;
        return false;
    }
    log->end = end;
    log->groups++;
    log->last_group = frame.number;
    log->last_sequence = frame.first_sequence + frame.record_count - 1;
    return true;
}

bool read_log_segment(const struct checksum_key *key, const char *segments_path, uint32_t id,
                      struct read_log *out_log)
{
    char path[SEGMENT_PATH_MAX];
    struct read_log_record record;
    memset(out_log, 0, sizeof *out_log);
    segment_path(segments_path, id, path);
    if (!read_file(path, out_log)) {
        return false;
    }
    if (!read_record(key, out_log, id, 0, &record) || record.header.kind != RECORD_MANIFEST ||
        record_decode_manifest(record.meta, record.header.meta_length, &out_log->manifest) !=
            STATUS_OK) {
        return true;
    }
    out_log->has_manifest = true;
    out_log->manifest_meta = record.meta;
    out_log->manifest_sequence = out_log->last_sequence = record.header.sequence;
    out_log->end = record_length(&record.header);
    while (out_log->end < out_log->size && read_group(key, out_log, id)) {
    }
    return true;
}

void read_log_free(struct read_log *log)
{
    free(log->data);
    free(log->records);
    memset(log, 0, sizeof *log);
}
