/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/oauth.h"

#include "auth/auth.h"
#include "auth/auth_limits.h"
#include "auth/fetch.h"
#include "auth/jwt.h"
#include "io/doc.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A set of keys and who uses it; freed by the last. */
struct key_set {
    struct jwt_keys *keys;
    atomic_uint users;
};

struct oauth {
    char *jwks_file, *jwks_url, *ca_file, *issuer, *audience, *scope, *user_claim;
    char *refusal, *xoauth2_refusal;
    uint32_t refresh_s, leeway_s;
    void (*on_notice)(void *owner, const struct auth_notice *notice);
    void *owner;
    bool is_down; /* the last reading failed; of the thread that reads */

    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t changed;
    struct key_set *set; /* NULL: none yet */
    bool is_wanted;      /* a token named a key that is not here: read them again */
    int64_t read_s;      /* monotonic, when they were read last, or when that failed */
    uint64_t refreshes, failures;

    atomic_bool is_over;
    bool has_thread;
    pthread_t thread;
};

static int64_t clock_s(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* cannot fail for these */
    return (int64_t)now.tv_sec;
}

static void lock(struct oauth *oauth)
{
    (void)pthread_mutex_lock(&oauth->lock); /* a default mutex of ours cannot fail */
}

static void unlock(struct oauth *oauth)
{
    (void)pthread_mutex_unlock(&oauth->lock); /* see lock */
}

/* --- the keys ----------------------------------------------------------------------------------
 */

static void release(struct key_set *set)
{
    /* acq_rel: pairs with itself, so that the last user sees what the others did. */
    if (set != NULL && atomic_fetch_sub_explicit(&set->users, 1, memory_order_acq_rel) == 1) {
        jwt_keys_free(&set->keys);
        free(set);
    }
}

/* The keys of now, for the caller to release; NULL when there are none yet. */
static struct key_set *take_set(struct oauth *oauth)
{
    lock(oauth);
    struct key_set *set = oauth->set;
    if (set != NULL) {
        (void)atomic_fetch_add_explicit(&set->users, 1, memory_order_relaxed); /* under the lock */
    }
    unlock(oauth);
    return set;
}

static enum status read_file(const char *path, char **out_text, size_t *out_length,
                             struct error *out_error)
{
    FILE *file = fopen(path, "re");
    char *text = file != NULL ? malloc(AUTH_JWKS_OCTETS_MAX + 1) : NULL;
    if (text == NULL) {
        enum status status = file == NULL ? status_from_errno(errno) : STATUS_NO_MEMORY;
        if (file != NULL) {
            (void)fclose(file); /* only read from */
        }
        return error_set(out_error, status, errno, path, "reading the keys of the token issuer");
    }
    size_t length = fread(text, 1, AUTH_JWKS_OCTETS_MAX + 1, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file); /* only read from */
    if (failed || length > AUTH_JWKS_OCTETS_MAX) {
        free(text);
        return error_set(out_error, failed ? STATUS_IO : STATUS_TOO_BIG, 0, path,
                         "reading the keys of the token issuer");
    }
    *out_text = text;
    *out_length = length;
    return STATUS_OK;
}

static enum status read_text(struct oauth *oauth, char **out_text, size_t *out_length,
                             struct error *out_error)
{
    if (oauth->jwks_file != NULL) {
        return read_file(oauth->jwks_file, out_text, out_length, out_error);
    }
    const struct fetch_request request = {.url = oauth->jwks_url,
                                          .ca_file = oauth->ca_file,
                                          .size_max = AUTH_JWKS_OCTETS_MAX,
                                          .timeout_ms = OAUTH_FETCH_TIMEOUT_MS,
                                          .is_over = &oauth->is_over};
    return fetch_document(&request, out_text, out_length, out_error);
}

/* Says whose contents are wrong. */
static void name_source(const struct oauth *oauth, struct error *out_error)
{
    if (out_error != NULL) {
        (void)snprintf(out_error->path, sizeof out_error->path, "%s",
                       oauth->jwks_file != NULL ? oauth->jwks_file : oauth->jwks_url);
    }
}

