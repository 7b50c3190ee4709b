/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the log but not yet in the index: published events, in memory, by maildrop. The writer
 * adds, workers copy a maildrop's events when they open it, the checkpointer takes a prefix in log
 * order and forgets it when the index has it.
 *
 * Sharded by maildrop with a mutex a shard; nobody holds one across I/O. A message delivered and
 * expunged before any checkpoint saw it cancels out.
 */
#ifndef STORAGE_DELTA_H
#define STORAGE_DELTA_H

#include "io/mem.h"
#include "io/status.h"
#include "storage/storage_limits.h"
#include "storage/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a message is and what a session must know of it, without its body: index value and delta. */
struct message_entry {
    uint64_t uid;
    uint64_t offset;        /* of the body in its segment; 0 in a blob */
    uint64_t blob;          /* blob id, or 0 */
    uint64_t checksum;      /* XXH3 of the body */
    uint32_t segment;       /* of the body, or of the record that names the blob */
    uint32_t wire_length;   /* octets */
    uint32_t octets;        /* as LIST shows it */
    uint32_t header_length; /* wire octets up to and with the separator */
    uint16_t flags;         /* enum wire_flag */
    uint8_t encoding;       /* enum record_encoding */
    uint8_t uidl_length;    /* 0: the unique-id is made from epoch and uid */
    int64_t received_ms;
    char uidl[STORAGE_UIDL_LENGTH_MAX];
};

enum delta_kind {
    DELTA_MESSAGE_ADDED,
    DELTA_MESSAGE_EXPUNGED,
    DELTA_MESSAGE_MOVED,
    DELTA_DROP_CREATED,
    DELTA_DROP_CHANGED,
    DELTA_DROP_REMOVED,
};

struct delta_event {
    uint64_t maildrop;
    uint64_t sequence; /* of the record; all recipients of a message share it */
    enum delta_kind kind;
    uint64_t uid;                /* the message's, else 0 */
    struct message_entry *entry; /* added and moved; NULL otherwise */
    char *name;                  /* drop created and changed, NUL-terminated; NULL otherwise */
};

struct delta;

MUST_CHECK enum status delta_create(uint64_t octets_max, struct delta **out_delta);
void delta_destroy(struct delta **delta);

/* Adds events of one published record or group, in log order; copies them. The writer only (and
 * recovery, before it starts). STATUS_NO_MEMORY must be treated as a failed volume. */
MUST_CHECK enum status delta_publish(struct delta *delta, const struct delta_event *events,
                                     size_t count);

/* Copies the events of one maildrop into the arena, oldest first. Any thread. */
MUST_CHECK enum status delta_copy(struct delta *delta, uint64_t maildrop, struct mem_arena *arena,
                                  struct delta_event **out_events, size_t *out_count);

/*
 * The checkpointer: a prefix of the log, at most `events_max` events (whole records only), ordered by
 * maildrop and then by sequence, valid until delta_forget or the next take; `*out_sequence` is the last sequence in
 * it, 0 when there is nothing. Taken events no longer cancel, and stay visible to delta_copy.
 */
MUST_CHECK enum status delta_take(struct delta *delta, size_t events_max,
                                  const struct delta_event ***out_events, size_t *out_count,
                                  uint64_t *out_sequence);
/* The index now holds everything up to `sequence`: drops those events. */
void delta_forget(struct delta *delta, uint64_t sequence);

/* Any thread. */
uint64_t delta_octets(const struct delta *delta);
uint64_t delta_events(const struct delta *delta);
/* True above octets_max: deliveries must wait for (or be refused until) the next checkpoint. */
bool delta_full(const struct delta *delta);

#endif
