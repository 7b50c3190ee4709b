/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/scan.h"

#include "storage/segment.h"
#include "storage/volume.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC_LENGTH 4 /* octets that frames and record headers begin with */

enum status scan_open(struct volume *volume, uint32_t segment, struct scan *out_scan,
                      struct error *out_error)
{
    char path[SEGMENT_PATH_MAX];
    struct scan scan = {.volume = volume, .segment = segment, .fd = -1};
    segment_path(volume->segments_path, segment, path);
    enum status status = disk_open(volume->disk, path, O_RDONLY, 0, &scan.fd, out_error);
    if (status == STATUS_OK) {
        status = disk_file_size(scan.fd, &scan.size, out_error);
    }
    if (status != STATUS_OK) {
        disk_close(volume->disk, &scan.fd);
        return status;
    }
    scan.end = scan.size;
    *out_scan = scan;
    return STATUS_OK;
}

void scan_close(struct scan *scan)
{
    if (scan->volume != NULL) {
        disk_close(scan->volume->disk, &scan->fd);
    }
    free(scan->window);
    *scan = (struct scan){.fd = -1};
}

enum status scan_settle(struct scan *scan, struct error *out_error)
{
    char path[SEGMENT_PATH_MAX];
    segment_path(scan->volume->segments_path, scan->segment, path);
    enum status status = disk_sync_data(scan->volume->disk, scan->fd, path, out_error);
    if (status == STATUS_OK) {
        disk_drop_cache(scan->fd);
        scan->window_length = 0;
    }
    return status;
}

static enum status fill_window(struct scan *scan, uint64_t offset, size_t length,
                               struct error *out_error)
{
    size_t wanted = length > SCAN_WINDOW ? length : SCAN_WINDOW;
    if (wanted > scan->end - offset) {
        wanted = (size_t)(scan->end - offset);
    }
    if (wanted > scan->window_capacity) {
        uint8_t *window = realloc(scan->window, wanted);
        if (window == NULL) {
            return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "reading the log");
        }
        scan->window = window;
        scan->window_capacity = wanted;
    }
    scan->window_offset = offset;
    scan->window_length = 0;
    return disk_read(scan->volume->disk, scan->fd, scan->window, wanted, offset,
                     &scan->window_length, out_error);
}

enum status scan_octets(struct scan *scan, uint64_t offset, size_t length, const uint8_t **out_data,
                        struct error *out_error)
{
    if (offset > scan->end || length > scan->end - offset) {
        return STATUS_CORRUPT;
    }
    bool there = offset >= scan->window_offset &&
                 offset + length <= scan->window_offset + scan->window_length;
    if (!there) {
        enum status status = fill_window(scan, offset, length, out_error);
        if (status != STATUS_OK) {
            return status;
        }
        if (scan->window_length < length) {
            return STATUS_CORRUPT;
        }
    }
    *out_data = scan->window + (offset - scan->window_offset);
    return STATUS_OK;
}

/* --- records --- */

enum status scan_record(struct scan *scan, uint64_t offset, struct record_header *out_header,
                        const uint8_t **out_meta, struct error *out_error)
{
    const struct checksum_key *key = &scan->volume->identity.key;
    const uint8_t *data;
    enum status status = scan_octets(scan, offset, RECORD_HEADER_SIZE, &data, out_error);
    if (status == STATUS_OK) {
        status =
            record_decode_header(key, data, RECORD_HEADER_SIZE, scan->segment, offset, out_header);
    }
    if (status != STATUS_OK) {
        return status;
    }
    /* The header is true, but the segment may end inside the record. */
    if (record_length(out_header) > scan->end - offset) {
        return STATUS_CORRUPT;
    }
    status =
        scan_octets(scan, offset + RECORD_HEADER_SIZE, out_header->meta_length, &data, out_error);
    if (status == STATUS_OK) {
        status = record_check_meta(key, out_header, data);
    }
    *out_meta = data;
    return status;
}

enum status scan_body(struct scan *scan, const struct record_header *header,
                      struct error *out_error)
{
    struct checksum_stream checksum;
    uint64_t offset = header->offset + RECORD_HEADER_SIZE + header->meta_length;
    uint64_t left = header->body_length;
    if (left == 0) {
        return STATUS_OK;
    }
    checksum_stream_init(&checksum);
    while (left > 0) {
        const uint8_t *data;
        size_t piece = left > SCAN_WINDOW ? SCAN_WINDOW : (size_t)left;
        enum status status = scan_octets(scan, offset, piece, &data, out_error);
        if (status != STATUS_OK) {
            return status;
        }
        checksum_stream_add(&checksum, data, piece);
        offset += piece;
        left -= piece;
    }
    return checksum_stream_result(&checksum) == header->body_checksum ? STATUS_OK : STATUS_CORRUPT;
}

enum status scan_manifest(struct scan *scan, struct scan_manifest *out_manifest,
                          struct error *out_error)
{
    struct record_header header;
    struct scan_manifest found = {0};
    const uint8_t *meta;
    enum status status = scan_record(scan, 0, &header, &meta, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    if (header.kind != RECORD_MANIFEST) {
        return STATUS_CORRUPT;
    }
    status = record_decode_manifest(meta, header.meta_length, &found.manifest);
    if (status != STATUS_OK) {
        return status;
    }
    found.unretired = malloc((found.manifest.unretired_count + 1) * sizeof(uint32_t));
    if (found.unretired == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "reading a manifest");
    }
    for (uint32_t i = 0; i < found.manifest.unretired_count; i++) {
        found.unretired[i] = record_manifest_unretired(meta, i);
    }
    found.sequence = header.sequence;
    found.length = record_length(&header);
    *out_manifest = found;
    return STATUS_OK;
}

/* --- groups --- */

