/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expunging a session's list. The commit is an object of its own, because it must outlive the
 * session: once submitted it runs to its end, and the maildrop stays locked until the writer has
 * answered. Then, in this order: unlock, answer. A client that logs in again after the answer must
 * find the maildrop free.
 */
#include "storage/local.h"

#include "storage/lock.h"
#include "storage/record.h"
#include "storage/volume.h"

#include <assert.h>
#include <stdlib.h>

struct local_commit {
    struct store_commit base;
    struct local_view *view; /* the view itself: it is the commit's now */
    void (*on_done)(void *owner, enum status status);
    void *owner;
    bool detached;
    struct writer_item item;
    uint8_t meta[];
};

static void finish(struct local_commit *commit, enum status status)
{
    struct local_view *view = commit->view;
    if (view->lock_token != 0) {
        lock_release(view->local->locks, view->maildrop->id, view->lock_token);
    }
    view->client->inflight--;
    local_view_release(view);
    if (!commit->detached) {
        commit->on_done(commit->owner, status);
    }
    free(commit);
}

static void on_written(struct writer_item *item)
{
    finish(list_entry(item, struct local_commit, item), item->status);
}

/* An answer without the writer, but not from inside the call. */
static void on_refused(struct post_message *message)
{
    struct writer_item *item = list_entry(message, struct writer_item, message);
    finish(list_entry(item, struct local_commit, item), item->status);
}

static enum status encode(struct local_commit *commit, const uint32_t *indexes, uint32_t count)
{
    const struct maildrop *maildrop = commit->view->maildrop;
    uint64_t *uids = malloc(count * sizeof *uids);
    if (uids == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        assert(indexes[i] < maildrop->count);
        uids[i] = maildrop->entries[indexes[i]].uid;
    }
    size_t length = record_encode_expunged(maildrop->id, uids, count, commit->meta);
    free(uids);
    commit->item.kind = RECORD_EXPUNGED;
    commit->item.meta = commit->meta;
    commit->item.meta_length = (uint32_t)length;
    commit->item.reply_box = commit->view->client->box;
    commit->item.on_done = on_written;
    commit->item.uses_reserve = true;
    return STATUS_OK;
}

/* Whether this session may still expunge; from then on its lock cannot be taken over. */
static enum status pin(const struct local_view *view)
{
    if (view->lock_token == 0) {
        return STATUS_DENIED;
    }
    return lock_pin(view->local->locks, view->maildrop->id, view->lock_token);
}

static enum status create(struct local_view *view, const uint32_t *indexes, uint32_t count,
                          struct local_commit **out_commit)
{
    if (count > STORAGE_EXPUNGE_MAX) {
        return STATUS_TOO_BIG;
    }
    size_t size = RECORD_EXPUNGED_SIZE(count);
    struct local_commit *commit = malloc(sizeof *commit + size);
    if (commit == NULL) {
        return STATUS_NO_MEMORY;
    }
    *commit = (struct local_commit){.base = {.ops = &local_ops}, .view = view};
    enum status status = encode(commit, indexes, count);
    if (status != STATUS_OK) {
        free(commit);
        return status;
    }
    *out_commit = commit;
    return STATUS_OK;
}

enum status local_commit(struct view *base, const uint32_t *indexes, uint32_t count,
                         void (*on_done)(void *owner, enum status status), void *owner,
                         struct store_commit **out_commit)
{
    struct local_view *view = (struct local_view *)(void *)base;
    struct local_commit *commit;
    enum status status = create(view, indexes, count, &commit);
    if (status != STATUS_OK) {
        local_view_close(base);
        return status;
    }
    commit->on_done = on_done;
    commit->owner = owner;
    view->client->inflight++;
    *out_commit = &commit->base;
    commit->item.status = pin(view);
    if (commit->item.status == STATUS_OK) {
        local_submit(view->client, &commit->item);
    } else {
        commit->item.message.on_receive = on_refused;
        post_send(view->client->box, &commit->item.message);
    }
    return STATUS_PENDING;
}

void local_commit_detach(struct store_commit *base)
{
    struct local_commit *commit = (struct local_commit *)(void *)base;
    commit->detached = true;
}
