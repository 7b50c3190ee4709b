/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/sasl.h"

#include "auth/account.h"
#include "auth/auth_state.h"
#include "auth/oauth.h"
#include "auth/sasl_gsasl.h"
#include "auth/scram.h"
#include "auth/secret.h"
#include "io/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The only truth about what exists; best first, as it is announced. */
static const struct sasl_mechanism mechanisms[] = {
    {"SCRAM-SHA-256-PLUS", SASL_NEEDS_BINDING, SCRAM_SHA_256, &sasl_scram_ops},
    {"SCRAM-SHA-1-PLUS", SASL_NEEDS_BINDING, SCRAM_SHA_1, &sasl_scram_ops},
    {"SCRAM-SHA-256", SASL_NEEDS_SCRAM, SCRAM_SHA_256, &sasl_scram_ops},
    {"SCRAM-SHA-1", SASL_NEEDS_SCRAM, SCRAM_SHA_1, &sasl_scram_ops},
    {"CRAM-MD5", SASL_NEEDS_CRAM_MD5, 0, &sasl_cram_ops},
    {"EXTERNAL", SASL_NEEDS_CERTIFICATE, 0, &sasl_external_ops},
    {"OAUTHBEARER", SASL_NEEDS_OAUTH, 0, &sasl_oauthbearer_ops},
    {"XOAUTH2", SASL_NEEDS_OAUTH, 0, &sasl_xoauth2_ops},
    {"PLAIN", SASL_NEEDS_PLAINTEXT, 0, &sasl_plain_ops},
    {"LOGIN", SASL_NEEDS_PLAINTEXT, 0, &sasl_login_ops},
};

#define MECHANISMS (sizeof mechanisms / sizeof mechanisms[0])

static_assert(MECHANISMS == AUTH_MECHANISMS_MAX, "auth.h promises room for all");

/* A command of its own in POP3, but the same kind of thing. */
static const struct sasl_mechanism apop = {"apop", SASL_NEEDS_APOP, 0, &sasl_apop_ops};

/* --- what a connection may use -----------------------------------------------------------------
 */

static const struct auth_policy default_policy;

bool auth_plaintext_allowed(const struct auth_policy *policy, bool tls)
{
    return tls || (policy != NULL && policy->plaintext_without_tls);
}

bool auth_apop_allowed(const struct auth_policy *policy)
{
    return policy != NULL && policy->apop;
}

/* The facts of a connection that decide what it may use. */
struct connection_facts {
    const struct auth *auth;
    const struct auth_policy *policy;
    const struct auth_tls *tls_facts;
    bool tls;
};

static bool has_binding(const struct auth_tls *tls_facts)
{
    return tls_facts != NULL && (tls_facts->exporter != NULL || tls_facts->unique != NULL);
}

static bool is_allowed(const struct sasl_mechanism *mechanism, const struct connection_facts *facts)
{
    const struct auth_policy *policy = facts->policy;
    switch (mechanism->need) {
    case SASL_NEEDS_SCRAM:
        return policy->scram;
    case SASL_NEEDS_BINDING:
        return policy->scram && facts->tls && has_binding(facts->tls_facts);
    case SASL_NEEDS_CRAM_MD5:
        return policy->cram_md5;
    case SASL_NEEDS_CERTIFICATE:
        return policy->external && facts->tls && facts->tls_facts != NULL &&
               facts->tls_facts->client_name != NULL;
    case SASL_NEEDS_OAUTH:
        return policy->oauth && facts->auth->oauth != NULL &&
               (facts->tls || policy->oauth_without_tls);
    case SASL_NEEDS_PLAINTEXT:
        return auth_plaintext_allowed(policy, facts->tls);
    case SASL_NEEDS_APOP:
        return auth_apop_allowed(policy);
    }
    return false;
}

static struct connection_facts facts_of(const struct auth_client *client,
                                        const struct auth_policy *policy,
                                        const struct auth_tls *tls_facts, bool tls)
{
    return (struct connection_facts){.auth = client->auth,
                                     .policy = policy != NULL ? policy : &default_policy,
                                     .tls_facts = tls_facts,
                                     .tls = tls};
}

