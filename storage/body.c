/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Octets are encoded straight into the block that will be written: one pass and one copy. The body
 * and its first block are one allocation, so that a 4 KB message costs exactly one.
 *
 *   in memory --(over blob_min, or memory short)--> blob: full blocks go to the blob thread and
 * come back |                                             | v body_finish v body_finish ...
 * on_finished finished                                      finished
 */
#include "storage/body.h"

#include "storage/blob.h"
#include "storage/storage_limits.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

enum body_state { BODY_FILLING, BODY_FINISHING, BODY_FINISHED };

struct body_block {
    struct blob_piece piece;
    struct body_block *next;
    size_t used, capacity; /* octets of data */
    uint8_t *data;         /* behind the struct; behind the body for its first block */
};

struct body {
    struct body_config config;
    void (*on_writable)(void *owner);
    void (*on_finished)(void *owner, enum status status);
    void *owner;
    struct wire_encoder encoder;
    struct body_block *blocks; /* held here, oldest first; with a blob only the one being filled */
    struct body_block *last;
    unsigned block_count;
    struct blob *blob;  /* NULL: in memory */
    uint64_t in_flight; /* octets with the blob thread */
    uint64_t checksum;
    enum status status; /* the first failure */
    enum body_state state;
    bool is_waiting;   /* the owner awaits on_writable */
    bool is_abandoned; /* destroyed; freed with the blob thread's last answer */
    bool is_kept;
    struct body_block first; /* its data is the rest of the allocation */
};

#define FIRST_CAPACITY (BODY_BLOCK_FIRST - sizeof(struct body))
#define BLOCK_CAPACITY (BODY_BLOCK - sizeof(struct body_block))
static_assert(sizeof(struct body) < 1024, "most of the first block is for the message");
static_assert(BODY_WINDOW >= 2 * BODY_BLOCK, "the next block fills while one is written");

/* The budget is advice about the sum; relaxed, because it orders nothing. */
static void give_memory(struct body *body, int64_t octets)
{
    (void)atomic_fetch_add_explicit(body->config.memory_left, octets, memory_order_relaxed);
}

static bool memory_is_short(const struct body *body)
{
    return atomic_load_explicit(body->config.memory_left, memory_order_relaxed) < BODY_BLOCK;
}

enum status body_create(const struct body_config *config, struct body **out_body)
{
    struct body *body = malloc(BODY_BLOCK_FIRST);
    if (body == NULL) {
        return STATUS_NO_MEMORY;
    }
    *body = (struct body){.config = *config, .block_count = 1};
    body->first.capacity = FIRST_CAPACITY;
    body->first.data = (uint8_t *)(body + 1);
    body->blocks = body->last = &body->first;
    wire_init(&body->encoder);
    give_memory(body, -BODY_BLOCK_FIRST);
    *out_body = body;
    return STATUS_OK;
}

void body_set_callbacks(struct body *body, void (*on_writable)(void *owner),
                        void (*on_finished)(void *owner, enum status status), void *owner)
{
    body->on_writable = on_writable;
    body->on_finished = on_finished;
    body->owner = owner;
}

static void free_block(struct body *body, struct body_block *block)
{
    if (block != &body->first) { /* which goes with the body */
        free(block);
        give_memory(body, BODY_BLOCK);
    }
}

static void free_body(struct body *body)
{
    while (body->blocks != NULL) {
        struct body_block *block = body->blocks;
        body->blocks = block->next;
        free_block(body, block);
    }
    if (body->blob != NULL && body->config.inflight != NULL) {
        --*body->config.inflight;
    }
    free(body->blob);
    give_memory(body, BODY_BLOCK_FIRST);
    free(body);
}

/* --- the blob thread's answers --- */

/* How much may be on its way: with memory short, nothing but the block just sent. */
static uint64_t window(const struct body *body)
{
    return memory_is_short(body) ? 0 : BODY_WINDOW;
}

/* A blob and the body it belongs to; made when it is needed, because its checksum's state is large.
 */
struct body_blob {
    struct blob blob;
    struct body *body;
};

static struct body *body_of(struct blob *blob)
{
    return ((struct body_blob *)(void *)blob)->body;
}

static void on_written(struct blob_piece *piece)
{
    struct body *body = body_of(piece->blob);
    body->in_flight -= piece->length;
    if (body->status == STATUS_OK) {
        body->status = piece->status;
    }
    free_block(body, list_entry(&piece->message, struct body_block, piece.message));
    if (body->is_waiting && !body->is_abandoned && body->in_flight <= window(body) / 2) {
        body->is_waiting = false;
        body->on_writable(body->owner); /* the last thing: it may destroy the body */
    }
}

static void on_closed(struct blob *blob, enum status status)
{
    struct body *body = body_of(blob);
    bool was_finish = body->state == BODY_FINISHING;
    if (was_finish) {
        body->state = BODY_FINISHED;
        body->status = status;
        body->checksum = blob->footer.body_checksum;
    }
    if (was_finish && body->is_abandoned) {
        blob_abort(blob);
    } else if (was_finish) {
        body->on_finished(body->owner, status);
    } else {
        free_body(body); /* the answer to an abort: the last there is */
    }
}

void body_destroy(struct body **body)
{
    struct body *gone = *body;
    *body = NULL;
    if (gone == NULL) {
        return;
    }
    if (gone->blob == NULL || (gone->state == BODY_FINISHED && gone->is_kept)) {
        free_body(gone);
        return;
    }
    gone->is_abandoned = true;
    if (gone->state != BODY_FINISHING) {
        blob_abort(gone->blob);
    }
}

/* --- filling --- */

