/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/shim.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define LIVE_MAX 65536 /* allocations at one time; a power of two */

/* What can happen to a call. */
enum {
    CAN_FULL = 1,
    CAN_INTERRUPT = 2,
    CAN_SHORT = 4,
    IS_MEMORY = 8,   /* an allocation rather than a system call */
    IS_PASSING = 16, /* fails once, never for ever: nothing could go on */
};

static struct {
    atomic_int mode; /* enum shim_mode, or -1: nothing strikes */
    _Atomic uint64_t nth, count;
    _Atomic(const char *) struck;
    pthread_t main_thread;
    pthread_mutex_t mutex; /* guards what follows */
    void *live[LIVE_MAX];
    size_t live_count;
} shim = {.mode = -1, .mutex = PTHREAD_MUTEX_INITIALIZER};

static __thread int depth; /* SHIM_IN on the main thread */

__attribute__((constructor)) static void start(void)
{
    shim.main_thread = pthread_self();
}

const char *shim_mode_name(enum shim_mode mode)
{
    static const char *const names[SHIM_MODES] = {"fail",  "disk full", "interrupt",
                                                  "short", "broken",    "starved"};
    return names[mode];
}

void shim_enter(void)
{
    depth++;
}

void shim_leave(void)
{
    depth--;
}

void shim_arm(enum shim_mode mode, uint64_t nth)
{
    atomic_store(&shim.nth, nth);
    atomic_store(&shim.count, 0);
    atomic_store(&shim.struck, "nothing");
    atomic_store(&shim.mode, (int)mode);
}

uint64_t shim_disarm(void)
{
    atomic_store(&shim.mode, -1);
    return atomic_load(&shim.count);
}

const char *shim_struck(void)
{
    return atomic_load(&shim.struck);
}

size_t shim_live(void)
{
    (void)pthread_mutex_lock(&shim.mutex);
    size_t count = shim.live_count;
    (void)pthread_mutex_unlock(&shim.mutex);
    return count;
}

static bool is_covered(void)
{
    return depth > 0 || !pthread_equal(pthread_self(), shim.main_thread);
}

static bool applies(int mode, unsigned kind)
{
    switch (mode) {
    case SHIM_FULL:
        return (kind & CAN_FULL) != 0;
    case SHIM_INTERRUPT:
        return (kind & CAN_INTERRUPT) != 0;
    case SHIM_SHORT:
        return (kind & CAN_SHORT) != 0;
    case SHIM_BROKEN:
        return (kind & (IS_MEMORY | IS_PASSING)) == 0;
    case SHIM_STARVED:
        return (kind & IS_MEMORY) != 0;
    default:
        return mode == SHIM_FAIL;
    }
}

/* Whether this call is to be struck: 0, or with which errno; -1: it moves fewer octets. */
static int strikes(const char *name, unsigned kind, int own_errno)
{
    int mode = atomic_load(&shim.mode);
    if (mode < 0 || !is_covered() || !applies(mode, kind)) {
        return 0;
    }
    uint64_t count = atomic_fetch_add(&shim.count, 1) + 1, nth = atomic_load(&shim.nth);
    bool for_ever = mode == SHIM_BROKEN || mode == SHIM_STARVED;
    if (nth == 0 || count < nth || (count > nth && !for_ever)) {
        return 0;
    }
    atomic_store(&shim.struck, name);
    return mode == SHIM_FULL        ? ENOSPC
           : mode == SHIM_INTERRUPT ? EINTR
           : mode == SHIM_SHORT     ? -1
                                    : own_errno;
}

static size_t shortened(size_t length)
{
    return length > 1 ? length / 2 : length;
}

/* --- memory, by the linker's --wrap --- */

static size_t slot_of(const void *data)
{
    return ((uintptr_t)data >> 4) * 0x9e3779b9u & (LIVE_MAX - 1);
}

