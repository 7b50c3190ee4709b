/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be wrong with a store at rest, in words: kinds of damage, each with a sentence and the
 * cure. Found by `restante check` and by the scrubber. Pure; any thread.
 */
#ifndef STORAGE_DAMAGE_H
#define STORAGE_DAMAGE_H

#include "storage/storage_limits.h"

#include <stdint.h>

enum damage_kind {
    DAMAGE_LOG,             /* a place of the log does not match its checksums */
    DAMAGE_BODY,            /* a record whose body does not match its checksum */
    DAMAGE_SEGMENT_MISSING, /* a segment that is not retired is not there */
    DAMAGE_BLOB,            /* a blob's file does not match its footer or checksum */
    DAMAGE_BLOB_MISSING,    /* a blob that a message needs is not there */
    DAMAGE_MESSAGE,         /* a message in a maildrop whose octets are damaged or gone */
    DAMAGE_RECORD,          /* a message that the index still knows and the log does not */
    DAMAGE_INDEX_FILE,      /* pages or rows of the index are not what was written */
    DAMAGE_INDEX_BEHIND,    /* the log has what the index has not */
    DAMAGE_INDEX_AHEAD,     /* the index has what the log has not */
    DAMAGE_INDEX_ROW,       /* index and log say different things */
    DAMAGE_COUNTER,         /* a count in the index is wrong */
    DAMAGE_KINDS
};

/* One finding. What is not known or does not apply is 0 or empty. */
struct damage {
    enum damage_kind kind;
    uint64_t maildrop, uid;
    uint32_t segment;
    uint64_t offset, octets; /* in the segment, or (octets) of what is concerned */
    uint64_t blob;
    char name[STORAGE_DROP_NAME_MAX + 1]; /* the maildrop's */
    char uidl[STORAGE_UIDL_LENGTH_MAX + 1];
    char detail[160]; /* in words, more than the kind says */
};

/* A word for JSON and logs, such as "segment_missing". */
const char *damage_name(enum damage_kind kind);
/* What is the matter, and what to do about it; each a sentence without a full stop. */
const char *damage_text(enum damage_kind kind);
const char *damage_cure(enum damage_kind kind);

#endif
