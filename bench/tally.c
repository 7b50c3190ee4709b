/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/tally.h"

#include <assert.h>
#include <stdlib.h>

const char *bench_error_name(enum bench_error error)
{
    static const char *const names[BENCH_ERROR_COUNT] = {
        [BENCH_ERROR_CONNECT] = "connect",     [BENCH_ERROR_TLS] = "tls",
        [BENCH_ERROR_TIMEOUT] = "timeout",     [BENCH_ERROR_CLOSED] = "closed",
        [BENCH_ERROR_AUTH] = "auth",           [BENCH_ERROR_IN_USE] = "in_use",
        [BENCH_ERROR_REFUSED] = "refused",     [BENCH_ERROR_PROTOCOL] = "protocol",
        [BENCH_ERROR_SIZE] = "size",           [BENCH_ERROR_CONTENT] = "content",
        [BENCH_ERROR_MISPLACED] = "misplaced", [BENCH_ERROR_UIDL] = "uidl",
    };
    return names[error];
}

const char *bench_command_name(enum bench_command command)
{
    static const char *const names[COMMAND_COUNT] = {
        [COMMAND_CONNECT] = "connect", [COMMAND_TLS] = "tls",   [COMMAND_AUTH] = "auth",
        [COMMAND_STAT] = "stat",       [COMMAND_UIDL] = "uidl", [COMMAND_LIST] = "list",
        [COMMAND_RETR] = "retr",       [COMMAND_DELE] = "dele", [COMMAND_NOOP] = "noop",
        [COMMAND_QUIT] = "quit",       [COMMAND_LHLO] = "lhlo", [COMMAND_MAIL] = "mail",
        [COMMAND_RCPT] = "rcpt",       [COMMAND_DATA] = "data", [COMMAND_BODY] = "body",
    };
    return names[command];
}

static enum status windows_init(struct tally *tally, unsigned window_count)
{
    tally->windows = calloc(window_count, sizeof tally->windows[0]);
    if (tally->windows == NULL) {
        return STATUS_NO_MEMORY;
    }
    tally->window_count = window_count;
    enum status status = STATUS_OK;
    for (unsigned index = 0; index < window_count && status == STATUS_OK; index++) {
        status = latencies_init(&tally->windows[index].latency, TALLY_WINDOW_PRECISION);
    }
    return status;
}

enum status tally_init(struct tally *tally, unsigned window_count)
{
    *tally = (struct tally){.end_ns = INT64_MIN, .start_ns = INT64_MAX, .window_ns = 1};
    atomic_init(&tally->windows_done, 0);
    enum status status = latencies_init(&tally->lag, TALLY_PRECISION);
    for (unsigned kind = 0; kind < WORK_KIND_COUNT && status == STATUS_OK; kind++) {
        status = latencies_init(&tally->latency[kind], TALLY_PRECISION);
    }
    for (unsigned command = 0; command < COMMAND_COUNT && status == STATUS_OK; command++) {
        status = latencies_init(&tally->command[command], TALLY_PRECISION);
    }
    return status == STATUS_OK ? windows_init(tally, window_count) : status;
}

void tally_deinit(struct tally *tally)
{
    latencies_deinit(&tally->lag);
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        latencies_deinit(&tally->latency[kind]);
    }
    for (unsigned command = 0; command < COMMAND_COUNT; command++) {
        latencies_deinit(&tally->command[command]);
    }
    for (unsigned index = 0; tally->windows != NULL && index < tally->window_count; index++) {
        latencies_deinit(&tally->windows[index].latency);
    }
    free(tally->windows);
    tally->windows = NULL;
}

void tally_set_time(struct tally *tally, int64_t start_ns, int64_t window_ns)
{
    tally->start_ns = start_ns;
    tally->window_ns = window_ns;
    tally->end_ns = start_ns + window_ns * tally->window_count;
}

bool tally_measures(const struct tally *tally, int64_t now_ns)
{
    return now_ns >= tally->start_ns && now_ns < tally->end_ns;
}

/* The window of that time; NULL outside of the measured time. */
static struct tally_window *window_at(struct tally *tally, int64_t now_ns)
{
    if (!tally_measures(tally, now_ns)) {
        return NULL;
    }
    return &tally->windows[(now_ns - tally->start_ns) / tally->window_ns];
}

static uint64_t since(int64_t from_ns, int64_t now_ns)
{
    return now_ns > from_ns ? (uint64_t)(now_ns - from_ns) : 0;
}

