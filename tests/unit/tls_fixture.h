/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection under TLS, the loop it lives in, and an OpenSSL client at the other end of its
 * socket, all in one thread: nobody waits for anybody but in world_until.
 */
#ifndef TESTS_UNIT_TLS_FIXTURE_H
#define TESTS_UNIT_TLS_FIXTURE_H

#include "io/conn.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE 20000 /* turns of at most 10 ms */

struct world {
    struct conn conn;
    struct loop *loop;
    struct conn_host host;
    struct tls_server *server;
    int peer; /* non-blocking; -1 once closed */
    SSL *client;

    /* what the owner does */
    bool stls;       /* starts in the clear and takes STLS */
    bool take_all;   /* takes whatever stands behind STLS, as a careless owner would */
    bool greet;      /* writes a greeting before conn_start */
    size_t take_max; /* of one on_input */
    bool echo;       /* sends back what it takes */
    bool finish_when_secure, abort_when_secure;

    /* what it has been told */
    unsigned secured, input_ends, drained, closed, commands;
    enum status secure_status, reason, start_status;
    enum tls_failure failure;
    uint8_t *input;
    size_t input_length;

    /* what the client has got */
    uint8_t *got;
    size_t got_length;
    bool got_end;
};

#define GOT_MAX ((size_t)16 * 1024 * 1024)

#define world_of(c) ((struct world *)(void *)(c))

static void take_stls(struct world *world)
{
    world->commands++;
    cr_assert_eq(conn_write(&world->conn, "+OK\r\n", 5), STATUS_OK);
    world->start_status = conn_start_tls(&world->conn, world->server);
    if (world->start_status == STATUS_OK) {
        cr_assert_eq(conn_write(&world->conn, "?", 1), STATUS_CANCELLED, "nothing behind +OK");
    }
}

static size_t on_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct world *world = world_of(conn);
    if (world->stls && conn_tls(conn) == NULL) {
        if (length < 6 || memcmp(data, "STLS\r\n", 6) != 0) {
            world->commands++;
            return length;
        }
        take_stls(world);
        return world->take_all ? length : 6;
    }
    size_t taken = length < world->take_max ? length : world->take_max;
    cr_assert_leq(world->input_length + taken, GOT_MAX);
    memcpy(world->input + world->input_length, data, taken);
    world->input_length += taken;
    if (world->echo) {
        cr_assert_eq(conn_write(conn, data, taken), STATUS_OK);
    }
    return taken;
}

static void on_input_end(struct conn *conn, size_t left)
{
    world_of(conn)->input_ends++;
}

static void on_drained(struct conn *conn)
{
    world_of(conn)->drained++;
}

static void on_secure(struct conn *conn, enum status status)
{
    struct world *world = world_of(conn);
    world->secured++;
    world->secure_status = status;
    world->failure = conn_tls_failure(conn);
    cr_assert_eq(conn_tls(conn) != NULL, status == STATUS_OK);
    if (world->finish_when_secure) {
        conn_finish(conn);
    }
    if (world->abort_when_secure) {
        conn_abort(conn, STATUS_LOST);
    }
}

static void on_closed(struct conn *conn, enum status reason)
{
    world_of(conn)->closed++;
    world_of(conn)->reason = reason;
    world_of(conn)->failure = conn_tls_failure(conn);
}

static const struct conn_events events = {.on_input = on_input,
                                          .on_input_end = on_input_end,
                                          .on_drained = on_drained,
                                          .on_closed = on_closed,
                                          .on_secure = on_secure};

static void tcp_pair(int out_fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    out_fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(out_fds[1], (struct sockaddr *)&address, length), 0);
    cr_assert_eq(fcntl(out_fds[1], F_SETFL, O_NONBLOCK), 0);
    out_fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    cr_assert_geq(out_fds[0], 0);
    (void)close(listener);
}

/* Certificates */

/* Each name list makes one self-signed pair; NULL-terminated lists in a NULL-terminated list. */
struct pairs {
    struct tls_pair pairs[4];
    struct tls_pem pems[4];
    size_t count;
};

