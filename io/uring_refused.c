/* SPDX-License-Identifier: Apache-2.0 */
#include "io/uring_refused.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#define SYSCTL_PATH "/proc/sys/kernel/io_uring_disabled"

/* The number behind `label` in a small file of /proc; `missing` when there is none. */
static long proc_number(const char *path, const char *label, long missing)
{
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return missing;
    }
    ssize_t length = read(fd, text, sizeof text - 1);
    (void)close(fd); /* only read from */
    if (length <= 0) {
        return missing;
    }
    text[length] = '\0';
    const char *place = strstr(text, label);
    return place == NULL ? missing : strtol(place + strlen(label), NULL, 10);
}

static bool seccomp_filters(void)
{
    return proc_number("/proc/self/status", "Seccomp:", 0) == 2;
}

static enum status refused_permission(int errno_value, struct error *out_error)
{
    long disabled = proc_number(SYSCTL_PATH, "", 0);
    if (disabled != 0) {
        return error_set(out_error, STATUS_DENIED, errno_value, SYSCTL_PATH,
                         "io_uring is refused by the sysctl kernel.io_uring_disabled=%ld; "
                         "set it to 0%s, or set io_backend to epoll",
                         disabled,
                         disabled == 1 ? " or run in the group kernel.io_uring_group" : "");
    }
    return error_set(out_error, STATUS_DENIED, errno_value, NULL,
                     "io_uring is refused by a seccomp profile%s; allow io_uring_setup, "
                     "io_uring_enter and io_uring_register in the container's profile, "
                     "or set io_backend to epoll",
                     seccomp_filters() ? "" : " or security module");
}

static enum status refused_missing(int errno_value, struct error *out_error)
{
    if (seccomp_filters()) {
        return error_set(out_error, STATUS_UNSUPPORTED, errno_value, NULL,
                         "io_uring is hidden by a seccomp profile, or this kernel is built without "
                         "it; allow io_uring_setup in the container's profile, or set io_backend "
                         "to epoll");
    }
    return error_set(out_error, STATUS_UNSUPPORTED, errno_value, NULL,
                     "this kernel is built without io_uring; use another one, or set io_backend to "
                     "epoll");
}

uint64_t uring_memlock_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
        return UINT64_MAX;
    }
    return limit.rlim_cur;
}

static enum status refused_memory(int errno_value, struct error *out_error)
{
    uint64_t limit = uring_memlock_limit();
    if (limit == UINT64_MAX) {
        return error_set(
            out_error, STATUS_NO_MEMORY, errno_value, NULL,
            "the kernel has no memory for a ring although RLIMIT_MEMLOCK is unlimited; "
            "use fewer workers, or set io_backend to epoll");
    }
    return error_set(out_error, STATUS_NO_MEMORY, errno_value, NULL,
                     "locked memory is short: RLIMIT_MEMLOCK is %" PRIu64 " KiB for all rings of "
                     "this user; raise it (LimitMEMLOCK=infinity, --ulimit memlock=-1), use fewer "
                     "workers, or set io_backend to epoll",
                     limit / 1024);
}

static enum status refused_version(int errno_value, struct error *out_error)
{
    struct utsname kernel;
    bool known = uname(&kernel) == 0;
    return error_set(out_error, STATUS_UNSUPPORTED, errno_value, NULL,
                     "this kernel's io_uring is too old%s%s; 6.1 or later is needed, "
                     "or set io_backend to epoll",
                     known ? ": " : "", known ? kernel.release : "");
}

enum status uring_refused(int errno_value, struct error *out_error)
{
    switch (errno_value) {
    case EPERM:
    case EACCES:
        return refused_permission(errno_value, out_error);
    case ENOSYS:
        return refused_missing(errno_value, out_error);
    case ENOMEM:
        return refused_memory(errno_value, out_error);
    case EINVAL:
    case EOPNOTSUPP:
        return refused_version(errno_value, out_error);
    default:
        return error_set(out_error, status_from_errno(errno_value), errno_value, NULL,
                         "io_uring cannot be used; set io_backend to epoll");
    }
}
