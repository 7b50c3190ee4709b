/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth_state.h"
#include "auth/identity.h"
#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/un.h>

static struct stage stage;

/* A request, and what came of it. */
struct probe {
    struct auth_request request;
    enum auth_verdict verdict;
    unsigned answers;
};

static void on_verdict(struct auth_request *request, enum auth_verdict verdict)
{
    struct probe *probe = list_entry(request, struct probe, request);
    probe->verdict = verdict;
    probe->answers++;
}

static void open_stage(void)
{
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .recipient_delimiter = '+',
                                             .hash_threads = 1});
    stage_add_complete(&stage, "demo@localhost", 7);
}

static void close_stage(void)
{
    stage_close(&stage);
}

TestSuite(auth_login, .init = open_stage, .fini = close_stage);

static struct address peer_of(const char *text)
{
    struct address address;
    cr_assert_eq(address_parse(text, &address), STATUS_OK);
    return address;
}

static enum auth_verdict begin(struct probe *probe, const char *name, const char *password)
{
    probe->request.client = &stage.client;
    probe->request.on_verdict = on_verdict;
    probe->answers = 0;
    probe->verdict = auth_login(&probe->request, name, strlen(name), password, strlen(password));
    return probe->verdict;
}

/* Turns until every hashing thread has answered. Delays may still run. */
static void wait_for_hashes(void)
{
    while (stage.client.inflight > 0) {
        loop_turn(stage.loop, -1);
    }
}

/* The verdict as the hash gives it; a failure is then still held back. */
static enum auth_verdict ask(struct probe *probe, const char *name, const char *password)
{
    if (begin(probe, name, password) == AUTH_PENDING) {
        wait_for_hashes();
    }
    return probe->verdict;
}

static struct auth_numbers numbers(void)
{
    struct auth_numbers numbers;
    auth_numbers(stage.auth, &numbers);
    return numbers;
}

Test(auth_login, lets_the_right_password_in_and_remembers_it)
{
    struct probe probe = {0};
    cr_expect_eq(begin(&probe, "Demo", "secret"), AUTH_PENDING);
    wait_for_hashes();
    cr_expect_eq(probe.verdict, AUTH_OK);
    cr_expect_eq(probe.answers, 1);
    cr_expect_str_eq(probe.request.identity.name, "demo@localhost");
    cr_expect_eq(probe.request.identity.drop.id, 7);
    cr_expect_str_eq(probe.request.mechanism, "user");
    struct probe second = {0};
    cr_expect_eq(begin(&second, "demo@LOCALHOST", "secret"), AUTH_OK);
    cr_expect_eq(second.answers, 0);
    cr_expect_eq(second.request.identity.drop.id, 7);
    cr_expect_str_eq(second.request.identity.name, "demo@localhost");
    cr_expect_eq(numbers().hashes, 1);
    cr_expect_eq(numbers().cache_hits, 1);
}

Test(auth_login, a_remembered_login_takes_no_memory)
{
    struct probe probe = {0};
    cr_assert_eq(ask(&probe, "demo", "secret"), AUTH_OK);
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(begin(&probe, "demo", "secret"), AUTH_OK);
    }
    struct mallinfo2 after = mallinfo2();
    cr_expect_eq(before.uordblks, after.uordblks);
    cr_expect_eq(stage.client.inflight, 0);
}

Test(auth_login, holds_every_failure_back_from_the_moment_it_was_asked)
{
    static const char *const tries[][2] = {{"demo", "wrong"},
                                           {"nobody", "secret"},
                                           {"no body", "secret"},
                                           {"demo@elsewhere", "secret"}};
    static const uint32_t delays[] = {2000, 4000, 8000, 15000};
    struct address peer = peer_of("192.0.2.1:1");
    for (size_t i = 0; i < 4; i++) {
        struct probe probe = {.request.peer = &peer};
        cr_expect_eq(ask(&probe, tries[i][0], tries[i][1]), AUTH_PENDING);
        cr_expect_eq(probe.answers, 0);
        cr_expect_eq(probe.request.delay_ms, delays[i]);
        cr_expect(deadline_armed(&probe.request.own.delay));
        cr_expect_eq(probe.request.own.delay.due_ms,
                     probe.request.own.started_ms + (int64_t)delays[i]);
        probe.request.own.delay.on_due(&probe.request.own.delay); /* time passes */
        cr_expect_eq(probe.verdict, AUTH_FAILED);
        auth_cancel(&probe.request);
    }
    cr_expect_eq(numbers().delayed, 4);
    cr_expect_eq(numbers().penalised_prefixes, 1);
    /* Each cost a hash, whether or not there is such a user, or can be. */
    cr_expect_eq(numbers().hashes, 4);
}

