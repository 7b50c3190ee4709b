/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliveries, sessions that expunge, and checkpoints at once, against an oracle: a view has every
 * message that was answered before it was opened and that nobody has begun to expunge, and none
 * whose expunge was answered; in order, none twice. At the end, after a restart and after a
 * rebuild, the store holds what the oracle says. Run under ThreadSanitizer.
 */
#include "tests/unit/store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define DROPS      6
#define DELIVERERS 3
#define SESSIONS   3
#define DELIVERIES 300  /* a deliverer */
#define UIDS_MAX   8192 /* sequences that this test may use */

enum fate { FATE_NONE, FATE_DELIVERED, FATE_EXPUNGING, FATE_EXPUNGED };

/* Under `mutex`, by uid: one octet for each maildrop. */
static struct {
    pthread_mutex_t mutex;
    uint8_t fates[UIDS_MAX][DROPS];
} oracle = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct fixture shared;
static uint64_t drops[DROPS], first_uid;
static _Atomic int deliverers_left = DELIVERERS;
static _Atomic unsigned wrong, views, expunges;

static unsigned place_of(uint64_t uid)
{
    assert(uid >= first_uid && uid - first_uid < UIDS_MAX);
    return (unsigned)(uid - first_uid);
}

static void set_fate(uint64_t uid, unsigned drop, enum fate fate)
{
    (void)pthread_mutex_lock(&oracle.mutex);
    uint8_t *now = &oracle.fates[place_of(uid)][drop];
    /* A session may have expunged a message before its deliverer has heard the answer. */
    *now = *now < fate ? (uint8_t)fate : *now;
    (void)pthread_mutex_unlock(&oracle.mutex);
}

/* A thread's own end of the shared store. */
static void join_store(struct fixture *own)
{
    memset(own, 0, sizeof *own);
    own->store = shared.store;
    assert(post_box_init_thread(&own->box) == STATUS_OK);
    store_client_init(&own->client, own->store, NULL, &own->box);
}

static void *deliver(void *owner)
{
    unsigned seed = *(unsigned *)owner;
    struct fixture own;
    join_store(&own);
    for (int i = 0; i < DELIVERIES; i++) {
        unsigned chosen[2] = {(unsigned)rand_r(&seed) % DROPS, 0};
        chosen[1] = (chosen[0] + 1 + (unsigned)rand_r(&seed) % (DROPS - 1)) % DROPS;
        unsigned count = 1 + (unsigned)rand_r(&seed) % 2;
        uint64_t ids[2] = {drops[chosen[0]], drops[chosen[1]]}, uid = 0;
        enum status status = fixture_deliver_all(&own, ids, count, "text\r\n", 6, NULL, &uid);
        if (status != STATUS_OK) {
            wrong++;
            continue;
        }
        for (unsigned j = 0; j < count; j++) {
            set_fate(uid, chosen[j], FATE_DELIVERED);
        }
    }
    deliverers_left--;
    post_box_deinit(&own.box);
    return NULL;
}

/* What the oracle said before the view was opened against what the view has, and what the oracle
 * says now: the maildrop is locked, nobody else can begin an expunge. */
static void check_view(const struct view *view, unsigned drop, const uint8_t *before)
{
    static _Thread_local uint8_t seen[UIDS_MAX];
    uint64_t last = 0;
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < store_view_count(view); i++) {
        struct store_message message;
        store_view_message(view, i, &message);
        wrong += message.uid <= last;
        last = message.uid;
        seen[place_of(message.uid)] = 1;
    }
    (void)pthread_mutex_lock(&oracle.mutex);
    for (unsigned i = 0; i < UIDS_MAX; i++) {
        uint8_t now = oracle.fates[i][drop];
        wrong += before[i] == FATE_DELIVERED && now == FATE_DELIVERED && !seen[i];
        wrong += before[i] == FATE_EXPUNGED && seen[i];
    }
    (void)pthread_mutex_unlock(&oracle.mutex);
    views++;
}

