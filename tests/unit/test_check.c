/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include "storage/check.h"
#include "storage/compact.h"
#include "storage/disk.h"
#include "storage/index.h"
#include "storage/segment.h"

#include <criterion/criterion.h>
#include <fcntl.h>

#define MESSAGES 40

static struct fixture fixture;
static uint64_t drop, other;
static uint64_t uids[MESSAGES], blob_uid;

/* What a check found, by kind; and the last finding of each. */
static unsigned found[DAMAGE_KINDS];
static struct damage last[DAMAGE_KINDS];
static struct check_result result;

static void on_damage(void *owner, const struct damage *damage)
{
    found[damage->kind]++;
    last[damage->kind] = *damage;
}

static void start(void)
{
    fixture_start(&fixture);
    fixture_close(&fixture);
    fixture.config.segment_size = 8192;
    fixture.config.blob_min = 65536;
    fixture_open(&fixture);
    drop = fixture_create(&fixture, "anna@localhost");
    other = fixture_create(&fixture, "otto@localhost");
    uint64_t both[] = {drop, other};
    for (int i = 0; i < MESSAGES; i++) {
        char text[2000];
        memset(text, 'a' + i % 26, sizeof text);
        cr_assert_eq(fixture_deliver_all(&fixture, both, i % 4 == 0 ? 2 : 1, text,
                                         200 + (size_t)i * 40, NULL, &uids[i]),
                     STATUS_OK);
    }
    for (uint32_t i = 0; i < 5; i++) {
        cr_assert_eq(fixture_expunge(&fixture, drop, i), STATUS_OK);
    }
    static char large[200000];
    memset(large, 'L', sizeof large);
    cr_assert_eq(fixture_deliver_all(&fixture, &other, 1, large, sizeof large, NULL, &blob_uid),
                 STATUS_OK);
    uint64_t ignored;
    cr_assert_eq(fixture_import(&fixture, other, "imported", "some-id", &ignored), STATUS_OK);
    uint64_t third = fixture_create(&fixture, "gone@localhost");
    fixture_deliver(&fixture, third, "a message that goes with its maildrop");
    cr_assert_eq(fixture_remove(&fixture, third), STATUS_OK);
}

static void end(void)
{
    if (fixture.store == NULL) {
        fixture_open(&fixture);
    }
    fixture_end(&fixture);
}

TestSuite(check, .init = start, .fini = end);

static enum status check(void)
{
    struct check_options options = {.on_damage = on_damage};
    struct error error = {0};
    memset(found, 0, sizeof found);
    enum status status = store_check_closed(&fixture.config, &options, &result, &error);
    if (status != STATUS_OK) {
        fprintf(stderr, "check: %s %s\n", error.path, error.text);
    }
    return status;
}

/* The row of a message, before the store is closed. */
static struct message_entry entry_of(uint64_t maildrop, uint64_t uid)
{
    struct index_reader *reader = NULL;
    struct index_state state;
    struct message_entry entry;
    fixture_checkpoint(&fixture);
    cr_assert_eq(index_reader_create(fixture_volume(&fixture)->index, &reader), STATUS_OK);
    cr_assert_eq(index_begin(reader, &state), STATUS_OK);
    cr_assert_eq(index_message(reader, maildrop, uid, &entry), STATUS_OK);
    index_end(reader);
    index_reader_destroy(&reader);
    return entry;
}

static void flip(const char *path, uint64_t offset)
{
    uint8_t octet;
    int fd = open(path, O_RDWR);
    cr_assert(fd >= 0 && pread(fd, &octet, 1, (off_t)offset) == 1);
    octet ^= 0x10;
    cr_assert_eq(pwrite(fd, &octet, 1, (off_t)offset), 1);
    close(fd);
}

static void segment_name(uint32_t segment, char out[SEGMENT_PATH_MAX])
{
    char folder[128];
    (void)snprintf(folder, sizeof folder, "%s/volume/segments", fixture.path);
    segment_path(folder, segment, out);
}

/* What a maildrop shows: sizes and unique-ids in order. */
static void listing(uint64_t maildrop, char *out, size_t size)
{
    struct view *view = NULL;
    size_t used = 0;
    cr_assert_eq(fixture_view(&fixture, maildrop, STORE_LOCK_NONE, &view), STATUS_OK);
    for (uint32_t i = 0; i < store_view_count(view); i++) {
        char uidl[STORAGE_UIDL_LENGTH_MAX];
        size_t length = store_view_uidl(view, i, uidl);
        used += (size_t)snprintf(out + used, size - used, "%lu %.*s\n",
                                 (unsigned long)store_view_size(view, i), (int)length, uidl);
    }
    store_view_close(&view);
}

