/* SPDX-License-Identifier: Apache-2.0 */
#include "server/admin.h"

#include "io/conn.h"
#include "io/listen.h"
#include "io/log.h"
#include "io/mem.h"
#include "server/admin_request.h"
#include "server/server_limits.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One client. Freed when it is closed and every request of its has been answered. */
struct admin_conn {
    struct conn conn;
    struct admin *admin;
    struct list_link link;          /* in admin->conns */
    struct list_link requests;      /* in the order they came */
    struct admin_request *arriving; /* its octets are on their way; NULL: a line is next */
    uint32_t request_count;
    bool paused, input_ended, closed;
};

struct admin {
    struct admin_host host;
    struct loop *loop;
    struct post_box box;
    struct conn_host conns_host;
    struct listener listener;
    struct list_link conns;
    bool listening, stopping;
    pthread_t thread;
    /* start */
    const struct admin_config *config; /* valid until `started` is posted */
    sem_t started;
    enum status status;
    struct error error;
    struct post_message stop_message;
};

/* A socket handed to the thread by admin_serve. */
struct handover {
    struct post_message message;
    struct admin *admin;
    int fd;
};

/* --- answers --- */

static void request_free(struct admin_request *request)
{
    list_remove(&request->link);
    doc_free(&request->question);
    doc_free(&request->answer);
    free(request->payload);
    free(request);
}

static void conn_free_when_done(struct admin_conn *client)
{
    if (client->closed && list_empty(&client->requests)) {
        list_remove(&client->link);
        free(client);
    }
}

static void write_answer(struct admin_conn *client, const struct admin_request *request)
{
    char *text = doc_write(&request->answer, false);
    if (text == NULL) {
        conn_abort(&client->conn, STATUS_NO_MEMORY);
        return;
    }
    /* A failed write has aborted the connection: nothing is left to do about it. */
    (void)conn_write(&client->conn, text, strlen(text));
    (void)conn_write(&client->conn, "\n", 1);
    free(text);
}

static void conn_resume(struct admin_conn *client)
{
    if (client->paused && !client->closed) {
        client->paused = false;
        conn_input_resume(&client->conn);
    }
}

/* Writes the answers that are due: those in front of the first request still under way. One whose
 * octets have not all come yet stays, because its octets must be skipped. */
static void flush_answers(struct admin_conn *client)
{
    for (struct list_link *link = list_first(&client->requests); link != NULL;
         link = list_first(&client->requests)) {
        struct admin_request *request = list_entry(link, struct admin_request, link);
        if (!request->answered || request == client->arriving) {
            break;
        }
        if (!client->closed) {
            write_answer(client, request);
        }
        request_free(request);
        client->request_count--;
    }
    if (client->arriving == NULL && client->request_count < ADMIN_REQUESTS_MAX) {
        conn_resume(client);
    }
    if (client->input_ended && !client->closed && list_empty(&client->requests)) {
        conn_finish(&client->conn);
    }
    conn_free_when_done(client);
}

void admin_answer(struct admin_request *request)
{
    assert(!request->answered);
    request->answered = true;
    doc_put_bool(&request->answer, "ok", true);
    flush_answers(request->conn);
}

void admin_refuse(struct admin_request *request, enum status status, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    assert(!request->answered);
    request->answered = true;
    doc_put_bool(&request->answer, "ok", false);
    doc_put_text(&request->answer, "status", status_name(status));
    doc_put_text(&request->answer, "error", text);
    flush_answers(request->conn);
}

/* --- requests --- */

static void conn_pause(struct admin_conn *client)
{
    client->paused = true;
    conn_input_pause(&client->conn);
}

static const struct admin_command *find_command(const char *name)
{
    for (const struct admin_command *row = admin_commands; row->name != NULL; row++) {
        if (strcmp(row->name, name) == 0) {
            return row;
        }
    }
    return NULL;
}