static inline void pairs_add(struct pairs *pairs, const char *const *names)
{
    size_t count = 0;
    while (names[count] != NULL) {
        count++;
    }
    struct tls_pem *pem = &pairs->pems[pairs->count];
    cr_assert_eq(tls_self_signed(names, count, 30, pem), STATUS_OK);
    pairs->pairs[pairs->count++] =
        (struct tls_pair){.certificate_pem = pem->certificate, .key_pem = pem->key};
}

static inline void pairs_free(struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        tls_pem_free(&pairs->pems[i]);
    }
}

/* A server for mail.example.org as `config` says (NULL: as usual), but for its certificate. */
static inline struct tls_server *server_make(const struct tls_config *config,
                                             struct tls_server *previous)
{
    static const char *const names[] = {"mail.example.org", "127.0.0.1", NULL};
    struct tls_config whole = {.protocol = "pop3"};
    if (config != NULL) {
        whole = *config;
    }
    /* In a virtual machine with kernel TLS all tests are run with it, too. */
    whole.kernel = whole.kernel || getenv("RESTANTE_KERNEL_TLS_ALWAYS") != NULL;
    struct pairs pairs = {.count = 0};
    pairs_add(&pairs, names);
    whole.pairs = pairs.pairs;
    whole.pair_count = pairs.count;
    struct tls_server *server = NULL;
    struct error error = {.text = ""};
    cr_assert_eq(tls_server_create(&whole, 2, previous, &server, &error), STATUS_OK, "%s",
                 error.text);
    pairs_free(&pairs);
    return server;
}

/* The world */

static struct world *world_make(enum loop_kind kind, struct tls_server *server)
{
    struct world *world = calloc(1, sizeof *world);
    struct loop_config config = {.kind = kind};
    world->server = server;
    world->take_max = SIZE_MAX;
    world->input = malloc(GOT_MAX);
    world->got = malloc(GOT_MAX);
    world->peer = -1;
    cr_assert_eq(loop_create(&config, &world->loop, NULL), STATUS_OK);
    conn_host_init(&world->host, world->loop);
    world->host.tls_worker = 1;
    return world;
}

/* A new connection in the same world. */
static void world_connect(struct world *world, enum loop_receive_mode mode)
{
    struct address nowhere = {0};
    int fds[2];
    tcp_pair(fds);
    world->peer = fds[1];
    world->secured = world->input_ends = world->drained = world->closed = world->commands = 0;
    world->input_length = world->got_length = 0;
    world->got_end = false;
    conn_init(&world->conn, &world->host, fds[0], mode, &events, &nowhere, &nowhere);
    if (!world->stls) {
        cr_assert_eq(conn_start_tls(&world->conn, world->server), STATUS_OK);
        if (world->greet) {
            cr_assert_eq(conn_write(&world->conn, "+OK ready\r\n", 11), STATUS_OK);
        }
    }
    conn_start(&world->conn);
}

static inline struct world *world_open(enum loop_kind kind, struct tls_server *server)
{
    struct world *world = world_make(kind, server);
    world_connect(world, LOOP_RECEIVE_STREAM);
    return world;
}

/* Reads what is there for the client: by TLS when it speaks it, else in the clear. */
static void client_read(struct world *world)
{
    while (world->peer >= 0 && !world->got_end) {
        int length;
        size_t room = GOT_MAX - world->got_length;
        if (world->client != NULL) {
            ERR_clear_error();
            length = SSL_read(world->client, world->got + world->got_length, (int)room);
            if (length <= 0) {
                int why = SSL_get_error(world->client, length);
                world->got_end = why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
                return;
            }
        } else {
            length = (int)recv(world->peer, world->got + world->got_length, room, 0);
            if (length <= 0) {
                world->got_end = length == 0 || errno != EAGAIN;
                return;
            }
        }
        world->got_length += (size_t)length;
    }
}

