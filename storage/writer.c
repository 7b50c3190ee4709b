/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a group is written, what each failure leaves behind and why sequences are never reused is
 * told in storage/README.md. Everything in struct writer belongs to the writer's thread unless it
 * says otherwise. What a rolled-over segment costs is paid by storage/ahead.
 */
#include "storage/writer.h"

#include "io/list.h"
#include "io/log.h"
#include "storage/ahead.h"
#include "storage/ballast.h"
#include "storage/delta.h"
#include "storage/group.h"
#include "storage/recheck.h"
#include "storage/segment.h"
#include "storage/space.h"
#include "storage/storage_limits.h"
#include "storage/volume.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum next_state {
    NEXT_NONE,   /* nobody has been asked for the next segment */
    NEXT_ASKED,  /* storage/ahead is at it */
    NEXT_READY,  /* `next.fd` is open */
    NEXT_FAILED, /* `next.status` says why */
};

struct writer {
    struct volume *volume; /* its atomics and immutable parts */
    struct post_box box;
    pthread_t thread;
    struct post_message stop;
    bool stopping;
    struct post_message *queue, **queue_end; /* items taken from the box, oldest first */
    struct group group;

    int fd;                      /* the segment being appended to; -1: none yet */
    uint32_t segment;            /* its id */
    char path[SEGMENT_PATH_MAX]; /* its file, for telling what failed */
    uint64_t end;                /* octets published; what is behind them may be written over */
    bool has_manifest;
    struct log_position predecessor; /* what the manifest of `segment` says, until it is written */
    uint64_t next_sequence, next_group, last_sequence;
    uint32_t *unretired; /* ascending; `segment` too, once its manifest is durable */
    uint32_t unretired_count, unretired_capacity;

    struct ahead *ahead;
    struct ahead_request next;
    enum next_state next_state;
    uint32_t next_segment; /* the id to ask for */

    struct writer_counters counters;
    pthread_mutex_t position_mutex; /* guards `position` and changes of `unretired`, which any
                                     * thread may ask for */
    struct log_position position;
};

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* --- the queue --- */

/* On the asker's thread. */
static void on_answered(struct post_message *message)
{
    struct writer_item *item = list_entry(message, struct writer_item, message);
    item->on_done(item);
}

/* Never run: it marks a message in the writer's box as an item. */
static void is_item(struct post_message *message)
{
    (void)message;
}

static void answer(struct writer_item *item, enum status status)
{
    item->status = status;
    item->message.on_receive = on_answered;
    post_send(item->reply_box, &item->message);
}

/* Answers those from `first` on that one thread has asked for, together: it is woken once and finds
 * all of them, so that what it sends for them goes out together, too. */
static void answer_box(struct group *group, unsigned first, enum status status)
{
    struct post_box *box = group->items[first]->reply_box;
    struct post_message *oldest = &group->items[first]->message, **end = &oldest;
    for (unsigned i = first; i < group->count; i++) {
        struct writer_item *item = group->items[i];
        if (item != NULL && item->reply_box == box) {
            item->status = status;
            item->message.on_receive = on_answered;
            item->message.next = NULL;
            *end = &item->message;
            end = &item->message.next;
            group->items[i] = NULL;
        }
    }
    post_send_all(box, oldest);
}

static void answer_group(struct writer *writer, enum status status)
{
    for (unsigned i = 0; i < writer->group.count; i++) {
        if (writer->group.items[i] != NULL) {
            answer_box(&writer->group, i, status);
        }
    }
    if (status != STATUS_OK) {
        counter_add(&writer->counters.failures, 1);
    }
    group_clear(&writer->group);
}

/* Puts what is in the box behind the queue; other messages are run. */
static void receive(struct writer *writer)
{
    struct post_message *message = post_take(&writer->box);
    while (message != NULL) {
        struct post_message *next = message->next;
        message->next = NULL;
        if (message->on_receive == is_item) {
            *writer->queue_end = message;
            writer->queue_end = &message->next;
        } else {
            message->on_receive(message);
        }
        message = next;
    }
}

static struct writer_item *queue_first(const struct writer *writer)
{
    return writer->queue != NULL ? list_entry(writer->queue, struct writer_item, message) : NULL;
}

static void queue_pop(struct writer *writer)
{
    struct post_message *first = writer->queue;
    writer->queue = first->next;
    if (writer->queue == NULL) {
        writer->queue_end = &writer->queue;
    }
    first->next = NULL;
}

