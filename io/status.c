/* SPDX-License-Identifier: Apache-2.0 */
#include "io/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[STATUS_COUNT] = {
    [STATUS_OK] = "ok",
    [STATUS_PENDING] = "pending",
    [STATUS_AGAIN] = "again",
    [STATUS_EOF] = "eof",
    [STATUS_CANCELLED] = "cancelled",
    [STATUS_TIMEOUT] = "timeout",
    [STATUS_RESET] = "reset",
    [STATUS_NO_MEMORY] = "no_memory",
    [STATUS_NO_BUFFERS] = "no_buffers",
    [STATUS_NO_SPACE] = "no_space",
    [STATUS_TOO_BIG] = "too_big",
    [STATUS_LIMIT] = "limit",
    [STATUS_NOT_FOUND] = "not_found",
    [STATUS_EXISTS] = "exists",
    [STATUS_BUSY] = "busy",
    [STATUS_LOST] = "lost",
    [STATUS_UNKNOWN] = "unknown",
    [STATUS_INVALID] = "invalid",
    [STATUS_CORRUPT] = "corrupt",
    [STATUS_READ_ONLY] = "read_only",
    [STATUS_UNSUPPORTED] = "unsupported",
    [STATUS_DENIED] = "denied",
    [STATUS_IO] = "io",
};

const char *status_name(enum status status)
{
    if ((unsigned)status >= STATUS_COUNT || names[status] == NULL) {
        return "invalid_status";
    }
    return names[status];
}

enum status status_from_errno(int errno_value)
{
    switch (errno_value) {
    case 0:
        return STATUS_OK;
    case EAGAIN:
        return STATUS_AGAIN;
    case ECANCELED:
        return STATUS_CANCELLED;
    case ETIMEDOUT:
    case ETIME:
        return STATUS_TIMEOUT;
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
    case ECONNABORTED:
    case ENETUNREACH:
    case EHOSTUNREACH:
        return STATUS_RESET;
    case ENOMEM:
        return STATUS_NO_MEMORY;
    case ENOBUFS:
        return STATUS_NO_BUFFERS;
    case ENOSPC:
    case EDQUOT:
        return STATUS_NO_SPACE;
    case EFBIG:
    case E2BIG:
    case EMSGSIZE:
    case ENAMETOOLONG:
        return STATUS_TOO_BIG;
    case EMFILE:
    case ENFILE:
        return STATUS_LIMIT;
    case ENOENT:
        return STATUS_NOT_FOUND;
    case EEXIST:
    case EADDRINUSE:
        return STATUS_EXISTS;
    case EBUSY:
        return STATUS_BUSY;
    case EINVAL:
        return STATUS_INVALID;
    case EROFS:
        return STATUS_READ_ONLY;
    case ENOSYS:
    case EOPNOTSUPP:
        return STATUS_UNSUPPORTED;
    case EPERM:
    case EACCES:
        return STATUS_DENIED;
    default:
        return STATUS_IO;
    }
}

enum status error_set(struct error *out_error, enum status status, int errno_value,
                      const char *path, const char *format, ...)
{
    if (out_error == NULL) {
        return status;
    }
    memset(out_error, 0, sizeof *out_error);
    out_error->status = status;
    out_error->errno_value = errno_value;
    if (path != NULL) {
        size_t length = strnlen(path, sizeof out_error->path - 1);
        memcpy(out_error->path, path, length);
    }
    va_list arguments;
    va_start(arguments, format);
    /* A text that is too long is cut; nothing depends on its end. */
    (void)vsnprintf(out_error->text, sizeof out_error->text, format, arguments);
    va_end(arguments);
    return status;
}
