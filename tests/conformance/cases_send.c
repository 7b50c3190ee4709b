/* SPDX-License-Identifier: Apache-2.0 */
/* Sends, files and cold reads. */
#include "tests/conformance/conformance.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LARGE (8 * 1024 * 1024) /* octets: more than any socket takes at once */

static void close_both(struct setup *setup, const int fds[2])
{
    struct probe closing;
    probe_init(&closing, setup);
    probe_close(&closing, fds[0]);
    (void)until_done(&closing);
    probe_deinit(&closing);
    (void)close(fds[1]);
}

static void small_buffers(const int fds[2])
{
    int size = 16384;
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void)setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static void a_send_of_many_pieces_keeps_their_order(struct setup *setup)
{
    int fds[2];
    uint8_t data[LOOP_IOV_MAX * 100], got[sizeof data];
    struct probe send_probe;
    bool end = false;
    tcp_pair(fds);
    pattern_fill(data, 0, sizeof data);
    probe_init(&send_probe, setup);
    for (unsigned count = 1; count <= LOOP_IOV_MAX; count++) {
        struct iovec iov[LOOP_IOV_MAX];
        for (unsigned i = 0; i < count; i++) {
            iov[i] = (struct iovec){.iov_base = data + (size_t)i * 100, .iov_len = 100};
        }
        send_probe.submitted++;
        CALL(setup, loop_send(setup->loop, &send_probe.op, fds[0], iov, count, (count & 1) != 0));
        memset(iov, 0, sizeof iov); /* the entries are the loop's no longer */
        (void)until_done(&send_probe);
        CHECK_EQUAL(send_probe.status, STATUS_OK);
        CHECK_EQUAL(send_probe.octets, count * 100);
        size_t length = 0;
        int64_t patience = 10000;
        while (length < send_probe.octets && patience-- > 0) {
            length += drain(fds[1], got + length, sizeof got - length, &end);
            loop_turn(setup->loop, 1);
        }
        CHECK_EQUAL(length, count * 100);
        CHECK(pattern_matches(got, 0, length));
    }
    close_both(setup, fds);
    probe_deinit(&send_probe);
}

/* Something long being sent piece by piece. */
struct transfer {
    int fd, file; /* file: -1 for memory */
    const uint8_t *data;
    size_t length, sent;
    bool encrypted; /* the file is sent as where the kernel encrypts */
};

static void send_next(struct probe *probe)
{
    struct transfer *transfer = probe->owner;
    if (probe->done > 0) {
        if (!CHECK_EQUAL(probe->status, STATUS_OK) || !CHECK(probe->octets > 0)) {
            return;
        }
        transfer->sent += probe->octets;
    }
    size_t left = transfer->length - transfer->sent;
    if (left == 0) {
        return;
    }
    probe->submitted++;
    if (transfer->file >= 0 && transfer->encrypted) {
        loop_send_file_encrypted(probe->setup->loop, &probe->op, transfer->fd, transfer->file,
                                 transfer->sent, left);
    } else if (transfer->file >= 0) {
        loop_send_file(probe->setup->loop, &probe->op, transfer->fd, transfer->file, transfer->sent,
                       left);
    } else {
        struct iovec iov = {.iov_base = (void *)(uintptr_t)(transfer->data + transfer->sent),
                            .iov_len = left};
        loop_send(probe->setup->loop, &probe->op, transfer->fd, &iov, 1, false);
    }
}

/* Moves the whole transfer to a reader that takes a little at a time. */
static void transfer_slowly(struct setup *setup, struct transfer *transfer, const int fds[2])
{
    struct probe probe;
    uint8_t *got = malloc(transfer->length);
    size_t length = 0;
    bool end = false;
    probe_init(&probe, setup);
    probe.on_done = send_next;
    probe.owner = transfer;
    send_next(&probe);
    CHECK_EQUAL(probe.done, 0);
    turn_some(setup);
    CHECK(transfer->sent < transfer->length); /* the socket is full: it waits */
    for (unsigned patience = 100000; length < transfer->length && patience > 0; patience--) {
        size_t most = transfer->length - length < 50000 ? transfer->length - length : 50000;
        length += drain(fds[1], got + length, most, &end);
        loop_turn(setup->loop, probe.done < probe.submitted ? 1 : 0);
    }
    CHECK_EQUAL(transfer->sent, transfer->length);
    CHECK_EQUAL(length, transfer->length);
    CHECK(pattern_matches(got, 0, length));
    free(got);
    probe_deinit(&probe);
}