size_t auth_mechanisms(const struct auth_client *client, const struct auth_policy *policy,
                       const struct auth_tls *tls_facts, bool tls, const char **out_names,
                       size_t max)
{
    struct connection_facts facts = facts_of(client, policy, tls_facts, tls);
    size_t count = 0;
    for (size_t i = 0; i < MECHANISMS && count < max; i++) {
        if (is_allowed(&mechanisms[i], &facts)) {
            out_names[count++] = mechanisms[i].name;
        }
    }
    return count;
}

static const struct sasl_mechanism *find_mechanism(const char *name, size_t length)
{
    for (size_t i = 0; i < MECHANISMS; i++) {
        const char *known = mechanisms[i].name;
        if (strlen(known) == length && strncasecmp(known, name, length) == 0) {
            return &mechanisms[i];
        }
    }
    return NULL;
}

/* --- what mechanisms use -----------------------------------------------------------------------
 */

/* Wipes and frees octets of which `length` and a NUL behind them are in use. */
static void discard(char **octets, size_t *length)
{
    if (*octets != NULL) {
        mem_wipe(*octets, *length + 1);
        free(*octets);
    }
    *octets = NULL;
    *length = 0;
}

static bool keep(char **octets, size_t *kept_length, const char *data, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy == NULL) {
        return false;
    }
    if (length > 0) {
        memcpy(copy, data, length);
    }
    copy[length] = '\0';
    discard(octets, kept_length);
    *octets = copy;
    *kept_length = length;
    return true;
}

enum sasl_step sasl_challenge(struct auth_sasl *sasl, const char *data, size_t length)
{
    bool kept = keep(&sasl->challenge, &sasl->challenge_length, data, length);
    return kept ? SASL_CHALLENGE : SASL_UNAVAILABLE;
}

bool sasl_hold(struct auth_sasl *sasl, const char *data, size_t length)
{
    return keep(&sasl->held, &sasl->held_length, data, length);
}

bool sasl_is_same_user(const struct auth_sasl *sasl, const char *name, size_t length)
{
    struct auth_name_rules rules = auth_rules(sasl->request->client->auth);
    struct auth_name read;
    if (length == 0) {
        return true;
    }
    auth_name_read(&rules, NULL, 0, name, length, &read);
    return read.is_nameable && !read.has_master &&
           strcmp(read.user.name, sasl->request->identity.name) == 0;
}

/* --- an exchange -------------------------------------------------------------------------------
 */

void sasl_end(struct auth_request *request)
{
    struct auth_sasl *sasl = request->own.sasl;
    if (sasl == NULL) {
        return;
    }
    request->own.sasl = NULL;
    request->challenge = NULL;
    request->challenge_length = 0;
    sasl_search_cancel(sasl);
    sasl_gsasl_end(&sasl->gsasl);
    discard(&sasl->challenge, &sasl->challenge_length);
    discard(&sasl->held, &sasl->held_length);
    mem_wipe(sasl, sizeof *sasl);
    free(sasl);
}

/* Decides by name and password, as PASS does: through the cache, with everything that follows. */
static enum auth_verdict log_in(struct auth_sasl *sasl)
{
    struct auth_request *request = sasl->request;
    enum auth_verdict verdict = auth_login_as(
        request, sasl->login.authzid, sasl->login.authzid_length, sasl->login.authcid,
        sasl->login.authcid_length, sasl->login.password, sasl->login.password_length);
    sasl_end(request);
    return verdict;
}

/* Does what the mechanism wants. The exchange is over unless it goes on or waits. */
static enum auth_verdict take_step(struct auth_sasl *sasl, enum sasl_step step)
{
    struct auth_request *request = sasl->request;
    enum auth_verdict verdict = AUTH_UNAVAILABLE;
    uint64_t fingerprint = sasl->fingerprint;
    switch (step) {
    case SASL_CHALLENGE:
        request->challenge = sasl->challenge;
        request->challenge_length = sasl->challenge_length;
        return AUTH_CHALLENGE;
    case SASL_WAIT:
        return AUTH_PENDING;
    case SASL_LOGIN:
        return log_in(sasl);
    case SASL_ADMIT:
        assert(sasl->has_account);
        verdict = auth_admit(request, &sasl->drop, sasl->has_terms ? &sasl->terms : NULL);
        sasl_end(request);
        return verdict;
    case SASL_REFUSE:
        sasl_end(request);
        return auth_refuse(request, fingerprint);
    case SASL_UNAVAILABLE:
        break;
    }
    sasl_end(request);
    return AUTH_UNAVAILABLE;
}

