/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery, mostly as after a crash: a copy is made of a running store, damaged, and opened. */
#include "tests/unit/crash_fixture.h"

#include "storage/index.h"
#include "storage/record.h"
#include "storage/recover.h"
#include "tests/unit/fake_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>

TestSuite(recover, .init = crash_start, .fini = crash_end);

/* --- nothing lost --- */

Test(recover, after_a_kill_everything_answered_is_there)
{
    uint64_t other = fixture_create(&fixture, "other@localhost"), uid;
    for (int i = 0; i < 20; i++) {
        fixture_deliver(&fixture, drop, "some text\r\n");
        if (i == 8) {
            fixture_checkpoint(&fixture);
        }
    }
    cr_assert_eq(fixture_import(&fixture, drop, "x", "imported", &uid), STATUS_OK);
    cr_assert_eq(fixture_expunge(&fixture, drop, 3), STATUS_OK);
    cr_assert_eq(fixture_expunge(&fixture, drop, 15), STATUS_OK);
    fixture_deliver(&fixture, other, "y");
    crash();
    open_copy();
    cr_assert_str_eq(listing(&copy, drop), listing(&fixture, drop));
    cr_assert_str_eq(listing(&copy, other), listing(&fixture, other));
    cr_assert_eq(quarantined(), 0);
    reopen_copy();
    cr_assert_str_eq(listing(&copy, drop), listing(&fixture, drop));
}

Test(recover, a_removed_maildrop_stays_removed)
{
    uint64_t uid;
    fixture_deliver(&fixture, drop, "a");
    cr_assert_eq(fixture_remove(&fixture, drop), STATUS_OK);
    crash();
    open_copy();
    struct view *view;
    cr_assert_eq(fixture_view(&copy, drop, STORE_LOCK_EXCLUSIVE, &view), STATUS_NOT_FOUND);
    cr_assert_eq(fixture_import(&copy, drop, "x", NULL, &uid), STATUS_NOT_FOUND);
    fixture_checkpoint(&copy);
    reopen_copy();
    cr_assert_eq(fixture_import(&copy, drop, "x", NULL, &uid), STATUS_NOT_FOUND);
}

Test(recover, a_position_at_the_start_of_an_applied_group_doubles_nothing)
{
    fixture_deliver(&fixture, drop, "a");
    struct log_position before = log_end(&fixture);
    fixture_deliver(&fixture, drop, "b");
    struct log_position after = log_end(&fixture);
    fixture_checkpoint(&fixture);
    /* As a checkpoint that ended inside the last group stores it. */
    struct log_position inside = {after.segment, before.offset, after.sequence};
    cr_assert_eq(index_apply(fixture_volume(&fixture)->index, NULL, 0, &inside, 0), STATUS_OK);
    fixture_deliver(&fixture, drop, "c");
    crash();
    open_copy();
    cr_assert_str_eq(listing(&copy, drop), listing(&fixture, drop));
}

/* --- damage in the middle --- */

Test(recover, damage_in_the_middle_costs_what_it_hits_and_is_counted)
{
    struct log_position ends[6];
    for (int i = 0; i < 6; i++) {
        fixture_deliver(&fixture, drop, "text of a message\r\n");
        ends[i] = log_end(&fixture);
    }
    uint64_t from = ends[1].offset, to = ends[2].offset, step = (to - from) / 16;
    for (uint64_t at = from; at < to; at += step) {
        crash();
        flip(ends[2].segment, at);
        open_copy();
        uint32_t count = fixture_count(&copy, drop);
        uint64_t place = at - from;
        if (place < RECORD_FRAME_SIZE) {
            cr_assert_eq(count, 6); /* only the frame is hit: the record is whole */
            cr_assert_eq(quarantined(), 1);
        } else if (to - at <= sizeof "text of a message\r\n.\r\n" - 1) {
            cr_assert_eq(count, 6); /* the body: this message is damaged, and says so */
            cr_assert_not_null(strstr(listing(&copy, drop), "corrupt"));
        } else {
            cr_assert_eq(count, 5, "octet %llu", (unsigned long long)place);
            cr_assert_eq(quarantined(), 1);
        }
        fixture_deliver(&copy, drop, "new");
        cr_assert_eq(fixture_count(&copy, drop), count + 1);
        remove_copy();
    }
}

