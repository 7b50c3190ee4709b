/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The users of one generator thread, and what it has seen in their maildrops. A user belongs to one
 * thread and has one session at a time, as a locked maildrop wants it. Since nobody else touches
 * these maildrops during a run, each listing must begin with what the last one had, less what was
 * deleted: that is how a changed or vanished unique-id is noticed.
 *
 * Owner: one thread.
 */
#ifndef BENCH_POPULATION_H
#define BENCH_POPULATION_H

#include "bench/dice.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct known_message {
    uint64_t uidl;   /* hash of the unique-id */
    uint64_t letter; /* hash of seed and number; 0: never fetched */
    uint32_t octets; /* 0: not known */
    bool fetched;
};

struct scram_client_keys;

struct bench_user {
    uint32_t number;
    bool busy;
    uint32_t known_count, known_capacity;
    struct known_message *known;    /* in the order of the listing */
    struct scram_client_keys *keys; /* made by whoever logs in so, freed with the population */
};

struct population {
    struct bench_user *users;
    uint32_t count, next;
};

/* Every `parts`th of the users `first` to `first + count - 1`, from the `part`th on; may be
 * none. */
MUST_CHECK enum status population_init(struct population *population, uint32_t first,
                                       uint32_t count, unsigned part, unsigned parts);
void population_deinit(struct population *population);

/* The next user in turn, or with `dice` any one, who has no session; marked busy. NULL: all
 * have. */
struct bench_user *population_take(struct population *population, struct dice *dice);

/* The next in turn for whom a message is meant, session or not. */
struct bench_user *population_recipient(struct population *population, struct dice *dice);

/* What hash a unique-id has. */
uint64_t population_hash(const char *text, size_t length);

/* A session's UIDL listing says that message `index` (from 0) has this id; `octets` 0: unknown.
 * False:
 * that is not what was there before. STATUS_NO_MEMORY is taken for "nothing known". */
bool bench_user_saw(struct bench_user *user, uint32_t index, uint64_t uidl);

/* The listing had `count` messages: false when fewer than are known to be there. */
bool bench_user_counted(struct bench_user *user, uint32_t count);

/* Message `index` has that size, or is that letter: false when it was another before. */
bool bench_user_sized(struct bench_user *user, uint32_t index, uint64_t octets);
bool bench_user_fetched(struct bench_user *user, uint32_t index, uint64_t letter);

/* Whether message `index` is known and was fetched before. */
bool bench_user_has_fetched(const struct bench_user *user, uint32_t index);

/* The first `count` messages are gone. */
void bench_user_deleted(struct bench_user *user, uint32_t count);

/* What happened in the last session is not known: what was known is forgotten. */
void bench_user_forget(struct bench_user *user);

#endif