static void on_stop(struct post_message *message)
{
    list_entry(message, struct writer, stop)->stopping = true;
}

/* --- failing --- */

static bool is_read_only(const struct writer *writer)
{
    /* Acquire: whoever set it did so after what made it necessary. Release in go_read_only and in
     * the checkpointer. */
    return atomic_load_explicit(&writer->volume->read_only, memory_order_acquire);
}

static void go_read_only(struct writer *writer, const struct error *error)
{
    struct log_line line;
    if (atomic_exchange_explicit(&writer->volume->read_only, true, memory_order_acq_rel)) {
        return; /* whoever was first has said so */
    }
    log_begin(&line, LOG_LEVEL_ERROR, "volume_read_only");
    log_text(&line, "volume", writer->volume->path);
    log_error(&line, error);
    log_end(&line);
}

/* --- segments --- */

static void on_next_made(struct post_message *message)
{
    struct writer *writer = list_entry(message, struct writer, next.message);
    writer->next_state = writer->next.status == STATUS_OK ? NEXT_READY : NEXT_FAILED;
    if (writer->next_state == NEXT_READY) {
        writer->next_segment = writer->next.segment + 1;
    }
}

static void ask_next(struct writer *writer)
{
    writer->next.message.on_receive = on_next_made;
    writer->next.segment = writer->next_segment;
    writer->next_state = NEXT_ASKED;
    ahead_ask(writer->ahead, &writer->next);
}

/* Goes on in the next segment; its manifest will say that this one ends at the published end. */
static enum status change_segment(struct writer *writer)
{
    bool was_full = writer->next_state == NEXT_FAILED && writer->next.status == STATUS_NO_SPACE;
    if (writer->next_state == NEXT_NONE || was_full) {
        ask_next(writer); /* there may be room by now */
    }
    while (writer->next_state == NEXT_ASKED) {
        (void)post_wait(&writer->box, -1); /* without a time limit it ends with something there */
        receive(writer);
        if (writer->next_state == NEXT_FAILED && writer->next.status == STATUS_NO_SPACE &&
            ballast_release(writer->volume->ballast)) {
            ask_next(writer);
        }
    }
    bool failed = writer->next_state == NEXT_FAILED;
    writer->next_state = NEXT_NONE;
    if (failed && writer->next.status == STATUS_NO_SPACE) {
        return STATUS_NO_SPACE; /* asked for again by the next group */
    }
    if (failed) {
        go_read_only(writer, &writer->next.error);
        return STATUS_READ_ONLY;
    }
    if (writer->fd >= 0) {
        writer->predecessor =
            (struct log_position){writer->segment, writer->end, writer->last_sequence};
        disk_close(writer->volume->disk, &writer->fd);
    }
    writer->fd = writer->next.fd;
    writer->segment = writer->next.segment;
    segment_path(writer->volume->segments_path, writer->segment, writer->path);
    writer->end = 0;
    writer->has_manifest = false;
    return STATUS_OK;
}

/* Makes sure that there is a segment with room: a group that starts below the size is written
 * whole. */
static enum status ensure_segment(struct writer *writer)
{
    uint64_t size = writer->volume->config.segment_size;
    if (writer->fd < 0 || writer->end >= size) {
        enum status status = change_segment(writer);
        if (status != STATUS_OK) {
            return status;
        }
    }
    /* Early enough that it is there when needed, late enough that a restart seldom finds it empty.
     */
    if (writer->next_state == NEXT_NONE && writer->end >= size / 2) {
        ask_next(writer);
    }
    if (writer->unretired_count == writer->unretired_capacity) { /* for this segment, see publish */
        uint32_t capacity = writer->unretired_capacity + 64;
        (void)pthread_mutex_lock(&writer->position_mutex);
        uint32_t *larger = realloc(writer->unretired, capacity * sizeof *larger);
        writer->unretired = larger != NULL ? larger : writer->unretired;
        (void)pthread_mutex_unlock(&writer->position_mutex);
        if (larger == NULL) {
            return STATUS_NO_MEMORY;
        }
        writer->unretired_capacity = capacity;
    }
    return STATUS_OK;
}

/* With the mutex held. */
static void forget_unretired(struct writer *writer, uint32_t segment)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < writer->unretired_count; i++) {
        if (writer->unretired[i] != segment) {
            writer->unretired[kept++] = writer->unretired[i];
        }
    }
    writer->unretired_count = kept;
}

