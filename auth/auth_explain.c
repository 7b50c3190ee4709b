/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth_explain.h"

#include "auth/account_alias.h"
#include "auth/account_drop.h"
#include "auth/auth_state.h"
#include "auth/credential.h"
#include "io/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Everything that is found out on the way. On the heap: it holds accounts. */
struct inquiry {
    struct auth *auth;
    const struct auth_question *question;
    struct auth_explanation *out;
    struct timespec until; /* monotonic: then no database is waited for any more */
    struct auth_name name;
    struct account account, master;
    bool has_account, has_master, is_unavailable;
    bool is_refused; /* the terms say no */
    bool is_right;   /* the password */
};

__attribute__((format(printf, 4, 5))) static void say(struct inquiry *inquiry, const char *what,
                                                      bool is_good, const char *format, ...)
{
    struct auth_explanation *out = inquiry->out;
    if (out->count == AUTH_EXPLAIN_STEPS_MAX) {
        return;
    }
    struct auth_explain_step *step = &out->steps[out->count++];
    step->what = what;
    step->is_good = is_good;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(step->text, sizeof step->text, format, arguments); /* cut to fit */
    va_end(arguments);
}

/* --- asking a database, whenever it answers ----------------------------------------------------
 */

/* A question that may be answered after nobody waits any more: whoever is last frees it. */
struct patient {
    struct passdb_query query;
    pthread_mutex_t lock;
    pthread_cond_t answered_now;
    bool is_answered, is_given_up;
    enum status status;
};

static void free_patient(struct patient *patient)
{
    (void)pthread_cond_destroy(&patient->answered_now); /* nobody waits */
    (void)pthread_mutex_destroy(&patient->lock);
    mem_wipe(patient, sizeof *patient);
    free(patient);
}

static void on_answer(struct passdb_query *query, enum status status)
{
    struct patient *patient = list_entry(query, struct patient, query);
    (void)pthread_mutex_lock(&patient->lock); /* a default mutex of ours cannot fail */
    patient->is_answered = true;
    patient->status = status;
    bool is_given_up = patient->is_given_up;
    (void)pthread_cond_signal(&patient->answered_now); /* cannot fail */
    (void)pthread_mutex_unlock(&patient->lock);        /* see above */
    if (is_given_up) {
        free_patient(patient);
    }
}

static struct patient *make_patient(const struct identity *identity)
{
    struct patient *patient = calloc(1, sizeof *patient);
    if (patient == NULL) {
        return NULL;
    }
    pthread_condattr_t monotonic;
    int result = pthread_mutex_init(&patient->lock, NULL);
    assert(result == 0);                     /* none of these takes resources on Linux */
    (void)pthread_condattr_init(&monotonic); /* nor fails */
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    result = pthread_cond_init(&patient->answered_now, &monotonic);
    assert(result == 0);
    (void)result;
    (void)pthread_condattr_destroy(&monotonic);
    patient->query.identity = *identity;
    patient->query.on_answer = on_answer;
    return patient;
}

/* Waits for the answer. False: it has been given up, and is no longer ours. */
static bool wait_for(struct patient *patient, const struct timespec *until)
{
    (void)pthread_mutex_lock(&patient->lock); /* see on_answer */
    int result = 0;
    while (!patient->is_answered && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&patient->answered_now, &patient->lock, until);
    }
    bool is_answered = patient->is_answered;
    patient->is_given_up = !is_answered;
    (void)pthread_mutex_unlock(&patient->lock); /* see on_answer */
    return is_answered;
}

