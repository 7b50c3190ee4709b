/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's view of a maildrop, frozen when it is opened: an array of small entries and counted
 * references to the segments they stand in. Nothing in it ever changes; mail that arrives is not in
 * it; segments stay readable until it is destroyed, whoever retires them. Blobs are opened when
 * they are asked for: none is unlinked while a view that may have it in its list is pinned.
 *
 * Reading one needs no lock across delta and index, only an order: copy the maildrop's events from
 * the delta, THEN begin the index's snapshot, THEN skip the events at or before the position stored
 * in it.
 */
#ifndef STORAGE_MAILDROP_H
#define STORAGE_MAILDROP_H

#include "io/mem.h"
#include "io/status.h"
#include "storage/delta.h"
#include "storage/segment.h"
#include "storage/store.h"

#include <stdint.h>

struct volume;
struct index_reader;
struct pins;

#define MAILDROP_FILE_BLOB UINT32_MAX /* in maildrop_entry.file */

/* One message: 48 octets. */
struct maildrop_entry {
    uint64_t uid;
    uint64_t place;        /* offset in its segment, or the blob's id */
    uint64_t checksum;     /* XXH3 of the wire form */
    uint32_t received_low; /* milliseconds, the lower 32 bits of 48 */
    uint16_t received_high;
    uint16_t flags;         /* enum wire_flag */
    uint32_t wire_length;   /* octets */
    uint32_t octets;        /* as LIST shows it */
    uint32_t header_length; /* wire octets */
    uint32_t file;          /* position in the maildrop's files, or MAILDROP_FILE_BLOB */
};

/* Immutable once read. Whoever reads it owns it. */
struct maildrop {
    uint64_t id;
    uint64_t octets;
    uint32_t epoch; /* of the volume, for unique-ids */
    uint32_t count, file_count;
    struct pins *pins; /* the volume's, where `pin` is counted; NULL: not pinned */
    unsigned pin;
    struct segment **files; /* NULL inside: the file is missing, its messages are damaged */
    /* Imported unique-ids, NULL when there is none: where each entry's begins in `uidl_octets`; it
     * ends where the next one's begins; an empty one is made from epoch and uid. count + 1 of them.
     */
    uint32_t *uidl_offsets;
    char *uidl_octets;
    struct maildrop_entry entries[];
};

/* What reading takes; one for each thread that reads. */
struct maildrop_reader {
    struct volume *volume;
    struct index_reader *index;
    struct mem_arena scratch;
};
MUST_CHECK enum status maildrop_reader_init(struct maildrop_reader *reader, struct volume *volume);
void maildrop_reader_deinit(struct maildrop_reader *reader);

/*
 * Reads maildrop `id`. STATUS_NOT_FOUND: there is none, or it has been removed. STATUS_LIMIT: the
 * index has more than `messages_max` in it; read it on a thread that may take its time.
 * STATUS_CORRUPT, STATUS_NO_MEMORY, STATUS_IO.
 */
MUST_CHECK enum status maildrop_read(struct maildrop_reader *reader, uint64_t id,
                                     uint64_t messages_max, struct maildrop **out_maildrop);
/* NULL inside is allowed. */
void maildrop_destroy(struct maildrop **maildrop);

/* The two steps of maildrop_read, in this order, for tests that put something in between. */
struct maildrop_events {
    struct delta_event *events; /* in the reader's scratch arena */
    size_t count;
};
MUST_CHECK enum status maildrop_copy(struct maildrop_reader *reader, uint64_t id,
                                     struct maildrop_events *out_events);
/* STATUS_AGAIN: a segment vanished between index and file: copy and merge again. With `last_try`
 * its messages are in the view as damaged ones instead. */
MUST_CHECK enum status maildrop_merge(struct maildrop_reader *reader, uint64_t id,
                                      const struct maildrop_events *events, uint64_t messages_max,
                                      bool last_try, struct maildrop **out_maildrop);

/* --- looking into it: any thread --- */

/* What store_view_message and store_view_uidl say; `index` from 0, asserted to be in range. */
void maildrop_message(const struct maildrop *maildrop, uint32_t index,
                      struct store_message *out_message);
size_t maildrop_uidl(const struct maildrop *maildrop, uint32_t index,
                     char out[STORAGE_UIDL_LENGTH_MAX]);

#define MAILDROP_UIDL_LENGTH 25 /* octets of one that is made: 8 hex digits, ".", 16 hex digits */
void maildrop_make_uidl(uint32_t epoch, uint64_t uid, char out[MAILDROP_UIDL_LENGTH]);
/* Whether `uidl` is one that this epoch makes, and for which uid. */
bool maildrop_parse_uidl(const char *uidl, size_t length, uint32_t epoch, uint64_t *out_uid);

#endif
