/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every loop back end must do, as a list of cases that each back end runs unchanged. A case is
 * a function that gets a fresh loop and looks at nothing but io/loop.h. Plain executable, one
 * thread (but where a case starts some).
 */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include "io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct setup {
    struct loop *loop;
    bool submitting; /* inside a call of the loop: no callback may come now */
    unsigned wakes;
    uint64_t seed;
};

struct test_case {
    const char *name; /* a sentence */
    void (*run)(struct setup *setup);
    uint32_t stream_buffers; /* 0: the default */
};

/* Each file of cases; ended by a NULL name. */
extern const struct test_case receive_cases[], send_cases[], life_cases[], accept_cases[],
    stress_cases[], ready_cases[];

/* Says what is wrong and lets the case fail; the case runs on. */
#define CHECK(condition)  check((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQUAL(a, b) check_equal((int64_t)(a), (int64_t)(b), #a " == " #b, __FILE__, __LINE__)
bool check(bool condition, const char *text, const char *file, int line);
bool check_equal(int64_t a, int64_t b, const char *text, const char *file, int line);

/* Wraps a call of the loop, to find callbacks from inside it. */
#define CALL(setup, call)            \
    do {                             \
        (setup)->submitting = true;  \
        call;                        \
        (setup)->submitting = false; \
    } while (0)

/* An operation that writes down what happens to it. */
struct probe {
    struct loop_op op;
    struct setup *setup;
    unsigned submitted, done, data_calls, accepted;
    enum status status;
    size_t octets;
    unsigned order; /* the how-manieth completion of all it was */
    uint8_t *data;  /* everything received, when `capacity` is set */
    size_t length, capacity;
    int fds[64];
    void (*on_done)(struct probe *probe); /* may submit again; NULL: nothing more */
    void *owner;
};

void probe_init(struct probe *probe, struct setup *setup);        /* receive, send, ... */
void probe_init_accept(struct probe *probe, struct setup *setup); /* accept */
void probe_deinit(struct probe *probe);

/* Submits through a probe. */
void probe_receive(struct probe *probe, int fd, enum loop_receive_mode mode);
void probe_send(struct probe *probe, int fd, const void *data, size_t length);
void probe_send_file(struct probe *probe, int fd, int file, uint64_t offset, size_t length);
void probe_read(struct probe *probe, int file, void *data, size_t length, uint64_t offset);
void probe_watch(struct probe *probe, int fd);
void probe_readable(struct probe *probe, int fd);
void probe_writable(struct probe *probe, int fd);
void probe_accept(struct probe *probe, int fd);
void probe_close(struct probe *probe, int fd);
void probe_cancel(struct probe *probe);

/* Turns the loop until `probe` has been answered as often as it was submitted; false after 10 s. */
bool until_done(struct probe *probe);

/* Turns until *value >= wanted; false after 10 s. */
bool until_reached(struct setup *setup, const size_t *value, size_t wanted);

/* A few turns that do not wait: for what must not happen. */
void turn_some(struct setup *setup);

/* Connected non-blocking sockets: [0] for the loop, [1] for the case. */
void tcp_pair(int out_fds[2]);
void unix_pair(int out_fds[2]);
int listen_loopback(uint16_t *out_port); /* non-blocking */
int connect_loopback(uint16_t port);     /* -1 when refused; blocking connect, then non-blocking */

/* Waits, without turning any loop, until `fd` is readable. */
void await_readable(int fd);

/* Closes with a reset. */
void reset_close(int fd);

/* Octets whose value follows from their position, so that a loss, a repetition or a mix shows. */
uint8_t pattern_at(uint64_t position);
void pattern_fill(void *data, uint64_t position, size_t length);
bool pattern_matches(const void *data, uint64_t position, size_t length);

/* An unlinked file of `length` octets of the pattern. */
int pattern_file(size_t length);

/* Reads what is there (until EAGAIN or end), at most `most`; sets *out_end at the stream's end. */
size_t drain(int fd, void *data, size_t most, bool *out_end);

/* All of `data`, turning the loop while the socket is full. */
void write_all(struct setup *setup, int fd, const void *data, size_t length);

/* A small generator; its seed is printed by main. */
uint64_t random_next(uint64_t *state);

#endif
