/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A login: worker -> cache -> (only when it does not know) a hashing thread -> worker. Two structs:
 *
 *   auth_wait    one for each request that is not answered at once. The worker's, but for `waiter`
 *                while it is in a flight and the members "out" until it is posted back.
 *   auth_work    one for each verification, whatever the number of requests waiting for it. It
 *                belongs to the hashing threads (or to a database that answers late) until freed.
 *
 * The worker never waits for the thread, the thread never looks at a request: a request can go at
 * any time.
 */
#include "auth/auth_state.h"
#include "auth/credential.h"
#include "io/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct auth_wait {
    struct post_message answer; /* to the client's box */
    struct cache_waiter waiter;
    struct cache_key key;
    struct auth_client *client;
    struct auth_request *request;  /* the worker's; NULL once given up */
    enum auth_verdict verdict;     /* out */
    struct auth_identity identity; /* out, with AUTH_OK and AUTH_DISABLED */
};

struct auth_work {
    struct verify_job job;
    struct cache_flight flight;
    struct passdb_query query;
    struct auth *auth;
    enum status found;
    bool is_nameable; /* false: the name is malformed, nobody has it */
    size_t password_length;
    char password[]; /* wiped with the struct */
};

/* What a client sent, and the key it goes by. */
struct attempt {
    struct identity identity;
    bool is_nameable;
    const char *password;
    size_t password_length;
    struct cache_key key;
};

/* --- the verdict, on the worker ----------------------------------------------------------------
 */

static void on_delay_over(struct deadline *deadline)
{
    struct auth_request *request = list_entry(deadline, struct auth_request, own.delay);
    request->on_verdict(request, AUTH_FAILED);
}

/* Counts the failure and says how long its reply is held back, from the beginning of the request.
 */
static uint32_t earn_delay(struct auth_request *request, const struct cache_key *key)
{
    struct auth *auth = request->client->auth;
    struct throttle_source source = {{0}};
    if (request->peer != NULL) {
        struct address_prefix prefix;
        if (auth->exempt_loopback && address_is_loopback(request->peer)) {
            return 0;
        }
        static_assert(sizeof prefix.octets == sizeof source.octets, "a prefix is a source");
        address_prefix(request->peer, &prefix);
        memcpy(source.octets, prefix.octets, sizeof source.octets);
    }
    uint64_t fingerprint = secret_hash(&auth->fingerprint_key, key, sizeof *key);
    return throttle_failure(auth->throttle, &source, fingerprint,
                            loop_now_ms(request->client->loop));
}

/* AUTH_FAILED, now or later. */
static enum auth_verdict fail(struct auth_request *request, const struct cache_key *key)
{
    request->delay_ms = earn_delay(request, key);
    if (request->delay_ms == 0) {
        return AUTH_FAILED;
    }
    (void)atomic_fetch_add_explicit(&request->client->auth->delayed, 1, memory_order_relaxed);
    deadline_arm(loop_wheel(request->client->loop), &request->own.delay,
                 request->own.started_ms + request->delay_ms);
    return AUTH_PENDING;
}

/* A waiting request's answer has come back to its worker. */
static void on_answer(struct post_message *message)
{
    struct auth_wait *wait = list_entry(message, struct auth_wait, answer);
    struct auth_request *request = wait->request;
    wait->client->inflight--;
    if (request == NULL) {
        free(wait);
        return;
    }
    enum auth_verdict verdict = wait->verdict;
    request->own.wait = NULL;
    if (verdict == AUTH_OK || verdict == AUTH_DISABLED) {
        request->identity = wait->identity;
    } else if (verdict == AUTH_FAILED) {
        verdict = fail(request, &wait->key);
    }
    free(wait);
    if (verdict != AUTH_PENDING) {
        request->on_verdict(request, verdict);
    }
}

/* --- verifying, on a hashing thread ------------------------------------------------------------
 */

static void free_work(struct auth_work *work)
{
    mem_wipe(work, sizeof *work + work->password_length);
    free(work);
}

/* Hands a verdict to everybody who waits for it. */
static void settle(struct auth_work *work, const struct cache_value *value,
                   enum auth_verdict verdict)
{
    struct list_link waiters;
    list_init(&waiters);
    cache_settle(work->auth->cache, &work->flight, value, auth_clock_us() / 1000, &waiters);
    for (struct list_link *link; (link = list_pop_front(&waiters)) != NULL;) {
        struct auth_wait *wait = list_entry(link, struct auth_wait, waiter.link);
        wait->verdict = verdict;
        if (value->verdict == CACHE_VERIFIED || value->verdict == CACHE_DISABLED) {
            auth_identity_set(&wait->identity, &work->query.account);
        }
        post_send(wait->client->box, &wait->answer);
    }
}

