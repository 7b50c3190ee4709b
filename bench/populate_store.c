/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maildrops first, in batches that become one durable change of the accounts each; then the
 * messages, in rounds over all maildrops, so that neighbours in a maildrop are far apart in the
 * log. One thread: the store's writer and checkpointer do the work.
 */
#include "bench/populate_store.h"

#include "auth/account.h"
#include "auth/password.h"
#include "io/post.h"
#include "storage/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH       2048 /* maildrops, and accounts of one transaction */
#define WINDOW      2048 /* requests at the writer at once: half of its largest group */
#define PROGRESS_MS 1000

struct populate {
    const struct populate_config *config;
    struct error *error;
    struct store *store;
    struct account_db *accounts;
    struct post_box box;
    struct store_client client;
    struct account *account; /* BATCH of them, all with the same credential */
    struct store_drop_change *change;
    uint64_t *drops; /* ids, by user */
    char *text;
    size_t text_length;
    unsigned open; /* requests */
    enum status status;
    uint64_t made, wanted, messages; /* of the phase; of all phases */
    const char *phase;
    double started_s, told_s, phase_started_s;
};

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- progress --- */

static void begin_phase(struct populate *populate, const char *name, uint64_t wanted)
{
    populate->phase = name;
    populate->made = 0;
    populate->wanted = wanted;
    populate->phase_started_s = populate->told_s = now_s();
}

static void tell(struct populate *populate)
{
    double now = now_s(), passed = now - populate->phase_started_s;
    if (populate->config->quiet || now - populate->told_s < PROGRESS_MS / 1e3) {
        return;
    }
    populate->told_s = now;
    double rate = (double)populate->made / passed;
    fprintf(stderr, "%s%lu of %lu %s, %.0f/s, %.0f s to go%s", isatty(2) ? "\r" : "",
            populate->made, populate->wanted, populate->phase, rate,
            rate > 0 ? (double)(populate->wanted - populate->made) / rate : 0,
            isatty(2) ? "   " : "\n");
}

/* --- waiting --- */

static void note(struct populate *populate, enum status status)
{
    populate->open--;
    if (status == STATUS_OK) {
        populate->made++;
    } else if (populate->status == STATUS_OK) {
        populate->status = status;
    }
}

/* Until at most `open` requests are unanswered. */
static void wait_for(struct populate *populate, unsigned open)
{
    while (populate->open > open) {
        (void)post_wait(&populate->box, -1); /* ends with something there */
        (void)post_run(&populate->box);
    }
    tell(populate);
}

/* --- maildrops --- */

static void on_drop_created(struct store_drop_change *change, enum status status)
{
    note(list_entry(change->client, struct populate, client), status);
}

/* The format has been checked: one %u and nothing else. */
static void name_user(const struct populate *populate, unsigned number, char *out, size_t size)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(out, size, populate->config->user_format, number); /* cut to fit */
#pragma GCC diagnostic pop
}

static enum status add_batch(struct populate *populate, unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct store_drop_change *change = &populate->change[i];
        *change =
            (struct store_drop_change){.client = &populate->client, .on_done = on_drop_created};
        name_user(populate, populate->config->first_user + first + i, change->name,
                  sizeof change->name);
        populate->open++;
        enum status status = store_drop_create(change);
        if (status != STATUS_PENDING) {
            note(populate, status);
        }
    }
    wait_for(populate, 0);
    for (unsigned i = 0; i < count && populate->status == STATUS_OK; i++) {
        struct account *account = &populate->account[i];
        populate->drops[first + i] = populate->change[i].drop.id;
        account->drop = populate->change[i].drop;
        static_assert(sizeof account->name == sizeof populate->change[i].name, "the same bound");
        memcpy(account->name, populate->change[i].name, sizeof account->name);
    }
    if (populate->status == STATUS_OK && !populate->config->no_accounts) {
        return account_add_all(populate->accounts, populate->account, count, populate->error);
    }
    return populate->status;
}

