/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passdb_order.h"

#include "auth/auth.h"
#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>
#include <semaphore.h>

enum answer { NOBODY, SOMEBODY, LATE_NOBODY, LATE_SOMEBODY, DOWN, LATE_DOWN };

/* A database that answers as the test wants: at once, late from another thread, or not at all. */
struct odd_passdb {
    struct passdb passdb;
    struct passdb_ops ops;
    _Atomic enum answer answer;
    atomic_uint asked;
    struct passdb_query *_Atomic query; /* to be answered late */
    bool is_stopped, is_destroyed, is_completed;
    uint64_t id;
};

static struct odd_passdb databases[3];
static struct passdb_order order;
static struct verify *verify;
static sem_t answered;
static enum status answer_status;
static char notices[256];

static enum status plain_answer(struct odd_passdb *odd, struct passdb_query *query,
                                enum answer answer)
{
    if (answer == DOWN || answer == LATE_DOWN) {
        return STATUS_TIMEOUT;
    }
    if (answer == NOBODY || answer == LATE_NOBODY) {
        return STATUS_NOT_FOUND;
    }
    stage_make_account(&query->account, "another@name", odd->id, STAGE_SECRET);
    return STATUS_OK;
}

static enum status odd_find(struct passdb *passdb, struct passdb_query *query)
{
    struct odd_passdb *odd = (struct odd_passdb *)(void *)passdb;
    enum answer answer = atomic_load(&odd->answer);
    atomic_fetch_add(&odd->asked, 1);
    if (answer == LATE_NOBODY || answer == LATE_SOMEBODY || answer == LATE_DOWN) {
        atomic_store(&odd->query, query);
        return STATUS_PENDING;
    }
    return plain_answer(odd, query, answer);
}

static enum status odd_domain(struct passdb *passdb, const char *domain, size_t length,
                              bool *out_exists)
{
    struct odd_passdb *odd = (struct odd_passdb *)(void *)passdb;
    if (atomic_load(&odd->answer) == DOWN) {
        return STATUS_TIMEOUT;
    }
    *out_exists = length == 1 && domain[0] == (char)('0' + odd->id);
    return STATUS_OK;
}

static enum status odd_count(struct passdb *passdb, uint64_t *out_count)
{
    *out_count = ((struct odd_passdb *)(void *)passdb)->id;
    return STATUS_OK;
}

static enum status odd_complete(struct passdb *passdb, const struct account *account)
{
    (void)account;
    ((struct odd_passdb *)(void *)passdb)->is_completed = true;
    return STATUS_OK;
}

static void odd_stop(struct passdb *passdb)
{
    ((struct odd_passdb *)(void *)passdb)->is_stopped = true;
}

static void odd_destroy(struct passdb *passdb)
{
    ((struct odd_passdb *)(void *)passdb)->is_destroyed = true;
}

static void on_notice(void *owner, const struct auth_notice *notice)
{
    (void)owner;
    size_t length = strlen(notices);
    (void)snprintf(notices + length, sizeof notices - length, "%s:%s ", notice->database,
                   notice->event);
}

static void start(void)
{
    static const char *const names[] = {"first", "second", "third"};
    cr_assert_eq(verify_create(1, 100, &verify), STATUS_OK);
    passdb_order_init(&order, on_notice, NULL);
    for (unsigned i = 0; i < 3; i++) {
        struct odd_passdb *odd = &databases[i];
        odd->ops = (struct passdb_ops){.name = names[i],
                                       .may_block = i != 0,
                                       .find = odd_find,
                                       .domain_exists = odd_domain,
                                       .count = odd_count,
                                       .complete = i == 1 ? odd_complete : NULL,
                                       .stop = odd_stop,
                                       .destroy = odd_destroy};
        odd->passdb.ops = &odd->ops;
        odd->id = i + 1;
        cr_assert_eq(passdb_order_add(&order, &odd->passdb), STATUS_OK);
    }
    passdb_order_set_verify(&order, verify);
    cr_assert(order.passdb.ops->may_block);
    (void)sem_init(&answered, 0, 0);
}

static void stop(void)
{
    verify_destroy(&verify);
    passdb_order_stop(&order);
    passdb_order_destroy(&order);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect(databases[i].is_stopped && databases[i].is_destroyed);
    }
    passdb_order_destroy(&order);
}

TestSuite(passdb_order, .init = start, .fini = stop);

static void on_answer(struct passdb_query *query, enum status status)
{
    (void)query;
    answer_status = status;
    (void)sem_post(&answered);
}

static void answers(enum answer first, enum answer second, enum answer third)
{
    atomic_store(&databases[0].answer, first);
    atomic_store(&databases[1].answer, second);
    atomic_store(&databases[2].answer, third);
}

static enum status find(struct passdb_query *query)
{
    *query = (struct passdb_query){.on_answer = on_answer};
    cr_assert_eq(identity_from_login("demo@x", 6, NULL, &query->identity), STATUS_OK);
    return order.passdb.ops->find(&order.passdb, query);
}

/* Answers the question that a database was asked, when it has been. */
static void answer_late(struct odd_passdb *odd)
{
    struct passdb_query *query;
    while ((query = atomic_exchange(&odd->query, NULL)) == NULL) {
        /* a hashing thread is on its way */
    }
    query->on_answer(query, plain_answer(odd, query, atomic_load(&odd->answer)));
}

Test(passdb_order, the_first_that_knows_a_name_answers_for_it)
{
    struct passdb_query query;
    answers(NOBODY, SOMEBODY, SOMEBODY);
    cr_assert_eq(find(&query), STATUS_OK);
    cr_expect_eq(query.account.drop.id, 2);
    cr_expect_str_eq(query.account.name, "demo@x");
    cr_expect_eq(query.account.source, 1);
    cr_expect_eq(atomic_load(&databases[2].asked), 0);
    answers(NOBODY, NOBODY, NOBODY);
    cr_expect_eq(find(&query), STATUS_NOT_FOUND);
    cr_expect_eq(atomic_load(&databases[2].asked), 1);
}