Test(auth_login, remembers_failures_alike_for_users_and_strangers)
{
    static const char *const names[] = {"demo", "nobody", "no body"};
    struct address peer = peer_of("192.0.2.1:1");
    for (size_t i = 0; i < 3; i++) {
        struct probe first = {.request.peer = &peer}, second = {.request.peer = &peer};
        cr_expect_eq(ask(&first, names[i], "wrong"), AUTH_PENDING);
        cr_expect_eq(begin(&second, names[i], "wrong"), AUTH_PENDING);
        cr_expect_eq(stage.client.inflight, 0); /* only held back: no thread was asked */
        cr_expect(deadline_armed(&second.request.own.delay));
        cr_expect_eq(second.request.delay_ms,
                     first.request.delay_ms); /* the same does not escalate */
        auth_cancel(&first.request);
        auth_cancel(&second.request);
    }
    cr_expect_eq(numbers().hashes, 3);
    cr_expect_eq(numbers().cache_negative_hits, 3);
}

Test(auth_login, fires_the_delay_by_the_loops_timer)
{
    struct probe probe = {0};
    cr_assert_eq(ask(&probe, "demo", "wrong"), AUTH_PENDING);
    (void)deadline_run(loop_wheel(stage.loop), probe.request.own.delay.due_ms - 100);
    cr_expect_eq(probe.answers, 0);
    (void)deadline_run(loop_wheel(stage.loop), probe.request.own.delay.due_ms + 100);
    cr_expect_eq(probe.answers, 1);
    cr_expect_eq(probe.verdict, AUTH_FAILED);
    cr_expect_str_eq(probe.request.identity.name, "demo@localhost");
}

Test(auth_login, never_holds_back_the_right_password)
{
    struct address peer = peer_of("192.0.2.1:1");
    struct probe wrong = {.request.peer = &peer}, right = {.request.peer = &peer};
    cr_assert_eq(ask(&wrong, "demo", "wrong"), AUTH_PENDING);
    cr_expect_eq(ask(&right, "demo", "secret"), AUTH_OK);
    cr_expect_eq(right.request.delay_ms, 0);
    auth_cancel(&wrong.request);
}

