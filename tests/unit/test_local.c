/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include "storage/segment.h"

#include <criterion/criterion.h>
#include <fcntl.h>

#define TEXT "Subject: x\r\n\r\nHello\r\n.dot\r\n"
#define WIRE "Subject: x\r\n\r\nHello\r\n..dot\r\n.\r\n"

Test(local, delivers_and_opens_and_fetches)
{
    struct fixture fixture;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    uint64_t uid = fixture_deliver(&fixture, drop, TEXT);
    struct view *view = fixture_view_ok(&fixture, drop);
    cr_assert_eq(store_view_count(view), 1);
    cr_assert_eq(store_view_octets(view), sizeof TEXT - 1);
    struct store_message message;
    store_view_message(view, 0, &message);
    cr_assert_eq(message.uid, uid);
    cr_assert_eq(message.octets, sizeof TEXT - 1);
    cr_assert_eq(message.wire_length, sizeof WIRE - 1);
    cr_assert_eq(message.received_ms, 1234567890123);
    uint8_t buffer[256];
    struct store_fetch fetch = {.client = &fixture.client,
                                .view = view,
                                .index = 0,
                                .length = message.wire_length,
                                .buffer = buffer};
    cr_assert_eq(store_fetch(&fetch), STATUS_OK);
    cr_assert_eq(fetch.range.kind, STORE_RANGE_BUFFER);
    cr_assert_arr_eq(buffer, WIRE, sizeof WIRE - 1);
    store_view_close(&view);
    fixture_end(&fixture);
}

Test(local, survives_a_restart)
{
    struct fixture fixture;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    for (int i = 0; i < 10; i++) {
        fixture_deliver(&fixture, drop, TEXT);
    }
    cr_assert_eq(fixture_expunge(&fixture, drop, 3), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        fixture_close(&fixture);
        fixture_open(&fixture);
        cr_assert_eq(fixture_count(&fixture, drop), 9u + (unsigned)i);
        fixture_deliver(&fixture, drop, TEXT);
    }
    fixture_end(&fixture);
}

/* --- locks --- */

static enum status try_open(struct fixture *fixture, uint64_t drop, enum store_lock_policy policy)
{
    struct view *view = NULL;
    enum status status = fixture_view(fixture, drop, policy, &view);
    store_view_close(&view);
    return status;
}

Test(local, a_second_session_is_refused_until_the_first_has_ended)
{
    struct fixture fixture;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    struct view *view = fixture_view_ok(&fixture, drop);
    cr_assert_eq(try_open(&fixture, drop, STORE_LOCK_EXCLUSIVE), STATUS_BUSY);
    cr_assert_eq(try_open(&fixture, drop, STORE_LOCK_NONE), STATUS_OK);
    cr_assert_eq(store_view_renew(view), STATUS_OK);
    store_view_close(&view);
    cr_assert_null(view);
    cr_assert_eq(try_open(&fixture, drop, STORE_LOCK_EXCLUSIVE), STATUS_OK);
    cr_assert_eq(try_open(&fixture, 999, STORE_LOCK_EXCLUSIVE), STATUS_NOT_FOUND);
    cr_assert_eq(try_open(&fixture, 999, STORE_LOCK_EXCLUSIVE), STATUS_NOT_FOUND);
    fixture_end(&fixture);
}

Test(local, one_that_was_taken_over_removes_nothing_and_unlocks_nothing)
{
    struct fixture fixture;
    uint32_t index = 0;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, TEXT);
    struct view *old = fixture_view_ok(&fixture, drop), *new = NULL;
    cr_assert_eq(fixture_view(&fixture, drop, STORE_LOCK_TAKEOVER, &new), STATUS_OK);
    cr_assert_eq(store_view_renew(old), STATUS_LOST);
    cr_assert_eq(store_view_count(old), 1); /* it can still read */
    cr_assert_eq(fixture_commit(&fixture, &old, &index, 1), STATUS_LOST);
    cr_assert_null(old);
    cr_assert_eq(try_open(&fixture, drop, STORE_LOCK_EXCLUSIVE), STATUS_BUSY);
    cr_assert_eq(fixture_commit(&fixture, &new, &index, 1), STATUS_OK);
    cr_assert_eq(fixture_count(&fixture, drop), 0);
    fixture_end(&fixture);
}