static enum status add_maildrops(struct populate *populate)
{
    unsigned wanted = populate->config->maildrops;
    enum status status = STATUS_OK;
    begin_phase(populate, "maildrops", wanted);
    for (unsigned first = 0; first < wanted && status == STATUS_OK; first += BATCH) {
        unsigned count = wanted - first < BATCH ? wanted - first : BATCH;
        status = add_batch(populate, first, count);
    }
    return status;
}

/* --- messages --- */

static void on_delivered(void *owner, enum status status, uint64_t uid)
{
    (void)uid; /* nobody asks for it */
    note(owner, status);
}

static void on_writable(void *owner)
{
    (void)owner; /* a message is added in one piece */
}

static enum status begin_delivery(struct populate *populate, struct store_delivery **out_delivery)
{
    static const struct store_delivery_events events = {on_writable, on_delivered};
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for this clock */
    struct store_delivery_info info = {.sender = "populate@localhost",
                                       .received_ms = (int64_t)now.tv_sec * 1000,
                                       .size_hint = populate->text_length};
    enum status status =
        store_delivery_begin(&populate->client, &info, &events, populate, out_delivery);
    if (status != STATUS_LIMIT) {
        return status;
    }
    /* The index is behind: it is given the time it needs. */
    wait_for(populate, 0);
    status = store_checkpoint(populate->store, populate->error);
    return status == STATUS_OK
               ? store_delivery_begin(&populate->client, &info, &events, populate, out_delivery)
               : status;
}

static void deliver(struct populate *populate, unsigned user)
{
    char address[STORAGE_DROP_NAME_MAX + 1];
    struct store_delivery *delivery = NULL;
    struct store_recipient recipient = {.drop = {0, populate->drops[user]}, .address = address};
    name_user(populate, populate->config->first_user + user, address, sizeof address);
    enum status status = begin_delivery(populate, &delivery);
    if (status == STATUS_OK) {
        status =
            store_delivery_add(delivery, (const uint8_t *)populate->text, populate->text_length);
    }
    if (status == STATUS_OK) {
        status = store_delivery_commit(delivery, &recipient, 1);
    }
    populate->open++;
    if (status != STATUS_PENDING) {
        if (delivery != NULL) {
            store_delivery_abort(&delivery);
        }
        note(populate, status);
    }
    if (populate->open >= WINDOW) {
        wait_for(populate, WINDOW / 2);
    }
}

static enum status add_messages(struct populate *populate)
{
    const struct populate_config *config = populate->config;
    begin_phase(populate, "messages",
                (uint64_t)config->maildrops * config->messages + config->large);
    for (unsigned round = 0; round < config->messages; round++) {
        for (unsigned user = 0; user < config->maildrops && populate->status == STATUS_OK; user++) {
            deliver(populate, user);
        }
    }
    for (unsigned i = 0; i < config->large && populate->status == STATUS_OK; i++) {
        deliver(populate, 0);
    }
    wait_for(populate, 0);
    populate->messages = populate->made;
    return populate->status;
}

/* --- the whole --- */

/* A message of `octets` octets, or a few more when that is too little for a header. */
static enum status make_text(struct populate *populate)
{
    static const char header[] = "From: <populate@localhost>\r\nSubject: one of many\r\n\r\n";
    static const char line[] =
        "All work and no play makes a line of seventy-two octets to be stored...\r\n";
    size_t octets = populate->config->message_octets, length = sizeof header - 1;
    populate->text = malloc(octets + sizeof header + sizeof line);
    if (populate->text == NULL) {
        return STATUS_NO_MEMORY;
    }
    memcpy(populate->text, header, length);
    while (length + 2 < octets) {
        size_t piece = octets - length < sizeof line - 1 ? octets - length : sizeof line - 1;
        memcpy(populate->text + length, line, piece);
        length += piece;
    }
    memcpy(populate->text + length - 2, "\r\n", 2);
    populate->text_length = length;
    return STATUS_OK;
}

