/* SPDX-License-Identifier: Apache-2.0 */
#include "io/log.h"

#include "io/io_limits.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * Writers copy their finished line into a ring of octets under a mutex held for that copy only; the
 * log thread takes out whole stretches under the same mutex and writes them with it released. The
 * mutex is therefore never held across a system call that can wait.
 */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    pthread_t thread;
    char *ring; /* LOG_QUEUE_OCTETS */
    size_t head, length;
    uint64_t dropped;          /* since start */
    uint64_t dropped_reported; /* of these, how many a line has told of */
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

static void *log_thread(void *argument)
{
    char *batch = argument; /* LOG_WRITE_OCTETS */
    (void)pthread_mutex_lock(&queue.mutex);
    for (;;) {
        while (queue.length == 0 && !queue.stopping) {
            (void)pthread_cond_wait(&queue.filled, &queue.mutex);
        }
        if (queue.length == 0) {
            break;
        }
        size_t length = ring_take(batch, LOG_WRITE_OCTETS);
        (void)pthread_mutex_unlock(&queue.mutex);
        write_whole(atomic_load(&queue.fd), batch, length);
        (void)pthread_mutex_lock(&queue.mutex);
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
    report_dropped();
    (void)pthread_mutex_lock(&queue.mutex);
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

/* The date of a count of days since 1970-01-01, by counting eras of 400 years that begin on a first
 * of March. gmtime_r would take the time zone's lock, shared by all workers. */
static void civil_date(int64_t days, int *out_year, int *out_month, int *out_day)
{
    int64_t shifted = days + 719468; /* days from 0000-03-01 to 1970-01-01 */
    int64_t era = shifted / 146097;
    int64_t day_of_era = shifted % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march_month = (5 * day_of_year + 2) / 153;
    *out_day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1);
    *out_month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
    *out_year = (int)(year_of_era + era * 400 + (*out_month <= 2 ? 1 : 0));
}

static void append_time(struct log_line *line)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
    int64_t seconds = (int64_t)now.tv_sec;
    int year, month, day;
    civil_date(seconds / 86400, &year, &month, &day);
    int in_day = (int)(seconds % 86400);
    char text[64];
    int length =
        snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ ", year, month, day,
                 in_day / 3600, in_day / 60 % 60, in_day % 60, (int)(now.tv_nsec / 1000000));
    (void)append(line, text, (size_t)length); /* an empty line has room */
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

static bool append_escaped(struct log_line *line, uint8_t octet)
{
    static const char digits[] = "0123456789abcdef";
    if (octet >= 0x20 && octet < 0x7f && octet != '"' && octet != '\\') {
        return append(line, (const char *)&octet, 1);
    }
    char escaped[4] = {'\\', 'x', digits[octet >> 4], digits[octet & 15]};
    return append(line, escaped, sizeof escaped);
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
    for (size_t i = 0; i < length; i++) {
        if (!append_escaped(line, octets[i])) {
            break;
        }
    }
    if (quoted) {
        (void)append(line, "\"", 1); /* a full line simply ends here */
    }
}

void log_text(struct log_line *line, const char *key, const char *value)
{
    if (value != NULL) {
        log_octets(line, key, value, strlen(value));
    }
}

__attribute__((format(printf, 3, 4))) static void
append_format(struct log_line *line, const char *key, const char *format, ...)
{
    char text[32];
    if (!append_key(line, key)) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)append(line, text, (size_t)length); /* a full line simply ends here */
}

void log_number(struct log_line *line, const char *key, int64_t value)
{
    append_format(line, key, "%lld", (long long)value);
}

void log_hex(struct log_line *line, const char *key, uint64_t value)
{
    append_format(line, key, "%016llx", (unsigned long long)value);
}

void log_seconds(struct log_line *line, const char *key, int64_t milliseconds)
{
    bool negative = milliseconds < 0;
    uint64_t size = negative ? -(uint64_t)milliseconds : (uint64_t)milliseconds;
    append_format(line, key, "%s%llu.%03u", negative ? "-" : "", (unsigned long long)(size / 1000),
                  (unsigned)(size % 1000));
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

/* Queues `text`, or counts it as dropped. */
static void enqueue(const char *text, size_t length)
{
    (void)pthread_mutex_lock(&queue.mutex);
    if (length > LOG_QUEUE_OCTETS - queue.length) {
        queue.dropped++;
    } else {
        bool was_empty = queue.length == 0;
        ring_put(text, length);
        if (was_empty) {
            (void)pthread_cond_signal(&queue.filled);
        }
    }
    (void)pthread_mutex_unlock(&queue.mutex);
}

/* A line about the lines that were lost, as soon as there is room for it again. */
static void report_dropped(void)
{
    (void)pthread_mutex_lock(&queue.mutex);
    bool room = LOG_QUEUE_OCTETS - queue.length >= 2 * LOG_LINE_MAX;
    uint64_t count = room ? queue.dropped - queue.dropped_reported : 0;
    queue.dropped_reported += count;
    (void)pthread_mutex_unlock(&queue.mutex);
    if (count > 0) {
        struct log_line line;
        log_begin(&line, LOG_LEVEL_ERROR, "log_dropped");
        log_number(&line, "lines", (int64_t)count);
        line.text[line.length++] = '\n';
        enqueue(line.text, line.length);
    }
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
        report_dropped();
        enqueue(line->text, line->length);
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
