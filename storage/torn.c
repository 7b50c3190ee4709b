/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/torn.h"

#include "storage/record.h"
#include "storage/scan.h"
#include "storage/volume.h"

/* The write that is looked at. */
struct look {
    struct scan *scan;
    uint64_t from, to;
    struct error *out_error;
};

/* Whether all that the write put into one sector is zero, as it is where a sector never came. */
static enum status is_empty(const struct look *look, uint64_t sector, bool *out_empty)
{
    const uint8_t *data;
    uint64_t from = sector > look->from ? sector : look->from;
    uint64_t to = sector + TORN_SECTOR < look->to ? sector + TORN_SECTOR : look->to;
    size_t length = (size_t)(to - from), zeros = 0;
    enum status status = scan_octets(look->scan, from, length, &data, look->out_error);
    if (status == STATUS_OK) {
        while (zeros < length && data[zeros] == 0) {
            zeros++;
        }
        *out_empty = zeros == length;
    }
    return status;
}

/* The sectors of a part in which no record is whole. */
static enum status look_at_gap(const struct look *look, uint64_t from, uint64_t to, bool *torn)
{
    enum status status = STATUS_OK;
    uint64_t sector = from - from % TORN_SECTOR;
    while (status == STATUS_OK && !*torn && from < to && sector < to) {
        status = is_empty(look, sector, torn);
        sector += TORN_SECTOR;
    }
    return status;
}

/* Whether a frame or a header stands there that is newer than `above`, if not every bit of it. */
static enum status look_for_ours(const struct look *look, uint64_t above, bool *out_ours)
{
    enum status status = STATUS_OK;
    uint64_t sequence = 0, end = look->to;
    *out_ours = false;
    for (uint64_t at = look->from; status == STATUS_OK && !*out_ours && at < end; at++) {
        const uint8_t *data;
        size_t length = end - at < RECORD_HEADER_SIZE ? (size_t)(end - at) : RECORD_HEADER_SIZE;
        status = scan_octets(look->scan, at, length, &data, look->out_error);
        *out_ours = status == STATUS_OK &&
                    record_was_here(&look->scan->volume->identity.key, data, length,
                                    look->scan->segment, at, &sequence) &&
                    sequence > above;
    }
    return status;
}

enum status torn_look(struct scan *scan, uint64_t from, const struct record_frame *frame,
                      uint64_t above, bool *out_torn, struct error *out_error)
{
    struct look look = {.scan = scan, .from = from, .to = scan->end, .out_error = out_error};
    uint64_t gap = from, offset = from;
    bool torn = look.to - from < RECORD_FRAME_SIZE, ours = frame != NULL;
    enum status status = STATUS_OK;
    if (frame != NULL) {
        look.to = frame->offset + RECORD_FRAME_SIZE + frame->length;
        torn = look.to > scan->end;
    }
    while (status == STATUS_OK && !torn) {
        struct record_header header;
        const uint8_t *meta;
        status = scan_next_record(scan, &offset, look.to, &header, &meta, out_error);
        if (status == STATUS_OK) {
            status = scan_body(scan, &header, out_error);
        }
        if (status == STATUS_OK) {
            status = look_at_gap(&look, gap, header.offset, &torn);
            gap = offset;
        } else if (status == STATUS_CORRUPT) {
            status = STATUS_OK; /* its header proves something, its octets are part of the gap */
        }
    }
    if (status == STATUS_NOT_FOUND) {
        status = look_at_gap(&look, gap, look.to, &torn);
    }
    if (status == STATUS_OK && !torn && !ours) {
        status = look_for_ours(&look, above, &ours);
    }
    if (status == STATUS_OK) {
        *out_torn = torn || !ours;
    }
    return status;
}
