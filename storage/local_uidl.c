/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether an imported unique-id is free in a maildrop. Three places may know of it: another import
 * on its way (the claims), the delta, the index; asked in this order, which is the one in which a
 * message moves through them, so that none slips past between two questions.
 */
#include "storage/local.h"

#include "storage/delta.h"
#include "storage/index.h"
#include "storage/volume.h"

#include <string.h>

#define INDEX_LOOKS \
    2 /* an expunge leaves the delta for the index at most once between two looks \
                       */

static enum status add_claim(struct local *local, struct local_uidl *claim)
{
    enum status status = STATUS_OK;
    (void)pthread_mutex_lock(&local->mutex);
    struct list_link *link = local->uidls.next;
    for (; link != &local->uidls && status == STATUS_OK; link = link->next) {
        const struct local_uidl *other = list_entry(link, struct local_uidl, link);
        if (other->maildrop == claim->maildrop && other->length == claim->length &&
            memcmp(other->uidl, claim->uidl, claim->length) == 0) {
            status = STATUS_EXISTS;
        }
    }
    if (status == STATUS_OK) {
        list_push_back(&local->uidls, &claim->link);
    }
    (void)pthread_mutex_unlock(&local->mutex);
    return status;
}

void local_uidl_release(struct local *local, struct local_uidl *claim)
{
    if (claim->link.next == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&local->mutex);
    list_remove(&claim->link);
    (void)pthread_mutex_unlock(&local->mutex);
    claim->link.next = NULL;
}

/* STATUS_OK: the index has no such message, or the delta knows that it is gone. */
static enum status look_in_index(struct local *local, struct index_reader *reader,
                                 const struct local_uidl *claim)
{
    struct index_state state;
    uint64_t uid = 0;
    enum status status = index_begin(reader, &state);
    if (status != STATUS_OK) {
        return status;
    }
    status = index_uidl(reader, claim->maildrop, claim->uidl, claim->length, &uid);
    index_end(reader);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK;
    }
    if (status != STATUS_OK) {
        return status;
    }
    return delta_find_uid(local->volume->delta, claim->maildrop, uid) == DELTA_GONE ? STATUS_OK
                                                                                    : STATUS_EXISTS;
}

/* A unique-id in the form of our own: free only when its number has been used for something else.
 */
static enum status look_for_own(struct local *local, struct index_reader *reader,
                                const struct local_uidl *claim, uint64_t uid)
{
    struct message_entry entry;
    struct index_state state;
    if (uid > writer_position(local->volume->writer).sequence) {
        return STATUS_EXISTS; /* a message to come may get it */
    }
    enum delta_presence presence = delta_find_uid(local->volume->delta, claim->maildrop, uid);
    if (presence != DELTA_UNKNOWN) {
        return presence == DELTA_PRESENT ? STATUS_EXISTS : STATUS_OK;
    }
    enum status status = index_begin(reader, &state);
    if (status != STATUS_OK) {
        return status;
    }
    status = index_message(reader, claim->maildrop, uid, &entry);
    index_end(reader);
    if (status == STATUS_OK) {
        return entry.uidl_length == 0 ? STATUS_EXISTS : STATUS_OK;
    }
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status look(struct local *local, struct index_reader *reader,
                        const struct local_uidl *claim)
{
    uint64_t uid;
    enum status status = STATUS_OK;
    if (maildrop_parse_uidl(claim->uidl, claim->length, local->volume->identity.epoch, &uid)) {
        status = look_for_own(local, reader, claim, uid);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (delta_find_uidl(local->volume->delta, claim->maildrop, claim->uidl, claim->length) ==
        DELTA_PRESENT) {
        return STATUS_EXISTS;
    }
    for (int i = 0; i < INDEX_LOOKS; i++) {
        status = look_in_index(local, reader, claim);
        if (status != STATUS_EXISTS) {
            break;
        }
    }
    return status;
}

enum status local_uidl_claim(struct store_client *client, struct local_uidl *claim,
                             uint64_t maildrop, const char *uidl, size_t length)
{
    struct local *local = local_of(client);
    struct local_client *own;
    enum status status = local_client_get(client, &own);
    if (status != STATUS_OK) {
        return status;
    }
    *claim = (struct local_uidl){.maildrop = maildrop, .uidl = uidl, .length = length};
    status = add_claim(local, claim);
    if (status != STATUS_OK) {
        claim->link.next = NULL;
        return status;
    }
    status = look(local, own->reader.index, claim);
    if (status != STATUS_OK) {
        local_uidl_release(local, claim);
    }
    return status;
}
