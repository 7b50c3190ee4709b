/* SPDX-License-Identifier: Apache-2.0 */
#include "server/syscall_filter.h"
#include "tests/unit/in_child.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static void apply(bool resolves)
{
    struct error error = {.status = STATUS_OK};
    CHILD_EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (syscall_filter_apply(resolves, &error) != STATUS_OK) {
        CHILD_EXPECT(error.status == STATUS_UNSUPPORTED);
        _exit(CHILD_SKIPS);
    }
}

static bool has_socket(int family)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int failure = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = failure;
    return fd >= 0;
}

static void try_programs(void)
{
    apply(false);
    char *const arguments[] = {"true", NULL};
    CHILD_EXPECT(execv("/bin/true", arguments) != 0 && errno == EPERM);
    CHILD_EXPECT(syscall(SYS_execveat, -1, "/bin/true", arguments, NULL, 0) != 0 && errno == EPERM);
    CHILD_EXPECT(fork() < 0);
    CHILD_EXPECT(vfork() < 0);
    CHILD_EXPECT(ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 && errno == EPERM);
    CHILD_EXPECT(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0) != 0 &&
                 errno == EPERM);
}

static void try_rings(void)
{
    struct io_uring_params params;
    memset(&params, 0, sizeof params);
    apply(false);
    CHILD_EXPECT(syscall(SYS_io_uring_setup, 4, &params) < 0 && errno == EPERM);
    CHILD_EXPECT(syscall(SYS_io_uring_register, -1, 0, NULL, 0) < 0 && errno == EPERM);
}

static void try_the_rest(void)
{
    apply(false);
    CHILD_EXPECT(setuid(getuid()) != 0 && errno == EPERM);
    CHILD_EXPECT(unshare(CLONE_NEWUSER) != 0 && errno == EPERM);
    CHILD_EXPECT(syscall(SYS_mount, "x", "/tmp", "tmpfs", 0, NULL) != 0 && errno == EPERM);
    CHILD_EXPECT(syscall(SYS_bpf, 0, NULL, 0) != 0 && errno == EPERM);
    CHILD_EXPECT(syscall(SYS_keyctl, 0, 0, 0, 0, 0) != 0 && errno == EPERM);
    CHILD_EXPECT(!has_socket(AF_NETLINK) && errno == EAFNOSUPPORT);
    CHILD_EXPECT(!has_socket(AF_PACKET) && errno == EAFNOSUPPORT);
    CHILD_EXPECT(has_socket(AF_INET) && has_socket(AF_UNIX));
}

static void *run_thread(void *argument)
{
    *(bool *)argument = true;
    return NULL;
}

static void try_what_is_allowed(void)
{
    pthread_t thread;
    bool ran = false;
    apply(true);
    CHILD_EXPECT(pthread_create(&thread, NULL, run_thread, &ran) == 0);
    CHILD_EXPECT(pthread_join(thread, NULL) == 0 && ran);
    CHILD_EXPECT(has_socket(AF_NETLINK));
}

struct older {
    pthread_mutex_t mutex;
    int failure;
};

static void *run_older(void *argument)
{
    struct older *older = argument;
    struct io_uring_params params;
    memset(&params, 0, sizeof params);
    (void)pthread_mutex_lock(&older->mutex); /* until the filter is there */
    older->failure = syscall(SYS_io_uring_setup, 4, &params) < 0 ? errno : 0;
    return NULL;
}

static void try_an_older_thread(void)
{
    struct older older = {.mutex = PTHREAD_MUTEX_INITIALIZER, .failure = 0};
    pthread_t thread;
    (void)pthread_mutex_lock(&older.mutex); /* nobody else has it */
    CHILD_EXPECT(pthread_create(&thread, NULL, run_older, &older) == 0);
    apply(false);
    (void)pthread_mutex_unlock(&older.mutex); /* ours */
    (void)pthread_join(thread, NULL);         /* ours */
    CHILD_EXPECT(older.failure == EPERM);
}

static void try_in_child(void (*body)(void))
{
    if (CHILD_HAS_SANITIZER || !in_child(body)) {
        cr_skip_test("no system call filter here");
    }
}

Test(syscall_filter, refuses_programs_and_other_processes)
{
    try_in_child(try_programs);
}

Test(syscall_filter, refuses_new_rings)
{
    try_in_child(try_rings);
}

Test(syscall_filter, refuses_identities_mounts_and_odd_sockets)
{
    try_in_child(try_the_rest);
}

Test(syscall_filter, allows_threads_and_name_service)
{
    try_in_child(try_what_is_allowed);
}

Test(syscall_filter, holds_for_threads_that_are_older)
{
    try_in_child(try_an_older_thread);
}
