/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/writer.h"

#include "io/list.h"
#include "storage/delta.h"
#include "storage/segment.h"
#include "storage/storage_limits.h"
#include "storage/volume.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/read_log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGMENT_SIZE   65536
#define FIRST_SEQUENCE 1000
#define FIRST_GROUP    50

/* One thing to write, with all that it points to. */
struct ask {
    struct writer_item item;
    struct iovec body;
    uint8_t meta[512];
    bool is_answered;
    unsigned order;
};

static struct fake_disk fake;
static struct volume volume;
static struct writer *writer;
static struct post_box box;
static char *directory;
static unsigned answers;

static void set_up(void)
{
    directory = fake_disk_temp_dir();
    fake_disk_init(&fake);
    memset(&volume, 0, sizeof volume);
    volume.disk = &fake.disk;
    volume.config.segment_size = SEGMENT_SIZE;
    volume.config.space_reserve = 2 * SEGMENT_SIZE;
    (void)snprintf(volume.path, sizeof volume.path, "%s", directory);
    (void)snprintf(volume.segments_path, sizeof volume.segments_path, "%s", directory);
    memset(&volume.identity.key, 9, sizeof volume.identity.key);
    cr_assert_eq(delta_create(64 << 20, &volume.delta), STATUS_OK);
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
}

static void start_with(const struct writer_config *config)
{
    struct error error;
    cr_assert_eq(writer_start(config, &writer, &error), STATUS_OK, "%s", error.text);
}

static void start(void)
{
    start_with(&(struct writer_config){.volume = &volume,
                                       .next_segment = 1,
                                       .next_sequence = FIRST_SEQUENCE,
                                       .next_group = FIRST_GROUP});
}

static void stop(void)
{
    fake_disk_heal(&fake);
    writer_stop(&writer);
}

static void tear_down(void)
{
    stop();
    delta_destroy(&volume.delta);
    post_box_deinit(&box);
    fake_disk_deinit(&fake);
    fake_disk_remove_dir(directory);
}

TestSuite(writer, .init = set_up, .fini = tear_down);

static void on_done(struct writer_item *item)
{
    struct ask *ask = list_entry(item, struct ask, item);
    cr_assert_not(ask->is_answered);
    ask->is_answered = true;
    ask->order = answers++;
}

static void submit(struct ask *ask)
{
    ask->is_answered = false;
    ask->item.reply_box = &box;
    ask->item.on_done = on_done;
    ask->item.meta = ask->meta;
    ask->item.body = &ask->body;
    writer_submit(writer, &ask->item);
}

/* A message for one maildrop, `length` octets of `data`. */
static void deliver(struct ask *ask, uint64_t maildrop, const void *data, size_t length)
{
    struct record_recipient recipient = {.maildrop = maildrop,
                                         .address = {(const uint8_t *)"a@b", 3}};
    struct record_delivered delivered = {.received_ms = 1234567890123,
                                         .octets = length,
                                         .wire_length = length,
                                         .header_length = length,
                                         .recipient_count = 1};
    memset(ask, 0, sizeof *ask);
    ask->item.kind = RECORD_DELIVERED;
    ask->item.meta_length = (uint32_t)record_encode_delivered(&delivered, &recipient, ask->meta);
    ask->body = (struct iovec){(void *)(uintptr_t)data, length};
    ask->item.body_count = 1;
    ask->item.body_length = length;
    ask->item.body_checksum = checksum_body(data, length);
    submit(ask);
}

static void expunge(struct ask *ask, uint64_t maildrop, uint64_t uid)
{
    memset(ask, 0, sizeof *ask);
    ask->item.kind = RECORD_EXPUNGED;
    ask->item.meta_length = (uint32_t)record_encode_expunged(maildrop, &uid, 1, ask->meta);
    ask->item.body_checksum = checksum_body("", 0);
    ask->item.uses_reserve = true;
    submit(ask);
}

static void retire(struct ask *ask, uint32_t segment)
{
    memset(ask, 0, sizeof *ask);
    ask->item.kind = RECORD_RETIRED;
    ask->item.meta_length = (uint32_t)record_encode_retired(segment, ask->meta);
    ask->item.body_checksum = checksum_body("", 0);
    ask->item.uses_reserve = true;
    submit(ask);
}

