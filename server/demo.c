/* SPDX-License-Identifier: Apache-2.0 */
#include "server/demo.h"

#include "auth/account.h"
#include "io/loop.h"
#include "io/post.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The messages, in the order they are delivered. The second needs dot-stuffing on its way. */
static const char *const messages[] = {
    "From: Restante <postmaster@localhost>\n"
    "To: %s\n"
    "Subject: Welcome to Restante\n"
    "Message-ID: <welcome.%s>\n"
    "MIME-Version: 1.0\n"
    "Content-Type: text/plain; charset=utf-8\n"
    "\n"
    "Poste restante is the post office's service of holding mail until its owner\n"
    "calls for it. You have just called for yours.\n",

    "From: A Friend <friend@example.org>\n"
    "To: %s\n"
    "Subject: Lines that begin with a dot\n"
    "Message-ID: <dots.%s>\n"
    "\n"
    ".profile\n"
    "..two dots\n"
    ".\n"
    "The line above holds a single dot, and the message goes on.\n",

    "From: =?utf-8?q?Andr=C3=A9?= <andre@example.net>\n"
    "To: %s\n"
    "Subject: =?utf-8?b?R3LDvMOfZSDinIk=?=\n"
    "Message-ID: <unicode.%s>\n"
    "MIME-Version: 1.0\n"
    "Content-Type: text/plain; charset=utf-8\n"
    "Content-Transfer-Encoding: 8bit\n"
    "\n"
    "Gr\xc3\xbc\xc3\x9f"
    "e aus dem Postamt: \xe2\x9c\x89\n",
};
#define MESSAGES (sizeof messages / sizeof messages[0])

struct demo {
    struct store_client client;
    struct post_box box;
    struct loop *loop;
    struct account_db *accounts;
    struct account account; /* the credentials; name and maildrop are filled in for each user */
    const char *domain;
    unsigned open;      /* requests not yet answered */
    enum status status; /* the first failure */
    struct error *error;
    struct store_drop_change users[DEMO_USERS];
};

static void note(struct demo *demo, enum status status)
{
    if (demo->status == STATUS_OK) {
        demo->status = status;
    }
}

static void on_drop_created(struct store_drop_change *change, enum status status)
{
    struct demo *demo = list_entry(change->client, struct demo, client);
    demo->open--;
    note(demo, status);
    if (status == STATUS_OK) {
        memcpy(demo->account.name, change->name, sizeof change->name);
        demo->account.drop = change->drop;
        note(demo, account_add(demo->accounts, &demo->account, demo->error));
    }
}

static void on_delivered(void *owner, enum status status, uint64_t uid)
{
    struct demo *demo = owner;
    (void)uid; /* nobody asks for it */
    demo->open--;
    note(demo, status);
}

static void on_writable(void *owner)
{
    (void)owner; /* nothing more is added */
}

static void on_wake(void *owner)
{
    struct demo *demo = owner;
    (void)post_run(&demo->box); /* how many there were does not matter */
}

static void wait_all(struct demo *demo)
{
    while (demo->open > 0) {
        loop_turn(demo->loop, -1);
    }
}

static void add_users(struct demo *demo)
{
    for (unsigned i = 0; i < DEMO_USERS; i++) {
        struct store_drop_change *change = &demo->users[i];
        change->client = &demo->client;
        change->on_done = on_drop_created;
        (void)snprintf(change->name, sizeof change->name, "demo%u@%s", i + 1, demo->domain);
        demo->open++;
        enum status status = store_drop_create(change);
        if (status != STATUS_PENDING) {
            on_drop_created(change, status);
        }
    }
    wait_all(demo);
}

static void deliver(struct demo *demo, const struct store_drop_change *user, const char *format,
                    int64_t received_ms)
{
    static const struct store_delivery_events events = {on_writable, on_delivered};
    struct store_delivery_info info = {.sender = "", .received_ms = received_ms};
    struct store_recipient recipient = {.drop = user->drop, .address = user->name};
    struct store_delivery *delivery = NULL;
    char text[2048];
    /* Both holes of every format take a name. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int length = snprintf(text, sizeof text, format, user->name, user->name);
#pragma GCC diagnostic pop
    enum status status = store_delivery_begin(&demo->client, &info, &events, demo, &delivery);
    if (status == STATUS_OK) {
        status = store_delivery_add(delivery, (const uint8_t *)text, (size_t)length);
    }
    if (status == STATUS_OK) {
        status = store_delivery_commit(delivery, &recipient, 1);
    }
    if (status == STATUS_PENDING) {
        demo->open++;
        return;
    }
    if (delivery != NULL) {
        store_delivery_abort(&delivery);
    }
    note(demo, status);
}

static void add_messages(struct demo *demo)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    for (unsigned i = 0; i < DEMO_USERS && demo->status == STATUS_OK; i++) {
        for (unsigned m = 0; m < MESSAGES; m++) {
            deliver(demo, &demo->users[i], messages[m], (int64_t)now.tv_sec * 1000);
        }
    }
    wait_all(demo);
}

static enum status fill(struct demo *demo, struct store *store)
{
    struct loop_config config = {
        .kind = LOOP_EPOLL, .connections_max = 16, .on_wake = on_wake, .owner = demo};
    enum status status = loop_create(&config, &demo->loop, demo->error);
    if (status != STATUS_OK) {
        return status;
    }
    post_box_init_loop(&demo->box, demo->loop);
    store_client_init(&demo->client, store, demo->loop, &demo->box);
    /* All have one password, so it is hashed once and not ten times: the demo starts at once. */
    demo->status = account_set_password(&demo->account, DEMO_PASSWORD, strlen(DEMO_PASSWORD));
    if (demo->status == STATUS_OK) {
        add_users(demo);
    }
    if (demo->status == STATUS_OK) {
        add_messages(demo);
    }
    post_box_deinit(&demo->box);
    loop_destroy(&demo->loop);
    return demo->status;
}

enum status demo_fill(struct store *store, struct auth *auth, const char *domain, bool *out_filled,
                      struct error *out_error)
{
    uint64_t count;
    enum status status = account_count(auth_accounts(auth), &count);
    if (status == STATUS_OK && count > 0) {
        *out_filled = false;
        return STATUS_OK;
    }
    struct demo *demo = status == STATUS_OK ? calloc(1, sizeof *demo) : NULL;
    if (demo == NULL) {
        return error_set(out_error, status == STATUS_OK ? STATUS_NO_MEMORY : status, 0, NULL,
                         "filling the demo's store");
    }
    demo->accounts = auth_accounts(auth);
    demo->domain = domain;
    demo->error = out_error;
    status = fill(demo, store);
    free(demo);
    if (status != STATUS_OK && out_error->text[0] == '\0') {
        return error_set(out_error, status, 0, NULL, "filling the demo's store failed (%s)",
                         status_name(status));
    }
    *out_filled = status == STATUS_OK;
    return status;
}
