/* SPDX-License-Identifier: Apache-2.0 */
#include "io/log.h"

#include "io/calendar.h"
#include "io/digits.h"
#include "io/io_limits.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * Writers copy their finished line into a ring of octets under a mutex held for that copy only; the
 * log thread takes out whole stretches under the same mutex and writes them with it released. The
 * mutex is therefore never held across a system call that can wait.
 *
 * Waking the thread and its write cost more than the line itself, so after a write it rests: what
 * comes meanwhile is written together, and whoever logs wakes nobody. What is worth a warning is
 * not put off, nor is a ring that fills up.
 */
enum log_thread_state {
    LOG_THREAD_BUSY, /* will look at the ring before it waits */
    LOG_THREAD_IDLE, /* waits for a line */
    LOG_THREAD_RESTS /* waits for LOG_REST_MS to pass */
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    pthread_t thread;
    char *ring; /* LOG_QUEUE_OCTETS */
    size_t head, length;
    uint64_t dropped;          /* since start */
    uint64_t dropped_reported; /* of these, how many a line has told of */
    enum log_thread_state state;
    bool stopping;
    atomic_bool running;
    atomic_int fd;
    atomic_int level;
} queue = {.mutex = PTHREAD_MUTEX_INITIALIZER,
           .filled = PTHREAD_COND_INITIALIZER,
           .fd = STDERR_FILENO,
           .level = LOG_LEVEL_INFO};

static void write_whole(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, data, length);
        if (written > 0) {
            data += written;
            length -= (size_t)written;
        } else if (written < 0 && errno == EAGAIN) {
            struct pollfd waiting = {.fd = fd, .events = POLLOUT};
            (void)poll(&waiting, 1, -1); /* the next write tells what it found */
        } else if (written < 0 && errno != EINTR) {
            return; /* nobody to tell: the log itself is gone */
        }
    }
}

/* Both ring copies are called with the mutex held. */
static void ring_put(const char *data, size_t length)
{
    size_t tail = (queue.head + queue.length) % LOG_QUEUE_OCTETS;
    size_t first = LOG_QUEUE_OCTETS - tail < length ? LOG_QUEUE_OCTETS - tail : length;
    memcpy(queue.ring + tail, data, first);
    memcpy(queue.ring, data + first, length - first);
    queue.length += length;
}

static size_t ring_take(char *out_data, size_t capacity)
{
    size_t length = queue.length < capacity ? queue.length : capacity;
    size_t left = LOG_QUEUE_OCTETS - queue.head;
    size_t first = left < length ? left : length;
    memcpy(out_data, queue.ring + queue.head, first);
    memcpy(out_data + first, queue.ring, length - first);
    queue.head = (queue.head + length) % LOG_QUEUE_OCTETS;
    queue.length -= length;
    return length;
}

/* Both waits are called with the mutex held. */
static void wait_for_line(void)
{
    queue.state = LOG_THREAD_IDLE;
    while (queue.length == 0 && !queue.stopping) {
        (void)pthread_cond_wait(&queue.filled, &queue.mutex);
    }
    queue.state = LOG_THREAD_BUSY;
}

static void rest(void)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end); /* cannot fail with this clock */
    end.tv_nsec += LOG_REST_MS * 1000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    queue.state = LOG_THREAD_RESTS;
    while (queue.state == LOG_THREAD_RESTS && !queue.stopping &&
           pthread_cond_clockwait(&queue.filled, &queue.mutex, CLOCK_MONOTONIC, &end) == 0) {
    }
    queue.state = LOG_THREAD_BUSY;
}

/* With the mutex held, after a line has been put into the ring. */
static void wake_for(enum log_level level)
{
    bool urgent = level <= LOG_LEVEL_WARNING || queue.length > LOG_QUEUE_OCTETS / 2;
    if (queue.state == LOG_THREAD_IDLE || (queue.state == LOG_THREAD_RESTS && urgent)) {
        queue.state = LOG_THREAD_BUSY; /* or soon: it has been told */
        (void)pthread_cond_signal(&queue.filled);
    }
}

static void *log_thread(void *argument)
{
    char *batch = argument; /* LOG_WRITE_OCTETS */
    (void)pthread_mutex_lock(&queue.mutex);
    for (;;) {
        wait_for_line();
        if (queue.length == 0) {
            break;
        }
        while (queue.length > 0) {
            size_t length = ring_take(batch, LOG_WRITE_OCTETS);
            (void)pthread_mutex_unlock(&queue.mutex);
            write_whole(atomic_load(&queue.fd), batch, length);
            (void)pthread_mutex_lock(&queue.mutex);
        }
        rest();
    }
    (void)pthread_mutex_unlock(&queue.mutex);
    free(batch);
    return NULL;
}

