/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/checkpoint.h"

#include "io/log.h"
#include "storage/ballast.h"
#include "storage/delta.h"
#include "storage/kv.h"
#include "storage/space.h"
#include "storage/volume.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define READER_CHECK_MS 60000 /* how often slots of dead readers are looked for */
#define MAP_LOW_PERCENT 80    /* of the map in use: no more deliveries */

struct checkpoint {
    struct volume *volume;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows, up to the numbers */
    pthread_cond_t wake, done;
    uint64_t asked, answered;          /* rounds */
    const struct index_forget *forget; /* what the next round ends with; NULL: nothing */
    bool stopping, stopped, due;
    enum status failure; /* of the last round */
    struct checkpoint_numbers numbers;
    struct index_reader *reader; /* the thread's */
    int64_t readers_checked_ms;  /* the thread's */
    bool was_full;               /* the thread's: the last round found no room */
    _Atomic bool map_low;
};

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void report_failure(struct checkpoint *checkpoint, enum status status)
{
    struct log_line line;
    struct error error = {.status = status};
    log_begin(&line, LOG_LEVEL_ERROR, "checkpoint_failed");
    log_text(&line, "volume", checkpoint->volume->path);
    log_text(&line, "text", "the index cannot be written; the volume is read-only until a restart");
    log_error(&line, &error);
    log_end(&line);
    atomic_store(&checkpoint->volume->read_only, true);
}

/* The disk is full: the events stay in memory and in the log, and the next round tries again. */
static void report_full(struct checkpoint *checkpoint)
{
    if (!checkpoint->was_full) {
        struct log_line line;
        log_begin(&line, LOG_LEVEL_WARNING, "checkpoint_waits");
        log_text(&line, "volume", checkpoint->volume->path);
        log_text(&line, "text", "no room to write the index; nothing is lost, make room");
        log_end(&line);
    }
    checkpoint->was_full = true;
}

static void look_at_map(struct checkpoint *checkpoint)
{
    struct kv_numbers numbers;
    index_numbers(checkpoint->volume->index, &numbers);
    bool low = numbers.used_octets > numbers.map_octets / 100 * MAP_LOW_PERCENT;
    atomic_store_explicit(&checkpoint->map_low, low, memory_order_relaxed);
}

static enum status read_state(struct checkpoint *checkpoint, struct index_state *out_state)
{
    enum status status = index_begin(checkpoint->reader, out_state);
    if (status == STATUS_OK) {
        index_end(checkpoint->reader);
    }
    return status;
}

/* A write that was cut short for lack of room comes back from LMDB as some I/O error. */
static bool is_disk_full(struct volume *volume)
{
    uint64_t free_octets;
    return disk_free_octets(volume->disk, volume->path, &free_octets, NULL) == STATUS_OK &&
           free_octets < volume->config.space_reserve;
}

/* One transaction. `*out_reached`: the sequence it ended with; 0: there was nothing to do. */
static enum status apply_prefix(struct checkpoint *checkpoint, uint64_t *out_reached)
{
    struct volume *volume = checkpoint->volume;
    const struct delta_event **events;
    size_t count;
    struct log_position position;
    struct index_state state;
    int64_t start_us = now_us();
    bool is_low = atomic_load_explicit(&volume->space_low, memory_order_relaxed); /* advice */
    size_t events_max = is_low ? STORAGE_CHECKPOINT_EVENTS_FULL : STORAGE_CHECKPOINT_EVENTS;
    *out_reached = 0;
    enum status status = delta_take(volume->delta, events_max, &events, &count, &position);
    if (status != STATUS_OK || position.sequence == 0) {
        return status;
    }
    status = index_apply(volume->index, events, count, &position, 0);
    if ((status == STATUS_NO_SPACE || status == STATUS_IO) && is_disk_full(volume)) {
        return STATUS_NO_SPACE; /* nothing of it counts, and LMDB writes it all anew next time */
    }
    if (status == STATUS_OK) {
        status = read_state(checkpoint, &state);
    }
    if (status != STATUS_OK) {
        return status;
    }
    delta_forget(volume->delta, position.sequence);
    look_at_map(checkpoint);
    pthread_mutex_lock(&checkpoint->mutex);
    checkpoint->numbers.count++;
    checkpoint->numbers.us_sum += (uint64_t)(now_us() - start_us);
    checkpoint->numbers.state = state;
    pthread_mutex_unlock(&checkpoint->mutex);
    *out_reached = position.sequence;
    return STATUS_OK;
}