static void expunge_some(struct fixture *own, struct view *view, unsigned drop, unsigned *seed)
{
    uint32_t indexes[8], count = 0;
    uint64_t uids[8];
    for (uint32_t i = 0; i < store_view_count(view) && count < 8; i++) {
        if (rand_r(seed) % 2 == 0) {
            struct store_message message;
            store_view_message(view, i, &message);
            uids[count] = message.uid;
            indexes[count++] = i;
            set_fate(message.uid, drop, FATE_EXPUNGING);
        }
    }
    if (count == 0) {
        store_view_close(&view);
        return;
    }
    wrong += fixture_commit(own, &view, indexes, count) != STATUS_OK;
    for (uint32_t i = 0; i < count; i++) {
        set_fate(uids[i], drop, FATE_EXPUNGED);
    }
    expunges += count;
}

static void *work(void *owner)
{
    static _Thread_local uint8_t before[UIDS_MAX];
    unsigned seed = *(unsigned *)owner;
    struct fixture own;
    join_store(&own);
    while (deliverers_left > 0) {
        unsigned drop = (unsigned)rand_r(&seed) % DROPS;
        struct view *view;
        (void)pthread_mutex_lock(&oracle.mutex);
        for (unsigned i = 0; i < UIDS_MAX; i++) {
            before[i] = oracle.fates[i][drop];
        }
        (void)pthread_mutex_unlock(&oracle.mutex);
        enum status status = fixture_view(&own, drops[drop], STORE_LOCK_EXCLUSIVE, &view);
        if (status == STATUS_BUSY) {
            continue;
        }
        if (status != STATUS_OK) {
            wrong++;
            continue;
        }
        check_view(view, drop, before);
        if (rand_r(&seed) % 3 == 0) {
            store_view_close(&view);
        } else {
            expunge_some(&own, view, drop, &seed);
        }
    }
    post_box_deinit(&own.box);
    return NULL;
}

static void *checkpoint(void *owner)
{
    while (deliverers_left > 0) {
        struct store_numbers numbers;
        store_numbers(shared.store, &numbers);
        wrong += store_checkpoint(shared.store, NULL) != STATUS_OK;
    }
    return NULL;
}

/* Whether the store holds what the oracle says, now that nothing moves. */
static unsigned compare(void)
{
    unsigned different = 0;
    for (unsigned drop = 0; drop < DROPS; drop++) {
        struct view *view = fixture_view_ok(&shared, drops[drop]);
        uint32_t at = 0;
        for (unsigned i = 0; i < UIDS_MAX; i++) {
            if (oracle.fates[i][drop] != FATE_DELIVERED) {
                continue;
            }
            struct store_message message = {0};
            if (at < store_view_count(view)) {
                store_view_message(view, at++, &message);
            }
            different += message.uid != first_uid + i;
        }
        different += at != store_view_count(view);
        store_view_close(&view);
    }
    return different;
}

int main(void)
{
    pthread_t threads[DELIVERERS + SESSIONS + 1];
    unsigned seeds[DELIVERERS + SESSIONS + 1], seed = (unsigned)time(NULL), failed = 0;
    printf("seed %u\n", seed);
    fixture_start(&shared);
    for (unsigned i = 0; i < DROPS; i++) {
        drops[i] = fixture_create(&shared, "u@localhost");
    }
    first_uid = drops[0]; /* both counts begin at the same number */
    for (unsigned i = 0; i < DELIVERERS + SESSIONS + 1; i++) {
        seeds[i] = seed + i * 7919;
        void *(*run)(void *) = i < DELIVERERS              ? deliver
                               : i < DELIVERERS + SESSIONS ? work
                                                           : checkpoint;
        assert(pthread_create(&threads[i], NULL, run, &seeds[i]) == 0);
    }
    for (unsigned i = 0; i < DELIVERERS + SESSIONS + 1; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    printf("%u views checked, %u messages expunged\n", views, expunges);
    failed += wrong > 0;
    failed += compare() > 0;
    fixture_close(&shared);
    fixture_open(&shared);
    failed += compare() > 0; /* after a restart */
    fixture_close(&shared);
    failed += store_rebuild(&shared.config, NULL, NULL, NULL, NULL) != STATUS_OK;
    fixture_open(&shared);
    failed += compare() > 0; /* after a rebuild */
    fixture_end(&shared);
    printf("%u passed, %u failed\n", 5 - failed, failed);
    return failed > 0;
}
