/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole POP3 sessions over a socket pair, against a store and a user database that answer as the
 * test wants: at once or later, from a buffer, memory or a file, or with a failure. The contracts
 * faked are storage/store.h and auth/auth.h, as far as POP3 uses them.
 *
 * Included by one test file of a program.
 */
#ifndef TESTS_UNIT_POP3_FIXTURE_H
#define TESTS_UNIT_POP3_FIXTURE_H

#include "server/pop3.h"
#include "storage/wire.h"
#include "tests/unit/session_fixture.h"

#include <stdio.h>
#include <sys/mman.h>

#define FAKE_MESSAGES_MAX 5000

struct fake_message {
    uint8_t *wire; /* also the content of `fd` */
    int fd;
    uint64_t octets, wire_length, header_length;
    char uidl[STORAGE_UIDL_LENGTH_MAX + 1];
};

static struct {
    struct fake_message messages[FAKE_MESSAGES_MAX];
    uint32_t count;
    unsigned views; /* not yet closed */
    unsigned holds; /* on ranges, not yet released */
    /* fetches */
    bool fetch_later;     /* answered by fake_answer_fetch */
    bool fetch_from_file; /* extents for what is larger than STORE_INLINE_MAX */
    enum status fetch_status;
    struct store_fetch *fetch; /* not yet answered */
    bool fetch_cancelled;
    unsigned fetches;
    uint64_t fetch_length_max; /* the longest asked for */
    /* opens */
    bool open_later;
    enum status open_status;
    enum store_lock_policy open_policy;
    struct store_open_request *open;
    bool open_cancelled;
    /* commits */
    enum status commit_now; /* STATUS_PENDING: answered by fake_answer_commit */
    void (*commit_done)(void *owner, enum status status);
    void *commit_owner;
    uint32_t committed[FAKE_MESSAGES_MAX], committed_count;
    /* logins */
    struct auth_request *auth; /* not yet answered */
    bool auth_cancelled;
    char auth_name[1024], auth_password[4096];
    size_t auth_name_length;
    /* exchanges: a mechanism called STEP has two challenges, any other none but an empty one */
    unsigned steps;                           /* answers taken in this exchange */
    char initial[AUTH_SASL_RESPONSE_MAX + 1]; /* "(none)" when there was none */
    char answer[AUTH_SASL_RESPONSE_MAX + 1];
    char apop_timestamp[512];
} fake;

struct view {
    uint32_t count;
};

/* --- the store --- */

/* Adds a message; its text may have any line ends. */
static inline struct fake_message *fake_add_octets(const char *text, size_t length)
{
    struct fake_message *message = &fake.messages[fake.count++];
    struct wire_encoder encoder;
    size_t capacity = WIRE_EXPANSION_MAX(length) + WIRE_TAIL_MAX, written = 0;
    message->wire = malloc(capacity);
    wire_init(&encoder);
    cr_assert_eq(
        wire_encode(&encoder, (const uint8_t *)text, length, message->wire, capacity, &written),
        length);
    written += wire_finish(&encoder, message->wire + written);
    message->wire_length = written;
    message->octets = encoder.octets;
    message->header_length = encoder.header_length;
    (void)snprintf(message->uidl, sizeof message->uidl, "00000001.%016x", 0x100 + fake.count);
    message->fd = memfd_create("message", MFD_CLOEXEC);
    cr_assert_eq(write(message->fd, message->wire, written), (ssize_t)written);
    return message;
}

static inline struct fake_message *fake_add(const char *text)
{
    return fake_add_octets(text, strlen(text));
}

static inline void fake_hold_release(void *owner)
{
    fake.holds--;
    free(owner);
}

static inline struct view *fake_view(void)
{
    struct view *view = malloc(sizeof *view);
    view->count = fake.count;
    fake.views++;
    return view;
}

enum status store_open_drop(struct store_open_request *request)
{
    fake.open_policy = request->policy;
    if (fake.open_later) {
        fake.open = request;
        return STATUS_PENDING;
    }
    if (fake.open_status == STATUS_OK) {
        request->view = fake_view();
    }
    return fake.open_status;
}

void store_open_cancel(struct store_open_request *request)
{
    cr_assert_eq(request, fake.open);
    fake.open_cancelled = true;
}

static inline void fake_answer_open(enum status status)
{
    struct store_open_request *request = fake.open;
    cr_assert_not_null(request);
    fake.open = NULL;
    if (status == STATUS_OK) {
        request->view = fake_view();
    }
    request->on_done(request, status);
}

void store_view_close(struct view **view)
{
    cr_assert_not_null(*view);
    fake.views--;
    free(*view);
    *view = NULL;
}

uint32_t store_view_count(const struct view *view)
{
    return view->count;
}

uint64_t store_view_octets(const struct view *view)
{
    uint64_t octets = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        octets += fake.messages[i].octets;
    }
    return octets;
}

void store_view_message(const struct view *view, uint32_t index, struct store_message *out_message)
{
    cr_assert_lt(index, view->count);
    *out_message = (struct store_message){.octets = fake.messages[index].octets,
                                          .wire_length = fake.messages[index].wire_length,
                                          .header_length = fake.messages[index].header_length};
}

