/* SPDX-License-Identifier: Apache-2.0 */
/* The blob thread by itself; what bodies make of it is in test_body.c. */
#include "storage/blob.h"

#include "storage/segment.h"
#include "storage/volume.h"
#include "tests/unit/fake_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct fake_disk fake;
static struct volume volume;
static struct post_box box;
static struct blob_thread *thread;
static struct blob *blob;
static char *directory;
static unsigned written, closed;
static enum status closed_status;

static void on_written(struct blob_piece *piece)
{
    (void)piece;
    written++;
}

static void on_closed(struct blob *which, enum status status)
{
    cr_assert_eq(which, blob);
    closed++;
    closed_status = status;
}

static void set_up(void)
{
    directory = fake_disk_temp_dir();
    fake_disk_init(&fake);
    volume.disk = &fake.disk;
    volume.config.space_reserve = 1;
    (void)snprintf(volume.path, sizeof volume.path, "%s", directory);
    (void)snprintf(volume.blobs_path, sizeof volume.blobs_path, "%s", directory);
    atomic_init(&volume.next_blob, 0x200);
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    cr_assert_eq(blob_thread_start(&volume, &thread, NULL), STATUS_OK);
    blob = aligned_alloc(64, (sizeof *blob + 63) / 64 * 64);
    blob->on_written = on_written;
    blob->on_closed = on_closed;
    blob_init(blob, thread, &box);
}

static void tear_down(void)
{
    blob_thread_stop(&thread);
    free(blob);
    post_box_deinit(&box);
    fake_disk_deinit(&fake);
    fake_disk_remove_dir(directory);
}

TestSuite(blob, .init = set_up, .fini = tear_down);

static void await(const unsigned *count, unsigned wanted)
{
    while (*count < wanted) {
        cr_assert(post_wait(&box, 20000), "no answer came");
        (void)post_run(&box);
    }
}

static struct blob_piece piece_of(const char *text)
{
    return (struct blob_piece){.data = (const uint8_t *)text, .length = strlen(text)};
}

Test(blob, pieces_are_written_in_order_and_answered_each)
{
    struct blob_piece pieces[] = {piece_of("one "), piece_of("two "), piece_of("three")};
    char path[SEGMENT_PATH_MAX], content[256] = {0};
    for (int i = 0; i < 3; i++) {
        blob_write(blob, &pieces[i]);
    }
    blob_finish(blob);
    await(&closed, 1);
    cr_assert_eq(written, 3u);
    cr_assert_eq(closed_status, STATUS_OK);
    cr_assert_eq(blob->footer.blob, 0x200u);
    cr_assert_eq(blob->footer.wire_length, 13u);
    cr_assert_eq(blob->footer.body_checksum, checksum_body("one two three", 13));
    segment_blob_path(directory, 0x200, path);
    FILE *file = fopen(path, "re");
    cr_assert_eq(fread(content, 1, sizeof content, file), 13u + RECORD_BLOB_FOOTER_SIZE);
    cr_assert(memcmp(content, "one two three", 13) == 0);
    (void)fclose(file);
}

Test(blob, directory_is_made_and_synced_once)
{
    struct blob_piece piece = piece_of("x");
    blob_write(blob, &piece);
    blob_finish(blob);
    await(&closed, 1);
    atomic_store(&volume.next_blob, 0x300); /* the same two digits */
    blob_init(blob, thread, &box);
    blob_write(blob, &piece);
    blob_finish(blob);
    await(&closed, 2);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_MKDIR), 1u);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_SYNC), 3u); /* the parent once, it itself twice */
}

Test(blob, after_a_failure_all_pieces_have_it_and_nothing_more_is_written)
{
    struct blob_piece pieces[] = {piece_of("one "), piece_of("two "), piece_of("three")};
    fake_disk_fail(&fake, FAKE_DISK_WRITE, 2, EIO, false);
    for (int i = 0; i < 3; i++) {
        blob_write(blob, &pieces[i]);
    }
    blob_finish(blob);
    await(&closed, 1);
    cr_assert_eq(pieces[0].status, STATUS_OK);
    cr_assert_eq(pieces[1].status, STATUS_IO);
    cr_assert_eq(pieces[2].status, STATUS_IO);
    cr_assert_eq(closed_status, STATUS_IO);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_SYNC_DATA), 0u);
}

Test(blob, aborted_before_its_first_piece_touches_no_file)
{
    blob_abort(blob);
    await(&closed, 1);
    cr_assert_eq(closed_status, STATUS_OK);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_OPEN), 0u);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_UNLINK), 0u);
}

Test(blob, full_disk_at_the_sync_costs_only_the_blob)
{
    struct blob_piece piece = piece_of("x");
    fake_disk_fail(&fake, FAKE_DISK_SYNC_DATA, 1, ENOSPC, false);
    blob_write(blob, &piece);
    blob_finish(blob);
    await(&closed, 1);
    cr_assert_eq(closed_status, STATUS_NO_SPACE);
    cr_assert_not(volume.read_only);
    blob_abort(blob);
    await(&closed, 2);
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_UNLINK), 1u);
}

Test(blob, stopping_answers_what_was_sent)
{
    struct blob_piece piece = piece_of("x");
    blob_write(blob, &piece);
    blob_finish(blob);
    blob_thread_stop(&thread);
    cr_assert_null(thread);
    await(&closed, 1);
    cr_assert_eq(closed_status, STATUS_OK);
}
