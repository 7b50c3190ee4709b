/* SPDX-License-Identifier: Apache-2.0 */
#include "io/sendq.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct sendq_pools pools;
static struct sendq queue;
static unsigned released;

static void setup(void)
{
    sendq_pools_init(&pools);
    sendq_init(&queue, &pools);
    released = 0;
}

static void teardown(void)
{
    sendq_clear(&queue, STATUS_CANCELLED);
    sendq_pools_deinit(&pools); /* asserts that everything came back */
}

TestSuite(sendq, .init = setup, .fini = teardown);

static void release(void *owner)
{
    (void)owner;
    released++;
}

static const struct sendq_hold hold = {.release = release};

/* Everything at the front as one piece of text. */
static size_t front_octets(uint8_t *out_data, size_t capacity)
{
    struct iovec iov[16];
    unsigned count = sendq_gather(&queue, iov, 16);
    size_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        cr_assert_gt(iov[i].iov_len, 0);
        cr_assert_leq(length + iov[i].iov_len, capacity);
        memcpy(out_data + length, iov[i].iov_base, iov[i].iov_len);
        length += iov[i].iov_len;
    }
    return length;
}

static void front_is(const char *text)
{
    uint8_t data[1000];
    size_t length = front_octets(data, sizeof data);
    cr_assert_eq(length, strlen(text));
    cr_assert_eq(memcmp(data, text, length), 0, "%.*s", (int)length, data);
}

static void copy(const char *text)
{
    cr_assert_eq(sendq_copy(&queue, text, strlen(text)), STATUS_OK);
}

Test(sendq, an_empty_queue_is_empty)
{
    struct iovec iov;
    cr_assert(sendq_empty(&queue));
    cr_assert_eq(sendq_front(&queue), SENDQ_EMPTY);
    cr_assert_eq(sendq_gather(&queue, &iov, 1), 0);
    cr_assert_not(sendq_more_behind(&queue, 0));
    copy("");
    cr_assert(sendq_empty(&queue));
}

Test(sendq, copies_share_a_block)
{
    struct iovec iov[4];
    copy("+OK ");
    copy("ready");
    copy("\r\n");
    cr_assert_eq(sendq_gather(&queue, iov, 4), 1);
    cr_assert_eq(pools.blocks.used_count, 1);
    front_is("+OK ready\r\n");
    cr_assert_eq(queue.octets, 11);
    sendq_sent(&queue, 4);
    front_is("ready\r\n");
    copy("+OK 2\r\n"); /* behind what is being sent */
    front_is("ready\r\n+OK 2\r\n");
    sendq_sent(&queue, 14);
    cr_assert(sendq_empty(&queue));
    cr_assert_eq(pools.blocks.used_count, 0);
}

Test(sendq, a_long_copy_takes_several_blocks)
{
    enum { LENGTH = 100000 };
    uint8_t *data = malloc(LENGTH), *got = malloc(LENGTH);
    for (size_t i = 0; i < LENGTH; i++) {
        data[i] = (uint8_t)(i * 31);
    }
    copy("x");
    sendq_sent(&queue, 0);
    cr_assert_eq(sendq_copy(&queue, data, LENGTH), STATUS_OK);
    sendq_sent(&queue, 1);
    cr_assert_eq(front_octets(got, LENGTH), LENGTH);
    cr_assert_eq(memcmp(data, got, LENGTH), 0);
    for (size_t sent = 0; sent < LENGTH; sent += 777) {
        size_t left = LENGTH - sent;
        cr_assert_eq(front_octets(got, LENGTH), left);
        cr_assert_eq(memcmp(data + sent, got, left), 0);
        sendq_sent(&queue, left < 777 ? left : 777);
    }
    cr_assert(sendq_empty(&queue));
    free(data);
    free(got);
}

Test(sendq, a_reservation_is_written_in_place)
{
    uint8_t *place;
    copy("+OK ");
    cr_assert_eq(sendq_reserve(&queue, 100, &place), STATUS_OK);
    memcpy(place, "2 320\r\n", 7);
    sendq_commit(&queue, 7);
    front_is("+OK 2 320\r\n");
    cr_assert_eq(pools.blocks.used_count, 1);
    cr_assert_eq(sendq_reserve(&queue, SENDQ_RESERVE_MAX, &place), STATUS_OK);
    memset(place, 'x', SENDQ_RESERVE_MAX);
    sendq_commit(&queue, 0);
    front_is("+OK 2 320\r\n");
    cr_assert_eq(pools.blocks.used_count, 1, "taken back");
    cr_assert_eq(sendq_reserve(&queue, SENDQ_RESERVE_MAX + 1, &place), STATUS_TOO_BIG);
    sendq_sent(&queue, 11);
}

Test(sendq, a_reservation_never_committed_is_taken_back_by_clear)
{
    uint8_t *place;
    cr_assert_eq(sendq_reserve(&queue, 100, &place), STATUS_OK);
    cr_assert_eq(sendq_reserve_front(&queue, 100, &place), STATUS_OK);
    sendq_clear(&queue, STATUS_RESET);
    cr_assert_eq(pools.blocks.used_count, 0);
}

