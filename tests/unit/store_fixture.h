/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in a directory of its own, driven from one thread: every call waits for its answer. The
 * client has a plain box instead of a loop; what reads cold files brings a loop itself.
 */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include "io/post.h"
#include "storage/delta.h"
#include "storage/local.h"
#include "storage/store.h"
#include "storage/volume.h"
#include "storage/wire.h"

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    char path[64];
    struct store_config config;
    struct store *store;
    struct post_box box;
    struct store_client client;
};

struct fixture_answer {
    bool done;
    enum status status;
    uint64_t uid;
};

__attribute__((unused)) static int fixture_remove_one(const char *path, const struct stat *found,
                                                      int kind, struct FTW *walk)
{
    return remove(path);
}

__attribute__((unused)) static void fixture_open(struct fixture *fixture)
{
    struct error error = {0};
    enum status status = store_open(&fixture->config, &fixture->store, &error);
    if (status != STATUS_OK) {
        fprintf(stderr, "store_open: %s %s %s\n", status_name(status), error.path, error.text);
    }
    assert(status == STATUS_OK);
    store_client_init(&fixture->client, fixture->store, NULL, &fixture->box);
}

__attribute__((unused)) static void fixture_start(struct fixture *fixture)
{
    memset(fixture, 0, sizeof *fixture);
    strcpy(fixture->path, "/tmp/restante-store-XXXXXX");
    assert(mkdtemp(fixture->path) != NULL);
    fixture->config.path = fixture->path;
    fixture->config.map_size = 1ull << 30;
    fixture->config.checkpoint_ms = 3600000; /* only when a test asks for one */
    fixture->config.compact_off = true;      /* likewise */
    assert(post_box_init_thread(&fixture->box) == STATUS_OK);
    fixture_open(fixture);
}

__attribute__((unused)) static void fixture_close(struct fixture *fixture)
{
    assert(fixture->client.inflight == 0);
    store_close(&fixture->store);
}

