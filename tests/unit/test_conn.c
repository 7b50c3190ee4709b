/* SPDX-License-Identifier: Apache-2.0 */
/* Every test runs against both loop back ends. */
#include "io/conn.h"
#include "tests/unit/cold_reads.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE 20000 /* turns of at most 10 ms */

/* A conn, the other end of its socket, and what has been told. */
struct world {
    struct conn conn;
    struct loop *loop;
    struct conn_host host;
    int peer; /* non-blocking; -1 once closed */
    bool inside;

    size_t take_max;   /* how much on_input takes at once */
    bool take_lines;   /* whole lines only */
    bool pause_always; /* each on_input pauses */
    char input[100000];
    size_t input_length, input_calls;

    unsigned input_ends, drained, closed;
    size_t end_left;
    enum status reason;
    char got[4000000]; /* what the peer has read */
    size_t got_length;
    bool got_end;
    unsigned released;
};

#define world_of(c) ((struct world *)(void *)(c))

#define CALL(world, call)        \
    do {                         \
        (world)->inside = true;  \
        call;                    \
        (world)->inside = false; \
    } while (0)

static size_t on_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct world *world = world_of(conn);
    cr_assert_not(world->inside);
    world->input_calls++;
    size_t taken = length < world->take_max ? length : world->take_max;
    if (world->take_lines) {
        const uint8_t *last = memrchr(data, '\n', taken);
        taken = last == NULL ? 0 : (size_t)(last - data) + 1;
    }
    cr_assert_leq(world->input_length + taken, sizeof world->input);
    memcpy(world->input + world->input_length, data, taken);
    world->input_length += taken;
    if (world->pause_always) {
        conn_input_pause(conn);
    }
    return taken;
}

static void on_input_end(struct conn *conn, size_t left)
{
    cr_assert_not(world_of(conn)->inside);
    world_of(conn)->input_ends++;
    world_of(conn)->end_left = left;
}

static void on_drained(struct conn *conn)
{
    cr_assert_not(world_of(conn)->inside);
    world_of(conn)->drained++;
}

static void on_closed(struct conn *conn, enum status reason)
{
    cr_assert_not(world_of(conn)->inside);
    world_of(conn)->closed++;
    world_of(conn)->reason = reason;
}

static const struct conn_events events = {.on_input = on_input,
                                          .on_input_end = on_input_end,
                                          .on_drained = on_drained,
                                          .on_closed = on_closed};

static void tcp_pair(int out_fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    out_fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(out_fds[1], (struct sockaddr *)&address, length), 0);
    cr_assert_eq(fcntl(out_fds[1], F_SETFL, O_NONBLOCK), 0);
    out_fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    cr_assert_geq(out_fds[0], 0);
    (void)close(listener);
}

static struct world *world_open(enum loop_kind kind, enum loop_receive_mode mode)
{
    struct world *world = calloc(1, sizeof *world);
    struct loop_config config = {.kind = kind};
    struct address nowhere = {0};
    int fds[2];
    tcp_pair(fds);
    world->peer = fds[1];
    world->take_max = SIZE_MAX;
    cr_assert_eq(loop_create(&config, &world->loop, NULL), STATUS_OK);
    conn_host_init(&world->host, world->loop);
    conn_init(&world->conn, &world->host, fds[0], mode, &events, &nowhere, &nowhere);
    CALL(world, conn_start(&world->conn));
    return world;
}

static void read_peer(struct world *world)
{
    while (world->peer >= 0 && !world->got_end) {
        ssize_t length = recv(world->peer, world->got + world->got_length,
                              sizeof world->got - world->got_length, 0);
        if (length > 0) {
            world->got_length += (size_t)length;
        } else {
            world->got_end = length == 0 || errno != EAGAIN;
            break;
        }
    }
}

static void turn(struct world *world)
{
    loop_turn(world->loop, 10);
}

#define UNTIL(world, condition)                                                        \
    do {                                                                               \
        for (unsigned patience = PATIENCE; !(condition) && patience > 0; patience--) { \
            turn(world);                                                               \
            read_peer(world);                                                          \
        }                                                                              \
        cr_assert(condition);                                                          \
    } while (0)

static void turn_some(struct world *world)
{
    for (unsigned i = 0; i < 5; i++) {
        turn(world);
    }
}

static void leave(struct world *world)
{
    (void)close(world->peer);
    world->peer = -1;
}

static void reset(struct world *world)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(world->peer, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    leave(world);
}

