/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The storage contract: open a maildrop, list it, where are a message's bytes, deliver, expunge. It
 * is asynchronous throughout, because a distributed back end follows; the local one mostly answers
 * at once.
 *
 * Every call on a request returns either its final status, and is over (the callback is not
 * called), or STATUS_PENDING, and `on_done` is called exactly once, later, on the loop of the
 * request's client, never inside the call. A request lives in its owner and must stay there until
 * answered.
 *
 * Unless it says otherwise a function belongs to the worker that owns the client.
 */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include "io/loop.h"
#include "io/post.h"
#include "io/sendq.h"
#include "io/status.h"
#include "storage/check.h"
#include "storage/check_run.h"
#include "storage/storage_limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct view;

/* A maildrop's address in the store; what an account is mapped to. */
struct store_drop {
    uint32_t volume; /* index among the configured volumes */
    uint64_t id;     /* never reused */
};

/* --- the store as a whole: main thread --- */

struct store_config {
    const char *path;            /* the store's directory; one volume in `volume/` below it */
    uint64_t segment_size;       /* octets; 0: default */
    uint64_t blob_min;           /* octets; 0: default */
    uint64_t map_size;           /* octets; 0: default */
    uint64_t index_check_max;    /* octets of the index up to which a start checks all of it; 0:
                                  * default (256 MiB) */
    uint32_t checkpoint_ms;      /* 0: default */
    uint64_t message_octets_max; /* a message larger than this is refused; 0: default (64 MiB) */
    uint64_t scrub_rate;         /* octets a second that the scrubber reads; 0: none runs */
    uint64_t body_memory;        /* octets of bodies in memory at once; 0: default (256 MiB) */
    uint32_t compact_ms;         /* between looks for space to give back; 0: default (10 s) */
    bool compact_off;            /* only when store_compact asks */
    uint64_t compact_rate;       /* octets copied a second; 0: default (32 MiB) */
    uint32_t compact_live;       /* per cent of a segment that must be needed; 0: default (70) */
};

/* Opens, recovers and starts. On failure nothing is left running and `out_error` names the cure. */
MUST_CHECK enum status store_open(const struct store_config *config, struct store **out_store,
                                  struct error *out_error);
/* All clients must be gone. Waits for what was submitted. */
void store_close(struct store **store);

/* What a rebuild made, and of what. */
struct store_rebuilt {
    uint64_t segments, groups, octets; /* read */
    uint64_t maildrops, messages;      /* in the index now */
    uint64_t damaged_places;           /* of the log, gone round */
    uint64_t kept;                     /* messages taken over from the index there was */
    uint64_t lost_blobs;               /* blobs that nobody names, moved to lost+found/ */
};

/* Rebuilds the index from the log; the store must not be open. Same numbers, sizes, order and
 * unique-ids. Where the log is damaged, what the old index still knows is taken over. `on_progress`
 * (NULL allowed) is told octets read and octets in all; `out_rebuilt` may be NULL. */
MUST_CHECK enum status
store_rebuild(const struct store_config *config,
              void (*on_progress)(void *owner, uint64_t done, uint64_t total), void *owner,
              struct store_rebuilt *out_rebuilt, struct error *out_error);

struct store_numbers {
    uint64_t maildrops, messages, octets; /* as of the last checkpoint */
    uint64_t segments, log_octets;
    uint64_t delta_events, delta_octets;
    uint64_t checkpoint_lag_events; /* published, not yet in the index */
    uint64_t checkpoint_lag_ms;     /* age of the oldest of them */
    uint64_t checkpoints, checkpoint_us_sum;
    uint64_t map_octets, map_used_octets; /* LMDB */
    uint64_t map_free_octets;             /* of those in use: pages that are written over first */
    uint64_t quarantined;                 /* damaged places recovery went round */
    uint64_t scrub_octets, scrub_messages, scrub_passes; /* read and verified since the start */
    uint64_t damaged;                                    /* messages that are known to be */
    bool index_damaged;                     /* found by the scrubber: a restart rebuilds it */
    uint64_t needed_octets;                 /* of the log, by estimate */
    uint64_t copied_octets, copied_records; /* by compaction */
    uint64_t reclaimed_segments, reclaimed_blobs, reclaimed_octets; /* unlinked */
    uint64_t waiting_blobs; /* free, but a session may fetch them */
    uint64_t left_segments; /* that compaction cannot touch, because they are damaged */
    int64_t reclaimed_ms;   /* when last, UNIX time; 0: not since the start */
    bool compact_stopped;   /* by a failure, until the next start */
    bool read_only, space_low;
};
/* Any thread. */
void store_numbers(struct store *store, struct store_numbers *out_numbers);
const struct writer_counters *store_writer_counters(struct store *store); /* any thread */