Test(local, a_view_without_a_lock_may_not_expunge)
{
    struct fixture fixture;
    uint32_t index = 0;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, TEXT);
    struct view *view = NULL;
    cr_assert_eq(fixture_view(&fixture, drop, STORE_LOCK_NONE, &view), STATUS_OK);
    cr_assert_eq(fixture_commit(&fixture, &view, &index, 1), STATUS_DENIED);
    cr_assert_eq(fixture_count(&fixture, drop), 1);
    fixture_end(&fixture);
}

Test(local, a_submitted_commit_holds_the_lock_and_outlives_its_session)
{
    struct fixture fixture;
    struct fixture_answer answer = {0};
    struct store_commit *commit = NULL;
    uint32_t index = 0;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, TEXT);
    struct view *view = fixture_view_ok(&fixture, drop);
    cr_assert_eq(store_commit(&view, &index, 1, fixture_on_commit, &answer, &commit),
                 STATUS_PENDING);
    store_commit_detach(&commit);
    cr_assert_null(commit);
    /* The answer has not been run here yet: nobody gets in, by takeover neither. */
    cr_assert_eq(try_open(&fixture, drop, STORE_LOCK_EXCLUSIVE), STATUS_BUSY);
    cr_assert_eq(try_open(&fixture, drop, STORE_LOCK_TAKEOVER), STATUS_BUSY);
    while (fixture.client.inflight > 0) {
        (void)post_wait(&fixture.box, -1);
        (void)post_run(&fixture.box);
    }
    cr_assert_not(answer.done);
    cr_assert_eq(try_open(&fixture, drop, STORE_LOCK_EXCLUSIVE), STATUS_OK);
    cr_assert_eq(fixture_count(&fixture, drop), 0);
    fixture_end(&fixture);
}

struct reopen {
    struct fixture *fixture;
    uint64_t drop;
    bool done;
    enum status commit_status, open_status;
};

static void reopen_at_once(void *owner, enum status status)
{
    struct reopen *reopen = owner;
    reopen->commit_status = status;
    reopen->open_status = try_open(reopen->fixture, reopen->drop, STORE_LOCK_EXCLUSIVE);
    reopen->done = true;
}

Test(local, whoever_hears_the_answer_finds_the_maildrop_free)
{
    struct fixture fixture;
    uint32_t index = 0;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, TEXT);
    struct view *view = fixture_view_ok(&fixture, drop);
    struct reopen reopen = {.fixture = &fixture, .drop = drop};
    struct store_commit *commit;
    cr_assert_eq(store_commit(&view, &index, 1, reopen_at_once, &reopen, &commit), STATUS_PENDING);
    fixture_wait(&fixture, &reopen.done);
    cr_assert_eq(reopen.commit_status, STATUS_OK);
    cr_assert_eq(reopen.open_status, STATUS_OK);
    fixture_end(&fixture);
}

/* --- views --- */

Test(local, a_view_does_not_change_whatever_happens)
{
    struct fixture fixture;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, TEXT);
    struct view *view = NULL, *other = fixture_view_ok(&fixture, drop);
    uint32_t index = 0;
    cr_assert_eq(fixture_view(&fixture, drop, STORE_LOCK_NONE, &view), STATUS_OK);
    fixture_deliver(&fixture, drop, TEXT);
    cr_assert_eq(fixture_commit(&fixture, &other, &index, 1), STATUS_OK);
    fixture_checkpoint(&fixture);
    cr_assert_eq(store_view_count(view), 1);
    uint8_t buffer[256];
    struct store_fetch fetch = {
        .client = &fixture.client, .view = view, .length = sizeof WIRE - 1, .buffer = buffer};
    cr_assert_eq(store_fetch(&fetch), STATUS_OK);
    cr_assert_arr_eq(buffer, WIRE, sizeof WIRE - 1);
    store_view_close(&view);
    cr_assert_eq(fixture_count(&fixture, drop), 1);
    fixture_end(&fixture);
}

struct many {
    int waiting;
};

static void on_one_of_many(void *owner, enum status status, uint64_t uid)
{
    assert(status == STATUS_OK);
    ((struct many *)owner)->waiting--;
}