/* --- one group --- */

/* Forms the group from the queue. Items that may not have the room are answered at once. */
static void form_group(struct writer *writer)
{
    bool below_reserve = space_check(writer->volume);
    for (struct writer_item *item; (item = queue_first(writer)) != NULL;) {
        if (below_reserve && !item->uses_reserve) {
            queue_pop(writer);
            answer(item, STATUS_NO_SPACE);
        } else if (item->recheck && !recheck_item(writer->volume->delta, item)) {
            queue_pop(writer);
            answer(item, STATUS_AGAIN);
        } else if (group_add(&writer->group, item)) {
            queue_pop(writer);
        } else if (writer->group.count == 0) {
            queue_pop(writer);
            answer(item, STATUS_NO_MEMORY);
        } else {
            break;
        }
    }
}

static enum status encode(struct writer *writer, struct delta_group *out_place)
{
    struct record_manifest manifest = {
        .predecessor = writer->predecessor.segment,
        .predecessor_length = writer->predecessor.offset,
        .predecessor_last_sequence = writer->predecessor.sequence,
        .first_group = writer->next_group,
        .unretired_count = writer->unretired_count,
    };
    struct group_place place = {
        .key = &writer->volume->identity.key,
        .segment = writer->segment,
        .offset = writer->end,
        .number = writer->next_group,
        .sequence = writer->next_sequence,
        .manifest = writer->has_manifest ? NULL : &manifest,
        .unretired = writer->unretired,
    };
    struct writer_item *rejected;
    unsigned asked = writer->group.count;
    enum status status = group_encode(&writer->group, &place, out_place, &rejected);
    if (status != STATUS_OK) {
        return status;
    }
    /* Spent from here on, whatever happens: a number that may have been seen is never given again.
     */
    writer->next_group++;
    writer->next_sequence += (uint64_t)asked + (writer->has_manifest ? 0 : 1);
    while (rejected != NULL) {
        struct post_message *next = rejected->message.next;
        answer(rejected, rejected->status);
        rejected = next != NULL ? list_entry(next, struct writer_item, message) : NULL;
    }
    return STATUS_OK;
}

/* Writes the group. On a full disk what is kept for this is given up, step by step: the octets are
 * the same and at the same place, and nothing has been synced or shown. */
static enum status write_octets(struct writer *writer, struct error *out_error)
{
    struct volume *volume = writer->volume;
    struct iovec *iov = writer->group.out.iov;
    unsigned count = (unsigned)writer->group.out.count;
    bool is_low = atomic_load_explicit(&volume->space_low, memory_order_relaxed);
    struct iovec *kept = is_low ? malloc(count * sizeof *kept) : NULL; /* a write changes them */
    if (kept != NULL) {
        memcpy(kept, iov, count * sizeof *kept);
    }
    enum status status = disk_write(volume->disk, writer->fd, iov, count, writer->end, out_error);
    while (status == STATUS_NO_SPACE && kept != NULL && ballast_release(volume->ballast)) {
        memcpy(iov, kept, count * sizeof *kept);
        status = disk_write(volume->disk, writer->fd, iov, count, writer->end, out_error);
    }
    free(kept);
    return status;
}

/* Writes and syncs. What it returns is the group's answer, unless that is STATUS_OK. */
static enum status make_durable(struct writer *writer)
{
    struct disk *disk = writer->volume->disk;
    struct error error = {0};
    enum status status = write_octets(writer, &error);
    if (status == STATUS_NO_SPACE) {
        return status; /* the next group is written over what there is of this one */
    }
    if (status == STATUS_OK) {
        uint64_t begun_us = now_us();
        status = disk_sync_data(disk, writer->fd, writer->path, &error);
        histogram_add(&writer->counters.sync_us, now_us() - begun_us);
    }
    if (status != STATUS_OK) {
        go_read_only(writer, &error);
        return STATUS_UNKNOWN;
    }
    return STATUS_OK;
}

/* The group is durable: shows it to the sessions opened from now on, then moves the published end.
 */
