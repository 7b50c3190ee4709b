/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/damaged.h"

#include "storage/idset.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct damaged {
    _Atomic uint64_t count, version; /* changed under the mutex, read without */
    pthread_mutex_t mutex;           /* guards what follows */
    struct damaged_message *messages;
    size_t capacity;
    struct idset places; /* keys of them: a fetch must not walk the list */
};

enum status damaged_create(struct damaged **out_damaged)
{
    struct damaged *damaged = calloc(1, sizeof *damaged);
    if (damaged == NULL) {
        return STATUS_NO_MEMORY;
    }
    (void)pthread_mutex_init(&damaged->mutex, NULL); /* cannot fail with default attributes */
    *out_damaged = damaged;
    return STATUS_OK;
}

void damaged_destroy(struct damaged **damaged)
{
    if (*damaged != NULL) {
        (void)pthread_mutex_destroy(&(*damaged)->mutex); /* nobody holds it any more */
        idset_deinit(&(*damaged)->places);
        free((*damaged)->messages);
        free(*damaged);
        *damaged = NULL;
    }
}

/* Two places with the same key would cost a message a refusal that a check can explain. */
static uint64_t place_key(uint32_t segment, uint64_t offset, uint64_t blob)
{
    uint64_t mixed = blob != 0 ? blob * 0x9e3779b97f4a7c15u
                               : (offset ^ (uint64_t)segment << 40) * 0xff51afd7ed558ccdu;
    mixed ^= mixed >> 29;
    return mixed != 0 ? mixed : 1; /* 0 is no member of a set */
}

static bool make_room(struct damaged *damaged, uint64_t count)
{
    if (count >= DAMAGED_MAX) {
        return false;
    }
    if (count == damaged->capacity) {
        size_t capacity = damaged->capacity == 0 ? 16 : damaged->capacity * 2;
        struct damaged_message *larger = realloc(damaged->messages, capacity * sizeof *larger);
        if (larger == NULL) {
            return false;
        }
        damaged->messages = larger;
        damaged->capacity = capacity;
    }
    return true;
}

static size_t find(const struct damaged *damaged, uint64_t maildrop, uint64_t uid)
{
    size_t count = (size_t)atomic_load(&damaged->count), i = 0;
    while (i < count &&
           (damaged->messages[i].maildrop != maildrop || damaged->messages[i].uid != uid)) {
        i++;
    }
    return i;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool damaged_add(struct damaged *damaged, const struct damaged_message *message)
{
    (void)pthread_mutex_lock(&damaged->mutex);
    uint64_t count = atomic_load(&damaged->count);
    uint64_t key = place_key(message->segment, message->offset, message->blob);
    bool is_new = find(damaged, message->maildrop, message->uid) == count;
    if (is_new && make_room(damaged, count) && idset_add(&damaged->places, key) == STATUS_OK) {
        damaged->messages[count] = *message;
        if (message->since_ms == 0) {
            damaged->messages[count].since_ms = now_ms();
        }
        atomic_store(&damaged->count, count + 1);
        atomic_fetch_add(&damaged->version, 1);
    }
    (void)pthread_mutex_unlock(&damaged->mutex);
    return is_new;
}

void damaged_remove(struct damaged *damaged, uint64_t maildrop, uint64_t uid)
{
    (void)pthread_mutex_lock(&damaged->mutex);
    uint64_t count = atomic_load(&damaged->count);
    size_t at = find(damaged, maildrop, uid);
    if (at < count) {
        struct damaged_message gone = damaged->messages[at];
        uint64_t key = place_key(gone.segment, gone.offset, gone.blob);
        bool shared = false; /* with another recipient of the same message */
        memmove(damaged->messages + at, damaged->messages + at + 1,
                (size_t)(count - at - 1) * sizeof gone);
        for (size_t i = 0; i + 1 < count; i++) {
            const struct damaged_message *other = &damaged->messages[i];
            shared = shared || place_key(other->segment, other->offset, other->blob) == key;
        }
        if (!shared) {
            idset_remove(&damaged->places, key);
        }
        atomic_store(&damaged->count, count - 1);
        atomic_fetch_add(&damaged->version, 1);
    }
    (void)pthread_mutex_unlock(&damaged->mutex);
}

bool damaged_at(struct damaged *damaged, uint32_t segment, uint64_t offset, uint64_t blob)
{
    /* Relaxed: a fetch that runs beside the finding may be before or after it. */
    if (atomic_load_explicit(&damaged->count, memory_order_relaxed) == 0) {
        return false;
    }
    (void)pthread_mutex_lock(&damaged->mutex);
    bool found = idset_has(&damaged->places, place_key(segment, offset, blob));
    (void)pthread_mutex_unlock(&damaged->mutex);
    return found;
}

uint64_t damaged_count(const struct damaged *damaged)
{
    return atomic_load(&damaged->count);
}

uint64_t damaged_version(const struct damaged *damaged)
{
    return atomic_load(&damaged->version);
}

size_t damaged_list(struct damaged *damaged, size_t first, struct damaged_message *out,
                    size_t count)
{
    size_t copied = 0;
    (void)pthread_mutex_lock(&damaged->mutex);
    while (copied < count && first + copied < atomic_load(&damaged->count)) {
        out[copied] = damaged->messages[first + copied];
        copied++;
    }
    (void)pthread_mutex_unlock(&damaged->mutex);
    return copied;
}
