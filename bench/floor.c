/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/floor.h"

#include "bench/canned.h"
#include "bench/floor_loop.h"
#include "io/list.h"
#include "io/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLOOR_INPUT  4096
#define FLOOR_EVENTS 256
#define FLOOR_PIPE   (1024 * 1024) /* octets of a pipe, where the system allows it */
#define FLOOR_WAIT   500           /* milliseconds until a signal is noticed at the latest */

struct floor {
    const struct floor_config *config;
    struct canned canned;
    struct list_link clients;
    int listen_fd, epoll_fd;
};

struct floor_client {
    struct list_link link;
    int fd, pipe[2]; /* pipe: -1 until the first message is spliced */
    bool waiting;    /* for room in the socket */
    struct canned_reply reply;
    size_t sent, piped; /* of `reply`: octets in the socket; octets more in the pipe */
    size_t input_length;
    char input[FLOOR_INPUT];
};

enum progress { DONE, FULL, FAILED };

static volatile sig_atomic_t floor_stopping;

static void on_signal(int number)
{
    floor_stopping = 1;
}

static enum progress moved(ssize_t count)
{
    if (count > 0) {
        return DONE;
    }
    return count < 0 && errno == EAGAIN ? FULL : FAILED;
}

static enum progress copy_some(struct floor_client *client)
{
    const struct canned_reply *reply = &client->reply;
    ssize_t count =
        send(client->fd, reply->data + client->sent, reply->length - client->sent, MSG_NOSIGNAL);
    client->sent += count > 0 ? (size_t)count : 0;
    return moved(count);
}

static enum progress sendfile_some(const struct floor *server, struct floor_client *client)
{
    off_t offset = (off_t)client->sent;
    ssize_t count =
        sendfile(client->fd, server->canned.file_fd, &offset, client->reply.length - client->sent);
    client->sent += count > 0 ? (size_t)count : 0;
    return moved(count);
}

static bool make_pipe(struct floor_client *client)
{
    if (pipe2(client->pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
        return false;
    }
    (void)fcntl(client->pipe[1], F_SETPIPE_SZ, FLOOR_PIPE); /* a smaller one works, too */
    return true;
}

/* Fills the pipe when it is empty, and passes on what is in it. */
static enum progress splice_some(const struct floor *server, struct floor_client *client)
{
    unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    size_t left = client->reply.length - client->sent;
    ssize_t count;
    if (client->piped == 0) {
        off_t offset = (off_t)client->sent;
        if (client->pipe[0] < 0 && !make_pipe(client)) {
            return FAILED;
        }
        count = splice(server->canned.file_fd, &offset, client->pipe[1], NULL, left, flags);
        if (count <= 0) {
            return FAILED;
        }
        client->piped = (size_t)count;
    }
    count = splice(client->pipe[0], NULL, client->fd, NULL, client->piped,
                   client->piped < left ? flags | SPLICE_F_MORE : flags);
    if (count > 0) {
        client->piped -= (size_t)count;
        client->sent += (size_t)count;
    }
    return moved(count);
}

static enum progress send_some(const struct floor *server, struct floor_client *client)
{
    if (!client->reply.message || server->config->how == FLOOR_COPY) {
        return copy_some(client);
    }
    return server->config->how == FLOOR_SENDFILE ? sendfile_some(server, client)
                                                 : splice_some(server, client);
}

/* Sends until all of the reply is sent, or the socket is full. */
static enum progress send_reply(const struct floor *server, struct floor_client *client)
{
    enum progress progress = DONE;
    while (progress == DONE && client->sent < client->reply.length) {
        progress = send_some(server, client);
    }
    return progress;
}

static void begin_reply(struct floor_client *client, struct canned_reply reply)
{
    client->reply = reply;
    client->sent = 0;
}

/* Answers the whole lines of the input, as far as the socket takes it. FAILED: to be closed. */
static enum progress answer(const struct floor *server, struct floor_client *client)
{
    size_t used = 0;
    enum progress progress = send_reply(server, client);
    while (progress == DONE) {
        const char *line = client->input + used;
        const char *feed = memchr(line, '\n', client->input_length - used);
        if (client->reply.last) {
            return FAILED;
        }
        if (feed == NULL) {
            break;
        }
        size_t length = (size_t)(feed + 1 - line);
        begin_reply(client, canned_answer(&server->canned, line, length));
        used += length;
        progress = send_reply(server, client);
    }
    client->input_length -= used;
    memmove(client->input, client->input + used, client->input_length);
    return client->input_length < sizeof client->input || progress == FULL ? progress : FAILED;
}

/* Waits for room, or for input again. */
static bool watch(const struct floor *server, struct floor_client *client, bool for_room)
{
    struct epoll_event event = {.events = for_room ? EPOLLOUT : EPOLLIN, .data.ptr = client};
    if (client->waiting == for_room) {
        return true;
    }
    client->waiting = for_room;
    return epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) == 0;
}

