/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of syscall_filter.c where libseccomp was not found. */
#include "server/syscall_filter.h"

enum status syscall_filter_apply(bool resolves, struct error *out_error)
{
    return error_set(out_error, STATUS_UNSUPPORTED, 0, NULL,
                     "this program was built without libseccomp");
}
