/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the log but not yet in the index: published events, in memory, by maildrop. The writer
 * adds, workers copy a maildrop's events when they open it, the checkpointer takes a prefix in log
 * order and forgets it when the index has it.
 *
 * Sharded by maildrop with a mutex a shard; nobody holds one across I/O. A message delivered and
 * expunged before any checkpoint saw it cancels out, unless its body is a blob: the index must
 * count that one to know that the file can go.
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

/* Where a message is and what a session must know of it, without its body: index value and delta.
 */
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
    DELTA_SEGMENT_RETIRED, /* maildrop 0, uid is the segment's id */
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

/* An empty one that is full above `octets_max`. STATUS_NO_MEMORY. */
MUST_CHECK enum status delta_create(uint64_t octets_max, struct delta **out_delta);
/* After writer, checkpointer and all readers. NULL inside is allowed; NULLs. */
void delta_destroy(struct delta **delta);

/* Where a durable group stands in the log. A checkpoint that ends inside a group stores the start
 * of its frame, together with the last sequence applied: replay from there, skipping sequences up
 * to that one, misses nothing. */
struct delta_group {
    uint32_t segment;
    uint64_t offset; /* of the group's frame */
    uint64_t end;    /* the first octet behind the group */
    uint64_t first_sequence, last_sequence;
};

/* Adds the events of one durable group, in log order (storage/event.h makes them); copies them.
 * Called once a group, also for one that has no events. The writer only (and recovery, before it
 * starts). STATUS_NO_MEMORY must be treated as a failed volume. */
MUST_CHECK enum status delta_publish(struct delta *delta, const struct delta_group *group,
                                     const struct delta_event *events, size_t count);

/* Copies the events of one maildrop into the arena, oldest first. Any thread. */
MUST_CHECK enum status delta_copy(struct delta *delta, uint64_t maildrop, struct mem_arena *arena,
                                  struct delta_event **out_events, size_t *out_count);

/*
 * The checkpointer: a prefix of the log, of at most `events_max` events (but at least one record,
 * and whole records only), ordered by maildrop and then by sequence, valid until delta_forget or
 * the next take. `*out_position` is what to store with them: the last sequence in the prefix, and
 * the place from which a replay that skips sequences up to that one is complete. Its sequence is 0
 * when there is nothing to do; the count alone may be 0 when only eventless groups passed. Taken
 * events no longer cancel, and stay visible to delta_copy.
 */
MUST_CHECK enum status delta_take(struct delta *delta, size_t events_max,
                                  const struct delta_event ***out_events, size_t *out_count,
                                  struct log_position *out_position);
/* The last sequence that has been published; 0: none, since the start. Any thread. */
uint64_t delta_newest(struct delta *delta);
/* Orders events as delta_take does: what index_apply wants. Pure. */
void delta_sort(const struct delta_event **events, size_t count);
/* The index now holds everything up to `sequence`: drops those events. */
void delta_forget(struct delta *delta, uint64_t sequence);

/* --- single questions: any thread --- */

/* What the delta knows of a message; what it does not know, the index may. */
enum delta_presence { DELTA_UNKNOWN, DELTA_PRESENT, DELTA_GONE };
enum delta_presence delta_find_uid(struct delta *delta, uint64_t maildrop, uint64_t uid);
/* The message with an imported unique-id. */
enum delta_presence delta_find_uidl(struct delta *delta, uint64_t maildrop, const char *uidl,
                                    size_t length);

/*
 * Whether what the index said at position `since` still holds: DELTA_PRESENT, nothing has happened;
 * DELTA_GONE, the message has been expunged or its maildrop removed (`uid` 0: the maildrop removed,
 * or named anew behind `since`); DELTA_UNKNOWN, the delta has forgotten some of what came since:
 * ask the index again. Any thread.
 */
enum delta_presence delta_since(struct delta *delta, uint64_t maildrop, uint64_t uid,
                                uint64_t since);

/* Has `on_due` called by the writer, from inside delta_publish, when so many events or octets of
 * log have come since the last delta_take. Before the writer starts. */
void delta_set_due(struct delta *delta, uint64_t events, uint64_t log_octets,
                   void (*on_due)(void *owner), void *owner);

/* What it holds now; any thread. */
uint64_t delta_octets(const struct delta *delta);
uint64_t delta_events(const struct delta *delta);
/* When the oldest group that is still here was published (monotonic milliseconds); 0: there is
 * none. */
int64_t delta_oldest_ms(const struct delta *delta);
/* True above octets_max: deliveries must wait for (or be refused until) the next checkpoint. */
bool delta_full(const struct delta *delta);

#endif
