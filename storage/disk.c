/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DISK_PATH_MAX  1024 /* octets with NUL, of the names built here */
#define DISK_WRITE_MAX 1024 /* entries of one pwritev: what the kernel's UIO_MAXIOV allows */

/* --- the operating system's own --- */

static int real_open(struct disk *disk, const char *path, int flags, mode_t mode)
{
    return open(path, flags | O_CLOEXEC, mode);
}

static ssize_t real_pwritev(struct disk *disk, int fd, const struct iovec *iov, int count,
                            off_t offset)
{
    return pwritev(fd, iov, count, offset);
}

static ssize_t real_pread(struct disk *disk, int fd, void *data, size_t length, off_t offset)
{
    return pread(fd, data, length, offset);
}

static int real_fdatasync(struct disk *disk, int fd)
{
    return fdatasync(fd);
}

static int real_fsync(struct disk *disk, int fd)
{
    return fsync(fd);
}

static int real_rename(struct disk *disk, const char *from, const char *to)
{
    return rename(from, to);
}

static int real_unlink(struct disk *disk, const char *path)
{
    return unlink(path);
}

static int real_mkdir(struct disk *disk, const char *path, mode_t mode)
{
    return mkdir(path, mode);
}

static int real_close(struct disk *disk, int fd)
{
    return close(fd);
}

static int real_free_octets(struct disk *disk, const char *path, uint64_t *out_octets)
{
    struct statvfs found;
    if (statvfs(path, &found) != 0) {
        return -1;
    }
    /* Root may use what a file system keeps back from everybody else. */
    uint64_t blocks = geteuid() == 0 ? found.f_bfree : found.f_bavail;
    *out_octets = blocks * found.f_frsize;
    return 0;
}

static const struct disk_ops real_ops = {.open = real_open,
                                         .pwritev = real_pwritev,
                                         .pread = real_pread,
                                         .fdatasync = real_fdatasync,
                                         .fsync = real_fsync,
                                         .rename = real_rename,
                                         .unlink = real_unlink,
                                         .mkdir = real_mkdir,
                                         .close = real_close,
                                         .free_octets = real_free_octets};
static struct disk real_disk = {.ops = &real_ops};

struct disk *disk_real(void)
{
    return &real_disk;
}

/* --- what the store calls --- */

static enum status failed(struct error *out_error, const char *path, const char *what)
{
    int errno_value = errno;
    return error_set(out_error, status_from_errno(errno_value), errno_value, path, "%s", what);
}

/* The same where only a descriptor is known: its name is looked up, for the one who reads the log.
 */
static enum status failed_fd(struct error *out_error, int fd, uint64_t offset, const char *what)
{
    int errno_value = errno;
    char link[64], path[256];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd); /* fits */
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    enum status status =
        error_set(out_error, status_from_errno(errno_value), errno_value, path, "%s", what);
    if (out_error != NULL) {
        out_error->offset = offset;
    }
    return status;
}

enum status disk_open(struct disk *disk, const char *path, int flags, mode_t mode, int *out_fd,
                      struct error *out_error)
{
    int fd;
    do {
        fd = disk->ops->open(disk, path, flags, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return failed(out_error, path, "cannot open the file");
    }
    *out_fd = fd;
    return STATUS_OK;
}

/* Takes `octets` that have been written off the front of the list; returns how many entries are
 * done. */
static unsigned advance(struct iovec *iov, unsigned count, size_t octets)
{
    unsigned done = 0;
    while (done < count && octets >= iov[done].iov_len) {
        octets -= iov[done].iov_len;
        done++;
    }
    if (octets > 0) {
        iov[done].iov_base = (uint8_t *)iov[done].iov_base + octets;
        iov[done].iov_len -= octets;
    }
    return done;
}

enum status disk_write(struct disk *disk, int fd, struct iovec *iov, unsigned count,
                       uint64_t offset, struct error *out_error)
{
    unsigned done =
        advance(iov, count, 0); /* past empty entries: a write of nothing says nothing */
    while (done < count) {
        unsigned batch = count - done < DISK_WRITE_MAX ? count - done : DISK_WRITE_MAX;
        ssize_t written = disk->ops->pwritev(disk, fd, iov + done, (int)batch, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written == 0) {
            errno = EIO; /* a regular file never does that; without this it would be for ever */
        }
        if (written <= 0) {
            return failed_fd(out_error, fd, offset, "cannot write");
        }
        done += advance(iov + done, count - done, (size_t)written);
        offset += (uint64_t)written;
    }
    return STATUS_OK;
}

enum status disk_read(struct disk *disk, int fd, void *data, size_t length, uint64_t offset,
                      size_t *out_length, struct error *out_error)
{
    size_t total = 0;
    while (total < length) {
        ssize_t got = disk->ops->pread(disk, fd, (uint8_t *)data + total, length - total,
                                       (off_t)(offset + total));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return failed_fd(out_error, fd, offset + total, "cannot read");
        }
        if (got == 0) {
            break;
        }
        total += (size_t)got;
    }
    *out_length = total;
    return STATUS_OK;
}

