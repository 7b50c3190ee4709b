/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file operation of the store goes through a struct disk: the real one here; tests bring one
 * that records each step and one that fails the Nth. Descriptors are real ones, so that sendfile
 * and the loop can use them. Blocking; never called on a worker, but for disk_read_now.
 *
 * All functions return STATUS_OK or a mapped errno and fill `out_error` (NULL is allowed) with
 * path, errno and what was tried. EINTR is retried inside; short transfers are continued inside.
 */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct disk;

struct disk_ops {
    int (*open)(struct disk *disk, const char *path, int flags, mode_t mode);
    ssize_t (*pwritev)(struct disk *disk, int fd, const struct iovec *iov, int count, off_t offset);
    ssize_t (*pread)(struct disk *disk, int fd, void *data, size_t length, off_t offset);
    int (*fdatasync)(struct disk *disk, int fd);
    int (*fsync)(struct disk *disk, int fd); /* files and directories */
    int (*rename)(struct disk *disk, const char *from, const char *to);
    int (*unlink)(struct disk *disk, const char *path);
    int (*mkdir)(struct disk *disk, const char *path, mode_t mode);
    int (*close)(struct disk *disk, int fd);
    int (*free_octets)(struct disk *disk, const char *path, uint64_t *out_octets);
};

struct disk {
    const struct disk_ops *ops;
};

/* The operating system's own. Immutable, any thread. */
struct disk *disk_real(void);

/* open(2), close-on-exec. The caller owns `*out_fd` and ends it with disk_close. */
MUST_CHECK enum status disk_open(struct disk *disk, const char *path, int flags, mode_t mode,
                                 int *out_fd, struct error *out_error);
/* Writes all of `iov` (whose entries may be changed) at `offset`, in several calls if need be. */
MUST_CHECK enum status disk_write(struct disk *disk, int fd, struct iovec *iov, unsigned count,
                                  uint64_t offset, struct error *out_error);
/* Reads up to `length` octets; fewer only at the end of the file. */
MUST_CHECK enum status disk_read(struct disk *disk, int fd, void *data, size_t length,
                                 uint64_t offset, size_t *out_length, struct error *out_error);
/* Reads all `length` octets from the page cache or not at all: STATUS_AGAIN when any is cold,
 * STATUS_CORRUPT when the file ends before. Never blocks: for workers. */
MUST_CHECK enum status disk_read_now(int fd, void *data, size_t length, uint64_t offset);

/* fdatasync(2). A failure must not be followed by another try: the kernel has dropped the pages. */
MUST_CHECK enum status disk_sync_data(struct disk *disk, int fd, const char *path,
                                      struct error *out_error);
/* Makes the names in a directory durable: after creating, renaming or removing a file there. */
MUST_CHECK enum status disk_sync_directory(struct disk *disk, const char *path,
                                           struct error *out_error);
/* Replaces `to`, at once and whole; durable only after a sync of the directory. */
MUST_CHECK enum status disk_rename(struct disk *disk, const char *from, const char *to,
                                   struct error *out_error);
/* Removes the name. STATUS_NOT_FOUND when there is none. */
MUST_CHECK enum status disk_unlink(struct disk *disk, const char *path, struct error *out_error);
/* STATUS_OK also when the directory is there already. */
MUST_CHECK enum status disk_mkdir(struct disk *disk, const char *path, mode_t mode,
                                  struct error *out_error);
/* Writes a whole small file so that after a crash it holds all of `data` or is as it was before:
 * temporary file, sync, rename, directory sync. */
MUST_CHECK enum status disk_replace_file(struct disk *disk, const char *directory, const char *name,
                                         const void *data, size_t length, struct error *out_error);
/* Octets of the file system that `path` is on which this process may still use. */
MUST_CHECK enum status disk_free_octets(struct disk *disk, const char *path, uint64_t *out_octets,
                                        struct error *out_error);
/* Asks the kernel to forget cached pages of the file, so that the next read comes from the disk. */
void disk_drop_cache(int fd);
MUST_CHECK enum status disk_file_size(int fd, uint64_t *out_size, struct error *out_error);
/* Has the file occupy `size` octets of the disk, without writing them; STATUS_UNSUPPORTED where the
 * file system cannot. */
MUST_CHECK enum status disk_allocate(int fd, uint64_t size, struct error *out_error);
/* Cuts or lengthens it. Never of a file that anybody is sent from. */
MUST_CHECK enum status disk_resize(int fd, uint64_t size, struct error *out_error);
/* Closes `*fd` unless it is -1, and makes it that. */
void disk_close(struct disk *disk, int *fd);

#endif
