/* SPDX-License-Identifier: Apache-2.0 */
/* A connection under TLS: handshakes, octets both ways, ends. Every test runs against both loop
 * back ends. STLS and what can be injected around it: test_tls_injection.c. */
#include "io/io_limits.h"
#include "tests/unit/tls_fixture.h"

#include <netinet/tcp.h>

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static SSL_CTX *context_for(int version)
{
    SSL_CTX *context = client_context();
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    return context;
}

ON_BOTH(conn_tls, lines_go_both_ways_in_both_versions)
{
    for (unsigned i = 0; i < 2; i++) {
        SSL_CTX *context = context_for(versions[i]);
        struct world *world = world_make(kind, server_make(NULL, NULL));
        world->greet = true;
        world_connect(world, LOOP_RECEIVE_STREAM);
        cr_assert_null(conn_tls(&world->conn));
        client_connect(world, context);
        const struct tls_facts *facts = conn_tls(&world->conn);
        cr_assert_str_eq(facts->protocol, i == 0 ? "TLSv1.2" : "TLSv1.3");
        cr_assert_not_null(strstr(facts->cipher, "AES"));
        cr_assert_null(facts->server_name);
        cr_assert_null(facts->client_name);
        cr_assert_not(facts->resumed);
        got(world, "+OK ready\r\n");
        client_write(world, "USER demo1\r\n", 12);
        took(world, "USER demo1\r\n");
        cr_assert_eq(conn_write(&world->conn, "+OK\r\n", 5), STATUS_OK);
        got(world, "+OK ready\r\n+OK\r\n");
        cr_assert_eq(conn_octets_sent(&world->conn), 16);
        cr_assert_eq(conn_output_pending(&world->conn), 0);
        cr_assert_eq(world->host.pools.blocks.used_count, 0, "an idle conn holds no block");
        cr_assert_eq(counter_read(&world->host.counters.tls_full), 1);
        world_close(world);
        SSL_CTX_free(context);
    }
}

ON_BOTH(conn_tls, commands_sent_with_the_end_of_the_handshake_are_taken)
{
    SSL_CTX *context = context_for(TLS1_3_VERSION);
    struct world *world = world_open(kind, server_make(NULL, NULL));
    client_begin(world, context);
    int cork = 1;
    while (SSL_do_handshake(world->client) != 1) { /* Finished stays in the socket's queue ... */
        (void)setsockopt(world->peer, IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);
        loop_turn(world->loop, 10);
    }
    client_write(world, "CAPA\r\n", 6); /* ... until this is behind it */
    client_write(world, "QUIT\r\n", 6);
    cork = 0;
    (void)setsockopt(world->peer, IPPROTO_TCP, TCP_CORK, &cork, sizeof cork);
    took(world, "CAPA\r\nQUIT\r\n");
    world_close(world);
    SSL_CTX_free(context);
}

/* Output */

struct counting_reader {
    struct sendq_reader reader;
    size_t left;
    unsigned stops;
};

static enum status reader_fill(struct sendq_reader *reader, uint8_t *out_data, size_t capacity,
                               size_t *out_length)
{
    struct counting_reader *counting = list_entry(reader, struct counting_reader, reader);
    size_t length = counting->left < capacity ? counting->left : capacity;
    memset(out_data, 'r', length);
    counting->left -= length;
    *out_length = length;
    return counting->left == 0 ? STATUS_EOF : STATUS_OK;
}

static void reader_stop(struct sendq_reader *reader, enum status status)
{
    cr_assert_eq(status, STATUS_OK);
    list_entry(reader, struct counting_reader, reader)->stops++;
}

static int pattern_file(size_t length)
{
    char path[] = "/tmp/conn_tls_XXXXXX";
    int fd = mkstemp(path);
    (void)unlink(path);
    uint8_t *data = malloc(length);
    for (size_t i = 0; i < length; i++) {
        data[i] = (uint8_t)(i * 2654435761U >> 13);
    }
    cr_assert_eq(write(fd, data, length), (ssize_t)length);
    cr_assert_eq(fdatasync(fd), 0);
    free(data);
    return fd;
}

