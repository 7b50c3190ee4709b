/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one record, and nothing else: encode and decode field by field, fixed widths,
 * little-endian. The layout, the validity rule and what each crash leaves behind are written in
 * storage/README.md. Pure; any thread.
 *
 * In a segment: [manifest record] then groups; a group is [frame][record][record]...; a record is
 * [header][meta][body]. The header's keyed checksum covers the header, which holds the meta's keyed
 * checksum and the body's plain one: a header can be trusted (lengths!) before anything else is
 * read.
 */
#ifndef STORAGE_RECORD_H
#define STORAGE_RECORD_H

#include "io/status.h"
#include "storage/checksum.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_kind {
    RECORD_MANIFEST = 1,     /* first in a segment: unretired segments, the predecessor's end */
    RECORD_DELIVERED = 2,    /* a message, its recipients, its body (or the blob that holds it) */
    RECORD_EXPUNGED = 3,     /* uids gone from one maildrop */
    RECORD_DROP_CREATED = 4, /* maildrop id and name */
    RECORD_DROP_CHANGED = 5, /* the name changed */
    RECORD_DROP_REMOVED = 6, /* the maildrop and all in it */
    RECORD_MOVED = 7,   /* compaction: a delivered record copied, with its first sequence as uid */
    RECORD_RETIRED = 8, /* compaction: a segment that is no longer needed */
    RECORD_RETRIEVED = 9, /* reserved: messages a client has fetched */
};

enum record_flag {
    RECORD_OPTIONAL = 1u << 0, /* a reader that does not know the kind may skip it */
    RECORD_IN_BLOB = 1u << 1,  /* the body is a blob file, not in the segment */
};

enum record_encoding { RECORD_ENCODING_WIRE = 0 }; /* later: compressed, encrypted */

#define RECORD_HEADER_SIZE      72 /* octets */
#define RECORD_FRAME_SIZE       56 /* octets */
#define RECORD_BLOB_FOOTER_SIZE 80 /* octets, behind the wire form in a blob file */

struct record_bytes {
    const uint8_t *data;
    uint32_t length;
};

struct record_header {
    uint8_t kind;           /* enum record_kind */
    uint16_t flags;         /* enum record_flag */
    uint32_t segment;       /* this segment's id */
    uint64_t offset;        /* of this header in the segment, octets */
    uint64_t sequence;      /* unique in the volume for ever; a delivered message's uid */
    uint32_t meta_length;   /* octets */
    uint64_t body_length;   /* octets in the segment; 0 with RECORD_IN_BLOB */
    uint64_t body_checksum; /* XXH3 of the body, in the segment or in the blob */
    uint64_t meta_checksum; /* keyed; record_encode_header computes it */
};

/* A group's frame: written in front of the records that share one sync. */
struct record_frame {
    uint32_t segment;
    uint64_t offset;         /* of this frame */
    uint64_t number;         /* groups of this volume, counting up */
    uint64_t first_sequence; /* of the first record */
    uint32_t record_count;
    uint64_t length; /* octets of all records, without the frame */
};

struct record_recipient {
    uint64_t maildrop;
    struct record_bytes address; /* as given in RCPT */
    struct record_bytes orcpt;   /* as given, may be empty (RFC 3461) */
};

struct record_delivered {
    uint64_t uid;        /* 0 in a delivered record (its sequence is the uid); set in a moved one */
    uint64_t blob;       /* id of the blob file with RECORD_IN_BLOB, else 0 */
    int64_t received_ms; /* UNIX time, milliseconds */
    uint64_t octets;     /* as LIST shows it */
    uint64_t wire_length;          /* octets of the wire form */
    uint64_t header_length;        /* wire octets up to and with the separator */
    uint8_t encoding;              /* enum record_encoding */
    uint16_t message_flags;        /* enum wire_flag */
    struct record_bytes sender;    /* envelope sender, empty for <> */
    struct record_bytes uidl;      /* imported unique-id, else empty */
    uint32_t recipient_count;      /* at least 1; each maildrop once */
    struct record_bytes extension; /* tagged fields for later versions, empty now */
};

struct record_manifest {
    uint32_t predecessor;        /* segment id, 0 for the first */
    uint64_t predecessor_length; /* its valid octets */
    uint64_t predecessor_last_sequence;
    uint64_t first_group;     /* number of the first group here */
    uint32_t unretired_count; /* segments that a rebuild must read, this one not among them */
};

/* Encoded size of a meta block, for the caller to allocate. */
size_t record_delivered_size(const struct record_delivered *delivered,
                             const struct record_recipient *recipients);

/* Each writes the meta block and returns its octets. */
size_t record_encode_delivered(const struct record_delivered *delivered,
                               const struct record_recipient *recipients, uint8_t *out);
#define RECORD_EXPUNGED_SIZE(count) (12u + 8u * (size_t)(count))
/* One maildrop's uids; returns the octets written, RECORD_EXPUNGED_SIZE. */
size_t record_encode_expunged(uint64_t maildrop, const uint64_t *uids, uint32_t count,
                              uint8_t *out);
