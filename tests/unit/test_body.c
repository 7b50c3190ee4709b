/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/body.h"

#include "storage/blob.h"
#include "storage/segment.h"
#include "storage/volume.h"
#include "tests/unit/fake_disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_MAX (4u << 20)

/* A volume with nothing but what bodies need; the test's own thread is the owner of them all. */
static struct fake_disk fake;
static struct volume volume;
static struct post_box box;
static struct blob_thread *thread;
static char *directory;
static uint32_t inflight;
static uint8_t message[MESSAGE_MAX];

static struct {
    unsigned writable, finished;
    enum status status;
} seen;

static void on_writable(void *owner)
{
    (void)owner;
    seen.writable++;
}

static void on_finished(void *owner, enum status status)
{
    (void)owner;
    seen.finished++;
    seen.status = status;
}

static void set_up(void)
{
    directory = fake_disk_temp_dir();
    fake_disk_init(&fake);
    volume.disk = &fake.disk;
    volume.config.segment_size = 1 << 20;
    volume.config.space_reserve = 1 << 20;
    (void)snprintf(volume.path, sizeof volume.path, "%s", directory);
    (void)snprintf(volume.blobs_path, sizeof volume.blobs_path, "%s", directory);
    atomic_init(&volume.next_blob, 0x1a3f);
    atomic_init(&volume.memory_left, 64 << 20);
    memset(&volume.identity.key, 7, sizeof volume.identity.key);
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    cr_assert_eq(blob_thread_start(&volume, &thread, NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)(i % 72 == 70 ? '\r' : i % 72 == 71 ? '\n' : 'a' + i % 23);
    }
}

/* Runs what has come, waiting for something when nothing has. */
static void run_once(void)
{
    cr_assert(post_wait(&box, 20000), "nothing came");
    (void)post_run(&box);
}

static void tear_down(void)
{
    while (inflight > 0) {
        run_once();
    }
    blob_thread_stop(&thread);
    cr_assert_eq(atomic_load(&volume.memory_left), 64 << 20);
    post_box_deinit(&box);
    fake_disk_deinit(&fake);
    fake_disk_remove_dir(directory);
}

TestSuite(body, .init = set_up, .fini = tear_down);

static struct body *make(void)
{
    struct body_config config = {.blobs = thread,
                                 .owner_box = &box,
                                 .blob_min = 1 << 20,
                                 .memory_left = &volume.memory_left,
                                 .inflight = &inflight};
    struct body *body;
    cr_assert_eq(body_create(&config, &body), STATUS_OK);
    body_set_callbacks(body, on_writable, on_finished, NULL);
    memset(&seen, 0, sizeof seen);
    return body;
}

/* Adds `length` octets as a worker would: in pieces, waiting whenever it is told to. */
static enum status add(struct body *body, const uint8_t *data, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t piece = length - at < 60000 ? length - at : 60000;
        enum status status = body_add(body, data + at, piece);
        if (status == STATUS_PENDING) {
            unsigned before = seen.writable;
            while (seen.writable == before) {
                run_once();
            }
        } else if (status != STATUS_OK) {
            return status;
        }
        at += piece;
    }
    return STATUS_OK;
}

static enum status finish(struct body *body)
{
    enum status status = body_finish(body);
    if (status != STATUS_PENDING) {
        return status;
    }
    while (seen.finished == 0) {
        run_once();
    }
    cr_assert_eq(seen.finished, 1u);
    return seen.status;
}

static void blob_file(uint64_t id, char out_path[SEGMENT_PATH_MAX])
{
    segment_blob_path(directory, id, out_path);
}