/* All that had been published when it began. What comes while it works waits for the next round: a
 * transaction for a handful of events rewrites nearly as many pages as one for thousands, and under
 * a steady load who waits for the end would wait for ever. */
static enum status apply_all(struct checkpoint *checkpoint)
{
    uint64_t goal = delta_newest(checkpoint->volume->delta), reached = 0;
    enum status status = STATUS_OK;
    do {
        status = apply_prefix(checkpoint, &reached);
    } while (status == STATUS_OK && reached != 0 && reached < goal);
    if (now_us() / 1000 - checkpoint->readers_checked_ms > READER_CHECK_MS) {
        checkpoint->readers_checked_ms = now_us() / 1000;
        index_check_readers(checkpoint->volume->index);
    }
    return status;
}

/* Waits for a reason to work; returns the round that is asked for. */
static uint64_t wait_for_work(struct checkpoint *checkpoint, bool *out_stop,
                              const struct index_forget **out_forget)
{
    struct timespec until;
    int64_t until_us = now_us() + (int64_t)checkpoint->volume->config.checkpoint_ms * 1000;
    until = (struct timespec){.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_mutex_lock(&checkpoint->mutex);
    int timed_out = 0;
    while (timed_out == 0 && !checkpoint->stopping && !checkpoint->due &&
           checkpoint->asked == checkpoint->answered) {
        timed_out = pthread_cond_timedwait(&checkpoint->wake, &checkpoint->mutex, &until);
    }
    checkpoint->due = false;
    *out_stop = checkpoint->stopping;
    uint64_t round = checkpoint->asked;
    *out_forget = checkpoint->forget;
    checkpoint->forget = NULL;
    pthread_mutex_unlock(&checkpoint->mutex);
    return round;
}

static void answer(struct checkpoint *checkpoint, uint64_t round, enum status failure)
{
    pthread_mutex_lock(&checkpoint->mutex);
    checkpoint->answered = round;
    checkpoint->failure = failure;
    checkpoint->stopped = failure == STATUS_READ_ONLY;
    pthread_cond_broadcast(&checkpoint->done);
    pthread_mutex_unlock(&checkpoint->mutex);
}

/* The orderly end: says in the index that nothing follows. */
static void mark_clean(struct checkpoint *checkpoint)
{
    struct index_state state;
    enum status status = read_state(checkpoint, &state);
    if (status == STATUS_OK && state.stored && !atomic_load(&checkpoint->volume->read_only)) {
        status =
            index_apply(checkpoint->volume->index, NULL, 0, &state.position, INDEX_APPLY_CLEAN);
    }
    if (status != STATUS_OK) {
        report_failure(checkpoint, status); /* the next start looks closer, that is all */
    }
}

static enum status do_round(struct checkpoint *checkpoint, const struct index_forget *forget)
{
    enum status status = apply_all(checkpoint);
    return status == STATUS_OK && forget != NULL ? index_forget(checkpoint->volume->index, forget)
                                                 : status;
}

static void *run(void *owner)
{
    struct checkpoint *checkpoint = owner;
    bool stop = false;
    while (!stop) {
        const struct index_forget *forget = NULL;
        uint64_t round = wait_for_work(checkpoint, &stop, &forget);
        /* After a failed sync of the log nothing is written to this disk any more. */
        bool read_only = atomic_load(&checkpoint->volume->read_only);
        (void)space_check(checkpoint->volume); /* also while nobody delivers or expunges */
        enum status status = read_only ? STATUS_READ_ONLY : do_round(checkpoint, forget);
        while (status == STATUS_NO_SPACE && is_disk_full(checkpoint->volume) &&
               ballast_release(checkpoint->volume->ballast)) {
            status = do_round(checkpoint, forget);
        }
        if (status == STATUS_NO_SPACE && is_disk_full(checkpoint->volume)) {
            report_full(checkpoint);
            answer(checkpoint, round, status);
            continue;
        }
        if (status != STATUS_OK) {
            if (!read_only) {
                report_failure(checkpoint, status);
            }
            answer(checkpoint, round, STATUS_READ_ONLY);
            return NULL;
        }
        checkpoint->was_full = false;
        answer(checkpoint, round, STATUS_OK);
    }
    if (!checkpoint->was_full) {
        mark_clean(checkpoint);
    }
    return NULL;
}

static void on_due(void *owner)
{
    checkpoint_wake(owner);
}

static void free_checkpoint(struct checkpoint *checkpoint)
{
    index_reader_destroy(&checkpoint->reader);
    pthread_cond_destroy(&checkpoint->wake);
    pthread_cond_destroy(&checkpoint->done);
    pthread_mutex_destroy(&checkpoint->mutex);
    free(checkpoint);
}

enum status checkpoint_start(struct volume *volume, struct checkpoint **out_checkpoint,
                             struct error *out_error)
{
    struct checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
    if (checkpoint == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, volume->path, "starting the checkpointer");
    }
    checkpoint->volume = volume;
    checkpoint->readers_checked_ms = now_us() / 1000;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&checkpoint->wake, &monotonic);
    pthread_cond_init(&checkpoint->done, NULL);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&checkpoint->mutex, NULL);
    enum status status = index_reader_create(volume->index, &checkpoint->reader);
    if (status == STATUS_OK) {
        status = read_state(checkpoint, &checkpoint->numbers.state);
    }
    if (status == STATUS_OK) {
        look_at_map(checkpoint);
        delta_set_due(volume->delta, volume->config.checkpoint_events,
                      volume->config.checkpoint_octets, on_due, checkpoint);
        int code = pthread_create(&checkpoint->thread, NULL, run, checkpoint);
        status = code == 0 ? STATUS_OK : STATUS_NO_MEMORY;
    }
    if (status != STATUS_OK) {
        free_checkpoint(checkpoint);
        return error_set(out_error, status, 0, volume->path, "starting the checkpointer");
    }
    *out_checkpoint = checkpoint;
    return STATUS_OK;
}

