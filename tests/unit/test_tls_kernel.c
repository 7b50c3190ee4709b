/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel TLS where the kernel has it, and the way without where it has not: the same octets either
 * way. tests/vm runs this program where it has, and says so in RESTANTE_KERNEL_TLS (1: it must be
 * there, 0: it must not).
 */
#include "tests/unit/tls_fixture.h"

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
static const struct tls_config with_kernel = {.protocol = "pop3", .kernel = true};

static SSL_CTX *context_for(int version, const char *cipher)
{
    SSL_CTX *context = client_context();
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    if (version == TLS1_2_VERSION) {
        cr_assert_eq(SSL_CTX_set_cipher_list(context, cipher), 1);
    } else {
        cr_assert_eq(SSL_CTX_set_ciphersuites(context, cipher), 1);
    }
    return context;
}

static const char *cipher_for(int version)
{
    return version == TLS1_2_VERSION ? "ECDHE+AESGCM" : "TLS_AES_128_GCM_SHA256";
}

Test(tls_kernel, the_probe_finds_what_this_kernel_has)
{
    const char *wanted = getenv("RESTANTE_KERNEL_TLS");
    bool available = tls_kernel_available();
    cr_assert_eq(tls_kernel_available(), available, "asked twice, it says the same");
    cr_assert(wanted == NULL || available == (strcmp(wanted, "1") == 0));
}

/* A file of octets that say where they are. */
static int pattern_file(uint8_t *out_copy, size_t length)
{
    char path[] = "/tmp/tls_kernel_XXXXXX";
    int fd = mkstemp(path);
    (void)unlink(path);
    for (size_t i = 0; i < length; i++) {
        out_copy[i] = (uint8_t)(i * 2654435761U >> 13);
    }
    cr_assert_eq(write(fd, out_copy, length), (ssize_t)length);
    return fd;
}

static void send_file(struct world *world, int file, size_t offset, size_t length)
{
    struct sendq_extent extent = {.fd = file, .offset = offset, .length = length};
    cr_assert_eq(conn_write(&world->conn, "+OK\r\n", 5), STATUS_OK);
    cr_assert_eq(conn_send_extent(&world->conn, &extent), STATUS_OK);
    cr_assert_eq(conn_write(&world->conn, ".\r\n", 3), STATUS_OK);
}

/* Downloads of all sizes around what a record and a send hold, compared octet by octet. */
static void downloads(enum loop_kind kind, int version, const char *cipher)
{
    static const size_t lengths[] = {1,     100,   16379,  16383,  16384,  16385,
                                     32768, 65536, 300000, 262144, 1000001};
    static uint8_t copy[1100000];
    SSL_CTX *context = context_for(version, cipher);
    struct world *world = world_make(kind, server_make(&with_kernel, NULL));
    int file = pattern_file(copy, sizeof copy);
    world_connect(world, LOOP_RECEIVE_STREAM);
    client_connect(world, context);
    bool in_kernel = conn_tls(&world->conn)->kernel;
    cr_assert(!in_kernel || tls_kernel_available());
    cr_assert(!tls_kernel_available() || strstr(cipher, "AES") == NULL || in_kernel);
    cr_assert_eq(counter_read(&world->host.counters.tls_kernel), in_kernel ? 1 : 0);
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        world->got_length = 0;
        send_file(world, file, i * 7, lengths[i]);
        send_file(world, file, 0, 10);
        UNTIL(world, world->got_length >= lengths[i] + 8 + 18);
        cr_assert_eq(world->got_length, lengths[i] + 8 + 18);
        cr_assert_eq(memcmp(world->got, "+OK\r\n", 5), 0);
        cr_assert_eq(memcmp(world->got + 5, copy + i * 7, lengths[i]), 0, "%zu", lengths[i]);
        cr_assert_eq(memcmp(world->got + 5 + lengths[i], ".\r\n+OK\r\n", 8), 0);
        client_write(world, "NOOP\r\n", 6);
        UNTIL(world, world->input_length == 6 * (i + 1));
    }
    uint64_t by_kernel = counter_read(&world->host.counters.octets_sendfile);
    cr_assert_eq(by_kernel > 1000000, in_kernel, "sendfile is used when the kernel encrypts");
    conn_finish(&world->conn);
    UNTIL(world, world->got_end);
    cr_assert_eq(SSL_get_shutdown(world->client) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN,
                 "close_notify comes before the FIN");
    (void)close(file);
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(tls_kernel, downloads_are_the_same_in_both_versions)
{
    downloads(kind, TLS1_2_VERSION, cipher_for(TLS1_2_VERSION));
    downloads(kind, TLS1_3_VERSION, cipher_for(TLS1_3_VERSION));
}

ON_BOTH(tls_kernel, downloads_are_the_same_with_other_ciphers)
{
    downloads(kind, TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384");
    downloads(kind, TLS1_2_VERSION, "ECDHE+CHACHA20");
    downloads(kind, TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256");
}

ON_BOTH(tls_kernel, a_slow_client_gets_every_octet)
{
    static uint8_t copy[200000]; /* a client this slow takes minutes for more */
    for (unsigned i = 0; i < 2; i++) {
        SSL_CTX *context = context_for(versions[i], cipher_for(versions[i]));
        struct world *world = world_open(kind, server_make(&with_kernel, NULL));
        int file = pattern_file(copy, sizeof copy), size = 8192;
        client_connect(world, context);
        (void)setsockopt(world->peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        (void)setsockopt(world->conn.fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        send_file(world, file, 0, sizeof copy);
        UNTIL(world, world->got_length >= sizeof copy + 8);
        cr_assert_eq(memcmp(world->got + 5, copy, sizeof copy), 0);
        (void)close(file);
        world_close(world);
        SSL_CTX_free(context);
    }
}

ON_BOTH(tls_kernel, a_setting_switches_it_off)
{
    SSL_CTX *context = client_context();
    struct world *world = world_open(kind, server_make(NULL, NULL));
    client_connect(world, context);
    cr_assert_not(conn_tls(&world->conn)->kernel);
    world_close(world);
    SSL_CTX_free(context);
}

ON_BOTH(tls_kernel, a_client_that_asks_for_new_keys_is_left_when_the_kernel_has_the_old)
{
    SSL_CTX *context = context_for(TLS1_3_VERSION, cipher_for(TLS1_3_VERSION));
    struct world *world = world_make(kind, server_make(&with_kernel, NULL));
    world->echo = true;
    world_connect(world, LOOP_RECEIVE_STREAM);
    client_connect(world, context);
    bool in_kernel = conn_tls(&world->conn)->kernel;
    cr_assert_eq(SSL_key_update(world->client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    client_write(world, "NOOP\r\n", 6);
    got(world, "NOOP\r\n"); /* the peer's own new keys are no matter */
    cr_assert_eq(SSL_key_update(world->client, SSL_KEY_UPDATE_REQUESTED), 1);
    client_write(world, "STAT\r\n", 6);
    if (in_kernel) {
        UNTIL(world, world->closed == 1);
        cr_assert_eq(world->reason, STATUS_UNSUPPORTED);
    } else {
        got(world, "NOOP\r\nSTAT\r\n");
    }
    world_close(world);
    SSL_CTX_free(context);
}