static void a_full_socket_is_waited_for(struct setup *setup)
{
    uint8_t *data = malloc(LARGE);
    pattern_fill(data, 0, LARGE);
    for (unsigned round = 0; round < 2; round++) {
        int fds[2];
        (round == 0 ? tcp_pair : unix_pair)(fds);
        small_buffers(fds);
        struct transfer transfer = {.fd = fds[0], .file = -1, .data = data, .length = LARGE};
        transfer_slowly(setup, &transfer, fds);
        close_both(setup, fds);
    }
    free(data);
}

static void a_large_file_reaches_a_slow_reader_whole(struct setup *setup)
{
    int file = pattern_file(LARGE);
    for (unsigned round = 0; round < 4; round++) {
        int fds[2];
        (round % 2 == 0 ? tcp_pair : unix_pair)(fds);
        small_buffers(fds);
        struct transfer transfer = {
            .fd = fds[0], .file = file, .length = LARGE, .encrypted = round >= 2};
        transfer_slowly(setup, &transfer, fds);
        close_both(setup, fds);
    }
    (void)close(file);
}

static void a_file_that_ends_early_tells_so(struct setup *setup)
{
    int fds[2], file = pattern_file(1000);
    struct probe probe;
    uint8_t got[2000];
    bool end = false;
    tcp_pair(fds);
    probe_init(&probe, setup);
    probe_send_file(&probe, fds[0], file, 400, 5000);
    CHECK_EQUAL(probe.done, 0);
    (void)until_done(&probe);
    CHECK_EQUAL(probe.status, STATUS_OK);
    CHECK_EQUAL(probe.octets, 600);
    probe_send_file(&probe, fds[0], file, 1000, 5000);
    (void)until_done(&probe);
    CHECK_EQUAL(probe.status, STATUS_EOF);
    probe_send_file(&probe, fds[0], file, 999999, 1);
    (void)until_done(&probe);
    CHECK_EQUAL(probe.status, STATUS_EOF);
    size_t length = 0;
    for (unsigned patience = 1000; length < 600 && patience > 0; patience--) {
        length += drain(fds[1], got + length, sizeof got - length, &end);
        loop_turn(setup->loop, 1);
    }
    CHECK_EQUAL(length, 600);
    CHECK(pattern_matches(got, 400, 600));
    close_both(setup, fds);
    (void)close(file);
    probe_deinit(&probe);
}

static void sends_to_a_dead_peer_fail_quietly(struct setup *setup)
{
    int file = pattern_file(1000);
    for (unsigned round = 0; round < 2; round++) {
        int fds[2];
        struct probe probe;
        (round == 0 ? tcp_pair : unix_pair)(fds);
        probe_init(&probe, setup);
        reset_close(fds[1]);
        turn_some(setup);
        probe_send(&probe, fds[0], "+OK\r\n", 5); /* a SIGPIPE would end this program */
        (void)until_done(&probe);
        CHECK_EQUAL(probe.status, STATUS_RESET);
        probe_send_file(&probe, fds[0], file, 0, 1000);
        (void)until_done(&probe);
        CHECK_EQUAL(probe.status, STATUS_RESET);
        struct probe closing;
        probe_init(&closing, setup);
        probe_close(&closing, fds[0]);
        (void)until_done(&closing);
        probe_deinit(&closing);
        probe_deinit(&probe);
    }
    (void)close(file);
}

/* Fills the socket until not even one octet goes in. */
static void fill(int fd)
{
    static uint8_t zeros[65536];
    for (size_t piece = sizeof zeros; piece > 0; piece /= 16) {
        while (send(fd, zeros, piece, MSG_NOSIGNAL) > 0) {
        }
    }
}

static void waiting_sends_can_be_cancelled(struct setup *setup)
{
    int file = pattern_file(1000);
    for (unsigned round = 0; round < 4; round++) {
        int fds[2];
        struct probe probe;
        /* Not sendfile to a UNIX socket: kernel 6.1 takes a file there however full the socket is.
         */
        (round % 2 == 0 ? unix_pair : tcp_pair)(fds);
        small_buffers(fds);
        fill(fds[0]);
        turn_some(setup); /* TCP moves some of it to the other side */
        fill(fds[0]);
        probe_init(&probe, setup);
        if (round % 2 == 0) {
            probe_send(&probe, fds[0], "+OK\r\n", 5);
        } else {
            probe_send_file(&probe, fds[0], file, 0, 1000);
        }
        if (round < 2) {
            turn_some(setup);
            CHECK_EQUAL(probe.done, 0);
        }
        probe_cancel(&probe);
        CHECK_EQUAL(probe.done, 0);
        (void)until_done(&probe);
        CHECK_EQUAL(probe.status, STATUS_CANCELLED);
        close_both(setup, fds);
        probe_deinit(&probe);
    }
    (void)close(file);
}