Test(passdb_order, goes_on_behind_a_late_answer_on_a_hashing_thread)
{
    struct passdb_query query;
    answers(NOBODY, LATE_NOBODY, LATE_SOMEBODY);
    cr_assert_eq(find(&query), STATUS_PENDING);
    answer_late(&databases[1]);
    answer_late(&databases[2]);
    (void)sem_wait(&answered);
    cr_expect_eq(answer_status, STATUS_OK);
    cr_expect_eq(query.account.drop.id, 3);
    cr_expect_eq(query.account.source, 2);
    answers(NOBODY, LATE_NOBODY, NOBODY);
    cr_assert_eq(find(&query), STATUS_PENDING);
    answer_late(&databases[1]);
    (void)sem_wait(&answered);
    cr_expect_eq(answer_status, STATUS_NOT_FOUND);
}

Test(passdb_order, one_that_cannot_tell_ends_the_search)
{
    struct passdb_query query;
    answers(NOBODY, DOWN, SOMEBODY);
    cr_expect_eq(find(&query), STATUS_TIMEOUT);
    cr_expect_eq(atomic_load(&databases[2].asked), 0);
    answers(NOBODY, LATE_DOWN, SOMEBODY);
    cr_assert_eq(find(&query), STATUS_PENDING);
    answer_late(&databases[1]);
    (void)sem_wait(&answered);
    cr_expect_eq(answer_status, STATUS_TIMEOUT);
    cr_expect_eq(atomic_load(&databases[2].asked), 0);
    answers(SOMEBODY, DOWN, SOMEBODY);
    cr_expect_eq(find(&query), STATUS_OK); /* who is known further up is not concerned */
}

Test(passdb_order, one_that_is_down_is_left_alone_and_tried_again)
{
    struct passdb_query query;
    answers(NOBODY, DOWN, NOBODY);
    for (int i = 0; i < AUTH_DATABASE_FAILURES; i++) {
        cr_expect_eq(passdb_order_down(&order), 0);
        cr_expect_eq(find(&query), STATUS_TIMEOUT);
    }
    cr_expect_eq(passdb_order_down(&order), 1);
    cr_expect_str_eq(notices, "second:database_down ");
    answers(NOBODY, SOMEBODY, NOBODY);
    cr_expect_eq(find(&query), STATUS_TIMEOUT);
    cr_expect_eq(atomic_load(&databases[1].asked), AUTH_DATABASE_FAILURES);
    atomic_store(&order.seats[1].rests_until_ms, 1); /* the rest is over */
    answers(NOBODY, LATE_SOMEBODY, NOBODY);
    cr_assert_eq(find(&query), STATUS_PENDING);
    struct passdb_query other;
    cr_expect_eq(find(&other), STATUS_TIMEOUT); /* one tries, the others do not wait */
    answer_late(&databases[1]);
    (void)sem_wait(&answered);
    cr_expect_eq(answer_status, STATUS_OK);
    cr_expect_eq(passdb_order_down(&order), 0);
    cr_expect_str_eq(notices, "second:database_down second:database_up ");
}

Test(passdb_order, one_from_memory_never_rests)
{
    struct passdb_query query;
    answers(DOWN, NOBODY, NOBODY);
    for (int i = 0; i < 10; i++) {
        cr_expect_eq(find(&query), STATUS_TIMEOUT);
    }
    cr_expect_eq(atomic_load(&databases[0].asked), 10);
    cr_expect_str_eq(notices, "");
}

Test(passdb_order, knows_the_domains_and_the_number_of_all)
{
    struct passdb *all = &order.passdb;
    uint64_t count = 0;
    bool exists = false;
    answers(NOBODY, NOBODY, NOBODY);
    cr_expect_eq(all->ops->count(all, &count), STATUS_OK);
    cr_expect_eq(count, 6);
    cr_expect_eq(all->ops->domain_exists(all, "3", 1, &exists), STATUS_OK);
    cr_expect(exists);
    cr_expect_eq(all->ops->domain_exists(all, "4", 1, &exists), STATUS_OK);
    cr_expect_not(exists);
    answers(NOBODY, DOWN, NOBODY);
    cr_expect_eq(all->ops->domain_exists(all, "3", 1, &exists), STATUS_OK);
    cr_expect(exists);
    cr_expect_eq(all->ops->domain_exists(all, "4", 1, &exists), STATUS_TIMEOUT);
}

Test(passdb_order, only_the_one_that_knows_an_account_is_written)
{
    struct account account = {.source = 1};
    cr_expect(passdb_order_is_written(&order, &account));
    cr_expect_eq(order.passdb.ops->complete(&order.passdb, &account), STATUS_OK);
    cr_expect(databases[1].is_completed);
    account.source = 0;
    cr_expect_not(passdb_order_is_written(&order, &account));
    cr_expect_eq(order.passdb.ops->complete(&order.passdb, &account), STATUS_UNSUPPORTED);
    account.source = 9;
    cr_expect_not(passdb_order_is_written(&order, &account));
}

Test(passdb_order, there_is_an_end_to_the_number_of_databases)
{
    for (unsigned i = 3; i < AUTH_SOURCES_MAX; i++) {
        cr_expect_eq(passdb_order_add(&order, &databases[0].passdb), STATUS_OK);
    }
    cr_expect_eq(passdb_order_add(&order, &databases[0].passdb), STATUS_LIMIT);
}
