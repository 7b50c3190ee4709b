/* SPDX-License-Identifier: Apache-2.0 */
#include "server/admin_client.h"

#include "auth/auth.h"
#include "server/admin.h"
#include "server/open_auth.h"
#include "storage/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX (1024 * 1024) /* octets of one answer: a page of users is about 100 KiB */

struct admin_client {
    int fd;
    char *buffer; /* ANSWER_MAX octets */
    size_t length, taken;
    /* when it opened the store itself */
    struct store *store;
    struct auth *auth;
    struct admin *admin;
};

static enum status client_create(int fd, struct admin_client **out_client, struct error *out_error)
{
    struct admin_client *client = calloc(1, sizeof *client);
    char *buffer = malloc(ANSWER_MAX);
    if (client == NULL || buffer == NULL) {
        free(client);
        free(buffer);
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "out of memory");
    }
    client->fd = fd;
    client->buffer = buffer;
    *out_client = client;
    return STATUS_OK;
}

enum status admin_client_connect(const char *path, struct admin_client **out_client,
                                 struct error *out_error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return error_set(out_error, STATUS_INVALID, 0, path, "too long for a socket's path");
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return error_set(out_error, status_from_errno(errno), errno, NULL, "cannot make a socket");
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int why = errno;
        (void)close(fd); /* it was never used */
        if (why == ENOENT || why == ECONNREFUSED) {
            return error_set(out_error, STATUS_NOT_FOUND, why, path,
                             "no server answers there: start restanted, or name its socket with "
                             "--socket, or with --store the store of a server that does not run");
        }
        return error_set(out_error, status_from_errno(why), why, path,
                         why == EACCES ? "only root and the server's own user may"
                                       : "cannot connect");
    }
    enum status status = client_create(fd, out_client, out_error);
    if (status != STATUS_OK) {
        (void)close(fd); /* it was never used */
    }
    return status;
}

/* --- a store of one's own --- */

/* A locked store: says where its server probably listens. */
static enum status explain_busy(const struct config *config, struct error *out_error)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/admin.sock", config->store.path);
    const char *socket = access(path, F_OK) == 0 ? path : config->admin_socket;
    return error_set(out_error, STATUS_BUSY, 0, config->store.path,
                     "a server is running on this store: use --socket %s instead of --store",
                     socket);
}

static enum status open_parts(struct admin_client *client, const struct config *config,
                              struct error *out_error)
{
    struct store_config store;
    config_store(config, &store);
    store.scrub_rate = 0; /* it is open for one command */
    enum status status = store_open(&store, &client->store, out_error);
    if (status == STATUS_BUSY) {
        return explain_busy(config, out_error);
    }
    if (status == STATUS_OK) {
        status = open_auth(config, true, &client->auth, out_error);
    }
    if (status == STATUS_OK) {
        struct admin_config admin = {.default_domain = config->auth.default_domain,
                                     .store = client->store,
                                     .auth = client->auth,
                                     .socket = -1};
        status = admin_start(&admin, &client->admin, out_error);
    }
    return status;
}

enum status admin_client_open(const struct config *config, struct admin_client **out_client,
                              struct error *out_error)
{
    struct stat facts;
    if (stat(config->store.path, &facts) != 0 || !S_ISDIR(facts.st_mode)) {
        return error_set(
            out_error, STATUS_NOT_FOUND, 0, config->store.path,
            "there is no such folder: a store is made by the first start of restanted");
    }
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return error_set(out_error, status_from_errno(errno), errno, NULL, "cannot make a socket");
    }
    struct admin_client *client = NULL;
    enum status status = client_create(pair[0], &client, out_error);
    if (status != STATUS_OK) {
        (void)close(pair[0]); /* they were never used */
        (void)close(pair[1]);
        return status;
    }
    status = open_parts(client, config, out_error);
    if (status != STATUS_OK) {
        (void)close(pair[1]); /* it was never used */
        admin_client_close(&client);
        return status;
    }
    (void)fcntl(pair[1], F_SETFL, O_NONBLOCK); /* a socket of ours: cannot fail */
    admin_serve(client->admin, pair[1]);
    *out_client = client;
    return STATUS_OK;
}