static void world_close(struct world *world)
{
    if (world->closed == 0) {
        CALL(world, conn_abort(&world->conn, STATUS_CANCELLED));
        CALL(world, conn_abort(&world->conn, STATUS_IO));
        cr_assert_eq(world->closed, 0);
        UNTIL(world, world->closed > 0);
        cr_assert_eq(world->reason, STATUS_CANCELLED);
    }
    turn_some(world);
    cr_assert_eq(world->closed, 1);
    cr_assert_eq(world->host.pools.blocks.used_count, 0);
    cr_assert_eq(world->host.pools.chunks.used_count, 0);
    conn_host_deinit(&world->host);
    loop_destroy(&world->loop);
    if (world->peer >= 0) {
        (void)close(world->peer);
    }
    free(world);
}

static void say(struct world *world, const char *text)
{
    cr_assert_eq(send(world->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void write_text(struct world *world, const char *text)
{
    CALL(world, cr_assert_eq(conn_write(&world->conn, text, strlen(text)), STATUS_OK));
}

static void got(struct world *world, const char *text)
{
    UNTIL(world, world->got_length >= strlen(text));
    cr_assert_eq(world->got_length, strlen(text));
    cr_assert_eq(memcmp(world->got, text, strlen(text)), 0, "%.*s", (int)world->got_length,
                 world->got);
}

static void took(struct world *world, const char *text)
{
    UNTIL(world, world->input_length >= strlen(text));
    cr_assert_eq(world->input_length, strlen(text));
    cr_assert_eq(memcmp(world->input, text, strlen(text)), 0);
}

static const enum loop_kind kinds[] = {LOOP_AUTO, LOOP_EPOLL};

/* A test's body as a function of the back end. */
#define ON_BOTH(name)                      \
    static void name(enum loop_kind kind); \
    Test(conn, name)                       \
    {                                      \
        name(kinds[0]);                    \
        name(kinds[1]);                    \
    }                                      \
    static void name(enum loop_kind kind)

ON_BOTH(input_that_is_not_taken_is_offered_again_in_front_of_the_next)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    world->take_lines = true;
    say(world, "USER demo1\r\nPA");
    took(world, "USER demo1\r\n");
    say(world, "SS demo\r\nST");
    took(world, "USER demo1\r\nPASS demo\r\n");
    say(world, "AT\r\n");
    took(world, "USER demo1\r\nPASS demo\r\nSTAT\r\n");
    cr_assert_null(world->conn.own.held, "an idle conn holds no buffer");
    world_close(world);
}

ON_BOTH(half_a_line_takes_little_more_memory_than_it_is_long)
{
    static const size_t lengths[] = {1, 512, 513, 1024, 2047, 16384, 24575};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        static char text[24576];
        struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
        size_t length = lengths[i], room = length < 512 ? 512 : length + length / 2;
        memset(text, 'x', length);
        text[length] = '\0';
        world->take_lines = true;
        say(world, text);
        UNTIL(world, world->conn.own.held_length == length);
        cr_expect_leq(world->conn.own.held_capacity, length == 24575 ? 24576 : room, "%zu", length);
        world_close(world);
    }
}

ON_BOTH(input_cut_anywhere_arrives_whole)
{
    static const char text[] = "USER demo1\r\nPASS demo\r\nSTAT\r\nQUIT\r\n";
    for (size_t cut = 1; cut < sizeof text - 1; cut += 3) {
        struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
        world->take_lines = true;
        cr_assert_eq(send(world->peer, text, cut, 0), (ssize_t)cut);
        turn(world);
        say(world, text + cut);
        took(world, text);
        world_close(world);
    }
}

ON_BOTH(bulk_input_arrives_whole)
{
    static char text[90000];
    struct world *world = world_open(kind, LOOP_RECEIVE_BULK);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)(i % 61 == 0 ? '\n' : 'a' + i % 23);
    }
    world->take_lines = true;
    text[sizeof text - 1] = '\n';
    size_t sent = 0;
    while (world->input_length < sizeof text) {
        ssize_t count = send(world->peer, text + sent, sizeof text - sent, MSG_NOSIGNAL);
        sent += count > 0 ? (size_t)count : 0;
        turn(world);
    }
    cr_assert_eq(memcmp(world->input, text, sizeof text), 0);
    world_close(world);
}

