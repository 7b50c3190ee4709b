/* SPDX-License-Identifier: Apache-2.0 */
#include "io/status.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(status, every_status_has_a_name_of_its_own)
{
    for (int a = 0; a < STATUS_COUNT; a++) {
        const char *name = status_name((enum status)a);
        cr_assert_neq(strcmp(name, "invalid_status"), 0, "status %d", a);
        for (int b = 0; b < a; b++) {
            cr_assert_str_neq(name, status_name((enum status)b));
        }
    }
}

Test(status, a_status_that_does_not_exist_has_a_name_too)
{
    cr_assert_str_eq(status_name((enum status)STATUS_COUNT), "invalid_status");
    cr_assert_str_eq(status_name((enum status) - 1), "invalid_status");
}

Test(status, errno_is_mapped_to_the_vocabulary)
{
    static const struct {
        int errno_value;
        enum status status;
    } pairs[] = {{0, STATUS_OK},
                 {EAGAIN, STATUS_AGAIN},
                 {ENOSPC, STATUS_NO_SPACE},
                 {EDQUOT, STATUS_NO_SPACE},
                 {ECONNRESET, STATUS_RESET},
                 {EPIPE, STATUS_RESET},
                 {ECANCELED, STATUS_CANCELLED},
                 {ENOMEM, STATUS_NO_MEMORY},
                 {EMFILE, STATUS_LIMIT},
                 {ENOENT, STATUS_NOT_FOUND},
                 {EEXIST, STATUS_EXISTS},
                 {EROFS, STATUS_READ_ONLY},
                 {EACCES, STATUS_DENIED},
                 {ENOSYS, STATUS_UNSUPPORTED},
                 {EIO, STATUS_IO},
                 {ENOBUFS, STATUS_NO_BUFFERS},
                 {12345, STATUS_IO}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        cr_assert_eq(status_from_errno(pairs[i].errno_value), pairs[i].status, "errno %d",
                     pairs[i].errno_value);
    }
}

Test(status, an_error_keeps_what_it_is_told)
{
    struct error error;
    memset(&error, 0xff, sizeof error);
    enum status status =
        error_set(&error, STATUS_NO_SPACE, ENOSPC, "/store/x", "writing %d octets", 42);
    cr_assert_eq(status, STATUS_NO_SPACE);
    cr_assert_eq(error.status, STATUS_NO_SPACE);
    cr_assert_eq(error.errno_value, ENOSPC);
    cr_assert_eq(error.offset, 0);
    cr_assert_str_eq(error.path, "/store/x");
    cr_assert_str_eq(error.text, "writing 42 octets");
}

Test(status, an_error_cuts_what_is_too_long)
{
    struct error error;
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    (void)error_set(&error, STATUS_IO, 0, longer, "%s", longer);
    cr_assert_eq(strlen(error.path), sizeof error.path - 1);
    cr_assert_eq(strlen(error.text), sizeof error.text - 1);
}

Test(status, an_error_that_nobody_wants_is_only_returned)
{
    cr_assert_eq(error_set(NULL, STATUS_BUSY, EBUSY, NULL, "held"), STATUS_BUSY);
    struct error error;
    (void)error_set(&error, STATUS_BUSY, 0, NULL, "held");
    cr_assert_str_empty(error.path);
}
