/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/recorder.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS_MAX 4096
#define READ_US 100 /* that a slow read takes longer */
#define NO_NODE UINT32_MAX

/* Under `mutex`, which is held for the whole of each recorded call: what the log says happened
 * first did happen first. Recursive, because a stand-in may be called from within another. */
static struct {
    pthread_mutex_t mutex;
    struct step_log *log; /* NULL: nothing is recorded */
    struct image names;   /* what is where now; files stay empty */
    char root[256];
    size_t root_length;
    enum recorder_lie lie;
    uint32_t nodes[FDS_MAX]; /* of descriptors, plus 1; 0: not ours */
    bool dsync[FDS_MAX];
    uint32_t late; /* the node whose sync is still to be recorded, plus 1 */
} recorder = {.mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP};

static _Atomic bool reads_slowly;

/* Reads that are held back. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t length; /* of those; 0: none */
    unsigned waiting;
} held = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void lock(void)
{
    (void)pthread_mutex_lock(&recorder.mutex);
}

static void unlock(void)
{
    (void)pthread_mutex_unlock(&recorder.mutex);
}

/* The C library's own function of a name. */
#define REAL(name, type)                          \
    static __typeof__(type) real;                 \
    if (real == NULL) {                           \
        *(void **)&real = dlsym(RTLD_NEXT, name); \
    }

/* --- names --- */

/* The part of `path` below the root, or NULL. */
static const char *inside(const char *path)
{
    if (recorder.log == NULL || strncmp(path, recorder.root, recorder.root_length) != 0) {
        return NULL;
    }
    const char *rest = path + recorder.root_length;
    return *rest == '/' ? rest + 1 : *rest == '\0' ? rest : NULL;
}

/* The node of a path, which may end in "/..". */
static uint32_t find(const char *inner)
{
    char parent[256];
    size_t length = strlen(inner);
    if (length < 3 || strcmp(inner + length - 3, "/..") != 0) {
        return image_find(&recorder.names, inner);
    }
    assert(length < sizeof parent);
    memcpy(parent, inner, length - 3);
    parent[length - 3] = '\0';
    char *slash = strrchr(parent, '/');
    *(slash != NULL ? slash : parent) = '\0';
    return image_find(&recorder.names, parent);
}

/* Splits a path into the node of its directory and its last name. */
static uint32_t parent_of(const char *path, char out_name[IMAGE_NAME_MAX])
{
    char directory[256];
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;
    const char *name = slash != NULL ? slash + 1 : path;
    assert(length < sizeof directory && strlen(name) < IMAGE_NAME_MAX);
    memcpy(directory, path, length);
    directory[length] = '\0';
    strcpy(out_name, name);
    return image_find(&recorder.names, directory);
}

static struct step *add(enum step_kind kind, uint32_t node)
{
    return step_log_add(recorder.log, kind, node);
}

static uint32_t add_link(const char *path, bool directory)
{
    char name[IMAGE_NAME_MAX];
    uint32_t parent = parent_of(path, name);
    assert(parent != NO_NODE);
    struct step *step = add(STEP_LINK, parent);
    strcpy(step->name, name);
    step->child = recorder.log->node_count++;
    step->directory = directory;
    image_apply(&recorder.names, step, NULL);
    return step->child;
}

static uint32_t node_of_fd(int fd)
{
    return recorder.log != NULL && fd >= 0 && fd < FDS_MAX ? recorder.nodes[fd] - 1 : NO_NODE;
}

/* LMDB's lock file is shared memory, made anew at every start: no part of what a crash leaves. */
static bool is_counted(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL || strcmp(slash, "/lock.mdb") != 0;
}

static bool is_under(uint32_t node, const char *directory)
{
    uint32_t parent = image_find(&recorder.names, directory);
    if (parent == NO_NODE) {
        return false;
    }
    const struct image_node *found = &recorder.names.nodes[parent];
    for (uint32_t i = 0; i < found->entry_count; i++) {
        uint32_t child = found->entries[i].child;
        if (child == node) {
            return true;
        }
        const struct image_node *inner = &recorder.names.nodes[child];
        for (uint32_t j = 0; inner->directory && j < inner->entry_count; j++) {
            if (inner->entries[j].child == node) {
                return true;
            }
        }
    }
    return false;
}

/* --- the stand-ins --- */

int recorder_open(const char *path, int flags, ...) __asm__("open");
int recorder_open(const char *path, int flags, ...)
{
    REAL("open", int (*)(const char *, int, mode_t))
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    lock();
    const char *inner = inside(path);
    uint32_t node = inner != NULL ? find(inner) : NO_NODE;
    int fd = real(path, flags, mode);
    int errno_value = errno;
    if (fd >= 0 && inner != NULL && is_counted(path)) {
        assert(fd < FDS_MAX);
        if (node == NO_NODE) {
            node = add_link(inner, false);
        } else if ((flags & O_TRUNC) != 0) {
            (void)add(STEP_TRUNCATE, node);
        }
        recorder.nodes[fd] = node + 1;
        recorder.dsync[fd] = (flags & O_DSYNC) != 0;
    }
    unlock();
    errno = errno_value;
    return fd;
}