static void deliver_many(struct fixture *fixture, uint64_t drop, int count)
{
    static const struct store_delivery_events events = {.on_writable = NULL,
                                                        .on_done = on_one_of_many};
    struct many many = {count};
    struct store_recipient recipient = {.drop = {0, drop}, .address = "x@y"};
    struct store_delivery_info info = {.sender = ""};
    for (int i = 0; i < count; i++) {
        struct store_delivery *delivery;
        assert(store_delivery_begin(&fixture->client, &info, &events, &many, &delivery) ==
               STATUS_OK);
        assert(store_delivery_add(delivery, (const uint8_t *)"x\r\n", 3) == STATUS_OK);
        assert(store_delivery_commit(delivery, &recipient, 1) == STATUS_PENDING);
    }
    while (many.waiting > 0) {
        (void)post_wait(&fixture->box, -1);
        (void)post_run(&fixture->box);
    }
}

Test(local, what_ends_in_one_turn_of_the_loop_shares_a_group)
{
    enum { COUNT = 50 };
    struct fixture fixture;
    struct loop *loop;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    struct loop_config config = {.kind = LOOP_EPOLL};
    cr_assert_eq(loop_create(&config, &loop, NULL), STATUS_OK);
    fixture.client.loop = loop;
    const struct counter *groups = &store_writer_counters(fixture.store)->groups;
    uint64_t before = counter_read(groups);
    struct fixture_delivery own[COUNT] = {0};
    struct store_recipient recipient = {.drop = {0, drop}, .address = "x@y"};
    struct store_delivery_info info = {.sender = ""};
    for (int i = 0; i < COUNT; i++) {
        struct store_delivery *delivery;
        cr_assert_eq(
            store_delivery_begin(&fixture.client, &info, &fixture_events, &own[i], &delivery),
            STATUS_OK);
        cr_assert_eq(store_delivery_commit(delivery, &recipient, 1), STATUS_PENDING);
        cr_assert_eq(counter_read(groups), before, "before the end of the turn");
    }
    for (int i = 0; i < COUNT; i++) {
        fixture_wait(&fixture, &own[i].answer.done);
        cr_assert_eq(own[i].answer.status, STATUS_OK);
        cr_assert(i == 0 || own[i].answer.uid == own[i - 1].answer.uid + 1);
    }
    cr_assert_eq(counter_read(groups), before + 1);
    fixture_end(&fixture);
    loop_destroy(&loop);
}

Test(local, a_large_maildrop_is_opened_by_the_lookup_thread)
{
    struct fixture fixture;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    deliver_many(&fixture, drop, LOCAL_LOOKUP_MESSAGES + 1);
    fixture_checkpoint(&fixture);
    struct fixture_open_request own = {
        .request = {.client = &fixture.client, .on_done = fixture_on_open, .drop = {0, drop}}};
    cr_assert_eq(store_open_drop(&own.request), STATUS_PENDING);
    cr_assert_eq(try_open(&fixture, drop, STORE_LOCK_EXCLUSIVE), STATUS_BUSY);
    fixture_wait(&fixture, &own.answer.done);
    cr_assert_eq(own.answer.status, STATUS_OK);
    cr_assert_eq(store_view_count(own.request.view), LOCAL_LOOKUP_MESSAGES + 1);
    store_view_close(&own.request.view);

    own.answer.done = false;
    cr_assert_eq(store_open_drop(&own.request), STATUS_PENDING);
    store_open_cancel(&own.request);
    fixture_wait(&fixture, &own.answer.done);
    cr_assert_eq(own.answer.status, STATUS_CANCELLED);
    cr_assert_eq(try_open(&fixture, drop, STORE_LOCK_EXCLUSIVE), STATUS_OK);
    fixture_end(&fixture);
}

/* --- delivering --- */