/* Hands all blocks held here to the blob thread. */
static void ship(struct body *body)
{
    while (body->blocks != NULL) {
        struct body_block *block = body->blocks;
        body->blocks = block->next;
        block->piece.data = block->data;
        block->piece.length = block->used;
        body->in_flight += block->used;
        blob_write(body->blob, &block->piece);
    }
    body->last = NULL;
    body->block_count = 0;
}

static enum status spill(struct body *body)
{
    size_t size = (sizeof(struct body_blob) + 63) / 64 * 64; /* as the alignment wants it */
    struct body_blob *made = aligned_alloc(64, size);
    if (made == NULL) {
        return STATUS_NO_MEMORY;
    }
    made->body = body;
    made->blob.on_written = on_written;
    made->blob.on_closed = on_closed;
    blob_init(&made->blob, body->config.blobs, body->config.owner_box);
    body->blob = &made->blob;
    if (body->config.inflight != NULL) {
        ++*body->config.inflight;
    }
    return STATUS_OK;
}

/* Makes room: the block being filled is full. */
static enum status next_block(struct body *body)
{
    if (body->blob == NULL && memory_is_short(body)) {
        enum status status = spill(body);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (body->blob != NULL) {
        ship(body);
    }
    struct body_block *block = malloc(BODY_BLOCK);
    if (block == NULL) {
        return STATUS_NO_MEMORY;
    }
    give_memory(body, -BODY_BLOCK);
    *block = (struct body_block){.capacity = BLOCK_CAPACITY, .data = (uint8_t *)(block + 1)};
    if (body->last != NULL) {
        body->last->next = block;
    } else {
        body->blocks = block;
    }
    body->last = block;
    body->block_count++;
    return STATUS_OK;
}

static enum status fill(struct body *body, const uint8_t *data, size_t length)
{
    while (length > 0) {
        struct body_block *block = body->last;
        size_t written, room = block->capacity - block->used;
        size_t taken =
            wire_encode(&body->encoder, data, length, block->data + block->used, room, &written);
        block->used += written;
        data += taken;
        length -= taken;
        if (length > 0) {
            enum status status = next_block(body);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* What is over the limit becomes a blob; from then on blocks leave as they are filled. */
static enum status check_size(struct body *body)
{
    if (body->encoder.wire_length > STORAGE_MESSAGE_OCTETS_MAX) {
        return STATUS_TOO_BIG;
    }
    if (body->blob == NULL && body->encoder.wire_length > body->config.blob_min) {
        return spill(body);
    }
    return STATUS_OK;
}

enum status body_add(struct body *body, const uint8_t *data, size_t length)
{
    assert(body->state == BODY_FILLING);
    if (body->status == STATUS_OK) {
        body->status = fill(body, data, length);
    }
    if (body->status == STATUS_OK) {
        body->status = check_size(body);
    }
    if (body->status != STATUS_OK) {
        return body->status;
    }
    if (body->in_flight > window(body)) {
        body->is_waiting = true;
        return STATUS_PENDING;
    }
    return STATUS_OK;
}

enum status body_add_header(struct body *body, const char *data, size_t length)
{
    return body_add(body, (const uint8_t *)data, length);
}

static void sum_up(struct body *body)
{
    if (body->blocks->next == NULL) {
        body->checksum = checksum_body(body->blocks->data, body->blocks->used);
        return;
    }
    struct checksum_stream stream;
    checksum_stream_init(&stream);
    for (const struct body_block *block = body->blocks; block != NULL; block = block->next) {
        checksum_stream_add(&stream, block->data, block->used);
    }
    body->checksum = checksum_stream_result(&stream);
}

static void finish_blob(struct body *body)
{
    struct record_blob_footer *footer = &body->blob->footer;
    ship(body);
    footer->octets = body->encoder.octets;
    footer->header_length = body->encoder.header_length;
    footer->message_flags = (uint16_t)body->encoder.flags;
    footer->encoding = RECORD_ENCODING_WIRE;
    body->state = BODY_FINISHING;
    blob_finish(body->blob);
}

enum status body_finish(struct body *body)
{
    assert(body->state == BODY_FILLING);
    body->is_waiting = false;
    if (body->status == STATUS_OK && body->last->capacity - body->last->used < WIRE_TAIL_MAX) {
        body->status = next_block(body);
    }
    if (body->status != STATUS_OK) {
        return body->status;
    }
    body->last->used += wire_finish(&body->encoder, body->last->data + body->last->used);
    body->status = check_size(body);
    if (body->status != STATUS_OK) {
        return body->status;
    }
    if (body->blob != NULL) {
        finish_blob(body);
        return STATUS_PENDING;
    }
    sum_up(body);
    body->state = BODY_FINISHED;
    return STATUS_OK;
}

/* --- the result --- */

static void assert_finished(const struct body *body)
{
    assert(body->state == BODY_FINISHED && body->status == STATUS_OK);
}

const struct wire_encoder *body_wire(const struct body *body)
{
    return &body->encoder;
}

uint64_t body_checksum(const struct body *body)
{
    assert_finished(body);
    return body->checksum;
}

uint64_t body_blob(const struct body *body)
{
    assert_finished(body);
    return body->blob != NULL ? body->blob->footer.blob : 0;
}

unsigned body_iov_count(const struct body *body)
{
    assert_finished(body);
    return body->blob != NULL ? 0 : body->block_count;
}

void body_iov(const struct body *body, struct iovec *out_iov)
{
    assert_finished(body);
    for (struct body_block *block = body->blocks; block != NULL; block = block->next) {
        *out_iov++ = (struct iovec){block->data, block->used};
    }
}

void body_keep_blob(struct body *body)
{
    assert_finished(body);
    body->is_kept = true;
}