int recorder_close(int fd) __asm__("close");
int recorder_close(int fd)
{
    REAL("close", int (*)(int))
    lock();
    if (fd >= 0 && fd < FDS_MAX) {
        recorder.nodes[fd] = 0;
    }
    int code = real(fd);
    unlock();
    return code;
}

/* What the kernel took of a list, as one step. */
static void record_write(int fd, const struct iovec *iov, int count, uint64_t offset,
                         ssize_t written)
{
    uint32_t node = node_of_fd(fd);
    if (node == NO_NODE || written <= 0) {
        return;
    }
    if (recorder.late == node + 1) {
        recorder.late = 0;
        (void)add(STEP_SYNC, node);
    }
    struct step *step = add(STEP_WRITE, node);
    size_t at = 0, length = (size_t)written;
    step->offset = offset;
    step->length = length;
    step->data = malloc(length);
    assert(step->data != NULL);
    for (int i = 0; i < count && at < length; i++) {
        size_t part = length - at < iov[i].iov_len ? length - at : iov[i].iov_len;
        memcpy(step->data + at, iov[i].iov_base, part);
        at += part;
    }
    if (recorder.dsync[fd]) {
        size_t index = recorder.log->count - 1;
        add(STEP_SYNC_STEP, node)->other = index;
    }
}

ssize_t recorder_pwritev(int fd, const struct iovec *iov, int count,
                         off_t offset) __asm__("pwritev");
ssize_t recorder_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    REAL("pwritev", ssize_t(*)(int, const struct iovec *, int, off_t))
    lock();
    ssize_t written = real(fd, iov, count, offset);
    int errno_value = errno;
    record_write(fd, iov, count, (uint64_t)offset, written);
    unlock();
    errno = errno_value;
    return written;
}

ssize_t recorder_pwrite(int fd, const void *data, size_t length, off_t offset) __asm__("pwrite");
ssize_t recorder_pwrite(int fd, const void *data, size_t length, off_t offset)
{
    REAL("pwrite", ssize_t(*)(int, const void *, size_t, off_t))
    lock();
    ssize_t written = real(fd, data, length, offset);
    int errno_value = errno;
    /* The cast drops a const that nobody writes through: iovec has no const twin. */
    struct iovec iov = {(void *)(uintptr_t)data, length};
    record_write(fd, &iov, 1, (uint64_t)offset, written);
    unlock();
    errno = errno_value;
    return written;
}

ssize_t recorder_writev(int fd, const struct iovec *iov, int count) __asm__("writev");
ssize_t recorder_writev(int fd, const struct iovec *iov, int count)
{
    REAL("writev", ssize_t(*)(int, const struct iovec *, int))
    lock();
    off_t offset = node_of_fd(fd) != NO_NODE ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t written = real(fd, iov, count);
    int errno_value = errno;
    record_write(fd, iov, count, (uint64_t)offset, written);
    unlock();
    errno = errno_value;
    return written;
}

static void record_sync(int fd)
{
    uint32_t node = node_of_fd(fd);
    bool log = recorder.lie == RECORDER_LOG_UNSYNCED || recorder.lie == RECORDER_LOG_LATE;
    if (node == NO_NODE) {
        return;
    }
    bool directory = recorder.names.nodes[node].directory;
    if ((directory && recorder.lie == RECORDER_DIRECTORY_UNSYNCED) ||
        (!directory && recorder.lie == RECORDER_BLOB_UNSYNCED && is_under(node, "volume/blobs"))) {
        return;
    }
    if (!directory && log && is_under(node, "volume/segments")) {
        recorder.late = recorder.lie == RECORDER_LOG_LATE ? node + 1 : 0;
        return;
    }
    (void)add(STEP_SYNC, node);
}

int recorder_fdatasync(int fd) __asm__("fdatasync");
int recorder_fdatasync(int fd)
{
    REAL("fdatasync", int (*)(int))
    lock();
    int code = real(fd);
    if (code == 0) {
        record_sync(fd);
    }
    unlock();
    return code;
}

int recorder_fsync(int fd) __asm__("fsync");
int recorder_fsync(int fd)
{
    REAL("fsync", int (*)(int))
    lock();
    int code = real(fd);
    if (code == 0) {
        record_sync(fd);
    }
    unlock();
    return code;
}

int recorder_rename(const char *from, const char *to) __asm__("rename");
int recorder_rename(const char *from, const char *to)
{
    REAL("rename", int (*)(const char *, const char *))
    lock();
    int code = real(from, to);
    int errno_value = errno;
    const char *inner = inside(from), *inner_to = inside(to);
    if (code == 0 && inner != NULL && inner_to != NULL) {
        char name[IMAGE_NAME_MAX];
        struct step *step = add(STEP_RENAME, parent_of(inner, name));
        strcpy(step->name, name);
        step->to = parent_of(inner_to, step->to_name);
        step->child = image_lookup(&recorder.names, step->node, step->name);
        assert(step->child != NO_NODE && step->to != NO_NODE);
        image_apply(&recorder.names, step, NULL);
    }
    unlock();
    errno = errno_value;
    return code;
}

