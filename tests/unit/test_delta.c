/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/delta.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct delta *delta;
static uint64_t next_offset;

static void start(void)
{
    next_offset = 100;
    cr_assert_eq(delta_create(1 << 20, &delta), STATUS_OK);
}

static void end(void)
{
    delta_destroy(&delta);
}

TestSuite(delta, .init = start, .fini = end);

static struct message_entry entries[64];

static struct delta_event added(uint64_t drop, uint64_t sequence, uint64_t blob, const char *uidl)
{
    static unsigned next;
    struct message_entry *entry = &entries[next++ % 64];
    memset(entry, 0, sizeof *entry);
    entry->uid = sequence;
    entry->blob = blob;
    entry->wire_length = 10;
    entry->uidl_length = (uint8_t)strlen(uidl);
    memcpy(entry->uidl, uidl, strlen(uidl));
    return (struct delta_event){.maildrop = drop,
                                .sequence = sequence,
                                .kind = DELTA_MESSAGE_ADDED,
                                .uid = sequence,
                                .entry = entry};
}

static struct delta_event expunged(uint64_t drop, uint64_t sequence, uint64_t uid)
{
    return (struct delta_event){
        .maildrop = drop, .sequence = sequence, .kind = DELTA_MESSAGE_EXPUNGED, .uid = uid};
}

static struct delta_group publish(const struct delta_event *events, size_t count, uint64_t first,
                                  uint64_t last)
{
    struct delta_group group = {.segment = 3,
                                .offset = next_offset,
                                .end = next_offset + 100,
                                .first_sequence = first,
                                .last_sequence = last};
    next_offset += 100;
    cr_assert_eq(delta_publish(delta, &group, events, count), STATUS_OK);
    return group;
}

static struct delta_group publish_one(struct delta_event event)
{
    return publish(&event, 1, event.sequence, event.sequence);
}

static size_t copied(uint64_t drop)
{
    struct mem_arena arena = {0};
    struct delta_event *events;
    size_t count;
    cr_assert_eq(delta_copy(delta, drop, &arena, &events, &count), STATUS_OK);
    mem_arena_clear(&arena);
    return count;
}

static size_t take(size_t max, struct log_position *out_position,
                   const struct delta_event ***out_events)
{
    size_t count;
    cr_assert_eq(delta_take(delta, max, out_events, &count, out_position), STATUS_OK);
    return count;
}

Test(delta, copies_one_maildrop_oldest_first_with_its_strings)
{
    struct mem_arena arena = {0};
    struct delta_event *events;
    size_t count;
    char name[] = "name";
    publish_one((struct delta_event){
        .maildrop = 7, .sequence = 1, .kind = DELTA_DROP_CREATED, .name = name});
    publish_one(added(8, 2, 0, ""));
    publish_one(added(7, 3, 0, "uidl-of-it"));
    cr_assert_eq(delta_copy(delta, 7, &arena, &events, &count), STATUS_OK);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(events[0].name, "name");
    cr_assert_eq(events[1].entry->uid, 3);
    cr_assert_eq(memcmp(events[1].entry->uidl, "uidl-of-it", 10), 0);
    mem_arena_clear(&arena);
    cr_assert_eq(copied(99), 0);
}

Test(delta, delivered_and_expunged_cancel_each_other)
{
    publish_one(added(7, 1, 0, ""));
    publish_one(expunged(7, 2, 1));
    cr_assert_eq(copied(7), 0);
    cr_assert_eq(delta_events(delta), 0);
    cr_assert_eq(delta_octets(delta), 0);
    struct log_position position;
    const struct delta_event **events;
    cr_assert_eq(take(10, &position, &events), 0);
    cr_assert_eq(position.sequence, 2);
    cr_assert_eq(position.offset, 300);
}

Test(delta, they_cancel_inside_one_group)
{
    struct delta_event both[] = {added(7, 1, 0, "u"), expunged(7, 2, 1)};
    publish(both, 2, 1, 2);
    cr_assert_eq(delta_events(delta), 0);
    cr_assert_eq(delta_find_uidl(delta, 7, "u", 1), DELTA_UNKNOWN);
}

Test(delta, only_in_the_maildrop_that_expunged)
{
    struct delta_event both[] = {added(7, 1, 0, ""), added(8, 1, 0, "")};
    publish(both, 2, 1, 1);
    publish_one(expunged(7, 2, 1));
    cr_assert_eq(copied(7), 0);
    cr_assert_eq(copied(8), 1);
}