Test(recover, a_wiped_stretch_is_gone_round)
{
    struct log_position ends[6];
    static uint8_t zeros[4096];
    char path[256], name[64];
    for (int i = 0; i < 6; i++) {
        fixture_deliver(&fixture, drop, "text of a message\r\n");
        ends[i] = log_end(&fixture);
    }
    crash();
    segment_name(name, ends[0].segment);
    copy_path(path, name);
    int fd = open(path, O_WRONLY);
    size_t length = ends[4].offset - ends[1].offset - 10;
    cr_assert_eq(pwrite(fd, zeros, length, (off_t)ends[1].offset + 5), (ssize_t)length);
    close(fd);
    open_copy();
    cr_assert_eq(fixture_count(&copy, drop), 3);
    cr_assert_eq(quarantined(), 1);
}

/* --- the index is disposable --- */

static void fill(void)
{
    uint64_t uid;
    for (int i = 0; i < 12; i++) {
        fixture_deliver(&fixture, drop, "text\r\n");
        if (i == 5) {
            cr_assert_eq(fixture_import(&fixture, drop, "imported", "unique~id", &uid), STATUS_OK);
            fixture_checkpoint(&fixture);
        }
    }
    cr_assert_eq(fixture_expunge(&fixture, drop, 2), STATUS_OK);
    cr_assert_eq(fixture_expunge(&fixture, drop, 9), STATUS_OK);
}

static void expect_same(void)
{
    cr_assert_str_eq(listing(&copy, drop), listing(&fixture, drop));
    cr_assert_eq(quarantined(), 0);
    uint64_t uid = fixture_deliver(&copy, drop, "new");
    cr_assert(uid > log_end(&fixture).sequence);
    reopen_copy();
    cr_assert_eq(fixture_count(&copy, drop), fixture_count(&fixture, drop) + 1);
}

Test(recover, a_missing_index_is_made_again)
{
    char command[128];
    fill();
    crash();
    snprintf(command, sizeof command, "rm -rf %s/volume/index", copy.path);
    cr_assert_eq(system(command), 0);
    open_copy();
    expect_same();
}

Test(recover, a_damaged_index_is_made_again)
{
    static char garbage[40960];
    char path[256];
    fill();
    crash();
    copy_path(path, "index/data.mdb");
    memset(garbage, 0x77, sizeof garbage);
    int fd = open(path, O_WRONLY | O_TRUNC);
    cr_assert_eq(write(fd, garbage, sizeof garbage), (ssize_t)sizeof garbage);
    close(fd);
    open_copy();
    expect_same();
}

Test(recover, an_index_cut_short_is_made_again)
{
    char path[256];
    fill();
    crash();
    copy_path(path, "index/data.mdb");
    cr_assert_eq(truncate(path, 12288), 0);
    open_copy();
    expect_same();
}

Test(recover, an_index_ahead_of_the_log_is_made_again)
{
    fill();
    fixture_checkpoint(&fixture);
    struct log_position end_of_log = log_end(&fixture);
    struct log_position ahead = {end_of_log.segment, end_of_log.offset + 100,
                                 end_of_log.sequence + 1};
    cr_assert_eq(index_apply(fixture_volume(&fixture)->index, NULL, 0, &ahead, 0), STATUS_OK);
    crash();
    open_copy();
    expect_same();
}

Test(recover, a_position_in_a_missing_segment_means_rebuild)
{
    fill();
    fixture_checkpoint(&fixture);
    struct log_position missing = {77, 100, log_end(&fixture).sequence};
    cr_assert_eq(index_apply(fixture_volume(&fixture)->index, NULL, 0, &missing, 0), STATUS_OK);
    crash();
    open_copy();
    cr_assert_str_eq(listing(&copy, drop), listing(&fixture, drop));
    cr_assert_eq(quarantined(), 1); /* the segment */
}

static void count_progress(void *owner, uint64_t done, uint64_t total)
{
    uint64_t *seen = owner;
    cr_assert(done >= seen[0] && done <= total);
    seen[0] = done;
    seen[1] = total;
}

Test(recover, a_rebuild_that_is_asked_for_gives_the_same_and_tells_how_far_it_is)
{
    uint64_t progress[2] = {0, 0};
    fill();
    crash();
    cr_assert_eq(store_rebuild(&copy.config, count_progress, progress, NULL, NULL), STATUS_OK);
    cr_assert(progress[1] > 0);
    cr_assert_eq(progress[0], progress[1]);
    open_copy();
    expect_same();
    cr_assert_eq(store_rebuild(&copy.config, NULL, NULL, NULL, NULL), STATUS_BUSY);
}

