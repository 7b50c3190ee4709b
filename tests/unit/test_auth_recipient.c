/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account_alias.h"
#include "auth/account_state.h"
#include "auth/passdb.h"
#include "storage/bytes.h"
#include "tests/unit/auth_stage.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>

static struct stage stage;

struct probe {
    struct auth_lookup lookup;
    enum status status;
    unsigned answers;
};

static void on_done(struct auth_lookup *lookup, enum status status)
{
    struct probe *probe = list_entry(lookup, struct probe, lookup);
    probe->status = status;
    probe->answers++;
}

static enum status ask(struct probe *probe, const char *address)
{
    *probe = (struct probe){.lookup = {.client = &stage.client, .on_done = on_done}};
    probe->status = auth_find_recipient(&probe->lookup, address, strlen(address));
    return probe->status;
}

static void expect(const char *address, enum status status, uint64_t id)
{
    struct probe probe;
    cr_expect_eq(ask(&probe, address), status, "%s: %s", address, status_name(probe.status));
    if (status == STATUS_OK) {
        cr_expect_eq(probe.lookup.identity.drop.id, id, "%s", address);
    }
}

static void open_stage(void)
{
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .recipient_delimiter = '+',
                                             .hash_threads = 1});
    stage_add(&stage, "demo@localhost", 1, STAGE_SECRET);
    stage_add(&stage, "demo+list@localhost", 2, STAGE_SECRET);
    stage_add(&stage, "demo@example.org", 3, STAGE_SECRET);
}

static void close_stage(void)
{
    stage_close(&stage);
}

TestSuite(auth_recipient, .init = open_stage, .fini = close_stage);

Test(auth_recipient, finds_an_exact_match_before_it_strips_a_detail)
{
    expect("demo", STATUS_OK, 1);
    expect("Demo@LOCALHOST", STATUS_OK, 1);
    expect("demo+list@localhost", STATUS_OK, 2);
    expect("demo+other@localhost", STATUS_OK, 1);
    expect("demo+list+more@localhost", STATUS_OK, 1);
    expect("demo+list@example.org", STATUS_OK, 3);
    expect("\"demo\"@localhost", STATUS_OK, 1);
    expect("\"demo+x\"@localhost", STATUS_OK, 1);
}

Test(auth_recipient, tells_no_such_user_from_no_such_domain_from_no_address)
{
    expect("nobody@localhost", STATUS_NOT_FOUND, 0);
    expect("nobody+demo@localhost", STATUS_NOT_FOUND, 0);
    expect("+demo@localhost", STATUS_NOT_FOUND, 0);
    expect("\"de mo\"@localhost", STATUS_NOT_FOUND, 0);
    expect("\"\"@localhost", STATUS_NOT_FOUND, 0);
    expect("demo@elsewhere", STATUS_DENIED, 0);
    expect("demo@[127.0.0.1]", STATUS_DENIED, 0);
    expect("", STATUS_INVALID, 0);
    expect("de mo@localhost", STATUS_INVALID, 0);
    expect("demo@", STATUS_INVALID, 0);
}

Test(auth_recipient, fills_in_who_it_is)
{
    struct probe probe;
    struct account account;
    cr_assert_eq(ask(&probe, "demo+x"), STATUS_OK);
    cr_expect_str_eq(probe.lookup.identity.name, "demo@localhost");
    cr_expect_str_eq(probe.lookup.identity.reason, "");
    cr_assert_eq(account_find(auth_accounts(stage.auth), "demo@localhost", &account), STATUS_OK);
    account.disabled = true;
    (void)snprintf(account.reason, sizeof account.reason, "closed");
    cr_assert_eq(account_change(auth_accounts(stage.auth), &account, NULL), STATUS_OK);
    cr_assert_eq(ask(&probe, "demo+x"), STATUS_OK);
    cr_expect_str_eq(probe.lookup.identity.reason, "closed");
    auth_lookup_cancel(&probe.lookup); /* harmless */
}

/* --- aliases -----------------------------------------------------------------------------------
 */

/* `targets` apart by spaces. */
static void add_alias(const char *name, const char *targets)
{
    static struct alias alias;
    memset(&alias, 0, sizeof alias);
    (void)snprintf(alias.name, sizeof alias.name, "%s", name);
    while (*targets != '\0') {
        size_t length = strcspn(targets, " ");
        memcpy(alias.targets[alias.target_count++], targets, length);
        targets += length + (targets[length] == ' ');
    }
    cr_assert_eq(account_alias_set(auth_accounts(stage.auth), &alias, NULL), STATUS_OK);
}

