/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be put into the plaintext around STLS (CVE-2011-0411 and its many heirs). Expected, for
 * every shape: no octet is ever taken as a command, and the connection ends.
 *
 *   octets come                                         then
 *   behind STLS in its segment, or before the reply     nothing is sent, not even the reply
 *   was handed to the kernel
 *   after the reply, in place of a ClientHello          nothing but the reply is sent
 *   behind a ClientHello                                the handshake fails, with an alert at most
 *   STLS a second time, inside TLS                      the connection is aborted
 */
#include "tests/unit/tls_fixture.h"

static const char *const shapes[] = {"CAPA\r\n",
                                     "USER demo1\r\nPASS demo\r\n",
                                     "AUTH PLAIN\r\n",
                                     "QUIT\r\n",
                                     "STLS\r\n",
                                     "HALF",
                                     "A",
                                     "\r\n",
                                     "GET / HTTP/1.0\r\n\r\n"};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static struct world *world_clear(enum loop_kind kind)
{
    struct world *world = world_make(kind, server_make(NULL, NULL));
    world->stls = true;
    return world;
}

/* The connection has ended because of plaintext, and nobody has been told anything. */
static void ended_without_a_word(struct world *world)
{
    UNTIL(world, world->closed == 1);
    cr_assert_eq(world->reason, STATUS_INVALID);
    cr_assert_eq(world->failure, TLS_FAILURE_PLAINTEXT);
    cr_assert_eq(world->commands, 1, "only STLS was taken");
    client_read(world);
    cr_assert_eq(world->got_length, 0, "got %.*s", (int)world->got_length, (char *)world->got);
    cr_assert_eq(counter_read(&world->host.counters.tls_failed[TLS_FAILURE_PLAINTEXT]), 1);
    counter_set(&world->host.counters.tls_failed[TLS_FAILURE_PLAINTEXT], 0);
}