void checkpoint_stop(struct checkpoint **checkpoint)
{
    if (*checkpoint == NULL) {
        return;
    }
    pthread_mutex_lock(&(*checkpoint)->mutex);
    (*checkpoint)->stopping = true;
    pthread_cond_signal(&(*checkpoint)->wake);
    pthread_mutex_unlock(&(*checkpoint)->mutex);
    pthread_join((*checkpoint)->thread, NULL);
    free_checkpoint(*checkpoint);
    *checkpoint = NULL;
}

void checkpoint_wake(struct checkpoint *checkpoint)
{
    pthread_mutex_lock(&checkpoint->mutex);
    checkpoint->due = true;
    pthread_cond_signal(&checkpoint->wake);
    pthread_mutex_unlock(&checkpoint->mutex);
}

static enum status ask(struct checkpoint *checkpoint, const struct index_forget *forget)
{
    pthread_mutex_lock(&checkpoint->mutex);
    uint64_t round = ++checkpoint->asked;
    checkpoint->forget = forget != NULL ? forget : checkpoint->forget;
    pthread_cond_signal(&checkpoint->wake);
    while (checkpoint->answered < round && !checkpoint->stopped) {
        pthread_cond_wait(&checkpoint->done, &checkpoint->mutex);
    }
    enum status status = checkpoint->failure;
    pthread_mutex_unlock(&checkpoint->mutex);
    return status;
}

void checkpoint_numbers(struct checkpoint *checkpoint, struct checkpoint_numbers *out_numbers)
{
    pthread_mutex_lock(&checkpoint->mutex);
    *out_numbers = checkpoint->numbers;
    pthread_mutex_unlock(&checkpoint->mutex);
}

enum status checkpoint_now(struct checkpoint *checkpoint)
{
    return ask(checkpoint, NULL);
}

enum status checkpoint_settle(struct checkpoint *checkpoint, const struct index_forget *forget)
{
    return ask(checkpoint, forget);
}

bool checkpoint_map_low(const struct checkpoint *checkpoint)
{
    return atomic_load_explicit(&checkpoint->map_low, memory_order_relaxed);
}