static enum status await(struct ask *ask)
{
    while (!ask->is_answered) {
        cr_assert(post_wait(&box, 20000), "no answer came");
        (void)post_run(&box);
    }
    return ask->item.status;
}

static enum status deliver_one(struct ask *ask, size_t length)
{
    static uint8_t data[2 * SEGMENT_SIZE];
    memset(data, 'm', sizeof data);
    deliver(ask, 7, data, length);
    return await(ask);
}

static void read_segment(uint32_t id, struct read_log *out_log)
{
    cr_assert(read_log_segment(&volume.identity.key, directory, id, out_log), "segment %u", id);
}

Test(writer, first_record_comes_behind_manifest_and_frame_of_the_first_segment)
{
    struct ask ask;
    struct read_log log;
    start();
    deliver(&ask, 7, "hello\r\n.\r\n", 10);
    cr_assert_eq(await(&ask), STATUS_OK);
    read_segment(1, &log);
    cr_assert(log.has_manifest);
    cr_assert_eq(log.manifest.predecessor, 0u);
    cr_assert_eq(log.manifest.unretired_count, 0u);
    cr_assert_eq(log.manifest.first_group, FIRST_GROUP);
    cr_assert_eq(log.manifest_sequence, FIRST_SEQUENCE);
    cr_assert_eq(log.count, 1u);
    cr_assert_eq(log.end, log.size);
    const struct read_log_record *record = &log.records[0];
    cr_assert_eq(record->header.sequence, ask.item.sequence);
    cr_assert_eq(ask.item.sequence, FIRST_SEQUENCE + 1);
    cr_assert_eq(record->header.offset, ask.item.record_offset);
    cr_assert_eq(ask.item.segment, 1u);
    cr_assert(memcmp(log.data + ask.item.body_offset, "hello\r\n.\r\n", 10) == 0);
    struct log_position position = writer_position(writer);
    cr_assert_eq(position.segment, 1u);
    cr_assert_eq(position.offset, log.end);
    cr_assert_eq(position.sequence, ask.item.sequence);
    read_log_free(&log);
}

Test(writer, file_and_directory_are_synced_before_the_first_write)
{
    struct ask ask;
    start();
    cr_assert_eq(deliver_one(&ask, 100), STATUS_OK);
    long directory_sync = fake_disk_find(&fake, 0, FAKE_DISK_SYNC, directory);
    long file_sync = fake_disk_find(&fake, 0, FAKE_DISK_SYNC_DATA, "/00000001.seg");
    long write = fake_disk_find(&fake, 0, FAKE_DISK_WRITE, "/00000001.seg");
    long last_sync = fake_disk_find(&fake, (size_t)write, FAKE_DISK_SYNC_DATA, "/00000001.seg");
    cr_assert(file_sync >= 0 && directory_sync > file_sync && write > directory_sync);
    cr_assert(last_sync > write);
}

Test(writer, what_queues_up_while_the_disk_works_shares_one_write_and_one_sync)
{
    enum { COUNT = 100 };
    static struct ask asks[COUNT], first;
    struct read_log log;
    start();
    cr_assert_eq(deliver_one(&first, 10), STATUS_OK);
    uint32_t syncs = fake_disk_count(&fake, FAKE_DISK_SYNC_DATA);
    fake_disk_hold(&fake, FAKE_DISK_SYNC_DATA);
    deliver(&first, 1, "x", 1);
    fake_disk_await(&fake, FAKE_DISK_SYNC_DATA);
    uint32_t writes = fake_disk_count(&fake, FAKE_DISK_WRITE);
    for (int i = 0; i < COUNT; i++) {
        deliver(&asks[i], (uint64_t)i, "yy", 2);
    }
    fake_disk_let_go(&fake, FAKE_DISK_SYNC_DATA);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(await(&asks[i]), STATUS_OK);
        cr_assert_eq(asks[i].item.sequence, asks[0].item.sequence + (uint64_t)i);
        cr_assert(i == 0 || asks[i].order > asks[i - 1].order);
    }
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_WRITE), writes + 1);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_SYNC_DATA), syncs + 2);
    read_segment(1, &log);
    cr_assert_eq(log.count, COUNT + 2u);
    cr_assert_eq(log.groups, 3u);
    read_log_free(&log);
}

