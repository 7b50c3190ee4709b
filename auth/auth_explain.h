/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A login explained to the administrator, step by step: how the name is read, which database knows
 * it, what the account has, what the cache and the defence remember, whether a password is right,
 * and what a client would be told. Nothing is changed by it: no penalty, nothing remembered, no
 * maildrop made. It tells what no client may know; no secret is in it.
 */
#ifndef AUTH_AUTH_EXPLAIN_H
#define AUTH_AUTH_EXPLAIN_H

#include "auth/auth.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth_question {
    const char *name; /* as a client writes it */
    size_t name_length;
    const char *password; /* NULL: not tried */
    size_t password_length;
    const struct address *peer; /* where the login would come from; NULL: unknown */
    bool tls;
};

struct auth_explain_step {
    /* A stable word: "name", "database", "account", "credentials", "password", "master", "terms",
     * "maildrop", "cache", "penalty", "alias", "verdict" */
    const char *what;
    bool is_good; /* false: this is why not */
    char text[AUTH_EXPLAIN_TEXT_MAX + 1];
};

struct auth_explanation {
    enum auth_verdict verdict; /* AUTH_PENDING when no password was given and nothing is wrong */
    uint32_t count;
    struct auth_explain_step steps[AUTH_EXPLAIN_STEPS_MAX];
};

/* Blocking: tens of milliseconds for a password, and up to AUTH_EXPLAIN_WAIT_S for databases
 * that answer late. Any thread but a worker. */
void auth_explain(struct auth *auth, const struct auth_question *question,
                  struct auth_explanation *out_explanation);

#endif