Test(delta, a_taken_event_does_not_cancel)
{
    struct log_position position;
    const struct delta_event **events;
    publish_one(added(7, 1, 0, ""));
    cr_assert_eq(take(10, &position, &events), 1);
    publish_one(expunged(7, 2, 1));
    cr_assert_eq(copied(7), 2);
    delta_forget(delta, position.sequence);
    cr_assert_eq(copied(7), 1);
    cr_assert_eq(take(10, &position, &events), 1);
    cr_assert_eq(events[0]->kind, DELTA_MESSAGE_EXPUNGED);
}

Test(delta, a_blob_does_not_cancel_so_that_the_index_counts_it)
{
    publish_one(added(7, 1, 55, ""));
    publish_one(expunged(7, 2, 1));
    cr_assert_eq(copied(7), 2);
}

Test(delta, takes_by_maildrop_then_sequence)
{
    struct log_position position;
    const struct delta_event **events;
    publish_one(added(9, 1, 0, ""));
    publish_one(added(7, 2, 0, ""));
    publish_one(added(9, 3, 0, ""));
    struct delta_group last = publish_one(added(7, 4, 0, ""));
    cr_assert_eq(take(10, &position, &events), 4);
    cr_assert_eq(events[0]->sequence, 2);
    cr_assert_eq(events[1]->sequence, 4);
    cr_assert_eq(events[2]->sequence, 1);
    cr_assert_eq(events[3]->sequence, 3);
    cr_assert_eq(position.sequence, 4);
    cr_assert_eq(position.segment, 3);
    cr_assert_eq(position.offset, last.end);
}

Test(delta, a_prefix_inside_a_group_stores_the_start_of_its_frame)
{
    struct log_position position;
    const struct delta_event **events;
    struct delta_event three[] = {added(1, 1, 0, ""), added(1, 2, 0, ""), added(1, 3, 0, "")};
    struct delta_group group = publish(three, 3, 1, 3);
    cr_assert_eq(take(2, &position, &events), 2);
    cr_assert_eq(position.sequence, 2);
    cr_assert_eq(position.offset, group.offset);
    delta_forget(delta, 2);
    cr_assert_eq(copied(1), 1);
    cr_assert_eq(take(2, &position, &events), 1);
    cr_assert_eq(position.sequence, 3);
    cr_assert_eq(position.offset, group.end);
    delta_forget(delta, 3);
    cr_assert_eq(delta_events(delta), 0);
    cr_assert_eq(take(2, &position, &events), 0);
    cr_assert_eq(position.sequence, 0);
}

Test(delta, a_record_is_never_split)
{
    struct log_position position;
    const struct delta_event **events;
    struct delta_event record[] = {added(1, 1, 0, ""), added(2, 1, 0, ""), added(3, 1, 0, ""),
                                   added(4, 2, 0, "")};
    publish(record, 4, 1, 2);
    cr_assert_eq(take(2, &position, &events), 3);
    cr_assert_eq(position.sequence, 1);
}

Test(delta, a_group_without_events_moves_the_position)
{
    struct log_position position;
    const struct delta_event **events;
    struct delta_group group = publish(NULL, 0, 5, 6);
    cr_assert_eq(take(10, &position, &events), 0);
    cr_assert_eq(position.sequence, 6);
    cr_assert_eq(position.offset, group.end);
    delta_forget(delta, 6);
    cr_assert_eq(take(10, &position, &events), 0);
    cr_assert_eq(position.sequence, 0);
    cr_assert_eq(delta_oldest_ms(delta), 0);
}

Test(delta, an_event_cancelled_behind_the_prefix_is_left_alone_by_forget)
{
    struct log_position position;
    const struct delta_event **events;
    struct delta_event two[] = {added(1, 1, 0, ""), added(1, 2, 0, "")};
    publish(two, 2, 1, 2);
    cr_assert_eq(take(1, &position, &events), 1);
    publish_one(expunged(1, 3, 2)); /* cancels the second, that was not taken */
    delta_forget(delta, 1);
    cr_assert_eq(copied(1), 0);
    cr_assert_eq(take(10, &position, &events), 0);
    cr_assert_eq(position.sequence, 3);
}