Test(writer, group_is_bounded_in_octets)
{
    enum { COUNT = 5 };
    static struct ask asks[COUNT], first;
    size_t length = STORAGE_GROUP_OCTETS_MAX / 2 - 1000;
    uint8_t *data = calloc(1, length);
    volume.config.segment_size = 1 << 30;
    start();
    cr_assert_eq(deliver_one(&first, 10), STATUS_OK);
    fake_disk_hold(&fake, FAKE_DISK_SYNC_DATA);
    deliver(&first, 1, "x", 1);
    fake_disk_await(&fake, FAKE_DISK_SYNC_DATA);
    for (int i = 0; i < COUNT; i++) {
        deliver(&asks[i], 1, data, length);
    }
    fake_disk_let_go(&fake, FAKE_DISK_SYNC_DATA);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(await(&asks[i]), STATUS_OK);
    }
    cr_assert_eq(counter_read(&writer_counters(writer)->groups), 5u); /* 1, 1, then 2 + 2 + 1 */
    free(data);
}

Test(writer, nothing_is_answered_or_shown_before_the_sync)
{
    struct ask ask;
    start();
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    uint64_t events = delta_events(volume.delta);
    struct log_position before = writer_position(writer);
    fake_disk_hold(&fake, FAKE_DISK_SYNC_DATA);
    deliver(&ask, 1, "x", 1);
    fake_disk_await(&fake, FAKE_DISK_SYNC_DATA);
    (void)post_run(&box);
    cr_assert_not(ask.is_answered);
    cr_assert_eq(delta_events(volume.delta), events);
    cr_assert_eq(writer_position(writer).offset, before.offset);
    fake_disk_let_go(&fake, FAKE_DISK_SYNC_DATA);
    cr_assert_eq(await(&ask), STATUS_OK);
    cr_assert_eq(delta_events(volume.delta), events + 1);
}

Test(writer, delivery_shows_in_the_delta_with_its_place)
{
    struct ask ask;
    struct mem_arena arena = {0};
    struct delta_event *events;
    size_t count;
    start();
    deliver(&ask, 7, "hello\r\n.\r\n", 10);
    cr_assert_eq(await(&ask), STATUS_OK);
    cr_assert_eq(delta_copy(volume.delta, 7, &arena, &events, &count), STATUS_OK);
    cr_assert_eq(count, 1u);
    cr_assert_eq(events[0].kind, DELTA_MESSAGE_ADDED);
    cr_assert_eq(events[0].uid, ask.item.sequence);
    cr_assert_eq(events[0].entry->segment, 1u);
    cr_assert_eq(events[0].entry->offset, ask.item.body_offset);
    cr_assert_eq(events[0].entry->checksum, ask.item.body_checksum);
    mem_arena_clear(&arena);
}

Test(writer, goes_on_in_the_next_segment_whose_manifest_tells_the_end_of_the_last)
{
    struct ask ask;
    struct read_log logs[4];
    start();
    for (int i = 0; i < 12; i++) { /* 20,000 octets each: four a segment */
        cr_assert_eq(deliver_one(&ask, 20000), STATUS_OK);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        read_segment(id, &logs[id]);
        cr_assert_eq(logs[id].count, 4u, "segment %u has %zu", id, logs[id].count);
        cr_assert_eq(logs[id].end, logs[id].size);
        cr_assert_eq(logs[id].manifest.predecessor, id - 1);
        cr_assert_eq(logs[id].manifest.unretired_count, id - 1);
    }
    cr_assert_eq(logs[3].manifest.predecessor_length, logs[2].end);
    cr_assert_eq(logs[3].manifest.predecessor_last_sequence, logs[2].last_sequence);
    cr_assert_eq(logs[3].manifest.first_group, logs[2].last_group + 1);
    cr_assert_eq(record_manifest_unretired(logs[3].manifest_meta, 0), 1u);
    cr_assert_eq(record_manifest_unretired(logs[3].manifest_meta, 1), 2u);
    for (uint32_t id = 1; id <= 3; id++) {
        read_log_free(&logs[id]);
    }
}