#define UNTIL(world, condition)                                                        \
    do {                                                                               \
        for (unsigned patience = PATIENCE; !(condition) && patience > 0; patience--) { \
            client_read(world);                                                        \
            loop_turn((world)->loop, (condition) ? 0 : 10);                            \
        }                                                                              \
        cr_assert(condition);                                                          \
    } while (0)

static inline void turn_some(struct world *world)
{
    for (unsigned i = 0; i < 6; i++) {
        loop_turn(world->loop, 2);
    }
}

static inline void client_leave(struct world *world)
{
    if (world->client != NULL) { /* left without a goodbye, OpenSSL would drop the session */
        SSL_set_shutdown(world->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(world->client);
    world->client = NULL;
    if (world->peer >= 0) {
        (void)close(world->peer);
    }
    world->peer = -1;
}

/* Ends the connection, whatever state it is in. */
static void world_disconnect(struct world *world)
{
    if (world->closed == 0) {
        conn_abort(&world->conn, STATUS_CANCELLED);
        UNTIL(world, world->closed > 0);
    }
    turn_some(world);
    cr_assert_eq(world->closed, 1);
    cr_assert_eq(world->host.pools.blocks.used_count, 0);
    cr_assert_eq(world->host.pools.chunks.used_count, 0);
    client_leave(world);
}

static inline void world_close(struct world *world)
{
    world_disconnect(world);
    conn_host_deinit(&world->host);
    loop_destroy(&world->loop);
    tls_server_unref(&world->server);
    free(world->input);
    free(world->got);
    free(world);
}

/* The client */

static inline SSL_CTX *client_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    return context;
}

static void client_begin(struct world *world, SSL_CTX *context)
{
    world->client = SSL_new(context);
    cr_assert_eq(SSL_set_fd(world->client, world->peer), 1);
    SSL_set_connect_state(world->client);
}

/* Shakes hands; true when that ended well for the client, false when it failed. */
static bool client_handshake(struct world *world)
{
    for (unsigned patience = PATIENCE; patience > 0; patience--) {
        ERR_clear_error();
        int result = SSL_do_handshake(world->client);
        if (result == 1) {
            return true;
        }
        int why = SSL_get_error(world->client, result);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
            return false;
        }
        loop_turn(world->loop, 10);
    }
    cr_assert(false, "the handshake does not end");
    return false;
}

/* From connect to both sides secure. */
static inline void client_connect(struct world *world, SSL_CTX *context)
{
    client_begin(world, context);
    cr_assert(client_handshake(world));
    UNTIL(world, world->secured > 0);
    cr_assert_eq(world->secure_status, STATUS_OK);
}

/* Writes all of it, turning the loop while the socket is full. */
static inline void client_write(struct world *world, const void *data, size_t length)
{
    const uint8_t *octets = data;
    while (length > 0) {
        int result = SSL_write(world->client, octets, length < 16384 ? (int)length : 16384);
        if (result > 0) {
            octets += result;
            length -= (size_t)result;
        } else {
            int why = SSL_get_error(world->client, result);
            cr_assert(why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ);
            loop_turn(world->loop, 1);
        }
    }
}

static inline void say(struct world *world, const char *text)
{
    cr_assert_eq(send(world->peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline void got(struct world *world, const char *text)
{
    UNTIL(world, world->got_length >= strlen(text));
    cr_assert_eq(world->got_length, strlen(text));
    cr_assert_eq(memcmp(world->got, text, strlen(text)), 0);
}

static inline void took(struct world *world, const char *text)
{
    UNTIL(world, world->input_length >= strlen(text));
    cr_assert_eq(world->input_length, strlen(text));
    cr_assert_eq(memcmp(world->input, text, strlen(text)), 0);
}

/* A test's body as a function of the back end. */
static const enum loop_kind kinds[] = {LOOP_AUTO, LOOP_EPOLL};

#define ON_BOTH(suite, name)               \
    static void name(enum loop_kind kind); \
    Test(suite, name)                      \
    {                                      \
        name(kinds[0]);                    \
        name(kinds[1]);                    \
    }                                      \
    static void name(enum loop_kind kind)

#endif