/* Reads the keys and puts them in place of the old ones, which stay when that fails. Blocks. */
static enum status refresh(struct oauth *oauth, struct error *out_error)
{
    char *text = NULL;
    size_t length = 0;
    struct key_set *set = calloc(1, sizeof *set), *old = NULL;
    enum status status = set != NULL
                             ? read_text(oauth, &text, &length, out_error)
                             : error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "reading keys");
    if (status == STATUS_OK) {
        status = jwt_keys_read(text, length, &set->keys, out_error);
        free(text);
        if (status != STATUS_OK) {
            name_source(oauth, out_error);
        }
    }
    lock(oauth);
    if (status == STATUS_OK) {
        atomic_init(&set->users, 1);
        old = oauth->set;
        oauth->set = set;
        set = NULL;
    }
    oauth->read_s = clock_s(CLOCK_MONOTONIC);
    oauth->refreshes += status == STATUS_OK;
    oauth->failures += status != STATUS_OK;
    unlock(oauth);
    free(set);
    release(old);
    return status;
}

/* Only changes are told: an issuer that is down is asked every few seconds. */
static void tell(struct oauth *oauth, const struct error *error)
{
    bool is_down = error->status != STATUS_OK;
    const char *why = error->errno_value != 0 ? strerrordesc_np(error->errno_value) : NULL;
    char text[sizeof error->path + sizeof error->text + 64];
    if (is_down == oauth->is_down || oauth->on_notice == NULL) {
        return;
    }
    oauth->is_down = is_down;
    (void)snprintf(text, sizeof text, "%s: %s%s%s", error->path,
                   is_down ? error->text : "the keys can be read again", why != NULL ? ": " : "",
                   why != NULL ? why : "");
    oauth->on_notice(oauth->owner, &(struct auth_notice){.is_trouble = is_down,
                                                         .event = is_down ? "jwks_down" : "jwks_up",
                                                         .database = "oauth",
                                                         .text = text});
}

/* When the keys are to be read again; the lock is held. */
static int64_t next_s(const struct oauth *oauth)
{
    bool is_soon = oauth->set == NULL || oauth->is_wanted;
    return oauth->read_s + (is_soon ? OAUTH_RETRY_S : oauth->refresh_s);
}

static void *run(void *owner)
{
    struct oauth *oauth = owner;
    lock(oauth);
    /* relaxed: the lock orders it. */
    while (!atomic_load_explicit(&oauth->is_over, memory_order_relaxed)) {
        int64_t due_s = next_s(oauth);
        if (clock_s(CLOCK_MONOTONIC) < due_s) {
            struct timespec until = {.tv_sec = due_s};
            (void)pthread_cond_timedwait(&oauth->changed, &oauth->lock,
                                         &until); /* all is asked again */
            continue;
        }
        oauth->is_wanted = false;
        unlock(oauth);
        struct error error = {0};
        if (refresh(oauth, &error) == STATUS_OK) {
            name_source(oauth, &error);
        }
        tell(oauth, &error); /* the old keys stay, and it is tried again */
        lock(oauth);
    }
    unlock(oauth);
    return NULL;
}

static void want_keys(struct oauth *oauth)
{
    lock(oauth);
    oauth->is_wanted = true;
    (void)pthread_cond_signal(&oauth->changed); /* cannot fail */
    unlock(oauth);
}

/* --- claims ------------------------------------------------------------------------------------
 */

/* Whether the claim is the text, or a list with the text in it. */
static bool claim_holds(const struct doc *claims, const char *name, const char *wanted)
{
    struct doc claim, item;
    const char *text;
    if (!doc_member(claims, name, &claim)) {
        return false;
    }
    text = doc_own_text(&claim);
    for (size_t i = 0; text == NULL && doc_item(&claim, i, &item); i++) {
        const char *one = doc_own_text(&item);
        text = one != NULL && strcmp(one, wanted) == 0 ? one : NULL;
    }
    return text != NULL && strcmp(text, wanted) == 0;
}

/* Whether `word` is one of the words, which spaces part. */
static bool has_word(const char *words, const char *word, size_t length)
{
    for (const char *at = words; *at != '\0';) {
        size_t some = strcspn(at, " ");
        if (some == length && memcmp(at, word, length) == 0) {
            return true;
        }
        at += some + (at[some] == ' ');
    }
    return false;
}

static bool scope_holds(const struct doc *claims, const char *wanted)
{
    const char *scope = doc_text(claims, "scope");
    scope = scope != NULL ? scope : doc_text(claims, "scp");
    for (const char *at = wanted; *at != '\0';) {
        size_t length = strcspn(at, " ");
        char word[AUTH_JWT_NAME_MAX + 1];
        if (length > 0 && (scope == NULL || !has_word(scope, at, length))) {
            if (length > AUTH_JWT_NAME_MAX) {
                return false;
            }
            memcpy(word, at, length);
            word[length] = '\0';
            if (!claim_holds(claims, "scope", word) && !claim_holds(claims, "scp", word)) {
                return false;
            }
        }
        at += length + (at[length] == ' ');
    }
    return true;
}

