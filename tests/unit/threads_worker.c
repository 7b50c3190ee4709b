/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers on threads of their own, with a real store and user database: they serve, they drain,
 * they end. For ThreadSanitizer.
 */
#include "server/config.h"
#include "server/worker.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKERS  2
#define CLIENTS  4
#define SESSIONS 25 /* of each client, one after the other */

static unsigned passed, failed;

static void check(bool good, const char *what)
{
    passed += good;
    failed += !good;
    if (!good) {
        printf("FAILED: %s\n", what);
    }
}

struct house {
    char directory[64];
    struct config *config;
    struct store *store;
    struct auth *auth;
    struct worker *workers[WORKERS];
    int fds[WORKERS];
    struct address address; /* of both workers' sockets */
};

static bool open_house(struct house *house, const char *backend)
{
    struct error error = {.status = STATUS_OK};
    const char *const overrides[] = {backend};
    char path[128];
    (void)snprintf(house->directory, sizeof house->directory, "/tmp/threads_worker.XXXXXX");
    if (mkdtemp(house->directory) == NULL ||
        config_demo(house->directory, overrides, 1, &house->config, &error) != STATUS_OK) {
        printf("config: %s\n", error.text);
        return false;
    }
    (void)snprintf(path, sizeof path, "%s/accounts", house->directory);
    struct store_config store_config = {.path = house->directory};
    struct auth_config auth_config = {.accounts_path = path, .default_domain = "localhost"};
    if (store_open(&store_config, &house->store, &error) != STATUS_OK ||
        auth_open(&auth_config, &house->auth, &error) != STATUS_OK) {
        printf("store or accounts: %s\n", error.text);
        return false;
    }
    return true;
}

static bool start_workers(struct house *house)
{
    struct error error = {.status = STATUS_OK};
    struct listen_config listen_config = {.reuse_port = true};
    bool good = address_parse("127.0.0.1:0", &listen_config.address) == STATUS_OK;
    for (unsigned i = 0; good && i < WORKERS; i++) {
        good = listen_open(&listen_config, &house->fds[i], &house->address, &error) == STATUS_OK;
        listen_config.address = house->address;
    }
    for (unsigned i = 0; good && i < WORKERS; i++) {
        struct worker_socket socket = {.config = &house->config->listeners[0], .fd = house->fds[i]};
        struct worker_config config = {.index = i,
                                       .config = house->config,
                                       .store = house->store,
                                       .auth = house->auth,
                                       .sockets = &socket,
                                       .socket_count = 1};
        good = worker_start(&config, &house->workers[i], &error) == STATUS_OK;
    }
    if (!good) {
        printf("workers: %s\n", error.text);
    }
    return good;
}

static void close_house(struct house *house)
{
    char command[128];
    auth_close(&house->auth);
    store_close(&house->store);
    config_free(&house->config);
    for (unsigned i = 0; i < WORKERS; i++) {
        (void)close(house->fds[i]); /* nobody listens there any more */
    }
    (void)snprintf(command, sizeof command, "rm -rf %s", house->directory);
    check(system(command) == 0, "the directory is removed");
}

static int connect_to(const struct house *house)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, &house->address.any, house->address.length) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* Reads to the end of the stream; returns whether it was exactly `expected`. */
static bool hears(int fd, const char *expected)
{
    char text[1024];
    size_t length = 0;
    ssize_t got;
    while (length < sizeof text && (got = recv(fd, text + length, sizeof text - length, 0)) > 0) {
        length += (size_t)got;
    }
    return length == strlen(expected) && memcmp(text, expected, length) == 0;
}

static void *run_client(void *argument)
{
    static const char commands[] = "USER nobody\r\nNOOP\r\nQUIT\r\n";
    const struct house *house = argument;
    uintptr_t good = 0;
    for (unsigned i = 0; i < SESSIONS; i++) {
        int fd = connect_to(house);
        if (fd < 0) {
            continue;
        }
        good += send(fd, commands, sizeof commands - 1, MSG_NOSIGNAL) > 0 &&
                hears(fd, "+OK Restante POP3 server ready\r\n+OK send PASS\r\n"
                          "-ERR command not allowed now\r\n+OK bye\r\n");
        (void)close(fd);
    }
    return (void *)good; /* NOLINT: a number, not an address */
}

static void serve_clients(struct house *house)
{
    pthread_t threads[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        check(pthread_create(&threads[i], NULL, run_client, house) == 0, "a client starts");
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        void *good = NULL;
        (void)pthread_join(threads[i], &good); /* it is ours */
        check((uintptr_t)good == SESSIONS, "every session was answered");
    }
    uint64_t accepted = 0;
    for (unsigned i = 0; i < WORKERS; i++) {
        accepted += counter_read(&house->workers[i]->counters.connections_accepted);
    }
    check(accepted == CLIENTS * SESSIONS, "every connection was counted");
}

static void drain(struct house *house)
{
    char greeting[64];
    int idle = connect_to(house);
    check(recv(idle, greeting, sizeof greeting, 0) > 0, "an idle client is greeted");
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_drain(house->workers[i]);
        worker_drain(house->workers[i]); /* harmless */
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_wait_deaf(house->workers[i]); /* or the test never ends */
    }
    check(hears(idle, ""), "an idle session ends without a word");
    (void)close(idle);
    for (unsigned i = 0; i < WORKERS; i++) {
        worker_join(&house->workers[i]);
        check(house->workers[i] == NULL, "a worker ends");
    }
}

static void test_backend(const char *backend)
{
    struct house house = {.config = NULL};
    bool open = open_house(&house, backend);
    check(open, "the store opens");
    if (!open) {
        return;
    }
    bool started = start_workers(&house);
    check(started, "the workers start");
    if (started) {
        serve_clients(&house);
        drain(&house);
    }
    close_house(&house);
}

int main(void)
{
    test_backend("io_backend=epoll");
    if (loop_probe_uring(NULL) == STATUS_OK) {
        test_backend("io_backend=io_uring");
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
