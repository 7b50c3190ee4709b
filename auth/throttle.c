/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/throttle.h"

#include "auth/auth_limits.h"
#include "auth/secret.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECAY_MS (AUTH_THROTTLE_DECAY_S * INT64_C(1000))

static_assert((AUTH_THROTTLE_SETS & (AUTH_THROTTLE_SETS - 1)) == 0, "sets are chosen by a mask");

/* Milliseconds at each step. The last stays below what mail clients wait: some drop after 15 s. */
static const uint32_t delays_ms[] = {0, 2000, 4000, 8000, 15000};
#define DELAY_STEPS (sizeof delays_ms / sizeof delays_ms[0] - 1)

struct throttle_entry {
    struct throttle_source source;
    uint32_t step;   /* failures that count now; 0: free */
    uint32_t next;   /* of `seen`, to be written next */
    int64_t last_ms; /* the last failure that counted, moved on by decay */
    uint64_t seen[AUTH_THROTTLE_SEEN];
    uint32_t seen_count;
    char label[AUTH_THROTTLE_LABEL_MAX + 1];
};

struct throttle {
    pthread_mutex_t lock;
    struct secret_key key;
    uint32_t free_failures; /* immutable */
    struct throttle_entry entries[AUTH_THROTTLE_SETS][AUTH_THROTTLE_WAYS];
};

enum status throttle_create(uint32_t free_failures, struct throttle **out_throttle)
{
    struct throttle *throttle = calloc(1, sizeof *throttle);
    if (throttle == NULL) {
        return STATUS_NO_MEMORY;
    }
    int result = pthread_mutex_init(&throttle->lock, NULL);
    assert(result == 0); /* a default mutex takes no resources on Linux */
    (void)result;
    throttle->free_failures = free_failures;
    secret_key_make(&throttle->key);
    *out_throttle = throttle;
    return STATUS_OK;
}

void throttle_destroy(struct throttle **throttle)
{
    if (*throttle == NULL) {
        return;
    }
    (void)pthread_mutex_destroy(&(*throttle)->lock); /* nobody holds it */
    free(*throttle);
    *throttle = NULL;
}

/* Lowers the penalty by what has passed since. */
static void decay(struct throttle_entry *entry, int64_t now_ms)
{
    int64_t steps = (now_ms - entry->last_ms) / DECAY_MS;
    if (steps >= (int64_t)entry->step) {
        entry->step = 0;
        entry->seen_count = 0;
        entry->next = 0;
    } else if (steps > 0) {
        entry->step -= (uint32_t)steps;
        entry->last_ms += steps * DECAY_MS;
    }
}

static bool has_seen(const struct throttle_entry *entry, uint64_t fingerprint)
{
    for (uint32_t i = 0; i < entry->seen_count; i++) {
        if (entry->seen[i] == fingerprint) {
            return true;
        }
    }
    return false;
}

static void add_seen(struct throttle_entry *entry, uint64_t fingerprint)
{
    entry->seen[entry->next] = fingerprint;
    entry->next = (entry->next + 1) % AUTH_THROTTLE_SEEN;
    entry->seen_count += entry->seen_count < AUTH_THROTTLE_SEEN;
}

/* The source's entry, or the one that gives way to it, made its own. */
static struct throttle_entry *find_or_replace(struct throttle *throttle,
                                              const struct throttle_source *source, int64_t now_ms)
{
    uint64_t hash = secret_hash(&throttle->key, source->octets, sizeof source->octets);
    struct throttle_entry *set = throttle->entries[hash & (AUTH_THROTTLE_SETS - 1)];
    struct throttle_entry *oldest = NULL;
    for (size_t i = 0; i < AUTH_THROTTLE_WAYS; i++) {
        struct throttle_entry *entry = &set[i];
        if (entry->step > 0) {
            decay(entry, now_ms);
        }
        if (entry->step > 0 && memcmp(&entry->source, source, sizeof *source) == 0) {
            return entry;
        }
        bool older = oldest == NULL ||
                     (oldest->step > 0 && (entry->step == 0 || entry->last_ms < oldest->last_ms));
        oldest = older ? entry : oldest;
    }
    *oldest = (struct throttle_entry){.source = *source, .last_ms = now_ms};
    return oldest;
}