static enum status ask(struct inquiry *inquiry, struct passdb *passdb, struct account *out_account)
{
    const struct identity *identity = &inquiry->name.user;
    struct patient *patient = make_patient(identity);
    if (patient == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = passdb->ops->find(passdb, &patient->query);
    if (status == STATUS_PENDING) {
        if (!wait_for(patient, &inquiry->until)) {
            return STATUS_TIMEOUT;
        }
        status = patient->status;
    }
    if (status == STATUS_OK) {
        *out_account = patient->query.account;
        memcpy(out_account->name, identity->name, sizeof out_account->name);
    }
    free_patient(patient);
    return status;
}

/* --- the steps ---------------------------------------------------------------------------------
 */

static bool explain_name(struct inquiry *inquiry)
{
    struct auth_name_rules rules = auth_rules(inquiry->auth);
    const struct auth_question *question = inquiry->question;
    auth_name_read(&rules, NULL, 0, question->name, question->name_length, &inquiry->name);
    if (!inquiry->name.is_nameable) {
        say(inquiry, "name", false,
            "it is malformed or has characters that no name has; it goes the way of an unknown "
            "user");
        return false;
    }
    say(inquiry, "name", true, "read as %s", inquiry->name.user.name);
    if (inquiry->name.has_master) {
        say(inquiry, "name", true, "for whom %s acts as a master", inquiry->name.master.name);
    }
    return true;
}

static void explain_databases(struct inquiry *inquiry)
{
    struct passdb_order *order = &inquiry->auth->order;
    for (uint32_t i = 0; i < order->count; i++) {
        struct passdb *passdb = order->seats[i].passdb;
        const char *name = passdb->ops->name;
        enum status status = ask(inquiry, passdb, &inquiry->account);
        if (status == STATUS_OK) {
            say(inquiry, "database", true, "%u, %s, knows the name and answers for it", i + 1,
                name);
            inquiry->has_account = true;
            return;
        }
        if (status != STATUS_NOT_FOUND) {
            say(inquiry, "database", false,
                "%u, %s, cannot tell (%s); those behind it are not asked", i + 1, name,
                status_name(status));
            inquiry->is_unavailable = true;
            return;
        }
        say(inquiry, "database", true, "%u, %s, knows nobody of that name", i + 1, name);
    }
    say(inquiry, "account", false, "there is none; a client is told what a wrong password is told");
}

/* Aliases are for delivery; whoever tries to log in as one should be told so. */
static void explain_alias(struct inquiry *inquiry)
{
    struct account_db *accounts = inquiry->auth->accounts;
    struct alias *alias = accounts == NULL ? NULL : malloc(sizeof *alias);
    if (alias != NULL &&
        account_alias_find(accounts, inquiry->name.user.name, alias) == STATUS_OK) {
        say(inquiry, "alias", false, "%s is an alias of %u, the first %s: nobody logs in as one",
            alias->name, alias->target_count, alias->targets[0]);
    }
    free(alias);
}

static const char *class_text(enum password_class class)
{
    static const char *const texts[] = {[PASSWORD_YESCRYPT] = "yescrypt, our own",
                                        [PASSWORD_SLOW] = "slow to verify",
                                        [PASSWORD_FAST] = "a fast digest or plain text",
                                        [PASSWORD_SCRAM] = "keys for SCRAM"};
    return texts[class];
}

static void explain_credentials(struct inquiry *inquiry, const struct account *account)
{
    enum password_class class;
    for (uint32_t i = 0; i < account->credential_count; i++) {
        const char *text = account->credentials[i].text;
        size_t length = strcspn(text, "}");
        bool is_usable = password_check(text, &class) == STATUS_OK;
        /* Nothing of what is behind the brace. */
        say(inquiry, "credentials", is_usable, "%.*s}: %s", text[length] == '}' ? (int)length : 0,
            text, is_usable ? class_text(class) : "not usable here");
    }
    if (credential_choose(account, &class) == NULL) {
        say(inquiry, "credentials", false, "none that a password could be verified with");
    }
}

static void explain_terms(struct inquiry *inquiry)
{
    struct terms terms;
    char reason[AUTH_REASON_MAX + 1] = "";
    const struct account *master = inquiry->has_master ? &inquiry->master : NULL;
    const struct auth_question *question = inquiry->question;
    if (!auth_terms(&inquiry->account, master, &terms)) {
        say(inquiry, "terms", true, "open, from anywhere, with or without TLS");
        return;
    }
    inquiry->is_refused = !terms_admit(&terms, question->peer, question->tls, reason);
    say(inquiry, "terms", !inquiry->is_refused, "%s%s%s, %u networks%s%s",
        terms.is_disabled ? "disabled" : "open", terms.needs_tls ? ", TLS required" : "",
        master != NULL ? " (the master's)" : "", terms.network_count,
        inquiry->is_refused ? ": not admitted: " : "", reason);
}

static void explain_drop(struct inquiry *inquiry)
{
    struct store_drop drop = inquiry->account.drop;
    if (!drop_is_known(&drop)) {
        if (inquiry->auth->accounts == NULL ||
            account_drop_find(inquiry->auth->accounts, inquiry->account.name, &drop) != STATUS_OK) {
            say(inquiry, "maildrop", true, "none yet; the first login or delivery makes one");
            return;
        }
    }
    say(inquiry, "maildrop", true, "volume %u, number %llu", drop.volume,
        (unsigned long long)drop.id);
}

static void explain_master(struct inquiry *inquiry)
{
    struct account_db *accounts = inquiry->auth->accounts;
    enum status status = accounts == NULL ? STATUS_NOT_FOUND
                                          : account_master_find(accounts, inquiry->name.master.name,
                                                                &inquiry->master);
    inquiry->has_master = status == STATUS_OK;
    say(inquiry, "master", inquiry->has_master, "%s is %s", inquiry->name.master.name,
        inquiry->has_master ? "one; his password counts, not the owner's" : "no master");
    if (inquiry->has_master) {
        explain_credentials(inquiry, &inquiry->master);
    }
}

/* What the cache would say; only with a password is there a key to look for. */
static void explain_cache(struct inquiry *inquiry)
{
    struct cache *cache = inquiry->auth->cache;
    const struct auth_question *question = inquiry->question;
    const struct identity *user = &inquiry->name.user, *master = &inquiry->name.master;
    struct cache_key key;
    struct cache_value value;
    int64_t left_ms = 0;
    if (inquiry->name.has_master) {
        char mark[1 + AUTH_NAME_MAX + 1] = ACCOUNT_MASTER_MARK;
        memcpy(mark + 1, master->name, master->length + 1);
        cache_key_for_master(cache, user->name, user->length, mark, master->length + 1,
                             question->password, question->password_length, &key);
    } else {
        cache_key(cache, user->name, user->length, question->password, question->password_length,
                  &key);
    }
    if (!cache_peek(cache, &key, auth_clock_us() / 1000, &value, &left_ms)) {
        say(inquiry, "cache", true, "nothing is remembered of this name with this password");
        return;
    }
    say(inquiry, "cache", value.verdict != CACHE_REFUSED || left_ms <= 0,
        "remembered as %s, %s %lld s", value.verdict == CACHE_REFUSED ? "wrong" : "right",
        left_ms > 0 ? "for another" : "over for", (long long)llabs(left_ms) / 1000);
}

static void explain_penalties(struct inquiry *inquiry)
{
    struct auth *auth = inquiry->auth;
    const struct identity *tried =
        inquiry->name.has_master ? &inquiry->name.master : &inquiry->name.user;
    int64_t now_ms = auth_clock_us() / 1000;
    struct throttle_source source = throttle_source_of(auth->targets, tried->name);
    uint32_t delay_ms = throttle_delay(auth->targets, &source, now_ms);
    say(inquiry, "penalty", delay_ms == 0, "wrong passwords for %s are held back %u ms",
        tried->name, delay_ms);
    if (inquiry->question->peer != NULL) {
        struct address_prefix prefix;
        char text[ADDRESS_TEXT_MAX];
        address_prefix(inquiry->question->peer, &prefix);
        address_prefix_text(&prefix, text);
        memcpy(source.octets, prefix.octets, sizeof source.octets);
        delay_ms = throttle_delay(auth->prefixes, &source, now_ms);
        say(inquiry, "penalty", delay_ms == 0, "those from %s %u ms", text, delay_ms);
    }
}

static void explain_password(struct inquiry *inquiry)
{
    const struct auth_question *question = inquiry->question;
    const struct account *whose = inquiry->name.has_master ? &inquiry->master : &inquiry->account;
    bool has_one = inquiry->name.has_master ? inquiry->has_master : inquiry->has_account;
    enum password_class class;
    const char *credential = has_one ? credential_choose(whose, &class) : NULL;
    if (credential == NULL) {
        return;
    }
    int64_t begin_us = auth_clock_us();
    enum status status = password_verify(credential, question->password, question->password_length);
    inquiry->is_right = status == STATUS_OK;
    say(inquiry, "password", inquiry->is_right, "%s, verified with %s in %lld us",
        status == STATUS_OK       ? "right"
        : status == STATUS_DENIED ? "wrong"
                                  : status_name(status),
        class_text(class), (long long)(auth_clock_us() - begin_us));
}

static void explain_verdict(struct inquiry *inquiry)
{
    struct auth_explanation *out = inquiry->out;
    bool has_password = inquiry->question->password != NULL;
    bool has_somebody = inquiry->has_account && (!inquiry->name.has_master || inquiry->has_master);
    if (inquiry->is_unavailable) {
        out->verdict = AUTH_UNAVAILABLE;
    } else if (!has_somebody || (has_password && !inquiry->is_right)) {
        out->verdict = AUTH_FAILED;
    } else if (inquiry->is_refused) {
        out->verdict = AUTH_DISABLED;
    } else {
        out->verdict = has_password ? AUTH_OK : AUTH_PENDING;
    }
    say(inquiry, "verdict", out->verdict == AUTH_OK || out->verdict == AUTH_PENDING, "%s",
        out->verdict == AUTH_PENDING ? "it depends on the password"
                                     : auth_verdict_name(out->verdict));
}

static void explain(struct inquiry *inquiry)
{
    if (explain_name(inquiry)) {
        explain_databases(inquiry);
        if (!inquiry->has_account && !inquiry->is_unavailable) {
            explain_alias(inquiry);
        }
        if (inquiry->name.has_master) {
            explain_master(inquiry);
        }
        if (inquiry->has_account) {
            explain_credentials(inquiry, &inquiry->account);
            explain_terms(inquiry);
            explain_drop(inquiry);
        }
        explain_penalties(inquiry);
        if (inquiry->question->password != NULL) {
            explain_cache(inquiry);
            explain_password(inquiry);
        }
    }
    explain_verdict(inquiry);
}

void auth_explain(struct auth *auth, const struct auth_question *question,
                  struct auth_explanation *out_explanation)
{
    *out_explanation = (struct auth_explanation){.verdict = AUTH_UNAVAILABLE};
    struct inquiry *inquiry = calloc(1, sizeof *inquiry);
    if (inquiry == NULL) {
        return;
    }
    inquiry->auth = auth;
    inquiry->question = question;
    inquiry->out = out_explanation;
    (void)clock_gettime(CLOCK_MONOTONIC, &inquiry->until); /* cannot fail for this clock */
    inquiry->until.tv_sec += AUTH_EXPLAIN_WAIT_S;
    explain(inquiry);
    mem_wipe(inquiry, sizeof *inquiry);
    free(inquiry);
}
