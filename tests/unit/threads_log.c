/* SPDX-License-Identifier: Apache-2.0 */
/* Many writers, one log; for ThreadSanitizer. No line may be torn, lost without being counted, or
 * out of its writer's order. */
#include "io/log.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITERS 4
#define LINES   2000

static void *write_lines(void *argument)
{
    int64_t writer = (intptr_t)argument;
    for (int64_t i = 0; i < LINES; i++) {
        struct log_line line;
        log_begin(&line, LOG_LEVEL_INFO, "line");
        log_number(&line, "writer", writer);
        log_number(&line, "number", i);
        log_text(&line, "end", "here");
        log_end(&line);
    }
    return NULL;
}

/* One line of the file: 1 for a good one of a writer, 0 for a report of dropped lines, -1 else. */
static int judge(const char *line, long next[WRITERS])
{
    const char *place = strstr(line, " info line writer=");
    if (strstr(line, " log_dropped lines=") != NULL) {
        return 0;
    }
    if (place == NULL || strcmp(line + strlen(line) - 10, " end=here\n") != 0) {
        return -1;
    }
    char *rest;
    long writer = strtol(place + 18, &rest, 10);
    if (writer < 0 || writer >= WRITERS || strncmp(rest, " number=", 8) != 0) {
        return -1;
    }
    long number = strtol(rest + 8, NULL, 10);
    int in_order = number >= next[writer];
    next[writer] = number + 1;
    return in_order ? 1 : -1;
}

int main(void)
{
    FILE *file = tmpfile();
    pthread_t threads[WRITERS];
    long next[WRITERS] = {0};
    uint64_t good = 0, bad = 0;
    char line[LOG_LINE_MAX + 1];
    if (file == NULL || log_start(fileno(file), LOG_LEVEL_INFO) != STATUS_OK) {
        return 1;
    }
    for (intptr_t i = 0; i < WRITERS; i++) {
        if (pthread_create(&threads[i], NULL, write_lines, (void *)i) != 0) {
            abort();
        }
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    log_stop();
    uint64_t dropped = log_dropped();
    rewind(file);
    while (fgets(line, sizeof line, file) != NULL) {
        int judged = judge(line, next);
        good += judged > 0;
        bad += judged < 0;
    }
    (void)fclose(file);
    int ok = bad == 0 && good + dropped == WRITERS * LINES;
    printf("%s - %llu lines, %llu dropped, %llu bad\n", ok ? "ok" : "not ok",
           (unsigned long long)good, (unsigned long long)dropped, (unsigned long long)bad);
    printf("%d passed, %d failed\n", ok, !ok);
    return ok ? 0 : 1;
}