ON_BOTH(output_of_one_turn_leaves_in_one_send)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    turn_some(world);
    uint64_t before = counter_read(&loop_counters(world->loop)->submits);
    write_text(world, "+OK ");
    write_text(world, "2 messages");
    write_text(world, "\r\n");
    cr_assert_eq(conn_output_pending(&world->conn), 16);
    got(world, "+OK 2 messages\r\n");
    UNTIL(world, conn_output_pending(&world->conn) == 0);
    cr_assert_eq(counter_read(&loop_counters(world->loop)->submits), before + 1);
    cr_assert_eq(conn_octets_sent(&world->conn), 16);
    cr_assert_eq(world->drained, 1);
    cr_assert_eq(world->host.pools.blocks.used_count, 0, "an idle conn holds no buffer");
    world_close(world);
}

ON_BOTH(a_paused_conn_is_not_offered_input_until_resumed)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    CALL(world, conn_input_pause(&world->conn));
    say(world, "one\r\n");
    turn_some(world);
    say(world, "two\r\n");
    turn_some(world);
    cr_assert_eq(world->input_calls, 0);
    CALL(world, conn_input_resume(&world->conn));
    cr_assert_eq(world->input_calls, 0, "not inside the call");
    took(world, "one\r\ntwo\r\n");
    say(world, "three\r\n");
    took(world, "one\r\ntwo\r\nthree\r\n");
    world_close(world);
}

ON_BOTH(a_conn_that_pauses_at_each_line_gets_them_one_by_one)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    world->take_max = 4;
    world->pause_always = true;
    say(world, "aaa\nbbb\nccc\n");
    for (size_t i = 1; i <= 3; i++) {
        UNTIL(world, world->input_calls == i);
        turn_some(world);
        cr_assert_eq(world->input_calls, i);
        CALL(world, conn_input_resume(&world->conn));
    }
    took(world, "aaa\nbbb\nccc\n");
    world_close(world);
}

ON_BOTH(a_peer_that_floods_a_paused_conn_is_held_back)
{
    static char flood[65536];
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    CALL(world, conn_input_pause(&world->conn));
    size_t sent = 0;
    for (unsigned i = 0; i < 2000; i++) {
        ssize_t count = send(world->peer, flood, sizeof flood, MSG_NOSIGNAL);
        sent += count > 0 ? (size_t)count : 0;
        loop_turn(world->loop, 0);
    }
    cr_assert_leq(world->conn.own.held_length, 1100000, "one batch of buffers at most");
    cr_assert_eq(world->closed, 0);
    cr_assert_gt(sent, world->conn.own.held_length);
    world_close(world);
}

ON_BOTH(a_reset_ends_a_paused_conn)
{
    for (unsigned with_input = 0; with_input < 2; with_input++) {
        struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
        CALL(world, conn_input_pause(&world->conn));
        if (with_input == 1) {
            say(world, "STAT\r\n");
        }
        turn_some(world);
        reset(world);
        UNTIL(world, world->closed > 0);
        cr_assert_eq(world->reason, STATUS_RESET);
        cr_assert_eq(world->input_calls, 0);
        world_close(world);
    }
}

ON_BOTH(a_half_closed_peer_still_gets_its_replies)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    world->take_lines = true;
    say(world, "STAT\r\nLIS");
    cr_assert_eq(shutdown(world->peer, SHUT_WR), 0);
    UNTIL(world, world->input_ends > 0);
    cr_assert_eq(world->end_left, 3);
    cr_assert_eq(world->input_length, 6);
    turn_some(world);
    write_text(world, "+OK 0 0\r\n");
    CALL(world, conn_finish(&world->conn));
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_OK);
    got(world, "+OK 0 0\r\n");
    cr_assert_eq(world->input_ends, 1);
    world_close(world);
}

ON_BOTH(the_end_of_input_is_told_behind_what_was_held_by_a_pause)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    world->pause_always = true;
    say(world, "STAT\r\n");
    UNTIL(world, world->input_calls == 1);
    say(world, "QUIT\r\n");
    cr_assert_eq(shutdown(world->peer, SHUT_WR), 0);
    turn_some(world);
    cr_assert_eq(world->input_ends, 0);
    CALL(world, conn_input_resume(&world->conn));
    UNTIL(world, world->input_calls == 2);
    turn_some(world);
    cr_assert_eq(world->input_ends, 0, "it has paused again");
    CALL(world, conn_input_resume(&world->conn));
    UNTIL(world, world->input_ends == 1);
    cr_assert_eq(world->input_length, 12);
    world_close(world);
}