/* The blob's octets; the caller frees them. */
static uint8_t *read_blob(uint64_t id, size_t *out_length)
{
    char path[SEGMENT_PATH_MAX];
    blob_file(id, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert(fd >= 0, "%s", path);
    off_t size = lseek(fd, 0, SEEK_END);
    uint8_t *data = malloc((size_t)size);
    cr_assert_eq(pread(fd, data, (size_t)size, 0), size);
    (void)close(fd);
    *out_length = (size_t)size;
    return data;
}

/* The wire form of what was added, made in one go. */
static uint8_t *wire_of(const uint8_t *data, size_t length, size_t *out_length)
{
    uint8_t *wire = malloc(WIRE_EXPANSION_MAX(length) + WIRE_TAIL_MAX);
    struct wire_encoder encoder;
    size_t wrote;
    wire_init(&encoder);
    cr_assert_eq(wire_encode(&encoder, data, length, wire, WIRE_EXPANSION_MAX(length), &wrote),
                 length);
    *out_length = wrote + wire_finish(&encoder, wire + wrote);
    return wire;
}

static void check_in_memory(size_t length)
{
    struct body *body = make();
    struct iovec iov[32];
    size_t wire_length, at = 0;
    uint8_t *wire = wire_of(message, length, &wire_length);
    cr_assert_eq(add(body, message, length), STATUS_OK);
    cr_assert_eq(finish(body), STATUS_OK);
    cr_assert_eq(body_blob(body), 0u);
    unsigned count = body_iov_count(body);
    cr_assert(count >= 1 && count <= 32);
    body_iov(body, iov);
    for (unsigned i = 0; i < count; i++) {
        cr_assert(memcmp(wire + at, iov[i].iov_base, iov[i].iov_len) == 0);
        at += iov[i].iov_len;
    }
    cr_assert_eq(at, wire_length);
    cr_assert_eq(body_wire(body)->wire_length, wire_length);
    cr_assert_eq(body_checksum(body), checksum_body(wire, wire_length));
    body_destroy(&body);
    cr_assert_null(body);
    free(wire);
}

static void check_blob(struct body *body, size_t length)
{
    struct record_blob_footer footer;
    size_t wire_length, file_length;
    uint8_t *wire = wire_of(message, length, &wire_length);
    uint8_t *file = read_blob(body_blob(body), &file_length);
    cr_assert_eq(file_length, wire_length + RECORD_BLOB_FOOTER_SIZE);
    cr_assert(memcmp(file, wire, wire_length) == 0);
    cr_assert_eq(record_decode_blob_footer(&volume.identity.key, file + wire_length,
                                           RECORD_BLOB_FOOTER_SIZE, body_blob(body), &footer),
                 STATUS_OK);
    cr_assert_eq(footer.wire_length, wire_length);
    cr_assert_eq(footer.octets, body_wire(body)->octets);
    cr_assert_eq(footer.header_length, body_wire(body)->header_length);
    cr_assert_eq(footer.message_flags, body_wire(body)->flags);
    cr_assert_eq(footer.body_checksum, checksum_body(wire, wire_length));
    cr_assert_eq(body_checksum(body), footer.body_checksum);
    cr_assert_eq(body_iov_count(body), 0u);
    free(wire);
    free(file);
}

Test(body, in_memory_is_the_wire_form_whatever_its_size)
{
    static const size_t lengths[] = {0, 1, 4096, 7000, 8000, 8192, 70000, 500000, 1000000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        check_in_memory(lengths[i]);
    }
    cr_assert_eq(fake_disk_count(&fake, FAKE_DISK_OPEN), 0u);
}

Test(body, block_borders_fall_anywhere)
{
    for (size_t length = 7600; length < 8200; length++) {
        check_in_memory(length);
    }
}

Test(body, of_4_kb_costs_one_block)
{
    struct body *body = make();
    cr_assert_eq(add(body, message, 4096), STATUS_OK);
    cr_assert_eq(finish(body), STATUS_OK);
    cr_assert_eq(atomic_load(&volume.memory_left), (64 << 20) - BODY_BLOCK_FIRST);
    cr_assert_eq(body_iov_count(body), 1u);
    body_destroy(&body);
}

Test(body, headers_stand_in_front)
{
    struct body *body = make();
    struct iovec iov;
    cr_assert_eq(body_add_header(body, "A: b\r\n", 6), STATUS_OK);
    cr_assert_eq(body_add(body, (const uint8_t *)"\n.\n", 3), STATUS_OK);
    cr_assert_eq(body_finish(body), STATUS_OK);
    body_iov(body, &iov);
    cr_assert_eq(iov.iov_len, 15u);
    cr_assert(memcmp(iov.iov_base, "A: b\r\n\r\n..\r\n.\r\n", 15) == 0);
    cr_assert_eq(body_wire(body)->header_length, 8u);
    body_destroy(&body);
}

Test(body, over_the_limit_becomes_a_blob_that_describes_itself)
{
    struct body *body = make();
    cr_assert_eq(add(body, message, 3 << 20), STATUS_OK);
    cr_assert_eq(finish(body), STATUS_OK);
    cr_assert_eq(body_blob(body), 0x1a3fu);
    check_blob(body, 3 << 20);
    body_keep_blob(body);
    body_destroy(&body);
    cr_assert_eq(inflight, 0u);
    size_t length;
    free(read_blob(0x1a3f, &length)); /* still there */
}

Test(body, one_octet_over_the_limit_is_a_blob_and_at_the_limit_is_not)
{
    /* All but the last line are whole, so the wire form has 5 octets more: a line end and the dot.
     */
    size_t limit = (1 << 20) - 5;
    cr_assert(limit % 72 != 0 && limit % 72 < 70);
    check_in_memory(limit);
    struct body *body = make();
    cr_assert_eq(add(body, message, limit + 1), STATUS_OK);
    cr_assert_eq(finish(body), STATUS_OK);
    cr_assert_neq(body_blob(body), 0u);
    check_blob(body, limit + 1);
    body_destroy(&body);
}

Test(body, blob_is_synced_with_its_directories_before_it_is_finished)
{
    struct body *body = make();
    cr_assert_eq(add(body, message, 2 << 20), STATUS_OK);
    cr_assert_eq(finish(body), STATUS_OK);
    long parent = fake_disk_find(&fake, 0, FAKE_DISK_SYNC, directory);
    long file = fake_disk_find(&fake, 0, FAKE_DISK_SYNC_DATA, "/0000000000001a3f.blob");
    long own = fake_disk_find(&fake, 0, FAKE_DISK_SYNC, "/3f");
    cr_assert(parent >= 0 && file > parent && own > file);
    for (size_t i = (size_t)file; i < fake.step_count; i++) {
        cr_assert_neq(fake.steps[i].kind, FAKE_DISK_WRITE, "written after the sync");
    }
    body_destroy(&body);
}

Test(body, destroyed_before_the_end_removes_its_file)
{
    struct body *body = make();
    char path[SEGMENT_PATH_MAX];
    cr_assert_eq(add(body, message, 3 << 20), STATUS_OK);
    body_destroy(&body);
    while (inflight > 0) {
        run_once();
    }
    blob_file(0x1a3f, path);
    cr_assert_neq(access(path, F_OK), 0);
    cr_assert_eq(seen.finished, 0u);
}

Test(body, destroyed_while_finishing_removes_its_file)
{
    struct body *body = make();
    char path[SEGMENT_PATH_MAX];
    cr_assert_eq(add(body, message, 2 << 20), STATUS_OK);
    cr_assert_eq(body_finish(body), STATUS_PENDING);
    body_destroy(&body);
    while (inflight > 0) {
        run_once();
    }
    blob_file(0x1a3f, path);
    cr_assert_neq(access(path, F_OK), 0);
    cr_assert_eq(seen.finished, 0u);
}

Test(body, destroyed_after_the_end_without_being_kept_removes_its_file)
{
    struct body *body = make();
    char path[SEGMENT_PATH_MAX];
    cr_assert_eq(add(body, message, 2 << 20), STATUS_OK);
    cr_assert_eq(finish(body), STATUS_OK);
    body_destroy(&body);
    while (inflight > 0) {
        run_once();
    }
    blob_file(0x1a3f, path);
    cr_assert_neq(access(path, F_OK), 0);
}

Test(body, waits_when_the_window_is_full_and_takes_no_more_memory)
{
    struct body *body = make();
    fake_disk_hold(&fake, FAKE_DISK_WRITE);
    size_t at = 0;
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        cr_assert(at < MESSAGE_MAX - 60000);
        status = body_add(body, message + at, 60000);
        at += 60000;
    }
    cr_assert_eq(status, STATUS_PENDING);
    cr_assert(at <= (1 << 20) + BODY_WINDOW + 3 * BODY_BLOCK);
    cr_assert_eq(seen.writable, 0u);
    fake_disk_let_go(&fake, FAKE_DISK_WRITE);
    while (seen.writable == 0) {
        run_once();
    }
    cr_assert_eq(seen.writable, 1u);
    cr_assert_eq(finish(body), STATUS_OK);
    cr_assert_eq(seen.writable, 1u);
    check_blob(body, at);
    body_destroy(&body);
}