Test(auth_login, says_disabled_only_to_the_right_password)
{
    struct account account;
    cr_assert_eq(account_find(auth_accounts(stage.auth), "demo@localhost", &account), STATUS_OK);
    account.disabled = true;
    (void)snprintf(account.reason, sizeof account.reason, "unpaid");
    cr_assert_eq(account_change(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    struct probe right = {0}, again = {0}, wrong = {0};
    cr_expect_eq(ask(&right, "demo", "secret"), AUTH_DISABLED);
    cr_expect_str_eq(right.request.identity.reason, "unpaid");
    cr_expect_eq(begin(&again, "demo", "secret"), AUTH_DISABLED);
    cr_expect_str_eq(again.request.identity.reason, "unpaid");
    cr_expect_eq(ask(&wrong, "demo", "wrong"), AUTH_PENDING);
    cr_expect_str_eq(wrong.request.identity.reason, "");
    auth_cancel(&wrong.request);
}

Test(auth_login, a_changed_password_counts_at_once)
{
    struct account account;
    struct probe probe = {0};
    cr_assert_eq(ask(&probe, "demo", "secret"), AUTH_OK);
    cr_assert_eq(account_find(auth_accounts(stage.auth), "demo@localhost", &account), STATUS_OK);
    cr_assert_eq(account_set_credential(&account, "{PLAIN}other"), STATUS_OK);
    cr_assert_eq(account_change(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_PENDING);
    auth_cancel(&probe.request);
    cr_expect_eq(ask(&probe, "demo", "other"), AUTH_OK);
    cr_assert_eq(account_remove(auth_accounts(stage.auth), "demo@localhost", NULL), STATUS_OK);
    cr_expect_eq(ask(&probe, "demo", "other"), AUTH_PENDING);
    auth_cancel(&probe.request);
    /* And a name that was refused is good as soon as there is an account of it. */
    stage_add_complete(&stage, "demo@localhost", 9);
    cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_OK);
    cr_expect_eq(probe.request.identity.drop.id, 9);
}

Test(auth_login, two_users_with_one_password_are_two)
{
    struct probe first = {0}, second = {0};
    stage_add_complete(&stage, "other@localhost", 8);
    cr_assert_eq(ask(&first, "demo", "secret"), AUTH_OK);
    cr_expect_eq(begin(&second, "other", "secret"), AUTH_PENDING);
    wait_for_hashes();
    cr_expect_eq(second.verdict, AUTH_OK);
    cr_expect_eq(second.request.identity.drop.id, 8);
}

Test(auth_login, can_be_given_up_at_any_stage)
{
    struct probe probe = {0};
    auth_cancel(&(struct auth_request){.client = &stage.client}); /* never begun */
    cr_assert_eq(begin(&probe, "demo", "secret"), AUTH_PENDING);
    auth_cancel(&probe.request); /* in the queue or on the thread */
    auth_cancel(&probe.request);
    cr_assert_eq(begin(&probe, "nobody", "secret"), AUTH_PENDING);
    while (numbers().hashes < 1) {
        /* the answer is being posted, or was */
    }
    auth_cancel(&probe.request);
    wait_for_hashes();
    cr_expect_eq(probe.answers, 0);
    cr_assert_eq(ask(&probe, "demo", "wrong"), AUTH_PENDING);
    auth_cancel(&probe.request); /* held back */
    cr_expect_not(deadline_armed(&probe.request.own.delay));
    cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_OK); /* and used again */
}

Test(auth_login, passwords_are_octets)
{
    struct account account;
    stage_make_account(&account, "odd@localhost", 3, "{PLAIN} a  b\xff");
    cr_assert_eq(account_add(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    struct probe probe = {0};
    cr_expect_eq(ask(&probe, "odd", " a  b\xff"), AUTH_OK);
    probe.request.client = &stage.client;
    cr_expect_eq(auth_login(&probe.request, "odd", 3, " a  b\xff\0", 7), AUTH_PENDING);
    wait_for_hashes();
    auth_cancel(&probe.request);
    cr_expect_eq(auth_login(&probe.request, NULL, 0, NULL, 0), AUTH_PENDING);
    wait_for_hashes();
    auth_cancel(&probe.request);
}

Test(auth_login, a_password_beyond_the_bound_is_nobodys)
{
    char password[AUTH_PASSWORD_MAX + 2];
    struct probe probe = {0};
    memset(password, 'p', sizeof password - 1);
    password[sizeof password - 1] = '\0';
    cr_expect_eq(ask(&probe, "demo", password), AUTH_PENDING);
    cr_expect(deadline_armed(&probe.request.own.delay));
    auth_cancel(&probe.request);
}

Test(auth_login, an_account_without_a_usable_credential_admits_nobody)
{
    struct account account = {.name = "none@localhost"};
    cr_assert_eq(account_add(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    struct probe probe = {0};
    cr_expect_eq(ask(&probe, "none", ""), AUTH_PENDING);
    cr_expect(deadline_armed(&probe.request.own.delay));
    auth_cancel(&probe.request);
}

Test(auth_login, a_login_adds_the_credentials_that_are_missing)
{
    struct probe probe = {0};
    struct account account = {0};
    stage_add(&stage, "import@localhost", 6, STAGE_SECRET);
    cr_assert_eq(ask(&probe, "import", "secret"), AUTH_OK);
    auth_close(&stage.auth); /* ends the threads when they have done everything */
    struct account_db *db = NULL;
    cr_assert_eq(account_db_open(stage.accounts, &db, NULL), STATUS_OK);
    cr_assert_eq(account_find(db, "import@localhost", &account), STATUS_OK);
    cr_expect_eq(account.credential_count, 4);
    cr_expect_str_eq(account.credentials[0].text, STAGE_SECRET);
    cr_expect_eq(strncmp(account.credentials[1].text, "{CRYPT}$y$", 10), 0);
    cr_expect_eq(strncmp(account.credentials[2].text, "{SCRAM-SHA-256}", 15), 0);
    cr_expect_eq(strncmp(account.credentials[3].text, "{SCRAM-SHA-1}", 13), 0);
    for (uint32_t i = 0; i < account.credential_count; i++) {
        cr_expect_eq(password_verify(account.credentials[i].text, "secret", 6), STATUS_OK);
    }
    cr_expect_eq(account.drop.id, 6);
    /* And one that lacks nothing was left alone. */
    cr_assert_eq(account_find(db, "demo@localhost", &account), STATUS_OK);
    cr_expect_eq(account.credential_count, 3);
    account_db_close(&db);
}

Test(auth_login, who_gets_more_credentials_is_still_remembered)
{
    struct probe probe = {0};
    struct account account = {0};
    stage_add(&stage, "import@localhost", 6, STAGE_SECRET);
    cr_assert_eq(ask(&probe, "import", "secret"), AUTH_OK);
    while (account.credential_count < 4) { /* a hashing thread is at it */
        (void)sched_yield();
        cr_assert_eq(account_find(auth_accounts(stage.auth), "import@localhost", &account),
                     STATUS_OK);
    }
    cr_expect_eq(begin(&probe, "import", "secret"), AUTH_OK);
    cr_expect_eq(numbers().hashes, 1);
}

/* --- with other settings and other databases --- */

Test(auth_login_settings, exempts_loopback_when_told_to)
{
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .hash_threads = 1,
                                             .exempt_loopback = true});
    struct address loopback = peer_of("127.0.0.1:1"), far = peer_of("192.0.2.1:1");
    struct probe near = {.request.peer = &loopback}, other = {.request.peer = &far};
    cr_expect_eq(ask(&near, "demo", "wrong"), AUTH_FAILED);
    cr_expect_eq(near.answers, 1);
    cr_expect_eq(begin(&near, "demo", "wrong"), AUTH_FAILED); /* remembered, and at once */
    cr_expect_eq(near.answers, 0);
    cr_expect_eq(ask(&other, "demo", "wrong"), AUTH_PENDING);
    auth_cancel(&other.request);
    stage_close(&stage);
}

/* A database that answers when the test says so. */
struct late_passdb {
    struct passdb passdb;
    struct passdb_query *_Atomic query;
};

static enum status late_find(struct passdb *passdb, struct passdb_query *query)
{
    atomic_store(&((struct late_passdb *)(void *)passdb)->query, query);
    return STATUS_PENDING;
}

static enum status late_domain(struct passdb *passdb, const char *domain, size_t length,
                               bool *out_exists)
{
    (void)passdb;
    *out_exists = length > 0 && domain[0] != '.';
    return STATUS_OK;
}

static enum status late_count(struct passdb *passdb, uint64_t *out_count)
{
    (void)passdb;
    (void)out_count; /* it does not know */
    return STATUS_UNSUPPORTED;
}

static const struct passdb_ops late_ops = {.name = "late",
                                           .may_block = true,
                                           .find = late_find,
                                           .domain_exists = late_domain,
                                           .count = late_count};

/* A login given up before that leaves the queue, and the database is never asked. */
static void wait_until_asked(const struct late_passdb *late)
{
    while (atomic_load(&late->query) == NULL) {
        (void)sched_yield(); /* a hashing thread is on its way */
    }
}

/* Waits until the database has been asked, and answers. */
static void answer(struct late_passdb *late, enum status status)
{
    wait_until_asked(late);
    struct passdb_query *query = atomic_exchange(&late->query, NULL);
    if (status == STATUS_OK) {
        stage_make_account(&query->account, query->identity.name, 5, STAGE_SECRET);
    }
    query->on_answer(query, status);
}

Test(auth_login_settings, waits_for_a_database_that_answers_late)
{
    struct late_passdb late = {.passdb = {&late_ops}};
    stage_open(&stage, &(struct auth_config){.default_domain = "x",
                                             .sources = STAGE_ONLY(&late.passdb),
                                             .source_count = 1});
    cr_expect_not_null(auth_accounts(stage.auth));
    struct probe probe = {0};
    cr_assert_eq(begin(&probe, "demo", "secret"), AUTH_PENDING);
    answer(&late, STATUS_OK);
    wait_for_hashes();
    cr_expect_eq(probe.verdict, AUTH_OK);
    cr_expect_eq(probe.request.identity.drop.id, 5);
    /* Unreachable: neither in nor refused, and not remembered. */
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(begin(&probe, "other", "secret"), AUTH_PENDING);
        answer(&late, STATUS_IO);
        wait_for_hashes();
        cr_expect_eq(probe.verdict, AUTH_UNAVAILABLE);
    }
    cr_assert_eq(begin(&probe, "nobody", "secret"), AUTH_PENDING);
    answer(&late, STATUS_NOT_FOUND);
    wait_for_hashes();
    cr_expect(deadline_armed(&probe.request.own.delay));
    auth_cancel(&probe.request);
    /* Given up while the database thinks. */
    cr_assert_eq(begin(&probe, "gone", "secret"), AUTH_PENDING);
    wait_until_asked(&late);
    auth_cancel(&probe.request);
    cr_expect_eq(stage.client.inflight, 0);
    probe.answers = 0;
    answer(&late, STATUS_OK);
    stage_close_client(&stage);
    cr_expect_eq(probe.answers, 0);
    auth_close(&stage.auth);
    stage_remove_folder(stage.accounts);
    stage_remove_folder(stage.folder);
}

Test(auth_login_settings, equal_credentials_share_one_verification)
{
    struct late_passdb late = {.passdb = {&late_ops}};
    struct probe probes[5] = {0};
    stage_open(&stage, &(struct auth_config){.default_domain = "x",
                                             .sources = STAGE_ONLY(&late.passdb),
                                             .source_count = 1});
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(begin(&probes[i], "demo", "secret"), AUTH_PENDING);
    }
    auth_cancel(&probes[0].request); /* the one that began it; the others get their answer */
    answer(&late, STATUS_OK);
    wait_for_hashes();
    cr_expect_eq(probes[0].answers, 0);
    for (size_t i = 1; i < 5; i++) {
        cr_expect_eq(probes[i].answers, 1);
        cr_expect_eq(probes[i].verdict, AUTH_OK);
        cr_expect_eq(probes[i].request.identity.drop.id, 5);
    }
    cr_expect_eq(numbers().hashes, 1);
    stage_close(&stage);
}

Test(auth_login_settings, refuses_what_the_queue_cannot_take)
{
    struct late_passdb late = {.passdb = {&late_ops}};
    stage_open(&stage, &(struct auth_config){.default_domain = "x",
                                             .hash_threads = 1,
                                             .hash_queue_max = 1,
                                             .sources = STAGE_ONLY(&late.passdb),
                                             .source_count = 1});
    struct probe probes[64] = {0};
    char name[16];
    unsigned refused = 0;
    struct probe *last = NULL;
    for (size_t i = 0; i < 64; i++) {
        (void)snprintf(name, sizeof name, "no body%zu", i); /* hashed without asking the database */
        enum auth_verdict verdict = begin(&probes[i], name, "secret");
        refused += verdict == AUTH_UNAVAILABLE;
        last = verdict == AUTH_PENDING ? &probes[i] : last;
    }
    cr_expect_gt(refused, 50);
    cr_expect_eq(numbers().hash_refused, refused);
    cr_expect_not_null(last);
    wait_for_hashes();
    for (size_t i = 0; i < 64; i++) {
        auth_cancel(&probes[i].request);
    }
    stage_close(&stage);
}

Test(auth_login_settings, a_database_that_never_answers_is_not_waited_for)
{
    struct late_passdb late = {.passdb = {&late_ops}};
    stage_open(&stage, &(struct auth_config){.default_domain = "x",
                                             .sources = STAGE_ONLY(&late.passdb),
                                             .source_count = 1});
    struct probe probe = {0};
    cr_assert_eq(begin(&probe, "demo", "secret"), AUTH_PENDING);
    wait_until_asked(&late);
    struct deadline *due = &probe.request.own.delay;
    cr_assert(deadline_armed(due));
    cr_expect_eq(due->due_ms, probe.request.own.started_ms + AUTH_ANSWER_MAX_S * INT64_C(1000));
    cr_expect_eq(probe.answers, 0);
    deadline_disarm(loop_wheel(stage.loop), due);
    due->on_due(due); /* time passes; not by the wheel, which would then be ahead of the clock */
    cr_expect_eq(probe.answers, 1);
    cr_expect_eq(probe.verdict, AUTH_UNAVAILABLE);
    cr_expect_eq(stage.client.inflight, 0);
    /* When the answer comes in the end it is remembered all the same. */
    answer(&late, STATUS_OK);
    cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_OK); /* or its hash is waited for */
    cr_expect_null(atomic_load(&late.query));
    cr_expect_eq(probe.request.identity.drop.id, 5);
    cr_expect_eq(numbers().hashes, 1);
    stage_close(&stage);
}

