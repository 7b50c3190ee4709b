/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/scrub.h"

#include "io/log.h"
#include "storage/checksum.h"
#include "storage/damaged.h"
#include "storage/index_format.h"
#include "storage/kv_check.h"
#include "storage/segment.h"
#include "storage/volume.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PIECE        (64 * 1024) /* octets read at once */
#define BATCH        128         /* messages taken from one snapshot */
#define DROPS        128         /* maildrops likewise */
#define PASS_MS      3600000     /* a pass begins at most that often, however small the store */
#define SAVE_MS      60000       /* how often the place is written down */
#define FILE_MAX     (1u << 20)  /* octets of the file that are read: room for DAMAGED_MAX lines */
#define INDEX_FASTER 8           /* the index's pages are read so much faster: a snapshot is held */

struct scrub {
    struct volume *volume;
    uint64_t rate;
    pthread_t thread;
    bool threaded;
    pthread_mutex_t mutex; /* guards stopping */
    pthread_cond_t wake;
    bool stopping;
    _Atomic uint64_t octets, messages, passes;
    _Atomic bool index_damaged;
    /* the thread's */
    struct index_reader *reader;
    uint64_t next; /* maildrops up to it have been read in this pass */
    uint64_t saved_version;
    int64_t due_us, saved_ms; /* monotonic */
    uint8_t piece[PIECE];
};

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- findings --- */

void scrub_report(struct volume *volume, uint64_t maildrop, const struct message_entry *entry,
                  enum status status, const char *found_by)
{
    struct damaged_message message = {.maildrop = maildrop,
                                      .uid = entry->uid,
                                      .segment = entry->blob == 0 ? entry->segment : 0,
                                      .offset = entry->offset,
                                      .blob = entry->blob};
    if (!damaged_add(volume->damaged, &message)) {
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_LEVEL_ERROR, "message_damaged");
    log_text(&line, "volume", volume->path);
    log_number(&line, "maildrop", (int64_t)maildrop);
    log_number(&line, "uid", (int64_t)entry->uid);
    log_number(&line, entry->blob == 0 ? "segment" : "blob",
               entry->blob == 0 ? (int64_t)entry->segment : (int64_t)entry->blob);
    log_number(&line, "offset", (int64_t)entry->offset);
    log_text(&line, "status", status_name(status));
    log_text(&line, "found_by", found_by);
    log_text(&line, "text",
             "this message is refused from now on, all others are served; restore its segment or "
             "blob from a backup, or let its owner delete it");
    log_end(&line);
}

/* --- the file --- */

static void file_path(const struct volume *volume, char out_path[VOLUME_PATH_MAX])
{
    (void)stpcpy(stpcpy(out_path, volume->path), "/scrub"); /* fits, by the volume's own bound */
}

static void read_line(struct scrub *scrub, const char *line)
{
    struct damaged_message message = {0};
    if (sscanf(line, "next %" SCNu64, &scrub->next) == 1) {
        return;
    }
    if (sscanf(line, "damaged %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu64 " %" SCNu64 " %" SCNd64,
               &message.maildrop, &message.uid, &message.segment, &message.offset, &message.blob,
               &message.since_ms) == 6) {
        (void)damaged_add(scrub->volume->damaged, &message);
    } /* else it is of another version, or damaged itself: a pass will find it all again */
}

static enum status load(struct scrub *scrub)
{
    char path[VOLUME_PATH_MAX];
    int fd = -1;
    size_t length = 0;
    char *text = malloc(FILE_MAX + 1);
    file_path(scrub->volume, path);
    enum status status = text != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    if (status == STATUS_OK) {
        status = disk_open(scrub->volume->disk, path, O_RDONLY, 0, &fd, NULL);
    }
    if (status == STATUS_OK) {
        status = disk_read(scrub->volume->disk, fd, text, FILE_MAX, 0, &length, NULL);
    }
    disk_close(scrub->volume->disk, &fd);
    if (status == STATUS_OK) {
        text[length] = '\0';
        char *rest = text;
        for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
            read_line(scrub, line);
        }
    }
    free(text);
    /* Without it the pass begins at the first maildrop: nothing that a start should fail for. */
    return status == STATUS_NO_MEMORY ? status : STATUS_OK;
}