static void client_close(struct floor_client *client)
{
    list_remove(&client->link);
    if (client->pipe[0] >= 0) {
        close(client->pipe[0]);
        close(client->pipe[1]);
    }
    close(client->fd);
    free(client);
}

static void client_go_on(const struct floor *server, struct floor_client *client)
{
    if (!client->waiting) {
        ssize_t got = recv(client->fd, client->input + client->input_length,
                           sizeof client->input - client->input_length, 0);
        if (got <= 0) {
            client_close(client);
            return;
        }
        client->input_length += (size_t)got;
    }
    enum progress progress = answer(server, client);
    if (progress == FAILED || !watch(server, client, progress == FULL)) {
        client_close(client);
    }
}

static void accept_one(struct floor *server)
{
    int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct floor_client *client = fd < 0 ? NULL : calloc(1, sizeof *client);
    if (client == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    client->fd = fd;
    client->pipe[0] = client->pipe[1] = -1;
    list_push_back(&server->clients, &client->link);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    begin_reply(client, canned_greeting());
    if (send_reply(server, client) != DONE ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        client_close(client);
    }
}

static void serve(struct floor *server)
{
    struct epoll_event events[FLOOR_EVENTS];
    while (!floor_stopping) {
        int count = epoll_wait(server->epoll_fd, events, FLOOR_EVENTS, FLOOR_WAIT);
        for (int index = 0; index < count; index++) {
            if (events[index].data.ptr == NULL) {
                accept_one(server);
            } else {
                client_go_on(server, events[index].data.ptr);
            }
        }
    }
}

static enum status serve_plainly(struct floor *server)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll_fd < 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &event) != 0) {
        return status_from_errno(errno);
    }
    const struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGTERM, &stop, NULL); /* none can fail with these numbers */
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL); /* sendfile(2) cannot be asked not to raise it */
    serve(server);
    struct list_link *link;
    while ((link = list_first(&server->clients)) != NULL) {
        client_close(list_entry(link, struct floor_client, link));
    }
    close(server->epoll_fd);
    return STATUS_OK;
}

static void announce(const struct address *bound)
{
    char text[ADDRESS_TEXT_MAX];
    address_text(bound, text);
    printf("listening pop3 %s\nfloor: ready\n", text);
    (void)fflush(stdout); /* a lost line is no reason to stop */
}

enum status floor_run(const struct floor_config *config, struct error *out_error)
{
    struct floor server = {.config = config, .epoll_fd = -1};
    const struct listen_config listen = {.address = config->address};
    struct address bound;
    enum status status = listen_open(&listen, &server.listen_fd, &bound, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    list_init(&server.clients);
    /* Never started: for the options that it has connections inherit. Without them the machine's
     * congestion control may pace the floor's segments, and not the server's. */
    struct listener options;
    listener_init(&options, NULL, server.listen_fd, NULL);
    status = canned_init(&server.canned, config->message_octets);
    if (status != STATUS_OK) {
        status = error_set(out_error, status, 0, NULL, "cannot make the floor's message");
    } else if (config->on_loop) {
        announce(&bound);
        status = floor_loop_serve(config, &server.canned, server.listen_fd, out_error);
    } else {
        announce(&bound);
        status = serve_plainly(&server);
    }
    canned_deinit(&server.canned);
    close(server.listen_fd);
    return status;
}