Test(recover, many_small_segments_recover_and_rebuild_alike)
{
    fixture_close(&fixture);
    fixture.config.segment_size = 8192;
    fixture_open(&fixture);
    char text[1025];
    memset(text, 'x', sizeof text - 1);
    text[1024] = '\0';
    for (int i = 0; i < 100; i++) {
        fixture_deliver(&fixture, drop, text);
        if (i % 3 == 1) {
            cr_assert_eq(fixture_expunge(&fixture, drop, (uint32_t)i / 3), STATUS_OK);
        }
        if (i == 50) {
            fixture_checkpoint(&fixture);
        }
    }
    cr_assert(log_end(&fixture).segment > 8);
    crash();
    open_copy();
    cr_assert_str_eq(listing(&copy, drop), listing(&fixture, drop));
    fixture_close(&copy);
    cr_assert_eq(store_rebuild(&copy.config, NULL, NULL, NULL, NULL), STATUS_OK);
    fixture_open(&copy);
    expect_same();
}

Test(recover, a_segment_that_is_lost_is_reported_and_the_rest_served)
{
    char path[256], name[64], command[128];
    fixture_close(&fixture);
    fixture.config.segment_size = 4096;
    fixture_open(&fixture);
    char text[1025];
    memset(text, 'x', sizeof text - 1);
    text[1024] = '\0';
    for (int i = 0; i < 20; i++) {
        fixture_deliver(&fixture, drop, text);
    }
    crash();
    segment_name(name, 3);
    copy_path(path, name);
    cr_assert_eq(unlink(path), 0);
    snprintf(command, sizeof command, "rm -rf %s/volume/index", copy.path);
    cr_assert_eq(system(command), 0);
    open_copy();
    cr_assert(quarantined() >= 1);
    uint32_t count = fixture_count(&copy, drop);
    cr_assert(count > 10 && count < 20);
}

/* The next manifest is written by what this start has found: segments that it does not list are no
 * part of the log any more. */
Test(recover, a_damaged_newest_manifest_forgets_no_older_segment)
{
    char text[1025];
    fixture_close(&fixture);
    fixture.config.segment_size = 4096;
    fixture_open(&fixture);
    memset(text, 'x', sizeof text - 1);
    text[1024] = '\0';
    for (int i = 0; i < 14; i++) {
        fixture_deliver(&fixture, drop, text);
    }
    fixture_checkpoint(&fixture);
    fixture_deliver(&fixture, drop, "behind the index's position");
    crash();
    flip(log_end(&fixture).segment, 20);
    open_copy();
    cr_assert_eq(quarantined(), 1, "the damage is told");
    cr_assert_str_eq(listing(&copy, drop), listing(&fixture, drop));
    fixture_deliver(&copy, drop, "in a new segment");
    char *expected = strdup(listing(&copy, drop));
    fixture_close(&copy);
    cr_assert_eq(store_rebuild(&copy.config, NULL, NULL, NULL, NULL), STATUS_OK);
    fixture_open(&copy);
    cr_assert_str_eq(listing(&copy, drop), expected);
    free(expected);
}

/* --- compaction's records --- */

struct raw_item {
    struct writer_item item;
    bool done;
};

static void on_raw(struct writer_item *item)
{
    ((struct raw_item *)(void *)item)->done = true;
}

static void write_raw(uint8_t kind, const uint8_t *meta, size_t meta_length, const char *body)
{
    struct iovec iov = {(void *)(uintptr_t)body, body != NULL ? strlen(body) : 0};
    struct raw_item raw = {.item = {.kind = kind,
                                    .meta = meta,
                                    .meta_length = (uint32_t)meta_length,
                                    .body = &iov,
                                    .body_count = body != NULL,
                                    .body_length = iov.iov_len,
                                    .body_checksum = checksum_body(iov.iov_base, iov.iov_len),
                                    .reply_box = &fixture.box,
                                    .on_done = on_raw}};
    writer_submit(fixture_volume(&fixture)->writer, &raw.item);
    fixture_wait(&fixture, &raw.done);
    cr_assert_eq(raw.item.status, STATUS_OK);
}

static void move_message(uint64_t uid, const char *wire)
{
    uint8_t meta[256];
    struct record_recipient recipient = {.maildrop = drop};
    struct record_delivered delivered = {.uid = uid,
                                         .received_ms = 1,
                                         .octets = strlen(wire) - 3,
                                         .wire_length = strlen(wire),
                                         .header_length = 0,
                                         .recipient_count = 1};
    size_t length = record_encode_delivered(&delivered, &recipient, meta);
    write_raw(RECORD_MOVED, meta, length, wire);
}

