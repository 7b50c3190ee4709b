/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a bearer token is good, and for whom: a JWT (RFC 7519, RFC 9068) signed by one of the
 * issuer's keys. The keys come from a file or an https address, are kept in memory, and are read
 * again by a thread of this module: regularly, and soon after a token names a key nobody knows.
 * Nothing is fetched while a client waits.
 *
 * Immutable after oauth_create, but for the keys, which have a lock.
 */
#ifndef AUTH_OAUTH_H
#define AUTH_OAUTH_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth_notice; /* auth/auth.h */

/* Texts are copied; NULL or "" leaves a check out. */
struct oauth_config {
    const char *jwks_file;            /* a JWK set (RFC 7517 section 5); either this or ... */
    const char *jwks_url;             /* ... "https://..."; "http://" for loopback only */
    const char *ca_file;              /* whom to trust for the address; NULL: the system's */
    const char *issuer;               /* "iss" must be this */
    const char *audience;             /* "aud" must be or contain this */
    const char *scope;                /* each word must be in "scope" (or "scp") */
    const char *user_claim;           /* whose text is the user's name; NULL: "email" */
    const char *openid_configuration; /* address told to clients whose token is refused */
    uint32_t refresh_s; /* seconds between two readings of the keys; 0: OAUTH_REFRESH_S */
    uint32_t leeway_s;  /* seconds that clocks may differ by; 0: OAUTH_LEEWAY_S */
    /* Told when the keys cannot be read again ("jwks_down") and when they can be ("jwks_up"), on
     * oauth's thread; to be logged. NULL: nobody listens. */
    void (*on_notice)(void *owner, const struct auth_notice *notice);
    void *owner;
};

struct oauth;

/*
 * Reads the keys of a file; those of an address follow, and until they are there oauth_check says
 * STATUS_AGAIN. STATUS_UNSUPPORTED: this program was built without cjose or libcurl.
 * STATUS_INVALID and others: `out_error` names the cure. Main thread.
 */
MUST_CHECK enum status oauth_create(const struct oauth_config *config, struct oauth **out_oauth,
                                    struct error *out_error);
/* What oauth_create would answer; nothing is started, and an address is not asked. Main thread. */
MUST_CHECK enum status oauth_try(const struct oauth_config *config, struct error *out_error);
/* Nobody may be inside oauth_check. Waits for the thread, a few seconds at most. NULLs. */
void oauth_destroy(struct oauth **oauth);

/*
 * STATUS_OK: good, and `out_user` has the user's name, as the claim has it. STATUS_DENIED: not
 * signed by a key of ours with an algorithm of ours, over, not yet begun, for somebody else, or
 * without a name. STATUS_AGAIN: there are no keys yet. STATUS_NO_MEMORY. Any thread but a worker:
 * it takes some hundred microseconds.
 */
MUST_CHECK enum status oauth_check(struct oauth *oauth, const char *token, size_t length,
                                   char *out_user, size_t size);

/* What a client whose token was refused is told: JSON, of RFC 7628 section 3.2.2 or in XOAUTH2's
 * form. Constant. */
const char *oauth_refusal(const struct oauth *oauth, bool is_xoauth2);

struct oauth_numbers {
    uint64_t keys;      /* known now */
    uint64_t refreshes; /* times they were read */
    uint64_t failures;  /* times they could not be */
};
void oauth_numbers(struct oauth *oauth, struct oauth_numbers *out_numbers); /* any thread */

#endif