ON_BOTH(finish_sends_everything_then_fin_and_waits_for_the_peer)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    write_text(world, "+OK bye\r\n");
    CALL(world, conn_finish(&world->conn));
    CALL(world, conn_finish(&world->conn));
    cr_assert_eq(conn_write(&world->conn, "x", 1), STATUS_CANCELLED);
    cr_assert(conn_ending(&world->conn));
    say(world, "NOOP\r\nNOOP\r\n"); /* read and dropped: unread input would turn FIN into a reset */
    UNTIL(world, world->got_end);
    got(world, "+OK bye\r\n");
    turn_some(world);
    cr_assert_eq(world->closed, 0, "the peer has not closed");
    leave(world);
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_OK);
    cr_assert_eq(world->input_calls, 0);
    world_close(world);
}

ON_BOTH(a_peer_that_never_closes_is_waited_for_only_so_long)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    CALL(world, conn_finish(&world->conn));
    int64_t start_ms = loop_now_ms(world->loop);
    UNTIL(world, world->closed > 0);
    cr_assert_geq(loop_now_ms(world->loop) - start_ms, CONN_LINGER_MS);
    cr_assert_eq(world->reason, STATUS_OK);
    world_close(world);
}

static void release(void *owner)
{
    ((struct world *)owner)->released++;
}

ON_BOTH(abort_releases_what_was_queued)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    struct sendq_hold hold = {.release = release, .owner = world};
    static const char large[1000000];
    CALL(world, (void)conn_send_memory(&world->conn, large, sizeof large, hold));
    CALL(world, (void)conn_send_memory(&world->conn, large, sizeof large, hold));
    for (unsigned i = 0; i < 5; i++) {
        turn(world); /* the peer does not read: the socket fills */
    }
    CALL(world, conn_abort(&world->conn, STATUS_TIMEOUT));
    CALL(world, (void)conn_send_memory(&world->conn, large, sizeof large, hold));
    cr_assert_geq(world->released, 1, "what comes too late is released at once");
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_TIMEOUT);
    cr_assert_eq(world->released, 3);
    world_close(world);
}

ON_BOTH(abort_before_start_works)
{
    struct world *world = calloc(1, sizeof *world);
    struct loop_config config = {.kind = kind};
    struct address nowhere = {0};
    int fds[2];
    tcp_pair(fds);
    world->peer = fds[1];
    cr_assert_eq(loop_create(&config, &world->loop, NULL), STATUS_OK);
    conn_host_init(&world->host, world->loop);
    conn_init(&world->conn, &world->host, fds[0], LOOP_RECEIVE_STREAM, &events, &nowhere, &nowhere);
    world_close(world);
}

static int file_of(size_t length, uint8_t **out_data)
{
    FILE *file = tmpfile();
    int fd = dup(fileno(file));
    uint8_t *data = malloc(length);
    for (size_t i = 0; i < length; i++) {
        data[i] = (uint8_t)(i * 7 + i / 251);
    }
    cr_assert_eq(pwrite(fd, data, length, 0), (ssize_t)length);
    (void)fclose(file);
    *out_data = data;
    return fd;
}

static void send_file(enum loop_kind kind, bool cold)
{
    enum { LENGTH = 3000000, OFFSET = 12345 };
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    uint8_t *data;
    int fd = file_of(LENGTH, &data);
    struct sendq_extent extent = {.fd = fd,
                                  .offset = OFFSET,
                                  .length = LENGTH - OFFSET,
                                  .hold = {.release = release, .owner = world}};
    reads_are_cold = cold;
    write_text(world, "+OK\r\n");
    CALL(world, cr_assert_eq(conn_send_extent(&world->conn, &extent), STATUS_OK));
    cr_assert(conn_output_full(&world->conn));
    write_text(world, ".\r\n");
    size_t wanted = 5 + LENGTH - OFFSET + 3;
    UNTIL(world, world->got_length >= wanted);
    UNTIL(world, world->drained > 0 && conn_output_pending(&world->conn) == 0);
    cr_assert_eq(world->got_length, wanted);
    cr_assert_eq(memcmp(world->got, "+OK\r\n", 5), 0);
    cr_assert_eq(memcmp(world->got + 5, data + OFFSET, LENGTH - OFFSET), 0);
    cr_assert_eq(memcmp(world->got + wanted - 3, ".\r\n", 3), 0);
    cr_assert_eq(world->released, 1);
    cr_assert_eq(conn_octets_sent(&world->conn), wanted);
    cr_assert_not(conn_output_full(&world->conn));
    struct conn_counters *counters = &world->host.counters;
    cr_assert_eq(counter_read(&counters->octets_sendfile) + counter_read(&counters->octets_copied),
                 wanted);
    cr_assert_eq(counter_read(&counters->octets_sendfile), cold ? 0 : LENGTH - OFFSET);
    free(data);
    (void)close(fd);
    world_close(world);
}