/* A token without an end is none. */
static bool time_holds(const struct oauth *oauth, const struct doc *claims, int64_t now_s)
{
    struct doc member;
    uint64_t now = (uint64_t)now_s;
    uint64_t ends = doc_number(claims, "exp", 0), begins = 0;
    if (doc_member(claims, "nbf", &member)) {
        begins = doc_number(claims, "nbf", UINT64_MAX);
    }
    return ends > now - oauth->leeway_s && begins <= now + oauth->leeway_s;
}

static bool claims_hold(const struct oauth *oauth, const struct doc *claims, int64_t now_s)
{
    const char *issuer = doc_text(claims, "iss");
    return time_holds(oauth, claims, now_s) &&
           (oauth->issuer == NULL || (issuer != NULL && strcmp(issuer, oauth->issuer) == 0)) &&
           (oauth->audience == NULL || claim_holds(claims, "aud", oauth->audience)) &&
           (oauth->scope == NULL || scope_holds(claims, oauth->scope));
}

enum status oauth_check(struct oauth *oauth, const char *token, size_t length, char *out_user,
                        size_t size)
{
    struct doc claims = {0};
    struct key_set *set = take_set(oauth);
    if (set == NULL) {
        return STATUS_AGAIN;
    }
    enum status status = jwt_verify(set->keys, token, length, &claims);
    release(set);
    if (status != STATUS_OK) {
        if (status == STATUS_NOT_FOUND) {
            want_keys(oauth);
        }
        return STATUS_DENIED;
    }
    const char *user = doc_text(&claims, oauth->user_claim);
    status = STATUS_DENIED;
    if (claims_hold(oauth, &claims, clock_s(CLOCK_REALTIME)) && user != NULL && user[0] != '\0' &&
        strlen(user) < size) {
        memcpy(out_user, user, strlen(user) + 1);
        status = STATUS_OK;
    }
    doc_free(&claims);
    return status;
}

const char *oauth_refusal(const struct oauth *oauth, bool is_xoauth2)
{
    return is_xoauth2 ? oauth->xoauth2_refusal : oauth->refusal;
}

void oauth_numbers(struct oauth *oauth, struct oauth_numbers *out_numbers)
{
    lock(oauth);
    *out_numbers =
        (struct oauth_numbers){.keys = oauth->set != NULL ? jwt_keys_count(oauth->set->keys) : 0,
                               .refreshes = oauth->refreshes,
                               .failures = oauth->failures};
    unlock(oauth);
}

/* --- opening and closing -----------------------------------------------------------------------
 */

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Copies a text that is given; false: no memory. */
static bool copy(const char *text, char **out)
{
    *out = is_given(text) ? strdup(text) : NULL;
    return !is_given(text) || *out != NULL;
}

static char *write_refusal(const struct oauth_config *config, bool is_xoauth2)
{
    struct doc doc;
    doc_object(&doc);
    doc_put_text(&doc, "status", is_xoauth2 ? "401" : "invalid_token");
    if (is_xoauth2) {
        doc_put_text(&doc, "schemes", "bearer");
    }
    doc_put_text(&doc, "scope", is_given(config->scope) ? config->scope : NULL);
    if (!is_xoauth2) {
        const char *address = config->openid_configuration;
        doc_put_text(&doc, "openid-configuration", is_given(address) ? address : NULL);
    }
    char *text = doc_write(&doc, false);
    doc_free(&doc);
    return text;
}

static bool copy_config(struct oauth *oauth, const struct oauth_config *config)
{
    const char *claim = is_given(config->user_claim) ? config->user_claim : "email";
    oauth->refresh_s = config->refresh_s != 0 ? config->refresh_s : OAUTH_REFRESH_S;
    oauth->leeway_s = config->leeway_s != 0 ? config->leeway_s : OAUTH_LEEWAY_S;
    oauth->on_notice = config->on_notice;
    oauth->owner = config->owner;
    oauth->refusal = write_refusal(config, false);
    oauth->xoauth2_refusal = write_refusal(config, true);
    return copy(config->jwks_file, &oauth->jwks_file) && copy(config->jwks_url, &oauth->jwks_url) &&
           copy(config->ca_file, &oauth->ca_file) && copy(config->issuer, &oauth->issuer) &&
           copy(config->audience, &oauth->audience) && copy(config->scope, &oauth->scope) &&
           copy(claim, &oauth->user_claim) && oauth->refusal != NULL &&
           oauth->xoauth2_refusal != NULL;
}