Test(local, one_copy_serves_all_recipients)
{
    struct fixture fixture;
    uint64_t drops[3], uid;
    fixture_start(&fixture);
    for (int i = 0; i < 3; i++) {
        drops[i] = fixture_create(&fixture, "u@localhost");
    }
    cr_assert_eq(fixture_deliver_all(&fixture, drops, 3, TEXT, sizeof TEXT - 1, NULL, &uid),
                 STATUS_OK);
    cr_assert_eq(fixture_remove(&fixture, drops[1]), STATUS_OK);
    /* A maildrop that is gone is left out; the others get theirs. */
    cr_assert_eq(fixture_deliver_all(&fixture, drops, 3, TEXT, sizeof TEXT - 1, NULL, &uid),
                 STATUS_OK);
    cr_assert_eq(fixture_count(&fixture, drops[0]), 2);
    cr_assert_eq(fixture_count(&fixture, drops[2]), 2);
    cr_assert_eq(fixture_deliver_all(&fixture, &drops[1], 1, TEXT, 3, NULL, &uid),
                 STATUS_NOT_FOUND);
    fixture_end(&fixture);
}

Test(local, bare_line_feeds_are_counted_while_a_message_comes)
{
    struct fixture fixture;
    struct fixture_delivery own = {0};
    struct store_delivery *delivery = NULL;
    struct store_delivery_info info = {.sender = "a@b", .header = "A: b\r\n", .header_length = 6};
    fixture_start(&fixture);
    cr_assert_eq(store_delivery_begin(&fixture.client, &info, &fixture_events, &own, &delivery),
                 STATUS_OK);
    cr_assert_eq(store_delivery_bare_lfs(delivery), 0);
    cr_assert_eq(store_delivery_add(delivery, (const uint8_t *)"C: d\n\nx\r", 8), STATUS_OK);
    cr_assert_eq(store_delivery_bare_lfs(delivery), 2);
    cr_assert_eq(store_delivery_add(delivery, (const uint8_t *)"\ny\r\r\n\n", 6), STATUS_OK);
    cr_assert_eq(store_delivery_bare_lfs(delivery), 3);
    store_delivery_abort(&delivery);
    fixture_end(&fixture);
}

Test(local, an_imported_unique_id_is_taken_once_in_a_maildrop)
{
    struct fixture fixture;
    uint64_t uid;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    uint64_t other = fixture_create(&fixture, "v@localhost");
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, "x", &uid), STATUS_OK);
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, "x", &uid), STATUS_EXISTS); /* in the delta */
    cr_assert_eq(fixture_import(&fixture, other, TEXT, "x", &uid), STATUS_OK);
    fixture_checkpoint(&fixture);
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, "x", &uid), STATUS_EXISTS); /* in the index */
    cr_assert_eq(fixture_expunge(&fixture, drop, 0), STATUS_OK);
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, "x", &uid), STATUS_OK);
    cr_assert_eq(fixture_expunge(&fixture, drop, 0), STATUS_OK);
    fixture_checkpoint(&fixture);
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, "x", &uid), STATUS_OK);
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, "", &uid), STATUS_INVALID);
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, "a b", &uid), STATUS_INVALID);
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, "\x7f", &uid), STATUS_INVALID);
    fixture_end(&fixture);
}

Test(local, an_imported_unique_id_cannot_be_one_of_ours)
{
    struct fixture fixture;
    uint64_t uid, imported;
    char uidl[MAILDROP_UIDL_LENGTH + 1] = {0};
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    uint32_t epoch = fixture_volume(&fixture)->identity.epoch;
    uid = fixture_deliver(&fixture, drop, TEXT);
    for (int i = 0; i < 2; i++) {
        maildrop_make_uidl(epoch, uid, uidl);
        cr_assert_eq(fixture_import(&fixture, drop, TEXT, uidl, &imported), STATUS_EXISTS);
        maildrop_make_uidl(epoch, uid + 1000, uidl); /* may be given out yet */
        cr_assert_eq(fixture_import(&fixture, drop, TEXT, uidl, &imported), STATUS_EXISTS);
        fixture_checkpoint(&fixture);
    }
    maildrop_make_uidl(epoch, 5, uidl); /* can never be given out again */
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, uidl, &imported), STATUS_OK);
    maildrop_make_uidl(epoch + 1, uid, uidl);
    cr_assert_eq(fixture_import(&fixture, drop, TEXT, uidl, &imported), STATUS_OK);
    fixture_end(&fixture);
}

