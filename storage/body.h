/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message body on its way in: octets in, wire form out, kept in memory while it is small,
 * streamed to a blob file by the blob thread when it grows over the limit or memory is short. The
 * worker that receives the message owns it; only the blob thread's pieces are elsewhere, by post.
 */
#ifndef STORAGE_BODY_H
#define STORAGE_BODY_H

#include "io/post.h"
#include "io/status.h"
#include "storage/checksum.h"
#include "storage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BODY_BLOCK_FIRST \
    8192                  /* octets of the first allocation, bookkeeping and all: most mail fits */
#define BODY_BLOCK  65536 /* octets of the others, likewise */
#define BODY_WINDOW (512 * 1024) /* octets handed to the blob thread and not yet written */

struct blob_thread; /* storage/blob.h: writes bodies to files, one per volume */

struct body_config {
    struct blob_thread *blobs;
    struct post_box *owner_box; /* where the blob thread's answers go: the worker's */
    uint64_t blob_min;          /* octets of wire form above which it becomes a blob */
    /* Shared budget, octets of bodies held in memory. At 0 a body goes to a blob early, and then
     * block by block; each keeps its first block and the one being filled, so that it may go below
     * 0 by those, and nobody ever waits for another's memory. */
    _Atomic int64_t *memory_left;
    /* The owner's count of bodies that the blob thread has not done with, destroyed ones among
     * them; NULL is allowed. Until it is 0 `owner_box` must stay and be run. */
    uint32_t *inflight;
};

struct body;

/* STATUS_NO_MEMORY. */
MUST_CHECK enum status body_create(const struct body_config *config, struct body **out_body);

/* Drops everything; a blob file that is not kept is removed by the blob thread. No callback comes
 * after it. Any state, also from inside a callback. NULL is allowed; NULLs. */
void body_destroy(struct body **body);

/*
 * Adds message octets (unstuffed, any line ends). STATUS_OK; or STATUS_PENDING: taken, but the
 * window is full: add no more until `on_writable` has been called (once) from the owner's loop.
 * Failures: STATUS_NO_MEMORY, STATUS_NO_SPACE, STATUS_IO, STATUS_TOO_BIG; the body is then only
 * good for destroy.
 */
MUST_CHECK enum status body_add(struct body *body, const uint8_t *data, size_t length);

/* The same for trace headers of ours, in front: CRLF lines, a few hundred octets. */
MUST_CHECK enum status body_add_header(struct body *body, const char *data, size_t length);

/* Ends it: terminator, checksum; for a blob, waits for file and directory to be synced. STATUS_OK,
 * or STATUS_PENDING (then `on_finished` with the status, on the owner's loop), or a failure as
 * above. Also while on_writable is awaited, which then does not come. */
MUST_CHECK enum status body_finish(struct body *body);

/* Who is told what body_add and body_finish have left pending. Before either of them. */
void body_set_callbacks(struct body *body, void (*on_writable)(void *owner),
                        void (*on_finished)(void *owner, enum status status), void *owner);

/* After a successful finish. */
const struct wire_encoder *body_wire(const struct body *body);
uint64_t body_checksum(const struct body *body);
uint64_t body_blob(const struct body *body);      /* 0: in memory */
unsigned body_iov_count(const struct body *body); /* in memory */
void body_iov(const struct body *body, struct iovec *out_iov);
/* The blob is now named by a durable record: body_destroy leaves the file alone. */
void body_keep_blob(struct body *body);

#endif