/* As former versions set one, also in a loop. */
static void add_former_alias(const char *name, const char *const *targets, uint32_t count)
{
    struct account_db *accounts = auth_accounts(stage.auth);
    struct kv_txn *txn = NULL;
    uint8_t record[200], *to = record + 2;
    bytes_put16(record, (uint16_t)count);
    for (uint32_t i = 0; i < count; i++) {
        size_t length = strlen(targets[i]);
        bytes_put16(to, (uint16_t)length);
        memcpy(to + 2, targets[i], length);
        to += 2 + length;
    }
    struct kv_bytes value = {record, (size_t)(to - record)};
    cr_assert_eq(kv_begin_write(accounts->kv, &txn), STATUS_OK);
    cr_assert_eq(kv_put(txn, accounts->aliases, account_text(name), value), STATUS_OK);
    cr_assert_eq(kv_commit(&txn), STATUS_OK);
}

/* Expects these maildrops, in this order; 0 ends them. */
static void expect_all(const char *address, const uint64_t *ids)
{
    struct probe probe;
    cr_assert_eq(ask(&probe, address), STATUS_OK, "%s: %s", address, status_name(probe.status));
    cr_expect_eq(probe.lookup.identity.drop.id, ids[0], "%s", address);
    uint32_t count = 0;
    while (ids[count + 1] != 0) {
        count++;
    }
    cr_assert_eq(probe.lookup.other_count, count, "%s", address);
    for (uint32_t i = 0; i < count; i++) {
        cr_expect_eq(probe.lookup.others[i].drop.id, ids[i + 1], "%s", address);
    }
    auth_lookup_clear(&probe.lookup);
}

Test(auth_recipient, an_alias_stands_for_one_or_several)
{
    add_alias("post@localhost", "demo@localhost");
    add_alias("all@elsewhere", "demo@example.org gone@localhost demo@localhost");
    expect_all("Post", (uint64_t[]){1, 0});
    expect_all("post+x@localhost", (uint64_t[]){1, 0});
    expect_all("all@elsewhere", (uint64_t[]){3, 1, 0});
    expect("nobody@elsewhere", STATUS_NOT_FOUND, 0); /* the domain is ours now */
}

Test(auth_recipient, an_account_comes_before_an_alias_and_that_before_a_stripped_name)
{
    add_alias("demo@localhost", "demo@example.org");
    add_alias("demo+more@localhost", "demo@example.org");
    add_alias("@localhost", "demo+list@localhost");
    expect_all("demo", (uint64_t[]){1, 0});
    expect_all("demo+more", (uint64_t[]){3, 0});
    expect_all("demo+x", (uint64_t[]){1, 0});
    expect_all("nobody", (uint64_t[]){2, 0});
    expect_all("\"no body\"@localhost", (uint64_t[]){2, 0});
    expect("nobody@example.org", STATUS_NOT_FOUND, 0);
}

Test(auth_recipient, aliases_of_aliases_are_opened_and_loops_end)
{
    static const char *const of_b[] = {"a@localhost", "demo@example.org", "demo@localhost"};
    static const char *const of_c[] = {"c@localhost"};
    add_alias("a@localhost", "b@localhost demo@localhost");
    add_former_alias("b@localhost", of_b, 3);
    add_former_alias("c@localhost", of_c, 1);
    add_alias("d@localhost", "gone@localhost");
    expect_all("a", (uint64_t[]){1, 3, 0});
    expect("c", STATUS_NOT_FOUND, 0);
    expect("d", STATUS_NOT_FOUND, 0);
}

/* --- a database that blocks --- */

/* Knows demo@localhost, at once or late; fails for broken@localhost. */
struct slow_passdb {
    struct passdb passdb;
    bool is_late;
    struct passdb_query *_Atomic query;
};

static enum status slow_answer(struct passdb_query *query)
{
    if (strcmp(query->identity.name, "broken@localhost") == 0) {
        return STATUS_TIMEOUT;
    }
    if (strcmp(query->identity.name, "demo@localhost") != 0) {
        return STATUS_NOT_FOUND;
    }
    stage_make_account(&query->account, "demo@localhost", 6, STAGE_SECRET);
    return STATUS_OK;
}

static enum status slow_find(struct passdb *passdb, struct passdb_query *query)
{
    struct slow_passdb *slow = (struct slow_passdb *)(void *)passdb;
    if (slow->is_late) {
        atomic_store(&slow->query, query);
        return STATUS_PENDING;
    }
    return slow_answer(query);
}

