/* SPDX-License-Identifier: Apache-2.0 */
#include "io/log.h"

#include "io/io_limits.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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
    log_seconds(&line, "early", -5);
    log_number(&line, "least", INT64_MIN);
    log_end(&line);
    stop();
    matches("^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z info "
            "session user=demo1 octets=-1234567890123 id=00000000000000ab seconds=61\\.005 "
            "early=-0\\.005 least=-9223372036854775808$");
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
    cr_assert_not(log_is_on(&line));
    log_text(&line, "key", "value");
    log_end(&line);
    log_begin(&line, LOG_LEVEL_WARNING, "on");
    cr_assert(log_is_on(&line));
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

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

Test(log, lines_that_follow_are_written_together)
{
    int ends[2];
    char packet[LOG_LINE_MAX];
    unsigned writes = 0;
    /* Each write becomes a packet. */
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    cr_assert_eq(log_start(ends[1], LOG_LEVEL_INFO), STATUS_OK);
    double begun = now_ms();
    struct pollfd packets = {.fd = ends[0], .events = POLLIN};
    for (unsigned lines = 0; lines < 100 || now_ms() < begun + 3.5 * LOG_REST_MS; lines++) {
        log_message(LOG_LEVEL_INFO, "one", "x");
        (void)poll(&packets, 1, 1); /* a little time for the log thread */
        writes += recv(ends[0], packet, sizeof packet, MSG_DONTWAIT) > 0 ? 1 : 0;
    }
    cr_assert_geq(writes, 1, "the first line waits for nobody");
    log_stop();
    while (recv(ends[0], packet, sizeof packet, MSG_DONTWAIT) > 0) {
        writes++;
    }
    double allowed = (now_ms() - begun) / LOG_REST_MS + 3; /* the first, the last, a longer one */
    cr_assert_lt(writes, allowed);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* Milliseconds until a warning is written, when another line just was. */
static double second_line_ms(void)
{
    int ends[2];
    char row[LOG_LINE_MAX];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(log_start(ends[1], LOG_LEVEL_INFO), STATUS_OK);
    log_message(LOG_LEVEL_INFO, "first", "x");
    cr_assert_gt(read(ends[0], row, sizeof row), 0);
    double begun = now_ms();
    log_message(LOG_LEVEL_WARNING, "second", "x");
    cr_assert_gt(read(ends[0], row, sizeof row), 0);
    double taken = now_ms() - begun;
    log_stop();
    (void)close(ends[0]);
    (void)close(ends[1]);
    return taken;
}

Test(log, a_warning_is_not_put_off)
{
    double best = 1e9;
    for (unsigned i = 0; i < 200 && best > LOG_REST_MS / 4.0; i++) { /* a busy machine: try again */
        double taken = second_line_ms();
        best = taken < best ? taken : best;
    }
    cr_assert_leq(best, LOG_REST_MS / 4.0);
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