Test(writer, retired_segment_leaves_the_next_manifest)
{
    struct ask ask;
    struct read_log log;
    start();
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(deliver_one(&ask, 20000), STATUS_OK);
    }
    retire(&ask, 1);
    cr_assert_eq(await(&ask), STATUS_OK);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(deliver_one(&ask, 20000), STATUS_OK);
    }
    read_segment(3, &log);
    cr_assert_eq(log.manifest.unretired_count, 1u);
    cr_assert_eq(record_manifest_unretired(log.manifest_meta, 0), 2u);
    read_log_free(&log);
}

Test(writer, next_segment_is_made_ahead_while_groups_go_on_in_this_one)
{
    struct ask ask;
    start();
    cr_assert_eq(deliver_one(&ask, 20000), STATUS_OK);
    fake_disk_hold(&fake, FAKE_DISK_SYNC); /* the directory's: where making a segment ends */
    cr_assert_eq(deliver_one(&ask, 20000), STATUS_OK);
    cr_assert_eq(deliver_one(&ask, 20000), STATUS_OK); /* begins behind the middle */
    fake_disk_await(&fake, FAKE_DISK_SYNC);
    cr_assert_eq(deliver_one(&ask, 20000), STATUS_OK);
    cr_assert_eq(ask.item.segment, 1u);
    deliver(&ask, 7, "x", 1); /* has no room there and must wait for the new one */
    fake_disk_let_go(&fake, FAKE_DISK_SYNC);
    cr_assert_eq(await(&ask), STATUS_OK);
    cr_assert_eq(ask.item.segment, 2u);
}

Test(writer, full_disk_costs_the_group_only_and_its_sequences)
{
    struct ask ask;
    struct read_log log;
    start();
    cr_assert_eq(deliver_one(&ask, 3000), STATUS_OK);
    uint64_t first = ask.item.sequence;
    uint64_t end = writer_position(writer).offset;
    fake_disk_cut(&fake, 1, 1500, ENOSPC);
    cr_assert_eq(deliver_one(&ask, 3000), STATUS_NO_SPACE);
    cr_assert_not(writer_read_only(writer));
    cr_assert_eq(writer_position(writer).offset, end);
    cr_assert_eq(deliver_one(&ask, 100), STATUS_OK);
    cr_assert_eq(ask.item.sequence, first + 2);
    read_segment(1, &log);
    cr_assert_eq(log.count, 2u);
    cr_assert_eq(log.records[1].header.offset, end + RECORD_FRAME_SIZE);
    cr_assert(log.end < log.size); /* what is left of the failed group: no part of the log */
    read_log_free(&log);
}

Test(writer, short_write_is_gone_on_with)
{
    struct ask ask;
    struct read_log log;
    start();
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    for (size_t octets = 1; octets < 400; octets += 37) {
        fake_disk_cut(&fake, 1, octets, 0);
        cr_assert_eq(deliver_one(&ask, 300), STATUS_OK);
    }
    read_segment(1, &log);
    cr_assert_eq(log.count, 12u);
    read_log_free(&log);
}

Test(writer, full_disk_at_a_new_segment_writes_its_manifest_again)
{
    struct ask ask;
    struct read_log log;
    start();
    fake_disk_cut(&fake, 1, 50, ENOSPC);
    cr_assert_eq(deliver_one(&ask, 3000), STATUS_NO_SPACE);
    cr_assert_eq(deliver_one(&ask, 3000), STATUS_OK);
    read_segment(1, &log);
    cr_assert(log.has_manifest);
    cr_assert_eq(log.count, 1u);
    cr_assert_eq(log.manifest_sequence, FIRST_SEQUENCE + 2); /* the first two are spent */
    cr_assert_eq(log.manifest.first_group, FIRST_GROUP + 1);
    read_log_free(&log);
}

Test(writer, segment_that_cannot_be_made_for_want_of_space_is_tried_again)
{
    struct ask ask;
    start();
    fake_disk_fail(&fake, FAKE_DISK_OPEN, 1, ENOSPC, false);
    cr_assert_eq(deliver_one(&ask, 10), STATUS_NO_SPACE);
    cr_assert_not(writer_read_only(writer));
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
}