enum status disk_read_now(int fd, void *data, size_t length, uint64_t offset)
{
    size_t total = 0;
    while (total < length) {
        struct iovec iov = {(uint8_t *)data + total, length - total};
        ssize_t got = preadv2(fd, &iov, 1, (off_t)(offset + total), RWF_NOWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            /* A file system that cannot say whether a page is cached is always cold to us. */
            return errno == EAGAIN || errno == EOPNOTSUPP ? STATUS_AGAIN : status_from_errno(errno);
        }
        if (got == 0) {
            return STATUS_CORRUPT;
        }
        total += (size_t)got;
    }
    return STATUS_OK;
}

enum status disk_sync_data(struct disk *disk, int fd, const char *path, struct error *out_error)
{
    /* Not repeated for EINTR either: a sync that was not heard to succeed has failed. */
    if (disk->ops->fdatasync(disk, fd) != 0) {
        return failed(out_error, path, "cannot sync the file: what it holds is unknown");
    }
    return STATUS_OK;
}

enum status disk_sync_directory(struct disk *disk, const char *path, struct error *out_error)
{
    int fd;
    enum status status = disk_open(disk, path, O_RDONLY | O_DIRECTORY, 0, &fd, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    if (disk->ops->fsync(disk, fd) != 0) {
        status = failed(out_error, path, "cannot sync the directory");
    }
    disk_close(disk, &fd);
    return status;
}

enum status disk_rename(struct disk *disk, const char *from, const char *to,
                        struct error *out_error)
{
    return disk->ops->rename(disk, from, to) == 0 ? STATUS_OK
                                                  : failed(out_error, from, "cannot rename");
}

enum status disk_unlink(struct disk *disk, const char *path, struct error *out_error)
{
    return disk->ops->unlink(disk, path) == 0 ? STATUS_OK
                                              : failed(out_error, path, "cannot remove the file");
}

enum status disk_mkdir(struct disk *disk, const char *path, mode_t mode, struct error *out_error)
{
    if (disk->ops->mkdir(disk, path, mode) == 0) {
        return STATUS_OK;
    }
    struct stat found;
    if (errno == EEXIST && stat(path, &found) == 0 && S_ISDIR(found.st_mode)) {
        return STATUS_OK;
    }
    return failed(out_error, path,
                  "cannot make the directory: the one above must be there, writable by this user");
}

static enum status write_new_file(struct disk *disk, const char *path, const void *data,
                                  size_t length, struct error *out_error)
{
    int fd = -1;
    enum status status = disk_open(disk, path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, out_error);
    if (status == STATUS_OK) {
        /* The cast drops a const that pwritev does not need dropped: iovec has no const twin. */
        struct iovec iov = {(void *)(uintptr_t)data, length};
        status = disk_write(disk, fd, &iov, 1, 0, out_error);
    }
    if (status == STATUS_OK && disk->ops->fsync(disk, fd) != 0) {
        status = failed(out_error, path, "cannot sync the file");
    }
    disk_close(disk, &fd);
    return status;
}

enum status disk_replace_file(struct disk *disk, const char *directory, const char *name,
                              const void *data, size_t length, struct error *out_error)
{
    char path[DISK_PATH_MAX], temporary[DISK_PATH_MAX];
    int path_length = snprintf(path, sizeof path, "%s/%s", directory, name);
    int temporary_length = snprintf(temporary, sizeof temporary, "%s/%s.tmp", directory, name);
    if (path_length < 0 || temporary_length < 0 || (size_t)temporary_length >= sizeof temporary) {
        return error_set(out_error, STATUS_TOO_BIG, 0, directory, "the path is too long");
    }
    enum status status = write_new_file(disk, temporary, data, length, out_error);
    if (status == STATUS_OK) {
        status = disk_rename(disk, temporary, path, out_error);
    }
    if (status != STATUS_OK) {
        (void)disk->ops->unlink(disk, temporary); /* tidiness; the next attempt truncates it */
        return status;
    }
    return disk_sync_directory(disk, directory, out_error);
}

enum status disk_free_octets(struct disk *disk, const char *path, uint64_t *out_octets,
                             struct error *out_error)
{
    uint64_t octets;
    if (disk->ops->free_octets(disk, path, &octets) != 0) {
        return failed(out_error, path, "cannot ask for the free space");
    }
    *out_octets = octets;
    return STATUS_OK;
}

void disk_drop_cache(int fd)
{
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* a hint; nothing follows from failing */
}

enum status disk_file_size(int fd, uint64_t *out_size, struct error *out_error)
{
    struct stat found;
    if (fstat(fd, &found) != 0) {
        return failed_fd(out_error, fd, 0, "cannot ask for the size");
    }
    *out_size = (uint64_t)found.st_size;
    return STATUS_OK;
}

enum status disk_allocate(int fd, uint64_t size, struct error *out_error)
{
    int code;
    do {
        code = fallocate(fd, 0, 0, (off_t)size);
    } while (code != 0 && errno == EINTR);
    return code == 0 ? STATUS_OK : failed_fd(out_error, fd, 0, "cannot allocate");
}

enum status disk_resize(int fd, uint64_t size, struct error *out_error)
{
    return ftruncate(fd, (off_t)size) == 0 ? STATUS_OK
                                           : failed_fd(out_error, fd, size, "cannot resize");
}

void disk_close(struct disk *disk, int *fd)
{
    if (*fd >= 0) {
        (void)disk->ops->close(disk, *fd); /* what matters has been synced, and the fd is gone */
        *fd = -1;
    }
}
