/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/index.h"

#include "storage/index_format.h"
#include "storage/kv.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char path[64];
static struct index *idx;
static struct index_reader *reader;
static uint8_t volume_id[16] = {1, 2, 3};

static int remove_one(const char *name, const struct stat *found, int kind, struct FTW *walk)
{
    return remove(name);
}

static enum status open_index(void)
{
    struct index_config config = {.path = path, .map_size = 64 << 20, .volume_id = volume_id};
    enum status status = index_open(&config, &idx, NULL);
    return status == STATUS_OK ? index_reader_create(idx, &reader) : status;
}

static void close_index(void)
{
    index_reader_destroy(&reader);
    index_close(&idx);
}

static void start(void)
{
    strcpy(path, "/tmp/restante-index-XXXXXX");
    cr_assert_not_null(mkdtemp(path));
    cr_assert_eq(open_index(), STATUS_OK);
}

static void end(void)
{
    close_index();
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(index, .init = start, .fini = end);

/* --- events --- */

static struct message_entry entry_of(uint64_t uid, uint32_t segment, uint64_t blob,
                                     const char *uidl)
{
    struct message_entry entry = {.uid = uid,
                                  .blob = blob,
                                  .offset = blob != 0 ? 0 : uid * 10,
                                  .segment = segment,
                                  .wire_length = 100,
                                  .octets = 97,
                                  .header_length = 20,
                                  .checksum = uid * 7,
                                  .received_ms = -5,
                                  .flags = 3,
                                  .uidl_length = (uint8_t)strlen(uidl)};
    memcpy(entry.uidl, uidl, strlen(uidl));
    return entry;
}

static enum status apply(struct delta_event event, unsigned flags)
{
    const struct delta_event *events[] = {&event};
    struct log_position position = {1, event.sequence * 100, event.sequence};
    return index_apply(idx, events, 1, &position, flags);
}

static void add(uint64_t drop, uint64_t uid, uint32_t segment, uint64_t blob, const char *uidl)
{
    struct message_entry entry = entry_of(uid, segment, blob, uidl);
    cr_assert_eq(apply((struct delta_event){.maildrop = drop,
                                            .sequence = uid,
                                            .kind = DELTA_MESSAGE_ADDED,
                                            .uid = uid,
                                            .entry = &entry},
                       0),
                 STATUS_OK);
}

static void move(uint64_t drop, uint64_t sequence, uint64_t uid, uint32_t segment, unsigned flags)
{
    struct message_entry entry = entry_of(uid, segment, 0, "");
    cr_assert_eq(apply((struct delta_event){.maildrop = drop,
                                            .sequence = sequence,
                                            .kind = DELTA_MESSAGE_MOVED,
                                            .uid = uid,
                                            .entry = &entry},
                       flags),
                 STATUS_OK);
}

static void expunge(uint64_t drop, uint64_t sequence, uint64_t uid, unsigned flags)
{
    cr_assert_eq(apply((struct delta_event){.maildrop = drop,
                                            .sequence = sequence,
                                            .kind = DELTA_MESSAGE_EXPUNGED,
                                            .uid = uid},
                       flags),
                 STATUS_OK);
}

static void name_drop(uint64_t drop, uint64_t sequence, enum delta_kind kind, char *name)
{
    cr_assert_eq(apply(
                     (struct delta_event){
                         .maildrop = drop, .sequence = sequence, .kind = kind, .name = name},
                     0),
                 STATUS_OK);
}

/* --- questions --- */

static struct index_state begin(void)
{
    struct index_state state;
    cr_assert_eq(index_begin(reader, &state), STATUS_OK);
    return state;
}

static uint64_t count_messages(uint64_t drop)
{
    struct message_entry entry;
    uint64_t count = 0, last = 0;
    (void)begin();
    enum status status = index_first(reader, drop, &entry);
    while (status == STATUS_OK) {
        cr_assert(entry.uid > last);
        last = entry.uid;
        count++;
        status = index_next(reader, &entry);
    }
    index_end(reader);
    cr_assert_eq(status, STATUS_EOF);
    return count;
}

static uint64_t segment_references(uint32_t segment)
{
    struct index_file file = {0};
    (void)begin();
    enum status status = index_segment(reader, segment, &file);
    index_end(reader);
    return status == STATUS_OK ? file.references : 0;
}

static enum status blob_references(uint64_t blob, uint64_t *out_references)
{
    struct index_file file = {0};
    (void)begin();
    enum status status = index_blob(reader, blob, &file);
    index_end(reader);
    *out_references = file.references;
    return status;
}

static enum status drop_row(uint64_t drop, struct index_drop *out_drop, bool *out_removed)
{
    *out_removed = false;
    (void)begin();
    enum status status = index_drop(reader, drop, out_drop, out_removed);
    index_end(reader);
    return status;
}

/* --- tests --- */

Test(index, a_new_one_has_no_position)
{
    struct index_state state = begin();
    index_end(reader);
    cr_assert_not(state.stored);
    cr_assert_eq(state.position.sequence, 0);
}

Test(index, keeps_messages_and_position_over_a_reopen)
{
    add(7, 10, 2, 0, "");
    add(7, 12, 3, 0, "imported");
    close_index();
    cr_assert_eq(open_index(), STATUS_OK);
    struct message_entry entry;
    struct index_state state = begin();
    cr_assert(state.stored);
    cr_assert_eq(state.position.sequence, 12);
    cr_assert_eq(state.messages, 2);
    cr_assert_eq(state.octets, 194);
    cr_assert_eq(state.maildrops, 1);
    cr_assert_eq(index_first(reader, 7, &entry), STATUS_OK);
    cr_assert_eq(entry.uid, 10);
    cr_assert_eq(entry.segment, 2);
    cr_assert_eq(entry.offset, 100);
    cr_assert_eq(entry.checksum, 70);
    cr_assert_eq(entry.received_ms, -5);
    cr_assert_eq(index_next(reader, &entry), STATUS_OK);
    cr_assert_eq(entry.uidl_length, 8);
    cr_assert_eq(memcmp(entry.uidl, "imported", 8), 0);
    cr_assert_eq(index_next(reader, &entry), STATUS_EOF);
    cr_assert_eq(index_message(reader, 7, 11, &entry), STATUS_NOT_FOUND);
    index_end(reader);
}

Test(index, a_maildrop_ends_where_the_next_begins)
{
    add(7, 10, 2, 0, "");
    add(8, 11, 2, 0, "");
    cr_assert_eq(count_messages(7), 1);
    cr_assert_eq(count_messages(8), 1);
    cr_assert_eq(count_messages(9), 0);
}

Test(index, an_event_applied_twice_changes_nothing)
{
    struct index_drop drop;
    bool removed;
    uint64_t references;
    for (int i = 0; i < 2; i++) {
        add(7, 10, 2, 0, "x");
        add(7, 11, 2, 99, "");
    }
    cr_assert_eq(segment_references(2), 2);
    cr_assert_eq(blob_references(99, &references), STATUS_OK);
    cr_assert_eq(references, 1);
    cr_assert_eq(drop_row(7, &drop, &removed), STATUS_OK);
    cr_assert_eq(drop.messages, 2);
    for (int i = 0; i < 2; i++) {
        expunge(7, 12, 10, 0);
        expunge(7, 13, 11, 0);
    }
    cr_assert_eq(segment_references(2), 0);
    cr_assert_eq(blob_references(99, &references), STATUS_OK);
    cr_assert_eq(references, 0);
    cr_assert_eq(drop_row(7, &drop, &removed), STATUS_OK);
    cr_assert_eq(drop.messages, 0);
    cr_assert_eq(drop.octets, 0);
}

Test(index, a_blob_is_counted_once_for_each_recipient)
{
    uint64_t references;
    add(7, 10, 2, 99, "");
    add(8, 10, 2, 99, "");
    cr_assert_eq(blob_references(99, &references), STATUS_OK);
    cr_assert_eq(references, 2);
    expunge(7, 11, 10, 0);
    cr_assert_eq(blob_references(99, &references), STATUS_OK);
    cr_assert_eq(references, 1);
    cr_assert_eq(blob_references(98, &references), STATUS_NOT_FOUND);
}

Test(index, delivered_and_expunged_in_one_batch_leaves_a_dead_blob_behind)
{
    uint64_t references = 9;
    struct message_entry entry = entry_of(10, 2, 99, "");
    struct delta_event added = {.maildrop = 7,
                                .sequence = 10,
                                .kind = DELTA_MESSAGE_ADDED,
                                .uid = 10,
                                .entry = &entry},
                       gone = {.maildrop = 7,
                               .sequence = 11,
                               .kind = DELTA_MESSAGE_EXPUNGED,
                               .uid = 10};
    const struct delta_event *events[] = {&added, &gone};
    struct log_position position = {1, 1, 11};
    cr_assert_eq(index_apply(idx, events, 2, &position, 0), STATUS_OK);
    cr_assert_eq(blob_references(99, &references), STATUS_OK);
    cr_assert_eq(references, 0);
}

Test(index, a_move_changes_the_place_and_both_counts)
{
    struct message_entry entry;
    add(7, 10, 2, 0, "");
    move(7, 20, 10, 5, 0);
    move(7, 20, 10, 5, 0);
    cr_assert_eq(segment_references(2), 0);
    cr_assert_eq(segment_references(5), 1);
    (void)begin();
    cr_assert_eq(index_message(reader, 7, 10, &entry), STATUS_OK);
    index_end(reader);
    cr_assert_eq(entry.segment, 5);
}

Test(index, a_move_of_an_expunged_message_does_not_bring_it_back)
{
    add(7, 10, 2, 0, "");
    expunge(7, 11, 10, 0);
    move(7, 20, 10, 5, 0);
    cr_assert_eq(count_messages(7), 0);
    cr_assert_eq(segment_references(5), 0);
}

Test(index, in_a_rebuild_an_expunge_wins_in_whatever_order)
{
    /* expunge, then the message, then its copy */
    expunge(7, 11, 10, INDEX_APPLY_REBUILD);
    struct message_entry entry = entry_of(10, 2, 0, "");
    cr_assert_eq(apply((struct delta_event){.maildrop = 7,
                                            .sequence = 10,
                                            .kind = DELTA_MESSAGE_ADDED,
                                            .uid = 10,
                                            .entry = &entry},
                       INDEX_APPLY_REBUILD),
                 STATUS_OK);
    move(7, 20, 10, 5, INDEX_APPLY_REBUILD);
    cr_assert_eq(count_messages(7), 0);
    /* a copy whose original is gone */
    move(7, 21, 12, 5, INDEX_APPLY_REBUILD);
    cr_assert_eq(count_messages(7), 1);
    /* the original after its copy: the copy stays */
    entry = entry_of(12, 2, 0, "");
    cr_assert_eq(apply((struct delta_event){.maildrop = 7,
                                            .sequence = 12,
                                            .kind = DELTA_MESSAGE_ADDED,
                                            .uid = 12,
                                            .entry = &entry},
                       INDEX_APPLY_REBUILD),
                 STATUS_OK);
    cr_assert_eq(segment_references(5), 1);
    cr_assert_eq(segment_references(2), 0);
    cr_assert_eq(index_finish_rebuild(idx), STATUS_OK);
}

Test(index, removing_a_maildrop_removes_all_in_it_and_is_remembered)
{
    struct index_drop drop;
    bool removed;
    uint64_t *ids = NULL;
    size_t count = 0;
    char name[] = "u@localhost";
    name_drop(7, 1, DELTA_DROP_CREATED, name);
    for (uint64_t uid = 10; uid < 20; uid++) {
        add(7, uid, 2, 0, uid % 2 == 0 ? "" : (const char[]){(char)('a' + uid), 0});
    }
    add(8, 20, 2, 0, "");
    for (int i = 0; i < 2; i++) {
        name_drop(7, 30, DELTA_DROP_REMOVED, NULL);
    }
    cr_assert_eq(drop_row(7, &drop, &removed), STATUS_NOT_FOUND);
    cr_assert(removed);
    cr_assert_eq(count_messages(7), 0);
    cr_assert_eq(count_messages(8), 1);
    cr_assert_eq(segment_references(2), 1);
    add(7, 40, 2, 0, "");
    name_drop(7, 41, DELTA_DROP_CHANGED, name);
    cr_assert_eq(drop_row(7, &drop, &removed), STATUS_NOT_FOUND);
    struct index_state state = begin();
    cr_assert_eq(index_removed_drops(reader, &ids, &count), STATUS_OK);
    index_end(reader);
    cr_assert_eq(count, 1);
    cr_assert_eq(ids[0], 7);
    cr_assert_eq(state.maildrops, 1);
    cr_assert_eq(state.messages, 1);
    free(ids);
}

Test(index, created_messages_and_removed_in_one_batch)
{
    struct index_drop drop;
    bool removed;
    struct message_entry entry = entry_of(10, 2, 0, "");
    struct delta_event events[] = {
        {.maildrop = 7, .sequence = 1, .kind = DELTA_DROP_CREATED, .name = (char[]){"n"}},
        {.maildrop = 7, .sequence = 10, .kind = DELTA_MESSAGE_ADDED, .uid = 10, .entry = &entry},
        {.maildrop = 7, .sequence = 11, .kind = DELTA_DROP_REMOVED}};
    const struct delta_event *order[] = {&events[0], &events[1], &events[2]};
    struct log_position position = {1, 1, 11};
    cr_assert_eq(index_apply(idx, order, 3, &position, 0), STATUS_OK);
    cr_assert_eq(drop_row(7, &drop, &removed), STATUS_NOT_FOUND);
    cr_assert(removed);
    cr_assert_eq(segment_references(2), 0);
}

Test(index, keeps_names_and_walks_over_maildrops)
{
    struct index_drop drop;
    bool removed;
    uint64_t ids[2];
    size_t count;
    name_drop(7, 1, DELTA_DROP_CREATED, (char[]){"old"});
    name_drop(300, 2, DELTA_DROP_CREATED, (char[]){"other"});
    name_drop(7, 3, DELTA_DROP_CHANGED, (char[]){"new"});
    cr_assert_eq(drop_row(7, &drop, &removed), STATUS_OK);
    cr_assert_str_eq(drop.name, "new");
    (void)begin();
    cr_assert_eq(index_drops(reader, 0, ids, 2, &count), STATUS_OK);
    cr_assert_eq(count, 2);
    cr_assert_eq(ids[1], 300);
    cr_assert_eq(index_drops(reader, 7, ids, 2, &count), STATUS_OK);
    cr_assert_eq(count, 1);
    index_end(reader);
}

Test(index, a_unique_id_means_the_message_that_has_it_now)
{
    uint64_t uid = 0;
    add(7, 10, 2, 0, "x");
    expunge(7, 11, 10, 0);
    add(7, 12, 2, 0, "x");
    expunge(7, 13, 10, 0); /* again: must not take the new one's away */
    (void)begin();
    cr_assert_eq(index_uidl(reader, 7, "x", 1, &uid), STATUS_OK);
    cr_assert_eq(uid, 12);
    cr_assert_eq(index_uidl(reader, 8, "x", 1, &uid), STATUS_NOT_FOUND);
    index_end(reader);
}

Test(index, remembers_retired_segments)
{
    uint64_t *ids = NULL;
    size_t count = 0;
    add(7, 10, 2, 0, "");
    cr_assert_eq(
        apply((struct delta_event){.sequence = 20, .kind = DELTA_SEGMENT_RETIRED, .uid = 2}, 0),
        STATUS_OK);
    expunge(7, 21, 10, 0);
    (void)begin();
    cr_assert_eq(index_retired_segments(reader, &ids, &count), STATUS_OK);
    index_end(reader);
    cr_assert_eq(count, 1);
    cr_assert_eq(ids[0], 2);
    free(ids);
}

static void put_file(unsigned table, uint64_t id, uint64_t references)
{
    struct kv_txn *txn = NULL;
    uint8_t key[INDEX_ID_KEY_SIZE], data[INDEX_FILE_SIZE];
    struct index_file file = {.references = references};
    index_put_id(key, id);
    index_encode_file(&file, data);
    cr_assert_eq(kv_begin_write(idx->kv, &txn), STATUS_OK);
    cr_assert_eq(kv_put(txn, table, (struct kv_bytes){key, sizeof key},
                        (struct kv_bytes){data, sizeof data}),
                 STATUS_OK);
    cr_assert_eq(kv_commit(&txn), STATUS_OK);
}

Test(index, more_references_gone_than_came_is_damage)
{
    add(7, 10, 2, 0, "");
    put_file(idx->tables.segments, 2, 0);
    cr_assert_eq(apply(
                     (struct delta_event){
                         .maildrop = 7, .sequence = 11, .kind = DELTA_MESSAGE_EXPUNGED, .uid = 10},
                     0),
                 STATUS_CORRUPT);
    cr_assert_eq(count_messages(7), 1); /* nothing of that batch counts */
}

/* Whoever sees the count looks for free blobs in a snapshot, and must find them there. */
Test(index, counts_a_blob_as_freed_when_the_batch_is_stored_and_not_before)
{
    struct delta_event expunged[8];
    const struct delta_event *events[9];
    struct log_position position = {1, 1, 100};
    for (unsigned i = 0; i < 8; i++) {
        add(7, 10 + i, 2, 90 + i, "");
        expunged[i] = (struct delta_event){
            .maildrop = 7, .sequence = 20 + i, .kind = DELTA_MESSAGE_EXPUNGED, .uid = 10 + i};
        events[i] = &expunged[i];
    }
    put_file(idx->tables.blobs, 97, 0); /* one reference too few: the batch fails */
    cr_assert_eq(index_apply(idx, events, 8, &position, 0), STATUS_CORRUPT);
    cr_assert_eq(index_freed_blobs(idx), 0);
    cr_assert_eq(index_apply(idx, events, 7, &position, 0), STATUS_OK);
    cr_assert_eq(index_freed_blobs(idx), 7);
}

Test(index, a_damaged_value_is_found)
{
    add(7, 10, 2, 0, "");
    struct kv_txn *txn = NULL;
    uint8_t key[INDEX_MESSAGE_KEY_SIZE], copy[INDEX_MESSAGE_MAX];
    struct kv_bytes value;
    index_message_key(7, 10, key);
    cr_assert_eq(kv_begin_write(idx->kv, &txn), STATUS_OK);
    cr_assert_eq(kv_get(txn, idx->tables.messages, (struct kv_bytes){key, sizeof key}, &value),
                 STATUS_OK);
    memcpy(copy, value.data, value.length);
    copy[5] ^= 1;
    cr_assert_eq(kv_put(txn, idx->tables.messages, (struct kv_bytes){key, sizeof key},
                        (struct kv_bytes){copy, value.length}),
                 STATUS_OK);
    cr_assert_eq(kv_commit(&txn), STATUS_OK);
    struct message_entry entry;
    (void)begin();
    cr_assert_eq(index_first(reader, 7, &entry), STATUS_CORRUPT);
    index_end(reader);
}

Test(index, one_of_another_volume_or_version_is_refused)
{
    close_index();
    volume_id[0]++;
    cr_assert_eq(open_index(), STATUS_CORRUPT);
    volume_id[0]--;
    cr_assert_eq(open_index(), STATUS_OK);
    struct kv_txn *txn = NULL;
    cr_assert_eq(kv_begin_write(idx->kv, &txn), STATUS_OK);
    cr_assert_eq(kv_put(txn, idx->tables.meta, (struct kv_bytes){"identity", 8},
                        (struct kv_bytes){"\xff\0\0\0", 4}),
                 STATUS_OK);
    cr_assert_eq(kv_commit(&txn), STATUS_OK);
    close_index();
    cr_assert_eq(open_index(), STATUS_UNSUPPORTED);
}

Test(index, remembers_a_clean_end_and_the_next_sequence)
{
    struct log_position position = {1, 2, 3};
    index_set_next_sequence(idx, 500);
    cr_assert_eq(index_apply(idx, NULL, 0, &position, INDEX_APPLY_CLEAN), STATUS_OK);
    struct index_state state = begin();
    index_end(reader);
    cr_assert(state.clean);
    cr_assert_eq(state.next_sequence, 500);
    add(7, 10, 2, 0, "");
    state = begin();
    index_end(reader);
    cr_assert_not(state.clean);
    cr_assert_eq(state.next_sequence, 500);
}

/* A log applied once, and the same log applied in pieces with stretches of it repeated from earlier
 * positions, as replays after crashes do, lead to the same index, and to counts that add up. */
Test(index, replays_from_any_earlier_place_lead_to_the_same)
{
    enum { EVENTS = 600, DROPS = 5, SEGMENTS = 4 };
    static struct delta_event events[EVENTS];
    static struct message_entry made[EVENTS];
    static bool alive[EVENTS + 1][DROPS];
    unsigned seed = (unsigned)time(NULL);
    fprintf(stderr, "seed %u\n", seed);
    srand(seed);
    memset(alive, 0, sizeof alive);
    for (unsigned i = 0; i < EVENTS; i++) {
        uint64_t sequence = i + 1, uid = 1 + (uint64_t)rand() % sequence;
        unsigned drop = (unsigned)rand() % DROPS;
        events[i] = (struct delta_event){.maildrop = drop + 1, .sequence = sequence, .uid = uid};
        if (rand() % 3 != 0) {
            made[i] = entry_of(sequence, 1 + (uint32_t)rand() % SEGMENTS, 0, "");
            events[i].kind = DELTA_MESSAGE_ADDED;
            events[i].uid = sequence;
            alive[sequence][drop] = true;
        } else if (rand() % 2 == 0) {
            made[i] = entry_of(uid, 1 + (uint32_t)rand() % SEGMENTS, 0, "");
            events[i].kind = DELTA_MESSAGE_MOVED;
        } else {
            events[i].kind = DELTA_MESSAGE_EXPUNGED;
            alive[uid][drop] = false;
        }
        events[i].entry = events[i].kind == DELTA_MESSAGE_EXPUNGED ? NULL : &made[i];
    }
    for (unsigned at = 0; at < EVENTS;) {
        const struct delta_event *order[EVENTS];
        unsigned from = at - (at > 0 ? (unsigned)rand() % at : 0);
        unsigned to = at + 1 + (unsigned)rand() % 50;
        size_t count = 0;
        to = to > EVENTS ? EVENTS : to;
        for (unsigned i = from; i < to; i++) {
            order[count++] = &events[i];
        }
        delta_sort(order, count);
        struct log_position position = {1, to, to};
        cr_assert_eq(index_apply(idx, order, count, &position, 0), STATUS_OK);
        at = to;
    }
    uint64_t expected = 0, counted = 0, referenced = 0;
    for (unsigned drop = 0; drop < DROPS; drop++) {
        for (unsigned uid = 1; uid <= EVENTS; uid++) {
            struct message_entry entry;
            (void)begin();
            enum status status = index_message(reader, drop + 1, uid, &entry);
            index_end(reader);
            cr_assert_eq(status == STATUS_OK, alive[uid][drop], "uid %u drop %u", uid, drop);
            expected += alive[uid][drop];
        }
        counted += count_messages(drop + 1);
    }
    for (uint32_t segment = 1; segment <= SEGMENTS; segment++) {
        referenced += segment_references(segment);
    }
    struct index_state state = begin();
    index_end(reader);
    cr_assert_eq(counted, expected);
    cr_assert_eq(referenced, expected);
    cr_assert_eq(state.messages, expected);
}