static void retire(uint32_t segment)
{
    uint8_t meta[16];
    write_raw(RECORD_RETIRED, meta, record_encode_retired(segment, meta), NULL);
}

Test(recover, moved_messages_and_retired_segments_replay_and_rebuild)
{
    char path[256], name[64];
    fixture_close(&fixture);
    fixture.config.segment_size = 2048;
    fixture_open(&fixture);
    uint64_t moved[64], gone = fixture_deliver(&fixture, drop, "two\r\n");
    uint32_t old = log_end(&fixture).segment, count = 0;
    while (log_end(&fixture).segment == old) {
        moved[count++] = fixture_deliver(&fixture, drop, "filler that makes segments\r\n");
    }
    count--; /* the last one stands in the next segment */
    fixture_checkpoint(&fixture);
    cr_assert_eq(fixture_expunge(&fixture, drop, 0), STATUS_OK);
    for (uint32_t i = 0; i < count; i++) {
        move_message(moved[i], "filler that makes segments\r\n.\r\n");
    }
    move_message(gone, "two\r\n.\r\n"); /* copied while it was being expunged */
    retire(old);
    char *expected = listing(&fixture, drop);
    cr_assert_eq(fixture_count(&fixture, drop), count + 1);
    crash();
    open_copy(); /* replay */
    cr_assert_str_eq(listing(&copy, drop), expected);
    fixture_close(&copy);
    segment_name(name, old);
    copy_path(path, name);
    cr_assert_eq(unlink(path), 0); /* as compaction does when two checkpoints cover it */
    fixture_open(&copy);
    cr_assert_str_eq(listing(&copy, drop), expected);
    cr_assert_eq(quarantined(), 0); /* it is not missed */
    fixture_close(&copy);
    cr_assert_eq(store_rebuild(&copy.config, NULL, NULL, NULL, NULL), STATUS_OK);
    fixture_open(&copy);
    cr_assert_str_eq(listing(&copy, drop), expected);
    cr_assert_eq(quarantined(), 0);
}

Test(recover, a_rebuild_does_not_read_retired_segments)
{
    /* The expunge of what stands in one may have been dropped. */
    fixture_close(&fixture);
    fixture.config.segment_size = 2048;
    fixture_open(&fixture);
    uint32_t old = log_end(&fixture).segment;
    uint64_t other = fixture_create(&fixture, "v@localhost");
    for (int i = 0; log_end(&fixture).segment < old + 2; i++) {
        fixture_deliver(&fixture, other, "filler that makes segments\r\n");
    }
    uint32_t count = fixture_count(&fixture, other);
    retire(old + 1);
    crash();
    cr_assert_eq(store_rebuild(&copy.config, NULL, NULL, NULL, NULL), STATUS_OK);
    open_copy();
    cr_assert(fixture_count(&copy, other) < count);
    cr_assert_eq(quarantined(), 0);
}

/* --- sequences --- */

Test(recover, no_sequence_is_given_out_twice_whatever_was_lost)
{
    uint64_t last = fixture_deliver(&fixture, drop, "a");
    uint64_t end_of_log = log_end(&fixture).offset;
    crash();
    for (int i = 0; i < 4; i++) {
        if (i == 0) {
            open_copy();
        } else {
            fixture_open(&copy);
        }
        uint64_t uid = fixture_deliver(&copy, drop, "b");
        cr_assert(uid > last);
        last = uid;
        struct log_position position = log_end(&copy);
        fixture_close(&copy);
        /* The disk forgets what was written; the numbers stay spent all the same. */
        truncate_file(position.segment, i == 0 ? end_of_log : position.offset - 1);
    }
    fixture_open(&copy);
}

/* --- blobs --- */

