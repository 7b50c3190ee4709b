/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include "storage/checkpoint.h"
#include "storage/index.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static struct fixture fixture;

static void start(void)
{
    fixture_start(&fixture);
}

static void end(void)
{
    fixture_end(&fixture);
}

TestSuite(checkpoint, .init = start, .fini = end);

static struct index_state stored(void)
{
    struct index_reader *reader = NULL;
    struct index_state state;
    cr_assert_eq(index_reader_create(fixture_volume(&fixture)->index, &reader), STATUS_OK);
    cr_assert_eq(index_begin(reader, &state), STATUS_OK);
    index_end(reader);
    index_reader_destroy(&reader);
    return state;
}

Test(checkpoint, brings_the_index_up_and_empties_the_delta)
{
    struct store_numbers numbers;
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, "a");
    store_numbers(fixture.store, &numbers);
    cr_assert_eq(numbers.messages, 0);
    cr_assert_eq(numbers.checkpoint_lag_events, 2);
    fixture_checkpoint(&fixture);
    store_numbers(fixture.store, &numbers);
    cr_assert_eq(numbers.messages, 1);
    cr_assert_eq(numbers.maildrops, 1);
    cr_assert_eq(numbers.checkpoint_lag_events, 0);
    cr_assert_eq(numbers.checkpoint_lag_ms, 0);
    cr_assert_eq(numbers.delta_octets, 0);
    cr_assert(numbers.checkpoints >= 1);
    struct log_position end_of_log = writer_position(fixture_volume(&fixture)->writer);
    struct index_state state = stored();
    cr_assert_eq(state.position.sequence, end_of_log.sequence);
    cr_assert_eq(state.position.offset, end_of_log.offset);
    cr_assert_eq(state.position.segment, end_of_log.segment);
    cr_assert_not(state.clean);
}

Test(checkpoint, with_nothing_to_do_does_nothing)
{
    fixture_checkpoint(&fixture);
    uint64_t before = stored().position.sequence;
    fixture_checkpoint(&fixture);
    cr_assert_eq(stored().position.sequence, before);
}

Test(checkpoint, one_that_was_woken_needs_nobody_to_wait_for_it)
{
    struct volume *volume = fixture_volume(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, "a");
    checkpoint_wake(volume->checkpoint);
    while (delta_events(volume->delta) > 0) {
        sched_yield();
    }
    cr_assert_eq(stored().messages, 1);
}

static _Atomic bool has_answered;

static void *ask_for_one(void *owner)
{
    enum status status = store_checkpoint(fixture.store, NULL);
    has_answered = true;
    return status == STATUS_OK ? owner : NULL;
}

/* Or whoever asks for one would wait for as long as mail comes. */
Test(checkpoint, what_comes_while_it_works_waits_for_the_next)
{
    struct store_numbers before, after;
    pthread_t asker;
    void *answer = NULL;
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, "before");
    store_numbers(fixture.store, &before);
    cr_assert_eq(pthread_create(&asker, NULL, ask_for_one, &fixture), 0);
    do {
        fixture_deliver(&fixture, drop, "meanwhile");
    } while (!has_answered);
    cr_assert_eq(pthread_join(asker, &answer), 0);
    cr_assert_not_null(answer);
    store_numbers(fixture.store, &after);
    cr_assert_eq(after.checkpoints - before.checkpoints, 1);
}

Test(checkpoint, stops_when_the_log_has_failed)
{
    struct volume *volume = fixture_volume(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    uint64_t before = stored().position.sequence;
    fixture_deliver(&fixture, drop, "a");
    atomic_store(&volume->read_only, true); /* as the writer does after a failed sync */
    cr_assert_eq(store_checkpoint(fixture.store, NULL), STATUS_READ_ONLY);
    cr_assert_eq(stored().position.sequence, before);
    cr_assert_eq(fixture_count(&fixture, drop), 1); /* and reading goes on */
}

Test(checkpoint, a_clean_end_is_written_down)
{
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    fixture_deliver(&fixture, drop, "a");
    fixture_close(&fixture);
    struct index *index = NULL;
    struct volume *volume = NULL;
    struct index_reader *reader = NULL;
    struct index_state state;
    char path[128];
    snprintf(path, sizeof path, "%s/volume", fixture.path);
    struct volume_config config = {.path = path, .map_size = 1ull << 30};
    cr_assert_eq(volume_open(&config, &volume, NULL), STATUS_OK);
    struct index_config index_config = {
        .path = volume->index_path, .map_size = 1ull << 30, .volume_id = volume->identity.id};
    cr_assert_eq(index_open(&index_config, &index, NULL), STATUS_OK);
    cr_assert_eq(index_reader_create(index, &reader), STATUS_OK);
    cr_assert_eq(index_begin(reader, &state), STATUS_OK);
    index_end(reader);
    cr_assert(state.clean);
    cr_assert_eq(state.messages, 1);
    index_reader_destroy(&reader);
    index_close(&index);
    volume_close(&volume);
    fixture_open(&fixture);
    cr_assert_not(stored().clean); /* and taken back as soon as it runs again */
}

Test(checkpoint, when_it_fails_the_volume_is_read_only_and_nobody_waits)
{
    fixture_close(&fixture);
    fixture.config.map_size = 1 << 20; /* soon full */
    fixture_open(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    enum status status = STATUS_OK, delivered = STATUS_OK;
    char uidl[80];
    for (int i = 0; i < 10000 && delivered == STATUS_OK; i++) {
        uint64_t uid;
        snprintf(uidl, sizeof uidl, "%070d", i);
        delivered = fixture_import(&fixture, drop, "x", uidl, &uid);
        if (i % 50 == 0 && status == STATUS_OK) {
            status = store_checkpoint(fixture.store, NULL);
        }
    }
    /* The soft limit comes first: no more mail, while an expunge and its checkpoint still work. */
    cr_assert_eq(status, STATUS_OK);
    cr_assert_eq(delivered, STATUS_NO_SPACE);
    cr_assert_eq(fixture_expunge(&fixture, drop, 0), STATUS_OK);
    cr_assert_eq(store_checkpoint(fixture.store, NULL), STATUS_OK);
    /* Other records are not counted as mail: they fill it to the end. */
    for (int i = 0; i < 10000 && status == STATUS_OK; i++) {
        for (int j = 0; j < 50; j++) {
            fixture_create(&fixture, "someone-with-a-long-name@a-domain-with-a-long-name.example");
        }
        status = store_checkpoint(fixture.store, NULL);
    }
    cr_assert_eq(status, STATUS_READ_ONLY);
    struct store_numbers numbers;
    store_numbers(fixture.store, &numbers);
    cr_assert(numbers.read_only);
    cr_assert_eq(store_checkpoint(fixture.store, NULL), STATUS_READ_ONLY);
    uint64_t uid;
    cr_assert_eq(fixture_import(&fixture, drop, "x", NULL, &uid), STATUS_READ_ONLY);
    /* A restart with more room replays what the index did not get. */
    fixture_close(&fixture);
    fixture.config.map_size = 1 << 30;
    fixture_open(&fixture);
    cr_assert_eq(fixture_import(&fixture, drop, "x", NULL, &uid), STATUS_OK);
}