uint64_t store_view_size(const struct view *view, uint32_t index)
{
    cr_assert_lt(index, view->count);
    return fake.messages[index].octets;
}

size_t store_view_uidl(const struct view *view, uint32_t index, char out[STORAGE_UIDL_LENGTH_MAX])
{
    cr_assert_lt(index, view->count);
    memcpy(out, fake.messages[index].uidl, strlen(fake.messages[index].uidl));
    return strlen(fake.messages[index].uidl);
}

static inline void fake_give_memory(struct store_fetch *fetch)
{
    uint8_t *copy = malloc(fetch->length);
    memcpy(copy, fake.messages[fetch->index].wire + fetch->offset, fetch->length);
    fake.holds++;
    fetch->range = (struct store_range){.kind = STORE_RANGE_MEMORY,
                                        .length = fetch->length,
                                        .data = copy,
                                        .hold = {fake_hold_release, copy}};
}

enum status store_fetch(struct store_fetch *fetch)
{
    const struct fake_message *message = &fake.messages[fetch->index];
    cr_assert_null(fake.fetch, "one fetch at a time");
    cr_assert_leq(fetch->offset + fetch->length, message->wire_length);
    cr_assert_gt(fake.views, 0);
    fake.fetches++;
    if (fetch->length > fake.fetch_length_max) {
        fake.fetch_length_max = fetch->length;
    }
    if (fake.fetch_later) {
        fake.fetch = fetch;
        return STATUS_PENDING;
    }
    if (fake.fetch_status != STATUS_OK) {
        return fake.fetch_status;
    }
    if (fetch->buffer != NULL) {
        memcpy(fetch->buffer, message->wire + fetch->offset, fetch->length);
        fetch->range = (struct store_range){.kind = STORE_RANGE_BUFFER, .length = fetch->length};
    } else if (fake.fetch_from_file && fetch->length > STORE_INLINE_MAX) {
        fake.holds++;
        fetch->range = (struct store_range){
            .kind = STORE_RANGE_EXTENT,
            .length = fetch->length,
            .extent = {message->fd, fetch->offset, fetch->length, {fake_hold_release, NULL}}};
    } else {
        fake_give_memory(fetch);
    }
    return STATUS_OK;
}

void store_fetch_cancel(struct store_fetch *fetch)
{
    cr_assert_eq(fetch, fake.fetch);
    fake.fetch_cancelled = true;
}

static inline void fake_answer_fetch(enum status status)
{
    struct store_fetch *fetch = fake.fetch;
    cr_assert_not_null(fetch);
    fake.fetch = NULL;
    if (status == STATUS_OK) {
        fake_give_memory(fetch);
    }
    fetch->on_done(fetch, status);
}

enum status store_commit(struct view **view, const uint32_t *indexes, uint32_t count,
                         void (*on_done)(void *owner, enum status status), void *owner,
                         struct store_commit **out_commit)
{
    cr_assert_gt(count, 0);
    memcpy(fake.committed, indexes, count * sizeof *indexes);
    fake.committed_count = count;
    store_view_close(view);
    fake.commit_done = on_done;
    fake.commit_owner = owner;
    return fake.commit_now;
}

static inline void fake_answer_commit(enum status status)
{
    cr_assert_not_null(fake.commit_done, "nothing has been committed");
    fake.commit_done(fake.commit_owner, status);
    fake.commit_done = NULL;
}

/* --- the user database --- */

const char *auth_verdict_name(enum auth_verdict verdict)
{
    return verdict == AUTH_FAILED ? "failed" : "other";
}

static inline enum auth_verdict fake_identify(struct auth_request *request,
                                              enum auth_verdict verdict)
{
    request->mechanism = "user";
    if (verdict == AUTH_OK || verdict == AUTH_DISABLED) {
        (void)snprintf(request->identity.name, sizeof request->identity.name, "%.*s@localhost",
                       (int)fake.auth_name_length, fake.auth_name);
    }
    return verdict;
}

/* The password says what the verdict is. */
enum auth_verdict auth_login(struct auth_request *request, const char *name, size_t name_length,
                             const char *password, size_t password_length)
{
    fake.auth_name_length = name_length;
    memcpy(fake.auth_name, name, name_length);
    (void)snprintf(fake.auth_password, sizeof fake.auth_password, "%.*s", (int)password_length,
                   password);
    if (strcmp(fake.auth_password, "late") == 0) {
        fake.auth = request;
        return AUTH_PENDING;
    }
    if (strcmp(fake.auth_password, "disabled") == 0) {
        (void)snprintf(request->identity.reason, sizeof request->identity.reason, "unpaid");
        return fake_identify(request, AUTH_DISABLED);
    }
    if (strcmp(fake.auth_password, "down") == 0) {
        return AUTH_UNAVAILABLE;
    }
    return strcmp(fake.auth_password, "right") == 0 ? fake_identify(request, AUTH_OK) : AUTH_FAILED;
}

bool auth_plaintext_allowed(const struct auth_policy *policy, bool tls)
{
    return tls || policy->plaintext_without_tls;
}