static enum status slow_domain(struct passdb *passdb, const char *domain, size_t length,
                               bool *out_exists)
{
    (void)passdb;
    *out_exists = length == 9 && memcmp(domain, "localhost", length) == 0;
    return STATUS_OK;
}

static enum status slow_count(struct passdb *passdb, uint64_t *out_count)
{
    (void)passdb;
    *out_count = 1;
    return STATUS_OK;
}

static const struct passdb_ops slow_ops = {.name = "slow",
                                           .may_block = true,
                                           .find = slow_find,
                                           .domain_exists = slow_domain,
                                           .count = slow_count};

/* A look-up given up before that leaves the queue, and the database is never asked. */
static void wait_until_asked(const struct slow_passdb *slow)
{
    while (atomic_load(&slow->query) == NULL) {
        (void)sched_yield(); /* a hashing thread is on its way */
    }
}

static void answer_late(struct slow_passdb *slow)
{
    wait_until_asked(slow);
    struct passdb_query *query = atomic_exchange(&slow->query, NULL);
    query->on_answer(query, slow_answer(query));
}

static void open_slow(struct slow_passdb *slow, bool is_late)
{
    slow->passdb.ops = &slow_ops;
    slow->is_late = is_late;
    stage_open(&stage, &(struct auth_config){.default_domain = "localhost",
                                             .recipient_delimiter = '+',
                                             .hash_threads = 1,
                                             .sources = STAGE_ONLY(&slow->passdb),
                                             .source_count = 1});
}

static void close_slow(void)
{
    stage_close(&stage);
}

/* Asks and waits for the answer; a late database is asked `rounds` times for it. */
static void expect_pending(struct slow_passdb *slow, const char *address, enum status status,
                           unsigned rounds)
{
    struct probe probe;
    cr_assert_eq(ask(&probe, address), STATUS_PENDING);
    for (unsigned i = 0; i < rounds; i++) {
        answer_late(slow);
    }
    while (probe.answers == 0) {
        loop_turn(stage.loop, -1);
    }
    cr_expect_eq(probe.status, status, "%s: %s", address, status_name(probe.status));
    if (status == STATUS_OK) {
        cr_expect_eq(probe.lookup.identity.drop.id, 6);
    }
}

Test(auth_recipient_slow, asks_a_blocking_database_elsewhere)
{
    struct slow_passdb slow = {0};
    open_slow(&slow, false);
    expect_pending(&slow, "demo", STATUS_OK, 0);
    expect_pending(&slow, "demo+x@localhost", STATUS_OK, 0);
    expect_pending(&slow, "nobody", STATUS_NOT_FOUND, 0);
    expect_pending(&slow, "demo@elsewhere", STATUS_DENIED, 0);
    expect_pending(&slow, "broken@localhost", STATUS_IO, 0);
    expect_pending(&slow, "\"a b\"@localhost", STATUS_NOT_FOUND, 0);
    expect("a b", STATUS_INVALID, 0);
    close_slow();
}

Test(auth_recipient_slow, opens_aliases_there_too)
{
    struct slow_passdb slow = {0};
    open_slow(&slow, true);
    add_alias("post@localhost", "gone@localhost demo@localhost");
    expect_pending(&slow, "post@localhost", STATUS_OK, 3);
    add_alias("bad@localhost", "demo@localhost broken@localhost");
    expect_pending(&slow, "bad@localhost", STATUS_IO, 3);
    close_slow();
}

Test(auth_recipient_slow, waits_for_late_answers)
{
    struct slow_passdb slow = {0};
    open_slow(&slow, true);
    expect_pending(&slow, "demo", STATUS_OK, 1);
    expect_pending(&slow, "demo+x@localhost", STATUS_OK, 2);
    expect_pending(&slow, "nobody+x", STATUS_NOT_FOUND, 2);
    expect_pending(&slow, "broken", STATUS_IO, 1);
    close_slow();
}

Test(auth_recipient_slow, can_be_given_up)
{
    struct slow_passdb slow = {0};
    struct probe probe;
    open_slow(&slow, true);
    cr_assert_eq(ask(&probe, "demo"), STATUS_PENDING);
    wait_until_asked(&slow);
    auth_lookup_cancel(&probe.lookup);
    auth_lookup_cancel(&probe.lookup);
    answer_late(&slow);
    close_slow(); /* waits for what is on its way */
    cr_expect_eq(probe.answers, 0);
}
