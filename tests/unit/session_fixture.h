/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker without a thread, for tests of what runs on one: the test turns the loop itself. Clients
 * are the other ends of socket pairs. Every session and loan must have been given back at the end.
 *
 * Included by one test file of a program; it brings its own worker_item_get, which counts.
 */
#ifndef TESTS_UNIT_SESSION_FIXTURE_H
#define TESTS_UNIT_SESSION_FIXTURE_H

#include "server/config.h"
#include "server/session.h"
#include "server/worker.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIXTURE_TURNS_MAX \
    5000 /* turns of at most 1 ms: what a test waits for comes before that \
          */

struct fixture {
    struct config config;
    struct config_listener config_listener;
    struct worker worker;
    struct worker_listener listener;
    unsigned items; /* on loan */
};

static struct fixture fixture;

void *worker_item_get(struct worker *worker, size_t size)
{
    fixture.items++;
    return malloc(size);
}

void worker_item_put(struct worker *worker, size_t size, void *item)
{
    fixture.items -= item != NULL;
    free(item);
}

static inline void fixture_on_wake(void *owner)
{
    (void)post_run(&fixture.worker.box);
}

static inline void fixture_open(enum loop_kind kind, const struct session_protocol *protocol)
{
    memset(&fixture, 0, sizeof fixture);
    fixture.config.pop3 = (struct config_pop3){.idle_timeout_s = 600,
                                               .login_timeout_s = 180,
                                               .stall_timeout_s = 600,
                                               .bad_commands_login = 3,
                                               .bad_commands = 20};
    fixture.config.lmtp = (struct config_lmtp){.idle_timeout_s = 300, .bad_commands = 20};
    fixture.config_listener = (struct config_listener){
        .name = "test", .protocol = CONFIG_POP3, .policy = {.plaintext_without_tls = true}};
    struct loop_config loop_config = {.kind = kind, .on_wake = fixture_on_wake};
    cr_assert_eq(loop_create(&loop_config, &fixture.worker.loop, NULL), STATUS_OK);
    fixture.worker.config = &fixture.config;
    post_box_init_loop(&fixture.worker.box, fixture.worker.loop);
    conn_host_init(&fixture.worker.host, fixture.worker.loop);
    list_init(&fixture.worker.sessions);
    fixture.listener.config = &fixture.config_listener;
    fixture.listener.protocol = protocol;
    fixture.listener.worker = &fixture.worker;
}

static inline void fixture_turn(void)
{
    loop_turn(fixture.worker.loop, 1);
}

/* Turns until whatever could happen by itself has happened. */
static inline void fixture_settle(void)
{
    for (unsigned i = 0; i < 20; i++) {
        loop_turn(fixture.worker.loop, 0);
    }
}

/* Waits until all sessions are gone, and takes the worker down. */
static inline void fixture_close(void)
{
    for (unsigned i = 0; fixture.worker.session_count > 0; i++) {
        cr_assert_lt(i, FIXTURE_TURNS_MAX, "a session does not end");
        fixture_turn();
    }
    cr_assert_eq(fixture.items, 0, "%u items were not given back", fixture.items);
    conn_host_deinit(&fixture.worker.host);
    post_box_deinit(&fixture.worker.box);
    loop_destroy(&fixture.worker.loop);
}

static inline int fixture_connect(void)
{
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    struct address address = {.length = sizeof(sa_family_t)};
    address.any.sa_family = AF_UNIX;
    session_accept(&fixture.listener, pair[0], &address, &address);
    return pair[1];
}

/* The session made last. */
static inline struct session *fixture_session(void)
{
    cr_assert_not(list_empty(&fixture.worker.sessions));
    return list_entry(fixture.worker.sessions.prev, struct session, link);
}

static inline void say_octets(int client, const char *data, size_t length)
{
    for (unsigned i = 0; length > 0; i++) {
        cr_assert_lt(i, FIXTURE_TURNS_MAX, "the server does not take its input");
        ssize_t sent = send(client, data, length, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
        } else {
            cr_assert_eq(errno, EAGAIN);
            fixture_turn();
        }
    }
}

static inline void say(int client, const char *text)
{
    say_octets(client, text, strlen(text));
}

/* Reads what the server sends until there are `length` octets or its end; returns how many. */
static inline size_t hear(int client, char *out, size_t length)
{
    size_t heard = 0;
    for (unsigned i = 0; heard < length; i++) {
        cr_assert_lt(i, FIXTURE_TURNS_MAX, "nothing more comes after %zu octets", heard);
        ssize_t got = recv(client, out + heard, length - heard, 0);
        if (got > 0) {
            heard += (size_t)got;
        } else if (got == 0 || errno == ECONNRESET) {
            break;
        } else {
            fixture_turn();
        }
    }
    return heard;
}

/* The next octets from the server are exactly these. */
static inline void expect(int client, const char *text)
{
    size_t length = strlen(text);
    char *heard = calloc(1, length + 1);
    size_t got = hear(client, heard, length);
    cr_assert_str_eq(heard, text, "heard %zu octets: %s, not: %s", got, heard, text);
    free(heard);
}

/* Nothing comes, though everything that could has happened. */
static inline void expect_silence(int client)
{
    char octet;
    fixture_settle();
    cr_assert_eq(recv(client, &octet, 1, 0), -1);
    cr_assert_eq(errno, EAGAIN);
}

static inline void expect_end(int client)
{
    char octet;
    cr_assert_eq(hear(client, &octet, 1), 0, "octet 0x%02x instead of the end", (unsigned)octet);
    close(client);
}

#endif