static void make_blob_file(const char *name)
{
    char path[256];
    copy_path(path, "blobs/34");
    (void)mkdir(path, 0700);
    copy_path(path, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert(fd >= 0);
    close(fd);
}

static bool exists(const char *name)
{
    char path[256];
    copy_path(path, name);
    return access(path, F_OK) == 0;
}

static uint64_t deliver_blob(void)
{
    static char text[3000];
    uint64_t uid;
    memset(text, 'b', sizeof text);
    cr_assert_eq(fixture_deliver_all(&fixture, &drop, 1, text, sizeof text, NULL, &uid), STATUS_OK);
    return uid;
}

Test(recover, an_orphaned_blob_is_removed_and_a_named_one_kept)
{
    fixture_close(&fixture);
    fixture.config.blob_min = 1000;
    fixture_open(&fixture);
    deliver_blob();
    crash();
    make_blob_file("blobs/34/0000000000001234.blob");
    make_blob_file("blobs/34/not-ours");
    open_copy();
    cr_assert_not(exists("blobs/34/0000000000001234.blob"));
    cr_assert(exists("blobs/34/not-ours"));
    cr_assert_str_eq(listing(&copy, drop), listing(&fixture, drop));
    cr_assert_not_null(strstr(listing(&copy, drop), " ok"));
}

Test(recover, with_damage_in_the_log_an_orphan_is_only_moved)
{
    struct log_position ends[2];
    fixture_deliver(&fixture, drop, "a");
    ends[0] = log_end(&fixture);
    fixture_deliver(&fixture, drop, "b");
    ends[1] = log_end(&fixture);
    fixture_deliver(&fixture, drop, "c");
    crash();
    make_blob_file("blobs/34/0000000000001234.blob");
    flip(ends[1].segment, ends[0].offset + RECORD_FRAME_SIZE + 3);
    open_copy();
    cr_assert_eq(quarantined(), 1);
    cr_assert_not(exists("blobs/34/0000000000001234.blob"));
    cr_assert(exists("lost+found/0000000000001234.blob"));
}

/* --- the tail is settled first --- */

/* With the nth step of a kind failing; nth 0: none. */
static enum status recover_with(struct fake_disk *disk, enum fake_disk_kind kind, uint32_t nth,
                                struct recovery *out_recovery)
{
    char path[128];
    struct volume *volume = NULL;
    struct recover_options options = {0};
    snprintf(path, sizeof path, "%s/volume", copy.path);
    struct volume_config config = {.path = path, .disk = &disk->disk, .map_size = 1 << 30};
    cr_assert_eq(volume_open(&config, &volume, NULL), STATUS_OK);
    if (nth > 0) {
        fake_disk_fail(disk, kind, nth, EIO, false);
    }
    enum status status = recover_run(volume, &options, out_recovery, NULL);
    volume_close(&volume);
    return status;
}

static void remove_closed_copy(void)
{
    post_box_deinit(&copy.box);
    (void)nftw(copy.path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

Test(recover, syncs_the_tail_before_it_reads_it)
{
    struct fake_disk disk;
    struct recovery recovery;
    bool synced = false;
    fixture_deliver(&fixture, drop, "a");
    crash();
    fake_disk_init(&disk);
    cr_assert_eq(recover_with(&disk, FAKE_DISK_READ, 0, &recovery), STATUS_OK);
    for (size_t i = 0; i < disk.step_count; i++) {
        const struct fake_disk_step *step = &disk.steps[i];
        if (strstr(step->path, ".seg") == NULL) {
            continue;
        }
        synced = synced || step->kind == FAKE_DISK_SYNC_DATA;
        cr_assert(step->kind != FAKE_DISK_READ || synced);
        cr_assert_neq(step->kind, FAKE_DISK_WRITE);
    }
    cr_assert(synced);
    cr_assert_eq(recovery.groups, 2);
    recover_free(&recovery);
    fake_disk_deinit(&disk);
    remove_closed_copy();
}

Test(recover, shows_nothing_when_the_tail_cannot_be_synced)
{
    struct fake_disk disk;
    struct recovery recovery;
    fixture_deliver(&fixture, drop, "a");
    crash();
    fake_disk_init(&disk);
    cr_assert_eq(recover_with(&disk, FAKE_DISK_SYNC_DATA, 1, &recovery), STATUS_IO);
    cr_assert_eq(recovery.groups, 0);
    recover_free(&recovery);
    fake_disk_deinit(&disk);
    open_copy(); /* another start may have more luck */
    cr_assert_eq(fixture_count(&copy, drop), 1);
}

Test(recover, fails_whole_whichever_read_fails)
{
    fixture_deliver(&fixture, drop, "a");
    fixture_deliver(&fixture, drop, "b");
    crash();
    bool struck = true;
    for (uint32_t nth = 1; struck; nth++) {
        struct fake_disk disk;
        struct recovery recovery;
        fake_disk_init(&disk);
        enum status status = recover_with(&disk, FAKE_DISK_READ, nth, &recovery);
        struck = false;
        for (size_t i = 0; i < disk.step_count; i++) {
            struck =
                struck || (disk.steps[i].kind == FAKE_DISK_READ && disk.steps[i].errno_value != 0);
        }
        cr_assert_eq(status, struck ? STATUS_IO : STATUS_OK);
        recover_free(&recovery);
        fake_disk_deinit(&disk);
    }
    open_copy();
    cr_assert_str_eq(listing(&copy, drop), listing(&fixture, drop));
}