static enum status prepare(struct populate *populate)
{
    const struct populate_config *config = populate->config;
    struct account_credential credential;
    enum status status =
        password_make_for(config->scheme, config->password, strlen(config->password),
                          credential.text, sizeof credential.text);
    if (status != STATUS_OK) {
        return error_set(populate->error, status, 0, NULL,
                         "'%s' cannot store this password: name a scheme of `restante user add`",
                         config->scheme);
    }
    populate->account = calloc(BATCH, sizeof *populate->account);
    populate->change = calloc(BATCH, sizeof *populate->change);
    populate->drops = calloc(config->maildrops, sizeof *populate->drops);
    if (populate->account == NULL || populate->change == NULL || populate->drops == NULL) {
        return error_set(populate->error, STATUS_NO_MEMORY, 0, NULL, "no memory for that many");
    }
    /* As many as an account can have: one with room for more is given slow ones at its first login,
     * and the second login would measure those. */
    for (unsigned i = 0; i < BATCH; i++) {
        for (unsigned k = 0; k < AUTH_CREDENTIALS_MAX; k++) {
            populate->account[i].credentials[k] = credential;
        }
        populate->account[i].credential_count = AUTH_CREDENTIALS_MAX;
    }
    return make_text(populate);
}

static enum status open_store(struct populate *populate)
{
    const struct populate_config *config = populate->config;
    struct store_config store = {.path = config->store, .map_size = config->map_size};
    char accounts[512];
    int length = snprintf(accounts, sizeof accounts, "%s/accounts", config->store);
    if (length < 0 || (size_t)length >= sizeof accounts) {
        return error_set(populate->error, STATUS_INVALID, 0, config->store, "the path is too long");
    }
    if (mkdir(config->store, 0700) != 0 && errno != EEXIST) {
        return error_set(populate->error, status_from_errno(errno), errno, config->store,
                         "making the store's folder");
    }
    enum status status = store_open(&store, &populate->store, populate->error);
    if (status == STATUS_OK && !config->no_accounts) {
        status = account_db_open(accounts, &populate->accounts, populate->error);
    }
    if (status == STATUS_OK) {
        status = post_box_init_thread(&populate->box);
    }
    if (status == STATUS_OK) {
        store_client_init(&populate->client, populate->store, NULL, &populate->box);
    }
    return status;
}

static void release(struct populate *populate)
{
    if (populate->client.store != NULL) {
        post_box_deinit(&populate->box);
    }
    if (populate->store != NULL) {
        store_close(&populate->store);
    }
    account_db_close(&populate->accounts);
    free(populate->account);
    free(populate->change);
    free(populate->drops);
    free(populate->text);
}

static enum status fill(struct populate *populate)
{
    enum status status = add_maildrops(populate);
    if (status == STATUS_OK) {
        status = add_messages(populate);
    }
    if (status == STATUS_OK) {
        status = store_checkpoint(populate->store, populate->error);
    }
    if (!populate->config->quiet && isatty(2)) {
        fputc('\n', stderr);
    }
    return status;
}

enum status populate_store(const struct populate_config *config, struct populate_result *out_result,
                           struct error *out_error)
{
    struct populate populate = {.config = config, .error = out_error, .started_s = now_s()};
    enum status status = prepare(&populate);
    if (status == STATUS_OK) {
        status = open_store(&populate);
    }
    if (status == STATUS_OK) {
        status = fill(&populate);
    }
    if (status == STATUS_OK) {
        struct store_numbers numbers;
        store_numbers(populate.store, &numbers);
        *out_result = (struct populate_result){.maildrops = config->maildrops,
                                               .messages = populate.messages,
                                               .seconds = now_s() - populate.started_s,
                                               .index_octets = numbers.map_used_octets,
                                               .store_maildrops = numbers.maildrops,
                                               .store_messages = numbers.messages};
    } else if (out_error->text[0] == '\0') {
        (void)error_set(out_error, status, 0, config->store, "filling the store failed");
    }
    release(&populate);
    return status;
}
