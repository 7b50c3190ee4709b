/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/floor_loop.h"

#include "io/conn.h"
#include "io/list.h"
#include "io/listen.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct floor_host {
    const struct floor_config *config;
    const struct canned *canned;
    struct loop *loop;
    struct conn_host conns;
    struct listener listener;
    struct list_link sessions;
    bool stopping, stopped; /* a signal has come; nobody is accepted any more */
};

struct floor_session {
    struct conn conn;
    struct list_link link;
    struct floor_host *host;
};

static struct loop *signalled_loop;

static void on_signal(int number)
{
    loop_wake(signalled_loop);
}

static void on_wake(void *owner)
{
    struct floor_host *host = owner;
    host->stopping = true;
}

static void send_reply(struct floor_session *session, const struct canned_reply *reply)
{
    const struct floor_host *host = session->host;
    const struct sendq_hold nobody = {.release = NULL};
    struct conn *conn = &session->conn;
    /* When one of these fails the connection is ending. */
    if (!reply->message) {
        (void)conn_write(conn, reply->data, reply->length);
    } else if (host->config->how == FLOOR_COPY) {
        (void)conn_send_memory(conn, reply->data, reply->length, nobody);
    } else {
        const struct sendq_extent extent = {
            .fd = host->canned->file_fd, .length = reply->length, .hold = nobody, .warm = true};
        (void)conn_send_extent(conn, &extent);
    }
    if (reply->last) {
        conn_finish(conn);
    }
}

static size_t on_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct floor_session *session = list_entry(conn, struct floor_session, conn);
    size_t used = 0;
    while (used < length && !conn_ending(conn)) {
        const uint8_t *feed = memchr(data + used, '\n', length - used);
        if (feed == NULL) {
            break;
        }
        const char *line = (const char *)data + used;
        size_t line_length = (size_t)(feed + 1 - (data + used));
        const struct canned_reply reply = canned_answer(session->host->canned, line, line_length);
        send_reply(session, &reply);
        used += line_length;
    }
    return used;
}

static void on_input_end(struct conn *conn, size_t left)
{
    conn_finish(conn);
}

static void on_drained(struct conn *conn)
{
}

static void on_closed(struct conn *conn, enum status reason)
{
    struct floor_session *session = list_entry(conn, struct floor_session, conn);
    list_remove(&session->link);
    free(session);
}

static void on_connection(struct listener *listener, int fd, const struct address *peer,
                          const struct address *local)
{
    static const struct conn_events events = {.on_input = on_input,
                                              .on_input_end = on_input_end,
                                              .on_drained = on_drained,
                                              .on_closed = on_closed};
    struct floor_host *host = listener->owner;
    struct floor_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        close(fd);
        return;
    }
    session->host = host;
    list_push_back(&host->sessions, &session->link);
    conn_init(&session->conn, &host->conns, fd, LOOP_RECEIVE_STREAM, &events, peer, local);
    conn_start(&session->conn);
    const struct canned_reply greeting = canned_greeting();
    send_reply(session, &greeting);
}

static void on_stopped(struct listener *listener)
{
    struct floor_host *host = listener->owner;
    host->stopped = true;
}

static void end_sessions(struct floor_host *host)
{
    for (struct list_link *link = host->sessions.next; link != &host->sessions; link = link->next) {
        conn_abort(&list_entry(link, struct floor_session, link)->conn, STATUS_CANCELLED);
    }
    while (!host->stopped || !list_empty(&host->sessions)) {
        loop_turn(host->loop, -1);
    }
}

static void set_signals(struct loop *loop)
{
    const struct sigaction stop = {.sa_handler = loop != NULL ? on_signal : SIG_IGN};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    signalled_loop = loop;
    (void)sigaction(SIGTERM, &stop, NULL); /* none can fail with these numbers */
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL);
}

enum status floor_loop_serve(const struct floor_config *config, const struct canned *canned,
                             int listen_fd, struct error *out_error)
{
    assert(config->how != FLOOR_SPLICE);
    struct floor_host host = {.config = config, .canned = canned};
    const struct loop_config loop_config = {
        .kind = config->kind, .on_wake = on_wake, .owner = &host};
    enum status status = loop_create(&loop_config, &host.loop, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    list_init(&host.sessions);
    conn_host_init(&host.conns, host.loop);
    listener_init(&host.listener, host.loop, listen_fd, &host);
    host.listener.on_connection = on_connection;
    host.listener.on_stopped = on_stopped;
    listener_start(&host.listener);
    set_signals(host.loop);
    while (!host.stopping) {
        loop_turn(host.loop, -1);
    }
    listener_stop(&host.listener);
    end_sessions(&host);
    set_signals(NULL);
    conn_host_deinit(&host.conns);
    loop_destroy(&host.loop);
    return STATUS_OK;
}