/* --- what is given up --- */

/* A database that holds its thread until the test lets it go: what comes later waits. */
struct slow_passdb {
    struct passdb passdb;
    sem_t asked, go_on;
};

static enum status slow_find(struct passdb *passdb, struct passdb_query *query)
{
    struct slow_passdb *slow = (struct slow_passdb *)(void *)passdb;
    sem_post(&slow->asked);
    sem_wait(&slow->go_on);
    stage_make_account(&query->account, query->identity.name, 5, "{PLAIN}secret");
    return STATUS_OK;
}

static const struct passdb_ops slow_ops = {.name = "slow",
                                           .may_block = true,
                                           .find = slow_find,
                                           .domain_exists = late_domain,
                                           .count = late_count};

static struct slow_passdb slow;

static void open_slow(void)
{
    slow.passdb.ops = &slow_ops;
    sem_init(&slow.asked, 0, 0);
    sem_init(&slow.go_on, 0, 0);
    stage_open(&stage, &(struct auth_config){.default_domain = "x",
                                             .hash_threads = 1,
                                             .hash_queue_max = 2,
                                             .sources = STAGE_ONLY(&slow.passdb),
                                             .source_count = 1});
}

TestSuite(auth_login_queue, .init = open_slow, .fini = close_stage);

/* One login that keeps the only thread busy. */
static void occupy(struct probe *probe)
{
    cr_assert_eq(begin(probe, "first", "secret"), AUTH_PENDING);
    sem_wait(&slow.asked);
}