/* Writes everything published to the index now and waits: for tests, CLI and a clean exit.
 * Blocking. */
MUST_CHECK enum status store_checkpoint(struct store *store, struct error *out_error);

/* Gives back what space can be given back now, and waits; `all`: every closed segment is copied and
 * unlinked, however full. Blocking, any thread but a worker. STATUS_NO_SPACE: too little is free to
 * begin; STATUS_AGAIN: mail came and went too fast; STATUS_READ_ONLY. */
MUST_CHECK enum status store_compact(struct store *store, bool all, struct error *out_error);

/* --- looking for damage: any thread that may block --- */

/* Checks a store that nobody has open, as storage/check.h says. */
MUST_CHECK enum status store_check_closed(const struct store_config *config,
                                          const struct check_options *options,
                                          struct check_result *out_result, struct error *out_error);

/* A check of an open store in the background, one at a time: storage/check_run.h. */
MUST_CHECK enum status store_check_start(struct store *store, uint64_t rate);
void store_check_cancel(struct store *store);
void store_check_state(struct store *store, struct check_run_state *out_state);
size_t store_check_findings(struct store *store, size_t first, struct damage *out, size_t count);

/* A message that is known to be damaged: its fetch answers STATUS_CORRUPT, all else works. */
struct store_damaged {
    uint64_t maildrop, uid, offset, blob;
    uint32_t segment;
    int64_t since_ms; /* UNIX milliseconds */
    char name[STORAGE_DROP_NAME_MAX + 1];
    char uidl[STORAGE_UIDL_LENGTH_MAX + 1];
};
/* Copies from number `first` on; returns how many, at most `count`. */
size_t store_damaged(struct store *store, size_t first, struct store_damaged *out, size_t count);

/* --- a worker's end --- */

struct store_client {
    struct store *store;
    struct loop *loop;
    struct post_box *box; /* answers arrive here */
    uint32_t inflight; /* requests not yet answered, detached ones too: the loop must run until 0 */
    void *own;         /* the store's; freed by store_close */
};
void store_client_init(struct store_client *client, struct store *store, struct loop *loop,
                       struct post_box *box);

/* --- maildrops: create, name, remove --- */

struct store_drop_change {
    struct store_client *client;
    void (*on_done)(struct store_drop_change *change, enum status status);
    char name[STORAGE_DROP_NAME_MAX + 1]; /* of the account, for a person and for a rebuild */
    struct store_drop drop;               /* create: out; rename, remove: in */
};
/* Durable when answered. STATUS_NO_SPACE, STATUS_READ_ONLY, STATUS_UNKNOWN, STATUS_NO_MEMORY. */
MUST_CHECK enum status store_drop_create(struct store_drop_change *change);
MUST_CHECK enum status store_drop_rename(struct store_drop_change *change);
MUST_CHECK enum status store_drop_remove(struct store_drop_change *change);
/* Whether a maildrop has been removed, or is being. Of a message that was delivered to several it
 * tells who does not have it. */
bool store_drop_is_removed(struct store_client *client, const struct store_drop *drop);

/* --- opening: lock and frozen view in one call --- */

enum store_lock_policy {
    STORE_LOCK_EXCLUSIVE, /* STATUS_BUSY while another session has it */
    STORE_LOCK_TAKEOVER,  /* the other session's commit will answer STATUS_LOST */
    STORE_LOCK_NONE       /* read-only for reports: its commit is refused with STATUS_DENIED */
};

