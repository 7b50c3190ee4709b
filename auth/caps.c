/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/caps.h"

#include "auth/auth_limits.h"
#include "auth/secret.h"

#include <assert.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

static_assert((AUTH_CAPS_SHARDS & (AUTH_CAPS_SHARDS - 1)) == 0, "shards are chosen by a mask");

#define NONE UINT32_MAX

/* Something that is counted; it exists while its count is not 0. */
struct node {
    struct secret_digest name;
    uint32_t count;
    uint32_t next; /* in its bucket, or of the free ones; NONE: the last */
    uint32_t bucket;
    enum caps_kind kind;
};

struct shard {
    alignas(64) pthread_mutex_t lock;
    struct node *nodes;
    uint32_t *buckets; /* as many as nodes, rounded up to a power of two */
    uint32_t free;     /* the first free node */
    struct caps_numbers numbers;
};

struct caps {
    struct caps_config config; /* immutable, with the two below */
    struct secret_key key;
    uint32_t nodes_per_shard, bucket_mask;
    struct shard shards[AUTH_CAPS_SHARDS];
};

/* --- making ------------------------------------------------------------------------------------
 */

/* Every session may hold one thing of each kind, and shards fill unevenly. */
static uint32_t size_shard(uint32_t sessions_max)
{
    uint64_t nodes = (uint64_t)sessions_max * CAPS_KINDS / AUTH_CAPS_SHARDS * 2 + 64;
    return nodes < UINT32_MAX / AUTH_CAPS_SHARDS ? (uint32_t)nodes : UINT32_MAX / AUTH_CAPS_SHARDS;
}

static enum status init_shard(struct caps *caps, struct shard *shard)
{
    int result = pthread_mutex_init(&shard->lock, NULL);
    assert(result == 0); /* a default mutex takes no resources on Linux */
    (void)result;
    shard->nodes = calloc(caps->nodes_per_shard, sizeof *shard->nodes);
    shard->buckets = calloc((size_t)caps->bucket_mask + 1, sizeof *shard->buckets);
    if (shard->nodes == NULL || shard->buckets == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i <= caps->bucket_mask; i++) {
        shard->buckets[i] = NONE;
    }
    for (uint32_t i = 0; i < caps->nodes_per_shard; i++) {
        shard->nodes[i].next = i + 1 < caps->nodes_per_shard ? i + 1 : NONE;
    }
    return STATUS_OK;
}

enum status caps_create(const struct caps_config *config, struct caps **out_caps)
{
    struct caps *caps = aligned_alloc(alignof(struct caps), sizeof *caps);
    if (caps == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(caps, 0, sizeof *caps);
    caps->config = *config;
    caps->nodes_per_shard = size_shard(config->sessions_max);
    caps->bucket_mask = 63;
    while (caps->bucket_mask + 1 < caps->nodes_per_shard) {
        caps->bucket_mask = caps->bucket_mask * 2 + 1;
    }
    secret_key_make(&caps->key);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < AUTH_CAPS_SHARDS && status == STATUS_OK; i++) {
        status = init_shard(caps, &caps->shards[i]);
    }
    if (status != STATUS_OK) {
        caps_destroy(&caps);
        return status;
    }
    *out_caps = caps;
    return STATUS_OK;
}

void caps_destroy(struct caps **caps)
{
    if (*caps == NULL) {
        return;
    }
    for (size_t i = 0; i < AUTH_CAPS_SHARDS; i++) {
        struct shard *shard = &(*caps)->shards[i];
        for (size_t kind = 0; kind < CAPS_KINDS; kind++) {
            assert(shard->numbers.held[kind] == 0);
        }
        (void)pthread_mutex_destroy(&shard->lock); /* nobody holds it */
        free(shard->nodes);
        free(shard->buckets);
    }
    free(*caps);
    *caps = NULL;
}

/* --- counting ----------------------------------------------------------------------------------
 */

static void lock(struct shard *shard)
{
    (void)pthread_mutex_lock(&shard->lock); /* a default mutex of ours cannot fail */
}

static void unlock(struct shard *shard)
{
    (void)pthread_mutex_unlock(&shard->lock); /* see lock */
}

static uint32_t find_node(const struct shard *shard, uint32_t bucket,
                          const struct secret_digest *name)
{
    uint32_t at = shard->buckets[bucket];
    while (at != NONE && memcmp(&shard->nodes[at].name, name, sizeof *name) != 0) {
        at = shard->nodes[at].next;
    }
    return at;
}

/* A node for the name, with count 0, or NONE when there is none left. */
static uint32_t add_node(struct shard *shard, uint32_t bucket, const struct secret_digest *name,
                         enum caps_kind kind)
{
    uint32_t at = shard->free;
    if (at != NONE) {
        struct node *node = &shard->nodes[at];
        shard->free = node->next;
        *node = (struct node){
            .name = *name, .next = shard->buckets[bucket], .bucket = bucket, .kind = kind};
        shard->buckets[bucket] = at;
    }
    return at;
}

