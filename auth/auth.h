/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auth contract: who is this, and may they in. A session asks and gets one verdict; it never
 * knows which user database answered, whether a hash was computed or remembered, nor whether the
 * reply is late because a thread was busy or because the source has failed before.
 *
 * Every start returns its final verdict (the callback is then not called) or AUTH_PENDING, and
 * `on_verdict` comes exactly once, later, on the worker's loop. SASL mechanisms (issue: auth_start
 * and auth_continue on the same request) and slow databases fit the same shape.
 *
 * Secrets are copied only for a hashing thread and wiped when it is done with them; no copy stays
 * in a request, in the cache or in a log.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "auth/auth_limits.h"
#include "io/address.h"
#include "io/deadline.h"
#include "io/post.h"
#include "io/status.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth;
struct passdb;

enum auth_verdict {
    AUTH_PENDING = 0,
    AUTH_OK,          /* in: `identity` says who and where */
    AUTH_FAILED,      /* unknown user or wrong password: nobody can tell which */
    AUTH_DISABLED,    /* right password, but the account is closed: `reason` may be shown */
    AUTH_UNAVAILABLE, /* no answer now (database down, hashing queue full): try later */
    AUTH_VERDICTS
};

/* A short stable name for logs and metrics: "ok", "failed", ... */
const char *auth_verdict_name(enum auth_verdict verdict);

/* Who somebody is, once known. */
struct auth_identity {
    char name[AUTH_NAME_MAX + 1]; /* local@domain, lower case */
    struct store_drop drop;
    char reason[AUTH_REASON_MAX + 1]; /* why disabled; else empty */
};

/* --- the whole: main thread ------------------------------------------------------------------ */

struct auth_config {
    const char *accounts_path;  /* directory of the embedded accounts */
    const char *default_domain; /* appended to a bare name, e.g. "localhost" */
    char recipient_delimiter;   /* "user+detail"; 0: off */
    uint32_t hash_threads;      /* 0: number of processors, at most 4 */
    uint32_t hash_queue_max;    /* verifications that may wait; 0: default */
    uint32_t cache_entries_max; /* 0: default */
    uint32_t cache_ttl_s;       /* seconds a verified credential is remembered; 0: default (3600) */
    uint32_t cache_negative_ttl_s; /* seconds a refused one is; 0: default (60) */
    bool exempt_loopback;          /* the demo: no failure delays for loopback peers */
    struct passdb *passdb;         /* auth/passdb.h; NULL: the embedded accounts */
};

/* Opens the accounts and starts the hashing threads. On failure nothing is left running. */
MUST_CHECK enum status auth_open(const struct auth_config *config, struct auth **out_auth,
                                 struct error *out_error);
/* All clients must be gone. */
void auth_close(struct auth **auth);

struct auth_numbers {
    uint64_t accounts;
    uint64_t cache_entries, cache_hits, cache_misses, cache_negative_hits;
    uint64_t hashes;       /* slow verifications computed */
    uint64_t hash_waiting; /* in the queue now */
    uint64_t hash_refused; /* queue was full */
    uint64_t hash_us_sum;
    uint64_t delayed; /* failed replies held back */
    uint64_t penalised_prefixes;
};
void auth_numbers(struct auth *auth, struct auth_numbers *out_numbers); /* any thread */

/* Accounts were changed by somebody else (the administrator): drop what the cache knows of `name`
 * (NULL: everything). Any thread. */
void auth_forget(struct auth *auth, const char *name);

struct account_db;
/* The embedded accounts (auth/account.h), or NULL where another database answers. Changes made
 * through it need no auth_forget. */
struct account_db *auth_accounts(struct auth *auth);

/* --- a worker's end -------------------------------------------------------------------------- */

struct auth_client {
    struct auth *auth;
    struct loop *loop;
    struct post_box *box; /* answers of the hashing threads arrive here */
    /* Answers on their way, also to requests given up. Before it goes, a client runs its box until
     * this is 0. */
    uint32_t inflight;
};
void auth_client_init(struct auth_client *client, struct auth *auth, struct loop *loop,
                      struct post_box *box);

/* --- logging in ------------------------------------------------------------------------------ */

struct auth_request {
    struct auth_client *client;
    void (*on_verdict)(struct auth_request *request, enum auth_verdict verdict);
    /* facts of the connection */
    const struct address *peer;
    bool tls;
    /* out */
    struct auth_identity
        identity;      /* with AUTH_OK and AUTH_DISABLED; name also set on failure if it parsed */
    uint32_t delay_ms; /* how long the failure was held back */
    const char *mechanism; /* "user" for USER and PASS */
    /* the module's, zero before the first use */
    struct {
        struct deadline delay;
        struct auth_wait *wait; /* while a verification is under way */
        int64_t started_ms;
    } own;
};

/* USER and PASS. Names and passwords are octets as they came (a password may hold spaces). A failed
 * verdict is held back by the delay its source has earned, counted from this call, so that the time
 * a hash took does not show; a right one never is. A remembered verdict is reached at once, without
 * another thread and without an allocation. The request must be zeroed, but for client, callback
 * and facts, or have been answered. */
MUST_CHECK enum auth_verdict auth_login(struct auth_request *request, const char *name,
                                        size_t name_length, const char *password,
                                        size_t password_length);

/* Gives a pending request up: no callback will come, it may be freed. Harmless when idle. */
void auth_cancel(struct auth_request *request);

/* --- whose mail is this ---------------------------------------------------------------------- */

struct auth_lookup {
    struct auth_client *client;
    void (*on_done)(struct auth_lookup *lookup, enum status status);
    struct auth_identity identity; /* out; `reason` is set for a disabled account */
    void *own;                     /* zero before the first use */
};
/*
 * Finds the account for a recipient address, as RCPT has it between the angle brackets: an exact
 * match first, then without "+detail".
 *
 * STATUS_OK; STATUS_NOT_FOUND: no such user here; STATUS_DENIED: no such domain here;
 * STATUS_INVALID: not an address; STATUS_IO: database trouble; STATUS_PENDING: on_done follows.
 */
MUST_CHECK enum status auth_find_recipient(struct auth_lookup *lookup, const char *address,
                                           size_t length);
/* Gives a pending look-up up: no callback will come. */
void auth_lookup_cancel(struct auth_lookup *lookup);

#endif