struct store_open_request {
    struct store_client *client;
    void (*on_done)(struct store_open_request *request, enum status status);
    struct store_drop drop;
    enum store_lock_policy policy;
    struct view *view; /* out, the caller's; end it with store_view_close or store_commit */
    void *own;         /* the store's */
};
/* STATUS_BUSY, STATUS_NOT_FOUND, STATUS_CORRUPT, STATUS_IO, STATUS_NO_MEMORY, STATUS_TIMEOUT. */
MUST_CHECK enum status store_open_drop(struct store_open_request *request);
/* Gives a pending open up: it is answered all the same, with STATUS_CANCELLED. */
void store_open_cancel(struct store_open_request *request);

/* Releases the maildrop at once and the view when no fetch of it is pending. NULLs. */
void store_view_close(struct view **view);

#define STORE_LEASE_RENEW_MS 30000
/* Keeps a lease alive: call at least every STORE_LEASE_RENEW_MS. The local back end's never runs
 * out. STATUS_LOST when the lock has been taken over. */
MUST_CHECK enum status store_view_renew(struct view *view);

/* --- what a view holds: pure look-ups, fixed for its life --- */

struct store_message {
    uint64_t uid;
    uint64_t octets;        /* RFC 1939 section 11 */
    uint64_t wire_length;   /* octets RETR sends, terminator included */
    uint64_t header_length; /* wire octets up to and with the empty line */
    int64_t received_ms;
    unsigned flags; /* enum wire_flag */
};
uint32_t store_view_count(const struct view *view);
uint64_t store_view_octets(const struct view *view);
/* `index` from 0; asserted to be in range. */
void store_view_message(const struct view *view, uint32_t index, struct store_message *out_message);
/* Just the size, for LIST. */
uint64_t store_view_size(const struct view *view, uint32_t index);
/* Writes the unique-id, 1 to STORAGE_UIDL_LENGTH_MAX octets, and returns its length. */
size_t store_view_uidl(const struct view *view, uint32_t index, char out[STORAGE_UIDL_LENGTH_MAX]);

/* --- a message's bytes --- */

#define STORE_INLINE_MAX \
    16384 /* octets: smaller ranges are read and verified, larger ones sent by extent */

enum store_range_kind {
    STORE_RANGE_BUFFER, /* in the request's own buffer */
    STORE_RANGE_MEMORY, /* at `data`, until `hold` is released */
    STORE_RANGE_EXTENT  /* of a file; `extent.hold` to be released */
};

struct store_range {
    enum store_range_kind kind;
    uint64_t length; /* octets */
    const uint8_t *data;
    struct sendq_hold hold;
    struct sendq_extent extent;
};

struct store_fetch {
    struct store_client *client;
    void (*on_done)(struct store_fetch *fetch, enum status status);
    struct view *view;
    uint32_t index;
    uint64_t offset, length; /* of the wire form; within it (asserted) */
    uint8_t *buffer; /* room for `length` octets, or NULL; only used before the call returns */
    struct store_range range; /* out, the caller's */
    struct loop_op op;        /* the store's, for a cold read */
    void *own;
};
/*
 * Where the octets are. Whole messages of up to STORE_INLINE_MAX octets are verified before this
 * answers; cold ones of up to the blob limit are read and verified too (STATUS_PENDING); larger
 * warm ones and blobs come as an extent, verified when written and by scrubbing. STATUS_CORRUPT:
 * this message is damaged; others are not. A pending fetch keeps the view alive.
 *
 * A part of a message (for TOP): of one of up to STORE_INLINE_MAX octets the whole is verified, of
 * a larger one nothing. Ranges of up to STORE_INLINE_MAX octets always come as memory (buffer or
 * memory), never as an extent.
 */
MUST_CHECK enum status store_fetch(struct store_fetch *fetch);
/* Gives a pending fetch up; it is answered all the same, with STATUS_CANCELLED. */
void store_fetch_cancel(struct store_fetch *fetch);