enum status scan_frame(struct scan *scan, uint64_t offset, struct record_frame *out_frame,
                       struct error *out_error)
{
    const uint8_t *data;
    if (offset == scan->end) {
        return STATUS_EOF;
    }
    enum status status = scan_octets(scan, offset, RECORD_FRAME_SIZE, &data, out_error);
    if (status == STATUS_OK) {
        status = record_decode_frame(&scan->volume->identity.key, data, RECORD_FRAME_SIZE,
                                     scan->segment, offset, out_frame);
    }
    return status;
}

/* The records of a group, one after the other, exactly as many and as long as the frame says. */
static enum status read_group(struct scan *scan, const struct record_frame *frame, bool bodies,
                              struct event_batch *batch, struct error *out_error)
{
    uint64_t offset = frame->offset + RECORD_FRAME_SIZE;
    uint64_t end = offset + frame->length;
    for (uint32_t i = 0; i < frame->record_count; i++) {
        struct record_header header;
        const uint8_t *meta;
        enum status status = scan_record(scan, offset, &header, &meta, out_error);
        if (status != STATUS_OK) {
            return status;
        }
        if (header.sequence != frame->first_sequence + i || record_length(&header) > end - offset) {
            return STATUS_CORRUPT;
        }
        status = event_batch_add(batch, &header, meta);
        if (status == STATUS_OK && bodies) {
            status = scan_body(scan, &header, out_error);
        }
        if (status != STATUS_OK) {
            return status;
        }
        offset += record_length(&header);
    }
    return offset == end ? STATUS_OK : STATUS_CORRUPT;
}

enum status scan_group(struct scan *scan, const struct record_frame *frame, bool bodies,
                       struct event_batch *batch, struct delta_group *out_group,
                       struct error *out_error)
{
    size_t before = batch->count;
    uint64_t room = scan->end - frame->offset;
    if (frame->record_count == 0 || room < RECORD_FRAME_SIZE ||
        frame->length > room - RECORD_FRAME_SIZE) {
        return STATUS_CORRUPT;
    }
    enum status status = read_group(scan, frame, bodies, batch, out_error);
    if (status != STATUS_OK) {
        batch->count = before;
        return status;
    }
    *out_group = (struct delta_group){
        .segment = scan->segment,
        .offset = frame->offset,
        .end = frame->offset + RECORD_FRAME_SIZE + frame->length,
        .first_sequence = frame->first_sequence,
        .last_sequence = frame->first_sequence + frame->record_count - 1,
    };
    return STATUS_OK;
}

/* --- damage --- */

/* The next place at or behind `*offset`, below `to`, where `magic` stands. STATUS_NOT_FOUND. */
static enum status find_magic(struct scan *scan, const char magic[MAGIC_LENGTH], uint64_t to,
                              uint64_t *offset, struct error *out_error)
{
    while (*offset < to && to - *offset >= MAGIC_LENGTH) {
        const uint8_t *data;
        size_t piece = to - *offset > SCAN_WINDOW ? SCAN_WINDOW : (size_t)(to - *offset);
        enum status status = scan_octets(scan, *offset, piece, &data, out_error);
        if (status != STATUS_OK) {
            return status;
        }
        const uint8_t *found = memmem(data, piece, magic, MAGIC_LENGTH);
        if (found != NULL) {
            *offset += (uint64_t)(found - data);
            return STATUS_OK;
        }
        *offset += piece - (MAGIC_LENGTH - 1); /* it may stand across the edge */
    }
    return STATUS_NOT_FOUND;
}

/* STATUS_CORRUPT inside damage is what was to be expected; anything else ends the search. */
static bool goes_on(enum status status)
{
    return status == STATUS_OK || status == STATUS_CORRUPT || status == STATUS_EOF;
}

enum status scan_search(struct scan *scan, uint64_t offset, struct record_frame *out_frame,
                        struct error *out_error)
{
    for (;; offset++) {
        enum status status = find_magic(scan, "RGRP", scan->end, &offset, out_error);
        if (status != STATUS_OK) {
            return status;
        }
        status = scan_frame(scan, offset, out_frame, out_error);
        if (status == STATUS_OK || !goes_on(status)) {
            return status;
        }
    }
}

enum status scan_next_record(struct scan *scan, uint64_t *offset, uint64_t to,
                             struct record_header *out_header, const uint8_t **out_meta,
                             struct error *out_error)
{
    for (;;) {
        enum status status = find_magic(scan, "RREC", to, offset, out_error);
        if (status != STATUS_OK) {
            return status;
        }
        status = scan_record(scan, *offset, out_header, out_meta, out_error);
        if (!goes_on(status)) {
            return status;
        }
        /* A record that is whole is stepped over, so that its body is not searched. */
        *offset += status == STATUS_OK ? record_length(out_header) : MAGIC_LENGTH;
        if (status == STATUS_OK) {
            return status;
        }
    }
}

enum status scan_salvage(struct scan *scan, uint64_t from, uint64_t to, uint64_t above,
                         struct event_batch *batch, uint64_t *out_records,
                         uint64_t *out_last_sequence, struct error *out_error)
{
    uint64_t offset = from;
    *out_records = *out_last_sequence = 0;
    for (;;) {
        struct record_header header;
        const uint8_t *meta;
        enum status status = scan_next_record(scan, &offset, to, &header, &meta, out_error);
        if (status == STATUS_OK && header.kind != RECORD_MANIFEST && header.sequence > above) {
            status = event_batch_add(batch, &header, meta);
            if (status == STATUS_OK) {
                (*out_records)++;
                *out_last_sequence = header.sequence;
            }
        }
        if (!goes_on(status)) {
            return status == STATUS_NOT_FOUND ? STATUS_OK : status;
        }
    }
}
