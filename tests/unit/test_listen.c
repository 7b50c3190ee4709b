/* SPDX-License-Identifier: Apache-2.0 */
#include "io/listen.h"

#include "io/io_limits.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char folder[64];

static void make_folder(void)
{
    strcpy(folder, "/tmp/restante-listen-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char path[100];
    (void)snprintf(path, sizeof path, "%s/socket", folder);
    (void)unlink(path);
    cr_assert_eq(rmdir(folder), 0, "nothing is left behind");
}

TestSuite(listen, .init = make_folder, .fini = remove_folder);

static struct listen_config config_for(const char *text)
{
    struct listen_config config = {
        .unix_mode = 0660, .unix_owner = (uid_t)-1, .unix_group = (gid_t)-1};
    cr_assert_eq(address_parse(text, &config.address), STATUS_OK);
    return config;
}

static struct listen_config unix_config(void)
{
    char text[128];
    (void)snprintf(text, sizeof text, "unix:%s/socket", folder);
    return config_for(text);
}

static int connected_to(const struct address *address)
{
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, &address->any, address->length) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

Test(listen, port_0_becomes_a_number)
{
    struct listen_config config = config_for("127.0.0.1:0");
    struct address bound;
    int fd;
    cr_assert_eq(listen_open(&config, &fd, &bound, NULL), STATUS_OK);
    int client = connected_to(&bound);
    cr_assert_geq(client, 0);
    (void)close(client);
    (void)close(fd);
}

static void *let_go_late(void *owner)
{
    const struct timespec late = {.tv_nsec = 5 * LISTEN_TAKEN_RETRY_MS * 1000000};
    (void)nanosleep(&late, NULL);
    (void)close(*(int *)owner);
    return NULL;
}

/* As the ring of a killed server does. */
static void reopen_while_held(struct listen_config config)
{
    struct address bound;
    pthread_t thread;
    int first, second;
    cr_assert_eq(listen_open(&config, &first, &bound, NULL), STATUS_OK);
    config.address = bound;
    cr_assert_eq(pthread_create(&thread, NULL, let_go_late, &first), 0);
    cr_assert_eq(listen_open(&config, &second, NULL, NULL), STATUS_OK);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    (void)close(second);
}

Test(listen, waits_for_a_predecessor_that_lets_go_late)
{
    reopen_while_held(config_for("127.0.0.1:0"));
    reopen_while_held(unix_config());
}

/* It takes no time; waiting would take all of the patience. */
Test(listen, tries_once_where_nobody_is_to_be_waited_for)
{
    struct listen_config config = config_for("127.0.0.1:0");
    struct timespec before, after;
    struct address bound;
    struct error error;
    int first, second;
    cr_assert_eq(listen_open(&config, &first, &bound, NULL), STATUS_OK);
    config.address = bound;
    config.once = true;
    cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &before), 0);
    cr_expect_eq(listen_open(&config, &second, NULL, &error), STATUS_EXISTS);
    cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &after), 0);
    int64_t took_ms =
        (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    cr_expect_lt(took_ms, LISTEN_PATIENCE_MS);
    (void)close(first);
}

Test(listen, workers_share_a_port_and_strangers_do_not)
{
    struct listen_config config = config_for("127.0.0.1:0");
    struct address bound;
    struct error error;
    int first, second, third;
    config.reuse_port = true;
    cr_assert_eq(listen_open(&config, &first, &bound, NULL), STATUS_OK);
    config.address = bound;
    cr_assert_eq(listen_open(&config, &second, NULL, NULL), STATUS_OK);
    config.reuse_port = false;
    cr_assert_eq(listen_open(&config, &third, NULL, &error), STATUS_EXISTS);
    char text[ADDRESS_TEXT_MAX];
    address_text(&bound, text);
    cr_assert_str_eq(error.path, text);
    (void)close(first);
    (void)close(second);
}

Test(listen, a_star_takes_both_families_and_colons_only_one)
{
    static const char *const texts[] = {"*:0", "[::]:0"};
    for (unsigned i = 0; i < 2; i++) {
        struct listen_config config = config_for(texts[i]);
        struct address bound, v4;
        int fd;
        if (listen_open(&config, &fd, &bound, NULL) != STATUS_OK) {
            cr_skip_test("no IPv6 here");
        }
        cr_assert_eq(address_parse("127.0.0.1:1", &v4), STATUS_OK);
        in_port_t port = ((struct sockaddr_in6 *)(void *)&bound.storage)->sin6_port;
        ((struct sockaddr_in *)(void *)&v4.storage)->sin_port = port;
        int client = connected_to(&v4);
        cr_assert_eq(client >= 0, i == 0);
        if (client >= 0) {
            (void)close(client);
        }
        (void)close(fd);
    }
}

