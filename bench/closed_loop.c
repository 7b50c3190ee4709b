/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/closed_loop.h"

#include "bench/process.h"
#include "io/conn.h"
#include "io/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LATENCY_BUCKETS 512 /* 16 a power of two, from one microsecond */

struct load;

struct client {
    struct conn conn;
    struct load *load;
    struct script script;
    unsigned step; /* in the preamble, then in the cycle */
    bool in_cycle, connected;
    struct script_reply_state reply;
    int64_t cycle_start_ns;
};

struct load {
    const struct closed_loop_config *config;
    struct loop *loop;
    struct conn_host host;
    struct client *clients;
    unsigned open_count, ready_count;
    bool measuring, stopping;
    uint64_t operations, failures, octets;
    uint64_t latency[LATENCY_BUCKETS];
};

static int64_t now_ns(clockid_t clock)
{
    struct timespec time;
    (void)clock_gettime(clock, &time); /* cannot fail with these clocks */
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void latency_add(struct load *load, int64_t ns)
{
    uint64_t us = ns < 1000 ? 1 : (uint64_t)ns / 1000;
    unsigned power = 63 - (unsigned)__builtin_clzll(us);
    unsigned fraction = power < 4 ? 0 : (unsigned)(us >> (power - 4)) & 15;
    unsigned bucket = power * 16 + fraction;
    load->latency[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1]++;
}

/* The lower bound of the bucket in which the `share`th part of all cycles lies, in microseconds. */
static double latency_at(const struct load *load, double share)
{
    uint64_t total = 0, seen = 0;
    for (unsigned bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        total += load->latency[bucket];
    }
    for (unsigned bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        seen += load->latency[bucket];
        if (total > 0 && (double)seen >= share * (double)total) {
            return (double)(1ull << (bucket / 16)) * (1.0 + (double)(bucket % 16) / 16.0);
        }
    }
    return 0;
}

static const struct script_step *client_step(const struct client *client)
{
    return client->in_cycle ? &client->script.cycle[client->step]
                            : &client->script.preamble[client->step];
}

static void client_connect(struct client *client);

/* Sends the present step; the preamble's end and the cycle's end wrap into the cycle. */
static void client_say(struct client *client)
{
    if (!client->in_cycle && client->step == client->script.preamble_count) {
        client->in_cycle = true;
        client->step = 0;
        client->load->ready_count++;
        if (client->script.hold) {
            return;
        }
    }
    if (client->in_cycle && client->step == 0 && !client->script.reconnect) {
        client->cycle_start_ns = now_ns(CLOCK_MONOTONIC);
    }
    const struct script_step *step = client_step(client);
    client->reply = (struct script_reply_state){0};
    if (step->text != NULL) {
        (void)conn_write(&client->conn, step->text, step->length); /* a failure ends the conn */
    }
}

static void cycle_done(struct client *client)
{
    struct load *load = client->load;
    if (load->measuring) {
        load->operations++;
        latency_add(load, now_ns(CLOCK_MONOTONIC) - client->cycle_start_ns);
    }
    client->step = 0;
    if (load->stopping || client->script.reconnect) {
        conn_finish(&client->conn);
        return;
    }
    client_say(client);
}

static void reply_done(struct client *client, bool good)
{
    if (!good) {
        client->load->failures++;
        conn_abort(&client->conn, STATUS_INVALID);
        return;
    }
    client->step++;
    if (client->in_cycle && client->step == client->script.cycle_count) {
        cycle_done(client);
    } else {
        client_say(client);
    }
}

static size_t on_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct client *client = list_entry(conn, struct client, conn);
    bool good = false;
    if (client->load->measuring) {
        client->load->octets += length;
    }
    const struct script_step *step = client_step(client);
    if (script_reply_feed(&client->reply, step->reply, (const char *)data, length, &good)) {
        reply_done(client, good);
    }
    return length;
}

static void on_input_end(struct conn *conn, size_t left)
{
    conn_finish(conn);
}

static void on_drained(struct conn *conn)
{
}

static void on_closed(struct conn *conn, enum status reason)
{
    struct client *client = list_entry(conn, struct client, conn);
    client->connected = false;
    client->load->open_count--;
    if (client->load->stopping) {
        return;
    }
    if (!client->script.reconnect) {
        client->load->failures++;
    }
    client_connect(client);
}

static const struct conn_events client_events = {.on_input = on_input,
                                                 .on_input_end = on_input_end,
                                                 .on_drained = on_drained,
                                                 .on_closed = on_closed};

