/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and configuration read anew, again and again, while clients shake hands, stay
 * connected through it all, and come back with tickets. For ThreadSanitizer.
 */
#include "server/config.h"
#include "server/daemon.h"

#include "io/tls.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CLIENTS    3
#define STAYING    8
#define RELOADS    25
#define PATIENCE_S 120 /* of a client that hangs */

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
    char directory[64], address[DAEMON_ADDRESS_MAX];
    struct config *config;
    struct daemon *daemon;
    SSL_CTX *context;
    atomic_bool over;
    atomic_uint sessions, resumed, broken;
};

/* --- the server --- */

static enum status read_config(struct house *house, struct config **out_config)
{
    static const char *const overrides[] = {
        "workers=2",
        "sandbox=off",
        "listener.pop3.address=127.0.0.1:0",
        "listener.pop3s.address=127.0.0.1:0",
        "listener.lmtp.address=127.0.0.1:0",
        "listener.metrics.address=127.0.0.1:0",
        "log_level=error",
    };
    struct error error = {.status = STATUS_OK};
    enum status status = config_demo(house->directory, overrides,
                                     sizeof overrides / sizeof overrides[0], out_config, &error);
    if (status != STATUS_OK) {
        printf("config: %s\n", error.text);
    }
    return status;
}

static bool open_house(struct house *house)
{
    struct error error = {.status = STATUS_OK};
    (void)snprintf(house->directory, sizeof house->directory, "/tmp/threads_reload.XXXXXX");
    if (mkdtemp(house->directory) == NULL || read_config(house, &house->config) != STATUS_OK) {
        return false;
    }
    if (daemon_start(house->config, true, &house->daemon, &error) != STATUS_OK) {
        printf("start: %s\n", error.text);
        return false;
    }
    daemon_listener_address(house->daemon, "pop3s", house->address);
    house->context = SSL_CTX_new(TLS_client_method());
    return house->context != NULL;
}

static void close_house(struct house *house)
{
    char command[128];
    SSL_CTX_free(house->context);
    daemon_stop(&house->daemon);
    config_free(&house->config);
    (void)snprintf(command, sizeof command, "rm -rf %s", house->directory);
    check(system(command) == 0, "the directory is removed");
}

static bool write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return false;
    }
    bool good = fputs(text, file) >= 0;
    return fclose(file) == 0 && good;
}

/* A new certificate where the old one was, then what SIGHUP does. */
static bool reload(struct house *house, unsigned round)
{
    static const char *const names[] = {"localhost"};
    struct error error = {.status = STATUS_OK};
    struct config *config = NULL;
    struct tls_pem pem;
    if (read_config(house, &config) != STATUS_OK ||
        tls_self_signed(names, 1, 30 + round, &pem) != STATUS_OK) {
        config_free(&config);
        return false;
    }
    bool good = write_file(config->tls.keys.items[0], pem.key) &&
                write_file(config->tls.certificates.items[0], pem.certificate);
    tls_pem_free(&pem);
    good = good && daemon_reload(house->daemon, &config, &error) == STATUS_OK;
    config_free(&config); /* NULL when the daemon has it */
    return good;
}

/* --- clients --- */

static int connect_to(const struct house *house)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    where.sin_port = htons((uint16_t)atoi(strrchr(house->address, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience); /* for a hang only */
    if (connect(fd, (struct sockaddr *)&where, sizeof where) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* A session behind its handshake and greeting, or NULL. `ticket` may be NULL. */
static SSL *begin(const struct house *house, SSL_SESSION *ticket)
{
    char text[512];
    int fd = connect_to(house);
    SSL *ssl = fd >= 0 ? SSL_new(house->context) : NULL;
    if (ssl == NULL) {
        return NULL;
    }
    bool good = SSL_set_fd(ssl, fd) == 1 && (ticket == NULL || SSL_set_session(ssl, ticket) == 1) &&
                SSL_connect(ssl) == 1 && SSL_read(ssl, text, sizeof text) > 3 &&
                memcmp(text, "+OK", 3) == 0;
    if (!good) {
        (void)close(fd);
        SSL_free(ssl);
        return NULL;
    }
    return ssl;
}

static void end(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    (void)SSL_shutdown(ssl); /* whether the server hears it does not matter */
    SSL_free(ssl);
    (void)close(fd);
}

/* Asks for what is refused in one line, and is no bad command that would end the session. */
static bool still_there(SSL *ssl)
{
    char text[512];
    return SSL_write(ssl, "AUTH NONE\r\n", 11) == 11 && SSL_read(ssl, text, sizeof text) > 4 &&
           memcmp(text, "-ERR", 4) == 0;
}

static void *come_and_go(void *argument)
{
    struct house *house = argument;
    SSL_SESSION *ticket = NULL;
    while (!atomic_load(&house->over)) {
        SSL *ssl = begin(house, ticket);
        if (ssl == NULL) {
            atomic_fetch_add(&house->broken, 1);
            continue;
        }
        atomic_fetch_add(&house->resumed, SSL_session_reused(ssl) == 1);
        if (!still_there(ssl)) {
            atomic_fetch_add(&house->broken, 1);
        }
        SSL_SESSION_free(ticket);
        ticket = SSL_get1_session(ssl);
        atomic_fetch_add(&house->sessions, 1);
        end(ssl);
    }
    SSL_SESSION_free(ticket);
    return NULL;
}

/* --- the run --- */

static void reload_and_look(struct house *house, SSL *const *staying)
{
    for (unsigned i = 0; i < RELOADS; i++) {
        unsigned before = atomic_load(&house->sessions);
        check(reload(house, i), "a reload succeeds");
        for (unsigned j = 0; j < STAYING; j++) {
            check(still_there(staying[j]), "a session lives through a reload");
        }
        /* New ones come in between, unless none can any more. */
        while (atomic_load(&house->sessions) == before && atomic_load(&house->broken) == 0) {
            (void)sched_yield(); /* the clients' turn */
        }
    }
}

int main(void)
{
    struct house house = {.directory = ""};
    pthread_t clients[CLIENTS];
    SSL *staying[STAYING];
    if (!open_house(&house)) {
        return 1;
    }
    for (unsigned i = 0; i < STAYING; i++) {
        staying[i] = begin(&house, NULL);
        if (staying[i] == NULL) {
            printf("no session\n");
            return 1;
        }
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (pthread_create(&clients[i], NULL, come_and_go, &house) != 0) {
            return 1;
        }
    }
    reload_and_look(&house, staying);
    atomic_store(&house.over, true);
    for (unsigned i = 0; i < CLIENTS; i++) {
        (void)pthread_join(clients[i], NULL); /* cannot fail: each is joined once */
    }
    for (unsigned i = 0; i < STAYING; i++) {
        end(staying[i]);
    }
    check(atomic_load(&house.broken) == 0, "no session breaks");
    check(atomic_load(&house.resumed) > 0, "tickets outlive a reload");
    printf("%u sessions, %u resumed, %u broken\n", atomic_load(&house.sessions),
           atomic_load(&house.resumed), atomic_load(&house.broken));
    close_house(&house);
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
