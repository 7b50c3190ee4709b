/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/cache.h"

#include "auth/auth_limits.h"
#include "io/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static_assert((AUTH_CACHE_SHARDS & (AUTH_CACHE_SHARDS - 1)) == 0, "shards are chosen by a mask");
static_assert((AUTH_CACHE_STAMPS & (AUTH_CACHE_STAMPS - 1)) == 0, "stamps are chosen by a mask");

#define WAY_PLACE_BITS 22
#define WAY_TAG_BITS   10
#define WAYS_MAX       ((1u << WAY_PLACE_BITS) - 1) /* of one shard; see struct cache_way */

struct cache_entry {
    struct secret_digest digest;
    int64_t expires_ms; /* with verdict CACHE_NOTHING: free */
    uint64_t drop_id;
    uint32_t volume;
    uint32_t used : 30; /* the shard's clock when last asked for */
    uint32_t verdict : 2;
    struct terms *terms; /* owned; NULL for most */
};

static_assert(sizeof(struct cache_entry) <= 64, "one cache line");

/* Where an entry is and a few bits of its digest, so that hardly any other is looked at. The
 * entries of a shard lie side by side in the order in which they were first used, and not in their
 * sets: spread over a table made for 262,144, two thousand would touch nearly as many pages. */
struct cache_way {
    uint32_t place : WAY_PLACE_BITS; /* in the shard's entries, from 1; 0: never used */
    uint32_t tag : WAY_TAG_BITS;
};

struct cache_set {
    struct cache_way ways[AUTH_CACHE_WAYS];
};

struct cache_shard {
    alignas(64) pthread_mutex_t lock;
    struct list_link flights; /* few: as many as verifications run and wait, over all shards */
    struct cache_set *sets;
    struct cache_entry *places; /* as many as the sets have ways; the first `placed` are used */
    uint32_t placed;
    uint32_t clock;
    uint64_t entries, hits, negative_hits, misses, joins;
};

struct cache {
    struct secret_key key;
    uint32_t sets_per_shard;
    uint32_t ttl_ms, negative_ttl_ms;
    _Atomic uint64_t epoch; /* counts cache_forget_all */
    _Atomic uint64_t stamps[AUTH_CACHE_STAMPS];
    struct cache_shard shards[AUTH_CACHE_SHARDS];
};

