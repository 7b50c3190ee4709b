/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/floor.h"

#include "io/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLOOR_INPUT     4096
#define FLOOR_EVENTS    256
#define FLOOR_REPLY_MAX 64 /* octets of a canned reply line */

struct floor {
    const struct floor_config *config;
    int listen_fd, epoll_fd, message_fd;
    char *message;       /* reply line and message in one piece */
    size_t reply_length; /* of the reply line in front */
    char stat[FLOOR_REPLY_MAX], list[FLOOR_REPLY_MAX];
};

static volatile sig_atomic_t floor_stopping;

static void on_signal(int number)
{
    floor_stopping = 1;
}

/* Sends all of it; a client of this server reads as fast as it is written to. */
static bool send_all(int fd, const char *data, size_t length, int flags)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, flags | MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        data += sent;
        length -= (size_t)sent;
    }
    return true;
}

static bool send_message(const struct floor *server, int fd)
{
    size_t octets = server->config->message_octets;
    if (!server->config->sendfile) {
        return send_all(fd, server->message, server->reply_length + octets, 0);
    }
    if (!send_all(fd, server->message, server->reply_length, MSG_MORE)) {
        return false;
    }
    off_t offset = 0;
    while ((size_t)offset < octets) {
        if (sendfile(fd, server->message_fd, &offset, octets - (size_t)offset) <= 0) {
            return false;
        }
    }
    return true;
}

/* False when the connection is to be closed. `line` has at least two octets behind it: a line
 * end. */
static bool answer_line(const struct floor *server, int fd, const char *line)
{
    static const char other[] = "+OK\r\n", bye[] = "+OK bye\r\n";
    static const char uidl[] = "+OK\r\n1 floor\r\n.\r\n";
    switch (*line) {
    case 'R':
        return send_message(server, fd);
    case 'S':
        return send_all(fd, server->stat, strlen(server->stat), 0);
    case 'L':
        return send_all(fd, server->list, strlen(server->list), 0);
    case 'U':
        if (line[1] == 'I') {
            return send_all(fd, uidl, sizeof uidl - 1, 0);
        }
        return send_all(fd, other, sizeof other - 1, 0);
    case 'Q':
        (void)send_all(fd, bye, sizeof bye - 1, 0); /* closed either way */
        return false;
    default:
        return send_all(fd, other, sizeof other - 1, 0);
    }
}

/* Lines are assumed to come whole: one a read from the clients this is for, or several pipelined.
 */
static bool answer_input(const struct floor *server, int fd)
{
    char input[FLOOR_INPUT + 1];
    ssize_t length = recv(fd, input, FLOOR_INPUT, 0);
    if (length <= 0) {
        return false;
    }
    const char *line = input, *end = input + length;
    input[length] = '\0';
    while (line < end) {
        if (!answer_line(server, fd, line)) {
            return false;
        }
        const char *feed = memchr(line, '\n', (size_t)(end - line));
        line = feed == NULL ? end : feed + 1;
    }
    return true;
}

static void accept_one(const struct floor *server)
{
    static const char greeting[] = "+OK floor ready\r\n";
    const int one = 1;
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* only about speed */
    if (!send_all(fd, greeting, sizeof greeting - 1, 0) ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        close(fd);
    }
}

static void serve(const struct floor *server)
{
    struct epoll_event events[FLOOR_EVENTS];
    while (!floor_stopping) {
        int count = epoll_wait(server->epoll_fd, events, FLOOR_EVENTS, 500);
        for (int index = 0; index < count; index++) {
            int fd = events[index].data.fd;
            if (fd == server->listen_fd) {
                accept_one(server);
            } else if (!answer_input(server, fd)) {
                close(fd);
            }
        }
    }
}

static enum status make_message(struct floor *server)
{
    size_t octets = server->config->message_octets;
    server->message = malloc(FLOOR_REPLY_MAX + octets);
    server->message_fd = memfd_create("floor", MFD_CLOEXEC);
    if (server->message == NULL || server->message_fd < 0 || octets < 5) {
        return STATUS_NO_MEMORY;
    }
    int length = snprintf(server->message, FLOOR_REPLY_MAX, "+OK %zu octets\r\n", octets - 3);
    server->reply_length = (size_t)length;
    (void)snprintf(server->stat, sizeof server->stat, "+OK 1 %zu\r\n", octets - 3);
    (void)snprintf(server->list, sizeof server->list, "+OK\r\n1 %zu\r\n.\r\n", octets - 3);
    char *body = server->message + server->reply_length;
    memset(body, 'm', octets);
    for (size_t index = 70; index + 5 < octets; index += 72) {
        memcpy(body + index, "\r\n", 2);
    }
    memcpy(body + octets - 5, "\r\n.\r\n", 5);
    return write(server->message_fd, body, octets) == (ssize_t)octets ? STATUS_OK : STATUS_NO_SPACE;
}

static enum status watch_listener(struct floor *server)
{
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = server->listen_fd};
    if (server->epoll_fd < 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &event) != 0) {
        return status_from_errno(errno);
    }
    const struct sigaction stop = {.sa_handler = on_signal};
    (void)sigaction(SIGTERM, &stop, NULL); /* cannot fail with these numbers */
    (void)sigaction(SIGINT, &stop, NULL);
    return STATUS_OK;
}

enum status floor_run(const struct floor_config *config, struct error *out_error)
{
    struct floor server = {.config = config, .listen_fd = -1, .epoll_fd = -1, .message_fd = -1};
    const struct listen_config listen = {.address = config->address};
    struct address bound;
    enum status status = listen_open(&listen, &server.listen_fd, &bound, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    status = make_message(&server);
    if (status == STATUS_OK) {
        status = watch_listener(&server);
    }
    if (status == STATUS_OK) {
        char text[ADDRESS_TEXT_MAX];
        address_text(&bound, text);
        printf("listening pop3 %s\nfloor: ready\n", text);
        (void)fflush(stdout); /* a lost line is no reason to stop */
        serve(&server);
    } else {
        status = error_set(out_error, status, 0, NULL, "cannot make the floor's message or epoll");
    }
    close(server.listen_fd);
    close(server.epoll_fd);
    close(server.message_fd);
    free(server.message);
    return status;
}
