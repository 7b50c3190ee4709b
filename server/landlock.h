/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files the process may touch from here on (landlock(7)): the folders it is given and nothing
 * else, whatever their permissions. By system call, because the C library has no functions for it.
 * For the calling thread and those it makes later: main thread, before there are others.
 */
#ifndef SERVER_LANDLOCK_H
#define SERVER_LANDLOCK_H

#include "io/status.h"

struct landlock {
    int fd;  /* the ruleset; -1: none */
    int abi; /* what the kernel knows of it */
};

enum landlock_access {
    LANDLOCK_READ,   /* read files, list folders */
    LANDLOCK_WRITE,  /* everything but executing and device files */
    LANDLOCK_SOCKET, /* make sockets, remove files */
    LANDLOCK_REMOVE, /* remove empty folders */
    LANDLOCK_ACCESSES
};

/* STATUS_UNSUPPORTED: this kernel has no Landlock, or it is switched off. */
MUST_CHECK enum status landlock_begin(struct landlock *landlock, struct error *out_error);

/* Allows it for a file, or for a folder and all below it. One that is not there needs no rule:
 * STATUS_OK. */
MUST_CHECK enum status landlock_allow(struct landlock *landlock, const char *path,
                                      enum landlock_access access, struct error *out_error);

/* From here on, for good. The thread must have promised to gain no privileges
 * (privileges_drop). */
MUST_CHECK enum status landlock_enforce(struct landlock *landlock, struct error *out_error);

/* Frees what landlock_begin made; harmless without. */
void landlock_end(struct landlock *landlock);

#endif
