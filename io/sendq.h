/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection's output, in order, as chunks of three kinds: octets (copied into pooled blocks,
 * or borrowed from an owner), an extent of a file, and a reader that is asked for its next block.
 * Owner thread only; used by conn.c, which does the sending.
 */
#ifndef IO_SENDQ_H
#define IO_SENDQ_H

#include "io/list.h"
#include "io/mem.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define SENDQ_BLOCK_SIZE  32768 /* octets of a pooled block: a 16 KiB message and its reply line */
#define SENDQ_CHUNK_SIZE  96 /* octets of a chunk's header, which lies at the start of its block */
#define SENDQ_RESERVE_MAX (SENDQ_BLOCK_SIZE - SENDQ_CHUNK_SIZE) /* octets in one piece */

/* Something that must live until its octets are sent. `release` is called exactly once: when the
 * chunk has been sent whole or was dropped. */
struct sendq_hold {
    void (*release)(void *owner);
    void *owner;
};

struct sendq_extent {
    int fd;
    uint64_t offset; /* octets */
    uint64_t length; /* octets, > 0 */
    struct sendq_hold hold;
    bool warm; /* all of it was in the page cache a moment ago: nobody need look again */
};

/* A source of output that is too long, or too late, to be queued at once. Lives inside its owner.
 */
struct sendq_reader {
    /* Writes up to `capacity` octets. STATUS_OK with *out_length > 0: more may follow. STATUS_EOF
     * (with *out_length >= 0): that was the end. STATUS_PENDING: nothing now; conn_reader_ready
     * will be called. Anything else ends the connection with that reason. Never touches the
     * connection. */
    enum status (*fill)(struct sendq_reader *reader, uint8_t *out_data, size_t capacity,
                        size_t *out_length);
    /* Exactly once, after the last fill: STATUS_OK when it ran to its end, else why it was dropped.
     */
    void (*stop)(struct sendq_reader *reader, enum status status);
};

/* The worker's memory for queues: blocks of SENDQ_BLOCK_SIZE, chunk headers of SENDQ_CHUNK_SIZE. */
struct sendq_pools {
    struct mem_pool blocks, chunks;
};

/* Readies the worker's pools. */
void sendq_pools_init(struct sendq_pools *pools);

/* Frees them; all queues must be empty (asserted). */
void sendq_pools_deinit(struct sendq_pools *pools);

struct sendq_chunk;

struct sendq {
    struct list_link chunks;
    struct sendq_pools *pools;
    struct sendq_chunk *reserved;       /* between sendq_reserve and sendq_commit */
    struct sendq_chunk *reserved_front; /* between sendq_reserve_front and sendq_commit_front */
    uint64_t octets;  /* queued and not yet sent; a reader counts what it has filled */
    uint32_t sources; /* extents and readers queued */
};

/* Readies an empty queue that takes its memory from `pools`. */
void sendq_init(struct sendq *sendq, struct sendq_pools *pools);

/* Drops everything: releases holds, stops readers with `why`. */
void sendq_clear(struct sendq *sendq, enum status why);

/* Whether nothing is queued. */
bool sendq_empty(const struct sendq *sendq);

/* Appends a copy. STATUS_NO_MEMORY leaves the queue as it was. */
MUST_CHECK enum status sendq_copy(struct sendq *sendq, const void *data, size_t length);

/* Room for `length` octets in one piece at the end of the queue, to be written in place and then
 * claimed with sendq_commit (at most `length`; 0 takes it back). Nothing else may be queued
 * between. STATUS_TOO_BIG above SENDQ_RESERVE_MAX. */
MUST_CHECK enum status sendq_reserve(struct sendq *sendq, size_t length, uint8_t **out_data);
void sendq_commit(struct sendq *sendq, size_t length);

/* Appends octets that stay where they are until `hold` is released. */
MUST_CHECK enum status sendq_borrow(struct sendq *sendq, const void *data, size_t length,
                                    struct sendq_hold hold);

/* Append an extent, or a reader. STATUS_NO_MEMORY leaves the queue as it was, and hold or reader
 * with the caller. */
MUST_CHECK enum status sendq_extent(struct sendq *sendq, const struct sendq_extent *extent);

/* See sendq_extent. */
MUST_CHECK enum status sendq_reader(struct sendq *sendq, struct sendq_reader *reader);

/* What stands at the front. */
enum sendq_front { SENDQ_EMPTY, SENDQ_OCTETS, SENDQ_EXTENT, SENDQ_READER };
enum sendq_front sendq_front(const struct sendq *sendq);

/* Fills `iov` with the octets at the front, up to the first extent or reader. Returns the entries.
 */
unsigned sendq_gather(const struct sendq *sendq, struct iovec *iov, unsigned iov_max);

/* True when octets or an extent stand behind what sendq_gather with `iov_count` entries names. A
 * reader does not count: it may have nothing to say for a long time. */
bool sendq_more_behind(const struct sendq *sendq, unsigned iov_count);

/* The extent or reader at the front (asserted). */
const struct sendq_extent *sendq_front_extent(const struct sendq *sendq);
struct sendq_reader *sendq_front_reader(const struct sendq *sendq);

/* `length` octets at the front, octets or extent, have been sent: releases what is done. */
void sendq_sent(struct sendq *sendq, uint64_t length);

/* Takes the finished reader off the front and stops it with STATUS_OK. */
void sendq_reader_finished(struct sendq *sendq);

/* Room for a copy that goes in front of everything: what a reader has filled, or a cold extent's
 * octets after sendq_sent has shortened it. The queue may be used as usual in between, however long
 * that takes; sendq_clear takes the room back. Committing 0 does so too. */
MUST_CHECK enum status sendq_reserve_front(struct sendq *sendq, size_t length, uint8_t **out_data);
void sendq_commit_front(struct sendq *sendq, size_t length);

#endif
