/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/scrape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int call(const struct address *server)
{
    static const char request[] =
        "GET /metrics HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const struct timeval patience = {.tv_sec = 2};
    int fd = socket(server->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, &server->any, server->length) != 0 ||
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The whole answer; NULL when there is none. */
static char *read_answer(int fd)
{
    size_t length = 0;
    char *text = malloc(SCRAPE_OCTETS_MAX + 1);
    while (text != NULL && length < SCRAPE_OCTETS_MAX) {
        ssize_t got = recv(fd, text + length, SCRAPE_OCTETS_MAX - length, 0);
        if (got <= 0) {
            break;
        }
        length += (size_t)got;
    }
    if (text != NULL) {
        text[length] = '\0';
    }
    return text;
}

/* "name{a="b c"} 12": the value stands behind the last blank; timestamps are not expected. */
static void parse_line(char *line, struct doc *metrics)
{
    char *blank = strrchr(line, ' '), *end;
    if (line[0] == '#' || blank == NULL) {
        return;
    }
    double value = strtod(blank + 1, &end);
    if (end == blank + 1 || (*end != '\0' && *end != '\r') || !isfinite(value)) {
        return;
    }
    *blank = '\0';
    doc_put_real(metrics, line, value);
}

void scrape_parse(const char *page, struct doc *metrics)
{
    char *copy = strdup(page), *rest = NULL;
    if (copy == NULL) {
        return;
    }
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        parse_line(line, metrics);
    }
    free(copy);
}

enum status scrape_metrics(const struct address *server, struct doc *out_metrics)
{
    int fd = call(server);
    if (fd < 0) {
        return STATUS_RESET;
    }
    char *answer = read_answer(fd);
    close(fd);
    const char *body = answer == NULL ? NULL : strstr(answer, "\r\n\r\n");
    enum status status = STATUS_INVALID;
    if (body != NULL && strncmp(answer, "HTTP/1.", 7) == 0 && strncmp(answer + 8, " 200", 4) == 0) {
        doc_object(out_metrics);
        scrape_parse(body + 4, out_metrics);
        status = STATUS_OK;
    }
    free(answer);
    return status;
}