static void save(struct scrub *scrub)
{
    struct damaged_message messages[64];
    struct volume *volume = scrub->volume;
    char *text = NULL;
    size_t length = 0, first = 0, count;
    uint64_t version = damaged_version(volume->damaged);
    scrub->saved_ms = now_us() / 1000;
    if (atomic_load(&volume->read_only)) {
        return; /* nothing is written to this disk any more */
    }
    FILE *stream = open_memstream(&text, &length);
    if (stream == NULL) {
        return; /* later */
    }
    fprintf(stream, "next %" PRIu64 "\n", scrub->next);
    while ((count = damaged_list(volume->damaged, first, messages, 64)) > 0) {
        for (size_t i = 0; i < count; i++) {
            const struct damaged_message *message = &messages[i];
            fprintf(stream,
                    "damaged %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRId64
                    "\n",
                    message->maildrop, message->uid, message->segment, message->offset,
                    message->blob, message->since_ms);
        }
        first += count;
    }
    if (fclose(stream) == 0 &&
        disk_replace_file(volume->disk, volume->path, "scrub", text, length, NULL) == STATUS_OK) {
        scrub->saved_version = version;
    } /* else it is tried again in a minute; what is lost is only found again */
    free(text);
}

/* --- pacing --- */

/* Waits; false: the thread is to end. */
static bool wait_until(struct scrub *scrub, int64_t due_us)
{
    struct timespec until = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    int timed_out = 0;
    (void)pthread_mutex_lock(&scrub->mutex);
    while (!scrub->stopping && timed_out == 0 && now_us() < due_us) {
        timed_out = pthread_cond_timedwait(&scrub->wake, &scrub->mutex, &until);
    }
    bool go_on = !scrub->stopping;
    (void)pthread_mutex_unlock(&scrub->mutex);
    return go_on;
}

static bool pace(struct scrub *scrub, uint64_t octets, uint64_t rate)
{
    int64_t now = now_us();
    int64_t cost = (int64_t)((double)octets * 1e6 / (double)rate);
    scrub->due_us = (scrub->due_us > now ? scrub->due_us : now) + cost;
    /* Short waits are saved up: a small message must not cost a wake-up of its own. */
    return wait_until(scrub, scrub->due_us - now > 20000 ? scrub->due_us : now);
}

/* --- messages --- */

static enum status get_file(struct volume *volume, const struct message_entry *entry,
                            struct segment **out_file)
{
    return entry->blob != 0 ? segment_get_blob(volume->segments, entry->blob, out_file, NULL)
                            : segment_get(volume->segments, entry->segment, out_file, NULL);
}

/* STATUS_CORRUPT, STATUS_NOT_FOUND, STATUS_IO: damaged. STATUS_CANCELLED: the thread is to end. */
static enum status verify(struct scrub *scrub, const struct message_entry *entry)
{
    struct checksum_stream checksum;
    struct segment *file = NULL;
    enum status status = get_file(scrub->volume, entry, &file);
    checksum_stream_init(&checksum);
    for (uint64_t done = 0; done < entry->wire_length && status == STATUS_OK;) {
        uint64_t left = entry->wire_length - done;
        size_t wanted = left < PIECE ? (size_t)left : PIECE, got = 0;
        status = disk_read(scrub->volume->disk, file->fd, scrub->piece, wanted,
                           entry->offset + done, &got, NULL);
        if (status == STATUS_OK && got < wanted) {
            status = STATUS_CORRUPT;
        }
        if (status == STATUS_OK) {
            checksum_stream_add(&checksum, scrub->piece, got);
            atomic_fetch_add(&scrub->octets, got);
            done += got;
            status = pace(scrub, got, scrub->rate) ? STATUS_OK : STATUS_CANCELLED;
        }
    }
    segment_release(file);
    if (status == STATUS_OK && checksum_stream_result(&checksum) != entry->checksum) {
        status = STATUS_CORRUPT;
    }
    return status;
}

/* Whether the message is where it was: one that is gone, or moved, is not damaged. */
static bool still_there(struct scrub *scrub, uint64_t maildrop, const struct message_entry *entry)
{
    struct index_state state;
    struct message_entry now;
    if (delta_find_uid(scrub->volume->delta, maildrop, entry->uid) == DELTA_GONE ||
        index_begin(scrub->reader, &state) != STATUS_OK) {
        return false;
    }
    enum status status = index_message(scrub->reader, maildrop, entry->uid, &now);
    index_end(scrub->reader);
    return status == STATUS_OK && now.segment == entry->segment && now.offset == entry->offset &&
           now.blob == entry->blob;
}

