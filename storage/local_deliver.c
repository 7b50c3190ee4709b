/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivering: a body on its way in, then one record for all recipients. Before the commit the
 * delivery is its owner's; from the commit on it is its own, runs to its end and frees itself,
 * whether or not anybody still waits for the answer.
 */
#include "storage/local.h"

#include "storage/body.h"
#include "storage/checkpoint.h"
#include "storage/delta.h"
#include "storage/record.h"
#include "storage/volume.h"

#include <stdlib.h>
#include <string.h>

enum delivery_state {
    DELIVERY_FILLING,   /* the owner adds */
    DELIVERY_FINISHING, /* the body's end is on its way to the disk (blobs) */
    DELIVERY_WRITING,   /* the record is the writer's */
};

struct local_delivery {
    struct store_delivery base;
    struct store_client *client;
    struct body *body;
    const struct store_delivery_events *events;
    void *owner;
    enum delivery_state state;
    bool detached;
    uint64_t octets; /* taken so far */
    int64_t received_ms;
    char *sender, *uidl; /* behind the struct, in `text`; uidl NULL: none */
    size_t uidl_length;
    unsigned recipient_count;
    struct record_recipient *recipients; /* with their strings behind them */
    struct local_uidl *claims;           /* one for each recipient of the commit; NULL: no uidl */
    unsigned claim_count;
    struct writer_item item;
    uint8_t *meta;
    struct iovec *iov;
    char text[];
};

static struct local_delivery *own_delivery(struct store_delivery *delivery)
{
    return (struct local_delivery *)(void *)delivery; /* base is its first member */
}

static void free_delivery(struct local_delivery *delivery)
{
    struct local *local = local_of(delivery->client);
    for (unsigned i = 0; i < delivery->claim_count; i++) {
        local_uidl_release(local, &delivery->claims[i]);
    }
    body_destroy(&delivery->body);
    free(delivery->claims);
    free(delivery->recipients);
    free(delivery->meta);
    free(delivery->iov);
    free(delivery);
}

/* --- begin and add --- */