Test(sendq, borrowed_octets_are_released_when_sent)
{
    copy("a");
    cr_assert_eq(sendq_borrow(&queue, "bcd", 3, hold), STATUS_OK);
    copy("e");
    front_is("abcde");
    sendq_sent(&queue, 3);
    cr_assert_eq(released, 0);
    front_is("de");
    sendq_sent(&queue, 1);
    cr_assert_eq(released, 1);
    front_is("e");
}

Test(sendq, an_extent_is_a_thing_of_its_own)
{
    struct sendq_extent extent = {.fd = 7, .offset = 100, .length = 1000, .hold = hold};
    copy("+OK\r\n");
    cr_assert_eq(sendq_extent(&queue, &extent), STATUS_OK);
    copy(".\r\n");
    cr_assert_eq(queue.octets, 1008);
    cr_assert_eq(queue.sources, 1);
    front_is("+OK\r\n");
    cr_assert(sendq_more_behind(&queue, 1));
    sendq_sent(&queue, 5);
    cr_assert_eq(sendq_front(&queue), SENDQ_EXTENT);
    sendq_sent(&queue, 300);
    cr_assert_eq(sendq_front_extent(&queue)->offset, 400);
    cr_assert_eq(sendq_front_extent(&queue)->length, 700);
    cr_assert_eq(released, 0);
    sendq_sent(&queue, 700);
    cr_assert_eq(released, 1);
    cr_assert_eq(queue.sources, 0);
    front_is(".\r\n");
    cr_assert_not(sendq_more_behind(&queue, 1));
}

Test(sendq, cold_octets_go_in_front_of_what_came_meanwhile)
{
    struct sendq_extent extent = {.fd = 7, .offset = 0, .length = 10, .hold = hold};
    uint8_t *place;
    cr_assert_eq(sendq_extent(&queue, &extent), STATUS_OK);
    cr_assert_eq(sendq_reserve_front(&queue, 4, &place), STATUS_OK);
    cr_assert_eq(sendq_front(&queue), SENDQ_EXTENT);
    copy("tail");
    memcpy(place, "cold", 4);
    sendq_sent(&queue, 4);
    sendq_commit_front(&queue, 4);
    cr_assert_eq(queue.octets, 14);
    front_is("cold");
    sendq_sent(&queue, 4);
    cr_assert_eq(sendq_front_extent(&queue)->offset, 4);
    sendq_sent(&queue, 6);
    front_is("tail");
    cr_assert_eq(sendq_reserve_front(&queue, 4, &place), STATUS_OK);
    sendq_commit_front(&queue, 0);
    front_is("tail");
}

struct source {
    struct sendq_reader reader;
    unsigned stopped;
    enum status why;
};

static void on_stop(struct sendq_reader *reader, enum status status)
{
    struct source *source = (struct source *)(void *)reader;
    source->stopped++;
    source->why = status;
}

Test(sendq, a_reader_is_stopped_once_with_the_reason)
{
    struct source ran = {.reader.stop = on_stop}, dropped = {.reader.stop = on_stop};
    cr_assert_eq(sendq_reader(&queue, &ran.reader), STATUS_OK);
    cr_assert_eq(sendq_reader(&queue, &dropped.reader), STATUS_OK);
    cr_assert_eq(sendq_front(&queue), SENDQ_READER);
    cr_assert_eq(sendq_front_reader(&queue), &ran.reader);
    cr_assert_eq(queue.sources, 2);
    sendq_reader_finished(&queue);
    cr_assert_eq(ran.stopped, 1);
    cr_assert_eq(ran.why, STATUS_OK);
    sendq_clear(&queue, STATUS_RESET);
    cr_assert_eq(dropped.stopped, 1);
    cr_assert_eq(dropped.why, STATUS_RESET);
    cr_assert_eq(queue.sources, 0);
}

Test(sendq, a_reader_behind_octets_does_not_hold_them_back)
{
    static struct source source = {.reader.stop = on_stop};
    copy("+OK\r\n");
    cr_assert_eq(sendq_reader(&queue, &source.reader), STATUS_OK);
    cr_assert_not(sendq_more_behind(&queue, 1));
}

Test(sendq, a_gather_that_is_too_small_says_that_more_is_behind)
{
    struct iovec iov[2];
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(sendq_borrow(&queue, "x", 1, hold), STATUS_OK);
    }
    cr_assert_eq(sendq_gather(&queue, iov, 2), 2);
    cr_assert(sendq_more_behind(&queue, 2));
    cr_assert_not(sendq_more_behind(&queue, 4));
}

Test(sendq, clear_releases_everything_once)
{
    struct sendq_extent extent = {.fd = 7, .length = 10, .hold = hold};
    copy("a");
    cr_assert_eq(sendq_borrow(&queue, "b", 1, hold), STATUS_OK);
    cr_assert_eq(sendq_extent(&queue, &extent), STATUS_OK);
    sendq_clear(&queue, STATUS_CANCELLED);
    cr_assert_eq(released, 2);
    cr_assert_eq(queue.octets, 0);
    cr_assert(sendq_empty(&queue));
    sendq_clear(&queue, STATUS_CANCELLED);
    cr_assert_eq(released, 2);
}
