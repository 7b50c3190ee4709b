/* SPDX-License-Identifier: Apache-2.0 */
/* The calling end of TLS against the serving end, both of this project, on one loop. */
#include "io/tls_client.h"

#include "tests/unit/tls_fixture.h"

struct caller {
    struct conn conn;
    struct conn_host host;
    struct tls_client *client;
    bool stls;
    unsigned secured, closed;
    enum status secure_status;
    char input[256];
    size_t input_length;
};

static size_t on_call_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct caller *caller = (struct caller *)(void *)conn;
    cr_assert_lt(caller->input_length + length, sizeof caller->input);
    memcpy(caller->input + caller->input_length, data, length);
    caller->input_length += length;
    if (caller->stls && caller->input_length == 5) {
        caller->stls = false;
        caller->input_length = 0;
        cr_assert_eq(conn_start_tls_client(conn, caller->client), STATUS_OK);
    }
    return length;
}

static void on_call_end(struct conn *conn, size_t left)
{
    conn_finish(conn);
}

static void on_call_drained(struct conn *conn)
{
}

static void on_call_closed(struct conn *conn, enum status reason)
{
    ((struct caller *)(void *)conn)->closed++;
}

static void on_call_secure(struct conn *conn, enum status status)
{
    struct caller *caller = (struct caller *)(void *)conn;
    caller->secured++;
    caller->secure_status = status;
    if (status == STATUS_OK) {
        cr_assert_eq(conn_write(conn, "hello", 5), STATUS_OK);
    }
}

static const struct conn_events call_events = {.on_input = on_call_input,
                                               .on_input_end = on_call_end,
                                               .on_drained = on_call_drained,
                                               .on_closed = on_call_closed,
                                               .on_secure = on_call_secure};

/* Calls the world's connection: the caller takes over the client's end of its socket. */
static void call(struct world *world, struct caller *caller, bool stls)
{
    const struct address nowhere = {0};
    int fd = world->peer;
    world->peer = -1;
    caller->secured = caller->closed = 0;
    caller->input_length = 0;
    caller->stls = stls;
    conn_init(&caller->conn, &caller->host, fd, LOOP_RECEIVE_STREAM, &call_events, &nowhere,
              &nowhere);
    if (!stls) {
        cr_assert_eq(conn_start_tls_client(&caller->conn, caller->client), STATUS_OK);
    }
    conn_start(&caller->conn);
    if (stls) {
        cr_assert_eq(conn_write(&caller->conn, "STLS\r\n", 6), STATUS_OK);
    }
}

static void hang_up(struct world *world, struct caller *caller)
{
    conn_finish(&caller->conn);
    UNTIL(world, world->input_ends > 0);
    conn_finish(&world->conn); /* else the caller lingers for its FIN */
    UNTIL(world, caller->closed == 1);
}

static void shake_hands_and_echo(enum loop_kind kind, bool stls, bool resume)
{
    struct world *world = world_make(kind, server_make(NULL, NULL));
    struct caller caller = {0};
    const struct tls_client_config config = {.resume = resume, .name = "mail.example.org"};
    conn_host_init(&caller.host, world->loop);
    cr_assert_eq(tls_client_create(&config, &caller.client, NULL), STATUS_OK);
    world->stls = stls;
    world->echo = true;
    for (unsigned times = 0; times < 3; times++) {
        world_connect(world, LOOP_RECEIVE_STREAM);
        call(world, &caller, stls);
        UNTIL(world, caller.input_length == 5);
        cr_assert_eq(memcmp(caller.input, "hello", 5), 0);
        cr_assert_eq(caller.secure_status, STATUS_OK);
        cr_assert_eq(conn_tls(&caller.conn)->resumed, resume && times > 0);
        cr_assert_str_eq(conn_tls(&world->conn)->server_name, "mail.example.org");
        hang_up(world, &caller);
        world_disconnect(world);
    }
    conn_host_deinit(&caller.host);
    tls_client_destroy(&caller.client);
    world_close(world);
}

Test(tls_client, every_handshake_is_full_without_resuming)
{
    shake_hands_and_echo(LOOP_AUTO, false, false);
    shake_hands_and_echo(LOOP_EPOLL, false, false);
}

Test(tls_client, resumes_with_the_last_ticket_as_often_as_it_calls)
{
    shake_hands_and_echo(LOOP_AUTO, false, true);
    shake_hands_and_echo(LOOP_EPOLL, false, true);
}

Test(tls_client, speaks_first_after_stls)
{
    shake_hands_and_echo(LOOP_AUTO, true, false);
    shake_hands_and_echo(LOOP_EPOLL, true, true);
}

Test(tls_client, tells_that_the_other_end_speaks_no_tls)
{
    struct world *world = world_make(LOOP_AUTO, server_make(NULL, NULL));
    struct caller caller = {0};
    const struct tls_client_config config = {0};
    const struct address nowhere = {0};
    int fds[2];
    tcp_pair(fds);
    conn_host_init(&caller.host, world->loop);
    cr_assert_eq(tls_client_create(&config, &caller.client, NULL), STATUS_OK);
    conn_init(&caller.conn, &caller.host, fds[0], LOOP_RECEIVE_STREAM, &call_events, &nowhere,
              &nowhere);
    cr_assert_eq(conn_start_tls_client(&caller.conn, caller.client), STATUS_OK);
    conn_start(&caller.conn);
    cr_assert_eq(send(fds[1], "+OK ready\r\n", 11, 0), 11);
    UNTIL(world, caller.closed == 1);
    cr_assert_eq(caller.secured, 1);
    cr_assert_neq(caller.secure_status, STATUS_OK);
    close(fds[1]);
    conn_host_deinit(&caller.host);
    tls_client_destroy(&caller.client);
    world->closed = 1;
    conn_host_deinit(&world->host);
    loop_destroy(&world->loop);
    tls_server_unref(&world->server);
    free(world->input);
    free(world->got);
    free(world);
}