ON_BOTH(tls_injection, stls_leads_to_tls)
{
    SSL_CTX *context = client_context();
    struct world *world = world_clear(kind);
    world_connect(world, LOOP_RECEIVE_STREAM);
    say(world, "CAPA\r\n");
    UNTIL(world, world->commands == 1);
    say(world, "STLS\r\n");
    got(world, "+OK\r\n");
    client_connect(world, context);
    client_write(world, "STAT\r\n", 6);
    took(world, "STAT\r\n");
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(tls_injection, octets_in_the_segment_of_stls)
{
    struct world *world = world_clear(kind);
    for (unsigned i = 0; i < SHAPES; i++) {
        char text[100];
        (void)snprintf(text, sizeof text, "STLS\r\n%s", shapes[i]);
        world_connect(world, LOOP_RECEIVE_STREAM);
        say(world, text);
        ended_without_a_word(world);
        world_disconnect(world);
    }
    world_close(world);
}

ON_BOTH(tls_injection, octets_in_a_second_segment_before_stls_is_seen)
{
    struct world *world = world_clear(kind);
    for (unsigned i = 0; i < SHAPES; i++) {
        world_connect(world, LOOP_RECEIVE_STREAM);
        say(world, "STLS\r\n");
        say(world, shapes[i]);
        ended_without_a_word(world);
        world_disconnect(world);
    }
    world_close(world);
}

/* The command is taken, the cancel of the receive is on its way, and the reply is not sent. */
ON_BOTH(tls_injection, octets_that_a_receive_still_armed_pulls_in)
{
    struct world *world = world_clear(kind);
    for (unsigned i = 0; i < SHAPES; i++) {
        world_connect(world, LOOP_RECEIVE_STREAM);
        say(world, "STLS\r\n");
        while (world->commands == 0) {
            /* Not a whole turn more than needed: the next would send the reply. */
            loop_turn(world->loop, 0);
        }
        client_read(world);
        if (world->got_length > 0) {
            world_disconnect(world); /* epoll has nothing on its way: it was quicker */
            continue;
        }
        say(world, shapes[i]);
        ended_without_a_word(world);
        world_disconnect(world);
    }
    world_close(world);
}

ON_BOTH(tls_injection, a_careless_owner_that_takes_them_is_not_believed)
{
    SSL_CTX *context = client_context();
    struct world *world = world_clear(kind);
    world->take_all = true; /* a wrong owner; at least nothing of it is run, and TLS is clean */
    world_connect(world, LOOP_RECEIVE_STREAM);
    say(world, "STLS\r\nCAPA\r\n");
    got(world, "+OK\r\n");
    client_connect(world, context);
    cr_assert_eq(world->commands, 1);
    cr_assert_eq(world->input_length, 0);
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(tls_injection, octets_held_when_tls_is_started_are_refused)
{
    struct world *world = world_clear(kind);
    world_connect(world, LOOP_RECEIVE_STREAM);
    conn_input_pause(&world->conn);
    say(world, "CAPA\r\n");
    turn_some(world);
    cr_assert_eq(conn_start_tls(&world->conn, world->server), STATUS_INVALID);
    UNTIL(world, world->closed == 1);
    cr_assert_eq(world->reason, STATUS_INVALID);
    world_close(world);
}

ON_BOTH(tls_injection, octets_between_the_reply_and_the_hello)
{
    SSL_CTX *context = client_context();
    struct world *world = world_clear(kind);
    for (unsigned i = 0; i < SHAPES; i++) {
        world_connect(world, LOOP_RECEIVE_STREAM);
        say(world, "STLS\r\n");
        got(world, "+OK\r\n");
        say(world, shapes[i]);
        client_begin(world, context);
        (void)SSL_do_handshake(world->client); /* the hello, behind what was injected */
        SSL_free(world->client);
        world->client = NULL;
        UNTIL(world, world->closed == 1);
        client_read(world);
        cr_assert_eq(world->got_length, 5, "%u: nothing but the reply", i);
        cr_assert_eq(world->commands, 1);
        cr_assert_eq(world->input_length, 0);
        cr_assert_eq(world->secured, 1);
        cr_assert_eq(world->secure_status, STATUS_INVALID);
        cr_assert_eq(world->failure, TLS_FAILURE_PLAINTEXT, "%u: %s", i,
                     tls_failure_name(world->failure));
        world_disconnect(world);
    }
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(tls_injection, octets_behind_the_hello)
{
    SSL_CTX *context = client_context();
    struct world *world = world_clear(kind);
    for (unsigned i = 0; i < SHAPES; i++) {
        world_connect(world, LOOP_RECEIVE_STREAM);
        say(world, "STLS\r\n");
        got(world, "+OK\r\n");
        client_begin(world, context);
        (void)SSL_do_handshake(world->client);
        say(world, shapes[i]); /* where the server expects the client's Finished */
        (void)client_handshake(world);
        (void)SSL_write(world->client, "CAPA\r\n", 6); /* it may believe that all is well */
        UNTIL(world, world->closed == 1);
        cr_assert_eq(world->commands, 1);
        cr_assert_eq(world->input_length, 0);
        cr_assert_neq(world->secure_status, STATUS_OK);
        world_disconnect(world);
    }
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(tls_injection, tls_inside_tls_is_refused)
{
    SSL_CTX *context = client_context();
    struct world *world = world_open(kind, server_make(NULL, NULL));
    client_connect(world, context);
    cr_assert_eq(conn_start_tls(&world->conn, world->server), STATUS_INVALID);
    UNTIL(world, world->closed == 1);
    cr_assert_eq(world->reason, STATUS_INVALID);
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(tls_injection, a_client_that_leaves_behind_stls_is_no_injection)
{
    struct world *world = world_clear(kind);
    world_connect(world, LOOP_RECEIVE_STREAM);
    say(world, "STLS\r\n");
    client_leave(world);
    UNTIL(world, world->closed == 1);
    cr_assert_eq(world->failure, TLS_FAILURE_LEFT);
    world_close(world);
}

ON_BOTH(tls_injection, replies_to_earlier_commands_go_out_before_the_handshake)
{
    SSL_CTX *context = client_context();
    static char text[300000];
    memset(text, 'x', sizeof text);
    struct world *world = world_clear(kind);
    world_connect(world, LOOP_RECEIVE_STREAM);
    int size = 16384;
    (void)setsockopt(world->conn.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    cr_assert_eq(conn_write(&world->conn, text, sizeof text), STATUS_OK);
    loop_turn(world->loop, 0); /* a part of it is on its way when the command comes */
    say(world, "STLS\r\n");
    UNTIL(world, world->got_length == sizeof text + 5);
    cr_assert_eq(memcmp(world->got + sizeof text, "+OK\r\n", 5), 0);
    client_connect(world, context);
    world_close(world);
    SSL_CTX_free(context);
}
