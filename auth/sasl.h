/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SASL (RFC 4422) inside auth/: one exchange, and what a mechanism is. auth.h is what sessions see.
 *
 * A mechanism never answers a session. It says what comes next (enum sasl_step), and sasl.c does
 * it: sends a challenge, waits for a database, logs somebody in, or refuses and ends the exchange,
 * always the same way, so that failures of all mechanisms look, count and wait alike.
 *
 * An exchange belongs to its request and its worker. Everything a client sent and everything it is
 * compared with is wiped when the exchange ends, whatever ends it.
 */
#ifndef AUTH_SASL_H
#define AUTH_SASL_H

#include "auth/auth.h"
#include "auth/terms.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account;
struct auth_sasl;
struct sasl_gsasl;
struct sasl_search;

enum sasl_step {
    SASL_CHALLENGE,   /* the client is to answer `challenge` */
    SASL_WAIT,        /* sasl_find or sasl_find_token is under way: on_account follows */
    SASL_LOGIN,       /* decide by name and password, `login` */
    SASL_ADMIT,       /* the client has proven to be the account that was found */
    SASL_REFUSE,      /* it has not, or has said what it must not */
    SASL_UNAVAILABLE, /* no answer now */
};

struct sasl_ops {
    /* The client's octets. NULL: AUTH came without an initial response. */
    enum sasl_step (*on_response)(struct auth_sasl *sasl, const char *data, size_t length);
    /* The answer to a search: `account`, or NULL when there is none of that name or the token was
     * refused. It is gone when this returns. NULL for mechanisms that never search. */
    enum sasl_step (*on_account)(struct auth_sasl *sasl, const struct account *account);
};

/* What must be true of a connection for a mechanism to be announced and begun. */
enum sasl_need {
    SASL_NEEDS_SCRAM,
    SASL_NEEDS_BINDING, /* and SCRAM */
    SASL_NEEDS_CRAM_MD5,
    SASL_NEEDS_CERTIFICATE,
    SASL_NEEDS_OAUTH,
    SASL_NEEDS_PLAINTEXT,
    SASL_NEEDS_APOP
};

struct sasl_mechanism {
    const char *name;
    enum sasl_need need;
    int kind; /* the mechanism's own */
    const struct sasl_ops *ops;
};

struct auth_sasl {
    struct auth_request *request;
    const struct sasl_mechanism *mechanism;
    unsigned step; /* the mechanism's; 0 first */
    char *challenge;
    size_t challenge_length;
    char *held; /* octets a mechanism keeps: sasl_hold */
    size_t held_length;
    struct { /* with SASL_LOGIN: in what the client has just sent, or in `held` */
        const char *authzid, *authcid, *password;
        size_t authzid_length, authcid_length, password_length;
    } login;
    struct sasl_gsasl *gsasl;
    struct sasl_search *search; /* with SASL_WAIT */
    bool has_account;           /* a search found one: what SASL_ADMIT needs of it follows */
    struct store_drop drop;
    bool has_terms;
    struct terms terms;
    /* Stands for what the client tried to prove itself with: the same again is not counted as a
     * further failure. Random unless a mechanism sets it. */
    uint64_t fingerprint;
};

/* --- what mechanisms use ---------------------------------------------------------------------- */

/* SASL_CHALLENGE with a copy of the octets, or SASL_UNAVAILABLE. */
enum sasl_step sasl_challenge(struct auth_sasl *sasl, const char *data, size_t length);

/* Keeps a copy in `held`, with a NUL behind it, in place of what was there. False: no memory. */
bool sasl_hold(struct auth_sasl *sasl, const char *data, size_t length);

/* Looks an account up, here or on a hashing thread, and has on_account called: what that returned,
 * or SASL_WAIT, or SASL_UNAVAILABLE. */
enum sasl_step sasl_find(struct auth_sasl *sasl, const char *name, size_t length);

/* Checks a bearer token on a hashing thread, then looks up who it stands for. */
enum sasl_step sasl_find_token(struct auth_sasl *sasl, const char *token, size_t length);

/* Whether a name that a client wrote means the account searched for: the same, or none. */
bool sasl_is_same_user(const struct auth_sasl *sasl, const char *name, size_t length);

extern const struct sasl_ops sasl_plain_ops, sasl_login_ops; /* sasl_plain.c */
extern const struct sasl_ops sasl_external_ops;
extern const struct sasl_ops sasl_cram_ops, sasl_apop_ops; /* sasl_cram.c */
extern const struct sasl_ops sasl_scram_ops;               /* kind: enum scram_kind */
extern const struct sasl_ops sasl_oauthbearer_ops, sasl_xoauth2_ops;

/* --- between sasl.c and sasl_search.c ----------------------------------------------------------
 */

/* Puts a search's result into the exchange and asks the mechanism what comes next. */
enum sasl_step sasl_on_found(struct auth_sasl *sasl, enum status status,
                             const struct account *account);

/* The same on the worker after SASL_WAIT: goes on and answers the request. */
void sasl_resume(struct auth_sasl *sasl, enum status status, const struct account *account);

/* Gives a search under way up. */
void sasl_search_cancel(struct auth_sasl *sasl);

/* Ends a request's exchange, if any, and wipes it. */
void sasl_end(struct auth_request *request);

#endif