Test(auth_login_queue, a_login_given_up_frees_its_place_at_once)
{
    struct probe busy = {0}, gone = {0}, kept = {0};
    char name[16];
    occupy(&busy);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "user%d", i);
        cr_assert_eq(begin(&gone, name, "secret"), AUTH_PENDING, "%s", name);
        auth_cancel(&gone.request);
    }
    cr_expect_eq(numbers().hash_waiting, 0);
    cr_expect_eq(numbers().hash_refused, 0);
    cr_expect_eq(stage.client.inflight, 1);
    cr_assert_eq(begin(&kept, "kept", "secret"), AUTH_PENDING);
    sem_post(&slow.go_on);
    sem_post(&slow.go_on);
    wait_for_hashes();
    cr_expect_eq(busy.verdict, AUTH_OK);
    cr_expect_eq(kept.verdict, AUTH_OK);
    cr_expect_eq(gone.answers, 0);
    cr_expect_eq(numbers().hashes, 2); /* nothing was verified for nobody */
}

Test(auth_login_queue, a_login_that_others_wait_for_too_keeps_its_place)
{
    struct probe busy = {0}, gone = {0}, kept = {0};
    occupy(&busy);
    cr_assert_eq(begin(&gone, "user", "secret"), AUTH_PENDING);
    cr_assert_eq(begin(&kept, "user", "secret"), AUTH_PENDING);
    auth_cancel(&gone.request);
    cr_expect_eq(numbers().hash_waiting, 1);
    sem_post(&slow.go_on);
    sem_post(&slow.go_on);
    wait_for_hashes();
    cr_expect_eq(kept.verdict, AUTH_OK);
    cr_expect_eq(gone.answers, 0);
}