/* --- expunging: one call with the session's whole list --- */

struct store_commit; /* the store's: it outlives the session that asked */

/*
 * Expunges the messages at `indexes` (count > 0) in one durable step and then releases the
 * maildrop: commit, unlock, answer, in this order. Takes the view over (NULLs it) whatever it
 * returns. A commit always runs to its end; store_commit_detach only stops the answer from being
 * delivered. Answers: STATUS_OK; STATUS_LOST (nothing removed); STATUS_READ_ONLY or STATUS_NO_SPACE
 * (nothing removed); STATUS_UNKNOWN (repeating is harmless). Always STATUS_PENDING unless memory is
 * short.
 */
MUST_CHECK enum status store_commit(struct view **view, const uint32_t *indexes, uint32_t count,
                                    void (*on_done)(void *owner, enum status status), void *owner,
                                    struct store_commit **out_commit);
void store_commit_detach(struct store_commit **commit);

/* --- delivering: one stored copy for all recipients --- */

struct store_recipient {
    struct store_drop drop;
    const char *address; /* as given in RCPT; NUL-terminated */
    const char *orcpt;   /* as given, or NULL */
};

struct store_delivery_info {
    const char *sender; /* envelope sender, "" for <> */
    const char *uidl;   /* imported unique-id, or NULL; must be 1..70 octets of 0x21..0x7e */
    int64_t received_ms;
    const char *header; /* trace headers to put in front, CRLF lines, or NULL */
    size_t header_length;
    uint64_t size_hint; /* octets announced, 0 unknown */
};

struct store_delivery; /* the store's, from begin to commit or abort */

struct store_delivery_events {
    /* store_delivery_add answered STATUS_PENDING: more can be added now. */
    void (*on_writable)(void *owner);
    /* The commit's answer, for each recipient alike; `uid` when STATUS_OK. */
    void (*on_done)(void *owner, enum status status, uint64_t uid);
};

/* Whether mail is taken now, before there is any: STATUS_OK, or STATUS_NO_SPACE (soft limit),
 * STATUS_READ_ONLY, STATUS_LIMIT as store_delivery_begin would answer. Costs a few loads: it may be
 * asked for every recipient. */
MUST_CHECK enum status store_delivery_admits(struct store_client *client);

/* STATUS_NO_MEMORY, STATUS_NO_SPACE (soft limit), STATUS_READ_ONLY, STATUS_INVALID (bad uidl),
 * STATUS_TOO_BIG (size_hint), STATUS_LIMIT (the index is behind: later it works; commit answers it
 * too). */
MUST_CHECK enum status store_delivery_begin(struct store_client *client,
                                            const struct store_delivery_info *info,
                                            const struct store_delivery_events *events, void *owner,
                                            struct store_delivery **out_delivery);
/* Adds message octets, unstuffed, with any line ends. STATUS_OK; STATUS_PENDING: taken, add no more
 * until on_writable; STATUS_TOO_BIG and other failures: only abort is left. */
MUST_CHECK enum status store_delivery_add(struct store_delivery *delivery, const uint8_t *data,
                                          size_t length);
/* Line feeds added so far that had no carriage return; they are stored with one. Only before the
 * commit. */
uint64_t store_delivery_bare_lfs(const struct store_delivery *delivery);
/*
 * Ends the message and makes it durable for all `recipients` (each drop once; copied). Always
 * STATUS_PENDING, then on_done, after which the delivery is gone; or a failure at once (then only
 * abort is left). STATUS_OK means durable. STATUS_EXISTS: the imported unique-id is taken in one of
 * the maildrops. STATUS_NOT_FOUND: no recipient's maildrop exists any more; when only some are
 * gone, store_drop_is_removed tells which.
 */
MUST_CHECK enum status store_delivery_commit(struct store_delivery *delivery,
                                             const struct store_recipient *recipients,
                                             unsigned count);
/* Before commit: drops it. After commit: only detaches the owner, on_done will not be called, the
 * delivery still happens. NULLs. */
void store_delivery_abort(struct store_delivery **delivery);

#endif
