/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several user databases as one: they are asked in their order, and the first that knows a name
 * answers for it, right or wrong password. One that cannot tell ends the search: a database behind
 * it must not speak for a name that may be the first one's.
 *
 * A database that failed AUTH_DATABASE_FAILURES times in a row rests: for AUTH_DATABASE_REST_S it
 * is not asked and counts as down, then one question at a time tries it, until it answers. Its
 * going down and coming back are told to `on_notice`. Databases that cannot block never rest.
 *
 * Immutable after the last passdb_order_add, but for atomic counters; asked on the threads of
 * auth/passdb.h.
 */
#ifndef AUTH_PASSDB_ORDER_H
#define AUTH_PASSDB_ORDER_H

#include "auth/passdb.h"
#include "auth/verify.h"

#include <stdatomic.h>

struct auth_notice;

struct passdb_order_seat {
    struct passdb *passdb;
    _Atomic int64_t rests_until_ms; /* 0: well */
    _Atomic uint32_t failed_in_row;
    _Atomic uint64_t asked, failed;
};

struct passdb_order {
    struct passdb passdb; /* of all of them */
    struct passdb_ops ops;
    struct verify *verify; /* where a search goes on after a late answer */
    uint32_t count;
    struct passdb_order_seat seats[AUTH_SOURCES_MAX];
    void (*on_notice)(void *owner, const struct auth_notice *notice); /* NULL: nobody listens */
    void *owner;
};

/* An order of no databases. `on_notice` is told, on any thread, what an operator should know. */
void passdb_order_init(struct passdb_order *order,
                       void (*on_notice)(void *owner, const struct auth_notice *notice),
                       void *owner);
/* Puts a database behind the others. STATUS_LIMIT beyond AUTH_SOURCES_MAX. */
MUST_CHECK enum status passdb_order_add(struct passdb_order *order, struct passdb *passdb);
/* The pool, before the first question. */
void passdb_order_set_verify(struct passdb_order *order, struct verify *verify);

/* Whether the database that knows this account is one that keeps further credentials. */
bool passdb_order_is_written(const struct passdb_order *order, const struct account *account);

/* Databases that rest now. */
uint32_t passdb_order_down(const struct passdb_order *order);

/* Stops all; then frees all. Harmless on a zeroed one. */
void passdb_order_stop(struct passdb_order *order);
void passdb_order_destroy(struct passdb_order *order);

#endif