static void remove_node(struct shard *shard, uint32_t at)
{
    struct node *node = &shard->nodes[at];
    uint32_t *link = &shard->buckets[node->bucket];
    while (*link != at) {
        link = &shard->nodes[*link].next;
    }
    *link = node->next;
    node->next = shard->free;
    shard->free = at;
}

/* Counts one more of what `name` stands for; false when there are as many as may be. */
static bool hold_locked(const struct caps *caps, struct shard *shard, uint32_t bucket,
                        const struct secret_digest *name, enum caps_kind kind, uint32_t *out_at)
{
    uint32_t at = find_node(shard, bucket, name);
    if (at != NONE && shard->nodes[at].count >= caps->config.max[kind]) {
        shard->numbers.refused[kind]++;
        return false;
    }
    if (at == NONE) {
        at = add_node(shard, bucket, name, kind);
    }
    if (at == NONE) {
        shard->numbers.uncounted++;
    } else {
        shard->nodes[at].count++;
        shard->numbers.held[kind]++;
    }
    *out_at = at;
    return true;
}

static bool hold(struct caps *caps, enum caps_kind kind, const char *name,
                 const struct address_prefix *prefix, struct caps_hold *out_hold)
{
    struct secret_digest digest;
    uint64_t number;
    uint32_t at = NONE;
    const struct secret_part parts[] = {
        {&kind, sizeof kind}, {name, strlen(name)}, {prefix->octets, sizeof prefix->octets}};
    out_hold->place = 0;
    if (caps->config.max[kind] == 0) {
        return true;
    }
    secret_digest(&caps->key, parts, sizeof parts / sizeof parts[0], &digest);
    memcpy(&number, digest.octets, sizeof number);
    uint32_t index = (uint32_t)(number & (AUTH_CAPS_SHARDS - 1));
    uint32_t bucket = (uint32_t)(number >> 32) & caps->bucket_mask;
    struct shard *shard = &caps->shards[index];
    lock(shard);
    bool held = hold_locked(caps, shard, bucket, &digest, kind, &at);
    unlock(shard);
    if (held && at != NONE) {
        out_hold->place = at * AUTH_CAPS_SHARDS + index + 1;
    }
    return held;
}

static void give_back(struct caps *caps, struct caps_hold *held)
{
    if (held->place == 0) {
        return;
    }
    uint32_t place = held->place - 1;
    struct shard *shard = &caps->shards[place % AUTH_CAPS_SHARDS];
    uint32_t at = place / AUTH_CAPS_SHARDS;
    held->place = 0;
    lock(shard);
    struct node *node = &shard->nodes[at];
    assert(node->count > 0);
    shard->numbers.held[node->kind]--;
    if (--node->count == 0) {
        remove_node(shard, at);
    }
    unlock(shard);
}

/* --- what sessions call ------------------------------------------------------------------------
 */

bool caps_connect(struct caps *caps, const struct address *peer, struct caps_hold *held)
{
    struct address_prefix prefix;
    held->place = 0;
    if (caps->config.exempt_loopback && address_is_loopback(peer)) {
        return true;
    }
    address_prefix(peer, &prefix);
    return hold(caps, CAPS_PREFIX, "", &prefix, held);
}

bool caps_log_in(struct caps *caps, const char *name, const struct address *peer,
                 struct caps_session *session, enum caps_kind *out_kind)
{
    static const struct address_prefix anywhere;
    struct address_prefix prefix;
    *session = (struct caps_session){0};
    if (caps->config.exempt_loopback && address_is_loopback(peer)) {
        return true;
    }
    address_prefix(peer, &prefix);
    if (!hold(caps, CAPS_USER, name, &anywhere, &session->user)) {
        *out_kind = CAPS_USER;
        return false;
    }
    if (!hold(caps, CAPS_USER_PREFIX, name, &prefix, &session->user_prefix)) {
        give_back(caps, &session->user);
        *out_kind = CAPS_USER_PREFIX;
        return false;
    }
    return true;
}

void caps_disconnect(struct caps *caps, struct caps_hold *held)
{
    give_back(caps, held);
}

void caps_log_out(struct caps *caps, struct caps_session *session)
{
    give_back(caps, &session->user);
    give_back(caps, &session->user_prefix);
}

void caps_numbers(struct caps *caps, struct caps_numbers *out_numbers)
{
    struct caps_numbers sum = {0};
    for (size_t i = 0; i < AUTH_CAPS_SHARDS; i++) {
        struct shard *shard = &caps->shards[i];
        lock(shard);
        for (size_t kind = 0; kind < CAPS_KINDS; kind++) {
            sum.held[kind] += shard->numbers.held[kind];
            sum.refused[kind] += shard->numbers.refused[kind];
        }
        sum.uncounted += shard->numbers.uncounted;
        unlock(shard);
    }
    *out_numbers = sum;
}