bool auth_apop_allowed(const struct auth_policy *policy)
{
    return policy->apop;
}

size_t auth_mechanisms(const struct auth_client *client, const struct auth_policy *policy,
                       const struct auth_tls *tls_facts, bool tls, const char **out_names,
                       size_t max)
{
    cr_assert_geq(max, 2);
    if (!auth_plaintext_allowed(policy, tls)) {
        return 0;
    }
    out_names[0] = "PLAIN";
    out_names[1] = "STEP";
    return 2;
}

/* A response says what the verdict is, as a password does. */
static inline enum auth_verdict fake_judge(struct auth_request *request, const char *data,
                                           size_t length)
{
    fake.auth_name_length = 4;
    memcpy(fake.auth_name, "demo", 4);
    if (length == 4 && memcmp(data, "late", 4) == 0) {
        fake.auth = request;
        return AUTH_PENDING;
    }
    bool right = length == 5 && memcmp(data, "right", 5) == 0;
    enum auth_verdict verdict = fake_identify(request, right ? AUTH_OK : AUTH_FAILED);
    request->mechanism = "FAKE";
    return verdict;
}

enum auth_verdict auth_start(struct auth_request *request, const char *mechanism,
                             size_t mechanism_length, const char *initial, size_t initial_length)
{
    bool has_steps = mechanism_length == 4 && strncasecmp(mechanism, "STEP", 4) == 0;
    bool is_plain = mechanism_length == 5 && strncasecmp(mechanism, "PLAIN", 5) == 0;
    cr_assert_not_null(request->on_verdict);
    fake.steps = 0;
    if (!has_steps && !is_plain) {
        request->mechanism = "unknown";
        return AUTH_FAILED;
    }
    request->mechanism = has_steps ? "STEP" : "PLAIN";
    (void)snprintf(fake.initial, sizeof fake.initial, "%.*s", (int)initial_length,
                   initial == NULL ? "(none)" : initial);
    if (initial == NULL) {
        memcpy(fake.initial, "(none)", 7);
    }
    if (is_plain && initial != NULL) {
        return fake_judge(request, initial, initial_length);
    }
    request->challenge = has_steps ? "first question" : "";
    request->challenge_length = strlen(request->challenge);
    return AUTH_CHALLENGE;
}

enum auth_verdict auth_continue(struct auth_request *request, const char *data, size_t length)
{
    (void)snprintf(fake.answer, sizeof fake.answer, "%.*s", (int)length, data);
    if (strcmp(request->mechanism, "STEP") == 0 && fake.steps++ == 0) {
        request->challenge = "second question";
        request->challenge_length = strlen(request->challenge);
        return AUTH_CHALLENGE;
    }
    return fake_judge(request, data, length);
}

enum auth_verdict auth_apop(struct auth_request *request, const char *name, size_t name_length,
                            const char *digest, size_t digest_length, const char *timestamp)
{
    (void)snprintf(fake.apop_timestamp, sizeof fake.apop_timestamp, "%s", timestamp);
    return fake_judge(request, digest, digest_length);
}

void auth_cancel(struct auth_request *request)
{
    cr_assert(fake.auth == NULL || request == fake.auth);
    fake.auth = NULL;
    fake.auth_cancelled = true;
}

static inline void fake_answer_auth(enum auth_verdict verdict)
{
    struct auth_request *request = fake.auth;
    cr_assert_not_null(request);
    fake.auth = NULL;
    request->on_verdict(request, fake_identify(request, verdict));
}

/* --- sessions --- */

#define GREETING  "+OK Restante POP3 server ready\r\n"
#define SEND_PASS "+OK send PASS\r\n"

static inline void pop3_begin(enum loop_kind kind)
{
    fake.commit_now = STATUS_PENDING;
    fixture_open(kind, &pop3_protocol);
}

static inline int pop3_connect(void)
{
    int client = fixture_connect();
    expect(client, GREETING);
    return client;
}

/* A session in TRANSACTION. */
static inline int pop3_login_client(void)
{
    int client = pop3_connect();
    char reply[128];
    uint64_t octets = 0;
    for (uint32_t i = 0; i < fake.count; i++) {
        octets += fake.messages[i].octets;
    }
    (void)snprintf(reply, sizeof reply, SEND_PASS "+OK %u messages (%llu octets)\r\n", fake.count,
                   (unsigned long long)octets);
    say(client, "USER demo\r\nPASS right\r\n");
    expect(client, reply);
    return client;
}

/* Asks one thing and compares the answer. */
static inline void ask(int client, const char *command, const char *reply)
{
    say(client, command);
    say(client, "\r\n");
    expect(client, reply);
    expect(client, "\r\n");
}

/* All sessions are gone, and everything has been released. */
static inline void pop3_end(void)
{
    fixture_close();
    cr_assert_eq(fake.views, 0);
    cr_assert_eq(fake.holds, 0);
    for (uint32_t i = 0; i < fake.count; i++) {
        free(fake.messages[i].wire);
        close(fake.messages[i].fd);
    }
}

#endif
