/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lock.h"

#include <pthread.h>
#include <stdlib.h>

#define LOCK_SHARDS        64  /* a power of two */
#define LOCK_BUCKETS_FIRST 256 /* of a shard, a power of two */

struct lock {
    struct lock *next; /* chain */
    uint64_t maildrop, token;
    bool pinned;
};

struct shard {
    pthread_mutex_t mutex;
    struct lock **buckets;
    size_t mask, count;
    uint64_t last_token;
};

struct lock_table {
    struct shard shards[LOCK_SHARDS];
};

static uint64_t mix(uint64_t value)
{
    value *= 0x9e3779b97f4a7c15u;
    return value ^ value >> 32;
}

static struct shard *shard_of(struct lock_table *table, uint64_t maildrop)
{
    return &table->shards[mix(maildrop) >> 40 & (LOCK_SHARDS - 1)];
}

enum status lock_table_create(struct lock_table **out_table)
{
    struct lock_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = STATUS_OK;
    for (size_t i = 0; i < LOCK_SHARDS; i++) {
        struct shard *shard = &table->shards[i];
        (void)pthread_mutex_init(&shard->mutex, NULL); /* cannot fail with default attributes */
        shard->buckets = calloc(LOCK_BUCKETS_FIRST, sizeof(struct lock *));
        shard->mask = LOCK_BUCKETS_FIRST - 1;
        if (shard->buckets == NULL) {
            status = STATUS_NO_MEMORY;
        }
    }
    if (status != STATUS_OK) {
        lock_table_destroy(&table);
        return status;
    }
    *out_table = table;
    return STATUS_OK;
}

void lock_table_destroy(struct lock_table **table)
{
    if (*table == NULL) {
        return;
    }
    for (size_t i = 0; i < LOCK_SHARDS; i++) {
        struct shard *shard = &(*table)->shards[i];
        for (size_t bucket = 0; shard->buckets != NULL && bucket <= shard->mask; bucket++) {
            while (shard->buckets[bucket] != NULL) {
                struct lock *lock = shard->buckets[bucket];
                shard->buckets[bucket] = lock->next;
                free(lock);
            }
        }
        free(shard->buckets);
        (void)pthread_mutex_destroy(&shard->mutex); /* nobody has it: the caller is the last */
    }
    free(*table);
    *table = NULL;
}

/* With the shard's mutex, as those below: where the pointer to the lock is, or the NULL at the end.
 */
static struct lock **find(struct shard *shard, uint64_t maildrop)
{
    struct lock **place = &shard->buckets[mix(maildrop) & shard->mask];
    while (*place != NULL && (*place)->maildrop != maildrop) {
        place = &(*place)->next;
    }
    return place;
}

/* Without memory the chains get longer, that is all. */
static void grow(struct shard *shard)
{
    size_t count = (shard->mask + 1) * 2;
    struct lock **buckets = calloc(count, sizeof(struct lock *));
    if (buckets == NULL) {
        return;
    }
    for (size_t i = 0; i <= shard->mask; i++) {
        while (shard->buckets[i] != NULL) {
            struct lock *lock = shard->buckets[i];
            shard->buckets[i] = lock->next;
            lock->next = buckets[mix(lock->maildrop) & (count - 1)];
            buckets[mix(lock->maildrop) & (count - 1)] = lock;
        }
    }
    free(shard->buckets);
    shard->buckets = buckets;
    shard->mask = count - 1;
}

static enum status take(struct shard *shard, uint64_t maildrop, bool takeover, uint64_t *out_token)
{
    struct lock *lock = *find(shard, maildrop);
    if (lock != NULL && (lock->pinned || !takeover)) {
        return STATUS_BUSY;
    }
    if (lock == NULL) {
        if (shard->count > shard->mask) {
            grow(shard);
        }
        lock = calloc(1, sizeof *lock);
        if (lock == NULL) {
            return STATUS_NO_MEMORY;
        }
        lock->maildrop = maildrop;
        *find(shard, maildrop) = lock;
        shard->count++;
    }
    lock->token = ++shard->last_token;
    *out_token = lock->token;
    return STATUS_OK;
}

enum status lock_acquire(struct lock_table *table, uint64_t maildrop, bool takeover,
                         uint64_t *out_token)
{
    struct shard *shard = shard_of(table, maildrop);
    (void)pthread_mutex_lock(&shard->mutex);
    enum status status = take(shard, maildrop, takeover, out_token);
    (void)pthread_mutex_unlock(&shard->mutex);
    return status;
}

bool lock_held(struct lock_table *table, uint64_t maildrop, uint64_t token)
{
    struct shard *shard = shard_of(table, maildrop);
    (void)pthread_mutex_lock(&shard->mutex);
    const struct lock *lock = *find(shard, maildrop);
    bool held = lock != NULL && lock->token == token;
    (void)pthread_mutex_unlock(&shard->mutex);
    return held;
}

enum status lock_pin(struct lock_table *table, uint64_t maildrop, uint64_t token)
{
    struct shard *shard = shard_of(table, maildrop);
    enum status status = STATUS_LOST;
    (void)pthread_mutex_lock(&shard->mutex);
    struct lock *lock = *find(shard, maildrop);
    if (lock != NULL && lock->token == token) {
        lock->pinned = true;
        status = STATUS_OK;
    }
    (void)pthread_mutex_unlock(&shard->mutex);
    return status;
}

void lock_release(struct lock_table *table, uint64_t maildrop, uint64_t token)
{
    struct shard *shard = shard_of(table, maildrop);
    struct lock *lock = NULL;
    (void)pthread_mutex_lock(&shard->mutex);
    struct lock **place = find(shard, maildrop);
    if (*place != NULL && (*place)->token == token) {
        lock = *place;
        *place = lock->next;
        shard->count--;
    }
    (void)pthread_mutex_unlock(&shard->mutex);
    free(lock);
}
