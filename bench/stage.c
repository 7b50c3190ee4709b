/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/stage.h"

#include "auth/account.h"
#include "server/lmtp.h"
#include "server/pop3.h"
#include "server/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS       20000 /* of one turn: what is waited for wakes the loop */
#define IN_FLIGHT_MAX 512   /* deliveries, while filling */

static const struct {
    const char *name;
    unsigned messages;
    bool is_small;
} users[STAGE_USERS] = {
    [STAGE_FEW] = {"few@localhost", 10, false},
    [STAGE_THOUSAND] = {"thousand@localhost", 1000, true},
    [STAGE_LARGE] = {"large@localhost", 100000, true},
    [STAGE_INBOX] = {"inbox@localhost", 0, false},
};

void stage_check(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "bench: %s\n", what); /* it ends the process anyhow */
        exit(1);
    }
}

static void check_status(enum status status, const struct error *error, const char *what)
{
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "bench: %s: %s %s %s\n", what, status_name(status), error->path,
                      error->text);
        exit(1);
    }
}

const char *stage_name(enum stage_user user)
{
    return users[user].name;
}

/* --- opening and closing --- */

static void on_wake(void *owner)
{
    struct stage *stage = owner;
    (void)post_run(&stage->worker.box); /* how many there were does not matter */
}

static void fill_listener(struct stage *stage, struct worker_listener *listener,
                          enum config_protocol protocol)
{
    for (unsigned i = 0; i < stage->config->listener_count; i++) {
        if (stage->config->listeners[i].protocol == protocol && listener->config == NULL) {
            listener->config = &stage->config->listeners[i];
        }
    }
    stage_check(listener->config != NULL, "the demo has no such listener");
    listener->protocol = protocol == CONFIG_LMTP ? &lmtp_protocol : &pop3_protocol;
    listener->worker = &stage->worker;
}

static void make_message(char *out, size_t octets)
{
    static const char head[] = "From: a@bench.test\r\nSubject: measured\r\n\r\n";
    static const char line[] = "Sixty-two octets and a line end, as mail is, again and again.\r\n";
    size_t length = sizeof head - 1;
    memcpy(out, head, length);
    while (length + sizeof line - 1 <= octets) {
        memcpy(out + length, line, sizeof line - 1);
        length += sizeof line - 1;
    }
    memset(out + length, 'x', octets - length);
    memcpy(out + octets - 2, "\r\n", 3);
}

static void open_worker(struct stage *stage, enum loop_kind kind)
{
    struct worker *worker = &stage->worker;
    const struct loop_config config = {.kind = kind, .on_wake = on_wake, .owner = stage};
    struct error error = {0};
    check_status(loop_create(&config, &worker->loop, &error), &error, "making the loop");
    worker->config = stage->config;
    post_box_init_loop(&worker->box, worker->loop);
    conn_host_init(&worker->host, worker->loop);
    store_client_init(&worker->store, stage->store, worker->loop, &worker->box);
    auth_client_init(&worker->auth, stage->auth, worker->loop, &worker->box);
    list_init(&worker->sessions);
}

void stage_open(struct stage *stage, const char *folder, enum loop_kind loop)
{
    struct error error = {0};
    char path[300];
    memset(stage, 0, sizeof *stage);
    stage->folder = folder;
    (void)snprintf(path, sizeof path, "%s/accounts", folder);
    const struct store_config store_config = {
        .path = folder, .map_size = 1ull << 32, .checkpoint_ms = 3600000};
    const struct auth_config auth_config = {
        .accounts_path = path, .default_domain = "localhost", .exempt_loopback = true};
    check_status(config_demo(folder, NULL, 0, &stage->config, &error), &error, "configuring");
    check_status(store_open(&store_config, &stage->store, &error), &error, "opening the store");
    check_status(auth_open(&auth_config, &stage->auth, &error), &error, "opening the accounts");
    open_worker(stage, loop);
    fill_listener(stage, &stage->pop3, CONFIG_POP3);
    fill_listener(stage, &stage->lmtp, CONFIG_LMTP);
    make_message(stage->message, STAGE_MESSAGE_OCTETS);
    stage_check(address_parse("127.0.0.1:2110", &stage->peer) == STATUS_OK, "no address");
    for (unsigned i = 0; i < STAGE_USERS; i++) {
        struct account account;
        if (account_find(auth_accounts(stage->auth), users[i].name, &account) == STATUS_OK) {
            stage->drops[i] = account.drop;
        }
    }
}