enum status log_start(int fd, enum log_level level)
{
    atomic_store(&queue.fd, fd);
    atomic_store(&queue.level, (int)level);
    char *ring = malloc(LOG_QUEUE_OCTETS);
    char *batch = malloc(LOG_WRITE_OCTETS);
    if (ring == NULL || batch == NULL) {
        free(ring);
        free(batch);
        return STATUS_NO_MEMORY;
    }
    queue.ring = ring;
    queue.head = queue.length = 0;
    queue.dropped = queue.dropped_reported = 0;
    queue.state = LOG_THREAD_BUSY;
    queue.stopping = false;
    /* Signals are for the program's own threads, and a log that nobody reads any more must not end
     * the program by SIGPIPE. */
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&queue.thread, NULL, log_thread, batch);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0) {
        free(ring);
        free(batch);
        queue.ring = NULL;
        return STATUS_IO;
    }
    atomic_store(&queue.running, true);
    return STATUS_OK;
}

static void report_dropped(void);

void log_stop(void)
{
    if (!atomic_load(&queue.running)) {
        return;
    }
    (void)pthread_mutex_lock(&queue.mutex);
    report_dropped();
    queue.stopping = true;
    (void)pthread_cond_signal(&queue.filled);
    (void)pthread_mutex_unlock(&queue.mutex);
    (void)pthread_join(queue.thread, NULL);
    atomic_store(&queue.running, false);
    free(queue.ring);
    queue.ring = NULL;
}

uint64_t log_dropped(void)
{
    (void)pthread_mutex_lock(&queue.mutex);
    uint64_t dropped = queue.dropped;
    (void)pthread_mutex_unlock(&queue.mutex);
    return dropped;
}

/* Appends what fits; one octet is always left for the newline. */
static bool append(struct log_line *line, const char *data, size_t length)
{
    if (length > LOG_LINE_MAX - 1 - line->length) {
        return false;
    }
    memcpy(line->text + line->length, data, length);
    line->length += length;
    return true;
}

static void append_time(struct log_line *line)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
    struct calendar date;
    calendar_utc((int64_t)now.tv_sec, &date);
    const struct {
        uint64_t number;
        unsigned width;
        char behind;
    } parts[] = {{(uint64_t)date.year, 4, '-'},
                 {date.month, 2, '-'},
                 {date.day, 2, 'T'},
                 {date.hour, 2, ':'},
                 {date.minute, 2, ':'},
                 {date.second, 2, '.'},
                 {(uint64_t)(now.tv_nsec / 1000000), 3, 'Z'}};
    char text[32];
    size_t length = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        length += digits_padded(text + length, parts[i].number, parts[i].width);
        text[length++] = parts[i].behind;
    }
    text[length++] = ' ';
    (void)append(line, text, length); /* an empty line has room */
}

void log_begin(struct log_line *line, enum log_level level, const char *event)
{
    static const char *const level_names[] = {"error", "warning", "info", "debug"};
    line->level = level;
    line->length = 0;
    /* Relaxed: the level is a filter, it orders nothing. */
    if ((int)level > atomic_load_explicit(&queue.level, memory_order_relaxed)) {
        return; /* an empty line: the fields and log_end pass it by */
    }
    append_time(line);
    (void)append(line, level_names[level], strlen(level_names[level]));
    (void)append(line, " ", 1);
    (void)append(line, event, strlen(event));
}

/* Begins a field, or says that it does not fit. */
static bool append_key(struct log_line *line, const char *key)
{
    size_t length = strlen(key);
    if (line->length == 0 || length + 3 > LOG_LINE_MAX - 1 - line->length) {
        return false;
    }
    (void)append(line, " ", 1);
    (void)append(line, key, length);
    (void)append(line, "=", 1);
    return true;
}

static bool is_plain(uint8_t octet)
{
    return octet >= 0x20 && octet < 0x7f && octet != '"' && octet != '\\';
}

/* Octets of `value` that need no escape. */
static size_t plain_run(const uint8_t *value, size_t length)
{
    size_t run = 0;
    while (run < length && is_plain(value[run])) {
        run++;
    }
    return run;
}

static bool append_escaped(struct log_line *line, uint8_t octet)
{
    char escaped[2 + 2] = "\\x";
    const char *digits = "0123456789abcdef";
    escaped[2] = digits[octet >> 4];
    escaped[3] = digits[octet & 15];
    return append(line, escaped, sizeof escaped);
}

