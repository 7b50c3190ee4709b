/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one error vocabulary. Whatever can fail returns `enum status`; `bool` only answers questions.
 * Where a person must be told the cure, a `struct error` travels beside the status.
 *
 * Any thread. Nothing here allocates.
 */
#ifndef IO_STATUS_H
#define IO_STATUS_H

#include <stdint.h>

/* A caller that ignores a result must say so with a (void) cast and a reason. */
#define MUST_CHECK __attribute__((warn_unused_result))

enum status {
    STATUS_OK = 0,
    STATUS_PENDING,     /* not an error: the answer comes by callback */
    STATUS_AGAIN,       /* would block; try when the resource is ready */
    STATUS_EOF,         /* the stream ended in order */
    STATUS_CANCELLED,   /* ended because its owner asked for it */
    STATUS_TIMEOUT,     /* the deadline passed */
    STATUS_RESET,       /* the peer is gone */
    STATUS_NO_MEMORY,   /* an allocation or a kernel memory limit failed */
    STATUS_NO_BUFFERS,  /* the provided-buffer ring ran dry */
    STATUS_NO_SPACE,    /* the disk, a quota or a map is full */
    STATUS_TOO_BIG,     /* over a stated limit */
    STATUS_LIMIT,       /* too many of something at once; later may work */
    STATUS_NOT_FOUND,   /* no such thing */
    STATUS_EXISTS,      /* there is one already */
    STATUS_BUSY,        /* held by another: a lock, a maildrop */
    STATUS_LOST,        /* what was held has been taken over by another */
    STATUS_UNKNOWN,     /* may or may not have happened; repeating is harmless */
    STATUS_INVALID,     /* malformed input */
    STATUS_CORRUPT,     /* stored bytes do not match their checksum or format */
    STATUS_READ_ONLY,   /* the volume accepts no writes any more */
    STATUS_UNSUPPORTED, /* this kernel, build or format version cannot do it */
    STATUS_DENIED,      /* not permitted */
    STATUS_IO,          /* any other failure of a system call; see errno_value */
    STATUS_COUNT
};

/* What went wrong where, for the one place that logs it. All members but `status` may be empty. */
struct error {
    enum status status;
    int errno_value; /* errno at the point of failure, 0 when none */
    uint64_t offset; /* octets into the file, when that means something */
    char path[256];  /* the file, cut to fit */
    char text[256];  /* what was being done, and the cure; a sentence without a full stop */
};

/* A short stable name such as "no_space", for logs, metrics and JSON. Never NULL. */
const char *status_name(enum status status);

/* Maps errno to the vocabulary: EAGAIN to STATUS_AGAIN, ENOSPC and EDQUOT to STATUS_NO_SPACE,
 * ECONNRESET and EPIPE to STATUS_RESET, ECANCELED to STATUS_CANCELLED, ... else STATUS_IO. */
enum status status_from_errno(int errno_value);

/*
 * Fills `out_error` (NULL is allowed) and returns `status`, so that a failing function ends with
 * `return error_set(out_error, ...)`. `errno_value` is 0 when no system call was involved; `path`
 * may be NULL; `format` is printf-like.
 */
enum status error_set(struct error *out_error, enum status status, int errno_value,
                      const char *path, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