static void turn(struct stage *stage)
{
    loop_turn(stage->worker.loop, WAIT_MS);
}

void stage_close(struct stage *stage)
{
    struct worker *worker = &stage->worker;
    while (worker->session_count > 0 || worker->store.inflight > 0 || worker->auth.inflight > 0) {
        turn(stage);
    }
    conn_host_deinit(&worker->host);
    post_box_deinit(&worker->box);
    loop_destroy(&worker->loop);
    for (unsigned i = 0; i < WORKER_POOLS_MAX; i++) {
        if (worker->pools[i].item_size != 0) {
            mem_pool_deinit(&worker->pools[i]);
        }
    }
    auth_close(&stage->auth);
    store_close(&stage->store);
    config_free(&stage->config);
}

/* --- the store --- */

static void on_writable(void *owner)
{
    (void)owner; /* what is added fits */
}

static void on_delivered(void *owner, enum status status, uint64_t uid)
{
    struct stage *stage = owner;
    (void)uid; /* nobody asks for it */
    stage_check(status == STATUS_OK, "a delivery failed");
    stage->waiting--;
}

static void deliver(struct stage *stage, enum stage_user user, const char *text, size_t length)
{
    static const struct store_delivery_events events = {on_writable, on_delivered};
    const struct store_delivery_info info = {.sender = "a@bench.test", .received_ms = 1};
    const struct store_recipient recipient = {.drop = stage->drops[user],
                                              .address = users[user].name};
    struct store_delivery *delivery = NULL;
    enum status status =
        store_delivery_begin(&stage->worker.store, &info, &events, stage, &delivery);
    if (status == STATUS_OK) {
        status = store_delivery_add(delivery, (const uint8_t *)text, length);
    }
    if (status == STATUS_OK) {
        stage->waiting++;
        status = store_delivery_commit(delivery, &recipient, 1);
    }
    stage_check(status == STATUS_PENDING, "a delivery was refused");
}

static void wait_for(struct stage *stage, unsigned left)
{
    while (stage->waiting > left) {
        turn(stage);
    }
}

void stage_deliver_group(struct stage *stage)
{
    for (unsigned i = 0; i < STAGE_GROUP; i++) {
        deliver(stage, STAGE_INBOX, stage->message, STAGE_MESSAGE_OCTETS);
    }
    wait_for(stage, 0);
}

struct open_request {
    struct store_open_request request;
    struct stage *stage;
};

static void on_open(struct store_open_request *request, enum status status)
{
    stage_check(status == STATUS_OK, "a maildrop was not opened");
    ((struct open_request *)(void *)request)->stage->waiting--;
}

struct view *stage_view(struct stage *stage, enum stage_user user)
{
    struct open_request own = {.request = {.client = &stage->worker.store,
                                           .on_done = on_open,
                                           .drop = stage->drops[user],
                                           .policy = STORE_LOCK_NONE},
                               .stage = stage};
    stage->waiting++;
    enum status status = store_open_drop(&own.request);
    if (status != STATUS_PENDING) {
        on_open(&own.request, status);
    }
    wait_for(stage, 0);
    return own.request.view;
}

/* --- filling --- */

struct create_request {
    struct store_drop_change change;
    struct stage *stage;
};

static void on_created(struct store_drop_change *change, enum status status)
{
    stage_check(status == STATUS_OK, "a maildrop was not made");
    ((struct create_request *)(void *)change)->stage->waiting--;
}