#define RECORD_DROP_SIZE(name_length) (10u + (size_t)(name_length))
/* A maildrop created, changed or (no name) removed; returns RECORD_DROP_SIZE. */
size_t record_encode_drop(uint64_t maildrop, struct record_bytes name, uint8_t *out);
#define RECORD_MANIFEST_SIZE(count) (32u + 4u * (size_t)(count))
/* `manifest` and its list of segment ids; returns RECORD_MANIFEST_SIZE. */
size_t record_encode_manifest(const struct record_manifest *manifest, const uint32_t *unretired,
                              uint8_t *out);
#define RECORD_RETIRED_SIZE 4u
/* Returns RECORD_RETIRED_SIZE. */
size_t record_encode_retired(uint32_t segment, uint8_t *out);

/* Writes the header with the checksum of `meta` in it and its own; `header->meta_checksum` is
 * ignored. */
void record_encode_header(const struct checksum_key *key, const struct record_header *header,
                          const uint8_t *meta, uint8_t out[RECORD_HEADER_SIZE]);
void record_encode_frame(const struct checksum_key *key, const struct record_frame *frame,
                         uint8_t out[RECORD_FRAME_SIZE]);

/* The last octets of a blob file: what the wire form in front of it is. */
struct record_blob_footer {
    uint64_t blob;          /* id, the file's name */
    uint64_t wire_length;   /* octets in front of the footer */
    uint64_t octets;        /* as LIST shows it */
    uint64_t header_length; /* wire octets up to and with the separator */
    uint64_t body_checksum; /* XXH3 of the wire form */
    int64_t created_ms;     /* UNIX time, milliseconds */
    uint16_t message_flags; /* enum wire_flag */
    uint8_t encoding;       /* enum record_encoding */
};
void record_encode_blob_footer(const struct checksum_key *key,
                               const struct record_blob_footer *footer,
                               uint8_t out[RECORD_BLOB_FOOTER_SIZE]);

/*
 * Decoders take any octets and check everything: magic, version, checksum, that segment and offset
 * are the expected ones, that lengths fit. STATUS_CORRUPT: not a record, damaged, or cut.
 * STATUS_UNSUPPORTED: valid, but of a newer version, or an unknown kind without RECORD_OPTIONAL.
 */
/* `length` octets at `data`, of which the first RECORD_HEADER_SIZE are looked at. */
MUST_CHECK enum status record_decode_header(const struct checksum_key *key, const uint8_t *data,
                                            size_t length, uint32_t segment, uint64_t offset,
                                            struct record_header *out_header);
/* Whether `meta`, `header->meta_length` octets, is what the header was written with: STATUS_OK or
 * STATUS_CORRUPT. Before any of the decoders of a meta block. */
MUST_CHECK enum status record_check_meta(const struct checksum_key *key,
                                         const struct record_header *header, const uint8_t *meta);
/* The whole record's octets in the segment. */
uint64_t record_length(const struct record_header *header);
MUST_CHECK enum status record_decode_blob_footer(const struct checksum_key *key,
                                                 const uint8_t *data, size_t length, uint64_t blob,
                                                 struct record_blob_footer *out_footer);
MUST_CHECK enum status record_decode_frame(const struct checksum_key *key, const uint8_t *data,
                                           size_t length, uint32_t segment, uint64_t offset,
                                           struct record_frame *out_frame);
/*
 * Whether a frame or a record's header has been written just here, even if one bit of it has turned
 * since; and of which sequence. Nothing else may be taken from one that is not whole.
 */
bool record_was_here(const struct checksum_key *key, const uint8_t *data, size_t length,
                     uint32_t segment, uint64_t offset, uint64_t *out_sequence);
/* Bytes in the results point into `meta`. */
MUST_CHECK enum status record_decode_delivered(const uint8_t *meta, size_t length,
                                               struct record_delivered *out_delivered);
/* The recipient at `*cursor` (start with 0), then moves on; STATUS_EOF after the last. `meta` has
 * been through record_decode_delivered. */
MUST_CHECK enum status record_next_recipient(const uint8_t *meta, size_t length, size_t *cursor,
                                             struct record_recipient *out_recipient);
MUST_CHECK enum status record_decode_expunged(const uint8_t *meta, size_t length,
                                              uint64_t *out_maildrop, uint32_t *out_count);
uint64_t record_expunged_uid(const uint8_t *meta, uint32_t index); /* of a decoded one */
MUST_CHECK enum status record_decode_drop(const uint8_t *meta, size_t length,
                                          uint64_t *out_maildrop, struct record_bytes *out_name);
MUST_CHECK enum status record_decode_manifest(const uint8_t *meta, size_t length,
                                              struct record_manifest *out_manifest);
uint32_t record_manifest_unretired(const uint8_t *meta, uint32_t index); /* of a decoded one */
MUST_CHECK enum status record_decode_retired(const uint8_t *meta, size_t length,
                                             uint32_t *out_segment);

#endif