static bool scrub_message(struct scrub *scrub, uint64_t maildrop, const struct message_entry *entry)
{
    struct damaged *damaged = scrub->volume->damaged;
    enum status status = verify(scrub, entry);
    if (status == STATUS_CANCELLED) {
        return false;
    }
    atomic_fetch_add(&scrub->messages, 1);
    if (status == STATUS_OK) {
        if (damaged_at(damaged, entry->blob == 0 ? entry->segment : 0, entry->offset,
                       entry->blob)) {
            damaged_remove(damaged, maildrop, entry->uid);
        }
    } else if ((status == STATUS_CORRUPT || status == STATUS_NOT_FOUND || status == STATUS_IO) &&
               still_there(scrub, maildrop, entry)) {
        scrub_report(scrub->volume, maildrop, entry, status, "scrubber");
    } /* else memory or descriptors were short: the next pass looks again */
    return true;
}

/* Up to BATCH messages of a maildrop, from `uid` on. */
static size_t take_messages(struct scrub *scrub, uint64_t maildrop, uint64_t uid,
                            struct message_entry *out)
{
    struct index_state state;
    size_t count = 0;
    if (index_begin(scrub->reader, &state) != STATUS_OK) {
        return 0;
    }
    enum status status = index_from(scrub->reader, maildrop, uid, &out[0]);
    while (status == STATUS_OK && ++count < BATCH) {
        status = index_next(scrub->reader, &out[count]);
    }
    index_end(scrub->reader);
    return count;
}

static bool scrub_drop(struct scrub *scrub, uint64_t maildrop)
{
    struct message_entry *entries = malloc(BATCH * sizeof *entries);
    bool go_on = true;
    size_t count = BATCH;
    for (uint64_t uid = 0; entries != NULL && go_on && count == BATCH;) {
        count = take_messages(scrub, maildrop, uid, entries);
        for (size_t i = 0; i < count && go_on; i++) {
            uid = entries[i].uid + 1;
            go_on = scrub_message(scrub, maildrop, &entries[i]);
        }
    }
    free(entries);
    return go_on;
}

/* --- passes --- */

/* The known ones that are gone, so that the list does not keep them for ever. */
static void forget_gone(struct scrub *scrub)
{
    struct damaged_message message;
    struct index_state state;
    for (size_t i = 0; damaged_list(scrub->volume->damaged, i, &message, 1) == 1;) {
        struct message_entry entry;
        enum status status = index_begin(scrub->reader, &state);
        if (status == STATUS_OK) {
            status = index_message(scrub->reader, message.maildrop, message.uid, &entry);
            index_end(scrub->reader);
        }
        bool gone =
            status == STATUS_NOT_FOUND &&
            delta_find_uid(scrub->volume->delta, message.maildrop, message.uid) != DELTA_PRESENT;
        bool moved = status == STATUS_OK && entry.blob == 0 &&
                     (entry.segment != message.segment || entry.offset != message.offset);
        if (gone || moved) {
            damaged_remove(scrub->volume->damaged, message.maildrop, message.uid);
        } else {
            i++;
        }
    }
}

static bool pair_is_sound(void *owner, const char *table, struct kv_bytes key,
                          struct kv_bytes value)
{
    return index_pair_is_sound(table, key, value);
}

static bool may_read(void *owner, uint64_t octets)
{
    struct scrub *scrub = owner;
    return pace(scrub, octets, scrub->rate * INDEX_FASTER);
}

/* For the next start, which may not read that page. Without the note it is found again here. */
static void note_damage(struct scrub *scrub, const struct kv_check_result *found)
{
    struct volume *volume = scrub->volume;
    if (!atomic_load(&volume->read_only)) {
        (void)!disk_replace_file(volume->disk, volume->index_path, "damaged", found->text,
                                 strlen(found->text), NULL);
    }
}

