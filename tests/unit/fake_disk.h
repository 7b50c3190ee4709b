/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk for tests: the real one underneath, with every step recorded, the Nth step of a kind
 * failing, writes cut short, and steps held up until the test lets them go. Any thread; a mutex
 * inside.
 */
#ifndef TESTS_UNIT_FAKE_DISK_H
#define TESTS_UNIT_FAKE_DISK_H

#include "storage/disk.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fake_disk_kind {
    FAKE_DISK_OPEN,
    FAKE_DISK_WRITE,
    FAKE_DISK_READ,
    FAKE_DISK_SYNC_DATA, /* fdatasync */
    FAKE_DISK_SYNC,      /* fsync: directories, and files made by disk_replace_file */
    FAKE_DISK_RENAME,
    FAKE_DISK_UNLINK,
    FAKE_DISK_MKDIR,
    FAKE_DISK_CLOSE,
    FAKE_DISK_KINDS,
};

/* One step, as it was asked for. */
struct fake_disk_step {
    enum fake_disk_kind kind;
    int errno_value; /* 0: it succeeded */
    int flags;       /* of an open */
    char path[512];  /* of the descriptor, too */
    char to[512];    /* of a rename */
    uint64_t offset, length;
    uint8_t *data; /* what was written, when `keep_data` is set */
};

struct fake_disk_rule {
    uint32_t
        nth; /* the step of this kind that it strikes, counted from when it was made; 0: none */
    int errno_value; /* 0: only cut short */
    size_t octets;   /* of a write: how many are written before it fails */
    bool for_ever;   /* and all that follow */
};

#define FAKE_DISK_FDS 4096

struct fake_disk {
    struct disk disk; /* give this to the store */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct fake_disk_rule rules[FAKE_DISK_KINDS];
    bool held[FAKE_DISK_KINDS];
    uint32_t waiting[FAKE_DISK_KINDS]; /* threads that a hold is holding up */
    uint32_t counts[FAKE_DISK_KINDS];
    struct fake_disk_step *steps;
    size_t step_count, step_capacity;
    bool keep_data;
    uint64_t free_octets; /* what the file system says; UINT64_MAX: the truth */
    char *paths[FAKE_DISK_FDS];
};

void fake_disk_init(struct fake_disk *fake);
void fake_disk_deinit(struct fake_disk *fake);

/* Lets the nth (1: the next) step of a kind fail, once or from then on. */
void fake_disk_fail(struct fake_disk *fake, enum fake_disk_kind kind, uint32_t nth, int errno_value,
                    bool for_ever);
/* Lets the nth write write `octets`; errno_value 0 is a short write, else what follows fails with
 * it. */
void fake_disk_cut(struct fake_disk *fake, uint32_t nth, size_t octets, int errno_value);
/* No failures any more. */
void fake_disk_heal(struct fake_disk *fake);

/* Steps of a kind wait from now on; fake_disk_await returns when a thread is waiting there. */
void fake_disk_hold(struct fake_disk *fake, enum fake_disk_kind kind);
void fake_disk_await(struct fake_disk *fake, enum fake_disk_kind kind);
void fake_disk_let_go(struct fake_disk *fake, enum fake_disk_kind kind);

void fake_disk_set_free(struct fake_disk *fake, uint64_t octets);
uint32_t fake_disk_count(struct fake_disk *fake, enum fake_disk_kind kind);
/* The first step of a kind at or behind `from` whose path ends with `suffix`, or -1. */
long fake_disk_find(struct fake_disk *fake, size_t from, enum fake_disk_kind kind,
                    const char *suffix);

/* A new directory under TMPDIR, and its end with everything in it. */
char *fake_disk_temp_dir(void);
void fake_disk_remove_dir(char *path); /* frees `path` */

#endif
