/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several threads submit to one writer at once, over several segments: every answer comes once, in
 * the order of its asker, and what the log holds is exactly what was answered. Run under
 * ThreadSanitizer.
 */
#include "io/list.h"
#include "storage/delta.h"
#include "storage/segment.h"
#include "storage/volume.h"
#include "storage/writer.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/read_log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS   4
#define ASKS      600 /* a thread */
#define IN_FLIGHT 16  /* a thread */
#define SEGMENT   (256 * 1024)

struct asker {
    struct post_box box;
    pthread_t thread;
    struct writer *writer;
    unsigned number, answered;
    uint64_t last_sequence, sequences[ASKS];
    unsigned wrong;
};

struct ask {
    struct writer_item item;
    struct asker *asker;
    unsigned index;
    struct iovec body;
    uint8_t meta[128];
    char data[1024];
};

static unsigned passed, failed;

static void expect(bool is_true, const char *what)
{
    if (is_true) {
        passed++;
    } else {
        failed++;
        (void)fprintf(stderr, "failed: %s\n", what);
    }
}

static void on_done(struct writer_item *item)
{
    struct ask *ask = list_entry(item, struct ask, item);
    struct asker *asker = ask->asker;
    asker->wrong += item->status != STATUS_OK;
    asker->wrong += ask->index != asker->answered;          /* out of order, or twice */
    asker->wrong += item->sequence <= asker->last_sequence; /* not counting up */
    asker->last_sequence = item->sequence;
    asker->sequences[ask->index] = item->sequence;
    asker->answered++;
    free(ask);
}

static void submit(struct asker *asker, unsigned index)
{
    struct ask *ask = calloc(1, sizeof *ask);
    struct record_recipient recipient = {.maildrop = asker->number + 1};
    size_t length = 10 + (index * 37 + asker->number * 11) % 1000;
    (void)snprintf(ask->data, sizeof ask->data, "%u %u ", asker->number, index);
    ask->asker = asker;
    ask->index = index;
    struct record_delivered delivered = {
        .octets = length, .wire_length = length, .header_length = length, .recipient_count = 1};
    ask->item.kind = RECORD_DELIVERED;
    ask->item.meta = ask->meta;
    ask->item.meta_length = (uint32_t)record_encode_delivered(&delivered, &recipient, ask->meta);
    ask->body = (struct iovec){ask->data, length};
    ask->item.body = &ask->body;
    ask->item.body_count = 1;
    ask->item.body_length = length;
    ask->item.body_checksum = checksum_body(ask->data, length);
    ask->item.reply_box = &asker->box;
    ask->item.on_done = on_done;
    writer_submit(asker->writer, &ask->item);
}

static void *run(void *owner)
{
    struct asker *asker = owner;
    for (unsigned asked = 0; asker->answered < ASKS;) {
        while (asked < ASKS && asked - asker->answered < IN_FLIGHT) {
            submit(asker, asked++);
        }
        if (!post_wait(&asker->box, 60000)) {
            asker->wrong++;
            break;
        }
        (void)post_run(&asker->box);
        (void)writer_position(asker->writer);
        (void)writer_read_only(asker->writer);
    }
    return NULL;
}

/* Every record's body says who asked and for what: that must be what its sequence was answered to.
 */
static void check_log(const struct read_log *log, const struct asker *askers, unsigned *seen)
{
    for (size_t i = 0; i < log->count; i++) {
        const struct read_log_record *record = &log->records[i];
        unsigned number = THREADS, index = ASKS;
        char text[32] = {0};
        memcpy(text, record->body, 9);
        (void)sscanf(text, "%u %u", &number, &index);
        if (number < THREADS && index < ASKS &&
            askers[number].sequences[index] == record->header.sequence) {
            ++*seen;
        }
    }
}

static void check_logs(const struct volume *volume, const struct asker *askers)
{
    struct read_log log;
    uint64_t last_sequence = 0, last_end = 0;
    unsigned seen = 0, segments = 0;
    for (uint32_t id = 1; read_log_segment(&volume->identity.key, volume->segments_path, id, &log);
         id++) {
        if (log.size > 0) {
            expect(log.has_manifest && log.end == log.size, "segment is whole");
            expect(log.manifest_sequence > last_sequence, "sequences go on counting up");
            expect(log.manifest.predecessor_length == last_end, "manifest tells the last end");
            check_log(&log, askers, &seen);
            last_sequence = log.last_sequence;
            last_end = log.end;
            segments++;
        }
        read_log_free(&log);
    }
    read_log_free(&log);
    expect(segments > 2, "several segments were written");
    expect(seen == THREADS * ASKS, "the log holds what was answered");
}

static void check_delta(const struct volume *volume)
{
    for (uint64_t drop = 1; drop <= THREADS; drop++) {
        struct mem_arena arena = {0};
        struct delta_event *events;
        size_t count = 0;
        expect(delta_copy(volume->delta, drop, &arena, &events, &count) == STATUS_OK,
               "delta can be copied");
        expect(count == ASKS, "delta shows what was answered");
        mem_arena_clear(&arena);
    }
}

int main(void)
{
    static struct volume volume;
    static struct asker askers[THREADS];
    struct error error = {0};
    char *directory = fake_disk_temp_dir();
    volume.disk = disk_real();
    volume.config.segment_size = SEGMENT;
    volume.config.space_reserve = 1;
    (void)snprintf(volume.path, sizeof volume.path, "%s", directory);
    (void)snprintf(volume.segments_path, sizeof volume.segments_path, "%s", directory);
    memset(&volume.identity.key, 3, sizeof volume.identity.key);
    struct writer_config config = {
        .volume = &volume, .next_segment = 1, .next_sequence = 1, .next_group = 1};
    struct writer *writer = NULL;
    expect(delta_create(64 << 20, &volume.delta) == STATUS_OK, "delta is made");
    expect(writer_start(&config, &writer, &error) == STATUS_OK, "writer starts");
    if (failed == 0) {
        for (unsigned i = 0; i < THREADS; i++) {
            askers[i].number = i;
            askers[i].writer = writer;
            expect(post_box_init_thread(&askers[i].box) == STATUS_OK, "box is made");
            expect(pthread_create(&askers[i].thread, NULL, run, &askers[i]) == 0, "thread starts");
        }
        for (unsigned i = 0; i < THREADS; i++) {
            (void)pthread_join(askers[i].thread, NULL);
            expect(askers[i].wrong == 0, "answers are right and in order");
            post_box_deinit(&askers[i].box);
        }
        expect(counter_read(&writer_counters(writer)->records) == THREADS * ASKS,
               "all are counted");
    }
    writer_stop(&writer);
    check_logs(&volume, askers);
    check_delta(&volume);
    delta_destroy(&volume.delta);
    fake_disk_remove_dir(directory);
    (void)printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