enum status cache_create(const struct cache_config *config, struct cache **out_cache)
{
    struct cache *cache = aligned_alloc(alignof(struct cache), sizeof *cache);
    if (cache == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(cache, 0, sizeof *cache);
    uint32_t per_shard = AUTH_CACHE_SHARDS * AUTH_CACHE_WAYS;
    cache->sets_per_shard =
        config->entries_max / per_shard + (config->entries_max % per_shard != 0);
    if (cache->sets_per_shard == 0) {
        cache->sets_per_shard = 1;
    }
    if (cache->sets_per_shard > WAYS_MAX / AUTH_CACHE_WAYS) {
        cache->sets_per_shard = WAYS_MAX / AUTH_CACHE_WAYS;
    }
    cache->ttl_ms = config->ttl_ms;
    cache->negative_ttl_ms = config->negative_ttl_ms;
    secret_key_make(&cache->key);
    for (size_t i = 0; i < AUTH_CACHE_SHARDS; i++) {
        struct cache_shard *shard = &cache->shards[i];
        int result = pthread_mutex_init(&shard->lock, NULL);
        assert(result == 0); /* a default mutex takes no resources on Linux */
        (void)result;
        list_init(&shard->flights);
        /* Zeroed pages come from the kernel as they are touched. */
        shard->sets = calloc(cache->sets_per_shard, sizeof *shard->sets);
        shard->places =
            calloc((size_t)cache->sets_per_shard * AUTH_CACHE_WAYS, sizeof *shard->places);
        if (shard->sets == NULL || shard->places == NULL) {
            cache_destroy(&cache);
            return STATUS_NO_MEMORY;
        }
    }
    *out_cache = cache;
    return STATUS_OK;
}

static void free_entries(struct cache_shard *shard)
{
    for (uint32_t i = 0; i < shard->placed; i++) {
        free(shard->places[i].terms);
    }
    free(shard->places);
    free(shard->sets);
}

void cache_destroy(struct cache **cache)
{
    if (*cache == NULL) {
        return;
    }
    for (size_t i = 0; i < AUTH_CACHE_SHARDS; i++) {
        struct cache_shard *shard = &(*cache)->shards[i];
        if (shard->flights.next != NULL) { /* else half-built */
            assert(list_empty(&shard->flights));
            (void)pthread_mutex_destroy(&shard->lock); /* nobody holds it */
        }
        free_entries(shard);
    }
    mem_wipe(&(*cache)->key, sizeof(*cache)->key);
    free(*cache);
    *cache = NULL;
}

static _Atomic uint64_t *stamp_of(struct cache *cache, const char *name, size_t length)
{
    return &cache->stamps[secret_hash(&cache->key, name, length) & (AUTH_CACHE_STAMPS - 1)];
}

void cache_key(struct cache *cache, const char *name, size_t name_length, const char *password,
               size_t password_length, struct cache_key *out_key)
{
    /* acquire: pairs with the release in cache_forget, so that who sees the new stamp also reads
     * the changed account. */
    uint64_t stamps[2] = {
        atomic_load_explicit(&cache->epoch, memory_order_acquire),
        atomic_load_explicit(stamp_of(cache, name, name_length), memory_order_acquire)};
    const struct secret_part parts[] = {
        {stamps, sizeof stamps}, {name, name_length}, {password, password_length}};
    secret_digest(&cache->key, parts, sizeof parts / sizeof parts[0], &out_key->digest);
}

void cache_key_for_master(struct cache *cache, const char *name, size_t name_length,
                          const char *master, size_t master_length, const char *password,
                          size_t password_length, struct cache_key *out_key)
{
    /* acquire: as in cache_key, twice. */
    uint64_t stamps[3] = {
        atomic_load_explicit(&cache->epoch, memory_order_acquire),
        atomic_load_explicit(stamp_of(cache, name, name_length), memory_order_acquire),
        atomic_load_explicit(stamp_of(cache, master, master_length), memory_order_acquire)};
    const struct secret_part parts[] = {{stamps, sizeof stamps},
                                        {name, name_length},
                                        {master, master_length},
                                        {password, password_length}};
    secret_digest(&cache->key, parts, sizeof parts / sizeof parts[0], &out_key->digest);
}

void cache_forget(struct cache *cache, const char *name, size_t name_length)
{
    /* release: pairs with the acquire in cache_key. */
    (void)atomic_fetch_add_explicit(stamp_of(cache, name, name_length), 1, memory_order_release);
}

void cache_forget_all(struct cache *cache)
{
    /* release: pairs with the acquire in cache_key. */
    (void)atomic_fetch_add_explicit(&cache->epoch, 1, memory_order_release);
}

/* Eight octets of the digest from `at`; the digest is as good as random, so any will do. */
static uint64_t digest_number(const struct cache_key *key, size_t at)
{
    uint64_t number;
    memcpy(&number, key->digest.octets + at, sizeof number);
    return number;
}

static struct cache_shard *lock_shard(struct cache *cache, const struct cache_key *key)
{
    struct cache_shard *shard = &cache->shards[digest_number(key, 0) & (AUTH_CACHE_SHARDS - 1)];
    (void)pthread_mutex_lock(&shard->lock); /* a default mutex of ours cannot fail */
    return shard;
}

static void unlock_shard(struct cache_shard *shard)
{
    (void)pthread_mutex_unlock(&shard->lock); /* see lock_shard */
}

static struct cache_set *find_set(const struct cache *cache, const struct cache_shard *shard,
                                  const struct cache_key *key)
{
    return &shard->sets[digest_number(key, 8) % cache->sets_per_shard];
}

static uint32_t tag_of(const struct cache_key *key)
{
    return digest_number(key, 16) & ((1u << WAY_TAG_BITS) - 1);
}

/* NULL for a way that was never used. */
static struct cache_entry *entry_of(const struct cache_shard *shard, const struct cache_way *way)
{
    return way->place > 0 ? &shard->places[way->place - 1] : NULL;
}

/* The digest of an unknown password cannot be guessed from how long a comparison takes, because it
 * is keyed; it is compared in constant time all the same. */
static struct cache_entry *find_entry(const struct cache_shard *shard, const struct cache_set *set,
                                      const struct cache_key *key)
{
    uint32_t tag = tag_of(key);
    for (size_t i = 0; i < AUTH_CACHE_WAYS; i++) {
        const struct cache_way *way = &set->ways[i];
        if (way->place == 0 || way->tag != tag) {
            continue;
        }
        struct cache_entry *entry = entry_of(shard, way);
        if (entry->verdict != CACHE_NOTHING &&
            secret_equal(&entry->digest, &key->digest, sizeof key->digest)) {
            return entry;
        }
    }
    return NULL;
}

static void copy_value(const struct cache_entry *entry, struct cache_value *out_value)
{
    out_value->verdict = (enum cache_verdict)entry->verdict;
    out_value->drop = (struct store_drop){.volume = entry->volume, .id = entry->drop_id};
    out_value->has_terms = entry->terms != NULL;
    if (entry->terms != NULL) {
        out_value->terms = *entry->terms;
    }
}

static bool find_locked(struct cache *cache, struct cache_shard *shard, const struct cache_key *key,
                        int64_t now_ms, struct cache_value *out_value)
{
    struct cache_entry *entry = find_entry(shard, find_set(cache, shard, key), key);
    if (entry == NULL || entry->expires_ms <= now_ms) {
        return false;
    }
    entry->used = ++shard->clock & 0x3fffffff;
    copy_value(entry, out_value);
    if (out_value->verdict == CACHE_REFUSED) {
        shard->negative_hits++;
    } else {
        shard->hits++;
    }
    return true;
}

bool cache_find(struct cache *cache, const struct cache_key *key, int64_t now_ms,
                struct cache_value *out_value)
{
    struct cache_shard *shard = lock_shard(cache, key);
    bool found = find_locked(cache, shard, key, now_ms, out_value);
    unlock_shard(shard);
    return found;
}

bool cache_peek(struct cache *cache, const struct cache_key *key, int64_t now_ms,
                struct cache_value *out_value, int64_t *out_left_ms)
{
    struct cache_shard *shard = lock_shard(cache, key);
    struct cache_entry *entry = find_entry(shard, find_set(cache, shard, key), key);
    if (entry != NULL) {
        copy_value(entry, out_value);
        *out_left_ms = entry->expires_ms - now_ms;
    }
    unlock_shard(shard);
    return entry != NULL;
}

bool cache_find_stale(struct cache *cache, const struct cache_key *key, int64_t now_ms,
                      int64_t stale_ms, struct cache_value *out_value)
{
    struct cache_shard *shard = lock_shard(cache, key);
    struct cache_entry *entry = find_entry(shard, find_set(cache, shard, key), key);
    bool found =
        entry != NULL && entry->verdict == CACHE_VERIFIED && now_ms - entry->expires_ms < stale_ms;
    if (found) {
        copy_value(entry, out_value);
    }
    unlock_shard(shard);
    return found;
}

/* How readily a way is given up: free, expired, refused, verified; and then the longest unused.
 * The clock may wrap, which spoils one choice and nothing else. */
static uint64_t keep_rank(const struct cache_shard *shard, const struct cache_way *way,
                          int64_t now_ms)
{
    const struct cache_entry *entry = entry_of(shard, way);
    if (entry == NULL) {
        return 0;
    }
    uint64_t class = entry->verdict == CACHE_NOTHING   ? 0
                     : entry->expires_ms <= now_ms     ? 1
                     : entry->verdict == CACHE_REFUSED ? 2
                                                       : 3;
    uint32_t age = (shard->clock - entry->used) & 0x3fffffff;
    return class << 32 | (0x3fffffff - age);
}

static struct cache_way *choose_way(const struct cache_shard *shard, struct cache_set *set,
                                    int64_t now_ms)
{
    struct cache_way *chosen = &set->ways[0];
    for (size_t i = 1; i < AUTH_CACHE_WAYS; i++) {
        if (keep_rank(shard, &set->ways[i], now_ms) < keep_rank(shard, chosen, now_ms)) {
            chosen = &set->ways[i];
        }
    }
    return chosen;
}

static bool is_worth_keeping(const struct cache_entry *entry, int64_t now_ms)
{
    return entry->verdict == CACHE_VERIFIED && entry->expires_ms > now_ms;
}

/* A copy of the value's terms. False when there is no memory for it: better not remembered than
 * remembered without them. */
static bool copy_terms(const struct cache_value *value, struct terms **out_terms)
{
    *out_terms = NULL;
    if (value->verdict != CACHE_VERIFIED || !value->has_terms) {
        return true;
    }
    *out_terms = malloc(sizeof **out_terms);
    if (*out_terms != NULL) {
        **out_terms = value->terms;
    }
    return *out_terms != NULL;
}

/* The entry to be overwritten with a new credential, NULL when there is none for a refused one. */
static struct cache_entry *take_entry(struct cache_shard *shard, struct cache_set *set,
                                      const struct cache_key *key, bool refused, int64_t now_ms)
{
    struct cache_entry *entry = find_entry(shard, set, key);
    if (entry != NULL) {
        return entry;
    }
    struct cache_way *way = choose_way(shard, set, now_ms);
    entry = entry_of(shard, way);
    if (entry == NULL) {
        way->place = ++shard->placed & WAYS_MAX;
        entry = entry_of(shard, way);
    } else if (refused && is_worth_keeping(entry, now_ms)) {
        return NULL;
    }
    way->tag = tag_of(key) & ((1u << WAY_TAG_BITS) - 1);
    return entry;
}

static void remember(struct cache *cache, struct cache_shard *shard, const struct cache_key *key,
                     const struct cache_value *value, int64_t now_ms)
{
    bool refused = value->verdict == CACHE_REFUSED;
    struct terms *terms = NULL;
    if (!copy_terms(value, &terms)) {
        return;
    }
    struct cache_entry *entry =
        take_entry(shard, find_set(cache, shard, key), key, refused, now_ms);
    if (entry == NULL) { /* then it is a refused one, which has no terms */
        return;
    }
    shard->entries += entry->verdict == CACHE_NOTHING;
    free(entry->terms);
    *entry = (struct cache_entry){
        .digest = key->digest,
        .expires_ms = now_ms + (refused ? cache->negative_ttl_ms : cache->ttl_ms),
        .drop_id = value->drop.id,
        .volume = value->drop.volume,
        .used = ++shard->clock & 0x3fffffff,
        .verdict = (uint32_t)value->verdict & 3,
        .terms = terms,
    };
}

static struct cache_flight *find_flight(struct cache_shard *shard, const struct cache_key *key)
{
    for (struct list_link *link = shard->flights.next; link != &shard->flights; link = link->next) {
        struct cache_flight *flight = list_entry(link, struct cache_flight, link);
        if (secret_equal(&flight->key, key, sizeof *key)) {
            return flight;
        }
    }
    return NULL;
}

enum cache_start cache_begin(struct cache *cache, const struct cache_key *key, int64_t now_ms,
                             struct cache_flight *flight, struct cache_waiter *waiter,
                             struct cache_value *out_value)
{
    struct cache_shard *shard = lock_shard(cache, key);
    if (find_locked(cache, shard, key, now_ms, out_value)) {
        unlock_shard(shard);
        return CACHE_HIT;
    }
    struct cache_flight *running = find_flight(shard, key);
    bool begun = running == NULL;
    if (begun) {
        flight->key = *key;
        list_init(&flight->waiters);
        list_push_back(&shard->flights, &flight->link);
        running = flight;
        shard->misses++;
    } else {
        shard->joins++;
    }
    list_push_back(&running->waiters, &waiter->link);
    waiter->is_queued = true;
    unlock_shard(shard);
    return begun ? CACHE_BEGUN : CACHE_JOINED;
}

/* Ends the flight for `key` if nobody waits for it and it has not begun in earnest. Under the lock,
 * so that nobody joins it meanwhile. */
static struct cache_flight *stop_unwanted(struct cache_shard *shard, const struct cache_key *key)
{
    struct cache_flight *flight = find_flight(shard, key);
    assert(flight != NULL); /* somebody waited for it a moment ago */
    if (!list_empty(&flight->waiters) || !flight->on_unwanted(flight)) {
        return NULL;
    }
    list_remove(&flight->link);
    return flight;
}

bool cache_leave(struct cache *cache, const struct cache_key *key, struct cache_waiter *waiter,
                 struct cache_flight **out_ended)
{
    struct cache_flight *ended = NULL;
    struct cache_shard *shard = lock_shard(cache, key);
    bool left = waiter->is_queued;
    if (left) {
        list_remove(&waiter->link);
        waiter->is_queued = false;
        ended = stop_unwanted(shard, key);
    }
    unlock_shard(shard);
    *out_ended = ended;
    return left;
}

bool cache_end_unwanted(struct cache *cache, struct cache_flight *flight)
{
    struct cache_shard *shard = lock_shard(cache, &flight->key);
    bool unwanted = list_empty(&flight->waiters);
    if (unwanted) {
        list_remove(&flight->link);
    }
    unlock_shard(shard);
    return unwanted;
}

void cache_settle(struct cache *cache, struct cache_flight *flight, const struct cache_value *value,
                  int64_t now_ms, struct list_link *out_waiters)
{
    struct cache_shard *shard = lock_shard(cache, &flight->key);
    if (value->verdict != CACHE_NOTHING) {
        remember(cache, shard, &flight->key, value, now_ms);
    }
    list_remove(&flight->link);
    for (struct list_link *link; (link = list_pop_front(&flight->waiters)) != NULL;) {
        list_entry(link, struct cache_waiter, link)->is_queued = false;
        list_push_back(out_waiters, link);
    }
    unlock_shard(shard);
}

void cache_numbers(struct cache *cache, struct cache_numbers *out_numbers)
{
    struct cache_numbers sum = {0};
    for (size_t i = 0; i < AUTH_CACHE_SHARDS; i++) {
        struct cache_shard *shard = &cache->shards[i];
        (void)pthread_mutex_lock(&shard->lock); /* see lock_shard */
        sum.entries += shard->entries;
        sum.hits += shard->hits;
        sum.negative_hits += shard->negative_hits;
        sum.misses += shard->misses;
        sum.joins += shard->joins;
        unlock_shard(shard);
    }
    *out_numbers = sum;
}