static enum status publish(struct writer *writer, const struct delta_group *place)
{
    const struct event_batch *events = &writer->group.events;
    (void)pthread_mutex_lock(&writer->position_mutex);
    if (!writer->has_manifest) {
        writer->has_manifest = true;
        writer->unretired[writer->unretired_count++] = writer->segment;
    }
    for (size_t i = 0; i < events->count; i++) {
        if (events->events[i].kind == DELTA_SEGMENT_RETIRED) {
            forget_unretired(writer, (uint32_t)events->events[i].uid);
        }
    }
    (void)pthread_mutex_unlock(&writer->position_mutex);
    writer->end = place->end;
    writer->last_sequence = place->last_sequence;
    enum status status = delta_publish(writer->volume->delta, place, events->events, events->count);
    if (status != STATUS_OK) {
        struct error error = {0};
        (void)error_set(&error, status, 0, writer->volume->path,
                        "no memory to show what has been written; restart to read it back");
        go_read_only(writer, &error);
        return STATUS_UNKNOWN;
    }
    (void)pthread_mutex_lock(&writer->position_mutex);
    writer->position = (struct log_position){place->segment, place->end, place->last_sequence};
    (void)pthread_mutex_unlock(&writer->position_mutex);
    return STATUS_OK;
}

static void count_group(struct writer *writer, const struct delta_group *place)
{
    uint64_t octets = place->end - place->offset;
    histogram_add(&writer->counters.group_records, writer->group.count);
    histogram_add(&writer->counters.group_octets, octets);
    counter_add(&writer->counters.groups, 1);
    counter_add(&writer->counters.records, writer->group.count);
    counter_add(&writer->counters.octets, octets);
}

static void write_group(struct writer *writer)
{
    uint64_t begun_us = now_us();
    struct delta_group place;
    form_group(writer);
    if (writer->group.count == 0) {
        return;
    }
    enum status status = is_read_only(writer) ? STATUS_READ_ONLY : ensure_segment(writer);
    if (status == STATUS_OK) {
        status = encode(writer, &place);
    }
    if (status == STATUS_OK && writer->group.count > 0) {
        status = make_durable(writer);
        if (status == STATUS_OK) {
            status = publish(writer, &place);
        }
        if (status == STATUS_OK) {
            count_group(writer, &place);
        }
    }
    /* A replication hook belongs here: durable at home, and nobody has been told yet. */
    answer_group(writer, status);
    histogram_add(&writer->counters.group_us, now_us() - begun_us);
}

/* --- the thread --- */

static void *run(void *owner)
{
    struct writer *writer = owner;
    while (!writer->stopping || writer->queue != NULL) {
        if (writer->queue == NULL) {
            bool is_low = atomic_load_explicit(&writer->volume->space_low, memory_order_relaxed);
            /* Nothing is submitted while deliveries are refused: somebody must see that there is
             * room again. */
            if (!post_wait(&writer->box, is_low ? SPACE_RECHECK_MS : -1)) {
                (void)space_check(writer->volume);
            }
        }
        receive(writer);
        if (writer->queue != NULL) {
            write_group(writer);
        }
    }
    while (writer->next_state == NEXT_ASKED) {
        (void)post_wait(&writer->box, -1); /* ends with the answer there: nobody else posts now */
        receive(writer);
    }
    return NULL;
}

static enum status open_tail(struct writer *writer, const struct log_position *tail,
                             struct error *out_error)
{
    const char *path = writer->path;
    uint64_t size = 0;
    if (tail->offset == 0) {
        return STATUS_OK;
    }
    segment_path(writer->volume->segments_path, tail->segment, writer->path);
    enum status status = disk_open(writer->volume->disk, path, O_WRONLY, 0, &writer->fd, out_error);
    if (status == STATUS_OK) {
        status = disk_file_size(writer->fd, &size, out_error);
    }
    if (status == STATUS_OK && size < tail->offset) {
        status =
            error_set(out_error, STATUS_CORRUPT, 0, path, "the segment is shorter than its log");
    }
    writer->segment = tail->segment;
    writer->end = tail->offset;
    writer->has_manifest = true;
    return status;
}

static enum status set_up(struct writer *writer, const struct writer_config *config,
                          struct error *out_error)
{
    writer->volume = config->volume;
    writer->fd = -1;
    writer->queue_end = &writer->queue;
    writer->stop.on_receive = on_stop;
    writer->predecessor = config->predecessor;
    writer->next_segment = config->next_segment;
    writer->next_sequence = config->next_sequence;
    writer->next_group = config->next_group;
    writer->last_sequence = config->tail.sequence;
    writer->position = config->tail.offset != 0 ? config->tail : config->predecessor;
    writer->unretired_count = writer->unretired_capacity = config->unretired_count;
    writer->unretired = calloc((size_t)config->unretired_count + 1, sizeof(uint32_t));
    if (writer->unretired == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for the writer");
    }
    for (uint32_t i = 0; i < config->unretired_count; i++) {
        writer->unretired[i] = config->unretired[i];
    }
    (void)space_check(writer->volume); /* for its log line and the volume's flag */
    return open_tail(writer, &config->tail, out_error);
}

