/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cold_reads.h"
#include "tests/unit/store_fixture.h"

#include "io/loop.h"
#include "storage/segment.h"

#include <criterion/criterion.h>
#include <fcntl.h>

#define LARGE 100000 /* octets: above STORE_INLINE_MAX, below a blob */
#define HUGE  300000 /* octets: a blob, as configured here */

static struct fixture fixture;
static struct loop *loop;
static uint64_t drop;
static char *text;

static void start(void)
{
    struct loop_config config = {.kind = LOOP_EPOLL};
    fixture_start(&fixture);
    fixture_close(&fixture);
    fixture.config.blob_min = 200000;
    fixture_open(&fixture);
    cr_assert_eq(loop_create(&config, &loop, NULL), STATUS_OK);
    fixture.client.loop = loop;
    drop = fixture_create(&fixture, "u@localhost");
    text = malloc(HUGE);
    for (size_t i = 0; i < HUGE; i++) {
        text[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : (char)('a' + i % 23);
    }
}

static void end(void)
{
    free(text);
    loop_destroy(&loop);
    fixture_end(&fixture);
}

TestSuite(local_fetch, .init = start, .fini = end);

static void deliver(size_t length)
{
    uint64_t uid;
    cr_assert_eq(fixture_deliver_all(&fixture, &drop, 1, text, length, NULL, &uid), STATUS_OK);
}

struct own_fetch {
    struct store_fetch fetch;
    struct fixture_answer answer;
};

static void on_fetched(struct store_fetch *fetch, enum status status)
{
    struct own_fetch *own = (struct own_fetch *)(void *)fetch;
    own->answer.status = status;
    own->answer.done = true;
}

/* Asks for a range of the first message; a pending one is waited for. */
static enum status fetch(struct own_fetch *own, struct view *view, uint64_t offset, uint64_t length,
                         uint8_t *buffer, bool *out_pending)
{
    *own = (struct own_fetch){.fetch = {.client = &fixture.client,
                                        .on_done = on_fetched,
                                        .view = view,
                                        .offset = offset,
                                        .length = length,
                                        .buffer = buffer}};
    enum status status = store_fetch(&own->fetch);
    *out_pending = status == STATUS_PENDING;
    while (status == STATUS_PENDING && !own->answer.done) {
        loop_turn(loop, -1);
    }
    return *out_pending ? own->answer.status : status;
}

/* Whether the range's octets are those of the message, wherever they are; releases it. */
static bool check_range(struct own_fetch *own)
{
    const struct store_range *range = &own->fetch.range;
    size_t length = range->length;
    bool same;
    if (range->kind == STORE_RANGE_EXTENT) {
        char *read = malloc(length);
        ssize_t got = pread(range->extent.fd, read, length, (off_t)range->extent.offset);
        same = got == (ssize_t)length && memcmp(read, text + own->fetch.offset, length) == 0;
        free(read);
        range->extent.hold.release(range->extent.hold.owner);
        return same;
    }
    same = memcmp(range->data, text + own->fetch.offset, length) == 0;
    if (range->kind == STORE_RANGE_MEMORY) {
        range->hold.release(range->hold.owner);
    }
    return same;
}

static uint64_t wire_length(struct view *view)
{
    struct store_message message;
    store_view_message(view, 0, &message);
    return message.wire_length;
}

Test(local_fetch, a_small_message_comes_in_the_buffer_or_in_memory)
{
    struct own_fetch own;
    bool pending;
    uint8_t buffer[STORE_INLINE_MAX];
    deliver(640);
    struct view *view = fixture_view_ok(&fixture, drop);
    cr_assert_eq(fetch(&own, view, 0, 640, buffer, &pending), STATUS_OK);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_BUFFER);
    cr_assert(check_range(&own));
    cr_assert_eq(fetch(&own, view, 10, 100, NULL, &pending), STATUS_OK);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_MEMORY);
    cr_assert(check_range(&own));
    cr_assert_eq(fetch(&own, view, 10, 100, buffer, &pending), STATUS_OK);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_BUFFER);
    cr_assert(check_range(&own));
    store_view_close(&view);
}

Test(local_fetch, a_cold_small_message_is_read_by_the_loop_and_verified)
{
    struct own_fetch own;
    bool pending;
    uint8_t buffer[STORE_INLINE_MAX];
    deliver(640);
    struct view *view = fixture_view_ok(&fixture, drop);
    reads_are_cold = true;
    cr_assert_eq(fetch(&own, view, 64, 128, buffer, &pending), STATUS_OK);
    cr_assert(pending);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_MEMORY);
    cr_assert(check_range(&own));
    store_view_close(&view);
}

Test(local_fetch, a_warm_large_message_is_an_extent_that_outlives_the_view)
{
    struct own_fetch own;
    bool pending;
    deliver(LARGE);
    struct view *view = fixture_view_ok(&fixture, drop);
    cr_assert_eq(fetch(&own, view, 0, LARGE, NULL, &pending), STATUS_OK);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_EXTENT);
    store_view_close(&view);
    cr_assert(check_range(&own));
}