/* All octets are there. */
static void request_complete(struct admin_conn *client, struct admin_request *request)
{
    client->arriving = NULL;
    if (request->answered) {
        flush_answers(client);
    } else {
        request->command->run(request);
    }
}

void admin_request_resume(struct admin_request *request)
{
    struct admin_conn *client = request->conn;
    if (client->arriving == request && request->octets_left == 0) {
        request_complete(client, request);
    }
    if (client->request_count < ADMIN_REQUESTS_MAX) {
        conn_resume(client);
    }
}

/* A line that is no request: answers, then ends, because what follows cannot be told apart. */
static void request_unreadable(struct admin_conn *client, struct admin_request *request,
                               const char *why)
{
    client->input_ended = true;
    admin_refuse(request, STATUS_INVALID, "%s", why);
}

static void request_begin(struct admin_conn *client, struct admin_request *request)
{
    const char *name = doc_text(&request->question, "command");
    request->octets_left = doc_number(&request->question, "octets", 0);
    request->command = name == NULL ? NULL : find_command(name);
    client->arriving = request;
    if (request->command == NULL) {
        admin_refuse(
            request, STATUS_UNSUPPORTED,
            "this server does not know the command \"%.40s\"; is it older than the client?",
            name == NULL ? "" : name);
    } else if (request->command->octets == NULL && request->octets_left > ADMIN_PAYLOAD_MAX) {
        admin_refuse(request, STATUS_TOO_BIG, "at most %d octets", ADMIN_PAYLOAD_MAX);
    } else if (request->command->begin != NULL) {
        request->command->begin(request);
    } else if (request->octets_left > 0) {
        request->payload = malloc((size_t)request->octets_left);
        if (request->payload == NULL) {
            admin_refuse(request, STATUS_NO_MEMORY, "out of memory");
        }
    }
    if (request->octets_left == 0) {
        request_complete(client, request);
    }
}

static void take_line(struct admin_conn *client, const char *line, size_t length)
{
    struct admin_request *request = calloc(1, sizeof *request);
    if (request == NULL) {
        conn_abort(&client->conn, STATUS_NO_MEMORY);
        return;
    }
    request->conn = client;
    request->host = &client->admin->host;
    doc_object(&request->answer);
    list_push_back(&client->requests, &request->link);
    client->request_count++;
    if (doc_parse(line, length, &request->question, &request->error) != STATUS_OK) {
        request_unreadable(client, request, request->error.text);
    } else {
        request_begin(client, request);
    }
}

/* Octets of the request under way; returns how many were taken. */
static size_t take_octets(struct admin_conn *client, const uint8_t *data, size_t length)
{
    struct admin_request *request = client->arriving;
    if (length > request->octets_left) {
        length = (size_t)request->octets_left;
    }
    request->octets_left -= length;
    enum status status = STATUS_OK;
    if (request->answered) {
        /* refused: skipped */
    } else if (request->command->octets != NULL) {
        status = request->command->octets(request, data, length);
    } else {
        memcpy(request->payload + request->payload_length, data, length);
        request->payload_length += length;
    }
    if (status == STATUS_PENDING) {
        conn_pause(client); /* admin_request_resume goes on, also when these were the last */
    } else if (request->octets_left == 0) {
        request_complete(client, request);
    }
    return length;
}

static size_t on_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct admin_conn *client = list_entry(conn, struct admin_conn, conn);
    size_t taken = 0;
    while (taken < length && !client->paused && !client->input_ended && !client->closed) {
        if (client->arriving != NULL) {
            taken += take_octets(client, data + taken, length - taken);
            continue;
        }
        const uint8_t *end = memchr(data + taken, '\n', length - taken);
        if (end == NULL) {
            break;
        }
        size_t line = (size_t)(end - (data + taken));
        take_line(client, (const char *)data + taken, line);
        taken += line + 1;
        if (client->request_count >= ADMIN_REQUESTS_MAX && client->arriving == NULL) {
            conn_pause(client);
        }
    }
    if (length - taken > ADMIN_LINE_MAX && client->arriving == NULL && !client->paused) {
        conn_abort(conn, STATUS_TOO_BIG);
    }
    return client->input_ended ? length : taken;
}