static void create_user(struct stage *stage, enum stage_user user)
{
    struct create_request own = {.change = {.client = &stage->worker.store, .on_done = on_created},
                                 .stage = stage};
    struct account account = {0};
    struct error error = {0};
    (void)snprintf(own.change.name, sizeof own.change.name, "%s", users[user].name);
    stage->waiting++;
    enum status status = store_drop_create(&own.change);
    if (status != STATUS_PENDING) {
        on_created(&own.change, status);
    }
    wait_for(stage, 0);
    stage->drops[user] = own.change.drop;
    (void)snprintf(account.name, sizeof account.name, "%s", users[user].name);
    account.drop = own.change.drop;
    check_status(account_set_password(&account, "word", 4), &error, "hashing a password");
    check_status(account_add(auth_accounts(stage->auth), &account, &error), &error, "adding");
}

void stage_fill(const char *folder)
{
    static const char small[] = "Subject: small\r\n\r\nOne line.\r\n";
    struct stage stage;
    struct error error = {0};
    stage_open(&stage, folder, LOOP_EPOLL);
    for (unsigned user = 0; user < STAGE_USERS; user++) {
        create_user(&stage, user);
        for (unsigned i = 0; i < users[user].messages; i++) {
            deliver(&stage, user, users[user].is_small ? small : stage.message,
                    users[user].is_small ? sizeof small - 1 : STAGE_MESSAGE_OCTETS);
            wait_for(&stage, IN_FLIGHT_MAX);
        }
        wait_for(&stage, 0);
    }
    check_status(store_checkpoint(stage.store, &error), &error, "checkpointing");
    stage_close(&stage);
}

/* --- clients --- */

int stage_connect(struct stage *stage, struct worker_listener *listener)
{
    int pair[2];
    int failed = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
    stage_check(failed == 0, "no socket pair");
    session_accept(listener, pair[0], &stage->peer, &stage->peer);
    return pair[1];
}

void stage_say(struct stage *stage, int client, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(client, text, length, MSG_NOSIGNAL);
        if (sent > 0) {
            text += sent;
            length -= (size_t)sent;
        } else {
            stage_check(errno == EAGAIN, "the server does not take its input");
            turn(stage);
        }
    }
}

size_t stage_hear(struct stage *stage, int client, const char *end)
{
    static char heard[65536 + 8];
    const size_t end_length = strlen(end);
    size_t total = 0, kept = 0;
    char first = 0;
    for (;;) {
        ssize_t got = recv(client, heard + kept, 65536, 0);
        if (got < 0 && errno == EAGAIN) {
            turn(stage);
            continue;
        }
        stage_check(got > 0, "the server has gone");
        first = total == 0 ? heard[0] : first;
        total += (size_t)got;
        size_t length = kept + (size_t)got;
        if (length >= end_length && memcmp(heard + length - end_length, end, end_length) == 0) {
            stage_check(first == '+' || first == '2' || first == '3', "a reply is an error");
            return total;
        }
        kept = length < end_length ? length : end_length;
        memmove(heard, heard + length - kept, kept);
    }
}

size_t stage_ask(struct stage *stage, int client, const char *command, const char *end)
{
    char line[256];
    size_t length = strlen(command);
    memcpy(line, command, length);
    memcpy(line + length, "\r\n", 2);
    stage_say(stage, client, line, length + 2);
    return stage_hear(stage, client, end);
}

void stage_leave(struct stage *stage, int client)
{
    (void)close(client); /* a socket pair's end */
    while (stage->worker.session_count > 0) {
        turn(stage);
    }
}

int stage_login(struct stage *stage, enum stage_user user)
{
    char line[128];
    int client = stage_connect(stage, &stage->pop3);
    (void)stage_hear(stage, client, "\r\n");
    (void)snprintf(line, sizeof line, "USER %s", users[user].name);
    (void)stage_ask(stage, client, line, "\r\n");
    (void)stage_ask(stage, client, "PASS word", "\r\n");
    return client;
}
