/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One volume: a directory with the log, the blobs and the index, and the threads that serve it.
 *
 *   volume/  VOLUME  lock  segments/00000001.seg ...  blobs/ab/<id>.blob  index/  lost+found/
 *
 * The VOLUME file (storage/volume_file.h) says format version, volume id, epoch and checksum key,
 * and is written once (the epoch is raised when a backup is restored). `lock` is held by flock(2):
 * a second process is refused.
 */
#ifndef STORAGE_VOLUME_H
#define STORAGE_VOLUME_H

#include "io/status.h"
#include "storage/disk.h"
#include "storage/pin.h"
#include "storage/volume_file.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct delta;
struct writer;
struct index;
struct checkpoint;
struct blob_thread;
struct compact;
struct segment_table;
struct ballast;
struct damaged;
struct scrub;

#define VOLUME_PATH_MAX 384 /* octets with NUL */

struct volume_config {
    const char *path;
    struct disk *disk;     /* NULL: the real one */
    uint64_t segment_size; /* octets; 0: default */
    uint64_t blob_min;     /* octets; 0: default */
    uint64_t map_size;     /* octets of the index's address space; 0: default (256 GiB) */
    uint64_t
        index_check_max;    /* octets of it up to which a start checks all; 0: default (256 MiB) */
    uint64_t delta_max;     /* octets of memory; 0: default (256 MiB) */
    uint32_t checkpoint_ms; /* time between checkpoints; 0: default (5,000) */
    uint64_t checkpoint_octets; /* log octets that trigger one; 0: default (64 MiB) */
    uint32_t
        checkpoint_events;  /* events that trigger one; 0: default (STORAGE_CHECKPOINT_EVENTS) */
    uint64_t scrub_rate;    /* octets a second that the scrubber reads; 0: there is none */
    uint64_t space_reserve; /* octets kept free for expunge and checkpoint; 0: two segments */
    uint32_t compact_ms;    /* between two looks for space to give back; 0: default (10,000);
                             * VOLUME_COMPACT_ASKED: only when asked */
    uint64_t compact_rate;  /* octets copied a second; 0: default (32 MiB) */
    uint32_t compact_live;  /* per cent of a segment that must be needed, or it is copied; 0:
                             * default (70); at most STORAGE_COMPACT_LIVE_MAX */
};
#define VOLUME_COMPACT_ASKED UINT32_MAX

/* Owner: the store. Members are immutable after start unless they say otherwise. */
struct volume {
    struct volume_config config; /* with the defaults filled in */
    char path[VOLUME_PATH_MAX], segments_path[VOLUME_PATH_MAX], blobs_path[VOLUME_PATH_MAX],
        index_path[VOLUME_PATH_MAX];
    struct disk *disk;
    struct volume_identity identity;
    int lock_fd;
    struct segment_table *segments;
    struct delta *delta;
    struct index *index;
    struct writer *writer;
    struct checkpoint *checkpoint;
    struct blob_thread *blobs;
    struct damaged *damaged; /* messages known to be */
    struct scrub *scrub;
    struct compact *compact;
    struct pins views;           /* of maildrops: blobs that one may fetch stay */
    struct pins reading;         /* the same, while they are being read: segments stay */
    struct ballast *ballast;     /* room for expunges on a disk that others have filled */
    _Atomic uint64_t next_blob;  /* ids never reused: starts at the writer's first sequence */
    _Atomic uint64_t next_drop;  /* maildrop ids never reused: starts there likewise */
    _Atomic int64_t memory_left; /* octets for bodies held in memory */
    _Atomic bool read_only;      /* set once by writer or checkpointer, never cleared */
    uint64_t quarantined;        /* damaged places that recovery went round */
    bool observed;          /* somebody only looks on: nothing is synced, no cache is dropped */
    _Atomic bool space_low; /* below the soft limit: deliveries are refused, expunges are not */
};

/*
 * Makes the directory and VOLUME when there is none, reads it otherwise, takes the lock. Nothing is
 * started yet. STATUS_BUSY: another process has it; STATUS_UNSUPPORTED: a newer format, or a
 * network or FUSE file system; STATUS_CORRUPT: VOLUME is damaged, or missing where there are
 * segments. `config` is copied.
 */
MUST_CHECK enum status volume_open(const struct volume_config *config, struct volume **out_volume,
                                   struct error *out_error);

/*
 * The same for who only looks: nothing is made or written, the lock is shared with nobody, and
 * nothing can be started. STATUS_NOT_FOUND: there is no volume; the other answers are those of
 * volume_open. End it with volume_release.
 */
MUST_CHECK enum status volume_observe(const struct volume_config *config,
                                      struct volume **out_volume, struct error *out_error);

/* The name of a file system that is no place for a volume, by the type that statfs(2) gives: its
 * locks, syncs or descriptors do not hold what we rely on. NULL for all others. Pure. */
const char *volume_refused_file_system(uint64_t type);

/* Recovers (storage/recover.h), then starts writer, blob thread and checkpointer. */
MUST_CHECK enum status volume_start(struct volume *volume, struct error *out_error);

/* Lets go of what volume_open took. NULL inside is allowed; NULLs. */
void volume_release(struct volume **volume);

/* A clean end: writer drained, a last checkpoint, threads ended, lock released. */
void volume_close(struct volume **volume);

#endif