/* STATUS_OK or STATUS_DENIED, or why it cannot be told now. Takes the time of one verification of
 * our own scheme at least, whether or not there is such an account or such a scheme. */
static enum status verify_password(struct auth_work *work)
{
    const struct auth *auth = work->auth;
    enum password_class class = PASSWORD_FAST;
    enum status status = STATUS_DENIED;
    if (work->found == STATUS_OK) {
        const char *credential = credential_choose(&work->query.account, &class);
        if (credential != NULL) {
            status = password_verify(credential, work->password, work->password_length);
        }
    }
    if (status == STATUS_OK || status == STATUS_NO_MEMORY) {
        return status;
    }
    if (class == PASSWORD_FAST) {
        password_dummy_verify(&auth->dummy, work->password, work->password_length);
    }
    return STATUS_DENIED; /* a credential that cannot be computed admits nobody */
}

/* Adds the credentials an imported account lacks, when nobody waits for this thread. Whoever logs
 * in has been answered already. */
static void complete_credentials(struct auth_work *work)
{
    struct passdb *passdb = work->auth->passdb;
    if (passdb->ops->complete == NULL || !credential_is_missing(&work->query.account) ||
        verify_waiting(work->auth->verify) > 0) {
        return;
    }
    if (credential_complete(&work->query.account, work->password, work->password_length)) {
        /* STATUS_LOST: changed meanwhile. After any failure the next verification tries again. */
        (void)passdb->ops->complete(passdb, &work->query.account);
    }
}

/* Verifies and answers, once the database has said who that is. */
static void finish_work(struct auth_work *work)
{
    struct cache_value value = {.verdict = CACHE_NOTHING};
    enum auth_verdict verdict = AUTH_UNAVAILABLE;
    enum status status = work->found;
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        int64_t begin_us = auth_clock_us();
        status = verify_password(work);
        uint64_t spent_us = (uint64_t)(auth_clock_us() - begin_us);
        (void)atomic_fetch_add_explicit(&work->auth->hashes, 1, memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&work->auth->hash_us_sum, spent_us, memory_order_relaxed);
    }
    if (status == STATUS_DENIED && (work->found == STATUS_OK || work->found == STATUS_NOT_FOUND)) {
        value.verdict = CACHE_REFUSED;
        verdict = AUTH_FAILED;
    } else if (status == STATUS_OK) {
        bool disabled = work->query.account.disabled;
        value.verdict = disabled ? CACHE_DISABLED : CACHE_VERIFIED;
        value.drop = work->query.account.drop;
        verdict = disabled ? AUTH_DISABLED : AUTH_OK;
    }
    settle(work, &value, verdict);
    if (verdict == AUTH_OK) {
        complete_credentials(work);
    }
    free_work(work);
}

/* The database has answered late. */
static void on_resume(struct verify_job *job)
{
    finish_work(list_entry(job, struct auth_work, job));
}

static void on_found(struct passdb_query *query, enum status status)
{
    struct auth_work *work = list_entry(query, struct auth_work, query);
    work->found = status;
    work->job.on_run = on_resume;
    verify_resume(work->auth->verify, &work->job);
}

static void on_work(struct verify_job *job)
{
    struct auth_work *work = list_entry(job, struct auth_work, job);
    if (cache_end_unwanted(work->auth->cache, &work->flight)) {
        free_work(work); /* everybody who asked has gone */
        return;
    }
    enum status status = STATUS_NOT_FOUND;
    if (work->is_nameable) {
        status = work->auth->passdb->ops->find(work->auth->passdb, &work->query);
    }
    if (status == STATUS_PENDING) {
        return;
    }
    work->found = status;
    finish_work(work);
}

/* --- asking, on the worker ---------------------------------------------------------------------
 */

static struct auth_work *make_work(struct auth *auth, const struct attempt *attempt)
{
    /* What the longest scheme takes is enough: a longer password is nobody's. */
    size_t length = attempt->password_length <= AUTH_PASSWORD_MAX ? attempt->password_length : 0;
    struct auth_work *work = calloc(1, sizeof *work + length);
    if (work == NULL) {
        return NULL;
    }
    work->auth = auth;
    work->job.on_run = on_work;
    work->query.identity = attempt->identity;
    work->query.on_answer = on_found;
    work->is_nameable = attempt->is_nameable && length == attempt->password_length;
    work->password_length = length;
    if (length > 0) {
        memcpy(work->password, attempt->password, length);
    }
    return work;
}

