/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts and what was promised of them: a ledger for `accounts/`, which no rebuild can make
 * again. One thread.
 */
#ifndef TESTS_PROOF_ROLL_H
#define TESTS_PROOF_ROLL_H

#include "tests/proof/chance.h"
#include "tests/proof/inspect.h"

#include "auth/account.h"

#define ROLL_MAX 64

struct roll_entry {
    uint64_t sent, added, removing, removed; /* positions, as in the ledger */
};

struct roll {
    struct account_db *db;
    uint64_t (*position)(void);
    struct roll_entry entries[ROLL_MAX]; /* "user0@roll.test" and so on */
    uint32_t count;
};

/* Opens the accounts of the store in `path`, making them. */
void roll_open(struct roll *roll, const char *path);
void roll_close(struct roll *roll);
/* Adds an account, or removes one. */
void roll_step(struct roll *roll, struct chance *chance);
/* Opens the accounts of another directory and holds them against the roll after a crash at
 * `position`. */
void roll_inspect(const struct roll *roll, const char *path, uint64_t position,
                  struct inspection *inspection);

#endif