Test(local_fetch, a_cold_large_message_is_read_whole_and_verified)
{
    struct own_fetch own;
    bool pending;
    deliver(LARGE);
    struct view *view = fixture_view_ok(&fixture, drop);
    reads_are_cold = true;
    cr_assert_eq(fetch(&own, view, 0, wire_length(view), NULL, &pending), STATUS_OK);
    cr_assert(pending);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_MEMORY);
    own.fetch.range.length = LARGE; /* without line end and terminator, which `text` has not */
    cr_assert(check_range(&own));
    store_view_close(&view);
}

Test(local_fetch, a_part_of_a_large_message_comes_as_memory)
{
    struct own_fetch own;
    bool pending;
    uint8_t buffer[STORE_INLINE_MAX];
    deliver(LARGE);
    struct view *view = fixture_view_ok(&fixture, drop);
    cr_assert_eq(fetch(&own, view, 5000, sizeof buffer, buffer, &pending), STATUS_OK);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_BUFFER);
    cr_assert(check_range(&own));
    cr_assert_eq(fetch(&own, view, 5000, sizeof buffer, NULL, &pending), STATUS_OK);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_MEMORY);
    cr_assert(check_range(&own));
    reads_are_cold = true;
    cr_assert_eq(fetch(&own, view, 70000, 1000, buffer, &pending), STATUS_OK);
    cr_assert(pending);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_MEMORY);
    cr_assert(check_range(&own));
    store_view_close(&view);
}

Test(local_fetch, a_blob_is_an_extent_and_a_part_of_it_memory)
{
    struct own_fetch own;
    bool pending;
    uint8_t buffer[1000];
    deliver(HUGE);
    struct view *view = fixture_view_ok(&fixture, drop);
    cr_assert_eq(fetch(&own, view, 0, HUGE, NULL, &pending), STATUS_OK);
    cr_assert_eq(own.fetch.range.kind, STORE_RANGE_EXTENT);
    cr_assert(check_range(&own));
    cr_assert_eq(fetch(&own, view, 250000, sizeof buffer, buffer, &pending), STATUS_OK);
    cr_assert_neq(own.fetch.range.kind, STORE_RANGE_EXTENT);
    cr_assert(check_range(&own));
    store_view_close(&view);
    fixture_close(&fixture);
    fixture_open(&fixture);
    view = fixture_view_ok(&fixture, drop);
    cr_assert_eq(fetch(&own, view, 0, HUGE, NULL, &pending), STATUS_OK);
    cr_assert(check_range(&own));
    store_view_close(&view);
}

Test(local_fetch, a_pending_one_can_be_given_up_and_keeps_the_view_alive)
{
    deliver(LARGE);
    struct view *view = fixture_view_ok(&fixture, drop);
    reads_are_cold = true;
    struct own_fetch own = {
        .fetch = {.client = &fixture.client, .on_done = on_fetched, .view = view, .length = LARGE}};
    cr_assert_eq(store_fetch(&own.fetch), STATUS_PENDING);
    store_fetch_cancel(&own.fetch);
    cr_assert_not(own.answer.done);
    store_view_close(&view);
    while (!own.answer.done) {
        loop_turn(loop, -1);
    }
    cr_assert_eq(own.answer.status, STATUS_CANCELLED);
    cr_assert_eq(fixture.client.inflight, 0);
}

Test(local_fetch, a_damaged_message_is_corrupt_and_the_next_is_not)
{
    struct own_fetch own;
    bool pending;
    char path[SEGMENT_PATH_MAX];
    uint8_t buffer[STORE_INLINE_MAX], octet;
    struct volume *volume = fixture_volume(&fixture);
    deliver(640);
    deliver(640);
    struct view *view = fixture_view_ok(&fixture, drop);
    const struct maildrop *maildrop = ((struct local_view *)(void *)view)->maildrop;
    segment_path(volume->segments_path, writer_position(volume->writer).segment, path);
    int fd = open(path, O_RDWR);
    off_t place = (off_t)maildrop->entries[0].place + 100;
    cr_assert_eq(pread(fd, &octet, 1, place), 1);
    octet ^= 1;
    cr_assert_eq(pwrite(fd, &octet, 1, place), 1);
    close(fd);
    cr_assert_eq(fetch(&own, view, 0, 640, buffer, &pending), STATUS_CORRUPT);
    cr_assert_eq(fetch(&own, view, 0, 50, buffer, &pending), STATUS_CORRUPT); /* also in part */
    reads_are_cold = true;
    cr_assert_eq(fetch(&own, view, 0, 640, buffer, &pending), STATUS_CORRUPT);
    own.fetch.index = 1;
    own.answer.done = false;
    cr_assert_eq(store_fetch(&own.fetch), STATUS_PENDING);
    while (!own.answer.done) {
        loop_turn(loop, -1);
    }
    cr_assert_eq(own.answer.status, STATUS_OK);
    cr_assert(check_range(&own));
    store_view_close(&view);
}