static void on_input_end(struct conn *conn, size_t left)
{
    (void)left; /* half a line or message: nobody waits for its answer */
    struct admin_conn *client = list_entry(conn, struct admin_conn, conn);
    client->input_ended = true;
    if (client->arriving != NULL) {
        conn_abort(conn, STATUS_EOF);
    } else if (list_empty(&client->requests)) {
        conn_finish(conn);
    }
}

static void on_drained(struct conn *conn)
{
    (void)conn; /* answers are short and their number is bounded */
}

static void on_closed(struct conn *conn, enum status reason)
{
    (void)reason; /* an administrator's client may end as it likes */
    struct admin_conn *client = list_entry(conn, struct admin_conn, conn);
    struct admin_request *arriving = client->arriving;
    client->closed = true;
    client->arriving = NULL;
    if (arriving != NULL && !arriving->answered) {
        if (arriving->command->cancel != NULL) {
            arriving->command->cancel(arriving);
        }
        arriving->answered = true;
    }
    flush_answers(client);
}

/* --- connections --- */

static void conn_open(struct admin *admin, int fd)
{
    static const struct conn_events events = {.on_input = on_input,
                                              .on_input_end = on_input_end,
                                              .on_drained = on_drained,
                                              .on_closed = on_closed};
    static const struct address nobody;
    struct admin_conn *client = calloc(1, sizeof *client);
    if (client == NULL) {
        (void)close(fd); /* a connection that cannot be served */
        return;
    }
    client->admin = admin;
    list_init(&client->requests);
    list_push_back(&admin->conns, &client->link);
    conn_init(&client->conn, &admin->conns_host, fd, LOOP_RECEIVE_BULK, &events, &nobody, &nobody);
    conn_start(&client->conn);
}

static void on_connection(struct listener *listener, int fd, const struct address *peer,
                          const struct address *local)
{
    struct ucred who;
    socklen_t size = sizeof who;
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    if (known && (who.uid == 0 || who.uid == geteuid())) {
        conn_open(listener->owner, fd);
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_LEVEL_WARNING, "admin_refused");
    if (known) {
        log_number(&line, "uid", (int64_t)who.uid);
        log_number(&line, "pid", (int64_t)who.pid);
    }
    log_end(&line);
    (void)close(fd); /* a connection that is not served */
}

static void on_handover(struct post_message *message)
{
    struct handover *handover = list_entry(message, struct handover, message);
    conn_open(handover->admin, handover->fd);
    free(handover);
}

void admin_serve(struct admin *admin, int fd)
{
    struct handover *handover = calloc(1, sizeof *handover);
    if (handover == NULL) {
        (void)close(fd); /* the client sees the end */
        return;
    }
    handover->message.on_receive = on_handover;
    handover->admin = admin;
    handover->fd = fd;
    post_send(&admin->box, &handover->message);
}

/* --- the thread --- */

static void on_wake(void *owner)
{
    struct admin *admin = owner;
    (void)post_run(&admin->box); /* how many there were does not matter */
}

static void on_listener_stopped(struct listener *listener)
{
    struct admin *admin = listener->owner;
    admin->listening = false;
}

static void on_stop(struct post_message *message)
{
    struct admin *admin = list_entry(message, struct admin, stop_message);
    admin->stopping = true;
    auth_provide_drops(admin->host.auth, NULL);
    if (admin->listening) {
        listener_stop(&admin->listener);
    }
    for (struct list_link *link = admin->conns.next, *next; link != &admin->conns; link = next) {
        next = link->next; /* closing takes it off the list later, never inside the call */
        struct admin_conn *client = list_entry(link, struct admin_conn, link);
        if (!client->closed) {
            conn_abort(&client->conn, STATUS_CANCELLED);
        }
    }
}

