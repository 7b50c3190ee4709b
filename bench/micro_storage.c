/* SPDX-License-Identifier: Apache-2.0 */
/* The store's pieces: opening a maildrop, looking a message up, the writer's group, the delta. */
#include "bench/micro.h"

#include "storage/delta.h"
#include "storage/group.h"
#include "storage/index.h"
#include "storage/local.h"
#include "storage/volume.h"

#include <string.h>

/* --- maildrops --- */

static void open_often(struct stage *stage, enum stage_user user, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct view *view = stage_view(stage, user);
        store_view_close(&view);
    }
}

static void run_open_few(struct stage *stage, unsigned count)
{
    open_often(stage, STAGE_FEW, count);
}

static void run_open_thousand(struct stage *stage, unsigned count)
{
    open_often(stage, STAGE_THOUSAND, count);
}

static void run_open_large(struct stage *stage, unsigned count)
{
    open_often(stage, STAGE_LARGE, count);
}

/* --- one message in the index --- */

static struct index_reader *reader;
static uint64_t first_uid;

static void open_lookup(struct stage *stage)
{
    const struct local *local = (const struct local *)(const void *)stage->store;
    struct view *view = stage_view(stage, STAGE_LARGE);
    struct store_message message;
    store_view_message(view, 0, &message);
    first_uid = message.uid;
    store_view_close(&view);
    stage_check(index_reader_create(local->volume->index, &reader) == STATUS_OK, "no reader");
}

static void close_lookup(struct stage *stage)
{
    index_reader_destroy(&reader);
}

static void run_lookup(struct stage *stage, unsigned count)
{
    struct index_state state;
    struct message_entry entry;
    for (unsigned i = 0; i < count; i++) {
        uint64_t uid = first_uid + i * UINT64_C(7919) % 100000; /* a prime: all over the tree */
        stage_check(index_begin(reader, &state) == STATUS_OK, "no snapshot");
        enum status status = index_message(reader, stage->drops[STAGE_LARGE].id, uid, &entry);
        index_end(reader);
        stage_check(status == STATUS_OK && entry.uid == uid, "a message is not in the index");
    }
}

/* --- the delta --- */

#define DELTA_BATCH 64   /* events published together */
#define DELTA_KEEP  1024 /* events after which the checkpointer takes them */
#define DROP_EVENTS 32   /* events of the maildrop that is copied */
#define COPIED_DROP 5000 /* its id: none of the others has it */

static struct delta *delta;
static uint64_t sequence;
static struct message_entry entries[DELTA_BATCH];
static struct delta_event events[DELTA_BATCH];

static void publish(unsigned count, bool same_drop)
{
    struct delta_group group = {.segment = 1,
                                .offset = sequence * 100,
                                .end = (sequence + count) * 100,
                                .first_sequence = sequence + 1,
                                .last_sequence = sequence + count};
    for (unsigned i = 0; i < count; i++) {
        sequence++;
        entries[i] = (struct message_entry){.uid = sequence, .segment = 1, .wire_length = 4096};
        events[i] = (struct delta_event){.maildrop = same_drop ? COPIED_DROP : sequence % 4099,
                                         .sequence = sequence,
                                         .kind = DELTA_MESSAGE_ADDED,
                                         .uid = sequence,
                                         .entry = &entries[i]};
    }
    stage_check(delta_publish(delta, &group, events, count) == STATUS_OK, "not published");
}

static void forget_all(void)
{
    const struct delta_event **taken;
    struct log_position position;
    size_t count;
    stage_check(delta_take(delta, DELTA_KEEP, &taken, &count, &position) == STATUS_OK, "no take");
    delta_forget(delta, position.sequence);
}

static void open_delta(struct stage *stage)
{
    sequence = 0;
    stage_check(delta_create(256 << 20, &delta) == STATUS_OK, "no delta");
}

static void open_delta_copy(struct stage *stage)
{
    open_delta(stage);
    publish(DELTA_BATCH, false);
    publish(DROP_EVENTS, true);
}

static void close_delta(struct stage *stage)
{
    delta_destroy(&delta);
}

static void run_delta_add(struct stage *stage, unsigned count)
{
    for (unsigned done = 0; done < count; done += DELTA_BATCH) {
        publish(DELTA_BATCH, false);
        if (delta_events(delta) >= DELTA_KEEP) {
            forget_all();
        }
    }
}