static void scrub_index(struct scrub *scrub)
{
    struct kv_check_request request = {.is_sound = pair_is_sound,
                                       .may_read = may_read,
                                       .tables = index_table_names,
                                       .owner = scrub};
    struct kv_check_result found = {0};
    if (kv_check_open(scrub->volume->index->kv, &request, &found, NULL) != STATUS_OK) {
        return; /* ended, or no memory: the next pass looks again */
    }
    if (found.damaged > 0 && !atomic_exchange(&scrub->index_damaged, true)) {
        note_damage(scrub, &found);
        struct log_line line;
        log_begin(&line, LOG_LEVEL_ERROR, "index_damaged");
        log_text(&line, "volume", scrub->volume->path);
        log_number(&line, "page", (int64_t)found.first_page);
        log_text(&line, "found", found.text);
        log_text(&line, "text", "restart the server: it rebuilds a damaged index from the log");
        log_end(&line);
    }
}

/* Writes down what changed, at once when something was found. */
static void save_when_due(struct scrub *scrub)
{
    if (damaged_version(scrub->volume->damaged) != scrub->saved_version ||
        now_us() / 1000 - scrub->saved_ms > SAVE_MS) {
        save(scrub);
    }
}

static bool pass(struct scrub *scrub)
{
    uint64_t ids[DROPS];
    struct index_state state;
    for (;;) {
        size_t count = 0;
        if (index_begin(scrub->reader, &state) == STATUS_OK) {
            if (index_drops(scrub->reader, scrub->next, ids, DROPS, &count) != STATUS_OK) {
                count = 0;
            }
            index_end(scrub->reader);
        }
        for (size_t i = 0; i < count; i++) {
            if (!scrub_drop(scrub, ids[i])) {
                return false;
            }
            scrub->next = ids[i];
            save_when_due(scrub);
        }
        if (count < DROPS) {
            break;
        }
    }
    forget_gone(scrub);
    scrub_index(scrub);
    scrub->next = 0;
    save(scrub);
    atomic_fetch_add(&scrub->passes, 1);
    return true;
}

static void *run(void *owner)
{
    struct scrub *scrub = owner;
    int64_t began_us;
    do {
        began_us = now_us();
        if (!pass(scrub)) {
            break;
        }
    } while (wait_until(scrub, began_us + PASS_MS * 1000ll));
    return NULL;
}

/* --- beginning and ending --- */

enum status scrub_start(struct volume *volume, uint64_t rate, struct scrub **out_scrub,
                        struct error *out_error)
{
    struct scrub *scrub = calloc(1, sizeof *scrub);
    if (scrub == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, volume->path, "starting the scrubber");
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&scrub->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&scrub->mutex, NULL);
    scrub->volume = volume;
    scrub->rate = rate;
    enum status status = load(scrub);
    scrub->saved_version = damaged_version(volume->damaged);
    scrub->saved_ms = now_us() / 1000;
    if (status == STATUS_OK) {
        status = index_reader_create(volume->index, &scrub->reader);
    }
    if (status == STATUS_OK && rate > 0) {
        status =
            pthread_create(&scrub->thread, NULL, run, scrub) == 0 ? STATUS_OK : STATUS_NO_MEMORY;
        scrub->threaded = status == STATUS_OK;
    }
    if (status != STATUS_OK) {
        scrub_stop(&scrub);
        return error_set(out_error, status, 0, volume->path, "starting the scrubber");
    }
    *out_scrub = scrub;
    return STATUS_OK;
}

void scrub_stop(struct scrub **scrub)
{
    struct scrub *own = *scrub;
    if (own == NULL) {
        return;
    }
    if (own->threaded) {
        (void)pthread_mutex_lock(&own->mutex);
        own->stopping = true;
        (void)pthread_cond_signal(&own->wake);
        (void)pthread_mutex_unlock(&own->mutex);
        (void)pthread_join(own->thread, NULL); /* it is ours and joined once */
    }
    if (own->threaded || damaged_version(own->volume->damaged) != own->saved_version) {
        save(own);
    }
    index_reader_destroy(&own->reader);
    (void)pthread_cond_destroy(&own->wake);
    (void)pthread_mutex_destroy(&own->mutex); /* the thread is gone */
    free(own);
    *scrub = NULL;
}

void scrub_numbers(const struct scrub *scrub, struct scrub_numbers *out_numbers)
{
    *out_numbers = (struct scrub_numbers){.octets = atomic_load(&scrub->octets),
                                          .messages = atomic_load(&scrub->messages),
                                          .passes = atomic_load(&scrub->passes),
                                          .index_damaged = atomic_load(&scrub->index_damaged)};
}
