/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records what this process does to the files below one directory, as steps of an image: by
 * standing in for the C library's functions, so that LMDB's writes are in it like those that go
 * through storage/disk, in the order in which they happened. One recording at a time; any thread.
 *
 * It can also break promises on purpose, to see that somebody notices: then a sync answers as
 * usual, but the recording has none, or has it too late.
 */
#ifndef TESTS_PROOF_RECORDER_H
#define TESTS_PROOF_RECORDER_H

#include "tests/proof/image.h"

enum recorder_lie {
    RECORDER_HONEST,
    RECORDER_LOG_UNSYNCED,       /* fdatasync of a segment does nothing */
    RECORDER_LOG_LATE,           /* ... or takes effect at the next write: replies come before it */
    RECORDER_BLOB_UNSYNCED,      /* fdatasync of a blob does nothing */
    RECORDER_DIRECTORY_UNSYNCED, /* fsync of a directory does nothing */
};

/* Records into `log`, whose steps so far say what `root` already holds. */
void recorder_start(const char *root, struct step_log *log, enum recorder_lie lie);
void recorder_stop(void);

/* Steps so far: a position for the ledger. */
uint64_t recorder_position(void);

/* While it is held no thread gets its next step done, so that work piles up. */
void recorder_hold(void);
void recorder_let_go(void);

/* Reads take their time, but for the first thread's: so that something may happen between what
 * compaction has looked up and what it writes. */
void recorder_slow_reads(bool on);

/* Reads of exactly `length` octets do not come back, but for the first thread's, until it is called
 * with 0; and how many wait. */
void recorder_hold_reads(size_t length);
unsigned recorder_held_reads(void);

#endif