static enum status thread_open(struct admin *admin)
{
    const struct admin_config *config = admin->config;
    /* A ring for a few lines of JSON is not worth its locked memory. */
    struct loop_config loop_config = {
        .kind = LOOP_EPOLL, .connections_max = 64, .on_wake = on_wake, .owner = admin};
    enum status status = loop_create(&loop_config, &admin->loop, &admin->error);
    if (status != STATUS_OK) {
        return status;
    }
    post_box_init_loop(&admin->box, admin->loop);
    conn_host_init(&admin->conns_host, admin->loop);
    admin->host = (struct admin_host){.default_domain = config->default_domain,
                                      .store = config->store,
                                      .auth = config->auth,
                                      .accounts = auth_accounts(config->auth),
                                      .draining = config->draining};
    store_client_init(&admin->host.client, config->store, admin->loop, &admin->box);
    auth_provide_drops(config->auth, &admin->host.client);
    list_init(&admin->conns);
    if (config->socket >= 0) {
        listener_init(&admin->listener, admin->loop, config->socket, admin);
        admin->listener.on_connection = on_connection;
        admin->listener.on_stopped = on_listener_stopped;
        admin->listening = true;
        listener_start(&admin->listener);
    }
    return STATUS_OK;
}

static bool finished(const struct admin *admin)
{
    return admin->stopping && !admin->listening && list_empty(&admin->conns) &&
           admin->host.client.inflight == 0;
}

static void *thread_run(void *argument)
{
    struct admin *admin = argument;
    (void)pthread_setname_np(pthread_self(), "admin"); /* only a help to whoever debugs */
    admin->status = thread_open(admin);
    bool runs = admin->status == STATUS_OK;
    (void)sem_post(&admin->started); /* posted once */
    while (runs && !finished(admin)) {
        loop_turn(admin->loop, -1);
    }
    if (runs) {
        conn_host_deinit(&admin->conns_host);
        post_box_deinit(&admin->box);
        loop_destroy(&admin->loop);
    }
    return NULL;
}

enum status admin_start(const struct admin_config *config, struct admin **out_admin,
                        struct error *out_error)
{
    struct admin *admin = calloc(1, sizeof *admin);
    if (admin == NULL || sem_init(&admin->started, 0, 0) != 0) {
        free(admin);
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "starting the admin thread");
    }
    admin->config = config;
    int failed = pthread_create(&admin->thread, NULL, thread_run, admin);
    if (failed != 0) {
        free(admin);
        return error_set(out_error, STATUS_NO_MEMORY, failed, NULL, "starting the admin thread");
    }
    while (sem_wait(&admin->started) != 0) {
        assert(errno == EINTR);
    }
    if (admin->status != STATUS_OK) {
        enum status status = admin->status;
        if (out_error != NULL) {
            *out_error = admin->error;
        }
        (void)pthread_join(admin->thread, NULL); /* it has ended */
        free(admin);
        return status;
    }
    *out_admin = admin;
    return STATUS_OK;
}

void admin_stop(struct admin **admin)
{
    if (*admin == NULL) {
        return;
    }
    (*admin)->stop_message.on_receive = on_stop;
    post_send(&(*admin)->box, &(*admin)->stop_message);
    (void)pthread_join((*admin)->thread, NULL); /* a joinable thread of ours: cannot fail */
    (void)sem_destroy(&(*admin)->started);      /* nobody waits for it */
    free(*admin);
    *admin = NULL;
}

enum status admin_listen(const char *path, int *out_fd, struct error *out_error)
{
    char text[ADDRESS_TEXT_MAX];
    struct listen_config config = {
        .unix_mode = 0600, .unix_owner = (uid_t)-1, .unix_group = (gid_t)-1};
    (void)snprintf(text, sizeof text, "unix:%s", path);
    if (address_parse(text, &config.address) != STATUS_OK) {
        return error_set(out_error, STATUS_INVALID, 0, path,
                         "cannot be a socket's path: choose admin_socket of at most 107 octets");
    }
    return listen_open(&config, out_fd, NULL, out_error);
}
