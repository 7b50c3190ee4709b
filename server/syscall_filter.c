/* SPDX-License-Identifier: Apache-2.0 */
/* The owner of libseccomp. */
#include "server/syscall_filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/socket.h>

/* By name: libseccomp passes over those it does not know, and the list serves all processors. */
static const char *const refused[] = {
    /* programs, and other processes */
    "execve",
    "execveat",
    "fork",
    "vfork",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "kcmp",
    "pidfd_getfd",
    "personality",
    /* rings: ours are restricted, a new one would not be */
    "io_uring_setup",
    "io_uring_register",
    /* identities */
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "capset",
    "keyctl",
    "add_key",
    "request_key",
    /* namespaces and mounts */
    "mount",
    "umount2",
    "umount",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "move_mount",
    "open_tree",
    "mount_setattr",
    "mknod",
    "mknodat",
    "open_by_handle_at",
    "name_to_handle_at",
    "quotactl",
    "quotactl_fd",
    "swapon",
    "swapoff",
    "acct",
    "fanotify_init",
    /* the kernel and the machine */
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "iopl",
    "ioperm",
    "modify_ldt",
    "vhangup",
    "syslog",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "lookup_dcookie",
    "migrate_pages",
    "move_pages",
    "nfsservctl",
    "uselib",
    "ustat",
    "sysfs",
};

static int refuse_by_name(scmp_filter_ctx filter)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < sizeof refused / sizeof refused[0]; i++) {
        int number = seccomp_syscall_resolve_name(refused[i]);
        if (number != __NR_SCMP_ERROR) {
            result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
        }
    }
    return result;
}

/* A new thread is wanted, a new process is not. clone3 hides its flags behind a pointer; the C
 * library goes back to clone when it is not there. */
static int refuse_processes(scmp_filter_ctx filter)
{
    int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (result == 0) {
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    }
    return result;
}

/* Sockets of the kinds that mail needs: UNIX, IPv4, IPv6. */
static int refuse_sockets(scmp_filter_ctx filter, bool resolves)
{
    int result = 0;
    for (int family = 0; result == 0 && family <= AF_MAX; family++) {
        bool is_ours = family == AF_UNIX || family == AF_INET || family == AF_INET6 ||
                       (family == AF_NETLINK && resolves);
        if (!is_ours) {
            result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                      SCMP_A0_32(SCMP_CMP_EQ, (unsigned)family));
        }
    }
    return result;
}

enum status syscall_filter_apply(bool resolves, struct error *out_error)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (filter == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "making a system call filter");
    }
    /* All threads at once; those of workers exist, because their rings had to. */
    int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (result == 0) {
        result = refuse_by_name(filter);
    }
    if (result == 0) {
        result = refuse_processes(filter);
    }
    if (result == 0) {
        result = refuse_sockets(filter, resolves);
    }
    if (result == 0) {
        result = seccomp_load(filter);
    }
    seccomp_release(filter);
    if (result != 0) {
        return error_set(out_error, STATUS_UNSUPPORTED, result < 0 ? -result : result, NULL,
                         "the kernel takes no system call filter");
    }
    return STATUS_OK;
}