Test(writer, segment_whose_directory_cannot_be_synced_ends_the_writing)
{
    struct ask ask;
    start();
    fake_disk_fail(&fake, FAKE_DISK_SYNC, 1, EIO, false);
    cr_assert_eq(deliver_one(&ask, 10), STATUS_READ_ONLY);
    cr_assert(writer_read_only(writer));
}

Test(writer, failed_sync_is_unknown_then_read_only_and_never_repeated)
{
    struct ask ask, behind;
    start();
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    struct log_position before = writer_position(writer);
    uint64_t events = delta_events(volume.delta);
    uint32_t syncs = fake_disk_count(&fake, FAKE_DISK_SYNC_DATA);
    fake_disk_fail(&fake, FAKE_DISK_SYNC_DATA, 1, EIO, false);
    cr_assert_eq(deliver_one(&ask, 10), STATUS_UNKNOWN);
    cr_assert(volume.read_only);
    uint32_t writes = fake_disk_count(&fake, FAKE_DISK_WRITE);
    cr_assert_eq(deliver_one(&behind, 10), STATUS_READ_ONLY);
    expunge(&behind, 7, 5);
    cr_assert_eq(await(&behind), STATUS_READ_ONLY);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_SYNC_DATA), syncs + 1);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_WRITE), writes);
    cr_assert_eq(writer_position(writer).offset, before.offset);
    cr_assert_eq(delta_events(volume.delta), events);
}

Test(writer, failed_write_is_unknown_then_read_only)
{
    struct ask ask;
    start();
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    fake_disk_fail(&fake, FAKE_DISK_WRITE, 1, EIO, false);
    cr_assert_eq(deliver_one(&ask, 10), STATUS_UNKNOWN);
    cr_assert_eq(deliver_one(&ask, 10), STATUS_READ_ONLY);
}

Test(writer, below_the_reserve_only_those_who_may_use_it_are_written)
{
    struct ask ask, other;
    start();
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    fake_disk_set_free(&fake, volume.config.space_reserve - 1);
    cr_assert_eq(deliver_one(&ask, 10), STATUS_NO_SPACE);
    cr_assert(volume.space_low);
    expunge(&other, 7, FIRST_SEQUENCE + 1);
    cr_assert_eq(await(&other), STATUS_OK);
    fake_disk_set_free(&fake, volume.config.space_reserve * 2 - 1);
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    cr_assert(volume.space_low); /* the soft limit is let go of higher up */
    fake_disk_set_free(&fake, volume.config.space_reserve * 2);
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    cr_assert_not(volume.space_low);
}

Test(writer, meta_that_means_nothing_is_refused_and_its_neighbours_are_written)
{
    struct ask first, good, bad, last;
    struct read_log log;
    start();
    cr_assert_eq(deliver_one(&first, 10), STATUS_OK);
    fake_disk_hold(&fake, FAKE_DISK_SYNC_DATA);
    deliver(&first, 1, "x", 1);
    fake_disk_await(&fake, FAKE_DISK_SYNC_DATA);
    deliver(&good, 1, "x", 1);
    memset(&bad, 0, sizeof bad);
    bad.item.kind = RECORD_EXPUNGED;
    bad.item.meta_length = 11;
    submit(&bad);
    deliver(&last, 1, "z", 1);
    fake_disk_let_go(&fake, FAKE_DISK_SYNC_DATA);
    cr_assert_eq(await(&good), STATUS_OK);
    cr_assert_eq(await(&bad), STATUS_INVALID);
    cr_assert_eq(await(&last), STATUS_OK);
    read_segment(1, &log);
    cr_assert_eq(log.count, 4u);
    cr_assert_eq(log.end, log.size);
    read_log_free(&log);
}

Test(writer, goes_on_where_the_last_run_ended)
{
    struct ask ask;
    struct read_log log;
    static const uint32_t unretired[] = {1};
    start();
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    struct log_position tail = writer_position(writer);
    stop();
    start_with(&(struct writer_config){.volume = &volume,
                                       .tail = tail,
                                       .unretired = unretired,
                                       .unretired_count = 1,
                                       .next_segment = 2,
                                       .next_sequence = 5000,
                                       .next_group = 500});
    cr_assert_eq(writer_position(writer).offset, tail.offset);
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    cr_assert_eq(ask.item.sequence, 5000u);
    read_segment(1, &log);
    cr_assert_eq(log.count, 2u);
    cr_assert_eq(log.end, log.size);
    read_log_free(&log);
}