/* As much of it as fits. */
static void append_value(struct log_line *line, const uint8_t *value, size_t length)
{
    while (length > 0) {
        size_t run = plain_run(value, length);
        size_t room = LOG_LINE_MAX - 1 - line->length;
        if (!append(line, (const char *)value, run < room ? run : room) || run > room ||
            (run < length && !append_escaped(line, value[run]))) {
            return; /* a full line simply ends here */
        }
        run += run < length ? 1 : 0;
        value += run;
        length -= run;
    }
}

void log_octets(struct log_line *line, const char *key, const void *value, size_t length)
{
    if (!append_key(line, key)) {
        return;
    }
    const uint8_t *octets = value;
    if (length > LOG_VALUE_MAX) {
        length = LOG_VALUE_MAX;
    }
    bool quoted = length == 0 || memchr(octets, ' ', length) != NULL;
    if (quoted && !append(line, "\"", 1)) {
        return;
    }
    append_value(line, octets, length);
    if (quoted) {
        (void)append(line, "\"", 1); /* a full line simply ends here */
    }
}

void log_text(struct log_line *line, const char *key, const char *value)
{
    if (value != NULL && log_is_on(line)) {
        log_octets(line, key, value, strlen(value));
    }
}

static size_t put_sign(char *out, int64_t value)
{
    *out = '-';
    return value < 0 ? 1 : 0;
}

static uint64_t magnitude(int64_t value)
{
    return value < 0 ? -(uint64_t)value : (uint64_t)value;
}

static void append_field(struct log_line *line, const char *key, const char *text, size_t length)
{
    if (append_key(line, key)) {
        (void)append(line, text, length); /* a full line simply ends here */
    }
}

void log_number(struct log_line *line, const char *key, int64_t value)
{
    char text[1 + DIGITS_DECIMAL_MAX];
    size_t length = put_sign(text, value);
    length += digits_decimal(text + length, magnitude(value));
    append_field(line, key, text, length);
}

void log_hex(struct log_line *line, const char *key, uint64_t value)
{
    char text[DIGITS_HEX_MAX];
    append_field(line, key, text, digits_hex(text, value));
}

void log_seconds(struct log_line *line, const char *key, int64_t milliseconds)
{
    char text[1 + DIGITS_DECIMAL_MAX + 4];
    uint64_t size = magnitude(milliseconds);
    size_t length = put_sign(text, milliseconds);
    length += digits_decimal(text + length, size / 1000);
    text[length++] = '.';
    length += digits_padded(text + length, size, 3);
    append_field(line, key, text, length);
}

void log_error(struct log_line *line, const struct error *error)
{
    log_text(line, "status", status_name(error->status));
    if (error->errno_value != 0) {
        log_text(line, "errno", strerrorname_np(error->errno_value));
    }
    if (error->path[0] != '\0') {
        log_text(line, "path", error->path);
    }
    if (error->offset != 0) {
        log_number(line, "offset", (int64_t)error->offset);
    }
    if (error->text[0] != '\0') {
        log_text(line, "text", error->text);
    }
}

/* With the mutex held: queues `line`, or counts it as dropped. */
static void enqueue(const struct log_line *line)
{
    if (line->length > LOG_QUEUE_OCTETS - queue.length) {
        queue.dropped++;
    } else {
        ring_put(line->text, line->length);
        wake_for(line->level);
    }
}

/* With the mutex held: a line about the lines that were lost, as soon as there is room again. */
static void report_dropped(void)
{
    struct log_line line;
    if (queue.dropped == queue.dropped_reported ||
        LOG_QUEUE_OCTETS - queue.length < 2 * LOG_LINE_MAX) {
        return;
    }
    log_begin(&line, LOG_LEVEL_ERROR, "log_dropped");
    log_number(&line, "lines", (int64_t)(queue.dropped - queue.dropped_reported));
    line.text[line.length++] = '\n';
    queue.dropped_reported = queue.dropped;
    enqueue(&line);
}

void log_end(struct log_line *line)
{
    if (line->length == 0) {
        return;
    }
    line->text[line->length++] = '\n';
    if (!atomic_load(&queue.running)) {
        write_whole(atomic_load(&queue.fd), line->text, line->length);
    } else {
        (void)pthread_mutex_lock(&queue.mutex);
        report_dropped();
        enqueue(line);
        (void)pthread_mutex_unlock(&queue.mutex);
    }
    line->length = 0;
}

void log_message(enum log_level level, const char *event, const char *text)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_text(&line, "text", text);
    log_end(&line);
}
