/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auth contract: who is this, and may they in. A session asks and gets one verdict; it never
 * knows which user database answered, whether a hash was computed or remembered, nor whether the
 * reply is late because a thread was busy or because the source has failed before.
 *
 * Every start returns its final verdict (the callback is then not called) or AUTH_PENDING, and
 * `on_verdict` comes exactly once, later, on the worker's loop. SASL mechanisms (auth_start and
 * auth_continue on the same request) and slow databases fit the same shape; in an exchange
 * AUTH_CHALLENGE takes the place of the verdict until the last step.
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
    AUTH_CHALLENGE,   /* an exchange goes on: send the challenge, then auth_continue */
    AUTH_OK,          /* in: `identity` says who and where */
    AUTH_FAILED,      /* unknown user or wrong password: nobody can tell which */
    AUTH_DISABLED,    /* right password, but the account is closed, wants TLS or another network:
                         `reason` may be shown */
    AUTH_UNAVAILABLE, /* no answer now (database down, hashing queue full): try later */
    AUTH_VERDICTS
};

/* A short stable name for logs and metrics: "ok", "failed", ... */
const char *auth_verdict_name(enum auth_verdict verdict);

/* Who somebody is, once known. */
struct auth_identity {
    char name[AUTH_NAME_MAX + 1]; /* local@domain, lower case */
    struct store_drop drop;
    char reason[AUTH_REASON_MAX + 1]; /* why not admitted; else empty */
    char master[AUTH_NAME_MAX + 1];   /* who acted for `name`, with a password of his own; else
                                         empty. For the audit line, failures included */
};

/* --- the whole: main thread ------------------------------------------------------------------ */

/* Something an operator should know. Strings are valid for the call only. */
struct auth_notice {
    bool is_trouble;      /* a warning, else good news */
    const char *event;    /* a stable word: "database_down", "passwd_file_line", ... */
    const char *database; /* which */
    const char *text;     /* what is the matter */
    uint64_t line;        /* of a file; 0: none */
};

/* One of the databases that are asked who somebody is. */
enum auth_source_kind {
    AUTH_SOURCE_EMBEDDED,    /* the embedded accounts */
    AUTH_SOURCE_PASSWD_FILE, /* auth/passdb_passwd_file.h, of `path` */
    AUTH_SOURCE_PASSDB       /* any other: `passdb` */
};

struct auth_source {
    enum auth_source_kind kind;
    const char *path;
    struct passdb *passdb; /* auth/passdb.h; the caller's, outlives auth */
};

struct auth_config {
    const char *accounts_path; /* directory of the embedded accounts, aliases and masters; NULL
                                   where there are none, which only tests want */
    /* In the order in which they are asked; the first that knows a name answers for it. None: the
     * embedded accounts alone. */
    const struct auth_source *sources;
    size_t source_count;
    const char *default_domain;  /* appended to a bare name, e.g. "localhost" */
    char recipient_delimiter;    /* "user+detail"; 0: off */
    const char *name_separators; /* part user from domain in a login name without "@", such as "%";
                                    with "+" for SDPS's "user+host"; NULL: none */
    char master_separator;       /* '*' for "user*master"; 0: off */
    uint32_t hash_threads;       /* 0: number of processors, at most 4 */
    uint32_t hash_queue_max;     /* verifications that may wait; 0: 1,024 for each thread */
    uint32_t cache_entries_max;  /* 0: default */
    uint32_t cache_ttl_s; /* seconds a verified credential is remembered; 0: default (3600) */
    uint32_t cache_negative_ttl_s;    /* seconds a refused one is; 0: default (60) */
    bool exempt_loopback;             /* the demo: no failure delays for loopback peers */
    const struct oauth_config *oauth; /* auth/oauth.h; NULL: no OAuth mechanisms */
    /* Told what an operator should know: a database that goes down or comes back, a line of a
     * passwd-file that cannot be used, an issuer's keys that cannot be read. Any thread; to be
     * logged. NULL: nobody listens. */
    void (*on_notice)(void *owner, const struct auth_notice *notice);
    void *owner;
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
    uint64_t penalised_accounts;
    uint64_t stale; /* let in on a remembered credential while the database was down */
    uint64_t databases, databases_down;
    uint64_t master_logins;
};
void auth_numbers(struct auth *auth, struct auth_numbers *out_numbers); /* any thread */

