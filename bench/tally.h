/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one generator thread counts: operations and errors by kind, latencies, and windows, the
 * slices of the measured time. A tally belongs to its thread until the thread has ended; only
 * windows below `windows_done` may be read by others before (the live view). Tallies of threads are
 * merged exactly.
 */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include "bench/latencies.h"
#include "bench/workload.h"
#include "io/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum bench_error {
    BENCH_ERROR_CONNECT,   /* no connection */
    BENCH_ERROR_TLS,       /* the handshake failed */
    BENCH_ERROR_TIMEOUT,   /* no reply in time, or not finished when the run ended */
    BENCH_ERROR_CLOSED,    /* the server ended the connection in the middle */
    BENCH_ERROR_AUTH,      /* login refused */
    BENCH_ERROR_IN_USE,    /* the maildrop is locked */
    BENCH_ERROR_REFUSED,   /* another command refused */
    BENCH_ERROR_PROTOCOL,  /* a reply that is none */
    BENCH_ERROR_SIZE,      /* a message of another size than LIST or the message itself said */
    BENCH_ERROR_CONTENT,   /* octets that were not sent */
    BENCH_ERROR_MISPLACED, /* a message of another user */
    BENCH_ERROR_UIDL,      /* a unique-id changed, vanished or came twice */
    BENCH_ERROR_COUNT
};

/* Stable names such as "in_use". */
const char *bench_error_name(enum bench_error error);

enum bench_command {
    COMMAND_CONNECT, /* until the greeting */
    COMMAND_TLS,
    COMMAND_AUTH, /* all of it */
    COMMAND_STAT,
    COMMAND_UIDL,
    COMMAND_LIST,
    COMMAND_RETR,
    COMMAND_DELE,
    COMMAND_NOOP,
    COMMAND_QUIT,
    COMMAND_LHLO,
    COMMAND_MAIL,
    COMMAND_RCPT,
    COMMAND_DATA,
    COMMAND_BODY,
    COMMAND_COUNT
};

/* Stable names such as "retr". */
const char *bench_command_name(enum bench_command command);

#define TALLY_PRECISION        8   /* bits: 0.4 % */
#define TALLY_WINDOW_PRECISION 5   /* bits: 3 %; a window has to be small */
#define TALLY_WINDOWS_MAX      600 /* windows of a run: as many as a plot can show */

struct tally_window {
    uint64_t operations, errors, octets_in, octets_out;
    uint64_t backlog, sessions; /* at its end */
    struct latencies latency;
};

struct tally {
    struct latencies latency[WORK_KIND_COUNT]; /* ns, of operations that ended well or timed out */
    struct latencies command[COMMAND_COUNT];
    struct latencies lag; /* ns from scheduled to started, where a connection was free */
    uint64_t operations[WORK_KIND_COUNT], failed[WORK_KIND_COUNT];
    uint64_t errors[BENCH_ERROR_COUNT];
    uint64_t octets_in, octets_out, verified, unmarked;
    uint64_t handshakes_full, handshakes_resumed;
    uint64_t backlog_max, sessions;
    uint64_t run_ns, wait_ns;            /* of the thread: on a processor, waiting for one */
    double busy;                         /* share of the measured time; of several: the greatest */
    int64_t window_ns, start_ns, end_ns; /* the measured time, CLOCK_MONOTONIC */
    unsigned window_count;
    struct tally_window *windows;
    atomic_uint windows_done;
    char first_error[160]; /* what the first refused command was told */
};

/* STATUS_NO_MEMORY: deinit is harmless. */
MUST_CHECK enum status tally_init(struct tally *tally, unsigned window_count);
void tally_deinit(struct tally *tally);

/* Says when the measured time is; before any recording. */
void tally_set_time(struct tally *tally, int64_t start_ns, int64_t window_ns);

/* Whether `now_ns` is in the measured time. */
bool tally_measures(const struct tally *tally, int64_t now_ns);

/* An operation that began (or was to begin) at `from_ns` has ended. Counted by when it was to
 * begin;
 * in the windows by when it ended. */
void tally_operation(struct tally *tally, enum work_kind kind, int64_t from_ns, int64_t now_ns);

/* One has failed. */
void tally_failure(struct tally *tally, enum work_kind kind, enum bench_error error,
                   int64_t from_ns, int64_t now_ns);

/* A command sent at `from_ns` has its reply. */
void tally_command(struct tally *tally, enum bench_command command, int64_t from_ns,
                   int64_t now_ns);

/* Octets have moved. */
void tally_octets(struct tally *tally, uint64_t in, uint64_t out, int64_t now_ns);

/* Closes the windows that have ended, with what stands at this moment. */
void tally_pass(struct tally *tally, int64_t now_ns, uint64_t backlog, uint64_t sessions);

/* Adds all of `other`, which has as many windows. */
void tally_merge(struct tally *tally, const struct tally *other);

/* All operations that ended well and all that failed; those that ended in the measured time. */
uint64_t tally_operations(const struct tally *tally);
uint64_t tally_failures(const struct tally *tally);
uint64_t tally_in_time(const struct tally *tally);

#endif