/* How many messages of a maildrop cannot be fetched. */
static unsigned refused(uint64_t maildrop)
{
    struct view *view = fixture_view_ok(&fixture, maildrop);
    unsigned count = 0;
    for (uint32_t i = 0; i < store_view_count(view); i++) {
        struct store_message message;
        store_view_message(view, i, &message);
        struct store_fetch fetch = {
            .client = &fixture.client, .view = view, .index = i, .length = message.wire_length};
        enum status status = store_fetch(&fetch);
        cr_assert(status == STATUS_OK || status == STATUS_CORRUPT);
        count += status == STATUS_CORRUPT;
        if (status == STATUS_OK && fetch.range.kind == STORE_RANGE_MEMORY) {
            fetch.range.hold.release(fetch.range.hold.owner);
        } else if (status == STATUS_OK && fetch.range.kind == STORE_RANGE_EXTENT) {
            fetch.range.extent.hold.release(fetch.range.extent.hold.owner);
        }
    }
    store_view_close(&view);
    return count;
}

Test(check, a_sound_store_has_no_damage)
{
    fixture_close(&fixture);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(result.damages, 0);
    cr_assert_eq(result.bodies, MESSAGES + 2); /* one with its maildrop, one imported */
    cr_assert_eq(result.blobs, 1);
    cr_assert_eq(result.messages, MESSAGES + MESSAGES / 4 - 5 + 2);
    cr_assert_eq(result.maildrops, 2);
    cr_assert_gt(result.segments, 3);
    char path[256];
    (void)snprintf(path, sizeof path, "%s/volume/index.check", fixture.path);
    cr_assert_neq(access(path, F_OK), 0, "its own index is gone again");
}

Test(check, a_store_that_was_killed_is_not_damaged)
{
    char command[256];
    fixture_checkpoint(&fixture);
    fixture_deliver(&fixture, drop, "not in the index yet");
    (void)snprintf(command, sizeof command, "cp -r %s %s.copy", fixture.path, fixture.path);
    cr_assert_eq(system(command), 0);
    fixture_close(&fixture);
    struct store_config config = fixture.config;
    char path[80];
    (void)snprintf(path, sizeof path, "%s.copy", fixture.path);
    config.path = path;
    struct check_options options = {.on_damage = on_damage};
    cr_assert_eq(store_check_closed(&config, &options, &result, NULL), STATUS_OK);
    cr_assert_eq(result.damages, 0);
    (void)nftw(path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

Test(check, a_store_that_is_open_is_left_alone)
{
    cr_assert_eq(check(), STATUS_BUSY);
}

Test(check, a_directory_without_a_store_is_not_made_one)
{
    char path[128];
    struct store_config config = {.path = path};
    struct check_options options = {0};
    (void)snprintf(path, sizeof path, "%s/nothing", fixture.path);
    cr_assert_eq(store_check_closed(&config, &options, &result, NULL), STATUS_NOT_FOUND);
    cr_assert_neq(access(path, F_OK), 0);
}

Test(check, a_damaged_body_is_found_with_everybody_it_concerns)
{
    char path[SEGMENT_PATH_MAX];
    struct message_entry entry = entry_of(other, uids[12]);
    fixture_close(&fixture);
    segment_name(entry.segment, path);
    flip(path, entry.offset + 20);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_BODY], 1);
    cr_assert_eq(last[DAMAGE_BODY].segment, entry.segment);
    cr_assert_eq(found[DAMAGE_MESSAGE], 2, "it was delivered to two");
    cr_assert_eq(last[DAMAGE_MESSAGE].uid, uids[12]);
    cr_assert_str_eq(last[DAMAGE_MESSAGE].name, "otto@localhost");
    cr_assert_eq(result.damages, 3);
    fixture_open(&fixture);
    cr_assert_eq(refused(drop), 1);
    cr_assert_eq(refused(other), 1);
}