__attribute__((unused)) static void fixture_end(struct fixture *fixture)
{
    fixture_close(fixture);
    post_box_deinit(&fixture->box);
    (void)nftw(fixture->path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((unused)) static struct volume *fixture_volume(struct fixture *fixture)
{
    return ((struct local *)(void *)fixture->store)->volume;
}

static void fixture_wait(struct fixture *fixture, const bool *done)
{
    while (!*done) {
        if (fixture->client.loop != NULL) {
            loop_turn(fixture->client.loop, 0); /* what was asked for goes to the writer here */
        }
        (void)post_wait(&fixture->box, -1);
        (void)post_run(&fixture->box);
    }
}

/* --- maildrops --- */

struct fixture_change {
    struct store_drop_change change;
    struct fixture_answer answer;
};

static void fixture_on_change(struct store_drop_change *change, enum status status)
{
    struct fixture_change *own = (struct fixture_change *)(void *)change;
    own->answer.status = status;
    own->answer.done = true;
}

static enum status fixture_change_drop(struct fixture *fixture, uint64_t *drop, const char *name,
                                       enum status (*call)(struct store_drop_change *))
{
    struct fixture_change own = {
        .change = {.client = &fixture->client, .on_done = fixture_on_change, .drop = {0, *drop}}};
    strcpy(own.change.name, name);
    enum status status = call(&own.change);
    if (status == STATUS_PENDING) {
        fixture_wait(fixture, &own.answer.done);
        status = own.answer.status;
    }
    *drop = own.change.drop.id;
    return status;
}

__attribute__((unused)) static uint64_t fixture_create(struct fixture *fixture, const char *name)
{
    uint64_t drop = 0;
    assert(fixture_change_drop(fixture, &drop, name, store_drop_create) == STATUS_OK);
    return drop;
}

__attribute__((unused)) static enum status fixture_remove(struct fixture *fixture, uint64_t drop)
{
    return fixture_change_drop(fixture, &drop, "", store_drop_remove);
}

/* --- delivering --- */

struct fixture_delivery {
    struct fixture_answer answer;
    bool writable;
};

static void fixture_on_writable(void *owner)
{
    ((struct fixture_delivery *)owner)->writable = true;
}

static void fixture_on_delivered(void *owner, enum status status, uint64_t uid)
{
    struct fixture_delivery *own = owner;
    own->answer = (struct fixture_answer){.done = true, .status = status, .uid = uid};
}

static const struct store_delivery_events fixture_events = {.on_writable = fixture_on_writable,
                                                            .on_done = fixture_on_delivered};

/* One message to several maildrops; `uidl` NULL: none. */
static enum status fixture_deliver_all(struct fixture *fixture, const uint64_t *drops,
                                       unsigned count, const char *text, size_t length,
                                       const char *uidl, uint64_t *out_uid)
{
    struct fixture_delivery own = {0};
    struct store_delivery *delivery = NULL;
    struct store_delivery_info info = {.sender = "a@b", .uidl = uidl, .received_ms = 1234567890123};
    struct store_recipient recipients[16];
    enum status status =
        store_delivery_begin(&fixture->client, &info, &fixture_events, &own, &delivery);
    for (size_t done = 0; done < length && status == STATUS_OK;) {
        size_t piece = length - done > 65536 ? 65536 : length - done;
        own.writable = false;
        status = store_delivery_add(delivery, (const uint8_t *)text + done, piece);
        done += piece;
        if (status == STATUS_PENDING) {
            fixture_wait(fixture, &own.writable);
            status = STATUS_OK;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        recipients[i] = (struct store_recipient){.drop = {0, drops[i]}, .address = "x@y"};
    }
    if (status == STATUS_OK) {
        status = store_delivery_commit(delivery, recipients, count);
    }
    if (status == STATUS_PENDING) {
        fixture_wait(fixture, &own.answer.done);
        *out_uid = own.answer.uid;
        return own.answer.status;
    }
    store_delivery_abort(&delivery);
    return status;
}

__attribute__((unused)) static enum status fixture_import(struct fixture *fixture, uint64_t drop,
                                                          const char *text, const char *uidl,
                                                          uint64_t *out_uid)
{
    return fixture_deliver_all(fixture, &drop, 1, text, strlen(text), uidl, out_uid);
}

/* A message whose body is `text`; returns its uid. */
__attribute__((unused)) static uint64_t fixture_deliver(struct fixture *fixture, uint64_t drop,
                                                        const char *text)
{
    uint64_t uid = 0;
    assert(fixture_deliver_all(fixture, &drop, 1, text, strlen(text), NULL, &uid) == STATUS_OK);
    return uid;
}

/* --- opening --- */

struct fixture_open_request {
    struct store_open_request request;
    struct fixture_answer answer;
};

static void fixture_on_open(struct store_open_request *request, enum status status)
{
    struct fixture_open_request *own = (struct fixture_open_request *)(void *)request;
    own->answer.status = status;
    own->answer.done = true;
}

__attribute__((unused)) static enum status fixture_view(struct fixture *fixture, uint64_t drop,
                                                        enum store_lock_policy policy,
                                                        struct view **out_view)
{
    struct fixture_open_request own = {.request = {.client = &fixture->client,
                                                   .on_done = fixture_on_open,
                                                   .drop = {0, drop},
                                                   .policy = policy}};
    enum status status = store_open_drop(&own.request);
    if (status == STATUS_PENDING) {
        fixture_wait(fixture, &own.answer.done);
        status = own.answer.status;
    }
    *out_view = status == STATUS_OK ? own.request.view : NULL;
    return status;
}

__attribute__((unused)) static struct view *fixture_view_ok(struct fixture *fixture, uint64_t drop)
{
    struct view *view = NULL;
    enum status status = fixture_view(fixture, drop, STORE_LOCK_EXCLUSIVE, &view);
    if (status != STATUS_OK) {
        fprintf(stderr, "open: %s\n", status_name(status));
    }
    assert(status == STATUS_OK);
    return view;
}

/* How many messages a maildrop has now. */
__attribute__((unused)) static uint32_t fixture_count(struct fixture *fixture, uint64_t drop)
{
    struct view *view = NULL;
    assert(fixture_view(fixture, drop, STORE_LOCK_NONE, &view) == STATUS_OK);
    uint32_t count = store_view_count(view);
    store_view_close(&view);
    return count;
}

/* --- expunging --- */

static void fixture_on_commit(void *owner, enum status status)
{
    *(struct fixture_answer *)owner = (struct fixture_answer){.done = true, .status = status};
}

__attribute__((unused)) static enum status
fixture_commit(struct fixture *fixture, struct view **view, const uint32_t *indexes, uint32_t count)
{
    struct fixture_answer answer = {0};
    struct store_commit *commit = NULL;
    enum status status = store_commit(view, indexes, count, fixture_on_commit, &answer, &commit);
    if (status == STATUS_PENDING) {
        fixture_wait(fixture, &answer.done);
        status = answer.status;
    }
    return status;
}

/* Expunges the message at `index` of what the maildrop has now. */
__attribute__((unused)) static enum status fixture_expunge(struct fixture *fixture, uint64_t drop,
                                                           uint32_t index)
{
    struct view *view = fixture_view_ok(fixture, drop);
    return fixture_commit(fixture, &view, &index, 1);
}

__attribute__((unused)) static void fixture_checkpoint(struct fixture *fixture)
{
    assert(store_checkpoint(fixture->store, NULL) == STATUS_OK);
}

#endif
