/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the log back: one segment's manifest and groups, and what can be saved where a group is
 * damaged. It says what is there; what that means is for storage/recover to decide. Blocking; one
 * thread.
 */
#ifndef STORAGE_SCAN_H
#define STORAGE_SCAN_H

#include "io/status.h"
#include "storage/delta.h"
#include "storage/event.h"
#include "storage/record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct volume;

#define SCAN_WINDOW (256 * 1024) /* octets read at once */

/* One segment file being read. */
struct scan {
    struct volume *volume;
    uint32_t segment;
    int fd;
    uint64_t size; /* of the file */
    uint64_t
        end; /* what is behind it is no part of the log; the size, unless the caller lowers it */
    uint8_t *window;
    size_t window_length, window_capacity;
    uint64_t window_offset;
};

/* STATUS_NOT_FOUND: there is no such file. */
MUST_CHECK enum status scan_open(struct volume *volume, uint32_t segment, struct scan *out_scan,
                                 struct error *out_error);
void scan_close(struct scan *scan); /* harmless on one that is all zero with fd -1 */

/* fdatasync, then forgets what the page cache holds: what is read from now on is on the disk. */
MUST_CHECK enum status scan_settle(struct scan *scan, struct error *out_error);

struct scan_manifest {
    struct record_manifest manifest;
    uint32_t *unretired; /* the caller's, by free() */
    uint64_t sequence;
    uint64_t length; /* octets: where the first group begins */
};
/* STATUS_CORRUPT: there is none, or it is damaged. STATUS_IO, STATUS_NO_MEMORY, STATUS_UNSUPPORTED.
 */
MUST_CHECK enum status scan_manifest(struct scan *scan, struct scan_manifest *out_manifest,
                                     struct error *out_error);

/* Octets of the segment, valid until the next call. STATUS_CORRUPT: it ends before. */
MUST_CHECK enum status scan_octets(struct scan *scan, uint64_t offset, size_t length,
                                   const uint8_t **out_data, struct error *out_error);

/* The frame at `offset`. STATUS_EOF: the segment ends exactly there. STATUS_CORRUPT: no frame. */
MUST_CHECK enum status scan_frame(struct scan *scan, uint64_t offset,
                                  struct record_frame *out_frame, struct error *out_error);

/*
 * The group whose frame was found at `frame->offset`: checks all of it (bodies too, when `bodies`)
 * and appends its events. STATUS_CORRUPT: the group is not valid; nothing has been appended.
 */
MUST_CHECK enum status scan_group(struct scan *scan, const struct record_frame *frame, bool bodies,
                                  struct event_batch *batch, struct delta_group *out_group,
                                  struct error *out_error);

/* The record at `offset`, header and meta checked; the meta is valid until the next call.
 * STATUS_CORRUPT: there is none that is whole; its body is not looked at. */
MUST_CHECK enum status scan_record(struct scan *scan, uint64_t offset,
                                   struct record_header *out_header, const uint8_t **out_meta,
                                   struct error *out_error);

/* The first valid frame at or behind `offset`, whatever stands before it. STATUS_NOT_FOUND. */
MUST_CHECK enum status scan_search(struct scan *scan, uint64_t offset,
                                   struct record_frame *out_frame, struct error *out_error);

/*
 * The next whole record at or behind `*offset` that begins below `to`; `*offset` is then behind it.
 * STATUS_NOT_FOUND: there is none. `out_meta` is valid until the next call.
 */
MUST_CHECK enum status scan_next_record(struct scan *scan, uint64_t *offset, uint64_t to,
                                        struct record_header *out_header, const uint8_t **out_meta,
                                        struct error *out_error);
/* Whether the body of such a record matches its checksum: STATUS_OK or STATUS_CORRUPT. */
MUST_CHECK enum status scan_body(struct scan *scan, const struct record_header *header,
                                 struct error *out_error);

/*
 * Damage between two offsets: appends the events of every record in there that is whole. Those of a
 * sequence up to `above` are leftovers of groups that had failed before: not taken. Returns how
 * many there were and their last sequence (0: none).
 */
MUST_CHECK enum status scan_salvage(struct scan *scan, uint64_t from, uint64_t to, uint64_t above,
                                    struct event_batch *batch, uint64_t *out_records,
                                    uint64_t *out_last_sequence, struct error *out_error);

#endif
