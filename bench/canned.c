/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/canned.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WIDTH 70 /* octets of a line of the message, its end not counted */

/* A file on a disk, as mail is: its pages are larger than those of a file in memory. */
static int open_file(void)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder != NULL ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : memfd_create("canned", MFD_CLOEXEC);
}

static enum status write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, data, length);
        if (written <= 0) {
            return STATUS_NO_SPACE;
        }
        data += written;
        length -= (size_t)written;
    }
    return STATUS_OK;
}

static void fill(char *message, size_t octets)
{
    memset(message, 'm', octets);
    for (size_t index = WIDTH; index + CANNED_OCTETS_MIN < octets; index += WIDTH + 2) {
        memcpy(message + index, "\r\n", 2);
    }
    memcpy(message + octets - CANNED_OCTETS_MIN, "\r\n.\r\n", CANNED_OCTETS_MIN);
}

enum status canned_init(struct canned *canned, size_t octets)
{
    *canned = (struct canned){.file_fd = -1};
    canned->message = malloc(CANNED_LINE_MAX + octets);
    if (canned->message == NULL || octets < CANNED_OCTETS_MIN) {
        return STATUS_NO_MEMORY;
    }
    size_t size = octets - 3; /* as STAT, LIST and RETR tell it: without the terminator */
    int head = snprintf(canned->message, CANNED_LINE_MAX, "+OK %zu octets\r\n", size);
    (void)snprintf(canned->stat, sizeof canned->stat, "+OK 1 %zu\r\n", size);
    (void)snprintf(canned->list, sizeof canned->list, "+OK\r\n1 %zu\r\n.\r\n", size);
    fill(canned->message + head, octets);
    canned->length = (size_t)head + octets;
    canned->file_fd = open_file();
    if (canned->file_fd < 0) {
        return status_from_errno(errno);
    }
    return write_all(canned->file_fd, canned->message, canned->length);
}

void canned_deinit(struct canned *canned)
{
    if (canned->file_fd >= 0) {
        close(canned->file_fd);
        canned->file_fd = -1;
    }
    free(canned->message);
    canned->message = NULL;
}

static struct canned_reply text(const char *data)
{
    return (struct canned_reply){.data = data, .length = strlen(data)};
}

struct canned_reply canned_greeting(void)
{
    return text("+OK floor ready\r\n");
}

struct canned_reply canned_answer(const struct canned *canned, const char *line, size_t length)
{
    struct canned_reply reply = text("+OK\r\n");
    switch (length > 0 ? *line : '\0') {
    case 'R':
        reply = (struct canned_reply){
            .data = canned->message, .length = canned->length, .message = true};
        break;
    case 'S':
        reply = text(canned->stat);
        break;
    case 'L':
        reply = text(canned->list);
        break;
    case 'U':
        if (length > 1 && line[1] == 'I') {
            reply = text("+OK\r\n1 floor\r\n.\r\n");
        }
        break;
    case 'Q':
        reply = text("+OK bye\r\n");
        reply.last = true;
        break;
    }
    return reply;
}