Test(local, of_two_imports_of_one_unique_id_at_a_time_one_wins)
{
    struct fixture fixture;
    struct fixture_delivery own[2] = {{.answer = {0}}};
    struct store_delivery *delivery[2];
    struct store_delivery_info info = {.sender = "", .uidl = "same"};
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    struct store_recipient recipient = {.drop = {0, drop}, .address = "x@y"};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(
            store_delivery_begin(&fixture.client, &info, &fixture_events, &own[i], &delivery[i]),
            STATUS_OK);
    }
    cr_assert_eq(store_delivery_commit(delivery[0], &recipient, 1), STATUS_PENDING);
    cr_assert_eq(store_delivery_commit(delivery[1], &recipient, 1), STATUS_EXISTS);
    store_delivery_abort(&delivery[1]);
    fixture_wait(&fixture, &own[0].answer.done);
    cr_assert_eq(own[0].answer.status, STATUS_OK);
    cr_assert_eq(fixture_count(&fixture, drop), 1);
    fixture_end(&fixture);
}

Test(local, limits_of_size_and_space_are_answered)
{
    struct fixture fixture;
    uint64_t uid;
    static char large[5000];
    memset(large, 'x', sizeof large);
    fixture_start(&fixture);
    fixture_close(&fixture);
    fixture.config.message_octets_max = 4000;
    fixture_open(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    cr_assert_eq(fixture_deliver_all(&fixture, &drop, 1, large, 5000, NULL, &uid), STATUS_TOO_BIG);
    cr_assert_eq(fixture_deliver_all(&fixture, &drop, 1, large, 4000, NULL, &uid), STATUS_OK);
    struct store_delivery_info info = {.sender = "", .size_hint = 5000};
    struct store_delivery *delivery;
    cr_assert_eq(store_delivery_begin(&fixture.client, &info, &fixture_events, NULL, &delivery),
                 STATUS_TOO_BIG);
    struct volume *volume = fixture_volume(&fixture);
    atomic_store(&volume->space_low, true);
    cr_assert_eq(fixture_import(&fixture, drop, "x", NULL, &uid), STATUS_NO_SPACE);
    cr_assert_eq(fixture_expunge(&fixture, drop, 0), STATUS_OK); /* expunging helps: it works */
    atomic_store(&volume->space_low, false);
    atomic_store(&volume->read_only, true);
    cr_assert_eq(fixture_import(&fixture, drop, "x", NULL, &uid), STATUS_READ_ONLY);
    atomic_store(&volume->read_only, false);
    fixture_end(&fixture);
}

Test(local, a_delivery_whose_owner_is_gone_still_happens)
{
    struct fixture fixture;
    struct fixture_delivery own = {.answer = {0}};
    struct store_delivery *delivery;
    struct store_delivery_info info = {.sender = ""};
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    struct store_recipient recipient = {.drop = {0, drop}, .address = "x@y", .orcpt = "rfc822;x@y"};
    cr_assert_eq(store_delivery_begin(&fixture.client, &info, &fixture_events, &own, &delivery),
                 STATUS_OK);
    cr_assert_eq(store_delivery_commit(delivery, &recipient, 1), STATUS_PENDING);
    store_delivery_abort(&delivery);
    cr_assert_null(delivery);
    while (fixture.client.inflight > 0) {
        (void)post_wait(&fixture.box, -1);
        (void)post_run(&fixture.box);
    }
    cr_assert_not(own.answer.done);
    cr_assert_eq(fixture_count(&fixture, drop), 1);
    fixture_end(&fixture);
}

Test(local, maildrops_are_renamed_and_ids_never_reused)
{
    struct fixture fixture;
    fixture_start(&fixture);
    uint64_t last = 0;
    for (int i = 0; i < 6; i++) {
        uint64_t drop = fixture_create(&fixture, "u@localhost");
        cr_assert(drop > last);
        last = drop;
        cr_assert_eq(fixture_change_drop(&fixture, &drop, "new@localhost", store_drop_rename),
                     STATUS_OK);
        cr_assert_eq(fixture_remove(&fixture, drop), STATUS_OK);
        if (i % 2 == 1) {
            fixture_close(&fixture);
            fixture_open(&fixture);
        }
    }
    fixture_end(&fixture);
}

Test(local, a_second_store_on_the_same_directory_is_refused)
{
    struct fixture fixture;
    struct store *second = NULL;
    struct error error = {0};
    fixture_start(&fixture);
    cr_assert_eq(store_open(&fixture.config, &second, &error), STATUS_BUSY);
    cr_assert_null(second);
    fixture_end(&fixture);
}