Test(auth_login_queue, one_given_up_while_its_database_is_asked_goes_on)
{
    struct probe busy = {0};
    occupy(&busy);
    auth_cancel(&busy.request);
    cr_expect_eq(stage.client.inflight, 0);
    sem_post(&slow.go_on);
    cr_expect_eq(ask(&busy, "first", "secret"), AUTH_OK);
    cr_expect_eq(numbers().hashes, 1); /* joined it or found it remembered */
}

Test(auth_login_settings, whoever_is_remembered_gets_in_while_the_database_is_down)
{
    struct late_passdb late = {.passdb = {&late_ops}};
    stage_open(&stage, &(struct auth_config){.default_domain = "x",
                                             .cache_ttl_s = 1,
                                             .sources = STAGE_ONLY(&late.passdb),
                                             .source_count = 1});
    struct probe probe = {0};
    cr_assert_eq(begin(&probe, "demo", "secret"), AUTH_PENDING);
    answer(&late, STATUS_OK);
    wait_for_hashes();
    cr_assert_eq(probe.verdict, AUTH_OK);
    int64_t over_ms = auth_clock_us() / 1000 + 1000;
    while (loop_now_ms(stage.loop) <= over_ms) {
        loop_turn(stage.loop, 50); /* the shortest time there is to remember */
    }
    for (unsigned i = 0; i < AUTH_DATABASE_FAILURES; i++) {
        cr_assert_eq(begin(&probe, "demo", "secret"), AUTH_PENDING);
        answer(&late, STATUS_TIMEOUT);
        wait_for_hashes();
        cr_expect_eq(probe.verdict, AUTH_OK);
        cr_expect_eq(probe.request.identity.drop.id, 5);
    }
    /* It rests now: nobody is asked, and the same holds. */
    cr_expect_eq(numbers().databases_down, 1);
    cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_OK);
    cr_expect_eq(ask(&probe, "demo", "wrong"), AUTH_UNAVAILABLE);
    cr_expect_eq(ask(&probe, "other", "secret"), AUTH_UNAVAILABLE);
    cr_expect_eq(numbers().stale, AUTH_DATABASE_FAILURES + 1);
    cr_expect_null(atomic_load(&late.query));
    stage_close(&stage);
}