static bool uidl_is_valid(const char *uidl, size_t length)
{
    if (length == 0 || length > STORAGE_UIDL_LENGTH_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (uidl[i] < 0x21 || uidl[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

/* Whether the volume takes mail now. */
static enum status check_volume(const struct local *local)
{
    struct volume *volume = local->volume;
    if (atomic_load_explicit(&volume->read_only, memory_order_relaxed)) {
        return STATUS_READ_ONLY;
    }
    if (atomic_load_explicit(&volume->space_low, memory_order_relaxed) ||
        checkpoint_map_low(volume->checkpoint)) {
        return STATUS_NO_SPACE;
    }
    return delta_full(volume->delta) ? STATUS_LIMIT : STATUS_OK;
}

enum status local_delivery_admits(struct store_client *client)
{
    return check_volume(local_of(client));
}

static enum status check_info(const struct local *local, const struct store_delivery_info *info)
{
    if (info->uidl != NULL && !uidl_is_valid(info->uidl, strlen(info->uidl))) {
        return STATUS_INVALID;
    }
    if (info->size_hint > local->message_octets_max) {
        return STATUS_TOO_BIG;
    }
    return strlen(info->sender) > UINT16_MAX ? STATUS_INVALID : STATUS_OK;
}

static void on_writable(void *owner)
{
    struct local_delivery *delivery = owner;
    delivery->events->on_writable(delivery->owner);
}

static void on_finished(void *owner, enum status status);

static enum status make_body(struct local_delivery *delivery,
                             const struct store_delivery_info *info)
{
    struct volume *volume = local_of(delivery->client)->volume;
    struct body_config config = {.blobs = volume->blobs,
                                 .owner_box = delivery->client->box,
                                 .blob_min = volume->config.blob_min,
                                 .memory_left = &volume->memory_left,
                                 .inflight = &delivery->client->inflight};
    enum status status = body_create(&config, &delivery->body);
    if (status != STATUS_OK) {
        return status;
    }
    body_set_callbacks(delivery->body, on_writable, on_finished, delivery);
    return info->header_length > 0
               ? body_add_header(delivery->body, info->header, info->header_length)
               : STATUS_OK;
}

enum status local_delivery_begin(struct store_client *client,
                                 const struct store_delivery_info *info,
                                 const struct store_delivery_events *events, void *owner,
                                 struct store_delivery **out_delivery)
{
    struct local *local = local_of(client);
    enum status status = check_volume(local);
    if (status == STATUS_OK) {
        status = check_info(local, info);
    }
    if (status != STATUS_OK) {
        return status;
    }
    size_t sender = strlen(info->sender) + 1;
    size_t uidl = info->uidl != NULL ? strlen(info->uidl) + 1 : 0;
    struct local_delivery *delivery = calloc(1, sizeof *delivery + sender + uidl);
    if (delivery == NULL) {
        return STATUS_NO_MEMORY;
    }
    delivery->base.ops = &local_ops;
    delivery->client = client;
    delivery->events = events;
    delivery->owner = owner;
    delivery->received_ms = info->received_ms;
    delivery->sender = memcpy(delivery->text, info->sender, sender);
    if (uidl > 0) {
        delivery->uidl = memcpy(delivery->text + sender, info->uidl, uidl);
        delivery->uidl_length = uidl - 1;
    }
    status = make_body(delivery, info);
    if (status != STATUS_OK) {
        free_delivery(delivery);
        return status;
    }
    *out_delivery = &delivery->base;
    return STATUS_OK;
}

enum status local_delivery_add(struct store_delivery *base, const uint8_t *data, size_t length)
{
    struct local_delivery *delivery = own_delivery(base);
    delivery->octets += length;
    if (delivery->octets > local_of(delivery->client)->message_octets_max) {
        return STATUS_TOO_BIG;
    }
    return body_add(delivery->body, data, length);
}

uint64_t local_delivery_bare_lfs(const struct store_delivery *base)
{
    const struct local_delivery *delivery = (const struct local_delivery *)(const void *)base;
    return body_wire(delivery->body)->bare_lf_count;
}

/* --- commit --- */

static struct record_bytes copy_text(char **cursor, const char *text)
{
    if (text == NULL) {
        return (struct record_bytes){0};
    }
    size_t length = strlen(text);
    struct record_bytes bytes = {.data = memcpy(*cursor, text, length), .length = (uint32_t)length};
    *cursor += length;
    return bytes;
}

/* Copies the recipients whose maildrops are still there. STATUS_NOT_FOUND: none is. */
static enum status copy_recipients(struct local_delivery *delivery,
                                   const struct store_recipient *recipients, unsigned count)
{
    size_t octets = count * sizeof *delivery->recipients;
    for (unsigned i = 0; i < count; i++) {
        octets += strlen(recipients[i].address);
        octets += recipients[i].orcpt != NULL ? strlen(recipients[i].orcpt) : 0;
    }
    free(delivery->recipients);
    delivery->recipients = malloc(octets);
    if (delivery->recipients == NULL) {
        return STATUS_NO_MEMORY;
    }
    char *cursor = (char *)(delivery->recipients + count);
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        if (local_drop_is_removed(local_of(delivery->client), recipients[i].drop.id)) {
            continue;
        }
        delivery->recipients[kept++] =
            (struct record_recipient){.maildrop = recipients[i].drop.id,
                                      .address = copy_text(&cursor, recipients[i].address),
                                      .orcpt = copy_text(&cursor, recipients[i].orcpt)};
    }
    delivery->recipient_count = kept;
    return kept > 0 ? STATUS_OK : STATUS_NOT_FOUND;
}

static enum status claim_uidl(struct local_delivery *delivery)
{
    if (delivery->uidl == NULL) {
        return STATUS_OK;
    }
    delivery->claims = calloc(delivery->recipient_count, sizeof *delivery->claims);
    if (delivery->claims == NULL) {
        return STATUS_NO_MEMORY;
    }
    delivery->claim_count = delivery->recipient_count;
    enum status status = STATUS_OK;
    for (unsigned i = 0; i < delivery->claim_count && status == STATUS_OK; i++) {
        status = local_uidl_claim(delivery->client, &delivery->claims[i],
                                  delivery->recipients[i].maildrop, delivery->uidl,
                                  delivery->uidl_length);
    }
    return status;
}

static void on_written(struct writer_item *item)
{
    struct local_delivery *delivery = list_entry(item, struct local_delivery, item);
    enum status status = item->status;
    if (status == STATUS_OK || status == STATUS_UNKNOWN) {
        body_keep_blob(delivery->body); /* unknown: the record may be on the disk */
    }
    delivery->client->inflight--;
    if (!delivery->detached) {
        delivery->events->on_done(delivery->owner, status, item->sequence);
    }
    free_delivery(delivery);
}

static enum status encode(struct local_delivery *delivery)
{
    const struct wire_encoder *wire = body_wire(delivery->body);
    struct record_delivered delivered = {
        .blob = body_blob(delivery->body),
        .received_ms = delivery->received_ms,
        .octets = wire->octets,
        .wire_length = wire->wire_length,
        .header_length = wire->header_length,
        .encoding = RECORD_ENCODING_WIRE,
        .message_flags = (uint16_t)wire->flags,
        .sender = {(const uint8_t *)delivery->sender, (uint32_t)strlen(delivery->sender)},
        .uidl = {(const uint8_t *)delivery->uidl, (uint32_t)delivery->uidl_length},
        .recipient_count = delivery->recipient_count,
    };
    delivery->meta = malloc(record_delivered_size(&delivered, delivery->recipients));
    if (delivery->meta == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct writer_item *item = &delivery->item;
    item->kind = RECORD_DELIVERED;
    item->meta = delivery->meta;
    item->meta_length =
        (uint32_t)record_encode_delivered(&delivered, delivery->recipients, delivery->meta);
    item->body_checksum = body_checksum(delivery->body);
    if (delivered.blob != 0) {
        item->flags = RECORD_IN_BLOB;
        return STATUS_OK;
    }
    item->body_count = body_iov_count(delivery->body);
    delivery->iov = malloc((item->body_count + 1) * sizeof *delivery->iov);
    if (delivery->iov == NULL) {
        return STATUS_NO_MEMORY;
    }
    body_iov(delivery->body, delivery->iov);
    item->body = delivery->iov;
    item->body_length = delivered.wire_length;
    return STATUS_OK;
}

/* Maildrops may have been removed while a blob was synced. */
static enum status drop_removed(struct local_delivery *delivery)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < delivery->recipient_count; i++) {
        if (!local_drop_is_removed(local_of(delivery->client), delivery->recipients[i].maildrop)) {
            delivery->recipients[kept++] = delivery->recipients[i];
        }
    }
    delivery->recipient_count = kept;
    return kept > 0 ? STATUS_OK : STATUS_NOT_FOUND;
}

static enum status submit(struct local_delivery *delivery)
{
    enum status status = encode(delivery);
    if (status != STATUS_OK) {
        return status;
    }
    delivery->state = DELIVERY_WRITING;
    delivery->item.reply_box = delivery->client->box;
    delivery->item.on_done = on_written;
    local_submit(delivery->client, &delivery->item);
    return STATUS_PENDING;
}

/* The body's blob is durable, or is not to be. */
static void on_finished(void *owner, enum status status)
{
    struct local_delivery *delivery = owner;
    if (status == STATUS_OK) {
        status = drop_removed(delivery);
    }
    if (status == STATUS_OK) {
        status = submit(delivery);
    }
    if (status != STATUS_PENDING) {
        delivery->client->inflight--;
        if (!delivery->detached) {
            delivery->events->on_done(delivery->owner, status, 0);
        }
        free_delivery(delivery);
    }
}

enum status local_delivery_commit(struct store_delivery *base,
                                  const struct store_recipient *recipients, unsigned count)
{
    struct local_delivery *delivery = own_delivery(base);
    enum status status = check_volume(local_of(delivery->client));
    if (status == STATUS_OK) {
        status = copy_recipients(delivery, recipients, count);
    }
    if (status == STATUS_OK) {
        status = claim_uidl(delivery);
    }
    if (status == STATUS_OK) {
        status = body_finish(delivery->body);
    }
    if (status == STATUS_PENDING) {
        delivery->state = DELIVERY_FINISHING;
    } else if (status == STATUS_OK) {
        status = submit(delivery);
    }
    if (status == STATUS_PENDING) {
        delivery->client->inflight++;
    }
    return status;
}

void local_delivery_abort(struct store_delivery *base)
{
    struct local_delivery *delivery = own_delivery(base);
    if (delivery->state == DELIVERY_FILLING) {
        free_delivery(delivery);
    } else {
        delivery->detached = true;
    }
}