static void tear_down(struct writer *writer)
{
    ahead_destroy(&writer->ahead);
    if (writer->next_state == NEXT_READY) {
        disk_close(writer->volume->disk, &writer->next.fd); /* empty: the next run may use it */
    }
    disk_close(writer->volume->disk, &writer->fd);
    group_deinit(&writer->group);
    free(writer->unretired);
    post_box_deinit(&writer->box);
    (void)pthread_mutex_destroy(&writer->position_mutex); /* nobody has it */
    free(writer);
}

enum status writer_start(const struct writer_config *config, struct writer **out_writer,
                         struct error *out_error)
{
    struct writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for the writer");
    }
    enum status status = post_box_init_thread(&writer->box);
    if (status != STATUS_OK) {
        free(writer);
        return error_set(out_error, status, 0, NULL, "no descriptor for the writer's queue");
    }
    (void)pthread_mutex_init(&writer->position_mutex, NULL); /* cannot fail with defaults */
    status = set_up(writer, config, out_error);
    if (status == STATUS_OK) {
        status = ahead_create(config->volume->disk, config->volume->segments_path, &writer->box,
                              &writer->ahead);
        if (status == STATUS_OK && pthread_create(&writer->thread, NULL, run, writer) != 0) {
            status = STATUS_LIMIT;
        }
        if (status != STATUS_OK) {
            (void)error_set(out_error, status, 0, NULL, "cannot start the writer's threads");
        }
    }
    if (status != STATUS_OK) {
        tear_down(writer);
        return status;
    }
    *out_writer = writer;
    return STATUS_OK;
}

void writer_stop(struct writer **writer)
{
    if (*writer == NULL) {
        return;
    }
    post_send(&(*writer)->box, &(*writer)->stop);
    (void)pthread_join((*writer)->thread, NULL); /* our own thread, joined once */
    tear_down(*writer);
    *writer = NULL;
}

void writer_submit(struct writer *writer, struct writer_item *item)
{
    assert(item->meta_length > 0 && item->meta_length <= STORAGE_META_MAX);
    item->message.on_receive = is_item;
    post_send(&writer->box, &item->message);
}

void writer_submit_all(struct writer *writer, struct writer_item *first)
{
    for (struct post_message *message = &first->message; message != NULL; message = message->next) {
        const struct writer_item *item = list_entry(message, struct writer_item, message);
        assert(item->meta_length > 0 && item->meta_length <= STORAGE_META_MAX);
        message->on_receive = is_item;
    }
    post_send_all(&writer->box, &first->message);
}

const struct writer_counters *writer_counters(const struct writer *writer)
{
    return &writer->counters;
}

bool writer_read_only(const struct writer *writer)
{
    return is_read_only(writer);
}

struct log_position writer_position(const struct writer *writer)
{
    /* The mutex is no part of what the caller may not change. */
    pthread_mutex_t *mutex = (pthread_mutex_t *)(uintptr_t)&writer->position_mutex;
    (void)pthread_mutex_lock(mutex);
    struct log_position position = writer->position;
    (void)pthread_mutex_unlock(mutex);
    return position;
}

enum status writer_unretired(struct writer *writer, uint32_t **out_segments, uint32_t *out_count)
{
    (void)pthread_mutex_lock(&writer->position_mutex);
    uint32_t count = writer->unretired_count;
    uint32_t *copy = malloc(((size_t)count + 1) * sizeof *copy);
    for (uint32_t i = 0; copy != NULL && i < count; i++) {
        copy[i] = writer->unretired[i];
    }
    (void)pthread_mutex_unlock(&writer->position_mutex);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    *out_segments = copy;
    *out_count = count;
    return STATUS_OK;
}

uint32_t writer_unretired_count(struct writer *writer)
{
    (void)pthread_mutex_lock(&writer->position_mutex);
    uint32_t count = writer->unretired_count;
    (void)pthread_mutex_unlock(&writer->position_mutex);
    return count;
}