ON_BOTH(a_warm_file_is_sent_without_a_copy)
{
    send_file(kind, false);
}

ON_BOTH(a_cold_file_is_sent_all_the_same)
{
    send_file(kind, true);
}

ON_BOTH(what_its_owner_has_just_found_warm_is_not_looked_at_again)
{
    enum { LENGTH = 600000 };
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    uint8_t *data;
    int fd = file_of(LENGTH, &data);
    struct sendq_extent extent = {.fd = fd, .length = LENGTH, .warm = true};
    cr_assert_eq(fdatasync(fd), 0);
    cr_assert_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0); /* it was mistaken */
    CALL(world, cr_assert_eq(conn_send_extent(&world->conn, &extent), STATUS_OK));
    UNTIL(world, world->got_length >= LENGTH && conn_output_pending(&world->conn) == 0);
    cr_assert_eq(memcmp(world->got, data, LENGTH), 0);
    cr_assert_eq(counter_read(&world->host.counters.octets_read), 0);
    cr_assert_eq(counter_read(&world->host.counters.octets_sendfile), LENGTH);
    free(data);
    (void)close(fd);
    world_close(world);
}

ON_BOTH(an_extent_beyond_its_file_is_corruption)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    uint8_t *data;
    int fd = file_of(1000, &data);
    struct sendq_extent extent = {
        .fd = fd, .length = 2000, .hold = {.release = release, .owner = world}};
    CALL(world, cr_assert_eq(conn_send_extent(&world->conn, &extent), STATUS_OK));
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_CORRUPT);
    cr_assert_eq(world->released, 1);
    free(data);
    (void)close(fd);
    world_close(world);
}

struct source {
    struct sendq_reader reader;
    size_t left, step;
    bool pending;
    enum status fails;
    unsigned stopped;
    enum status why;
    unsigned char next;
};

static enum status on_fill(struct sendq_reader *reader, uint8_t *out_data, size_t capacity,
                           size_t *out_length)
{
    struct source *source = (struct source *)(void *)reader;
    if (source->pending) {
        return STATUS_PENDING;
    }
    if (source->fails != STATUS_OK) {
        return source->fails;
    }
    size_t length = source->step < source->left ? source->step : source->left;
    length = length < capacity ? length : capacity;
    for (size_t i = 0; i < length; i++) {
        out_data[i] = source->next++;
    }
    source->left -= length;
    *out_length = length;
    return source->left == 0 ? STATUS_EOF : STATUS_OK;
}

static void on_stop(struct sendq_reader *reader, enum status status)
{
    struct source *source = (struct source *)(void *)reader;
    source->stopped++;
    source->why = status;
}

static struct source source_of(size_t length, size_t step)
{
    return (struct source){
        .reader = {.fill = on_fill, .stop = on_stop}, .left = length, .step = step};
}

ON_BOTH(a_reader_is_asked_until_its_end)
{
    static const size_t steps[] = {100, 32000, 1000000};
    for (unsigned i = 0; i < 3; i++) {
        struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
        struct source source = source_of(500000, steps[i]), empty = source_of(0, 1);
        write_text(world, "+OK\r\n");
        CALL(world, cr_assert_eq(conn_send_reader(&world->conn, &source.reader), STATUS_OK));
        CALL(world, cr_assert_eq(conn_send_reader(&world->conn, &empty.reader), STATUS_OK));
        cr_assert(conn_output_full(&world->conn));
        write_text(world, ".\r\n");
        UNTIL(world, world->got_length == 500008);
        for (size_t at = 0; at < 500000; at++) {
            cr_assert_eq((unsigned char)world->got[at + 5], (unsigned char)at);
        }
        UNTIL(world, source.stopped == 1 && empty.stopped == 1);
        cr_assert_eq(source.why, STATUS_OK);
        world_close(world);
    }
}