/* --- masters and terms --------------------------------------------------------------------------
 */

static void open_masters(void)
{
    struct account account;
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .master_separator = '*',
                                             .name_separators = "%",
                                             .hash_threads = 1});
    stage_add_complete(&stage, "demo@localhost", 7);
    stage_make_account(&account, "admin@localhost", 0, "{PLAIN}masterly");
    cr_assert_eq(account_master_add(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
}

TestSuite(auth_login_master, .init = open_masters, .fini = close_stage);

Test(auth_login_master, acts_for_a_user_with_his_own_password)
{
    struct probe probe = {0};
    cr_expect_eq(ask(&probe, "Demo%localhost*Admin", "masterly"), AUTH_OK);
    cr_expect_str_eq(probe.request.identity.name, "demo@localhost");
    cr_expect_str_eq(probe.request.identity.master, "admin@localhost");
    cr_expect_eq(probe.request.identity.drop.id, 7);
    cr_expect_eq(begin(&probe, "demo*admin", "masterly"), AUTH_OK); /* remembered */
    cr_expect_str_eq(probe.request.identity.master, "admin@localhost");
    cr_expect_eq(numbers().master_logins, 2);
    cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_OK);
    cr_expect_str_eq(probe.request.identity.master, "");
    probe.request.client = &stage.client;
    cr_expect_eq(auth_login_as(&probe.request, "demo", 4, "admin", 5, "masterly", 8), AUTH_OK);
    cr_expect_str_eq(probe.request.identity.master, "admin@localhost");
}