/* Accounts were changed by somebody else (the administrator): drop what the cache knows of `name`
 * (NULL: everything). Any thread. */
void auth_forget(struct auth *auth, const char *name);

struct account_db;
/* The embedded accounts (auth/account.h), aliases and masters; NULL without an accounts_path.
 * Changes made through it need no auth_forget. */
struct account_db *auth_accounts(struct auth *auth);

/*
 * Users of databases that know of no maildrops (a passwd-file) get theirs when they first log in or
 * are first sent something. `store` is what they are made with: they are made on its thread, which
 * must run its box. Without one, or after NULL has been given, such a user gets AUTH_UNAVAILABLE.
 * Before the box goes: give NULL, then run it until store->inflight is 0 and it is empty.
 */
void auth_provide_drops(struct auth *auth, struct store_client *store);

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

/* --- what a connection may use --------------------------------------------------------------- */

/* What a listener allows; immutable. All false is the default: PLAIN and LOGIN inside TLS. Clients
 * do not fall back to another mechanism when one fails, so what is switched on must work for every
 * account of the listener. */
struct auth_policy {
    bool plaintext_without_tls; /* USER, PLAIN and LOGIN on a connection in the clear */
    bool apop;                  /* APOP: accounts keep their passwords readable */
    bool cram_md5;              /* the same */
    bool scram;                 /* accounts have SCRAM keys; -PLUS where there is a binding */
    bool external;              /* client certificates name accounts */
    bool oauth;                 /* OAUTHBEARER and XOAUTH2 inside TLS, where auth has its keys */
    bool oauth_without_tls;     /* those in the clear: a demonstration on loopback, tests */
};

/* What the TLS layer says of a connection; its octets live as long as the request uses them. */
struct auth_tls {
    const char *client_name; /* from a verified client certificate, or NULL */
    const uint8_t *exporter; /* tls-exporter (RFC 9266): TLS 1.3, 32 octets; or NULL */
    size_t exporter_length;
    const uint8_t *unique; /* tls-unique (RFC 5929 section 3): TLS 1.2 with the extended master
                              secret; or NULL */
    size_t unique_length;
};

#define AUTH_MECHANISMS_MAX 10 /* names auth_mechanisms may give */

/* Writes the names of the mechanisms that may be announced and begun on this connection now, best
 * first, and returns how many of `max` places were used. `policy` NULL: the default; `tls_facts`
 * NULL: nothing is known. The names are constant. auth_start refuses what is not among them. */
size_t auth_mechanisms(const struct auth_client *client, const struct auth_policy *policy,
                       const struct auth_tls *tls_facts, bool tls, const char **out_names,
                       size_t max);

/* Whether a password may come as it is (USER and PASS, and the USER capability). */
bool auth_plaintext_allowed(const struct auth_policy *policy, bool tls);

/* Whether APOP may be used, and a timestamp be shown in the greeting. */
bool auth_apop_allowed(const struct auth_policy *policy);

/* --- logging in ------------------------------------------------------------------------------ */

struct auth_sasl;