Test(listen, a_unix_socket_has_the_mode_it_was_given)
{
    struct listen_config config = unix_config();
    struct address bound;
    struct stat info;
    int fd;
    (void)umask(077);
    cr_assert_eq(listen_open(&config, &fd, &bound, NULL), STATUS_OK);
    cr_assert_eq(stat(bound.any.sa_data, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0660);
    (void)close(fd);
}

Test(listen, a_socket_left_behind_is_replaced_and_a_live_one_is_not)
{
    struct listen_config config = unix_config();
    struct error error;
    int fd, second;
    cr_assert_eq(listen_open(&config, &fd, NULL, NULL), STATUS_OK);
    cr_assert_eq(listen_open(&config, &second, NULL, &error), STATUS_EXISTS);
    cr_assert_not_null(strstr(error.text, "another process"), "%s", error.text);
    int client = connected_to(&config.address);
    cr_assert_geq(client, 0, "the live one was not harmed");
    (void)close(client);
    (void)close(fd);
    cr_assert_eq(listen_open(&config, &second, NULL, NULL), STATUS_OK);
    (void)close(second);
}

Test(listen, a_file_in_the_way_is_not_removed)
{
    struct listen_config config = unix_config();
    struct error error;
    char path[100];
    int fd;
    (void)snprintf(path, sizeof path, "%s/socket", folder);
    (void)close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    cr_assert_eq(listen_open(&config, &fd, NULL, &error), STATUS_EXISTS);
    cr_assert_str_eq(error.path, path);
    cr_assert_eq(access(path, F_OK), 0);
}

Test(listen, a_folder_that_is_missing_is_told)
{
    struct listen_config config = config_for("unix:/nonexistent-folder/socket");
    struct error error;
    int fd;
    cr_assert_eq(listen_open(&config, &fd, NULL, &error), STATUS_NOT_FOUND);
    cr_assert_str_eq(error.path, "/nonexistent-folder/socket");
}

/* A worker's end, on either back end. */

struct world {
    struct loop *loop;
    struct listener listener;
    struct address bound;
    int listen_fd;
    unsigned connections, stopped;
    int fd;
    struct address peer, local;
};

static void on_connection(struct listener *listener, int fd, const struct address *peer,
                          const struct address *local)
{
    struct world *world = listener->owner;
    world->connections++;
    world->fd = fd;
    world->peer = *peer;
    world->local = *local;
}

static void on_stopped(struct listener *listener)
{
    ((struct world *)listener->owner)->stopped++;
}

static void world_open(struct world *world, enum loop_kind kind, const struct listen_config *listen)
{
    struct loop_config config = {.kind = kind};
    memset(world, 0, sizeof *world);
    cr_assert_eq(listen_open(listen, &world->listen_fd, &world->bound, NULL), STATUS_OK);
    cr_assert_eq(loop_create(&config, &world->loop, NULL), STATUS_OK);
    listener_init(&world->listener, world->loop, world->listen_fd, world);
    world->listener.on_connection = on_connection;
    world->listener.on_stopped = on_stopped;
}

static void world_close(struct world *world)
{
    listener_stop(&world->listener);
    listener_stop(&world->listener);
    cr_assert_eq(world->stopped, 0, "never from inside the call");
    for (unsigned i = 0; i < 100 && world->stopped == 0; i++) {
        loop_turn(world->loop, 100);
    }
    cr_assert_eq(world->stopped, 1);
    loop_destroy(&world->loop);
    (void)close(world->listen_fd);
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t length = sizeof value;
    (void)getsockopt(fd, level, option, &value, &length);
    return value;
}

static void until_connected(struct world *world, unsigned wanted)
{
    for (unsigned i = 0; i < 100 && world->connections < wanted; i++) {
        loop_turn(world->loop, 100);
    }
    cr_assert_eq(world->connections, wanted);
}

static bool is_paced_as_elsewhere(int fd)
{
    char name[16] = "";
    socklen_t length = sizeof name;
    cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length), 0);
    return strncmp(name, "reno", sizeof name) != 0;
}