Test(check, a_damaged_record_is_found_and_a_rebuild_keeps_its_message)
{
    char path[SEGMENT_PATH_MAX], before[4096], after[4096];
    struct message_entry entry = entry_of(drop, uids[17]);
    listing(drop, before, sizeof before);
    fixture_close(&fixture);
    segment_name(entry.segment, path);
    flip(path, entry.offset - 10); /* in its meta */
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_LOG], 1);
    cr_assert_eq(found[DAMAGE_RECORD], 1);
    cr_assert_eq(last[DAMAGE_RECORD].uid, uids[17]);
    cr_assert_eq(result.damages, 2, "what follows from it is not told");
    struct store_rebuilt rebuilt = {0};
    cr_assert_eq(store_rebuild(&fixture.config, NULL, NULL, &rebuilt, NULL), STATUS_OK);
    cr_assert_eq(rebuilt.kept, 1);
    cr_assert_eq(rebuilt.damaged_places, 1);
    fixture_open(&fixture);
    listing(drop, after, sizeof after);
    cr_assert_str_eq(after, before);
    cr_assert_eq(refused(drop), 0);
}

Test(check, a_damaged_expunge_brings_nothing_back_while_the_index_is_whole)
{
    char path[SEGMENT_PATH_MAX], before[4096], after[4096];
    struct log_position at = writer_position(fixture_volume(&fixture)->writer);
    cr_assert_eq(fixture_expunge(&fixture, drop, 3), STATUS_OK);
    fixture_deliver(&fixture, drop, "behind it");
    listing(drop, before, sizeof before);
    fixture_checkpoint(&fixture);
    fixture_close(&fixture);
    segment_name(at.segment, path);
    flip(path, at.offset + 56 + 72 + 4); /* in the meta of the expunge */
    struct store_rebuilt rebuilt = {0};
    cr_assert_eq(store_rebuild(&fixture.config, NULL, NULL, &rebuilt, NULL), STATUS_OK);
    cr_assert_eq(rebuilt.damaged_places, 1);
    fixture_open(&fixture);
    listing(drop, after, sizeof after);
    cr_assert_str_eq(after, before);
}

Test(check, the_last_group_of_the_log_is_not_taken_for_torn)
{
    char path[SEGMENT_PATH_MAX], before[4096], after[4096];
    uint64_t uid = fixture_deliver(&fixture, drop, "the last one");
    struct message_entry entry = entry_of(drop, uid);
    listing(drop, before, sizeof before);
    fixture_close(&fixture);
    segment_name(entry.segment, path);
    flip(path, entry.offset - 30);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_LOG], 1);
    cr_assert_eq(found[DAMAGE_RECORD], 1);
    cr_assert_eq(store_rebuild(&fixture.config, NULL, NULL, NULL, NULL), STATUS_OK);
    fixture_open(&fixture);
    listing(drop, after, sizeof after);
    cr_assert_str_eq(after, before);
    cr_assert_eq(refused(drop), 0);
}

Test(check, a_missing_segment_is_found)
{
    char path[SEGMENT_PATH_MAX], before[4096], after[4096];
    struct message_entry entry = entry_of(drop, uids[9]);
    listing(drop, before, sizeof before);
    fixture_close(&fixture);
    segment_name(entry.segment, path);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_SEGMENT_MISSING], 1);
    cr_assert_eq(last[DAMAGE_SEGMENT_MISSING].segment, entry.segment);
    cr_assert_gt(found[DAMAGE_MESSAGE], 0);
    cr_assert_eq(store_rebuild(&fixture.config, NULL, NULL, NULL, NULL), STATUS_OK);
    fixture_open(&fixture);
    listing(drop, after, sizeof after);
    cr_assert_str_eq(after, before, "what was there stays in the list");
    cr_assert_gt(refused(drop), 0);
}

Test(check, damaged_and_missing_blobs_are_found)
{
    char path[SEGMENT_PATH_MAX], folder[128];
    struct message_entry entry = entry_of(other, blob_uid);
    fixture_close(&fixture);
    (void)snprintf(folder, sizeof folder, "%s/volume/blobs", fixture.path);
    segment_blob_path(folder, entry.blob, path);
    flip(path, 100000);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_BLOB], 1);
    cr_assert_eq(found[DAMAGE_MESSAGE], 1);
    cr_assert_eq(last[DAMAGE_MESSAGE].uid, blob_uid);
    flip(path, 100000);
    flip(path, entry.wire_length + 10); /* the footer */
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_BLOB], 1);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_BLOB_MISSING], 1);
    fixture_open(&fixture);
    cr_assert_eq(refused(other), 1);
}

