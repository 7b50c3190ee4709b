/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two orders over the same events. By log: a list of groups, each with its events in order; the
 * checkpointer eats it from the front. By maildrop: shards of hash tables; sessions ask there.
 *
 * Locks: `log_mutex` covers the list of groups, the slots of a group and the `taken` marks; a
 * shard's mutex covers its tables and lists. Where both are held the log's comes first. A taken
 * event is left alone by delta_publish, so that delta_forget needs only the shards' locks for it.
 * Taking and forgetting belong to one thread.
 */
#include "storage/delta.h"

#include "io/list.h"
#include "storage/checksum.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DELTA_SHARDS        64 /* a power of two; workers and the writer rarely meet in one */
#define DELTA_BUCKETS_FIRST 64 /* of each table of a shard, a power of two */

struct group;

/* One event with its strings behind it. */
struct node {
    struct delta_event event; /* first: delta_take gives out pointers to it */
    struct list_link link;    /* in its maildrop's list, oldest first */
    struct node *uid_next;    /* chain by maildrop and uid: added and expunged */
    struct node *uidl_next;   /* chain by maildrop and imported unique-id: added */
    struct group *group;
    uint32_t slot;
    bool taken;
    size_t size; /* octets of this allocation */
};

struct group {
    struct group *next;
    struct delta_group where;
    int64_t published_ms;
    size_t count;         /* slots */
    size_t taken;         /* slots at the front that the checkpointer has seen; its own */
    size_t done;          /* slots at the front that have been forgotten; its own */
    struct node *nodes[]; /* NULL: cancelled, or forgotten */
};

struct drop {
    struct drop *next; /* chain */
    uint64_t id;
    uint64_t named_at; /* sequence of the last event with its name, though it be forgotten; 0 */
    bool removed;      /* an event has said so */
    struct list_link nodes;
};

/* A hash table of chains; what a chain links is its user's business. */
struct table {
    void **buckets;
    size_t mask; /* buckets - 1 */
    size_t count;
};

struct shard {
    pthread_mutex_t mutex;
    struct table drops, uids, uidls;
};

struct delta {
    uint64_t octets_max;
    pthread_mutex_t log_mutex;
    struct group *first, **last;      /* `last` is where the next group is hung in */
    uint64_t newest;                  /* sequence that has been published */
    const struct delta_event **taken; /* the checkpointer's */
    size_t taken_capacity;
    uint64_t due_events, due_octets, new_events, new_octets; /* under log_mutex */
    void (*on_due)(void *owner);
    void *due_owner;
    _Atomic uint64_t octets, events;
    _Atomic uint64_t forgotten; /* events up to this sequence may be gone from here */
    _Atomic int64_t oldest_ms;
    struct shard shards[DELTA_SHARDS];
};

/* --- tables --- */

static uint64_t mix(uint64_t value)
{
    value ^= value >> 32;
    value *= 0x9e3779b97f4a7c15u;
    return value ^ value >> 29;
}

static uint64_t uid_hash(uint64_t maildrop, uint64_t uid)
{
    return mix(mix(maildrop) + uid);
}

static uint64_t uidl_hash(uint64_t maildrop, const char *uidl, size_t length)
{
    return mix(mix(maildrop) + checksum_body(uidl, length));
}

static uint64_t node_uid_hash(const void *item)
{
    const struct node *node = item;
    return uid_hash(node->event.maildrop, node->event.uid);
}

static uint64_t node_uidl_hash(const void *item)
{
    const struct node *node = item;
    return uidl_hash(node->event.maildrop, node->event.entry->uidl, node->event.entry->uidl_length);
}

static uint64_t drop_hash(const void *item)
{
    const struct drop *drop = item;
    return mix(drop->id);
}

/* What differs between the three tables. */
struct table_kind {
    size_t next_offset; /* of the chain pointer in an item */
    uint64_t (*hash)(const void *item);
};
static const struct table_kind drop_kind = {offsetof(struct drop, next), drop_hash};
static const struct table_kind uid_kind = {offsetof(struct node, uid_next), node_uid_hash};
static const struct table_kind uidl_kind = {offsetof(struct node, uidl_next), node_uidl_hash};

static void **chain_next(const struct table_kind *kind, void *item)
{
    return (void **)(void *)((char *)item + kind->next_offset);
}