static const enum loop_kind kinds[] = {LOOP_AUTO, LOOP_EPOLL};

Test(listen, a_tcp_connection_comes_with_its_addresses_and_options)
{
    static const char *const texts[] = {"127.0.0.1:0", "0.0.0.0:0"};
    for (unsigned i = 0; i < 4; i++) {
        struct world world;
        struct address own, target;
        socklen_t length = sizeof own.storage;
        struct listen_config config = config_for(texts[i / 2]);
        world_open(&world, kinds[i % 2], &config);
        listener_start(&world.listener);
        target = world.bound;
        ((struct sockaddr_in *)(void *)&target.storage)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int client = connected_to(&target);
        until_connected(&world, 1);
        cr_assert_eq(getsockname(client, &own.any, &length), 0);
        cr_assert_eq(memcmp(&world.peer.storage, &own.storage, sizeof(struct sockaddr_in)), 0);
        cr_assert_eq(memcmp(&world.local.storage, &target.storage, sizeof(struct sockaddr_in)), 0);
        cr_assert_eq(option_of(world.fd, IPPROTO_TCP, TCP_NODELAY), 1);
        cr_assert_eq(option_of(world.fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        cr_assert_eq(option_of(world.fd, IPPROTO_TCP, TCP_KEEPIDLE), LISTEN_KEEPALIVE_IDLE_S);
        cr_assert_eq(option_of(world.fd, IPPROTO_TCP, TCP_KEEPINTVL), LISTEN_KEEPALIVE_STEP_S);
        cr_assert_eq(option_of(world.fd, IPPROTO_TCP, TCP_KEEPCNT), LISTEN_KEEPALIVE_COUNT);
        cr_assert_eq(option_of(world.fd, IPPROTO_TCP, TCP_USER_TIMEOUT), LISTEN_USER_TIMEOUT_MS);
        cr_assert(i / 2 > 0 || !is_paced_as_elsewhere(world.fd)); /* a loopback address */
        (void)close(client);
        (void)close(world.fd);
        world_close(&world);
    }
}

Test(listen, a_unix_connection_is_known_as_one)
{
    for (unsigned i = 0; i < 2; i++) {
        struct world world;
        struct listen_config config = unix_config();
        char text[ADDRESS_TEXT_MAX];
        world_open(&world, kinds[i], &config);
        listener_start(&world.listener);
        int client = connected_to(&config.address);
        until_connected(&world, 1);
        address_text(&world.peer, text);
        cr_assert_str_eq(text, "unix:");
        cr_assert_eq(world.local.any.sa_family, AF_UNIX);
        (void)close(client);
        (void)close(world.fd);
        world_close(&world);
    }
}

Test(listen, a_listener_out_of_descriptors_pauses_and_recovers)
{
    for (unsigned i = 0; i < 2; i++) {
        struct world world;
        struct rlimit before, none;
        struct listen_config config = config_for("127.0.0.1:0");
        world_open(&world, kinds[i], &config);
        int client = connected_to(&world.bound);
        cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        none = before;
        int next = dup(client);
        (void)close(next);
        none.rlim_cur = (rlim_t)next;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        listener_start(&world.listener);
        while (!deadline_armed(&world.listener.retry)) {
            loop_turn(world.loop, 100);
        }
        uint64_t turns = counter_read(&loop_counters(world.loop)->turns);
        int64_t start_ms = loop_now_ms(world.loop);
        while (loop_now_ms(world.loop) < start_ms + 3 * LISTEN_RETRY_MS) {
            loop_turn(world.loop, -1);
        }
        cr_assert_lt(counter_read(&loop_counters(world.loop)->turns) - turns, 50, "it waits");
        cr_assert_eq(world.connections, 0);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        until_connected(&world, 1);
        (void)close(client);
        (void)close(world.fd);
        world_close(&world);
    }
}

Test(listen, a_listener_that_never_started_or_is_pausing_can_be_stopped)
{
    for (unsigned i = 0; i < 2; i++) {
        struct world world;
        struct listen_config config = config_for("127.0.0.1:0");
        world_open(&world, kinds[i], &config);
        world_close(&world);
    }
}
