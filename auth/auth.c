/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"

#include "auth/account.h"
#include "auth/auth_state.h"
#include "io/mem.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *auth_verdict_name(enum auth_verdict verdict)
{
    static const char *const names[AUTH_VERDICTS] = {
        [AUTH_PENDING] = "pending",
        [AUTH_CHALLENGE] = "challenge",
        [AUTH_OK] = "ok",
        [AUTH_FAILED] = "failed",
        [AUTH_DISABLED] = "disabled",
        [AUTH_UNAVAILABLE] = "unavailable",
    };
    return verdict < AUTH_VERDICTS ? names[verdict] : "invalid";
}

/* --- opening and closing -----------------------------------------------------------------------
 */

static void on_change(void *owner, const char *name)
{
    auth_forget(owner, name);
}

static uint32_t default_threads(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < AUTH_HASH_THREADS_DEFAULT ? (uint32_t)count : AUTH_HASH_THREADS_DEFAULT;
}

static uint32_t value_or(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

/* Seconds to milliseconds, held below what a timer's 32 bits take. */
static uint32_t seconds_ms(uint32_t seconds)
{
    return seconds > UINT32_MAX / 1000 ? UINT32_MAX : seconds * 1000;
}

static enum status open_database(struct auth *auth, const struct auth_config *config,
                                 struct error *out_error)
{
    auth->passdb = config->passdb;
    if (auth->passdb == NULL) {
        enum status status = account_db_open(config->accounts_path, &auth->accounts, out_error);
        if (status != STATUS_OK) {
            return status;
        }
        passdb_embedded_init(&auth->embedded, auth->accounts);
        auth->passdb = &auth->embedded.passdb;
    }
    return STATUS_OK;
}

static enum status open_parts(struct auth *auth, const struct auth_config *config,
                              struct error *out_error)
{
    const struct cache_config cache = {
        .entries_max = value_or(config->cache_entries_max, AUTH_CACHE_ENTRIES_DEFAULT),
        .ttl_ms = seconds_ms(value_or(config->cache_ttl_s, AUTH_CACHE_TTL_S)),
        .negative_ttl_ms =
            seconds_ms(value_or(config->cache_negative_ttl_s, AUTH_CACHE_NEGATIVE_TTL_S)),
    };
    uint32_t threads = value_or(config->hash_threads, default_threads());
    threads = threads < AUTH_HASH_THREADS_MAX ? threads : AUTH_HASH_THREADS_MAX;
    enum status status = password_dummy_init(&auth->dummy);
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, NULL, "libcrypt of this system lacks yescrypt");
    }
    status = cache_create(&cache, &auth->cache);
    if (status == STATUS_OK) {
        status = throttle_create(&auth->throttle);
    }
    if (status == STATUS_OK) {
        status = verify_create(threads, value_or(config->hash_queue_max, AUTH_HASH_QUEUE_DEFAULT),
                               &auth->verify);
    }
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, NULL, "starting the hashing threads");
    }
    if (auth->passdb->ops->watch != NULL) {
        auth->passdb->ops->watch(auth->passdb, on_change, auth);
    }
    return STATUS_OK;
}

enum status auth_open(const struct auth_config *config, struct auth **out_auth,
                      struct error *out_error)
{
    if (secret_start() != STATUS_OK) {
        return error_set(out_error, STATUS_UNSUPPORTED, 0, NULL, "no source of random numbers");
    }
    const char *domain = config->default_domain != NULL ? config->default_domain : "";
    if (strlen(domain) > AUTH_DOMAIN_MAX) {
        return error_set(out_error, STATUS_INVALID, 0, NULL, "the default domain is too long");
    }
    struct auth *auth = calloc(1, sizeof *auth);
    if (auth == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "opening the accounts");
    }
    memcpy(auth->default_domain, domain, strlen(domain));
    auth->recipient_delimiter = config->recipient_delimiter;
    auth->exempt_loopback = config->exempt_loopback;
    secret_key_make(&auth->fingerprint_key);
    enum status status = open_database(auth, config, out_error);
    if (status == STATUS_OK) {
        status = open_parts(auth, config, out_error);
    }
    if (status != STATUS_OK) {
        auth_close(&auth);
        return status;
    }
    *out_auth = auth;
    return STATUS_OK;
}

void auth_close(struct auth **auth)
{
    struct auth *closing = *auth;
    if (closing == NULL) {
        return;
    }
    verify_destroy(&closing->verify); /* first: its jobs use all the rest */
    if (closing->passdb != NULL && closing->passdb->ops->watch != NULL) {
        closing->passdb->ops->watch(closing->passdb, NULL, NULL);
    }
    cache_destroy(&closing->cache);
    throttle_destroy(&closing->throttle);
    account_db_close(&closing->accounts);
    mem_wipe(closing, sizeof *closing);
    free(closing);
    *auth = NULL;
}

/* --- small things ------------------------------------------------------------------------------
 */

int64_t auth_clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void auth_identity_set(struct auth_identity *identity, const struct account *account)
{
    memcpy(identity->name, account->name, sizeof identity->name);
    identity->drop = account->drop;
    identity->reason[0] = '\0';
    if (account->disabled) {
        memcpy(identity->reason, account->reason, sizeof identity->reason);
    }
}

void auth_forget(struct auth *auth, const char *name)
{
    if (name != NULL) {
        cache_forget(auth->cache, name, strlen(name));
    } else {
        cache_forget_all(auth->cache);
    }
}

struct account_db *auth_accounts(struct auth *auth)
{
    return auth->accounts;
}

void auth_client_init(struct auth_client *client, struct auth *auth, struct loop *loop,
                      struct post_box *box)
{
    *client = (struct auth_client){.auth = auth, .loop = loop, .box = box};
}

void auth_numbers(struct auth *auth, struct auth_numbers *out_numbers)
{
    struct cache_numbers cache;
    struct auth_numbers numbers = {0};
    cache_numbers(auth->cache, &cache);
    if (auth->passdb->ops->count(auth->passdb, &numbers.accounts) != STATUS_OK) {
        numbers.accounts = 0;
    }
    numbers.cache_entries = cache.entries;
    numbers.cache_hits = cache.hits;
    numbers.cache_negative_hits = cache.negative_hits;
    numbers.cache_misses = cache.misses + cache.joins;
    numbers.hashes = atomic_load_explicit(&auth->hashes, memory_order_relaxed);
    numbers.hash_us_sum = atomic_load_explicit(&auth->hash_us_sum, memory_order_relaxed);
    numbers.hash_waiting = verify_waiting(auth->verify);
    numbers.hash_refused = verify_refused(auth->verify);
    numbers.delayed = atomic_load_explicit(&auth->delayed, memory_order_relaxed);
    numbers.penalised_prefixes = throttle_count(auth->throttle, auth_clock_us() / 1000);
    *out_numbers = numbers;
}