static enum status table_init(struct table *table)
{
    table->buckets = calloc(DELTA_BUCKETS_FIRST, sizeof *table->buckets);
    table->mask = DELTA_BUCKETS_FIRST - 1;
    return table->buckets != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

/* Longer chains are the only price when memory is short. */
static void table_grow(struct table *table, const struct table_kind *kind)
{
    size_t count = (table->mask + 1) * 2;
    void **buckets = calloc(count, sizeof *buckets);
    if (buckets == NULL) {
        return;
    }
    for (size_t i = 0; i <= table->mask; i++) {
        void *item = table->buckets[i];
        while (item != NULL) {
            void *next = *chain_next(kind, item);
            void **bucket = &buckets[kind->hash(item) & (count - 1)];
            *chain_next(kind, item) = *bucket;
            *bucket = item;
            item = next;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->mask = count - 1;
}

static void table_add(struct table *table, const struct table_kind *kind, void *item)
{
    if (table->count > table->mask) {
        table_grow(table, kind);
    }
    void **bucket = &table->buckets[kind->hash(item) & table->mask];
    *chain_next(kind, item) = *bucket;
    *bucket = item;
    table->count++;
}

static void table_remove(struct table *table, const struct table_kind *kind, void *item)
{
    void **place = &table->buckets[kind->hash(item) & table->mask];
    while (*place != item) {
        assert(*place != NULL);
        place = chain_next(kind, *place);
    }
    *place = *chain_next(kind, item);
    table->count--;
}

/* --- making and ending --- */

static struct shard *shard_of(struct delta *delta, uint64_t maildrop)
{
    /* Other bits than the tables use. */
    return &delta->shards[mix(maildrop) >> 40 & (DELTA_SHARDS - 1)];
}

enum status delta_create(uint64_t octets_max, struct delta **out_delta)
{
    struct delta *delta = calloc(1, sizeof *delta);
    if (delta == NULL) {
        return STATUS_NO_MEMORY;
    }
    delta->octets_max = octets_max;
    delta->last = &delta->first;
    pthread_mutex_init(&delta->log_mutex, NULL);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < DELTA_SHARDS; i++) {
        struct shard *shard = &delta->shards[i];
        pthread_mutex_init(&shard->mutex, NULL);
        if (table_init(&shard->drops) != STATUS_OK || table_init(&shard->uids) != STATUS_OK ||
            table_init(&shard->uidls) != STATUS_OK) {
            status = STATUS_NO_MEMORY;
        }
    }
    if (status != STATUS_OK) {
        delta_destroy(&delta);
        return status;
    }
    *out_delta = delta;
    return STATUS_OK;
}

static void shard_deinit(struct shard *shard)
{
    for (size_t i = 0; shard->drops.buckets != NULL && i <= shard->drops.mask; i++) {
        struct drop *drop = shard->drops.buckets[i];
        while (drop != NULL) {
            struct drop *next = drop->next;
            struct list_link *link;
            while ((link = list_pop_front(&drop->nodes)) != NULL) {
                free(list_entry(link, struct node, link));
            }
            free(drop);
            drop = next;
        }
    }
    free(shard->drops.buckets);
    free(shard->uids.buckets);
    free(shard->uidls.buckets);
    pthread_mutex_destroy(&shard->mutex);
}

void delta_destroy(struct delta **delta)
{
    if (*delta == NULL) {
        return;
    }
    for (size_t i = 0; i < DELTA_SHARDS; i++) {
        shard_deinit(&(*delta)->shards[i]);
    }
    struct group *group = (*delta)->first;
    while (group != NULL) {
        struct group *next = group->next;
        free(group);
        group = next;
    }
    free((*delta)->taken);
    pthread_mutex_destroy(&(*delta)->log_mutex);
    free(*delta);
    *delta = NULL;
}

/* --- events --- */

static size_t entry_size(const struct message_entry *entry)
{
    return offsetof(struct message_entry, uidl) + entry->uidl_length;
}

/* How much room the strings of an event take behind it. */
static size_t event_extra(const struct delta_event *event)
{
    if (event->entry != NULL) {
        return entry_size(event->entry);
    }
    return event->name != NULL ? strlen(event->name) + 1 : 0;
}

/* Copies an event whose strings go to `extra`, which is aligned. */
static void copy_event(struct delta_event *to, const struct delta_event *from, void *extra)
{
    *to = *from;
    if (from->entry != NULL) {
        to->entry = memcpy(extra, from->entry, entry_size(from->entry));
    } else if (from->name != NULL) {
        to->name = memcpy(extra, from->name, strlen(from->name) + 1);
    }
}

static struct node *node_create(const struct delta_event *event)
{
    static_assert(sizeof(struct node) % _Alignof(struct message_entry) == 0, "alignment");
    size_t size = sizeof(struct node) + event_extra(event);
    struct node *node = malloc(size);
    if (node == NULL) {
        return NULL;
    }
    memset(node, 0, sizeof *node);
    copy_event(&node->event, event, node + 1);
    node->size = size;
    return node;
}

static struct drop *find_drop(const struct shard *shard, uint64_t id)
{
    struct drop *drop = shard->drops.buckets[mix(id) & shard->drops.mask];
    while (drop != NULL && drop->id != id) {
        drop = drop->next;
    }
    return drop;
}

static struct drop *need_drop(struct shard *shard, uint64_t id)
{
    struct drop *drop = find_drop(shard, id);
    if (drop == NULL) {
        drop = calloc(1, sizeof *drop);
        if (drop != NULL) {
            drop->id = id;
            list_init(&drop->nodes);
            table_add(&shard->drops, &drop_kind, drop);
        }
    }
    return drop;
}

static bool in_uid_table(const struct node *node)
{
    return node->event.kind == DELTA_MESSAGE_ADDED || node->event.kind == DELTA_MESSAGE_EXPUNGED;
}

static bool in_uidl_table(const struct node *node)
{
    return node->event.kind == DELTA_MESSAGE_ADDED && node->event.entry->uidl_length > 0;
}

/* Takes a node out of everything in its shard, whose mutex is held. */
static void shard_remove(struct shard *shard, struct node *node)
{
    list_remove(&node->link);
    if (in_uid_table(node)) {
        table_remove(&shard->uids, &uid_kind, node);
    }
    if (in_uidl_table(node)) {
        table_remove(&shard->uidls, &uidl_kind, node);
    }
    struct drop *drop = find_drop(shard, node->event.maildrop);
    if (list_empty(&drop->nodes)) {
        table_remove(&shard->drops, &drop_kind, drop);
        free(drop);
    }
}

static void node_free(struct delta *delta, struct node *node)
{
    atomic_fetch_sub_explicit(&delta->octets, node->size, memory_order_relaxed);
    atomic_fetch_sub_explicit(&delta->events, 1, memory_order_relaxed);
    free(node);
}

static struct node *find_uid(const struct shard *shard, uint64_t maildrop, uint64_t uid,
                             enum delta_kind kind)
{
    struct node *node = shard->uids.buckets[uid_hash(maildrop, uid) & shard->uids.mask];
    while (node != NULL && (node->event.uid != uid || node->event.maildrop != maildrop ||
                            node->event.kind != kind)) {
        node = node->uid_next;
    }
    return node;
}

/* --- publishing: the writer --- */

/* Whether an expunge just makes its message unhappened. Not that of a blob, whose file has to be
 * counted, and not one that the checkpointer has already taken. */
static struct node *cancelled_by(const struct shard *shard, const struct delta_event *event)
{
    if (event->kind != DELTA_MESSAGE_EXPUNGED) {
        return NULL;
    }
    struct node *node = find_uid(shard, event->maildrop, event->uid, DELTA_MESSAGE_ADDED);
    return node != NULL && !node->taken && node->event.entry->blob == 0 ? node : NULL;
}

static enum status publish_event(struct delta *delta, struct group *group,
                                 const struct delta_event *event)
{
    enum status status = STATUS_OK;
    struct shard *shard = shard_of(delta, event->maildrop);
    pthread_mutex_lock(&shard->mutex);
    struct node *cancelled = cancelled_by(shard, event);
    if (cancelled != NULL) {
        cancelled->group->nodes[cancelled->slot] = NULL;
        shard_remove(shard, cancelled);
        node_free(delta, cancelled);
        goto done;
    }
    struct node *node = node_create(event);
    struct drop *drop = node != NULL ? need_drop(shard, event->maildrop) : NULL;
    if (drop == NULL) {
        free(node);
        status = STATUS_NO_MEMORY;
        goto done;
    }
    node->group = group;
    node->slot = (uint32_t)group->count;
    group->nodes[group->count++] = node;
    list_push_back(&drop->nodes, &node->link);
    drop->removed = drop->removed || event->kind == DELTA_DROP_REMOVED;
    if (event->kind == DELTA_DROP_CREATED || event->kind == DELTA_DROP_CHANGED) {
        drop->named_at = event->sequence;
    }
    if (in_uid_table(node)) {
        table_add(&shard->uids, &uid_kind, node);
    }
    if (in_uidl_table(node)) {
        table_add(&shard->uidls, &uidl_kind, node);
    }
    atomic_fetch_add_explicit(&delta->octets, node->size, memory_order_relaxed);
    atomic_fetch_add_explicit(&delta->events, 1, memory_order_relaxed);
done:
    pthread_mutex_unlock(&shard->mutex);
    return status;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

enum status delta_publish(struct delta *delta, const struct delta_group *where,
                          const struct delta_event *events, size_t count)
{
    struct group *group = malloc(sizeof *group + count * sizeof group->nodes[0]);
    if (group == NULL) {
        return STATUS_NO_MEMORY;
    }
    *group = (struct group){.where = *where, .published_ms = now_ms()};
    pthread_mutex_lock(&delta->log_mutex);
    if (delta->first == NULL) {
        atomic_store_explicit(&delta->oldest_ms, group->published_ms, memory_order_relaxed);
    }
    *delta->last = group;
    delta->last = &group->next;
    delta->newest = where->last_sequence;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = publish_event(delta, group, &events[i]);
    }
    delta->new_events += count;
    delta->new_octets += where->end - where->offset;
    bool due = delta->on_due != NULL &&
               (delta->new_events >= delta->due_events || delta->new_octets >= delta->due_octets);
    pthread_mutex_unlock(&delta->log_mutex);
    if (due) {
        delta->on_due(delta->due_owner);
    }
    return status;
}

void delta_set_due(struct delta *delta, uint64_t events, uint64_t log_octets,
                   void (*on_due)(void *owner), void *owner)
{
    delta->due_events = events;
    delta->due_octets = log_octets;
    delta->on_due = on_due;
    delta->due_owner = owner;
}

/* --- reading: workers --- */

static size_t aligned(size_t size)
{
    return (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
}

static enum status copy_drop(struct drop *drop, struct mem_arena *arena,
                             struct delta_event **out_events, size_t *out_count)
{
    size_t count = 0, extra = 0;
    struct list_link *link;
    for (link = drop->nodes.next; link != &drop->nodes; link = link->next) {
        extra += aligned(event_extra(&list_entry(link, struct node, link)->event));
        count++;
    }
    size_t head = aligned(count * sizeof(struct delta_event));
    char *block = mem_arena_alloc(arena, head + extra);
    if (block == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct delta_event *events = (struct delta_event *)(void *)block;
    block += head;
    *out_events = events;
    *out_count = count;
    for (link = drop->nodes.next; link != &drop->nodes; link = link->next) {
        const struct delta_event *event = &list_entry(link, struct node, link)->event;
        copy_event(events++, event, block);
        block += aligned(event_extra(event));
    }
    return STATUS_OK;
}

enum status delta_copy(struct delta *delta, uint64_t maildrop, struct mem_arena *arena,
                       struct delta_event **out_events, size_t *out_count)
{
    struct shard *shard = shard_of(delta, maildrop);
    enum status status = STATUS_OK;
    pthread_mutex_lock(&shard->mutex);
    struct drop *drop = find_drop(shard, maildrop);
    if (drop != NULL) {
        status = copy_drop(drop, arena, out_events, out_count);
    } else {
        *out_events = NULL;
        *out_count = 0;
    }
    pthread_mutex_unlock(&shard->mutex);
    return status;
}

static enum delta_presence presence(const struct shard *shard, uint64_t maildrop, uint64_t uid)
{
    if (find_uid(shard, maildrop, uid, DELTA_MESSAGE_EXPUNGED) != NULL) {
        return DELTA_GONE;
    }
    return find_uid(shard, maildrop, uid, DELTA_MESSAGE_ADDED) != NULL ? DELTA_PRESENT
                                                                       : DELTA_UNKNOWN;
}

enum delta_presence delta_find_uid(struct delta *delta, uint64_t maildrop, uint64_t uid)
{
    struct shard *shard = shard_of(delta, maildrop);
    pthread_mutex_lock(&shard->mutex);
    enum delta_presence result = presence(shard, maildrop, uid);
    pthread_mutex_unlock(&shard->mutex);
    return result;
}

enum delta_presence delta_find_uidl(struct delta *delta, uint64_t maildrop, const char *uidl,
                                    size_t length)
{
    struct shard *shard = shard_of(delta, maildrop);
    enum delta_presence result = DELTA_UNKNOWN;
    pthread_mutex_lock(&shard->mutex);
    size_t bucket = uidl_hash(maildrop, uidl, length) & shard->uidls.mask;
    const struct node *node = shard->uidls.buckets[bucket];
    /* Several may have had it, one after the other: present when one of them still is. */
    for (; node != NULL && result != DELTA_PRESENT; node = node->uidl_next) {
        const struct message_entry *entry = node->event.entry;
        if (node->event.maildrop == maildrop && entry->uidl_length == length &&
            memcmp(entry->uidl, uidl, length) == 0) {
            result = presence(shard, maildrop, entry->uid);
        }
    }
    pthread_mutex_unlock(&shard->mutex);
    return result;
}

enum delta_presence delta_since(struct delta *delta, uint64_t maildrop, uint64_t uid,
                                uint64_t since)
{
    struct shard *shard = shard_of(delta, maildrop);
    pthread_mutex_lock(&shard->mutex);
    const struct drop *drop = find_drop(shard, maildrop);
    /* A name that the index has already is no newer one, however long the delta keeps it. */
    bool gone = drop != NULL && (drop->removed || (uid == 0 && drop->named_at > since));
    gone = gone || (uid != 0 && presence(shard, maildrop, uid) == DELTA_GONE);
    pthread_mutex_unlock(&shard->mutex);
    if (gone) {
        return DELTA_GONE;
    }
    /* After the look, see delta_forget: what was missing because it is forgotten is noticed.
     * Acquire: pairs with the release there, and the mutex orders the two. */
    return atomic_load_explicit(&delta->forgotten, memory_order_acquire) <= since ? DELTA_PRESENT
                                                                                  : DELTA_UNKNOWN;
}

/* --- taking and forgetting: the checkpointer --- */

static enum status reserve_taken(struct delta *delta, size_t count)
{
    if (count <= delta->taken_capacity) {
        return STATUS_OK;
    }
    const struct delta_event **taken = realloc(delta->taken, count * 2 * sizeof *taken);
    if (taken == NULL) {
        return STATUS_NO_MEMORY;
    }
    delta->taken = taken;
    delta->taken_capacity = count * 2;
    return STATUS_OK;
}

/* The slots from `slot` on that belong to the same record, and how many events are left in them. */
static size_t record_slots(const struct group *group, size_t slot, size_t *out_events)
{
    size_t end = slot, events = 0;
    uint64_t sequence = 0;
    for (; end < group->count; end++) {
        const struct node *node = group->nodes[end];
        if (node == NULL) {
            continue;
        }
        if (sequence != 0 && node->event.sequence != sequence) {
            break;
        }
        sequence = node->event.sequence;
        events++;
    }
    *out_events = events;
    return end;
}

/* Takes whole records of one group; returns whether all of it is taken now. */
static enum status take_group(struct delta *delta, struct group *group, size_t events_max,
                              size_t *count, struct log_position *position, bool *out_whole)
{
    *out_whole = false;
    for (size_t slot = group->done; slot < group->count;) {
        size_t events;
        size_t end = record_slots(group, slot, &events);
        if (*count > 0 && *count + events > events_max) {
            return STATUS_OK;
        }
        enum status status = reserve_taken(delta, *count + events);
        if (status != STATUS_OK) {
            return status;
        }
        for (; slot < end; slot++) {
            struct node *node = group->nodes[slot];
            if (node != NULL) {
                node->taken = true;
                delta->taken[(*count)++] = &node->event;
                position->sequence = node->event.sequence;
            }
        }
        group->taken = end;
        position->segment = group->where.segment;
        position->offset = group->where.offset;
    }
    *position = (struct log_position){.segment = group->where.segment,
                                      .offset = group->where.end,
                                      .sequence = group->where.last_sequence};
    *out_whole = true;
    return STATUS_OK;
}

static int by_maildrop(const void *left, const void *right)
{
    const struct delta_event *a = *(const struct delta_event *const *)left;
    const struct delta_event *b = *(const struct delta_event *const *)right;
    if (a->maildrop != b->maildrop) {
        return a->maildrop < b->maildrop ? -1 : 1;
    }
    if (a->sequence != b->sequence) {
        return a->sequence < b->sequence ? -1 : 1;
    }
    /* Of one expunge: in key order. */
    return a->uid < b->uid ? -1 : a->uid > b->uid;
}

void delta_sort(const struct delta_event **events, size_t count)
{
    if (count > 1) {
        qsort(events, count, sizeof(const struct delta_event *), by_maildrop);
    }
}

enum status delta_take(struct delta *delta, size_t events_max,
                       const struct delta_event ***out_events, size_t *out_count,
                       struct log_position *out_position)
{
    size_t count = 0;
    struct log_position position = {0};
    enum status status = STATUS_OK;
    bool whole = true;
    pthread_mutex_lock(&delta->log_mutex);
    struct group *group = delta->first;
    for (; group != NULL && whole && status == STATUS_OK; group = group->next) {
        status = take_group(delta, group, events_max, &count, &position, &whole);
    }
    delta->new_events = delta->new_octets = 0;
    pthread_mutex_unlock(&delta->log_mutex);
    if (status != STATUS_OK) {
        return status;
    }
    delta_sort(delta->taken, count);
    *out_events = delta->taken;
    *out_count = count;
    *out_position = position;
    return STATUS_OK;
}

uint64_t delta_newest(struct delta *delta)
{
    pthread_mutex_lock(&delta->log_mutex);
    uint64_t newest = delta->newest;
    pthread_mutex_unlock(&delta->log_mutex);
    return newest;
}

static void forget_slots(struct delta *delta, struct group *group, uint64_t sequence)
{
    /* Not a slot further: what is not taken may be cancelled by the writer at any time. */
    for (; group->done < group->taken; group->done++) {
        struct node *node = group->nodes[group->done];
        if (node == NULL) {
            continue;
        }
        if (node->event.sequence > sequence) {
            return;
        }
        struct shard *shard = shard_of(delta, node->event.maildrop);
        pthread_mutex_lock(&shard->mutex);
        shard_remove(shard, node);
        pthread_mutex_unlock(&shard->mutex);
        group->nodes[group->done] = NULL;
        node_free(delta, node);
    }
}

/* Takes the first group off the list when the index has all of it. */
static bool drop_first(struct delta *delta, struct group *group, uint64_t sequence)
{
    bool whole = group->where.last_sequence <= sequence;
    pthread_mutex_lock(&delta->log_mutex);
    if (whole) {
        delta->first = group->next;
        if (delta->first == NULL) {
            delta->last = &delta->first;
        }
        atomic_store_explicit(&delta->oldest_ms,
                              delta->first != NULL ? delta->first->published_ms : 0,
                              memory_order_relaxed);
    }
    pthread_mutex_unlock(&delta->log_mutex);
    return whole;
}

void delta_forget(struct delta *delta, uint64_t sequence)
{
    /* Before the first event goes: whoever does not find one any more must find this. */
    atomic_store_explicit(&delta->forgotten, sequence, memory_order_release);
    for (;;) {
        pthread_mutex_lock(&delta->log_mutex);
        struct group *group = delta->first;
        pthread_mutex_unlock(&delta->log_mutex);
        if (group == NULL || group->where.first_sequence > sequence) {
            return;
        }
        forget_slots(delta, group, sequence);
        if (!drop_first(delta, group, sequence)) {
            return;
        }
        free(group);
    }
}

/* --- figures --- */

uint64_t delta_octets(const struct delta *delta)
{
    return atomic_load_explicit(&delta->octets, memory_order_relaxed);
}

uint64_t delta_events(const struct delta *delta)
{
    return atomic_load_explicit(&delta->events, memory_order_relaxed);
}

int64_t delta_oldest_ms(const struct delta *delta)
{
    return atomic_load_explicit(&delta->oldest_ms, memory_order_relaxed);
}

bool delta_full(const struct delta *delta)
{
    return delta_octets(delta) > delta->octets_max;
}