/* Something that only the index is told. */
static void tell_index(struct delta_event event)
{
    const struct delta_event *order[] = {&event};
    struct index *index = fixture_volume(&fixture)->index;
    fixture_checkpoint(&fixture);
    struct log_position position = writer_position(fixture_volume(&fixture)->writer);
    cr_assert_eq(index_apply(index, order, 1, &position, 0), STATUS_OK);
}

Test(check, a_message_that_the_index_has_lost_is_found)
{
    tell_index((struct delta_event){
        .maildrop = drop, .kind = DELTA_MESSAGE_EXPUNGED, .uid = uids[20], .sequence = 1});
    fixture_close(&fixture);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_INDEX_BEHIND], 1);
    cr_assert_eq(last[DAMAGE_INDEX_BEHIND].uid, uids[20]);
    cr_assert_eq(found[DAMAGE_COUNTER], 3, "the maildrop's, the segment's and the total");
    cr_assert_eq(store_rebuild(&fixture.config, NULL, NULL, NULL, NULL), STATUS_OK);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(result.damages, 0, "a rebuild has cured it");
}

Test(check, a_message_that_the_log_never_had_is_found)
{
    struct message_entry made_up = {.uid = uids[30], .segment = 1, .offset = 500, .wire_length = 9};
    tell_index((struct delta_event){.maildrop = other,
                                    .kind = DELTA_MESSAGE_ADDED,
                                    .uid = uids[30] == 0 ? 1 : uids[30],
                                    .entry = &made_up,
                                    .sequence = 1});
    fixture_close(&fixture);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_INDEX_AHEAD], 1);
    cr_assert_eq(last[DAMAGE_INDEX_AHEAD].maildrop, other);
}

Test(check, a_row_that_differs_is_found)
{
    struct message_entry entry = entry_of(drop, uids[22]);
    entry.checksum ^= 1;
    tell_index((struct delta_event){.maildrop = drop,
                                    .kind = DELTA_MESSAGE_MOVED,
                                    .uid = uids[22],
                                    .entry = &entry,
                                    .sequence = 1});
    char name[] = "somebody@else";
    tell_index((struct delta_event){
        .maildrop = other, .kind = DELTA_DROP_CHANGED, .name = name, .sequence = 1});
    fixture_close(&fixture);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_INDEX_ROW], 2);
    cr_assert_eq(result.damages, 2);
}

Test(check, a_damaged_index_is_found_and_what_follows_from_it_is_not_told)
{
    char path[256];
    fixture_close(&fixture);
    (void)snprintf(path, sizeof path, "%s/volume/index/data.mdb", fixture.path);
    flip(path, 0x18 + 4096); /* what describes the file */
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_INDEX_FILE], 1);
    cr_assert_eq(result.damages, 1);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(check(), STATUS_OK);
    cr_assert_eq(found[DAMAGE_INDEX_FILE], 1);
}

Test(check, a_damaged_volume_file_is_told_with_its_cure)
{
    char path[256];
    struct check_options options = {0};
    struct error error = {0};
    fixture_close(&fixture);
    (void)snprintf(path, sizeof path, "%s/volume/VOLUME", fixture.path);
    flip(path, 50);
    cr_assert_eq(store_check_closed(&fixture.config, &options, &result, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "restore"));
    flip(path, 50);
}

static bool refuse(void *owner, const struct check_progress *progress)
{
    return false;
}

Test(check, stops_when_it_is_told_to_and_keeps_to_its_rate)
{
    struct check_options options = {.on_progress = refuse};
    fixture_close(&fixture);
    cr_assert_eq(store_check_closed(&fixture.config, &options, &result, NULL), STATUS_CANCELLED);
    struct timespec before, after;
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    options = (struct check_options){.rate = 1000000};
    cr_assert_eq(store_check_closed(&fixture.config, &options, &result, NULL), STATUS_OK);
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    double took =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    cr_assert_geq(took, (double)result.octets / 1e6 * 0.8);
}

/* --- while it runs --- */

static struct check_run_state await_check(void)
{
    struct check_run_state state;
    do {
        store_check_state(fixture.store, &state);
        usleep(1000);
    } while (state.running);
    return state;
}

