/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the next segment's file before the writer needs it, on a thread of its own: creating,
 * syncing the file and syncing the directory take as long as several groups.
 *
 * Belongs to the writer's thread. One request at a time.
 */
#ifndef STORAGE_AHEAD_H
#define STORAGE_AHEAD_H

#include "io/post.h"
#include "io/status.h"
#include "storage/disk.h"

#include <stdint.h>

struct ahead;

/* Lives in the asker. Posted back to the box given to ahead_create when done. */
struct ahead_request {
    struct post_message
        message;             /* set message.on_receive before ahead_ask: it runs for the answer */
    struct post_message own; /* the thread's */
    struct ahead *ahead;
    uint32_t segment; /* in: the id wanted; out: the id made, higher when that one was in use */
    int fd;           /* out: open for writing, empty, durable by name; the asker's */
    enum status status;
    struct error error;
};

/* Starts the thread; answers are posted to `reply_box`, the asker's. STATUS_NO_MEMORY. */
MUST_CHECK enum status ahead_create(struct disk *disk, const char *segments_path,
                                    struct post_box *reply_box, struct ahead **out_ahead);
/* Asks for the next segment. The request is the thread's until its message comes back. */
void ahead_ask(struct ahead *ahead, struct ahead_request *request);
/* Ends the thread, after it has answered what it was asked. NULL is allowed; NULLs. */
void ahead_destroy(struct ahead **ahead);

#endif
