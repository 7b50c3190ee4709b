/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large messages in files of their own, written by the volume's blob thread. Octets go there in
 * pieces by post, in order, and each piece comes back when it is written; how many may be on their
 * way is the owner's business (storage/body). A finished blob is durable, footer and directory
 * included, and still an orphan: it counts when a durable record names it.
 *
 * The functions on a blob belong to its owner's thread.
 */
#ifndef STORAGE_BLOB_H
#define STORAGE_BLOB_H

#include "io/post.h"
#include "io/status.h"
#include "storage/checksum.h"
#include "storage/record.h"

#include <stddef.h>
#include <stdint.h>

struct volume;
struct blob_thread;

/* Uses the volume's disk, paths, key and atomics; there is one thread a volume. */
MUST_CHECK enum status blob_thread_start(struct volume *volume, struct blob_thread **out_thread,
                                         struct error *out_error);
/* Answers what has been sent, then ends. NULL is allowed; NULLs. */
void blob_thread_stop(struct blob_thread **thread);

struct blob;

/* Octets on their way; the thread's from blob_write until on_written. */
struct blob_piece {
    struct post_message message;
    struct blob *blob;
    const uint8_t *data;
    size_t length;
    enum status status; /* the answer; after a failure all that follow have it too */
};

/* One file being written. Lives in its owner until the last answer. */
struct blob {
    struct blob_thread *thread;
    struct post_box *owner_box;
    void (*on_written)(struct blob_piece *piece); /* on the owner's loop */
    /* The answer to finish or abort, after those to all pieces; may be followed by an abort. */
    void (*on_closed)(struct blob *blob, enum status status);
    /* In for finish: octets, header_length, message_flags, encoding. The thread fills in the rest.
     */
    struct record_blob_footer footer;
    struct {
        struct post_message message; /* finish or abort */
        enum status status;          /* the first failure */
        int fd;
        struct checksum_stream checksum;
    } own; /* the thread's */
};

/* Nothing is made on the disk before the first piece. The caller has set both callbacks. */
void blob_init(struct blob *blob, struct blob_thread *thread, struct post_box *owner_box);

/* `piece` has data and length. */
void blob_write(struct blob *blob, struct blob_piece *piece);

/* Footer, file sync, directory sync. Answers STATUS_OK with footer.blob, wire_length and
 * body_checksum set, or STATUS_NO_SPACE, STATUS_READ_ONLY, STATUS_IO, ... A failed sync makes the
 * volume read-only. */
void blob_finish(struct blob *blob);

/* Removes the file, finished or not. Answers STATUS_OK. Not while a finish is unanswered. */
void blob_abort(struct blob *blob);

#endif