Test(body, many_over_the_memory_budget_become_blobs_and_all_come_to_an_end)
{
    enum { BODIES = 40 };
    static const size_t length = 300000;
    struct body *bodies[BODIES];
    atomic_store(&volume.memory_left, 10 * BODY_BLOCK);
    int64_t lowest = INT64_MAX;
    for (int i = 0; i < BODIES; i++) {
        bodies[i] = make();
    }
    for (size_t at = 0; at < length; at += 20000) {
        for (int i = 0; i < BODIES; i++) {
            cr_assert_eq(add(bodies[i], message + at, 20000), STATUS_OK);
            int64_t left = atomic_load(&volume.memory_left);
            lowest = left < lowest ? left : lowest;
        }
    }
    /* Below zero only by what each body may always have. */
    cr_assert(lowest >= -(int64_t)BODIES * (BODY_BLOCK_FIRST + 2 * BODY_BLOCK), "%ld",
              (long)lowest);
    unsigned blobs = 0;
    for (int i = 0; i < BODIES; i++) {
        seen.finished = 0;
        cr_assert_eq(finish(bodies[i]), STATUS_OK);
        if (body_blob(bodies[i]) != 0) {
            check_blob(bodies[i], length);
            blobs++;
        }
        body_destroy(&bodies[i]);
    }
    cr_assert(blobs > BODIES / 2);
    while (inflight > 0) {
        run_once();
    }
    cr_assert_eq(atomic_load(&volume.memory_left), 10 * BODY_BLOCK);
    atomic_store(&volume.memory_left, 64 << 20);
}

