/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk was told to do, step by step, and what lies on it after any choice of these steps: a
 * small model of a file system that promises no more than POSIX does. Data and names are durable
 * when they have been synced, data by their file, names by their directory; before that each step
 * may have reached the disk or not, in any order, and a write in any of its 512-octet sectors.
 */
#ifndef TESTS_PROOF_IMAGE_H
#define TESTS_PROOF_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_NAME_MAX 48  /* octets of one name with NUL */
#define IMAGE_SECTOR   512 /* octets that reach a disk together or not at all */

enum step_kind {
    STEP_LINK,      /* a new file or directory gets its name */
    STEP_UNLINK,    /* a name goes */
    STEP_RENAME,    /* a name moves, replacing what was there */
    STEP_WRITE,     /* octets of a file */
    STEP_TRUNCATE,  /* a file becomes empty */
    STEP_SYNC,      /* all earlier steps of a file, or of a directory, are durable */
    STEP_SYNC_STEP, /* one earlier write is: a descriptor opened with O_DSYNC */
};

/* Files and directories are nodes, numbered as they come; node 0 is the root. */
struct step {
    enum step_kind kind;
    uint32_t node;  /* the file written or synced; the directory of the name */
    uint32_t to;    /* rename: the other directory */
    uint32_t child; /* link, rename: what the name stands for */
    bool directory; /* link: the child is one */
    char name[IMAGE_NAME_MAX], to_name[IMAGE_NAME_MAX];
    uint64_t offset;
    size_t length;
    uint8_t *data;
    size_t other; /* the step that STEP_SYNC_STEP makes durable */
};

struct step_log {
    struct step *steps;
    size_t count, capacity;
    size_t borrowed;     /* the first so many steps' data belong to another log */
    uint32_t node_count; /* numbers given out */
};

void step_log_deinit(struct step_log *log);
/* The first `count` steps; `from` must outlive the copy. */
void step_log_borrow(struct step_log *log, const struct step_log *from, size_t count);
struct step *step_log_add(struct step_log *log, enum step_kind kind, uint32_t node);

struct image_entry {
    char name[IMAGE_NAME_MAX];
    uint32_t child;
};

struct image_node {
    bool directory;
    uint8_t *data; /* of a file */
    size_t size, capacity;
    struct image_entry *entries; /* of a directory */
    uint32_t entry_count, entry_capacity;
};

struct image {
    struct image_node *nodes;
    uint32_t node_count;
};

/* An empty root directory. */
void image_init(struct image *image);
void image_deinit(struct image *image);
void image_copy(struct image *image, const struct image *from);

/* What happened to a write that was not synced. */
enum tear_kind {
    TEAR_NONE,    /* all of it reached the disk */
    TEAR_ABSENT,  /* nothing did; also for steps that are no writes */
    TEAR_CUT,     /* its first `value` sectors did */
    TEAR_SECTORS, /* some of them, chosen by `value` */
    TEAR_ZEROS,   /* only the file's new length did */
    TEAR_GARBAGE, /* the length did, and what lay in the blocks before shows */
};
struct tear {
    enum tear_kind kind;
    uint64_t value;
};
/* Applies a step; `tear` (NULL: none) is for writes. */
void image_apply(struct image *image, const struct step *step, const struct tear *tear);

/* Sectors that a write touches. */
uint64_t image_sectors(const struct step *step);

/* The node with that path below the root, or UINT32_MAX. */
uint32_t image_find(const struct image *image, const char *path);
/* The node of a name in a directory, or UINT32_MAX. */
uint32_t image_lookup(const struct image *image, uint32_t directory, const char *name);

/* Makes directory `path`, which must not exist, and everything in it. */
void image_write_out(const struct image *image, const char *path);

#endif