Test(check, a_store_that_works_meanwhile_has_no_damage)
{
    unsigned rounds = 0, delivered = 0;
    for (int i = 0; i < 8; i++) {
        struct check_run_state state;
        cr_assert_eq(store_check_start(fixture.store, 0), STATUS_OK);
        do {
            fixture_deliver(&fixture, delivered % 2 == 0 ? drop : other, "more and more of it");
            if (delivered++ % 3 == 0) {
                cr_assert_eq(fixture_expunge(&fixture, drop, delivered % 7), STATUS_OK);
            }
            if (delivered % 11 == 0) {
                fixture_checkpoint(&fixture);
            }
            store_check_state(fixture.store, &state);
        } while (state.running);
        cr_assert_eq(state.status, STATUS_OK, "%s", state.error.text);
        struct damage damage = {0};
        (void)store_check_findings(fixture.store, 0, &damage, 1);
        cr_assert_eq(state.result.damages, 0, "%s %s", damage_name(damage.kind), damage.detail);
        rounds++;
    }
    cr_assert_gt(delivered, rounds);
}

/* A disk on which the store works while the check reads: the first read of the check's thread finds
 * as much again written as there was; and what is read while compaction is held is counted. */
static struct disk_ops busy_ops;
static pthread_t checking;
static unsigned to_deliver;
static uint64_t held_octets, other_octets;

static ssize_t read_busily(struct disk *disk, int fd, void *data, size_t length, off_t offset)
{
    static char text[60000];
    ssize_t got = pread(fd, data, length, offset);
    if (!pthread_equal(pthread_self(), checking)) {
        return got;
    }
    for (unsigned count = to_deliver; count > 0; count--) {
        to_deliver = 0; /* a delivery may read, too */
        memset(text, 'b', sizeof text - 1);
        fixture_deliver(&fixture, drop, text);
    }
    bool held = compact_is_still(fixture_volume(&fixture)->compact);
    *(held ? &held_octets : &other_octets) += (uint64_t)got;
    return got;
}

Test(check, what_comes_meanwhile_is_read_before_compaction_is_held)
{
    struct check_options options = {.on_damage = on_damage};
    busy_ops = *disk_real()->ops;
    busy_ops.pread = read_busily;
    fixture_close(&fixture);
    disk_real()->ops = &busy_ops;
    fixture_open(&fixture);
    checking = pthread_self();
    to_deliver = 60;
    cr_assert_eq(check_running(fixture_volume(&fixture), &options, &result, NULL), STATUS_OK);
    cr_assert_eq(result.damages, 0);
    cr_assert_gt(result.octets, 60 * 59999, "all of it was read");
    cr_assert_gt(other_octets, 60 * 59999);
    cr_assert_lt(held_octets, 1 << 20);
}

Test(check, a_running_store_tells_what_it_finds_and_refuses_it_from_then_on)
{
    char path[SEGMENT_PATH_MAX], folder[128];
    struct message_entry entry = entry_of(other, blob_uid);
    (void)snprintf(folder, sizeof folder, "%s/volume/blobs", fixture.path);
    segment_blob_path(folder, entry.blob, path);
    cr_assert_eq(refused(other), 0);
    flip(path, 100000);
    cr_assert_eq(refused(other), 0, "large ones are not verified when they are sent");
    cr_assert_eq(store_check_start(fixture.store, 0), STATUS_OK);
    struct check_run_state state = await_check();
    cr_assert_eq(state.status, STATUS_OK);
    cr_assert_eq(state.findings, 2);
    struct damage damages[3];
    cr_assert_eq(store_check_findings(fixture.store, 0, damages, 3), 2);
    cr_assert_eq(damages[0].kind, DAMAGE_BLOB);
    cr_assert_eq(damages[1].kind, DAMAGE_MESSAGE);
    cr_assert_eq(refused(other), 1);
    struct store_damaged list[2];
    cr_assert_eq(store_damaged(fixture.store, 0, list, 2), 1);
    cr_assert_str_eq(list[0].name, "otto@localhost");
    cr_assert_eq(list[0].blob, entry.blob);
    /* It is remembered, healed or not, until somebody has looked. */
    fixture_close(&fixture);
    fixture_open(&fixture);
    cr_assert_eq(refused(other), 1);
}

Test(check, a_check_can_be_cancelled_and_only_one_runs)
{
    cr_assert_eq(store_check_start(fixture.store, 1000), STATUS_OK);
    cr_assert_eq(store_check_start(fixture.store, 0), STATUS_BUSY);
    store_check_cancel(fixture.store);
    cr_assert_eq(await_check().status, STATUS_CANCELLED);
    cr_assert_eq(store_check_start(fixture.store, 1000), STATUS_OK, "and closing ends it, too");
}