enum sasl_step sasl_on_found(struct auth_sasl *sasl, enum status status,
                             const struct account *account)
{
    if (status != STATUS_OK && status != STATUS_NOT_FOUND && status != STATUS_DENIED) {
        return SASL_UNAVAILABLE;
    }
    sasl->has_account = status == STATUS_OK;
    if (sasl->has_account) {
        sasl->drop = account->drop;
        sasl->has_terms = auth_terms(account, NULL, &sasl->terms);
    }
    return sasl->mechanism->ops->on_account(sasl, sasl->has_account ? account : NULL);
}

void sasl_resume(struct auth_sasl *sasl, enum status status, const struct account *account)
{
    struct auth_request *request = sasl->request;
    enum auth_verdict verdict = take_step(sasl, sasl_on_found(sasl, status, account));
    if (verdict != AUTH_PENDING) {
        request->on_verdict(request, verdict);
    }
}

/* Begins an exchange that is allowed; NULL: no memory. */
static struct auth_sasl *begin(struct auth_request *request, const struct sasl_mechanism *mechanism)
{
    struct auth_sasl *sasl = calloc(1, sizeof *sasl);
    if (sasl != NULL) {
        sasl->request = request;
        sasl->mechanism = mechanism;
        secret_random(&sasl->fingerprint, sizeof sasl->fingerprint);
        request->own.sasl = sasl;
    }
    return sasl;
}

static enum auth_verdict respond(struct auth_sasl *sasl, const char *data, size_t length)
{
    if (length > AUTH_SASL_RESPONSE_MAX) {
        return take_step(sasl, SASL_REFUSE);
    }
    return take_step(sasl, sasl->mechanism->ops->on_response(sasl, data, length));
}

enum auth_verdict auth_start(struct auth_request *request, const char *mechanism,
                             size_t mechanism_length, const char *initial, size_t initial_length)
{
    assert(request->own.sasl == NULL && request->own.wait == NULL);
    struct connection_facts facts =
        facts_of(request->client, request->policy, request->tls_facts, request->tls);
    const struct sasl_mechanism *found = find_mechanism(mechanism, mechanism_length);
    auth_begin(request, "unknown");
    if (found == NULL || !is_allowed(found, &facts)) {
        return AUTH_FAILED;
    }
    request->mechanism = found->name;
    struct auth_sasl *sasl = begin(request, found);
    return sasl != NULL ? respond(sasl, initial, initial_length) : AUTH_UNAVAILABLE;
}

enum auth_verdict auth_continue(struct auth_request *request, const char *data, size_t length)
{
    struct auth_sasl *sasl = request->own.sasl;
    assert(sasl != NULL && sasl->search == NULL); /* after AUTH_CHALLENGE only */
    request->own.started_ms = loop_now_ms(request->client->loop);
    request->challenge = NULL;
    request->challenge_length = 0;
    return respond(sasl, data != NULL ? data : "", length);
}

enum auth_verdict auth_apop(struct auth_request *request, const char *name, size_t name_length,
                            const char *digest, size_t digest_length, const char *timestamp)
{
    assert(request->own.sasl == NULL && request->own.wait == NULL);
    uint8_t octets[16];
    size_t length = 0;
    auth_begin(request, apop.name);
    if (!auth_apop_allowed(request->policy)) {
        return AUTH_FAILED;
    }
    struct auth_sasl *sasl = begin(request, &apop);
    if (sasl == NULL) {
        return AUTH_UNAVAILABLE;
    }
    if (secret_from_hex(digest, digest_length, octets, sizeof octets, &length) != STATUS_OK ||
        length != sizeof octets) {
        return take_step(sasl, SASL_REFUSE);
    }
    /* What is held: the digest, then the timestamp. */
    char held[sizeof octets + AUTH_TIMESTAMP_MAX];
    size_t timestamp_length = strnlen(timestamp, AUTH_TIMESTAMP_MAX);
    memcpy(held, octets, sizeof octets);
    memcpy(held + sizeof octets, timestamp, timestamp_length);
    if (!sasl_hold(sasl, held, sizeof octets + timestamp_length)) {
        return take_step(sasl, SASL_UNAVAILABLE);
    }
    return take_step(sasl, sasl_find(sasl, name, name_length));
}