Test(body, failed_write_is_told_by_add_or_finish_and_leaves_no_file)
{
    for (uint32_t nth = 1; nth < 30; nth += 4) {
        struct body *body = make();
        char path[SEGMENT_PATH_MAX];
        blob_file(atomic_load(&volume.next_blob), path);
        fake_disk_fail(&fake, FAKE_DISK_WRITE, nth, ENOSPC, false);
        enum status status = add(body, message, 2 << 20);
        if (status == STATUS_OK) {
            status = finish(body);
        }
        cr_assert_eq(status, STATUS_NO_SPACE, "write %u", nth);
        body_destroy(&body);
        while (inflight > 0) {
            run_once();
        }
        cr_assert_neq(access(path, F_OK), 0);
        cr_assert_not(volume.read_only);
        fake_disk_heal(&fake);
    }
}

Test(body, failed_sync_makes_the_volume_read_only)
{
    struct body *body = make();
    fake_disk_fail(&fake, FAKE_DISK_SYNC_DATA, 1, EIO, false);
    cr_assert_eq(add(body, message, 2 << 20), STATUS_OK);
    cr_assert_eq(finish(body), STATUS_IO);
    cr_assert(volume.read_only);
    body_destroy(&body);
    body = make();
    enum status status = add(body, message, 2 << 20);
    cr_assert_eq(status == STATUS_OK ? finish(body) : status, STATUS_READ_ONLY);
    body_destroy(&body);
    volume.read_only = false;
}

Test(body, blob_is_refused_below_the_space_reserve)
{
    struct body *body = make();
    fake_disk_set_free(&fake, volume.config.space_reserve - 1);
    enum status status = add(body, message, 2 << 20);
    cr_assert_eq(status == STATUS_OK ? finish(body) : status, STATUS_NO_SPACE);
    cr_assert(volume.space_low);
    body_destroy(&body);
    fake_disk_set_free(&fake, 2 * volume.config.space_reserve);
    body = make();
    cr_assert_eq(add(body, message, 2 << 20), STATUS_OK);
    cr_assert_eq(finish(body), STATUS_OK);
    cr_assert_not(volume.space_low);
    body_destroy(&body);
}

Test(body, blob_steps_over_a_file_that_is_there)
{
    struct body *first = make(), *second;
    cr_assert_eq(add(first, message, 2 << 20), STATUS_OK);
    cr_assert_eq(finish(first), STATUS_OK);
    atomic_store(&volume.next_blob, 0x1a3f);
    second = make();
    cr_assert_eq(add(second, message, 2 << 20), STATUS_OK);
    cr_assert_eq(finish(second), STATUS_OK);
    cr_assert_eq(body_blob(second), 0x1a40u);
    check_blob(first, 2 << 20);
    check_blob(second, 2 << 20);
    body_destroy(&second);
    body_destroy(&first);
}
