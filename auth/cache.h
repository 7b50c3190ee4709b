/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verified-credential cache: what a slow verification said, remembered for a while, and the
 * verifications under way, so that the same credential is never verified twice at once.
 *
 * A credential is named by a digest of the full tuple (name, password, the name's change stamp)
 * under a key of this process: no secret is kept, no two users share an entry, and a change to an
 * account makes its old entries unreachable at once. Entries are of one cache line, found through
 * sets of AUTH_CACHE_WAYS, and take memory as they are first used; after cache_create nothing is
 * allocated but the terms of accounts that have some. A refused credential never displaces a
 * verified one that still holds: guessing cannot push users out.
 *
 * Any thread; a lock of one of AUTH_CACHE_SHARDS shards is held for some dozen instructions.
 */
#ifndef AUTH_CACHE_H
#define AUTH_CACHE_H

#include "auth/secret.h"
#include "auth/terms.h"
#include "io/list.h"
#include "io/status.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache;

struct cache_config {
    uint32_t entries_max;     /* rounded up to whole sets */
    uint32_t ttl_ms;          /* of a verified credential */
    uint32_t negative_ttl_ms; /* of a refused one */
};

struct cache_key {
    struct secret_digest digest;
};

/* What is remembered. CACHE_NOTHING in a settled flight: no verdict was reached. */
enum cache_verdict { CACHE_NOTHING, CACHE_VERIFIED, CACHE_REFUSED };

struct cache_value {
    enum cache_verdict verdict;
    struct store_drop drop; /* with CACHE_VERIFIED */
    bool has_terms;         /* the password was right, but that is not all: ask `terms` */
    struct terms terms;     /* set only then */
};

/* STATUS_NO_MEMORY. */
MUST_CHECK enum status cache_create(const struct cache_config *config, struct cache **out_cache);
/* No flight may be under way. NULLs. */
void cache_destroy(struct cache **cache);

/* The key of a credential at this moment. To be made before the account is read: then a verdict
 * about an older account is remembered under a key that nobody asks for again. */
void cache_key(struct cache *cache, const char *name, size_t name_length, const char *password,
               size_t password_length, struct cache_key *out_key);

/* The same for somebody who acts for `name` with a password of his own: a change to either makes
 * the entry unreachable. `master` is the name his changes are announced under. */
void cache_key_for_master(struct cache *cache, const char *name, size_t name_length,
                          const char *master, size_t master_length, const char *password,
                          size_t password_length, struct cache_key *out_key);

/* Makes every entry of this name (and of those that share its stamp) unreachable. To be called
 * after a change is durable, before it is announced. */
void cache_forget(struct cache *cache, const char *name, size_t name_length);
void cache_forget_all(struct cache *cache);

/* What is remembered, with the time it holds (negative: over). Counts nothing, keeps nothing. */
bool cache_peek(struct cache *cache, const struct cache_key *key, int64_t now_ms,
                struct cache_value *out_value, int64_t *out_left_ms);

/* As cache_find, but also a verified credential whose time is over by no more than `stale_ms`: for
 * when nobody can be asked. Counts nothing. */
bool cache_find_stale(struct cache *cache, const struct cache_key *key, int64_t now_ms,
                      int64_t stale_ms, struct cache_value *out_value);

/* Whether there is a verdict that still holds at `now_ms`. */
bool cache_find(struct cache *cache, const struct cache_key *key, int64_t now_ms,
                struct cache_value *out_value);

/* --- verifications under way ------------------------------------------------------------------ */

/* One that waits for a verdict; lives in its owner until taken from the flight or left. */
struct cache_waiter {
    struct list_link link; /* the cache's while queued */
    bool is_queued;        /* under the shard's lock */
};

/* One verification; lives in whoever does it, from a CACHE_BEGUN to its end: cache_settle,
 * cache_end_unwanted or a cache_leave that hands it out. */
struct cache_flight {
    struct list_link link;
    struct list_link waiters; /* of cache_waiter */
    struct cache_key key;
    /* Set before cache_begin. Called when the last waiter leaves, in that call and under the lock
     * of the shard: true when it has seen to it that nobody will do the verification any more. */
    bool (*on_unwanted)(struct cache_flight *flight);
};

enum cache_start {
    CACHE_HIT,    /* a verdict came meanwhile: `out_value`; nothing was queued */
    CACHE_JOINED, /* `waiter` waits in somebody else's flight; `flight` was not used */
    CACHE_BEGUN   /* `flight` is under way with `waiter` in it: the caller sees to its end */
};
enum cache_start cache_begin(struct cache *cache, const struct cache_key *key, int64_t now_ms,
                             struct cache_flight *flight, struct cache_waiter *waiter,
                             struct cache_value *out_value);

/* Takes `waiter` out of the flight for `key`. False: a settle has it already, its answer is coming.
 * `out_ended`: the flight, when it was ended for want of waiters and is the caller's to free; else
 * NULL. */
MUST_CHECK bool cache_leave(struct cache *cache, const struct cache_key *key,
                            struct cache_waiter *waiter, struct cache_flight **out_ended);

/* Ends a flight that nobody waits for any more. False: somebody does, it goes on. */
bool cache_end_unwanted(struct cache *cache, struct cache_flight *flight);

/* Ends a flight: remembers `value` (unless it is CACHE_NOTHING) and moves the waiters to
 * `out_waiters`, an initialised list; each is then the caller's to answer. */
void cache_settle(struct cache *cache, struct cache_flight *flight, const struct cache_value *value,
                  int64_t now_ms, struct list_link *out_waiters);

struct cache_numbers {
    uint64_t entries; /* in use, stale ones included */
    uint64_t hits, negative_hits, misses, joins;
};
void cache_numbers(struct cache *cache, struct cache_numbers *out_numbers);

#endif
