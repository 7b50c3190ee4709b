/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sendq.h"

#include "io/io_limits.h"

#include <assert.h>
#include <string.h>

enum chunk_kind { CHUNK_BLOCK, CHUNK_BORROWED, CHUNK_EXTENT, CHUNK_READER };

struct sendq_chunk {
    struct list_link link;
    enum chunk_kind kind;
    union {
        struct { /* CHUNK_BLOCK: octets of the block this header starts */
            uint32_t start, end, reserved;
        } block;
        struct { /* CHUNK_BORROWED */
            const uint8_t *data;
            size_t length;
            struct sendq_hold hold;
        } borrowed;
        struct sendq_extent extent;
        struct sendq_reader *reader;
    };
};

_Static_assert(sizeof(struct sendq_chunk) <= SENDQ_CHUNK_SIZE, "a chunk's header fits its place");
_Static_assert(SENDQ_CHUNK_SIZE % 16 == 0, "a block's octets are aligned");

void sendq_pools_init(struct sendq_pools *pools)
{
    mem_pool_init(&pools->blocks, SENDQ_BLOCK_SIZE, CONN_BLOCKS_KEPT);
    mem_pool_init(&pools->chunks, SENDQ_CHUNK_SIZE, CONN_CHUNKS_KEPT);
}

void sendq_pools_deinit(struct sendq_pools *pools)
{
    mem_pool_deinit(&pools->blocks);
    mem_pool_deinit(&pools->chunks);
}

void sendq_init(struct sendq *sendq, struct sendq_pools *pools)
{
    memset(sendq, 0, sizeof *sendq);
    list_init(&sendq->chunks);
    sendq->pools = pools;
}

static struct sendq_chunk *chunk_of(struct list_link *link)
{
    return list_entry(link, struct sendq_chunk, link);
}

static struct sendq_chunk *front_of(const struct sendq *sendq)
{
    return list_empty(&sendq->chunks) ? NULL : chunk_of(sendq->chunks.next);
}

static uint8_t *block_data(struct sendq_chunk *chunk)
{
    return (uint8_t *)chunk + SENDQ_CHUNK_SIZE;
}

static size_t block_room(const struct sendq_chunk *chunk)
{
    return SENDQ_RESERVE_MAX - chunk->block.end;
}

static struct sendq_chunk *block_get(struct sendq *sendq)
{
    struct sendq_chunk *chunk = mem_pool_get(&sendq->pools->blocks);
    if (chunk != NULL) {
        list_init(&chunk->link);
        chunk->kind = CHUNK_BLOCK;
        chunk->block.start = chunk->block.end = chunk->block.reserved = 0;
    }
    return chunk;
}

static struct sendq_chunk *chunk_get(struct sendq *sendq, enum chunk_kind kind)
{
    struct sendq_chunk *chunk = mem_pool_get(&sendq->pools->chunks);
    if (chunk != NULL) {
        list_init(&chunk->link);
        chunk->kind = kind;
    }
    return chunk;
}

/* Gives a chunk back and then tells its owner; the queue is in order by then, since the owner may
 * queue more from there. */
static void chunk_drop(struct sendq *sendq, struct sendq_chunk *chunk, enum status why)
{
    struct sendq_chunk copy = *chunk;
    list_remove(&chunk->link);
    mem_pool_put(copy.kind == CHUNK_BLOCK ? &sendq->pools->blocks : &sendq->pools->chunks, chunk);
    switch (copy.kind) {
    case CHUNK_BLOCK:
        break;
    case CHUNK_BORROWED:
        if (copy.borrowed.hold.release != NULL) {
            copy.borrowed.hold.release(copy.borrowed.hold.owner);
        }
        break;
    case CHUNK_EXTENT:
        sendq->sources--;
        if (copy.extent.hold.release != NULL) {
            copy.extent.hold.release(copy.extent.hold.owner);
        }
        break;
    case CHUNK_READER:
        sendq->sources--;
        copy.reader->stop(copy.reader, why);
        break;
    }
}

bool sendq_empty(const struct sendq *sendq)
{
    return list_empty(&sendq->chunks);
}

/* The last chunk when it is a block, else NULL. */
static struct sendq_chunk *tail_block(const struct sendq *sendq)
{
    struct sendq_chunk *tail = list_empty(&sendq->chunks) ? NULL : chunk_of(sendq->chunks.prev);
    return tail != NULL && tail->kind == CHUNK_BLOCK ? tail : NULL;
}

void sendq_clear(struct sendq *sendq, enum status why)
{
    sendq->octets = 0;
    if (sendq->reserved != NULL && sendq->reserved != tail_block(sendq)) {
        mem_pool_put(&sendq->pools->blocks, sendq->reserved); /* reserved and never committed */
    }
    sendq->reserved = NULL;
    mem_pool_put(&sendq->pools->blocks, sendq->reserved_front);
    sendq->reserved_front = NULL;
    struct sendq_chunk *chunk;
    while ((chunk = front_of(sendq)) != NULL) {
        chunk_drop(sendq, chunk, why);
    }
}

