/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of a few users come and go on several threads. At no time may more be held than the cap
 * allows, and at the end nothing is held.
 */
#include "auth/caps.h"
#include "auth/secret.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define THREADS 4
#define USERS   3
#define CAP     2
#define ROUNDS  20000

static struct caps *caps;
static atomic_int sessions[USERS];
static atomic_int failures;

static void *run(void *argument)
{
    unsigned seed = *(unsigned *)argument;
    static const char *const names[USERS] = {"a@x", "b@x", "c@x"};
    struct address peer;
    enum status status = address_parse("192.0.2.1:1", &peer);
    assert(status == STATUS_OK);
    (void)status;
    for (int i = 0; i < ROUNDS; i++) {
        unsigned user = (unsigned)rand_r(&seed) % USERS;
        struct caps_session session;
        enum caps_kind kind;
        if (!caps_log_in(caps, names[user], &peer, &session, &kind)) {
            continue;
        }
        if (atomic_fetch_add(&sessions[user], 1) >= CAP) {
            atomic_fetch_add(&failures, 1);
        }
        atomic_fetch_sub(&sessions[user], 1);
        caps_log_out(caps, &session);
    }
    return NULL;
}

int main(void)
{
    const struct caps_config config = {.max = {0, CAP, CAP}, .sessions_max = 16};
    unsigned seed = (unsigned)time(NULL), seeds[THREADS];
    pthread_t threads[THREADS];
    struct caps_numbers numbers;
    (void)printf("seed %u\n", seed);
    if (secret_start() != STATUS_OK || caps_create(&config, &caps) != STATUS_OK) {
        return 1;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = seed + i;
        if (pthread_create(&threads[i], NULL, run, &seeds[i]) != 0) {
            return 1;
        }
    }
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    caps_numbers(caps, &numbers);
    bool good = atomic_load(&failures) == 0 && numbers.held[CAPS_USER] == 0 &&
                numbers.held[CAPS_USER_PREFIX] == 0 && numbers.uncounted == 0;
    (void)printf(
        "refused %llu\n%d passed, %d failed\n",
        (unsigned long long)(numbers.refused[CAPS_USER] + numbers.refused[CAPS_USER_PREFIX]), good,
        !good);
    caps_destroy(&caps);
    return good ? 0 : 1;
}