static bool pattern_matches(const uint8_t *data, size_t offset, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (data[i] != (uint8_t)((offset + i) * 2654435761U >> 13)) {
            return false;
        }
    }
    return true;
}

static void release(void *owner)
{
    ++*(unsigned *)owner;
}

#define FILE_LENGTH ((size_t)3 * 1024 * 1024 + 17)
#define SLOW_LENGTH ((size_t)200000) /* through buffers of 8 KB, with a pause for each */

/* Octets, a file, octets, a reader, a file: in that order at the client, however slow it is. */
static void all_kinds_of_output(enum loop_kind kind, bool cold, bool slow)
{
    const size_t length = slow ? SLOW_LENGTH : FILE_LENGTH;
    SSL_CTX *context = client_context();
    struct world *world = world_open(kind, server_make(NULL, NULL));
    client_connect(world, context);
    if (slow) {
        int size = 8192;
        (void)setsockopt(world->peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        (void)setsockopt(world->conn.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    int file = pattern_file(length);
    if (cold) {
        cr_assert_eq(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
    }
    unsigned releases = 0;
    struct counting_reader reader = {.reader = {.fill = reader_fill, .stop = reader_stop},
                                     .left = 100000};
    struct sendq_extent extent = {.fd = file,
                                  .offset = 5,
                                  .length = length - 5,
                                  .hold = {.release = release, .owner = &releases}};
    cr_assert_eq(conn_write(&world->conn, "+OK\r\n", 5), STATUS_OK);
    cr_assert_eq(conn_send_extent(&world->conn, &extent), STATUS_OK);
    cr_assert(conn_output_full(&world->conn));
    cr_assert_eq(conn_write(&world->conn, ".\r\n", 3), STATUS_OK);
    cr_assert_eq(conn_send_reader(&world->conn, &reader.reader), STATUS_OK);
    extent.offset = 100;
    extent.length = 1;
    cr_assert_eq(conn_send_extent(&world->conn, &extent), STATUS_OK);
    conn_finish(&world->conn);
    UNTIL(world, world->got_end);
    size_t at = 0;
    cr_assert_eq(world->got_length, 5 + length - 5 + 3 + 100000 + 1);
    cr_assert_eq(memcmp(world->got, "+OK\r\n", 5), 0);
    cr_assert(pattern_matches(world->got + 5, 5, length - 5));
    at = length;
    cr_assert_eq(memcmp(world->got + at, ".\r\n", 3), 0);
    cr_assert_eq(world->got[at + 3], 'r');
    cr_assert_eq(world->got[at + 3 + 99999], 'r');
    cr_assert(pattern_matches(world->got + at + 3 + 100000, 100, 1));
    cr_assert_eq(releases, 2);
    cr_assert_eq(reader.stops, 1);
    cr_assert_eq(SSL_get_shutdown(world->client) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN,
                 "close_notify comes before the FIN");
    client_leave(world);
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_OK);
    (void)close(file);
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(conn_tls, all_kinds_of_output_arrive_in_order)
{
    all_kinds_of_output(kind, false, false);
}

ON_BOTH(conn_tls, a_file_that_is_not_in_memory_arrives_whole)
{
    all_kinds_of_output(kind, true, false);
}

ON_BOTH(conn_tls, a_slow_client_gets_every_octet)
{
    all_kinds_of_output(kind, false, true);
}

ON_BOTH(conn_tls, drained_is_told_when_the_last_record_is_gone)
{
    SSL_CTX *context = client_context();
    struct world *world = world_open(kind, server_make(NULL, NULL));
    client_connect(world, context);
    static char text[100000];
    memset(text, 'x', sizeof text);
    cr_assert_eq(conn_write(&world->conn, text, sizeof text), STATUS_OK);
    cr_assert(conn_output_full(&world->conn));
    UNTIL(world, world->drained > 0);
    UNTIL(world, world->got_length == sizeof text);
    UNTIL(world, conn_output_pending(&world->conn) == 0);
    cr_assert_not(conn_output_full(&world->conn));
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(conn_tls, a_file_shorter_than_promised_ends_the_conn)
{
    SSL_CTX *context = client_context();
    struct world *world = world_open(kind, server_make(NULL, NULL));
    client_connect(world, context);
    int file = pattern_file(1000);
    struct sendq_extent extent = {.fd = file, .offset = 0, .length = 2000};
    cr_assert_eq(conn_send_extent(&world->conn, &extent), STATUS_OK);
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_CORRUPT);
    (void)close(file);
    world_close(world);
    SSL_CTX_free(context);
}

/* Input */

ON_BOTH(conn_tls, a_flood_arrives_whole_through_pauses)
{
    static uint8_t text[600000];
    for (enum loop_receive_mode mode = LOOP_RECEIVE_STREAM; mode <= LOOP_RECEIVE_BULK; mode++) {
        SSL_CTX *context = client_context();
        struct world *world = world_make(kind, server_make(NULL, NULL));
        world->take_max = 5000; /* and never all of a record at once */
        world_connect(world, mode);
        client_connect(world, context);
        for (size_t i = 0; i < sizeof text; i++) {
            text[i] = (uint8_t)(i * 2654435761U >> 13);
        }
        size_t sent = 0;
        unsigned round = 0;
        while (sent < sizeof text) {
            if (round % 7 == 3) {
                conn_input_pause(&world->conn);
            } else if (round % 7 == 5) {
                conn_input_resume(&world->conn);
            }
            size_t piece = sizeof text - sent < 60000 ? sizeof text - sent : 60000;
            int result = SSL_write(world->client, text + sent, (int)piece);
            sent += result > 0 ? (size_t)result : 0;
            loop_turn(world->loop, 0);
            round++;
        }
        conn_input_resume(&world->conn);
        for (unsigned i = 0; i < 2000 && world->input_length < sizeof text; i++) {
            conn_input_pause(&world->conn); /* offers again what was not taken */
            conn_input_resume(&world->conn);
            loop_turn(world->loop, 0);
            loop_turn(world->loop, 10);
        }
        cr_assert_eq(world->input_length, sizeof text);
        cr_assert(pattern_matches(world->input, 0, sizeof text));
        world_close(world);
        SSL_CTX_free(context);
    }
}

ON_BOTH(conn_tls, a_goodbye_of_the_peer_ends_input_and_replies_still_go_out)
{
    SSL_CTX *context = client_context();
    struct world *world = world_open(kind, server_make(NULL, NULL));
    client_connect(world, context);
    client_write(world, "QUIT\r\n", 6);
    (void)SSL_shutdown(world->client);
    UNTIL(world, world->input_ends == 1);
    cr_assert_eq(world->input_length, 6);
    cr_assert_eq(conn_write(&world->conn, "+OK bye\r\n", 9), STATUS_OK);
    conn_finish(&world->conn);
    UNTIL(world, world->got_end);
    cr_assert_eq(world->got_length, 9);
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_OK);
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(conn_tls, a_peer_that_just_closes_ends_input)
{
    SSL_CTX *context = client_context();
    struct world *world = world_open(kind, server_make(NULL, NULL));
    client_connect(world, context);
    cr_assert_eq(shutdown(world->peer, SHUT_WR), 0);
    UNTIL(world, world->input_ends == 1);
    conn_finish(&world->conn);
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_OK);
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(conn_tls, a_paused_conn_notices_a_peer_that_is_gone)
{
    SSL_CTX *context = client_context();
    struct world *world = world_open(kind, server_make(NULL, NULL));
    client_connect(world, context);
    conn_input_pause(&world->conn);
    client_write(world, "NOOP\r\n", 6);
    turn_some(world);
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(world->peer, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client_leave(world);
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->reason, STATUS_RESET);
    cr_assert_eq(world->input_length, 0);
    world_close(world);
    SSL_CTX_free(context);
}

/* Handshakes */

ON_BOTH(conn_tls, a_handshake_has_a_deadline)
{
    struct tls_config config = {.handshake_ms = 40};
    struct world *world = world_open(kind, server_make(&config, NULL));
    say(world, "\x16\x03\x01"); /* the beginning of a record, and no more */
    UNTIL(world, world->closed > 0);
    cr_assert_eq(world->secured, 1);
    cr_assert_eq(world->secure_status, STATUS_TIMEOUT);
    cr_assert_eq(world->reason, STATUS_TIMEOUT);
    cr_assert_eq(world->failure, TLS_FAILURE_TIMEOUT);
    cr_assert_eq(counter_read(&world->host.counters.tls_failed[TLS_FAILURE_TIMEOUT]), 1);
    world_close(world);
}

ON_BOTH(conn_tls, a_handshake_in_time_has_no_deadline_any_more)
{
    SSL_CTX *context = client_context();
    struct tls_config config = {.handshake_ms = 500};
    struct world *world = world_open(kind, server_make(&config, NULL));
    client_connect(world, context);
    int64_t until_ms = loop_now_ms(world->loop) + 600;
    while (loop_now_ms(world->loop) < until_ms) {
        loop_turn(world->loop, 100);
    }
    cr_assert_eq(world->closed, 0);
    world_close(world);
    SSL_CTX_free(context);
}

/* A peer that leaves after any number of octets of its first flight. */
ON_BOTH(conn_tls, a_handshake_cut_anywhere_leaves_nothing_behind)
{
    SSL_CTX *context = client_context();
    SSL *hello_maker = SSL_new(context);
    BIO *out = BIO_new(BIO_s_mem());
    SSL_set_bio(hello_maker, BIO_new(BIO_s_mem()), out);
    SSL_set_connect_state(hello_maker);
    (void)SSL_do_handshake(hello_maker);
    char *hello;
    size_t length = (size_t)BIO_get_mem_data(out, &hello);
    struct world *world = world_make(kind, server_make(NULL, NULL));
    for (size_t cut = 0; cut <= length; cut += 1 + cut / 7) {
        world_connect(world, LOOP_RECEIVE_STREAM);
        cr_assert_eq(send(world->peer, hello, cut, 0), (ssize_t)cut);
        loop_turn(world->loop, 0);
        client_leave(world);
        UNTIL(world, world->closed > 0);
        cr_assert_eq(world->secured, 1);
        cr_assert_eq(world->failure, TLS_FAILURE_LEFT);
        world_disconnect(world);
    }
    world_close(world);
    SSL_free(hello_maker);
    SSL_CTX_free(context);
}

ON_BOTH(conn_tls, an_owner_may_abort_at_every_step_of_a_handshake)
{
    SSL_CTX *context = client_context();
    struct world *world = world_make(kind, server_make(NULL, NULL));
    for (unsigned steps = 0; steps < 8; steps++) {
        world_connect(world, LOOP_RECEIVE_STREAM);
        client_begin(world, context);
        for (unsigned i = 0; i < steps; i++) {
            (void)SSL_do_handshake(world->client);
            loop_turn(world->loop, 1);
        }
        if (steps % 2 == 0) {
            conn_abort(&world->conn, STATUS_DENIED);
        } else {
            conn_finish(&world->conn);
        }
        client_leave(world);
        UNTIL(world, world->closed > 0);
        cr_assert_eq(world->reason, steps % 2 == 0 ? STATUS_DENIED : STATUS_OK);
        world_disconnect(world);
    }
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(conn_tls, an_owner_may_end_the_conn_when_it_becomes_secure)
{
    SSL_CTX *context = client_context();
    for (unsigned i = 0; i < 2; i++) {
        struct world *world = world_make(kind, server_make(NULL, NULL));
        world->finish_when_secure = i == 0;
        world->abort_when_secure = i == 1;
        world_connect(world, LOOP_RECEIVE_STREAM);
        client_connect(world, context);
        UNTIL(world, world->got_end);
        client_leave(world);
        UNTIL(world, world->closed > 0);
        cr_assert_eq(world->reason, i == 0 ? STATUS_OK : STATUS_LOST);
        world_close(world);
    }
    SSL_CTX_free(context);
}

ON_BOTH(conn_tls, many_handshakes_at_once_all_end_well)
{
    enum { COUNT = 12 };
    SSL_CTX *context = client_context();
    struct world *worlds[COUNT];
    struct world *first = world_make(kind, server_make(NULL, NULL));
    struct address nowhere = {0};
    for (unsigned i = 0; i < COUNT; i++) { /* all on the first one's loop */
        struct world *world = calloc(1, sizeof *world);
        int fds[2];
        tcp_pair(fds);
        worlds[i] = world;
        world->take_max = 0;
        world->peer = fds[1];
        conn_init(&world->conn, &first->host, fds[0], LOOP_RECEIVE_STREAM, &events, &nowhere,
                  &nowhere);
        cr_assert_eq(conn_start_tls(&world->conn, first->server), STATUS_OK);
        conn_start(&world->conn);
        client_begin(world, context);
    }
    unsigned left = COUNT;
    for (unsigned patience = PATIENCE; left > 0 && patience > 0; patience--) {
        left = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            left += SSL_do_handshake(worlds[i]->client) == 1 && worlds[i]->secured ? 0 : 1;
        }
        loop_turn(first->loop, 1);
    }
    cr_assert_eq(left, 0);
    cr_assert_eq(counter_read(&first->host.counters.tls_full), COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        conn_abort(&worlds[i]->conn, STATUS_CANCELLED);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        UNTIL(first, worlds[i]->closed == 1);
        client_leave(worlds[i]);
        free(worlds[i]);
    }
    first->closed = 1;
    world_close(first);
    SSL_CTX_free(context);
}

/* Keys */

ON_BOTH(conn_tls, new_keys_are_taken_and_a_game_with_them_is_ended)
{
    SSL_CTX *context = context_for(TLS1_3_VERSION);
    struct world *world = world_make(kind, server_make(NULL, NULL));
    world->echo = true;
    world_connect(world, LOOP_RECEIVE_STREAM);
    client_connect(world, context);
    bool in_kernel = conn_tls(&world->conn)->kernel; /* then ours cannot change */
    cr_assert_eq(SSL_key_update(world->client, in_kernel ? SSL_KEY_UPDATE_NOT_REQUESTED
                                                         : SSL_KEY_UPDATE_REQUESTED),
                 1);
    client_write(world, "NOOP\r\n", 6);
    got(world, "NOOP\r\n");
    for (unsigned i = 0; i < 2 * CONN_TLS_KEY_UPDATES_MAX && world->closed == 0; i++) {
        cr_assert_eq(SSL_key_update(world->client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        (void)SSL_do_handshake(world->client);
        loop_turn(world->loop, 0);
    }
    UNTIL(world, world->closed == 1);
    cr_assert_eq(world->reason, STATUS_UNSUPPORTED);
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(conn_tls, bindings_are_the_same_at_both_ends)
{
    for (unsigned i = 0; i < 2; i++) {
        SSL_CTX *context = context_for(versions[i]);
        struct world *world = world_open(kind, server_make(NULL, NULL));
        struct tls_binding exporter, unique;
        conn_tls_binding(&world->conn, TLS_BINDING_EXPORTER, &exporter);
        cr_assert_eq(exporter.length, 0, "none before the handshake");
        client_connect(world, context);
        conn_tls_binding(&world->conn, TLS_BINDING_EXPORTER, &exporter);
        conn_tls_binding(&world->conn, TLS_BINDING_UNIQUE, &unique);
        uint8_t ours[64];
        if (i == 0) {
            cr_assert_eq(exporter.length, 0);
            cr_assert_eq(unique.length, SSL_get_finished(world->client, ours, sizeof ours));
            cr_assert_eq(memcmp(unique.octets, ours, unique.length), 0);
            cr_assert_geq(unique.length, 12);
        } else {
            cr_assert_eq(unique.length, 0);
            cr_assert_eq(exporter.length, 32);
            cr_assert_eq(SSL_export_keying_material(world->client, ours, 32,
                                                    "EXPORTER-Channel-Binding", 24,
                                                    (const unsigned char *)"", 0, 1),
                         1);
            cr_assert_eq(memcmp(exporter.octets, ours, 32), 0);
        }
        world_close(world);
        SSL_CTX_free(context);
    }
}