static size_t block_append(struct sendq_chunk *chunk, const uint8_t *data, size_t length)
{
    size_t count = length < block_room(chunk) ? length : block_room(chunk);
    memcpy(block_data(chunk) + chunk->block.end, data, count);
    chunk->block.end += (uint32_t)count;
    return count;
}

/* Fills new blocks with `length` octets; all of them, or none. */
static enum status fill_blocks(struct sendq *sendq, struct list_link *blocks, const uint8_t *data,
                               size_t length)
{
    while (length > 0) {
        struct sendq_chunk *chunk = block_get(sendq);
        if (chunk == NULL) {
            struct list_link *link;
            while ((link = list_pop_front(blocks)) != NULL) {
                mem_pool_put(&sendq->pools->blocks, chunk_of(link));
            }
            return STATUS_NO_MEMORY;
        }
        size_t count = block_append(chunk, data, length);
        list_push_back(blocks, &chunk->link);
        data += count;
        length -= count;
    }
    return STATUS_OK;
}

enum status sendq_copy(struct sendq *sendq, const void *data, size_t length)
{
    const uint8_t *octets = data;
    struct sendq_chunk *tail = tail_block(sendq);
    size_t fits = tail == NULL ? 0 : block_room(tail);
    if (fits > length) {
        fits = length;
    }
    struct list_link blocks, *link;
    list_init(&blocks);
    /* What does not fit comes first, so that a failure leaves the queue untouched. */
    if (length > fits) {
        enum status status = fill_blocks(sendq, &blocks, octets + fits, length - fits);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (fits > 0) {
        (void)block_append(tail, octets, fits); /* it fits */
    }
    while ((link = list_pop_front(&blocks)) != NULL) {
        list_push_back(&sendq->chunks, link);
    }
    sendq->octets += length;
    return STATUS_OK;
}

enum status sendq_reserve(struct sendq *sendq, size_t length, uint8_t **out_data)
{
    assert(sendq->reserved == NULL);
    if (length > SENDQ_RESERVE_MAX) {
        return STATUS_TOO_BIG;
    }
    struct sendq_chunk *chunk = tail_block(sendq);
    if (chunk == NULL || block_room(chunk) < length) {
        chunk = block_get(sendq);
        if (chunk == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    chunk->block.reserved = (uint32_t)length;
    sendq->reserved = chunk;
    *out_data = block_data(chunk) + chunk->block.end;
    return STATUS_OK;
}

void sendq_commit(struct sendq *sendq, size_t length)
{
    struct sendq_chunk *chunk = sendq->reserved;
    assert(chunk != NULL && length <= chunk->block.reserved);
    sendq->reserved = NULL;
    chunk->block.end += (uint32_t)length;
    sendq->octets += length;
    if (tail_block(sendq) == chunk) {
        return;
    }
    if (length == 0) {
        mem_pool_put(&sendq->pools->blocks, chunk);
    } else {
        list_push_back(&sendq->chunks, &chunk->link);
    }
}

enum status sendq_borrow(struct sendq *sendq, const void *data, size_t length,
                         struct sendq_hold hold)
{
    struct sendq_chunk *chunk = chunk_get(sendq, CHUNK_BORROWED);
    if (chunk == NULL) {
        return STATUS_NO_MEMORY;
    }
    chunk->borrowed.data = data;
    chunk->borrowed.length = length;
    chunk->borrowed.hold = hold;
    list_push_back(&sendq->chunks, &chunk->link);
    sendq->octets += length;
    return STATUS_OK;
}

enum status sendq_extent(struct sendq *sendq, const struct sendq_extent *extent)
{
    assert(extent->length > 0);
    struct sendq_chunk *chunk = chunk_get(sendq, CHUNK_EXTENT);
    if (chunk == NULL) {
        return STATUS_NO_MEMORY;
    }
    chunk->extent = *extent;
    list_push_back(&sendq->chunks, &chunk->link);
    sendq->octets += extent->length;
    sendq->sources++;
    return STATUS_OK;
}

enum status sendq_reader(struct sendq *sendq, struct sendq_reader *reader)
{
    struct sendq_chunk *chunk = chunk_get(sendq, CHUNK_READER);
    if (chunk == NULL) {
        return STATUS_NO_MEMORY;
    }
    chunk->reader = reader;
    list_push_back(&sendq->chunks, &chunk->link);
    sendq->sources++;
    return STATUS_OK;
}

enum sendq_front sendq_front(const struct sendq *sendq)
{
    const struct sendq_chunk *front = front_of(sendq);
    if (front == NULL) {
        return SENDQ_EMPTY;
    }
    switch (front->kind) {
    case CHUNK_EXTENT:
        return SENDQ_EXTENT;
    case CHUNK_READER:
        return SENDQ_READER;
    default:
        return SENDQ_OCTETS;
    }
}

/* The octets a chunk holds; false for an extent or reader. */
static bool chunk_octets(struct sendq_chunk *chunk, struct iovec *out_piece)
{
    switch (chunk->kind) {
    case CHUNK_BLOCK:
        out_piece->iov_base = block_data(chunk) + chunk->block.start;
        out_piece->iov_len = chunk->block.end - chunk->block.start;
        return true;
    case CHUNK_BORROWED: {
        /* An iovec has no const variant; sending does not write. */
        union {
            const uint8_t *in;
            void *out;
        } data = {.in = chunk->borrowed.data};
        out_piece->iov_base = data.out;
        out_piece->iov_len = chunk->borrowed.length;
        return true;
    }
    default:
        return false;
    }
}

unsigned sendq_gather(const struct sendq *sendq, struct iovec *iov, unsigned iov_max)
{
    unsigned count = 0;
    struct list_link *link = sendq->chunks.next;
    while (link != &sendq->chunks && count < iov_max &&
           chunk_octets(list_entry(link, struct sendq_chunk, link), &iov[count])) {
        count++;
        link = link->next;
    }
    return count;
}

bool sendq_more_behind(const struct sendq *sendq, unsigned iov_count)
{
    struct list_link *link = sendq->chunks.next;
    while (link != &sendq->chunks && iov_count > 0) {
        link = link->next;
        iov_count--;
    }
    return link != &sendq->chunks &&
           list_entry(link, struct sendq_chunk, link)->kind != CHUNK_READER;
}

const struct sendq_extent *sendq_front_extent(const struct sendq *sendq)
{
    const struct sendq_chunk *front = front_of(sendq);
    assert(front != NULL && front->kind == CHUNK_EXTENT);
    return &front->extent;
}

struct sendq_reader *sendq_front_reader(const struct sendq *sendq)
{
    const struct sendq_chunk *front = front_of(sendq);
    assert(front != NULL && front->kind == CHUNK_READER);
    return front->reader;
}

/* Takes up to `length` octets off a chunk; returns how many, and whether it is used up. */
static uint64_t chunk_take(struct sendq_chunk *chunk, uint64_t length, bool *out_empty)
{
    uint64_t left = 0, count = 0;
    switch (chunk->kind) {
    case CHUNK_BLOCK:
        left = chunk->block.end - chunk->block.start;
        count = length < left ? length : left;
        chunk->block.start += (uint32_t)count;
        break;
    case CHUNK_BORROWED:
        left = chunk->borrowed.length;
        count = length < left ? length : left;
        chunk->borrowed.data += count;
        chunk->borrowed.length -= (size_t)count;
        break;
    case CHUNK_EXTENT:
        left = chunk->extent.length;
        count = length < left ? length : left;
        chunk->extent.offset += count;
        chunk->extent.length -= count;
        break;
    case CHUNK_READER:
        assert(false && "a reader's octets are sent from the block it filled");
    }
    *out_empty = count == left;
    return count;
}

void sendq_sent(struct sendq *sendq, uint64_t length)
{
    assert(length <= sendq->octets);
    sendq->octets -= length;
    while (length > 0) {
        struct sendq_chunk *chunk = front_of(sendq);
        bool empty;
        length -= chunk_take(chunk, length, &empty);
        if (empty) {
            chunk_drop(sendq, chunk, STATUS_OK);
        }
    }
}

void sendq_reader_finished(struct sendq *sendq)
{
    struct sendq_chunk *chunk = front_of(sendq);
    assert(chunk != NULL && chunk->kind == CHUNK_READER);
    chunk_drop(sendq, chunk, STATUS_OK);
}

enum status sendq_reserve_front(struct sendq *sendq, size_t length, uint8_t **out_data)
{
    assert(sendq->reserved_front == NULL);
    if (length > SENDQ_RESERVE_MAX) {
        return STATUS_TOO_BIG;
    }
    struct sendq_chunk *chunk = block_get(sendq);
    if (chunk == NULL) {
        return STATUS_NO_MEMORY;
    }
    chunk->block.reserved = (uint32_t)length;
    sendq->reserved_front = chunk;
    *out_data = block_data(chunk);
    return STATUS_OK;
}

void sendq_commit_front(struct sendq *sendq, size_t length)
{
    struct sendq_chunk *chunk = sendq->reserved_front;
    assert(chunk != NULL && length <= chunk->block.reserved);
    sendq->reserved_front = NULL;
    if (length == 0) {
        mem_pool_put(&sendq->pools->blocks, chunk);
        return;
    }
    chunk->block.end = (uint32_t)length;
    sendq->octets += length;
    /* A list is its own element: pushing back before the first element puts in front. */
    list_push_back(sendq->chunks.next, &chunk->link);
}