/* Ends a flight that got no thread. Its own waiter goes back to the caller, others are answered. */
static void abandon_work(struct auth_work *work, struct auth_wait *wait)
{
    (void)cache_leave(work->auth->cache, &wait->key,
                      &wait->waiter); /* it is there: we put it there */
    settle(work, &(struct cache_value){.verdict = CACHE_NOTHING}, AUTH_UNAVAILABLE);
    free_work(work);
}

/* What the cache said, made into a verdict. */
static enum auth_verdict take_value(struct auth_request *request, const struct attempt *attempt,
                                    const struct cache_value *value)
{
    struct passdb *passdb = request->client->auth->passdb;
    if (value->verdict == CACHE_REFUSED) {
        return fail(request, &attempt->key);
    }
    request->identity.drop = value->drop;
    if (value->verdict == CACHE_VERIFIED) {
        return AUTH_OK;
    }
    /* The reason is not in the cache; a database that may block is not asked for it here. */
    struct passdb_query query = {.identity = attempt->identity};
    if (!passdb->ops->may_block && passdb->ops->find(passdb, &query) == STATUS_OK) {
        auth_identity_set(&request->identity, &query.account);
    }
    mem_wipe(&query.account, sizeof query.account);
    return AUTH_DISABLED;
}

/* The cache does not know: joins a verification under way or begins one. */
static enum auth_verdict start_work(struct auth_request *request, const struct attempt *attempt)
{
    struct auth_client *client = request->client;
    struct cache_value value;
    struct auth_wait *wait = calloc(1, sizeof *wait);
    struct auth_work *work = make_work(client->auth, attempt);
    if (wait == NULL || work == NULL) {
        goto fail;
    }
    wait->answer.on_receive = on_answer;
    wait->key = attempt->key;
    wait->client = client;
    wait->request = request;
    enum cache_start start =
        cache_begin(client->auth->cache, &attempt->key, loop_now_ms(client->loop), &work->flight,
                    &wait->waiter, &value);
    if (start == CACHE_HIT) {
        free_work(work);
        free(wait);
        return take_value(request, attempt, &value);
    }
    if (start == CACHE_JOINED) {
        free_work(work);
    } else if (verify_submit(client->auth->verify, &work->job) != STATUS_OK) {
        abandon_work(work, wait);
        work = NULL;
        goto fail;
    }
    request->own.wait = wait;
    client->inflight++;
    return AUTH_PENDING;
fail:
    if (work != NULL) {
        free_work(work);
    }
    free(wait);
    return AUTH_UNAVAILABLE;
}

/* Fills in the attempt and the request's name. A malformed name goes the way of an unknown one,
 * under the key of the octets that came. */
static void prepare(struct auth_request *request, const char *name, size_t name_length,
                    struct attempt *attempt)
{
    struct auth *auth = request->client->auth;
    enum status status =
        identity_from_login(name, name_length, auth->default_domain, &attempt->identity);
    attempt->is_nameable = status == STATUS_OK;
    request->identity.name[0] = '\0';
    request->identity.reason[0] = '\0';
    if (attempt->is_nameable) {
        name = attempt->identity.name;
        name_length = attempt->identity.length;
        memcpy(request->identity.name, name, name_length + 1);
    }
    cache_key(auth->cache, name, name_length, attempt->password, attempt->password_length,
              &attempt->key);
}

enum auth_verdict auth_login(struct auth_request *request, const char *name, size_t name_length,
                             const char *password, size_t password_length)
{
    assert(request->own.wait == NULL);
    struct attempt attempt = {.password = password, .password_length = password_length};
    struct cache_value value;
    deadline_init(&request->own.delay, on_delay_over);
    request->own.started_ms = loop_now_ms(request->client->loop);
    request->delay_ms = 0;
    request->mechanism = "user";
    prepare(request, name, name_length, &attempt);
    if (cache_find(request->client->auth->cache, &attempt.key, request->own.started_ms, &value)) {
        return take_value(request, &attempt, &value);
    }
    return start_work(request, &attempt);
}

void auth_cancel(struct auth_request *request)
{
    struct auth_wait *wait = request->own.wait;
    if (request->own.delay.on_due != NULL) { /* else never started */
        deadline_disarm(loop_wheel(request->client->loop), &request->own.delay);
    }
    if (wait == NULL) {
        return;
    }
    request->own.wait = NULL;
    if (cache_leave(wait->client->auth->cache, &wait->key, &wait->waiter)) {
        wait->client->inflight--;
        free(wait);
    } else {
        wait->request = NULL; /* its answer is in the box, or will be in a moment */
    }
}