static int connect_to(const struct address *server)
{
    int fd = socket(server->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    const int one = 1;
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    /* Both are only about speed: no delay for small steps, no TIME-WAIT to run out of ports. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    if (connect(fd, &server->any, server->length) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void client_connect(struct client *client)
{
    struct load *load = client->load;
    client->cycle_start_ns = now_ns(CLOCK_MONOTONIC);
    int fd = connect_to(&load->config->server);
    if (fd < 0) {
        load->failures++;
        return;
    }
    client->in_cycle = client->script.reconnect;
    client->step = 0;
    client->connected = true;
    load->open_count++;
    conn_init(&client->conn, &load->host, fd, LOOP_RECEIVE_STREAM, &client_events,
              &load->config->server, &load->config->server);
    conn_start(&client->conn);
    client_say(client);
}

static void turn_for(struct load *load, int64_t duration_ms)
{
    int64_t end_ms = loop_now_ms(load->loop) + duration_ms;
    while (loop_now_ms(load->loop) < end_ms) {
        loop_turn(load->loop, end_ms - loop_now_ms(load->loop));
    }
}

static enum status clients_make(struct load *load)
{
    const struct closed_loop_config *config = load->config;
    for (unsigned index = 0; index < config->clients; index++) {
        char user[128];
        unsigned number = config->first_user + index % config->user_count;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void)snprintf(user, sizeof user, config->user_format,
                       number); /* one %u, checked by main */
#pragma GCC diagnostic pop
        struct script_config script = {.workload = config->workload,
                                       .user = user,
                                       .password = config->password,
                                       .message_octets = config->message_octets,
                                       .message_number = config->message_number};
        load->clients[index].load = load;
        enum status status = script_make(&script, &load->clients[index].script);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}

struct snapshot {
    int64_t wall_ns, cpu_ns;
    struct process_usage server;
};

static enum status snapshot_take(const struct closed_loop_config *config,
                                 struct snapshot *out_snapshot)
{
    out_snapshot->wall_ns = now_ns(CLOCK_MONOTONIC);
    out_snapshot->cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    out_snapshot->server = (struct process_usage){0};
    return config->server_pid == 0 ? STATUS_OK
                                   : process_usage_read(config->server_pid, &out_snapshot->server);
}

static void result_fill(const struct load *load, const struct snapshot *before,
                        const struct snapshot *after, struct closed_loop_result *out_result)
{
    double operations = load->operations > 0 ? (double)load->operations : 1;
    *out_result = (struct closed_loop_result){
        .operations = load->operations,
        .failures = load->failures,
        .octets = load->octets,
        .seconds = (double)(after->wall_ns - before->wall_ns) / 1e9,
        .server_cpu_us = (double)(after->server.cpu_ns - before->server.cpu_ns) / 1e3 / operations,
        .client_cpu_us = (double)(after->cpu_ns - before->cpu_ns) / 1e3 / operations,
        .latency_us = {latency_at(load, 0.5), latency_at(load, 0.99), latency_at(load, 0.999)},
        .private_after = after->server.private_bytes,
        .sessions = load->open_count,
    };
}

static void clients_end(struct load *load)
{
    load->stopping = true;
    for (unsigned index = 0; index < load->config->clients; index++) {
        if (load->clients[index].connected) {
            conn_abort(&load->clients[index].conn, STATUS_CANCELLED);
        }
    }
    while (load->open_count > 0) {
        loop_turn(load->loop, 100);
    }
}

static enum status measure(struct load *load, struct closed_loop_result *out_result)
{
    struct snapshot start, before, after;
    enum status status = snapshot_take(load->config, &start);
    for (unsigned index = 0; status == STATUS_OK && index < load->config->clients; index++) {
        client_connect(&load->clients[index]);
        loop_turn(load->loop, 0);
    }
    turn_for(load, load->config->warmup_ms);
    if (status == STATUS_OK) {
        status = snapshot_take(load->config, &before);
    }
    if (status == STATUS_OK) {
        load->measuring = true;
        turn_for(load, load->config->run_ms);
        load->measuring = false;
        status = snapshot_take(load->config, &after);
    }
    if (status == STATUS_OK) {
        result_fill(load, &before, &after, out_result);
        out_result->private_before = start.server.private_bytes;
    }
    clients_end(load);
    return status;
}

enum status closed_loop_run(const struct closed_loop_config *config,
                            struct closed_loop_result *out_result, struct error *out_error)
{
    struct load load = {.config = config};
    const struct loop_config loop_config = {.kind = LOOP_AUTO,
                                            .connections_max = config->clients + 64};
    struct error fallback = {0};
    enum status status = loop_create(&loop_config, &load.loop, &fallback);
    if (status != STATUS_OK) {
        return error_set(out_error, status, fallback.errno_value, NULL, "%s", fallback.text);
    }
    conn_host_init(&load.host, load.loop);
    load.clients = calloc(config->clients, sizeof load.clients[0]);
    status = load.clients == NULL ? STATUS_NO_MEMORY : clients_make(&load);
    if (status == STATUS_OK) {
        status = measure(&load, out_result);
    }
    for (unsigned index = 0; load.clients != NULL && index < config->clients; index++) {
        script_free(&load.clients[index].script);
    }
    free(load.clients);
    conn_host_deinit(&load.host);
    loop_destroy(&load.loop);
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, NULL, "cannot run the load");
    }
    return STATUS_OK;
}
