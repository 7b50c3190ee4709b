/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"

#include "auth/account.h"
#include "auth/auth_state.h"
#include "auth/oauth.h"
#include "auth/passdb_passwd_file.h"
#include "auth/sasl_gsasl.h"
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

/* Makes one of the configured databases and puts it behind the others. */
static enum status add_source(struct auth *auth, const struct auth_config *config,
                              const struct auth_source *source, struct error *out_error)
{
    struct passdb *passdb = source->passdb;
    enum status status = STATUS_OK;
    if (source->kind == AUTH_SOURCE_EMBEDDED) {
        if (auth->accounts == NULL) {
            return error_set(out_error, STATUS_INVALID, 0, NULL, "there are no embedded accounts");
        }
        passdb = &auth->embedded.passdb;
    } else if (source->kind == AUTH_SOURCE_PASSWD_FILE) {
        const struct passdb_passwd_file_config file = {.path = source->path,
                                                       .default_domain = auth->default_domain,
                                                       .on_notice = config->on_notice,
                                                       .owner = config->owner};
        status = passdb_passwd_file_create(&file, &passdb, out_error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (passdb_order_add(&auth->order, passdb) != STATUS_OK) {
        if (passdb->ops->destroy != NULL) {
            passdb->ops->stop(passdb);
            passdb->ops->destroy(passdb);
        }
        return error_set(out_error, STATUS_LIMIT, 0, NULL, "at most %d user databases",
                         AUTH_SOURCES_MAX);
    }
    return STATUS_OK;
}

static enum status open_databases(struct auth *auth, const struct auth_config *config,
                                  struct error *out_error)
{
    static const struct auth_source embedded = {.kind = AUTH_SOURCE_EMBEDDED};
    const struct auth_source *sources = config->source_count > 0 ? config->sources : &embedded;
    size_t count = config->source_count > 0 ? config->source_count : 1;
    enum status status = STATUS_OK;
    if (config->accounts_path != NULL) {
        status = account_db_open(config->accounts_path, &auth->accounts, out_error);
    }
    if (status == STATUS_OK && auth->accounts != NULL) {
        auth->lasting_key = *account_db_secret(auth->accounts);
        passdb_embedded_init(&auth->embedded, auth->accounts);
    }
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        status = add_source(auth, config, &sources[i], out_error);
    }
    return status;
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
        status = sasl_gsasl_open(&auth->gsasl);
    }
    if (status == STATUS_OK) {
        status = throttle_create(0, &auth->prefixes);
    }
    if (status == STATUS_OK) {
        status = throttle_create(AUTH_THROTTLE_FREE, &auth->targets);
    }
    if (status == STATUS_OK) {
        status = verify_create(
            threads, value_or(config->hash_queue_max, threads * AUTH_HASH_QUEUE_PER_THREAD),
            &auth->verify);
    }
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, NULL, "starting the hashing threads");
    }
    passdb_order_set_verify(&auth->order, auth->verify);
    if (auth->accounts != NULL) {
        account_db_watch(auth->accounts, on_change, auth); /* masters, also when it is not asked */
    }
    auth->passdb->ops->watch(auth->passdb, on_change, auth);
    if (config->oauth == NULL) {
        return STATUS_OK;
    }
    struct oauth_config oauth = *config->oauth;
    oauth.on_notice = config->on_notice;
    oauth.owner = config->owner;
    return oauth_create(&oauth, &auth->oauth, out_error);
}

enum status auth_open(const struct auth_config *config, struct auth **out_auth,
                      struct error *out_error)
{
    if (secret_start() != STATUS_OK) {
        return error_set(out_error, STATUS_UNSUPPORTED, 0, NULL, "no source of random numbers");
    }
    const char *domain = config->default_domain != NULL ? config->default_domain : "";
    const char *separators = config->name_separators != NULL ? config->name_separators : "";
    if (strlen(domain) > AUTH_DOMAIN_MAX) {
        return error_set(out_error, STATUS_INVALID, 0, NULL, "the default domain is too long");
    }
    if (strlen(separators) > AUTH_SEPARATORS_MAX) {
        return error_set(out_error, STATUS_INVALID, 0, NULL, "too many separators of names");
    }
    struct auth *auth = calloc(1, sizeof *auth);
    if (auth == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "opening the accounts");
    }
    memcpy(auth->default_domain, domain, strlen(domain));
    memcpy(auth->name_separators, separators, strlen(separators));
    auth->master_separator = config->master_separator;
    drop_provider_init(&auth->drops);
    passdb_order_init(&auth->order, config->on_notice, config->owner);
    auth->passdb = &auth->order.passdb;
    auth->recipient_delimiter = config->recipient_delimiter;
    auth->exempt_loopback = config->exempt_loopback;
    secret_key_make(&auth->fingerprint_key);
    secret_key_make(&auth->lasting_key);
    enum status status = open_databases(auth, config, out_error);
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
    passdb_order_stop(&closing->order); /* first: what it still owes is answered, on threads... */
    verify_destroy(&closing->verify);   /* ...that go before what their jobs use */
    closing->passdb->ops->watch(closing->passdb, NULL, NULL);
    passdb_order_destroy(&closing->order);
    drop_provider_deinit(&closing->drops);
    oauth_destroy(&closing->oauth);
    sasl_gsasl_close(&closing->gsasl);
    cache_destroy(&closing->cache);
    throttle_destroy(&closing->prefixes);
    throttle_destroy(&closing->targets);
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
    identity->master[0] = '\0';
    identity->reason[0] = '\0';
    if (account->disabled) {
        memcpy(identity->reason, account->reason, sizeof identity->reason);
    }
}

struct auth_name_rules auth_rules(const struct auth *auth)
{
    return (struct auth_name_rules){.default_domain = auth->default_domain,
                                    .separators = auth->name_separators,
                                    .master_separator = auth->master_separator};
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
    numbers.penalised_prefixes = throttle_count(auth->prefixes, auth_clock_us() / 1000);
    numbers.penalised_accounts = throttle_count(auth->targets, auth_clock_us() / 1000);
    numbers.stale = atomic_load_explicit(&auth->stale, memory_order_relaxed);
    numbers.master_logins = atomic_load_explicit(&auth->master_logins, memory_order_relaxed);
    numbers.databases = auth->order.count;
    numbers.databases_down = passdb_order_down(&auth->order);
    *out_numbers = numbers;
}
