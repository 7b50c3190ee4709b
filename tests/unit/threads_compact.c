/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several threads hold compaction now and then, as checks do, while others ask for it and mail
 * comes and goes: from the moment that it is still until the last one lets go nothing is copied or
 * unlinked; afterwards it goes on; and the mail is all there. Run under ThreadSanitizer.
 */
#include "tests/unit/store_fixture.h"

#include "storage/compact.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define HOLDERS 3
#define HOLDS   60  /* a holder */
#define LOOKS   200 /* during one hold */
#define KEPT    8   /* messages that stay */
#define SEGMENT 4096

static struct fixture fixture;
static _Atomic unsigned holders_left = HOLDERS, wrong;

static struct compact *compaction(void)
{
    return fixture_volume(&fixture)->compact;
}

static void *hold(void *owner)
{
    for (unsigned i = 0; i < HOLDS; i++) {
        struct compact_numbers before, after;
        compact_hold(compaction());
        while (!compact_is_still(compaction())) {
            (void)sched_yield();
        }
        compact_numbers(compaction(), &before);
        for (unsigned look = 0; look < LOOKS; look++) {
            (void)sched_yield();
            wrong += !compact_is_still(compaction());
        }
        compact_numbers(compaction(), &after);
        wrong += before.segments != after.segments || before.blobs != after.blobs;
        wrong += before.copied_records != after.copied_records;
        compact_let_go(compaction());
    }
    holders_left--;
    return NULL;
}

/* Asks all the time, with and without its own looks between. */
static void *ask(void *owner)
{
    for (unsigned i = 0; holders_left > 0; i++) {
        enum status status = compact_now(compaction(), i % 2 == 0);
        wrong += status != STATUS_OK && status != STATUS_AGAIN;
    }
    return NULL;
}

static void deliver_some(uint64_t drop)
{
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (unsigned i = 0; i < 2 * SEGMENT / sizeof text; i++) {
        fixture_deliver(&fixture, drop, text);
    }
}

/* All but the first few. */
static void expunge_rest(uint64_t drop)
{
    struct view *view = fixture_view_ok(&fixture, drop);
    uint32_t indexes[256], count = 0;
    for (uint32_t i = KEPT; i < store_view_count(view); i++) {
        assert(count < 256);
        indexes[count++] = i;
    }
    enum status status = fixture_commit(&fixture, &view, indexes, count);
    wrong += status != STATUS_OK;
}

int main(void)
{
    pthread_t holders[HOLDERS], asker;
    struct compact_numbers numbers;
    unsigned failed = 0;
    fixture_start(&fixture);
    fixture_close(&fixture);
    fixture.config.segment_size = SEGMENT;
    fixture.config.compact_off = false;
    fixture.config.compact_ms = 1;
    fixture_open(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    for (unsigned i = 0; i < HOLDERS; i++) {
        int code = pthread_create(&holders[i], NULL, hold, NULL);
        assert(code == 0);
    }
    int code = pthread_create(&asker, NULL, ask, NULL);
    assert(code == 0);
    while (holders_left > 0) {
        deliver_some(drop);
        expunge_rest(drop);
    }
    (void)pthread_join(asker, NULL); /* ours, joined once, like the others */
    for (unsigned i = 0; i < HOLDERS; i++) {
        (void)pthread_join(holders[i], NULL);
    }
    enum status status = compact_now(compaction(), true); /* nobody holds it any more */
    compact_numbers(compaction(), &numbers);
    printf("%u holds, %llu segments unlinked, %llu records copied\n", HOLDERS * HOLDS,
           (unsigned long long)numbers.segments, (unsigned long long)numbers.copied_records);
    failed += wrong > 0;
    failed += status != STATUS_OK || numbers.segments == 0;
    failed += fixture_count(&fixture, drop) != KEPT;
    fixture_close(&fixture);
    failed += store_rebuild(&fixture.config, NULL, NULL, NULL, NULL) != STATUS_OK;
    fixture_open(&fixture);
    failed += fixture_count(&fixture, drop) != KEPT;
    fixture_end(&fixture);
    printf("%u passed, %u failed\n", 5 - failed, failed);
    return failed > 0;
}