Test(auth_login_master, nothing_else_lets_him_in)
{
    static const char *const tries[][2] = {
        {"demo*admin", "secret"},     {"demo*demo", "secret"}, {"nobody*admin", "masterly"},
        {"admin", "masterly"},        {"demo", "masterly"},    {"demo*nobody", "masterly"},
        {"demo*admin@x", "masterly"}, {"*admin", "masterly"},  {"demo*", "secret"},
    };
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        struct probe probe = {0};
        cr_expect_eq(ask(&probe, tries[i][0], tries[i][1]), AUTH_PENDING, "%s", tries[i][0]);
        cr_expect(deadline_armed(&probe.request.own.delay));
        auth_cancel(&probe.request);
    }
    cr_expect_eq(numbers().master_logins, 0);
    cr_expect_eq(numbers().hashes, sizeof tries / sizeof tries[0]);
}

Test(auth_login_master, loses_it_at_once)
{
    struct probe probe = {0};
    struct account account;
    struct account_db *accounts = auth_accounts(stage.auth);
    cr_assert_eq(ask(&probe, "demo*admin", "masterly"), AUTH_OK);
    cr_assert_eq(account_master_find(accounts, "admin@localhost", &account), STATUS_OK);
    account.tls_required = true;
    cr_assert_eq(account_master_change(accounts, &account, NULL), STATUS_OK);
    cr_expect_eq(ask(&probe, "demo*admin", "masterly"), AUTH_DISABLED);
    probe.request.tls = true;
    cr_expect_eq(ask(&probe, "demo*admin", "masterly"), AUTH_OK);
    cr_assert_eq(account_master_remove(accounts, "admin@localhost", NULL), STATUS_OK);
    cr_expect_eq(ask(&probe, "demo*admin", "masterly"), AUTH_PENDING);
    auth_cancel(&probe.request);
}

Test(auth_login_master, the_owners_terms_are_not_his)
{
    struct account account;
    struct probe probe = {0};
    cr_assert_eq(account_find(auth_accounts(stage.auth), "demo@localhost", &account), STATUS_OK);
    account.disabled = true;
    cr_assert_eq(account_change(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_DISABLED);
    cr_expect_eq(ask(&probe, "demo*admin", "masterly"), AUTH_OK);
}

Test(auth_login_master, the_terms_are_asked_for_each_connection_and_after_the_password_only)
{
    struct account account;
    struct address near = peer_of("192.0.2.1:1"), far = peer_of("198.51.100.1:1");
    struct probe probe = {0};
    cr_assert_eq(account_find(auth_accounts(stage.auth), "demo@localhost", &account), STATUS_OK);
    account.tls_required = true;
    cr_assert_eq(terms_parse_networks("192.0.2.0/24", 12, &account), STATUS_OK);
    cr_assert_eq(account_change(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    for (int round = 0; round < 2; round++) { /* found out, then remembered */
        probe.request.peer = &near;
        probe.request.tls = true;
        cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_OK);
        cr_expect_str_eq(probe.request.identity.reason, "");
        probe.request.tls = false;
        cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_DISABLED);
        cr_expect(strstr(probe.request.identity.reason, "TLS") != NULL);
        probe.request.tls = true;
        probe.request.peer = &far;
        cr_expect_eq(ask(&probe, "demo", "secret"), AUTH_DISABLED);
        cr_expect(strstr(probe.request.identity.reason, "address") != NULL);
        cr_expect_eq(ask(&probe, "demo", "wrong"), AUTH_PENDING);
        cr_expect_str_eq(probe.request.identity.reason, "");
        auth_cancel(&probe.request);
    }
    cr_expect_eq(numbers().hashes, 2);
}