static void run_delta_copy(struct stage *stage, unsigned count)
{
    struct mem_arena arena = {0};
    for (unsigned i = 0; i < count; i++) {
        struct delta_event *copied;
        size_t copied_count;
        enum status status = delta_copy(delta, COPIED_DROP, &arena, &copied, &copied_count);
        stage_check(status == STATUS_OK && copied_count == DROP_EVENTS, "not copied");
        mem_arena_clear(&arena);
    }
}

/* --- a group of the writer: from records to octets and events --- */

static struct group group;
static struct checksum_key key;
static uint8_t metas[STAGE_GROUP][256];
static struct writer_item items[STAGE_GROUP];
static struct iovec body;
static uint64_t group_number;

static void open_group(struct stage *stage)
{
    open_delta(stage);
    body = (struct iovec){stage->message, STAGE_MESSAGE_OCTETS};
    for (unsigned i = 0; i < STAGE_GROUP; i++) {
        const struct record_delivered delivered = {.received_ms = 1,
                                                   .octets = STAGE_MESSAGE_OCTETS,
                                                   .wire_length = STAGE_MESSAGE_OCTETS,
                                                   .header_length = 50,
                                                   .recipient_count = 1};
        const struct record_recipient recipient = {.maildrop = 100 + i};
        size_t length = record_delivered_size(&delivered, &recipient);
        stage_check(length <= sizeof metas[i], "a meta is larger than thought");
        items[i] = (struct writer_item){
            .kind = RECORD_DELIVERED,
            .meta = metas[i],
            .meta_length = (uint32_t)record_encode_delivered(&delivered, &recipient, metas[i]),
            .body = &body,
            .body_count = 1,
            .body_length = STAGE_MESSAGE_OCTETS};
    }
}

static void close_group(struct stage *stage)
{
    group_deinit(&group);
    close_delta(stage);
}

static void encode_group(void)
{
    const struct group_place place = {.key = &key,
                                      .segment = 1,
                                      .offset = group_number * 300000,
                                      .number = group_number,
                                      .sequence = group_number * STAGE_GROUP};
    struct delta_group where;
    struct writer_item *rejected;
    for (unsigned i = 0; i < STAGE_GROUP; i++) {
        stage_check(group_add(&group, &items[i]), "a group is full");
    }
    stage_check(group_encode(&group, &place, &where, &rejected) == STATUS_OK, "not encoded");
    stage_check(delta_publish(delta, &where, group.events.events, group.events.count) == STATUS_OK,
                "not published");
    group_clear(&group);
    group_number++;
}

static void run_group(struct stage *stage, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        encode_group();
        if (i % 16 == 15) {
            forget_all();
        }
    }
}

/* --- the writer itself, with its disk --- */

static void run_writer(struct stage *stage, unsigned count)
{
    for (unsigned done = 0; done < count; done += STAGE_GROUP) {
        stage_deliver_group(stage);
    }
}

const struct micro_piece micro_storage[] = {
    {"open-10", "maildrop of 10 messages opened", 200, true, LOOP_EPOLL, NULL, run_open_few, NULL},
    {"open-1000", "maildrop of 1,000 messages opened", 10, true, LOOP_EPOLL, NULL,
     run_open_thousand, NULL},
    {"open-100000", "maildrop of 100,000 messages opened", 1, true, LOOP_EPOLL, NULL,
     run_open_large, NULL},
    {"index-lookup", "message of 100,000 looked up", 500, true, LOOP_EPOLL, open_lookup, run_lookup,
     close_lookup},
    {"delta-add", "delivery published, taken, forgotten", 2048, true, LOOP_EPOLL, open_delta,
     run_delta_add, close_delta},
    {"delta-copy", "maildrop's 32 events copied", 500, true, LOOP_EPOLL, open_delta_copy,
     run_delta_copy, close_delta},
    {"group-64", "group of 64 deliveries encoded and published", 16, true, LOOP_EPOLL, open_group,
     run_group, close_group},
    {"writer", "durable delivery of 4 KB, 64 at a time", STAGE_GROUP, false, LOOP_EPOLL, NULL,
     run_writer, NULL},
    {0}};