void tally_operation(struct tally *tally, enum work_kind kind, int64_t from_ns, int64_t now_ns)
{
    uint64_t took = since(from_ns, now_ns);
    struct tally_window *window = window_at(tally, now_ns);
    if (tally_measures(tally, from_ns)) {
        tally->operations[kind]++;
        latencies_record(&tally->latency[kind], took);
    }
    if (window != NULL) {
        window->operations++;
        latencies_record(&window->latency, took);
    }
}

void tally_failure(struct tally *tally, enum work_kind kind, enum bench_error error,
                   int64_t from_ns, int64_t now_ns)
{
    struct tally_window *window = window_at(tally, now_ns);
    if (tally_measures(tally, from_ns)) {
        tally->failed[kind]++;
        tally->errors[error]++;
        if (error == BENCH_ERROR_TIMEOUT) {
            /* Leaving it out would make a server look faster the more it drops. */
            latencies_record(&tally->latency[kind], since(from_ns, now_ns));
        }
    }
    if (window != NULL) {
        window->errors++;
    }
}

void tally_command(struct tally *tally, enum bench_command command, int64_t from_ns, int64_t now_ns)
{
    if (tally_measures(tally, now_ns)) {
        latencies_record(&tally->command[command], since(from_ns, now_ns));
    }
}

void tally_octets(struct tally *tally, uint64_t in, uint64_t out, int64_t now_ns)
{
    struct tally_window *window = window_at(tally, now_ns);
    if (window != NULL) {
        tally->octets_in += in;
        tally->octets_out += out;
        window->octets_in += in;
        window->octets_out += out;
    }
}

void tally_pass(struct tally *tally, int64_t now_ns, uint64_t backlog, uint64_t sessions)
{
    if (now_ns < tally->start_ns) {
        return;
    }
    unsigned done = atomic_load_explicit(&tally->windows_done, memory_order_relaxed);
    unsigned first = done;
    while (done < tally->window_count &&
           now_ns >= tally->start_ns + (int64_t)(done + 1) * tally->window_ns) {
        tally->windows[done].backlog = backlog;
        tally->windows[done].sessions = sessions;
        done++;
    }
    if (done != first) {
        /* Release: pairs with the acquire of the live view, which then reads those windows. */
        atomic_store_explicit(&tally->windows_done, done, memory_order_release);
    }
}

static void merge_windows(struct tally *tally, const struct tally *other)
{
    for (unsigned index = 0; index < tally->window_count; index++) {
        struct tally_window *to = &tally->windows[index];
        const struct tally_window *from = &other->windows[index];
        to->operations += from->operations;
        to->errors += from->errors;
        to->octets_in += from->octets_in;
        to->octets_out += from->octets_out;
        to->backlog += from->backlog;
        to->sessions += from->sessions;
        latencies_merge(&to->latency, &from->latency);
    }
}

void tally_merge(struct tally *tally, const struct tally *other)
{
    assert(tally->window_count == other->window_count);
    latencies_merge(&tally->lag, &other->lag);
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        latencies_merge(&tally->latency[kind], &other->latency[kind]);
        tally->operations[kind] += other->operations[kind];
        tally->failed[kind] += other->failed[kind];
    }
    for (unsigned command = 0; command < COMMAND_COUNT; command++) {
        latencies_merge(&tally->command[command], &other->command[command]);
    }
    for (unsigned error = 0; error < BENCH_ERROR_COUNT; error++) {
        tally->errors[error] += other->errors[error];
    }
    tally->octets_in += other->octets_in;
    tally->octets_out += other->octets_out;
    tally->verified += other->verified;
    tally->unmarked += other->unmarked;
    tally->handshakes_full += other->handshakes_full;
    tally->handshakes_resumed += other->handshakes_resumed;
    tally->backlog_max += other->backlog_max;
    tally->sessions += other->sessions;
    tally->run_ns += other->run_ns;
    tally->wait_ns += other->wait_ns;
    tally->busy = other->busy > tally->busy ? other->busy : tally->busy;
    if (tally->first_error[0] == '\0') {
        for (size_t at = 0; at < sizeof tally->first_error; at++) {
            tally->first_error[at] = other->first_error[at];
        }
    }
    merge_windows(tally, other);
}

uint64_t tally_operations(const struct tally *tally)
{
    uint64_t total = 0;
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        total += tally->operations[kind];
    }
    return total;
}

uint64_t tally_failures(const struct tally *tally)
{
    uint64_t total = 0;
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        total += tally->failed[kind];
    }
    return total;
}

uint64_t tally_in_time(const struct tally *tally)
{
    uint64_t total = 0;
    for (unsigned index = 0; index < tally->window_count; index++) {
        total += tally->windows[index].operations;
    }
    return total;
}
