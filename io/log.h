/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line an event, `time level event key=value ...`, in UTC with milliseconds, to
 * standard error. Lines are put together on the caller's stack and handed to a log thread through a
 * bounded queue, so that no worker ever waits for a terminal, a pipe or a disk. When the queue is
 * full lines are dropped and counted; the next line that fits says how many. A line is written at
 * once; those that follow within 10 ms are written together, unless one is a warning or an error.
 *
 * Values are escaped: octets below 0x20, 0x7f and above, quotes and backslash become \xNN; a value
 * with a space is quoted; a value is cut at LOG_VALUE_MAX octets. A client cannot forge a line.
 *
 * Any thread. Before log_start and after log_stop lines are written directly.
 */
#ifndef IO_LOG_H
#define IO_LOG_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#define LOG_VALUE_MAX 256  /* octets of one value before escaping */
#define LOG_LINE_MAX  2048 /* octets of one line with its newline */

/* Starts the log thread, writing to `fd`, lines up to `level`. Returns STATUS_NO_MEMORY or
 * STATUS_IO when the thread cannot be made; logging then stays direct. */
MUST_CHECK enum status log_start(int fd, enum log_level level);

/* Writes out what is queued and ends the thread. Call after all other threads have ended. */
void log_stop(void);

/* Lines dropped because the queue was full, since start. */
uint64_t log_dropped(void);

/* One line being put together; lives on the stack of its writer. */
struct log_line {
    enum log_level level;
    size_t length;
    char text[LOG_LINE_MAX];
};

/* Begins a line; `event` is a constant word such as "session". Then any number of fields, then
 * log_end. A line whose level is off costs almost nothing. Keys are constants of ours. */
void log_begin(struct log_line *line, enum log_level level, const char *event);
/* Whether the level of a line that has begun is on: if not, what is costly to say need not be. */
static inline bool log_is_on(const struct log_line *line)
{
    return line->length > 0;
}
void log_text(struct log_line *line, const char *key, const char *value); /* NULL leaves it out */
void log_octets(struct log_line *line, const char *key, const void *value, size_t length);
void log_number(struct log_line *line, const char *key, int64_t value);
void log_hex(struct log_line *line, const char *key, uint64_t value);           /* 16 digits */
void log_seconds(struct log_line *line, const char *key, int64_t milliseconds); /* as 1.234 */
/* status, errno text, path, offset and text of `error`, those that are set. */
void log_error(struct log_line *line, const struct error *error);
void log_end(struct log_line *line);

/* A whole line with only a text: `log_message(LOG_LEVEL_INFO, "start", "serving")`. */
void log_message(enum log_level level, const char *event, const char *text);

#endif