static void a_peer_that_dies_ends_a_waiting_send(struct setup *setup)
{
    int file = pattern_file(1000);
    for (unsigned round = 0; round < 2; round++) {
        int fds[2];
        struct probe probe;
        tcp_pair(fds);
        small_buffers(fds);
        probe_init(&probe, setup);
        fill(fds[0]);
        turn_some(setup);
        fill(fds[0]);
        if (round == 0) {
            probe_send(&probe, fds[0], "+OK\r\n", 5);
        } else {
            probe_send_file(&probe, fds[0], file, 0, 1000);
        }
        turn_some(setup);
        reset_close(fds[1]);
        (void)until_done(&probe);
        CHECK_EQUAL(probe.status, STATUS_RESET);
        struct probe closing;
        probe_init(&closing, setup);
        probe_close(&closing, fds[0]);
        (void)until_done(&closing);
        probe_deinit(&closing);
        probe_deinit(&probe);
    }
    (void)close(file);
}

static void a_cold_file_is_read(struct setup *setup)
{
    enum { LENGTH = 1024 * 1024, PIECE = 50000 };
    int file = pattern_file(LENGTH);
    uint8_t *data = malloc(PIECE);
    struct probe probe;
    (void)fdatasync(file);
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED); /* where it does nothing, it is warm */
    probe_init(&probe, setup);
    size_t at = 0;
    while (at < LENGTH) {
        probe_read(&probe, file, data, PIECE, at);
        CHECK_EQUAL(probe.done + 1, probe.submitted);
        if (!until_done(&probe) || !CHECK_EQUAL(probe.status, STATUS_OK)) {
            break;
        }
        CHECK(pattern_matches(data, at, probe.octets));
        at += probe.octets;
    }
    CHECK_EQUAL(at, LENGTH);
    probe_read(&probe, file, data, PIECE, LENGTH);
    (void)until_done(&probe);
    CHECK_EQUAL(probe.status, STATUS_EOF);
    CHECK_EQUAL(probe.octets, 0);
    probe_deinit(&probe);
    free(data);
    (void)close(file);
}

static void many_reads_run_at_once_and_answer_in_spite_of_a_cancel(struct setup *setup)
{
    enum { READS = 40, PIECE = 1000 };
    static uint8_t data[READS][PIECE];
    struct probe probes[READS];
    int file = pattern_file(READS * PIECE);
    for (unsigned i = 0; i < READS; i++) {
        probe_init(&probes[i], setup);
        probe_read(&probes[i], file, data[i], PIECE, (uint64_t)i * PIECE);
        if (i % 3 == 0) {
            probe_cancel(&probes[i]);
        }
    }
    for (unsigned i = 0; i < READS; i++) {
        (void)until_done(&probes[i]);
        CHECK_EQUAL(probes[i].status, STATUS_OK);
        CHECK_EQUAL(probes[i].octets, PIECE);
        CHECK(pattern_matches(data[i], (uint64_t)i * PIECE, PIECE));
        probe_deinit(&probes[i]);
    }
    (void)close(file);
}

static void a_read_of_a_wrong_descriptor_fails(struct setup *setup)
{
    uint8_t octet;
    struct probe probe;
    int file = open("/dev/null", O_WRONLY | O_CLOEXEC);
    probe_init(&probe, setup);
    probe_read(&probe, file, &octet, 1, 0);
    (void)until_done(&probe);
    CHECK_EQUAL(probe.status, STATUS_IO);
    probe_deinit(&probe);
    (void)close(file);
}

const struct test_case send_cases[] = {
    {"a send of many pieces keeps their order", a_send_of_many_pieces_keeps_their_order, 0},
    {"a full socket is waited for", a_full_socket_is_waited_for, 0},
    {"a large file reaches a slow reader whole", a_large_file_reaches_a_slow_reader_whole, 0},
    {"a file that ends early tells so", a_file_that_ends_early_tells_so, 0},
    {"sends to a dead peer fail quietly", sends_to_a_dead_peer_fail_quietly, 0},
    {"waiting sends can be cancelled", waiting_sends_can_be_cancelled, 0},
    {"a peer that dies ends a waiting send", a_peer_that_dies_ends_a_waiting_send, 0},
    {"a cold file is read", a_cold_file_is_read, 0},
    {"many reads run at once, and answer in spite of a cancel",
     many_reads_run_at_once_and_answer_in_spite_of_a_cancel, 0},
    {"a read of a wrong descriptor fails", a_read_of_a_wrong_descriptor_fails, 0},
    {NULL, NULL, 0}};