void admin_client_close(struct admin_client **client)
{
    if (*client == NULL) {
        return;
    }
    struct admin_client *own = *client;
    (void)close(own->fd); /* everything has been answered, or nobody cares any more */
    admin_stop(&own->admin);
    if (own->auth != NULL) {
        auth_close(&own->auth);
    }
    if (own->store != NULL) {
        store_close(&own->store);
    }
    free(own->buffer);
    free(own);
    *client = NULL;
}

/* --- talking --- */

static enum status lost(struct error *out_error, int errno_value)
{
    return error_set(out_error, STATUS_RESET, errno_value, NULL,
                     "the connection to the server is lost: see its log");
}

static enum status write_all(struct admin_client *client, const void *data, size_t length,
                             struct error *out_error)
{
    const char *at = data;
    while (length > 0) {
        ssize_t sent = send(client->fd, at, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            return lost(out_error, errno);
        }
        at += sent;
        length -= (size_t)sent;
    }
    return STATUS_OK;
}

enum status admin_client_send(struct admin_client *client, struct doc *request, const void *data,
                              size_t length, struct error *out_error)
{
    if (length > 0) {
        doc_put_number(request, "octets", length);
    }
    char *text = doc_write(request, false);
    if (text == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "out of memory");
    }
    enum status status = write_all(client, text, strlen(text), out_error);
    free(text);
    if (status == STATUS_OK) {
        status = write_all(client, "\n", 1, out_error);
    }
    if (status == STATUS_OK) {
        status = write_all(client, data, length, out_error);
    }
    return status;
}

/* Takes more octets into the buffer, behind what is left of it. */
static enum status read_more(struct admin_client *client, struct error *out_error)
{
    memmove(client->buffer, client->buffer + client->taken, client->length - client->taken);
    client->length -= client->taken;
    client->taken = 0;
    if (client->length == ANSWER_MAX) {
        return error_set(out_error, STATUS_TOO_BIG, 0, NULL, "an answer longer than it may be");
    }
    ssize_t received;
    do {
        received =
            recv(client->fd, client->buffer + client->length, ANSWER_MAX - client->length, 0);
    } while (received < 0 && errno == EINTR);
    if (received <= 0) {
        return lost(out_error, received < 0 ? errno : 0);
    }
    client->length += (size_t)received;
    return STATUS_OK;
}

enum status admin_client_receive(struct admin_client *client, struct doc *out_answer,
                                 struct error *out_error)
{
    for (;;) {
        char *start = client->buffer + client->taken;
        char *end = memchr(start, '\n', client->length - client->taken);
        if (end != NULL) {
            client->taken = (size_t)(end + 1 - client->buffer);
            return doc_parse(start, (size_t)(end - start), out_answer, out_error);
        }
        enum status status = read_more(client, out_error);
        if (status != STATUS_OK) {
            return status;
        }
    }
}

enum status admin_client_verdict(const struct doc *answer, struct error *out_error)
{
    if (doc_bool(answer, "ok")) {
        return STATUS_OK;
    }
    const char *word = doc_text(answer, "status"), *text = doc_text(answer, "error");
    enum status status = STATUS_IO;
    for (int i = STATUS_OK + 1; word != NULL && i < STATUS_COUNT; i++) {
        if (strcmp(word, status_name((enum status)i)) == 0) {
            status = (enum status)i;
        }
    }
    return error_set(out_error, status, 0, NULL, "%s", text != NULL ? text : "refused");
}

enum status admin_client_ask(struct admin_client *client, struct doc *request, const void *data,
                             size_t length, struct doc *out_answer, struct error *out_error)
{
    struct doc answer;
    enum status status = admin_client_send(client, request, data, length, out_error);
    doc_free(request);
    if (status == STATUS_OK) {
        status = admin_client_receive(client, &answer, out_error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = admin_client_verdict(&answer, out_error);
    if (status == STATUS_OK) {
        *out_answer = answer;
    } else {
        doc_free(&answer);
    }
    return status;
}
