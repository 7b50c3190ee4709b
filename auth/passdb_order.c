/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passdb_order.h"

#include "auth/auth.h"
#include "auth/auth_clock.h"

#include <string.h>

#define REST_MS (AUTH_DATABASE_REST_S * INT64_C(1000))

static struct passdb_order *order_of(struct passdb *passdb)
{
    return (struct passdb_order *)(void *)passdb;
}

/* --- down and up again -------------------------------------------------------------------------
 */

static void notice(const struct passdb_order *order, const struct passdb_order_seat *seat,
                   const char *event, bool is_trouble, const char *text)
{
    if (order->on_notice != NULL) {
        order->on_notice(order->owner, &(struct auth_notice){.is_trouble = is_trouble,
                                                             .event = event,
                                                             .database = seat->passdb->ops->name,
                                                             .text = text});
    }
}

/* Whether a database may be asked now. Of those who come when a rest is over one is let through,
 * which makes the rest longer for the others. All of this is relaxed: a number alone is passed. */
static bool may_ask(struct passdb_order_seat *seat)
{
    int64_t until = atomic_load_explicit(&seat->rests_until_ms, memory_order_relaxed);
    int64_t now_ms = auth_clock_us() / 1000;
    if (until == 0) {
        return true;
    }
    return now_ms >= until &&
           atomic_compare_exchange_strong_explicit(&seat->rests_until_ms, &until, now_ms + REST_MS,
                                                   memory_order_relaxed, memory_order_relaxed);
}

/* Takes note of how a question went. A shortage of memory, or an end, is no fault of a database. */
static void judge(struct passdb_order *order, struct passdb_order_seat *seat, enum status status)
{
    if (!seat->passdb->ops->may_block || status == STATUS_NO_MEMORY || status == STATUS_CANCELLED ||
        status == STATUS_PENDING) {
        return;
    }
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        atomic_store_explicit(&seat->failed_in_row, 0, memory_order_relaxed);
        if (atomic_load_explicit(&seat->rests_until_ms, memory_order_relaxed) != 0 &&
            atomic_exchange_explicit(&seat->rests_until_ms, 0, memory_order_relaxed) != 0) {
            notice(order, seat, "database_up", false, "it answers again");
        }
        return;
    }
    (void)atomic_fetch_add_explicit(&seat->failed, 1, memory_order_relaxed);
    uint32_t before = atomic_fetch_add_explicit(&seat->failed_in_row, 1, memory_order_relaxed);
    if (before + 1 < AUTH_DATABASE_FAILURES) {
        return;
    }
    int64_t until = auth_clock_us() / 1000 + REST_MS;
    if (atomic_exchange_explicit(&seat->rests_until_ms, until, memory_order_relaxed) == 0) {
        notice(order, seat, "database_down", true, status_name(status));
    }
}

uint32_t passdb_order_down(const struct passdb_order *order)
{
    uint32_t down = 0;
    for (uint32_t i = 0; i < order->count; i++) {
        down += atomic_load_explicit(&order->seats[i].rests_until_ms, memory_order_relaxed) != 0;
    }
    return down;
}

/* --- one after the other -----------------------------------------------------------------------
 */

static enum status search(struct passdb_order *order, struct passdb_query *query);

/* On a hashing thread, after a late "nobody": the next one may block. */
static void on_turn(struct verify_job *job)
{
    struct passdb_query *query = list_entry(job, struct passdb_query, turn.job);
    enum status status = search(query->turn.order, query);
    if (status != STATUS_PENDING) {
        query->turn.on_answer(query, status);
    }
}

/* What is noted about an answer. The name is what was asked for, whatever the database calls him:
 * the cache and the maildrops go by it. */
static void take_answer(struct passdb_order *order, struct passdb_query *query, enum status status)
{
    judge(order, &order->seats[query->turn.position], status);
    if (status == STATUS_OK) {
        memcpy(query->account.name, query->identity.name, sizeof query->account.name);
        query->account.source = (uint8_t)query->turn.position;
    }
    query->turn.position++;
}

/* A database has answered late, on any thread. */
static void on_late_answer(struct passdb_query *query, enum status status)
{
    struct passdb_order *order = query->turn.order;
    query->on_answer = query->turn.on_answer;
    take_answer(order, query, status);
    if (status == STATUS_NOT_FOUND && query->turn.position < order->count) {
        query->turn.job.on_run = on_turn;
        verify_resume(order->verify, &query->turn.job);
    } else {
        query->turn.on_answer(query, status);
    }
}