static void *note_live(void *data)
{
    if (data == NULL || !is_covered()) {
        return data;
    }
    (void)pthread_mutex_lock(&shim.mutex);
    size_t slot = slot_of(data);
    while (shim.live[slot] != NULL) {
        slot = (slot + 1) & (LIVE_MAX - 1);
    }
    shim.live[slot] = data;
    shim.live_count++;
    (void)pthread_mutex_unlock(&shim.mutex);
    return data;
}

/* Takes `data` out and closes the gap that this makes for those that stand behind. */
static void forget_live(const void *data)
{
    (void)pthread_mutex_lock(&shim.mutex);
    size_t slot = slot_of(data);
    while (shim.live[slot] != NULL && shim.live[slot] != data) {
        slot = (slot + 1) & (LIVE_MAX - 1);
    }
    if (shim.live[slot] != NULL) {
        shim.live[slot] = NULL;
        shim.live_count--;
        for (size_t next = (slot + 1) & (LIVE_MAX - 1); shim.live[next] != NULL;
             next = (next + 1) & (LIVE_MAX - 1)) {
            void *moved = shim.live[next];
            shim.live[next] = NULL;
            size_t place = slot_of(moved);
            while (shim.live[place] != NULL) {
                place = (place + 1) & (LIVE_MAX - 1);
            }
            shim.live[place] = moved;
        }
    }
    (void)pthread_mutex_unlock(&shim.mutex);
}

#define WRAPPED(result, name, parameters) \
    result __real_##name parameters;      \
    result __wrap_##name parameters;      \
    result __wrap_##name parameters

#define STRIKE_MEMORY(name)                      \
    if (strikes(name, IS_MEMORY, ENOMEM) != 0) { \
        errno = ENOMEM;                          \
        return NULL;                             \
    }

WRAPPED(void *, malloc, (size_t size))
{
    STRIKE_MEMORY("malloc")
    return note_live(__real_malloc(size));
}

WRAPPED(void *, calloc, (size_t count, size_t size))
{
    STRIKE_MEMORY("calloc")
    return note_live(__real_calloc(count, size));
}

WRAPPED(void *, aligned_alloc, (size_t alignment, size_t size))
{
    STRIKE_MEMORY("aligned_alloc")
    return note_live(__real_aligned_alloc(alignment, size));
}

WRAPPED(void *, realloc, (void *data, size_t size))
{
    STRIKE_MEMORY("realloc")
    forget_live(data);
    return note_live(__real_realloc(data, size));
}

WRAPPED(void, free, (void *data))
{
    if (data != NULL) {
        forget_live(data);
    }
    __real_free(data);
}

WRAPPED(int, pthread_create,
        (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *owner))
{
    int code = strikes("pthread_create", 0, EAGAIN);
    return code > 0 ? code : __real_pthread_create(thread, attributes, run, owner);
}

/* --- LMDB's functions that allocate: its memory is not ours to wrap --- */

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;
struct MDB_val;

WRAPPED(int, mdb_env_create, (struct MDB_env * *env))
{
    int code = strikes("mdb_env_create", IS_MEMORY, ENOMEM);
    return code > 0 ? code : __real_mdb_env_create(env);
}

WRAPPED(int, mdb_txn_begin,
        (struct MDB_env * env, struct MDB_txn *parent, unsigned flags, struct MDB_txn **txn))
{
    int code = strikes("mdb_txn_begin", IS_MEMORY, ENOMEM);
    return code > 0 ? code : __real_mdb_txn_begin(env, parent, flags, txn);
}

WRAPPED(int, mdb_cursor_open, (struct MDB_txn * txn, unsigned table, struct MDB_cursor **cursor))
{
    int code = strikes("mdb_cursor_open", IS_MEMORY, ENOMEM);
    return code > 0 ? code : __real_mdb_cursor_open(txn, table, cursor);
}

WRAPPED(int, mdb_put,
        (struct MDB_txn * txn, unsigned table, struct MDB_val *key, struct MDB_val *value,
         unsigned flags))
{
    int code = strikes("mdb_put", IS_MEMORY, ENOMEM);
    return code > 0 ? code : __real_mdb_put(txn, table, key, value, flags);
}

