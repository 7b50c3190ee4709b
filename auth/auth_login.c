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
#include "auth/sasl.h"
#include "io/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct auth_wait {
    struct post_message answer; /* to the client's box */
    struct cache_waiter waiter;
    struct cache_key key;
    struct auth_client *client;
    struct auth_request *request; /* the worker's; NULL once given up */
    enum auth_verdict verdict;    /* out: AUTH_OK, AUTH_FAILED or AUTH_UNAVAILABLE */
    struct cache_value value;     /* out, with AUTH_OK: under which terms, and where the mail is */
};

struct auth_work {
    struct verify_job job;
    struct cache_flight flight;
    struct passdb_query query;
    struct auth *auth;
    enum status found;
    bool is_nameable;       /* false: the name is malformed, nobody has it */
    bool has_master;        /* the password is to be that of... */
    struct identity master; /* ...who acts for the account */
    size_t password_length;
    char password[]; /* wiped with the struct */
};

/* What a client sent, and the key it goes by. */
struct attempt {
    struct auth_name name;
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

void auth_begin(struct auth_request *request, const char *mechanism)
{
    deadline_init(&request->own.delay, on_delay_over);
    request->own.started_ms = loop_now_ms(request->client->loop);
    request->delay_ms = 0;
    request->mechanism = mechanism;
    request->challenge = NULL;
    request->challenge_length = 0;
    request->identity.name[0] = '\0';
    request->identity.master[0] = '\0';
    request->identity.reason[0] = '\0';
}

/* What a failure costs for where it comes from. */
static uint32_t prefix_delay(struct auth_request *request, uint64_t fingerprint)
{
    struct throttle_source source = {{0}};
    if (request->peer != NULL) {
        struct address_prefix prefix;
        static_assert(sizeof prefix.octets == sizeof source.octets, "a prefix is a source");
        address_prefix(request->peer, &prefix);
        memcpy(source.octets, prefix.octets, sizeof source.octets);
    }
    return throttle_failure(request->client->auth->prefixes, &source, NULL, fingerprint,
                            loop_now_ms(request->client->loop));
}

/* What it costs for whose account it tries, whether or not there is such an account: many prefixes
 * that try one account are slowed by this. A malformed name is no account's. */
static uint32_t target_delay(struct auth_request *request, uint64_t fingerprint)
{
    struct auth *auth = request->client->auth;
    const struct auth_identity *identity = &request->identity;
    const char *name = identity->master[0] != '\0' ? identity->master : identity->name;
    if (name[0] == '\0') {
        return 0;
    }
    struct throttle_source source = throttle_source_of(auth->targets, name);
    return throttle_failure(auth->targets, &source, name, fingerprint,
                            loop_now_ms(request->client->loop));
}

enum auth_verdict auth_refuse(struct auth_request *request, uint64_t fingerprint)
{
    struct auth *auth = request->client->auth;
    bool is_exempt =
        auth->exempt_loopback && request->peer != NULL && address_is_loopback(request->peer);
    if (!is_exempt) {
        uint32_t prefix_ms = prefix_delay(request, fingerprint);
        uint32_t target_ms = target_delay(request, fingerprint);
        request->delay_ms = prefix_ms > target_ms ? prefix_ms : target_ms;
    }
    if (request->delay_ms == 0) {
        return AUTH_FAILED;
    }
    (void)atomic_fetch_add_explicit(&auth->delayed, 1, memory_order_relaxed);
    deadline_init(&request->own.delay, on_delay_over);
    deadline_arm(loop_wheel(request->client->loop), &request->own.delay,
                 request->own.started_ms + request->delay_ms);
    return AUTH_PENDING;
}

/* The maildrop that was missing has been made, or cannot be. */
static void on_drop(struct drop_ask *ask)
{
    struct auth_request *request = ask->owner;
    request->own.drop = NULL;
    request->identity.drop = ask->drop;
    request->on_verdict(request, ask->status == STATUS_OK ? AUTH_OK : AUTH_UNAVAILABLE);
}

enum auth_verdict auth_admit(struct auth_request *request, const struct store_drop *drop,
                             const struct terms *terms)
{
    struct auth_identity *identity = &request->identity;
    identity->drop = *drop;
    if (terms != NULL && !terms_admit(terms, request->peer, request->tls, identity->reason)) {
        return AUTH_DISABLED;
    }
    if (identity->master[0] != '\0') {
        (void)atomic_fetch_add_explicit(&request->client->auth->master_logins, 1,
                                        memory_order_relaxed);
    }
    if (drop_is_known(drop)) {
        return AUTH_OK;
    }
    enum status status = drop_want(request->client, identity->name, on_drop, request,
                                   &identity->drop, &request->own.drop);
    return status == STATUS_OK        ? AUTH_OK
           : status == STATUS_PENDING ? AUTH_PENDING
                                      : AUTH_UNAVAILABLE;
}

static enum auth_verdict refuse_key(struct auth_request *request, const struct cache_key *key)
{
    return auth_refuse(request,
                       secret_hash(&request->client->auth->fingerprint_key, key, sizeof *key));
}

/* Made of what is remembered or was just found out. */
static enum auth_verdict take_value(struct auth_request *request, const struct cache_key *key,
                                    const struct cache_value *value)
{
    if (value->verdict == CACHE_REFUSED) {
        return refuse_key(request, key);
    }
    return auth_admit(request, &value->drop, value->has_terms ? &value->terms : NULL);
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
    deadline_disarm(loop_wheel(wait->client->loop), &request->own.delay);
    if (verdict != AUTH_UNAVAILABLE) {
        verdict = take_value(request, &wait->key, &wait->value);
    }
    free(wait);
    if (verdict != AUTH_PENDING) {
        request->on_verdict(request, verdict);
    }
}

static void free_work(struct auth_work *work)
{
    mem_wipe(work, sizeof *work + work->password_length);
    free(work);
}

/* Nobody waits for it any more: it leaves the queue, if that is where it is. One that a database
 * has been asked for goes on, and is remembered: when databases are slow, what they have said is
 * worth more than a hash. */
static bool on_unwanted(struct cache_flight *flight)
{
    struct auth_work *work = list_entry(flight, struct auth_work, flight);
    return verify_withdraw(work->auth->verify, &work->job);
}

/* Takes a request out of its verification. */
static void leave(struct auth_request *request)
{
    struct auth_wait *wait = request->own.wait;
    struct cache_flight *ended = NULL;
    if (wait == NULL) {
        return;
    }
    request->own.wait = NULL;
    if (cache_leave(wait->client->auth->cache, &wait->key, &wait->waiter, &ended)) {
        wait->client->inflight--;
        if (ended != NULL) {
            free_work(list_entry(ended, struct auth_work, flight));
        }
        free(wait);
    } else {
        wait->request = NULL; /* its answer is in the box, or will be in a moment */
    }
}

/* A database does not answer and does not say so: this request is not kept any longer. */
static void on_too_late(struct deadline *deadline)
{
    struct auth_request *request = list_entry(deadline, struct auth_request, own.delay);
    leave(request);
    request->on_verdict(request, AUTH_UNAVAILABLE);
}

static void limit_wait(struct auth_request *request)
{
    deadline_init(&request->own.delay, on_too_late);
    deadline_arm(loop_wheel(request->client->loop), &request->own.delay,
                 request->own.started_ms + AUTH_ANSWER_MAX_S * INT64_C(1000));
}

/* --- verifying, on a hashing thread ------------------------------------------------------------
 */

/* Hands a verdict to everybody who waits for it. What is remembered may be less than what they are
 * told. */
static void settle(struct auth_work *work, enum auth_verdict verdict,
                   const struct cache_value *value, bool is_remembered)
{
    static const struct cache_value nothing = {.verdict = CACHE_NOTHING};
    struct list_link waiters;
    list_init(&waiters);
    cache_settle(work->auth->cache, &work->flight, is_remembered ? value : &nothing,
                 auth_clock_us() / 1000, &waiters);
    for (struct list_link *link; (link = list_pop_front(&waiters)) != NULL;) {
        struct auth_wait *wait = list_entry(link, struct auth_wait, waiter.link);
        wait->verdict = verdict;
        wait->value = *value;
        post_send(wait->client->box, &wait->answer);
    }
}

/* STATUS_OK or STATUS_DENIED, or why it cannot be told now. Takes the time of one verification of
 * our own scheme at least, whether or not there is such an account or such a scheme. `account`
 * NULL: there is none. */
static enum status verify_password(struct auth_work *work, const struct account *account)
{
    enum password_class class = PASSWORD_FAST;
    enum status status = STATUS_DENIED;
    if (account != NULL) {
        const char *credential = credential_choose(account, &class);
        if (credential != NULL) {
            status = password_verify(credential, work->password, work->password_length);
        }
    }
    if (status == STATUS_OK || status == STATUS_NO_MEMORY) {
        return status;
    }
    if (class == PASSWORD_FAST) {
        password_dummy_verify(&work->auth->dummy, work->password, work->password_length);
    }
    return STATUS_DENIED; /* a credential that cannot be computed admits nobody */
}

/* The same, timed for the figures. */
static enum status verify_timed(struct auth_work *work, const struct account *account)
{
    int64_t begin_us = auth_clock_us();
    enum status status = verify_password(work, account);
    uint64_t spent_us = (uint64_t)(auth_clock_us() - begin_us);
    (void)atomic_fetch_add_explicit(&work->auth->hashes, 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&work->auth->hash_us_sum, spent_us, memory_order_relaxed);
    return status;
}

bool auth_terms(const struct account *account, const struct account *master,
                struct terms *out_terms)
{
    return terms_of(master != NULL ? master : account, out_terms);
}

/* Whether the password is the account's; with STATUS_OK, `value` says so. */
static enum status verify_owner(struct auth_work *work, struct cache_value *value)
{
    const struct account *account = work->found == STATUS_OK ? &work->query.account : NULL;
    enum status status = verify_timed(work, account);
    if (status == STATUS_OK) {
        value->has_terms = auth_terms(account, NULL, &value->terms);
    }
    return status;
}

/* Whether it is that of the master who acts for it. He learns no more than others about accounts
 * that do not exist. */
static enum status verify_master(struct auth_work *work, struct cache_value *value)
{
    struct account *master = calloc(1, sizeof *master);
    if (master == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = STATUS_NOT_FOUND;
    if (work->auth->accounts != NULL) {
        status = account_master_find(work->auth->accounts, work->master.name, master);
    }
    if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
        status = verify_timed(work, status == STATUS_OK ? master : NULL);
    }
    if (status == STATUS_OK) {
        status = work->found == STATUS_OK ? STATUS_OK : STATUS_DENIED;
        value->has_terms = auth_terms(&work->query.account, master, &value->terms);
    }
    mem_wipe(master, sizeof *master);
    free(master);
    return status;
}

/* Adds the credentials an imported account lacks, when nobody waits for this thread. Whoever logs
 * in has been answered already. */
static void complete_credentials(struct auth_work *work)
{
    struct passdb *passdb = work->auth->passdb;
    if (work->has_master || !passdb_order_is_written(&work->auth->order, &work->query.account) ||
        !credential_is_missing(&work->query.account) || verify_waiting(work->auth->verify) > 0) {
        return;
    }
    if (credential_complete(&work->query.account, work->password, work->password_length)) {
        /* STATUS_LOST: changed meanwhile. After any failure the next verification tries again. */
        (void)passdb->ops->complete(passdb, &work->query.account);
    }
}

/* Nobody can be asked: whoever was let in not too long ago is let in again, and that is not
 * remembered anew. */
static void settle_stale(struct auth_work *work)
{
    struct cache_value value = {.verdict = CACHE_NOTHING};
    enum auth_verdict verdict = AUTH_UNAVAILABLE;
    if (cache_find_stale(work->auth->cache, &work->flight.key, auth_clock_us() / 1000,
                         AUTH_CACHE_STALE_S * INT64_C(1000), &value)) {
        (void)atomic_fetch_add_explicit(&work->auth->stale, 1, memory_order_relaxed);
        verdict = AUTH_OK;
    }
    settle(work, verdict, &value, false);
}

/* Verifies and answers, once the database has said who that is. */
static void finish_work(struct auth_work *work)
{
    struct cache_value value = {.verdict = CACHE_VERIFIED};
    if (work->found != STATUS_OK && work->found != STATUS_NOT_FOUND) {
        settle_stale(work);
        free_work(work);
        return;
    }
    value.drop = work->query.account.drop;
    enum status status =
        work->has_master ? verify_master(work, &value) : verify_owner(work, &value);
    if (status == STATUS_OK) {
        settle(work, AUTH_OK, &value, true);
        complete_credentials(work);
    } else if (status == STATUS_DENIED) {
        value.verdict = CACHE_REFUSED;
        settle(work, AUTH_FAILED, &value, true);
    } else {
        settle(work, AUTH_UNAVAILABLE, &value, false);
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
    work->flight.on_unwanted = on_unwanted;
    work->query.on_answer = on_found;
    work->is_nameable = attempt->name.is_nameable && length == attempt->password_length;
    if (attempt->name.is_nameable) {
        work->query.identity = attempt->name.user;
    }
    work->has_master = attempt->name.is_nameable && attempt->name.has_master;
    if (work->has_master) {
        work->master = attempt->name.master;
    }
    work->password_length = length;
    if (length > 0) {
        memcpy(work->password, attempt->password, length);
    }
    return work;
}

/* Ends a flight that got no thread. Its own waiter goes back to the caller, others are answered. */
static void abandon_work(struct auth_work *work, struct auth_wait *wait)
{
    struct cache_flight *ended = NULL;
    bool left = cache_leave(work->auth->cache, &wait->key, &wait->waiter, &ended);
    assert(left && ended == NULL); /* we put it there, and the job is in no queue */
    (void)left;
    settle(work, AUTH_UNAVAILABLE, &(struct cache_value){.verdict = CACHE_NOTHING}, false);
    free_work(work);
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
        return take_value(request, &attempt->key, &value);
    }
    if (start == CACHE_JOINED) {
        free_work(work);
    } else if (verify_submit(client->auth->verify, &work->job) != STATUS_OK) {
        abandon_work(work, wait);
        work = NULL;
        goto fail;
    }
    request->own.wait = wait;
    limit_wait(request);
    client->inflight++;
    return AUTH_PENDING;
fail:
    if (work != NULL) {
        free_work(work);
    }
    free(wait);
    return AUTH_UNAVAILABLE;
}

/* The key of what came, and the request's names. A malformed name goes the way of an unknown one,
 * under the key of the octets that came. */
static void make_key(struct auth_request *request, const char *authcid, size_t authcid_length,
                     struct attempt *attempt)
{
    struct cache *cache = request->client->auth->cache;
    const struct auth_name *name = &attempt->name;
    if (!name->is_nameable) {
        cache_key(cache, authcid, authcid_length, attempt->password, attempt->password_length,
                  &attempt->key);
        return;
    }
    memcpy(request->identity.name, name->user.name, name->user.length + 1);
    if (!name->has_master) {
        cache_key(cache, name->user.name, name->user.length, attempt->password,
                  attempt->password_length, &attempt->key);
        return;
    }
    char mark[1 + AUTH_NAME_MAX + 1] = ACCOUNT_MASTER_MARK;
    memcpy(mark + 1, name->master.name, name->master.length + 1);
    memcpy(request->identity.master, name->master.name, name->master.length + 1);
    cache_key_for_master(cache, name->user.name, name->user.length, mark, name->master.length + 1,
                         attempt->password, attempt->password_length, &attempt->key);
}

enum auth_verdict auth_login_as(struct auth_request *request, const char *authzid,
                                size_t authzid_length, const char *authcid, size_t authcid_length,
                                const char *password, size_t password_length)
{
    assert(request->own.wait == NULL && request->own.drop == NULL);
    struct auth *auth = request->client->auth;
    struct auth_name_rules rules = auth_rules(auth);
    struct attempt attempt = {.password = password, .password_length = password_length};
    struct cache_value value;
    auth_begin(request, request->mechanism);
    auth_name_read(&rules, authzid, authzid_length, authcid, authcid_length, &attempt.name);
    make_key(request, authcid, authcid_length, &attempt);
    if (cache_find(auth->cache, &attempt.key, request->own.started_ms, &value)) {
        return take_value(request, &attempt.key, &value);
    }
    return start_work(request, &attempt);
}

enum auth_verdict auth_login(struct auth_request *request, const char *name, size_t name_length,
                             const char *password, size_t password_length)
{
    request->mechanism = "user";
    return auth_login_as(request, NULL, 0, name, name_length, password, password_length);
}

void auth_cancel(struct auth_request *request)
{
    if (request->own.delay.on_due != NULL) { /* else never started */
        deadline_disarm(loop_wheel(request->client->loop), &request->own.delay);
    }
    drop_give_up(&request->own.drop);
    leave(request);
    sasl_end(request);
}
