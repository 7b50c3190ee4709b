/* SPDX-License-Identifier: Apache-2.0 */
#include "io/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char *text;  /* what the log has written */
static size_t size; /* octets */
static int log_fd = -1;

static void start(enum log_level level)
{
    FILE *file = tmpfile();
    log_fd = dup(fileno(file));
    (void)fclose(file);
    cr_assert_eq(log_start(log_fd, level), STATUS_OK);
}

static void stop(void)
{
    log_stop();
    size = (size_t)lseek(log_fd, 0, SEEK_END);
    text = calloc(1, size + 1);
    cr_assert_eq(pread(log_fd, text, size, 0), (ssize_t)size);
    (void)close(log_fd);
}

static void matches(const char *pattern)
{
    regex_t regex;
    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE), 0);
    cr_assert_eq(regexec(&regex, text, 0, NULL, 0), 0, "%s does not match %s", text, pattern);
    regfree(&regex);
}

Test(log, a_line_is_time_level_event_and_pairs)
{
    struct log_line line;
    start(LOG_LEVEL_INFO);
    log_begin(&line, LOG_LEVEL_INFO, "session");
    log_text(&line, "user", "demo1");
    log_text(&line, "left_out", NULL);
    log_number(&line, "octets", -1234567890123);
    log_hex(&line, "id", 0xab);
    log_seconds(&line, "seconds", 61005);
    log_end(&line);
    stop();
    matches("^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z info "
            "session user=demo1 octets=-1234567890123 id=00000000000000ab seconds=61\\.005$");
    cr_assert_eq(text[size - 1], '\n');
}

Test(log, the_time_is_now_in_utc)
{
    start(LOG_LEVEL_INFO);
    time_t before = time(NULL);
    log_message(LOG_LEVEL_INFO, "a", "b");
    time_t after = time(NULL);
    stop();
    char first[32], last[32];
    struct tm broken;
    (void)strftime(first, sizeof first, "%Y-%m-%dT%H:%M:%S", gmtime_r(&before, &broken));
    (void)strftime(last, sizeof last, "%Y-%m-%dT%H:%M:%S", gmtime_r(&after, &broken));
    cr_assert(strncmp(text, first, 19) == 0 || strncmp(text, last, 19) == 0, "%s", text);
}

Test(log, a_client_cannot_forge_a_line_or_a_pair)
{
    static const char evil[] = "a\r\nb\tc\"d\\e\x7f\x80\xff\0f";
    struct log_line line;
    start(LOG_LEVEL_INFO);
    log_begin(&line, LOG_LEVEL_INFO, "login");
    log_octets(&line, "user", evil, sizeof evil - 1);
    log_text(&line, "spaced", "x user=y");
    log_text(&line, "empty", "");
    log_end(&line);
    stop();
    matches(" user=a\\\\x0d\\\\x0ab\\\\x09c\\\\x22d\\\\x5ce\\\\x7f\\\\x80\\\\xff\\\\x00f "
            "spaced=\"x user=y\" empty=\"\"$");
    cr_assert_eq(strchr(text, '\n'), text + size - 1, "one line");
}

Test(log, long_values_and_lines_are_cut_at_any_length)
{
    char value[5000];
    memset(value, '\n', sizeof value); /* each becomes four octets */
    for (size_t length = 0; length < 600; length += 7) {
        struct log_line line;
        start(LOG_LEVEL_INFO);
        log_begin(&line, LOG_LEVEL_INFO, "long");
        for (unsigned i = 0; i < 8; i++) {
            log_octets(&line, "value", value, length);
            log_number(&line, "number", 1);
        }
        cr_assert_lt(line.length, LOG_LINE_MAX);
        log_end(&line);
        stop();
        cr_assert_leq(size, LOG_LINE_MAX);
        cr_assert_eq(strchr(text, '\n'), text + size - 1);
        free(text);
    }
}

Test(log, a_level_that_is_off_writes_nothing)
{
    struct log_line line;
    start(LOG_LEVEL_WARNING);
    log_message(LOG_LEVEL_INFO, "off", "x");
    log_begin(&line, LOG_LEVEL_DEBUG, "off");
    log_text(&line, "key", "value");
    log_end(&line);
    log_message(LOG_LEVEL_WARNING, "on", "x");
    log_message(LOG_LEVEL_ERROR, "on", "x");
    stop();
    cr_assert_null(strstr(text, "off"));
    matches(" warning on text=x$");
    matches(" error on text=x$");
}

Test(log, an_error_tells_all_it_has)
{
    struct log_line line;
    struct error error;
    start(LOG_LEVEL_INFO);
    (void)error_set(&error, STATUS_NO_SPACE, ENOSPC, "/store/seg", "appending a group");
    error.offset = 4096;
    log_begin(&line, LOG_LEVEL_ERROR, "write");
    log_error(&line, &error);
    log_end(&line);
    stop();
    matches(
        " status=no_space errno=ENOSPC path=/store/seg offset=4096 text=\"appending a group\"$");
}

Test(log, lines_without_a_thread_are_written_directly)
{
    start(LOG_LEVEL_INFO);
    log_message(LOG_LEVEL_INFO, "first", "x");
    log_stop();
    log_stop(); /* harmless */
    log_message(LOG_LEVEL_INFO, "second", "x");
    stop();
    matches("info first");
    matches("info second");
}

Test(log, a_reader_that_does_not_read_blocks_nobody_and_the_loss_is_told)
{
    int ends[2];
    char value[LOG_VALUE_MAX + 1];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(log_start(ends[1], LOG_LEVEL_INFO), STATUS_OK);
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (unsigned i = 0; i < 20000; i++) { /* far more than pipe and queue hold */
        log_message(LOG_LEVEL_INFO, "flood", value);
    }
    cr_assert_gt(log_dropped(), 0);
    /* Now somebody reads, and the next line that fits says what was lost. */
    FILE *reader = fdopen(ends[0], "r");
    char row[LOG_LINE_MAX + 1];
    unsigned told = 0;
    for (unsigned i = 0; i < 300 && fgets(row, sizeof row, reader) != NULL; i++) {
    }
    while (told == 0) {
        log_message(LOG_LEVEL_INFO, "after", "x");
        cr_assert_not_null(fgets(row, sizeof row, reader));
        told += strstr(row, "error log_dropped lines=") != NULL;
    }
    (void)fclose(reader); /* with lines still queued: the end must not wait for anybody */
    log_stop();
    (void)close(ends[1]);
}
