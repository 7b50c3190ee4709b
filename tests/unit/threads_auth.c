/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins from several workers at once, while accounts change under them and requests are given up.
 * What must hold whatever the interleaving: nobody is let in with a password that was not the
 * account's at some moment of the request, nobody with the right one is refused, no answer comes to
 * a request given up, each other request is answered once, and a password changed before a login
 * began is not let in any more.
 */
#include "auth/account.h"
#include "auth/auth.h"
#include "tests/unit/auth_stage.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define WORKERS  3
#define USERS    8
#define ROUNDS   400
#define AT_ONCE  6
#define CHANGES  60
#define CHANGING 0 /* the user whose password the main thread changes */

struct attempt {
    struct auth_request request;
    struct worker *worker;
    unsigned user;
    bool is_right;
    unsigned answers;
    enum auth_verdict verdict;
    unsigned version; /* of the changing user's password */
};

struct worker {
    pthread_t thread;
    struct stage stage; /* `auth` is shared */
    uint64_t seed;
    unsigned failures;
};

static atomic_uint version_floor; /* versions below are gone for good */
static atomic_uint version_top;   /* versions above have not been thought of */
static atomic_bool is_over;       /* no more changes will come */

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void complain(struct worker *worker, const struct attempt *attempt, const char *what)
{
    worker->failures++;
    (void)printf("user %u, %s password: %s (%s)\n", attempt->user,
                 attempt->is_right ? "right" : "wrong", what, auth_verdict_name(attempt->verdict));
}

static void on_verdict(struct auth_request *request, enum auth_verdict verdict)
{
    struct attempt *attempt = list_entry(request, struct attempt, request);
    attempt->answers++;
    attempt->verdict = verdict;
}

static void begin(struct worker *worker, struct attempt *attempt)
{
    char name[32], password[32];
    *attempt = (struct attempt){
        .worker = worker, .request = {.client = &worker->stage.client, .on_verdict = on_verdict}};
    attempt->user = (unsigned)(next_random(&worker->seed) % USERS);
    attempt->is_right = next_random(&worker->seed) % 4 != 0;
    attempt->version = atomic_load(&version_floor);
    (void)snprintf(name, sizeof name, "user%u", attempt->user);
    if (attempt->user == CHANGING) {
        /* Now and then the one before: it is gone. */
        attempt->is_right = attempt->is_right || attempt->version == 0;
        (void)snprintf(password, sizeof password, "p%u",
                       attempt->is_right ? attempt->version : attempt->version - 1);
    } else {
        (void)snprintf(password, sizeof password, attempt->is_right ? "secret" : "wrong%u",
                       (unsigned)(next_random(&worker->seed) % 12));
    }
    attempt->verdict =
        auth_login(&attempt->request, name, strlen(name), password, strlen(password));
    attempt->answers = attempt->verdict != AUTH_PENDING;
}

/* After every answer that will come has come. */
static void judge(struct worker *worker, struct attempt *attempt, bool given_up)
{
    bool held_back = attempt->answers == 0 && deadline_armed(&attempt->request.own.delay);
    if (given_up) {
        if (attempt->answers > 0) {
            complain(worker, attempt, "answered though given up");
        }
        return;
    }
    if (attempt->answers != 1 && !held_back) {
        complain(worker, attempt, "not answered once");
    } else if (!held_back && attempt->verdict == AUTH_UNAVAILABLE) {
        return; /* the queue was full */
    } else if (attempt->user == CHANGING && attempt->is_right) {
        /* It may have been changed meanwhile; if not, it must have been let in. */
        if (attempt->verdict != AUTH_OK && atomic_load(&version_top) == attempt->version) {
            complain(worker, attempt, "the right password was refused");
        }
    } else if ((attempt->verdict == AUTH_OK) != attempt->is_right) {
        complain(worker, attempt, attempt->is_right ? "refused" : "let in");
    } else if (attempt->is_right && attempt->request.identity.drop.id != attempt->user + 1) {
        complain(worker, attempt, "somebody else's maildrop");
    }
    auth_cancel(&attempt->request);
}

static void run_round(struct worker *worker)
{
    struct attempt attempts[AT_ONCE];
    bool given_up[AT_ONCE] = {false};
    for (size_t i = 0; i < AT_ONCE; i++) {
        begin(worker, &attempts[i]);
    }
    if (next_random(&worker->seed) % 2 == 0) {
        loop_turn(worker->stage.loop, 0);
    }
    size_t victim = next_random(&worker->seed) % AT_ONCE;
    if (attempts[victim].answers == 0) {
        given_up[victim] = true;
        auth_cancel(&attempts[victim].request);
    }
    while (worker->stage.client.inflight > 0) {
        loop_turn(worker->stage.loop, 1000);
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        judge(worker, &attempts[i], given_up[i]);
    }
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    stage_open_client(&worker->stage);
    for (unsigned round = 0; round < ROUNDS || !atomic_load(&is_over); round++) {
        run_round(worker);
    }
    stage_close_client(&worker->stage);
    return NULL;
}

static void set_password(struct account_db *db, unsigned version)
{
    struct account account;
    char credential[32];
    enum status status = account_find(db, "user0@localhost", &account);
    assert(status == STATUS_OK);
    (void)snprintf(credential, sizeof credential, "{PLAIN}p%u", version);
    status = account_set_credential(&account, credential);
    assert(status == STATUS_OK);
    status = account_change(db, &account, NULL);
    assert(status == STATUS_OK);
    (void)status;
}

/* Changes one account's password again and again, drops what is remembered, and looks at figures.
 */
static void disturb(struct auth *auth)
{
    struct auth_numbers numbers;
    for (unsigned version = 1; version <= CHANGES; version++) {
        atomic_store(&version_top, version);
        set_password(auth_accounts(auth), version);
        atomic_store(&version_floor, version);
        if (version % 8 == 0) {
            auth_forget(auth, version % 16 == 0 ? NULL : "user1@localhost");
        }
        auth_numbers(auth, &numbers);
    }
}

int main(void)
{
    static struct stage stage;
    static struct worker workers[WORKERS];
    struct timespec now;
    char name[32];
    unsigned failures = 0;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = (uint64_t)now.tv_nsec << 1 | 1;
    (void)printf("seed %llu\n", (unsigned long long)seed);
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 2,
                                             .hash_queue_max = 8,
                                             .cache_entries_max = 1});
    for (unsigned i = 0; i < USERS; i++) {
        (void)snprintf(name, sizeof name, "user%u@localhost", i);
        stage_add(&stage, name, i + 1, i == CHANGING ? "{PLAIN}p0" : STAGE_SECRET);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].stage.auth = stage.auth;
        workers[i].seed = seed + 2 * i * 1000003;
        int result = pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]);
        assert(result == 0);
        (void)result;
    }
    disturb(stage.auth);
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        failures += workers[i].failures;
    }
    struct auth_numbers numbers;
    auth_numbers(stage.auth, &numbers);
    (void)printf("hits %llu, misses %llu, hashes %llu, refused %llu\n",
                 (unsigned long long)numbers.cache_hits, (unsigned long long)numbers.cache_misses,
                 (unsigned long long)numbers.hashes, (unsigned long long)numbers.hash_refused);
    stage_close(&stage);
    (void)printf("%u passed, %u failed\n", failures == 0 ? 1 : 0, failures);
    return failures == 0 ? 0 : 1;
}
