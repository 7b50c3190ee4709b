/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that reads large maildrops, so that no worker waits for their index pages.
 */
#ifndef STORAGE_LOOKUP_H
#define STORAGE_LOOKUP_H

#include "io/post.h"
#include "io/status.h"
#include "storage/maildrop.h"

struct lookup;
struct volume;

/* Lives in the asker until answered. */
struct lookup_request {
    struct post_message message;
    struct post_box *reply_box;
    void (*on_done)(struct lookup_request *request); /* on the thread of reply_box */
    struct lookup *lookup;                           /* lookup_ask sets it */
    uint64_t maildrop;
    enum status status;      /* the answer, as maildrop_read gives it */
    struct maildrop *result; /* the asker's when STATUS_OK */
};

/* Starts the thread, with a reader of its own. */
MUST_CHECK enum status lookup_start(struct volume *volume, struct lookup **out_lookup,
                                    struct error *out_error);
/* Answers what it was asked, then ends. NULL inside is allowed; NULLs. */
void lookup_stop(struct lookup **lookup);
void lookup_ask(struct lookup *lookup, struct lookup_request *request);

#endif