static int record_removal(const char *path, int (*real)(const char *))
{
    lock();
    int code = real(path);
    int errno_value = errno;
    const char *inner = inside(path);
    if (code == 0 && inner != NULL && is_counted(path)) {
        char name[IMAGE_NAME_MAX];
        struct step *step = add(STEP_UNLINK, parent_of(inner, name));
        strcpy(step->name, name);
        image_apply(&recorder.names, step, NULL);
    }
    unlock();
    errno = errno_value;
    return code;
}

int recorder_unlink(const char *path) __asm__("unlink");
int recorder_unlink(const char *path)
{
    REAL("unlink", int (*)(const char *))
    return record_removal(path, real);
}

int recorder_rmdir(const char *path) __asm__("rmdir");
int recorder_rmdir(const char *path)
{
    REAL("rmdir", int (*)(const char *))
    return record_removal(path, real);
}

int recorder_mkdir(const char *path, mode_t mode) __asm__("mkdir");
int recorder_mkdir(const char *path, mode_t mode)
{
    REAL("mkdir", int (*)(const char *, mode_t))
    lock();
    int code = real(path, mode);
    int errno_value = errno;
    const char *inner = inside(path);
    if (code == 0 && inner != NULL) {
        (void)add_link(inner, true);
    }
    unlock();
    errno = errno_value;
    return code;
}

/* Page caches of file systems in memory do not know RWF_NOWAIT; all of theirs is warm. */
ssize_t recorder_preadv2(int fd, const struct iovec *iov, int count, off_t offset,
                         int flags) __asm__("preadv2");
ssize_t recorder_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return preadv(fd, iov, count, offset);
}

static void hold_back(size_t length)
{
    (void)pthread_mutex_lock(&held.mutex);
    while (length > 0 && held.length == length) {
        held.waiting++;
        (void)pthread_cond_wait(&held.changed, &held.mutex);
        held.waiting--;
    }
    (void)pthread_mutex_unlock(&held.mutex);
}

ssize_t recorder_pread(int fd, void *data, size_t length, off_t offset) __asm__("pread");
ssize_t recorder_pread(int fd, void *data, size_t length, off_t offset)
{
    REAL("pread", &recorder_pread);
    if (gettid() != getpid()) {
        if (reads_slowly) {
            (void)usleep(READ_US);
        }
        hold_back(length);
    }
    return real(fd, data, length, offset);
}

/* Programs compiled for large files use other names for the same functions. */
extern __typeof__(recorder_open) recorder_open64 __asm__("open64") __attribute__((alias("open")));
extern __typeof__(recorder_pwrite) recorder_pwrite64 __asm__("pwrite64")
    __attribute__((alias("pwrite")));
extern __typeof__(recorder_pwritev) recorder_pwritev64 __asm__("pwritev64")
    __attribute__((alias("pwritev")));
extern __typeof__(recorder_pread) recorder_pread64 __asm__("pread64")
    __attribute__((alias("pread")));
extern __typeof__(recorder_preadv2) recorder_preadv64v2 __asm__("preadv64v2")
    __attribute__((alias("preadv2")));

/* --- the recording --- */

void recorder_start(const char *root, struct step_log *log, enum recorder_lie lie)
{
    lock();
    assert(recorder.log == NULL && strlen(root) < sizeof recorder.root);
    strcpy(recorder.root, root);
    recorder.root_length = strlen(root);
    recorder.lie = lie;
    recorder.late = 0;
    image_init(&recorder.names);
    for (size_t i = 0; i < log->count; i++) {
        if (log->steps[i].kind <= STEP_RENAME) {
            image_apply(&recorder.names, &log->steps[i], NULL);
        }
    }
    log->node_count = log->node_count > 0 ? log->node_count : 1;
    recorder.log = log;
    unlock();
}

void recorder_stop(void)
{
    lock();
    recorder.log = NULL;
    image_deinit(&recorder.names);
    memset(recorder.nodes, 0, sizeof recorder.nodes);
    unlock();
}

uint64_t recorder_position(void)
{
    lock();
    uint64_t count = recorder.log->count;
    unlock();
    return count;
}

void recorder_hold(void)
{
    lock();
}

void recorder_let_go(void)
{
    unlock();
}

void recorder_slow_reads(bool on)
{
    reads_slowly = on;
}

void recorder_hold_reads(size_t length)
{
    (void)pthread_mutex_lock(&held.mutex);
    held.length = length;
    (void)pthread_cond_broadcast(&held.changed);
    (void)pthread_mutex_unlock(&held.mutex);
}

unsigned recorder_held_reads(void)
{
    (void)pthread_mutex_lock(&held.mutex);
    unsigned waiting = held.waiting;
    (void)pthread_mutex_unlock(&held.mutex);
    return waiting;
}