Test(delta, finds_imported_unique_ids_and_knows_when_they_are_gone)
{
    struct log_position position;
    const struct delta_event **events;
    publish_one(added(7, 1, 0, "x"));
    cr_assert_eq(delta_find_uidl(delta, 7, "x", 1), DELTA_PRESENT);
    cr_assert_eq(delta_find_uidl(delta, 8, "x", 1), DELTA_UNKNOWN);
    cr_assert_eq(delta_find_uidl(delta, 7, "y", 1), DELTA_UNKNOWN);
    cr_assert_eq(delta_find_uid(delta, 7, 1), DELTA_PRESENT);
    cr_assert_eq(take(10, &position, &events), 1);
    publish_one(expunged(7, 2, 1));
    cr_assert_eq(delta_find_uidl(delta, 7, "x", 1), DELTA_GONE);
    cr_assert_eq(delta_find_uid(delta, 7, 1), DELTA_GONE);
    publish_one(added(7, 3, 0, "x"));
    cr_assert_eq(delta_find_uidl(delta, 7, "x", 1), DELTA_PRESENT);
}

static void count_due(void *owner)
{
    ++*(int *)owner;
}

Test(delta, says_when_a_checkpoint_is_due)
{
    int due = 0;
    struct log_position position;
    const struct delta_event **events;
    delta_set_due(delta, 2, 1000, count_due, &due);
    publish_one(added(7, 1, 0, ""));
    cr_assert_eq(due, 0);
    publish_one(added(7, 2, 0, ""));
    cr_assert_eq(due, 1);
    take(10, &position, &events);
    publish_one(added(7, 3, 0, ""));
    cr_assert_eq(due, 1);
    for (int i = 0; i < 9; i++) {
        publish(NULL, 0, 4 + (uint64_t)i, 4 + (uint64_t)i);
    }
    cr_assert_eq(due, 2); /* by octets of log */
}

Test(delta, is_full_above_its_octets)
{
    uint64_t sequence = 1;
    while (!delta_full(delta) && sequence < 100000) {
        publish_one(added(7, sequence, 0, ""));
        sequence++;
    }
    cr_assert(delta_full(delta));
    cr_assert(sequence > 1000 && sequence < 20000);
}

/* Whatever is published and taken in whatever pieces, what the index would hold is what a plain
 * list of messages says. */
Test(delta, agrees_with_a_plain_list_whatever_the_pieces)
{
    enum { DROPS = 8, MESSAGES = 3000 };
    static uint8_t model[MESSAGES + 1][DROPS], index[MESSAGES + 1][DROPS];
    unsigned seed = (unsigned)time(NULL);
    fprintf(stderr, "seed %u\n", seed);
    srand(seed);
    memset(model, 0, sizeof model);
    memset(index, 0, sizeof index);
    uint64_t stored = 0;
    for (uint64_t sequence = 1; sequence <= MESSAGES; sequence++) {
        unsigned drop = (unsigned)rand() % DROPS;
        uint64_t uid = sequence > 10 ? sequence - 1 - (uint64_t)rand() % 10 : 0;
        if (rand() % 2 == 0 && uid > 0) {
            for (drop = 0; drop < DROPS && model[uid][drop] == 0; drop++) {
            }
            drop = drop == DROPS ? 0 : drop;
            model[uid][drop] = 0;
            publish_one(expunged(drop + 1, sequence, uid));
        } else {
            model[sequence][drop] = 1;
            publish_one(added(drop + 1, sequence, (uint64_t)(rand() % 4 == 0), ""));
        }
        if (rand() % 20 == 0) {
            struct log_position position;
            const struct delta_event **events;
            size_t count = take(1 + (size_t)rand() % 30, &position, &events);
            for (size_t i = 0; i < count; i++) {
                cr_assert(events[i]->sequence > stored && events[i]->sequence <= position.sequence);
                index[events[i]->uid][events[i]->maildrop - 1] =
                    events[i]->kind == DELTA_MESSAGE_ADDED;
            }
            if (rand() % 2 == 0) {
                sequence++;
                publish(NULL, 0, sequence, sequence); /* something between take and forget */
            }
            delta_forget(delta, position.sequence);
            stored = position.sequence > stored ? position.sequence : stored;
        }
    }
    for (unsigned drop = 0; drop < DROPS; drop++) {
        struct mem_arena arena = {0};
        struct delta_event *events;
        size_t count;
        cr_assert_eq(delta_copy(delta, drop + 1, &arena, &events, &count), STATUS_OK);
        for (size_t i = 0; i < count; i++) {
            cr_assert(events[i].sequence > stored);
            index[events[i].uid][drop] = events[i].kind == DELTA_MESSAGE_ADDED;
        }
        mem_arena_clear(&arena);
    }
    cr_assert_arr_eq((uint8_t *)index, (uint8_t *)model, sizeof model);
}