struct auth_request {
    struct auth_client *client;
    void (*on_verdict)(struct auth_request *request, enum auth_verdict verdict);
    /* facts of the connection */
    const struct address *peer;
    bool tls;
    const struct auth_tls *tls_facts; /* NULL: none */
    const struct auth_policy *policy; /* NULL: the default */
    const char *hostname;             /* ours, in CRAM-MD5's challenge; read by auth_start only */
    /* out */
    struct auth_identity
        identity;      /* with AUTH_OK and AUTH_DISABLED; name also set on failure if it parsed */
    uint32_t delay_ms; /* how long the failure was held back */
    const char *mechanism; /* "user" for USER and PASS, "apop", else the mechanism's name or, when
                              it was refused, "unknown"; constant */
    /* With AUTH_CHALLENGE: octets (not base64) for the client, none for an empty challenge. Valid
     * until the next call for this request. */
    const char *challenge;
    size_t challenge_length;
    /* the module's, zero before the first use */
    struct {
        struct deadline delay;  /* of a failure; of an answer that does not come */
        struct auth_wait *wait; /* while a verification is under way */
        struct drop_ask *drop;  /* while a maildrop is being made */
        struct auth_sasl *sasl; /* while an exchange is */
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

/*
 * AUTH: begins the exchange of a mechanism; `mechanism` in any case. `initial` is the decoded
 * initial response; NULL: none came, which differs from an empty one ("=").
 *
 * AUTH_CHALLENGE: send "+ " and the challenge in base64, then call auth_continue with the client's
 * decoded answer, or auth_cancel when it was "*", was not base64, or the client has gone. Any other
 * verdict ends the exchange. AUTH_FAILED at once, without a delay, and with `mechanism` "unknown":
 * the mechanism may not be used here (auth_mechanisms says which may). Failures are held back as
 * with auth_login. The request is as for auth_login; `tls_facts` and `policy` stay in place until
 * the end.
 */
MUST_CHECK enum auth_verdict auth_start(struct auth_request *request, const char *mechanism,
                                        size_t mechanism_length, const char *initial,
                                        size_t initial_length);

/* The client's answer to the challenge. May give AUTH_CHALLENGE again, also through the callback
 * after AUTH_PENDING. */
MUST_CHECK enum auth_verdict auth_continue(struct auth_request *request, const char *data,
                                           size_t length);

/* APOP (RFC 1939 section 7): `digest` as it came, 32 hexadecimal digits; `timestamp` is the one of
 * the greeting, with its angle brackets. AUTH_FAILED also for accounts whose password is not
 * stored readably. */
MUST_CHECK enum auth_verdict auth_apop(struct auth_request *request, const char *name,
                                       size_t name_length, const char *digest, size_t digest_length,
                                       const char *timestamp);

/* Gives a pending request or an exchange up: no callback will come, it may be freed. Harmless when
 * idle. */
void auth_cancel(struct auth_request *request);

/* --- whose mail is this ---------------------------------------------------------------------- */

struct auth_lookup {
    struct auth_client *client;
    void (*on_done)(struct auth_lookup *lookup, enum status status);
    struct auth_identity identity; /* out; `reason` is set for a disabled account */
    /* out: an alias may stand for several accounts; these are the ones behind the first, to be
     * freed with auth_lookup_clear */
    struct auth_identity *others;
    uint32_t other_count;
    void *own; /* zero before the first use */
};
/*
 * Finds the accounts for a recipient address, as RCPT has it between the angle brackets: an exact
 * match first, an account before an alias; then the same without "+detail"; then the domain's
 * catch-all. Of an alias's targets those that are gone are passed over.
 *
 * STATUS_OK; STATUS_NOT_FOUND: no such user here; STATUS_DENIED: no such domain here;
 * STATUS_INVALID: not an address; STATUS_IO: database trouble; STATUS_PENDING: on_done follows.
 */
MUST_CHECK enum status auth_find_recipient(struct auth_lookup *lookup, const char *address,
                                           size_t length);
/* Gives a pending look-up up: no callback will come. */
void auth_lookup_cancel(struct auth_lookup *lookup);
/* Frees what an answer has left in `lookup`. Harmless when there is nothing. */
void auth_lookup_clear(struct auth_lookup *lookup);

#endif