static void lock(struct throttle *throttle)
{
    (void)pthread_mutex_lock(&throttle->lock); /* a default mutex of ours cannot fail */
}

static void unlock(struct throttle *throttle)
{
    (void)pthread_mutex_unlock(&throttle->lock); /* see lock */
}

static uint32_t entry_delay(const struct throttle *throttle, const struct throttle_entry *entry)
{
    uint32_t free_failures = throttle->free_failures;
    return entry->step > free_failures ? delays_ms[entry->step - free_failures] : 0;
}

struct throttle_source throttle_source_of(const struct throttle *throttle, const char *name)
{
    struct throttle_source source;
    uint64_t hash = secret_hash(&throttle->key, name, strlen(name));
    static_assert(sizeof source.octets == sizeof hash, "a hash is a source");
    memcpy(source.octets, &hash, sizeof hash);
    return source;
}

uint32_t throttle_failure(struct throttle *throttle, const struct throttle_source *source,
                          const char *label, uint64_t fingerprint, int64_t now_ms)
{
    lock(throttle);
    struct throttle_entry *entry = find_or_replace(throttle, source, now_ms);
    if (entry->step == 0 && label != NULL) {
        (void)snprintf(entry->label, sizeof entry->label, "%s", label); /* cut to fit */
    }
    if (!has_seen(entry, fingerprint)) {
        add_seen(entry, fingerprint);
        entry->last_ms = now_ms;
        entry->step += entry->step < throttle->free_failures + DELAY_STEPS;
    }
    uint32_t delay_ms = entry_delay(throttle, entry);
    unlock(throttle);
    return delay_ms;
}

uint32_t throttle_delay(struct throttle *throttle, const struct throttle_source *source,
                        int64_t now_ms)
{
    uint64_t hash = secret_hash(&throttle->key, source->octets, sizeof source->octets);
    struct throttle_entry *set = throttle->entries[hash & (AUTH_THROTTLE_SETS - 1)];
    uint32_t delay_ms = 0;
    lock(throttle);
    for (size_t i = 0; i < AUTH_THROTTLE_WAYS; i++) {
        if (set[i].step > 0 && memcmp(&set[i].source, source, sizeof *source) == 0) {
            decay(&set[i], now_ms);
            delay_ms = entry_delay(throttle, &set[i]);
        }
    }
    unlock(throttle);
    return delay_ms;
}

uint64_t throttle_list(struct throttle *throttle, int64_t now_ms, struct throttle_penalty *out,
                       uint64_t max)
{
    uint64_t count = 0;
    struct throttle_entry *entries = throttle->entries[0];
    lock(throttle);
    for (size_t i = 0; i < AUTH_THROTTLE_SETS * AUTH_THROTTLE_WAYS; i++) {
        struct throttle_entry *entry = &entries[i];
        if (entry->step > 0) {
            decay(entry, now_ms);
        }
        uint32_t delay_ms = entry_delay(throttle, entry);
        if (delay_ms > 0 && count++ < max) {
            out[count - 1] = (struct throttle_penalty){.source = entry->source,
                                                       .failures = entry->step,
                                                       .delay_ms = delay_ms,
                                                       .age_ms = now_ms - entry->last_ms};
            memcpy(out[count - 1].label, entry->label, sizeof entry->label);
        }
    }
    unlock(throttle);
    return count;
}

uint64_t throttle_count(struct throttle *throttle, int64_t now_ms)
{
    return throttle_list(throttle, now_ms, NULL, 0);
}

uint64_t throttle_clear(struct throttle *throttle, const struct throttle_source *source)
{
    uint64_t count = 0;
    struct throttle_entry *entries = throttle->entries[0];
    lock(throttle);
    for (size_t i = 0; i < AUTH_THROTTLE_SETS * AUTH_THROTTLE_WAYS; i++) {
        struct throttle_entry *entry = &entries[i];
        bool is_meant = source == NULL || memcmp(&entry->source, source, sizeof *source) == 0;
        if (entry->step > 0 && is_meant) {
            *entry = (struct throttle_entry){0};
            count++;
        }
    }
    unlock(throttle);
    return count;
}