/* Asks from query->turn.position on. */
static enum status search(struct passdb_order *order, struct passdb_query *query)
{
    enum status status = STATUS_NOT_FOUND;
    query->turn.on_answer = query->on_answer;
    while (status == STATUS_NOT_FOUND && query->turn.position < order->count) {
        struct passdb_order_seat *seat = &order->seats[query->turn.position];
        if (!may_ask(seat)) {
            return STATUS_TIMEOUT;
        }
        (void)atomic_fetch_add_explicit(&seat->asked, 1, memory_order_relaxed);
        query->on_answer = on_late_answer;
        status = seat->passdb->ops->find(seat->passdb, query);
        if (status == STATUS_PENDING) {
            return status; /* the query may be answered and gone by now */
        }
        take_answer(order, query, status);
    }
    query->on_answer = query->turn.on_answer;
    return status;
}

static enum status find(struct passdb *passdb, struct passdb_query *query)
{
    query->turn.order = order_of(passdb);
    query->turn.position = 0;
    return search(query->turn.order, query);
}

static enum status domain_exists(struct passdb *passdb, const char *domain, size_t length,
                                 bool *out_exists)
{
    struct passdb_order *order = order_of(passdb);
    enum status result = STATUS_OK;
    bool exists = false;
    for (uint32_t i = 0; i < order->count && !exists; i++) {
        struct passdb_order_seat *seat = &order->seats[i];
        enum status status = STATUS_TIMEOUT;
        if (may_ask(seat)) {
            status = seat->passdb->ops->domain_exists(seat->passdb, domain, length, &exists);
            judge(order, seat, status);
        }
        result = status != STATUS_OK ? status : result;
    }
    *out_exists = exists;
    return exists ? STATUS_OK : result;
}

/* What is known; a database that does not know how many it has counts for none. */
static enum status count(struct passdb *passdb, uint64_t *out_count)
{
    struct passdb_order *order = order_of(passdb);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < order->count; i++) {
        struct passdb *each = order->seats[i].passdb;
        uint64_t one = 0;
        if (each->ops->count(each, &one) == STATUS_OK) {
            sum += one;
        }
    }
    *out_count = sum;
    return STATUS_OK;
}

bool passdb_order_is_written(const struct passdb_order *order, const struct account *account)
{
    return account->source < order->count &&
           order->seats[account->source].passdb->ops->complete != NULL;
}

static enum status complete(struct passdb *passdb, const struct account *account)
{
    struct passdb_order *order = order_of(passdb);
    if (!passdb_order_is_written(order, account)) {
        return STATUS_UNSUPPORTED;
    }
    struct passdb *each = order->seats[account->source].passdb;
    return each->ops->complete(each, account);
}

static void watch(struct passdb *passdb, void (*on_change)(void *owner, const char *name),
                  void *owner)
{
    struct passdb_order *order = order_of(passdb);
    for (uint32_t i = 0; i < order->count; i++) {
        struct passdb *each = order->seats[i].passdb;
        if (each->ops->watch != NULL) {
            each->ops->watch(each, on_change, owner);
        }
    }
}

/* --- making and ending --------------------------------------------------------------------------
 */

void passdb_order_init(struct passdb_order *order,
                       void (*on_notice)(void *owner, const struct auth_notice *notice),
                       void *owner)
{
    *order = (struct passdb_order){.ops = {.name = "order",
                                           .may_block = false,
                                           .find = find,
                                           .domain_exists = domain_exists,
                                           .count = count,
                                           .complete = complete,
                                           .watch = watch},
                                   .on_notice = on_notice,
                                   .owner = owner};
    order->passdb.ops = &order->ops;
}

enum status passdb_order_add(struct passdb_order *order, struct passdb *passdb)
{
    if (order->count == AUTH_SOURCES_MAX) {
        return STATUS_LIMIT;
    }
    order->seats[order->count++].passdb = passdb;
    order->ops.may_block |= passdb->ops->may_block;
    return STATUS_OK;
}

void passdb_order_set_verify(struct passdb_order *order, struct verify *verify)
{
    order->verify = verify;
}

void passdb_order_stop(struct passdb_order *order)
{
    for (uint32_t i = 0; i < order->count; i++) {
        struct passdb *each = order->seats[i].passdb;
        if (each->ops->stop != NULL) {
            each->ops->stop(each);
        }
    }
}

void passdb_order_destroy(struct passdb_order *order)
{
    for (uint32_t i = 0; i < order->count; i++) {
        struct passdb *each = order->seats[i].passdb;
        if (each->ops->destroy != NULL) {
            each->ops->destroy(each);
        }
    }
    order->count = 0;
}