ON_BOTH(a_reader_that_has_nothing_yet_is_asked_again_when_ready)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    struct source source = source_of(1000, 1000);
    source.pending = true;
    write_text(world, "+OK\r\n");
    CALL(world, cr_assert_eq(conn_send_reader(&world->conn, &source.reader), STATUS_OK));
    got(world, "+OK\r\n");
    turn_some(world);
    cr_assert_eq(world->drained, 0);
    source.pending = false;
    CALL(world, conn_reader_ready(&world->conn));
    UNTIL(world, world->got_length == 1005);
    UNTIL(world, world->drained == 1);
    world_close(world);
}

ON_BOTH(an_empty_reader_alone_drains_too)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    struct source source = source_of(0, 1);
    CALL(world, cr_assert_eq(conn_send_reader(&world->conn, &source.reader), STATUS_OK));
    UNTIL(world, world->drained == 1);
    world_close(world);
}

ON_BOTH(a_reader_that_fails_ends_the_conn_with_its_reason)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    struct source source = source_of(1000, 1000);
    source.fails = STATUS_CORRUPT;
    CALL(world, cr_assert_eq(conn_send_reader(&world->conn, &source.reader), STATUS_OK));
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_CORRUPT);
    cr_assert_eq(source.stopped, 1);
    cr_assert_eq(source.why, STATUS_CORRUPT);
    world_close(world);
}

ON_BOTH(a_reader_runs_to_its_end_after_finish)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    struct source source = source_of(200000, 1000), late = source_of(1, 1);
    CALL(world, cr_assert_eq(conn_send_reader(&world->conn, &source.reader), STATUS_OK));
    CALL(world, conn_finish(&world->conn));
    CALL(world, (void)conn_send_reader(&world->conn, &late.reader));
    cr_assert_eq(late.stopped, 1);
    UNTIL(world, world->got_end);
    cr_assert_eq(world->got_length, 200000);
    world_close(world);
}

ON_BOTH(a_slow_reader_fills_the_output_until_it_drains)
{
    static char block[20000];
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    size_t written = 0;
    for (unsigned i = 0; i < 10000 && !conn_output_full(&world->conn); i++) {
        CALL(world, cr_assert_eq(conn_write(&world->conn, block, sizeof block), STATUS_OK));
        written += sizeof block;
        turn(world); /* the peer does not read */
        world->drained = 0;
        if (written > 3500000) {
            cr_skip_test("this machine's sockets take everything");
        }
    }
    UNTIL(world, world->drained > 0);
    cr_assert_leq(conn_output_pending(&world->conn), CONN_OUTPUT_LOW);
    UNTIL(world, world->got_length == written);
    world_close(world);
}

ON_BOTH(a_peer_that_dies_in_the_middle_of_output_ends_the_conn)
{
    struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
    struct source source = source_of(SIZE_MAX, 1000000);
    CALL(world, cr_assert_eq(conn_send_reader(&world->conn, &source.reader), STATUS_OK));
    turn_some(world);
    reset(world);
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_RESET);
    cr_assert_eq(source.stopped, 1);
    cr_assert_eq(source.why, STATUS_RESET);
    world_close(world);
}

static size_t abort_on_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct world *world = world_of(conn);
    world->input_calls++;
    (void)conn_write(conn, "-ERR\r\n", 6);
    if (memchr(data, 'Q', length) != NULL) {
        conn_finish(conn);
    } else if (memchr(data, 'A', length) != NULL) {
        conn_abort(conn, STATUS_DENIED);
    }
    return 0;
}

ON_BOTH(a_conn_may_be_ended_from_its_own_input)
{
    static const struct conn_events ending = {.on_input = abort_on_input,
                                              .on_input_end = on_input_end,
                                              .on_drained = on_drained,
                                              .on_closed = on_closed};
    static const char *const words[] = {"x", "Q", "x", "A"};
    for (unsigned i = 0; i < 4; i += 2) {
        struct world *world = world_open(kind, LOOP_RECEIVE_STREAM);
        world->conn.events = &ending;
        say(world, words[i]); /* held; then the end comes while the held octets are offered */
        UNTIL(world, world->input_calls == 1);
        say(world, words[i + 1]);
        UNTIL(world, world->got_end);
        leave(world);
        UNTIL(world, world->closed > 0);
        cr_assert_eq(world->reason, i == 0 ? STATUS_OK : STATUS_DENIED);
        world_close(world);
    }
}

Test(conn, a_conn_is_small)
{
    cr_assert_lt(sizeof(struct conn), 768);
}