WRAPPED(int, mdb_del,
        (struct MDB_txn * txn, unsigned table, struct MDB_val *key, struct MDB_val *value))
{
    int code = strikes("mdb_del", IS_MEMORY, ENOMEM);
    return code > 0 ? code : __real_mdb_del(txn, table, key, value);
}

/* --- io_uring, whose library makes its system calls itself --- */

struct io_uring;
struct io_uring_params;
struct io_uring_cqe;
struct io_uring_buf_reg;
struct __kernel_timespec;

WRAPPED(int, io_uring_queue_init_params,
        (unsigned entries, struct io_uring *ring, struct io_uring_params *params))
{
    int code = strikes("io_uring_queue_init_params", 0, ENOSYS);
    return code > 0 ? -code : __real_io_uring_queue_init_params(entries, ring, params);
}

WRAPPED(int, io_uring_register_buf_ring,
        (struct io_uring * ring, struct io_uring_buf_reg *buffers, unsigned flags))
{
    int code = strikes("io_uring_register_buf_ring", 0, ENOMEM);
    return code > 0 ? -code : __real_io_uring_register_buf_ring(ring, buffers, flags);
}

WRAPPED(int, io_uring_submit_and_wait_timeout,
        (struct io_uring * ring, struct io_uring_cqe **cqe, unsigned wait,
         struct __kernel_timespec *timeout, sigset_t *mask))
{
    int code = strikes("io_uring_submit_and_wait_timeout", CAN_INTERRUPT | IS_PASSING, EAGAIN);
    return code > 0 ? -code
                    : __real_io_uring_submit_and_wait_timeout(ring, cqe, wait, timeout, mask);
}

/* --- the C library's system calls, by name --- */

#define REAL(name, type)                          \
    static __typeof__(type) real;                 \
    if (real == NULL) {                           \
        *(void **)&real = dlsym(RTLD_NEXT, name); \
    }

/* Ends the stand-in with -1 when it is struck. */
#define STRIKE(name, kind, own_errno)                \
    int struck = strikes(name, (kind), (own_errno)); \
    if (struck > 0) {                                \
        errno = struck;                              \
        return -1;                                   \
    }

/* We use the functions' 64-bit names, LMDB the plain ones, which on a plain file are neither
 * interrupted nor cut short. */
static int open_any(const char *path, int flags, mode_t mode, unsigned kind)
{
    REAL("open", int (*)(const char *, int, mode_t))
    STRIKE("open", kind | ((flags & O_CREAT) != 0 ? (unsigned)CAN_FULL : 0), EMFILE)
    return real(path, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments)
{
    return (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
}

int shim_open(const char *path, int flags, ...) __asm__("open64");
int shim_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_any(path, flags, mode, CAN_INTERRUPT);
}

int shim_open_plain(const char *path, int flags, ...) __asm__("open");
int shim_open_plain(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_any(path, flags, mode, 0);
}

ssize_t shim_pread(int fd, void *data, size_t length, off_t offset) __asm__("pread64");
ssize_t shim_pread(int fd, void *data, size_t length, off_t offset)
{
    REAL("pread64", ssize_t(*)(int, void *, size_t, off_t))
    STRIKE("pread", CAN_INTERRUPT | CAN_SHORT, EIO)
    return real(fd, data, struck < 0 ? shortened(length) : length, offset);
}

ssize_t shim_pread_plain(int fd, void *data, size_t length, off_t offset) __asm__("pread");
ssize_t shim_pread_plain(int fd, void *data, size_t length, off_t offset)
{
    REAL("pread", ssize_t(*)(int, void *, size_t, off_t))
    STRIKE("pread", 0, EIO)
    return real(fd, data, length, offset);
}

/* Moves the whole list, or, when it is struck short, a part of its first piece. */
static const struct iovec *short_list(const struct iovec *iov, int *count, struct iovec *space,
                                      bool is_short)
{
    if (!is_short || *count < 1) {
        return iov;
    }
    *space = (struct iovec){iov[0].iov_base, shortened(iov[0].iov_len)};
    *count = 1;
    return space;
}

ssize_t shim_preadv2(int fd, const struct iovec *iov, int count, off_t offset,
                     int flags) __asm__("preadv64v2");
ssize_t shim_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    struct iovec space;
    STRIKE("preadv2", CAN_INTERRUPT | CAN_SHORT, EIO)
    iov = short_list(iov, &count, &space, struck < 0);
    /* File systems in memory do not know RWF_NOWAIT; all of theirs is warm. */
    return preadv(fd, iov, count, offset);
}

