/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop.h"
#include "io/uring_refused.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Refuses io_uring_setup the way a container's profile does; for the rest of this test's process.
 */
static void refuse_rings(int errno_value)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)errno_value),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {.len = sizeof rules / sizeof rules[0], .filter = rules};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

Test(uring_refused, a_seccomp_profile_is_named_with_its_cure)
{
    struct error error;
    refuse_rings(EPERM);
    cr_assert_eq(loop_probe_uring(&error), STATUS_DENIED);
    cr_assert_eq(error.errno_value, EPERM);
    cr_assert_not_null(strstr(error.text, "seccomp profile"), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "allow io_uring_setup"), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "epoll"), "%s", error.text);
}

Test(uring_refused, a_hidden_system_call_is_named_with_its_cure)
{
    struct error error;
    refuse_rings(ENOSYS);
    cr_assert_eq(loop_probe_uring(&error), STATUS_UNSUPPORTED);
    cr_assert_not_null(strstr(error.text, "seccomp"), "%s", error.text);
}

Test(uring_refused, auto_falls_back_and_tells_why)
{
    struct error error = {.status = STATUS_OK};
    struct loop_config config = {.kind = LOOP_AUTO};
    struct loop *loop;
    refuse_rings(EPERM);
    cr_assert_eq(loop_create(&config, &loop, &error), STATUS_OK);
    cr_assert_str_eq(loop_backend_name(loop), "epoll");
    cr_assert_eq(error.status, STATUS_DENIED);
    loop_turn(loop, 0);
    loop_destroy(&loop);
}

Test(uring_refused, a_ring_that_was_asked_for_is_not_replaced)
{
    struct error error;
    struct loop_config config = {.kind = LOOP_IO_URING};
    struct loop *loop = NULL;
    refuse_rings(EPERM);
    cr_assert_eq(loop_create(&config, &loop, &error), STATUS_DENIED);
    cr_assert_null(loop);
}

Test(uring_refused, short_locked_memory_is_named_with_its_number)
{
    struct rlimit limit = {.rlim_cur = 1024, .rlim_max = 1024};
    struct error error;
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    if (getuid() == 0 && setresuid(65534, 65534, 65534) != 0) {
        cr_skip_test("cannot become an unprivileged user");
    }
    cr_assert_eq(uring_memlock_limit(), 1024);
    enum status status = loop_probe_uring(&error);
    if (status == STATUS_OK) {
        cr_skip_test("this kernel does not charge rings to locked memory");
    }
    if (status != STATUS_NO_MEMORY) {
        cr_skip_test("rings are refused here anyway");
    }
    cr_assert_not_null(strstr(error.text, "RLIMIT_MEMLOCK is 1 KiB"), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "LimitMEMLOCK"), "%s", error.text);
}

Test(uring_refused, every_cause_has_a_cure_that_is_not_cut)
{
    static const int causes[] = {EPERM, EACCES, ENOSYS, ENOMEM, EINVAL, EOPNOTSUPP, EMFILE, EIO};
    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
        struct error error;
        cr_assert_neq(uring_refused(causes[i], &error), STATUS_OK);
        cr_assert_eq(error.errno_value, causes[i]);
        cr_assert_not_null(strstr(error.text, "epoll"), "%s", error.text);
        cr_assert_lt(strlen(error.text), sizeof error.text - 1, "%s", error.text);
    }
}