Test(writer, begins_a_new_segment_behind_a_torn_one)
{
    struct ask ask;
    struct read_log log;
    static const uint32_t unretired[] = {3, 4};
    start_with(&(struct writer_config){.volume = &volume,
                                       .predecessor = {4, 12345, 900},
                                       .unretired = unretired,
                                       .unretired_count = 2,
                                       .next_segment = 5,
                                       .next_sequence = 5000,
                                       .next_group = 500});
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    read_segment(5, &log);
    cr_assert_eq(log.manifest.predecessor, 4u);
    cr_assert_eq(log.manifest.predecessor_length, 12345u);
    cr_assert_eq(log.manifest.predecessor_last_sequence, 900u);
    cr_assert_eq(log.manifest.unretired_count, 2u);
    read_log_free(&log);
}

Test(writer, steps_over_a_segment_file_that_holds_something)
{
    struct ask ask;
    char path[SEGMENT_PATH_MAX];
    segment_path(directory, 1, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_eq(write(fd, "x", 1), 1);
    (void)close(fd);
    segment_path(directory, 2, path);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* empty: made ahead and never used */
    (void)close(fd);
    start();
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    cr_assert_eq(ask.item.segment, 2u);
}

Test(writer, refuses_a_tail_that_is_not_there)
{
    struct ask ask;
    struct error error;
    struct writer *other = NULL;
    start();
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    struct writer_config config = {.volume = &volume,
                                   .tail = {1, 1 << 20, 7},
                                   .next_segment = 2,
                                   .next_sequence = 5000,
                                   .next_group = 500};
    cr_assert_eq(writer_start(&config, &other, &error), STATUS_CORRUPT);
    config.tail.segment = 9;
    cr_assert_eq(writer_start(&config, &other, &error), STATUS_NOT_FOUND);
    cr_assert_null(other);
}

Test(writer, stopping_finishes_what_is_queued)
{
    enum { COUNT = 20 };
    static struct ask asks[COUNT];
    start();
    for (int i = 0; i < COUNT; i++) {
        deliver(&asks[i], 1, "x", 1);
    }
    stop();
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(await(&asks[i]), STATUS_OK);
    }
}

Test(writer, many_entries_take_several_writes_but_one_sync)
{
    struct ask ask;
    struct read_log log;
    enum { PARTS = 2500 };
    static struct iovec parts[PARTS];
    static uint8_t data[PARTS * 2];
    volume.config.segment_size = 1 << 20;
    start();
    cr_assert_eq(deliver_one(&ask, 10), STATUS_OK);
    for (int i = 0; i < PARTS; i++) {
        data[2 * i] = (uint8_t)i;
        parts[i] = (struct iovec){data + 2 * i, 1}; /* every second octet: they do not join */
    }
    struct checksum_stream stream;
    checksum_stream_init(&stream);
    for (int i = 0; i < PARTS; i++) {
        checksum_stream_add(&stream, parts[i].iov_base, 1);
    }
    struct record_recipient recipient = {.maildrop = 7};
    struct record_delivered delivered = {
        .octets = PARTS, .wire_length = PARTS, .header_length = PARTS, .recipient_count = 1};
    memset(&ask, 0, sizeof ask);
    ask.item.kind = RECORD_DELIVERED;
    ask.item.meta_length = (uint32_t)record_encode_delivered(&delivered, &recipient, ask.meta);
    ask.item.meta = ask.meta;
    ask.item.reply_box = &box;
    ask.item.on_done = on_done;
    ask.item.body = parts;
    ask.item.body_count = PARTS;
    ask.item.body_length = PARTS;
    ask.item.body_checksum = checksum_stream_result(&stream);
    uint32_t writes = fake_disk_count(&fake, FAKE_DISK_WRITE);
    uint32_t syncs = fake_disk_count(&fake, FAKE_DISK_SYNC_DATA);
    writer_submit(writer, &ask.item);
    cr_assert_eq(await(&ask), STATUS_OK);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_WRITE), writes + 3);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_SYNC_DATA), syncs + 1);
    read_segment(1, &log);
    cr_assert_eq(log.count, 2u);
    read_log_free(&log);
}