ssize_t shim_pwritev(int fd, const struct iovec *iov, int count, off_t offset) __asm__("pwritev64");
ssize_t shim_pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    REAL("pwritev64", ssize_t(*)(int, const struct iovec *, int, off_t))
    struct iovec space;
    STRIKE("pwritev", CAN_FULL | CAN_INTERRUPT | CAN_SHORT, EIO)
    iov = short_list(iov, &count, &space, struck < 0);
    return real(fd, iov, count, offset);
}

ssize_t shim_pwrite(int fd, const void *data, size_t length, off_t offset) __asm__("pwrite");
ssize_t shim_pwrite(int fd, const void *data, size_t length, off_t offset)
{
    REAL("pwrite", ssize_t(*)(int, const void *, size_t, off_t))
    STRIKE("pwrite", CAN_FULL, EIO)
    return real(fd, data, length, offset);
}

ssize_t shim_writev(int fd, const struct iovec *iov, int count) __asm__("writev");
ssize_t shim_writev(int fd, const struct iovec *iov, int count)
{
    REAL("writev", ssize_t(*)(int, const struct iovec *, int))
    STRIKE("writev", CAN_FULL, EIO)
    return real(fd, iov, count);
}

#define ON_FD(function, kind, own_errno)            \
    int shim_##function(int fd) __asm__(#function); \
    int shim_##function(int fd)                     \
    {                                               \
        REAL(#function, int (*)(int))               \
        STRIKE(#function, kind, own_errno)          \
        return real(fd);                            \
    }

ON_FD(fdatasync, CAN_FULL, EIO)
ON_FD(fsync, CAN_FULL, EIO)

#define ON_PATH(function, kind, own_errno)                    \
    int shim_##function(const char *path) __asm__(#function); \
    int shim_##function(const char *path)                     \
    {                                                         \
        REAL(#function, int (*)(const char *))                \
        STRIKE(#function, kind, own_errno)                    \
        return real(path);                                    \
    }

ON_PATH(unlink, 0, EIO)
ON_PATH(rmdir, 0, EIO)

int shim_rename(const char *from, const char *to) __asm__("rename");
int shim_rename(const char *from, const char *to)
{
    REAL("rename", int (*)(const char *, const char *))
    STRIKE("rename", CAN_FULL, EIO)
    return real(from, to);
}

int shim_mkdir(const char *path, mode_t mode) __asm__("mkdir");
int shim_mkdir(const char *path, mode_t mode)
{
    REAL("mkdir", int (*)(const char *, mode_t))
    STRIKE("mkdir", CAN_FULL, EACCES)
    return real(path, mode);
}

int shim_flock(int fd, int operation) __asm__("flock");
int shim_flock(int fd, int operation)
{
    REAL("flock", int (*)(int, int))
    STRIKE("flock", 0, ENOLCK)
    return real(fd, operation);
}

int shim_fstat(int fd, struct stat *found) __asm__("fstat64");
int shim_fstat(int fd, struct stat *found)
{
    REAL("fstat64", int (*)(int, struct stat *))
    STRIKE("fstat", 0, EIO)
    return real(fd, found);
}

int shim_stat(const char *path, struct stat *found) __asm__("stat64");
int shim_stat(const char *path, struct stat *found)
{
    REAL("stat64", int (*)(const char *, struct stat *))
    STRIKE("stat", 0, EACCES)
    return real(path, found);
}

int shim_statfs(const char *path, struct statfs *found) __asm__("statfs64");
int shim_statfs(const char *path, struct statfs *found)
{
    REAL("statfs64", int (*)(const char *, struct statfs *))
    STRIKE("statfs", CAN_INTERRUPT, EIO)
    return real(path, found);
}

int shim_statvfs(const char *path, struct statvfs *found) __asm__("statvfs64");
int shim_statvfs(const char *path, struct statvfs *found)
{
    REAL("statvfs64", int (*)(const char *, struct statvfs *))
    STRIKE("statvfs", CAN_INTERRUPT, EIO)
    return real(path, found);
}

DIR *shim_opendir(const char *path) __asm__("opendir");
DIR *shim_opendir(const char *path)
{
    REAL("opendir", DIR * (*)(const char *))
    int struck = strikes("opendir", 0, EMFILE);
    if (struck > 0) {
        errno = struck;
        return NULL;
    }
    return real(path);
}

ssize_t shim_getrandom(void *data, size_t length, unsigned flags) __asm__("getrandom");
ssize_t shim_getrandom(void *data, size_t length, unsigned flags)
{
    REAL("getrandom", ssize_t(*)(void *, size_t, unsigned))
    STRIKE("getrandom", 0, ENOSYS)
    return real(data, length, flags);
}

int shim_eventfd(unsigned count, int flags) __asm__("eventfd");
int shim_eventfd(unsigned count, int flags)
{
    REAL("eventfd", int (*)(unsigned, int))
    STRIKE("eventfd", 0, EMFILE)
    return real(count, flags);
}

/* --- sockets --- */

int shim_epoll_create1(int flags) __asm__("epoll_create1");
int shim_epoll_create1(int flags)
{
    REAL("epoll_create1", int (*)(int))
    STRIKE("epoll_create1", 0, EMFILE)
    return real(flags);
}

int shim_epoll_ctl(int epoll, int how, int fd, struct epoll_event *event) __asm__("epoll_ctl");
int shim_epoll_ctl(int epoll, int how, int fd, struct epoll_event *event)
{
    REAL("epoll_ctl", int (*)(int, int, int, struct epoll_event *))
    STRIKE("epoll_ctl", CAN_FULL, ENOMEM)
    return real(epoll, how, fd, event);
}

int shim_epoll_wait(int epoll, struct epoll_event *events, int count,
                    int timeout) __asm__("epoll_wait");
int shim_epoll_wait(int epoll, struct epoll_event *events, int count, int timeout)
{
    REAL("epoll_wait", int (*)(int, struct epoll_event *, int, int))
    STRIKE("epoll_wait", CAN_INTERRUPT | IS_PASSING, EINTR)
    return real(epoll, events, count, timeout);
}

int shim_poll(struct pollfd *waiting, nfds_t count, int timeout) __asm__("poll");
int shim_poll(struct pollfd *waiting, nfds_t count, int timeout)
{
    REAL("poll", int (*)(struct pollfd *, nfds_t, int))
    STRIKE("poll", CAN_INTERRUPT | IS_PASSING, EINTR)
    return real(waiting, count, timeout);
}

ssize_t shim_recv(int fd, void *data, size_t length, int flags) __asm__("recv");
ssize_t shim_recv(int fd, void *data, size_t length, int flags)
{
    REAL("recv", ssize_t(*)(int, void *, size_t, int))
    STRIKE("recv", CAN_INTERRUPT | CAN_SHORT, ECONNRESET)
    return real(fd, data, struck < 0 ? shortened(length) : length, flags);
}

ssize_t shim_send(int fd, const void *data, size_t length, int flags) __asm__("send");
ssize_t shim_send(int fd, const void *data, size_t length, int flags)
{
    REAL("send", ssize_t(*)(int, const void *, size_t, int))
    STRIKE("send", CAN_INTERRUPT | CAN_SHORT, EPIPE)
    return real(fd, data, struck < 0 ? shortened(length) : length, flags);
}

ssize_t shim_sendmsg(int fd, const struct msghdr *message, int flags) __asm__("sendmsg");
ssize_t shim_sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL("sendmsg", ssize_t(*)(int, const struct msghdr *, int))
    struct iovec space;
    struct msghdr cut = *message;
    STRIKE("sendmsg", CAN_INTERRUPT | CAN_SHORT, EPIPE)
    if (struck < 0 && message->msg_iovlen > 0) {
        space =
            (struct iovec){message->msg_iov[0].iov_base, shortened(message->msg_iov[0].iov_len)};
        cut.msg_iov = &space;
        cut.msg_iovlen = 1;
    }
    return real(fd, &cut, flags);
}

ssize_t shim_sendfile(int to, int from, off_t *offset, size_t length) __asm__("sendfile64");
ssize_t shim_sendfile(int to, int from, off_t *offset, size_t length)
{
    REAL("sendfile64", ssize_t(*)(int, int, off_t *, size_t))
    STRIKE("sendfile", CAN_INTERRUPT | CAN_SHORT, EIO)
    return real(to, from, offset, struck < 0 ? shortened(length) : length);
}

int shim_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) __asm__("accept4");
int shim_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    REAL("accept4", int (*)(int, struct sockaddr *, socklen_t *, int))
    STRIKE("accept4", CAN_INTERRUPT, EMFILE)
    return real(fd, address, length, flags);
}

int shim_socket(int domain, int type, int protocol) __asm__("socket");
int shim_socket(int domain, int type, int protocol)
{
    REAL("socket", int (*)(int, int, int))
    STRIKE("socket", 0, EMFILE)
    return real(domain, type, protocol);
}

#define ON_ADDRESS(function, own_errno)                                                          \
    int shim_##function(int fd, struct sockaddr *address, socklen_t *length) __asm__(#function); \
    int shim_##function(int fd, struct sockaddr *address, socklen_t *length)                     \
    {                                                                                            \
        REAL(#function, int (*)(int, struct sockaddr *, socklen_t *))                            \
        STRIKE(#function, 0, own_errno)                                                          \
        return real(fd, address, length);                                                        \
    }

ON_ADDRESS(getsockname, ENOBUFS)
ON_ADDRESS(getpeername, ENOTCONN)

int shim_bind(int fd, const struct sockaddr *address, socklen_t length) __asm__("bind");
int shim_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    REAL("bind", int (*)(int, const struct sockaddr *, socklen_t))
    STRIKE("bind", 0, EADDRINUSE)
    return real(fd, address, length);
}

int shim_listen(int fd, int backlog) __asm__("listen");
int shim_listen(int fd, int backlog)
{
    REAL("listen", int (*)(int, int))
    STRIKE("listen", 0, EADDRINUSE)
    return real(fd, backlog);
}

int shim_setsockopt(int fd, int level, int name, const void *value,
                    socklen_t length) __asm__("setsockopt");
int shim_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    REAL("setsockopt", int (*)(int, int, int, const void *, socklen_t))
    STRIKE("setsockopt", 0, ENOBUFS)
    return real(fd, level, name, value, length);
}

void *shim_mmap(void *address, size_t length, int protection, int flags, int fd,
                off_t offset) __asm__("mmap64");
void *shim_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    REAL("mmap64", void *(*)(void *, size_t, int, int, int, off_t))
    int struck = strikes("mmap", 0, ENOMEM);
    if (struck > 0) {
        errno = struck;
        return MAP_FAILED;
    }
    return real(address, length, protection, flags, fd, offset);
}
extern __typeof__(shim_mmap) shim_mmap32 __asm__("mmap") __attribute__((alias("mmap64")));