static enum status check_config(const struct oauth_config *config, struct error *out_error)
{
    bool has_file = is_given(config->jwks_file), has_url = is_given(config->jwks_url);
    if (has_file == has_url) {
        return error_set(out_error, STATUS_INVALID, 0, NULL,
                         "OAuth needs the issuer's keys: either a file or an address of them");
    }
    if (has_url && !fetch_is_allowed(config->jwks_url)) {
        return error_set(out_error, STATUS_INVALID, 0, config->jwks_url,
                         "keys are fetched by https only, or by http from this machine itself");
    }
    if (config->leeway_s > OAUTH_LEEWAY_MAX_S) {
        return error_set(out_error, STATUS_INVALID, 0, NULL,
                         "a leeway of more than %d seconds makes the end of a token meaningless",
                         OAUTH_LEEWAY_MAX_S);
    }
    return STATUS_OK;
}

/* The thread takes no signals: they are the main thread's. */
static bool start_thread(struct oauth *oauth)
{
    sigset_t all, old;
    (void)sigfillset(&all); /* cannot fail, nor can the two below */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    oauth->has_thread = pthread_create(&oauth->thread, NULL, run, oauth) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return oauth->has_thread;
}

static void init_lock(struct oauth *oauth)
{
    pthread_condattr_t attributes;
    int result = pthread_mutex_init(&oauth->lock, NULL);
    result |= pthread_condattr_init(&attributes);
    result |= pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    result |= pthread_cond_init(&oauth->changed, &attributes);
    assert(result == 0); /* none of them takes resources on Linux */
    (void)result;
    (void)pthread_condattr_destroy(&attributes); /* cannot fail */
}

/* Everything but the thread. */
static enum status prepare(const struct oauth_config *config, struct oauth **out_oauth,
                           struct error *out_error)
{
    enum status status = check_config(config, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    if (fetch_start() != STATUS_OK) {
        return error_set(out_error, STATUS_UNSUPPORTED, 0, NULL,
                         "libcurl of this system lacks TLS");
    }
    struct oauth *oauth = calloc(1, sizeof *oauth);
    if (oauth == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "opening OAuth");
    }
    init_lock(oauth);
    if (!copy_config(oauth, config)) {
        status = error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "opening OAuth");
    } else if (oauth->jwks_file != NULL) {
        status = refresh(oauth, out_error);
    } else {
        oauth->read_s = clock_s(CLOCK_MONOTONIC) - OAUTH_RETRY_S; /* due at once */
    }
    if (status != STATUS_OK) {
        oauth_destroy(&oauth);
        return status;
    }
    *out_oauth = oauth;
    return STATUS_OK;
}

enum status oauth_create(const struct oauth_config *config, struct oauth **out_oauth,
                         struct error *out_error)
{
    struct oauth *oauth = NULL;
    enum status status = prepare(config, &oauth, out_error);
    if (status != STATUS_OK) {
        return status;
    }
    if (!start_thread(oauth)) {
        oauth_destroy(&oauth);
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "starting the thread of OAuth");
    }
    *out_oauth = oauth;
    return STATUS_OK;
}

enum status oauth_try(const struct oauth_config *config, struct error *out_error)
{
    struct oauth *oauth = NULL;
    enum status status = prepare(config, &oauth, out_error);
    oauth_destroy(&oauth);
    return status;
}

void oauth_destroy(struct oauth **oauth)
{
    struct oauth *closing = *oauth;
    if (closing == NULL) {
        return;
    }
    if (closing->has_thread) {
        lock(closing);
        /* relaxed: the lock orders it for the thread; a fetch under way only needs to see it. */
        atomic_store_explicit(&closing->is_over, true, memory_order_relaxed);
        (void)pthread_cond_signal(&closing->changed); /* cannot fail */
        unlock(closing);
        (void)pthread_join(closing->thread, NULL); /* it is there and not joined yet */
    }
    release(closing->set);
    (void)pthread_cond_destroy(&closing->changed); /* nobody waits */
    (void)pthread_mutex_destroy(&closing->lock);   /* nobody holds it */
    char *const texts[] = {closing->jwks_file,  closing->jwks_url, closing->ca_file,
                           closing->issuer,     closing->audience, closing->scope,
                           closing->user_claim, closing->refusal,  closing->xoauth2_refusal};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        free(texts[i]);
    }
    free(closing);
    *oauth = NULL;
}
