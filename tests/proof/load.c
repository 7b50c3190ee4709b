/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/load.h"

#include <pthread.h>
#include <stdatomic.h>

#define BURST_MAX    8
#define INFLIGHT_MAX 24
#define PIECE        20000 /* octets handed over in one go */
#define LINGER_US    300   /* at most: the disk stands still behind an expunge */

struct load_delivery {
    struct load *load;
    struct store_delivery *delivery;
    uint32_t number;
    bool writable;
};

struct load_commit {
    struct load *load;
    uint32_t drop, count;
    uint32_t *numbers;
    uint64_t begun; /* position */
};

static void surprise(struct load *load, const char *what, enum status status)
{
    if (!load->tolerant && load->surprises++ == 0) {
        (void)snprintf(load->surprise, sizeof load->surprise, "%s answered %s", what,
                       status_name(status));
    }
}

static void pump(struct load *load)
{
    (void)post_wait(&load->site->box, -1);
    (void)post_run(&load->site->box);
}

void load_settle(struct load *load)
{
    while (load->inflight > 0) {
        pump(load);
    }
}

/* Whether an answer says that nothing was written. */
static bool is_refusal(enum status status)
{
    return status != STATUS_OK && status != STATUS_UNKNOWN;
}

/* --- delivering --- */

/* Removed maildrops are a reason. */
static void refused(struct load *load, const struct ledger_message *message, enum status status)
{
    bool all_removed = true;
    for (uint32_t i = 0; i < load->ledger->drop_count; i++) {
        if ((message->drops & 1u << i) != 0) {
            all_removed = all_removed && load->ledger->drops[i].removing != LEDGER_NEVER;
        }
    }
    if (status != STATUS_NOT_FOUND || !all_removed) {
        surprise(load, "a delivery", status);
    }
}

static void on_writable(void *owner)
{
    ((struct load_delivery *)owner)->writable = true;
}

static void on_delivered(void *owner, enum status status, uint64_t uid)
{
    struct load_delivery *own = owner;
    struct load *load = own->load;
    struct ledger_message *message = ledger_find(load->ledger, own->number);
    if (status == STATUS_OK) {
        message->uid = uid;
        message->delivered = load->position();
        load->delivered++;
    } else {
        message->refused = is_refusal(status);
        load->refused++;
        refused(load, message, status);
    }
    load->inflight--;
    free(own);
}

static const struct store_delivery_events delivery_events = {.on_writable = on_writable,
                                                             .on_done = on_delivered};

/* Begins and fills a delivery; NULL when that failed. */
static struct load_delivery *fill(struct load *load, uint32_t number)
{
    struct ledger_message *message = ledger_find(load->ledger, number);
    const struct ledger_octets *octets = ledger_octets(load->ledger, message);
    struct store_delivery_info info = {.sender = "a@b",
                                       .uidl = message->uidl[0] != '\0' ? message->uidl : NULL,
                                       .received_ms = 1234567890123};
    struct load_delivery *own = calloc(1, sizeof *own);
    assert(own != NULL);
    *own = (struct load_delivery){.load = load, .number = number};
    enum status status =
        store_delivery_begin(&load->site->client, &info, &delivery_events, own, &own->delivery);
    for (size_t done = 0; status == STATUS_OK && done < octets->text_length;) {
        size_t left = octets->text_length - done, piece = left < PIECE ? left : PIECE;
        own->writable = false;
        status = store_delivery_add(own->delivery, (const uint8_t *)octets->text + done, piece);
        done += piece;
        while (status == STATUS_PENDING && !own->writable) {
            pump(load);
        }
        status = status == STATUS_PENDING ? STATUS_OK : status;
    }
    if (status != STATUS_OK) {
        store_delivery_abort(&own->delivery);
        ledger_find(load->ledger, number)->refused = true;
        surprise(load, "a delivery's body", status);
        free(own);
        return NULL;
    }
    return own;
}

static void commit_delivery(struct load *load, struct load_delivery *own)
{
    struct ledger_message *message = ledger_find(load->ledger, own->number);
    struct store_recipient recipients[LEDGER_DROPS_MAX];
    unsigned count = 0;
    for (uint32_t i = 0; i < load->ledger->drop_count; i++) {
        if ((message->drops & 1u << i) != 0) {
            recipients[count++] = (struct store_recipient){.drop = {0, load->ledger->drops[i].id},
                                                           .address = "somebody@here.test"};
        }
    }
    message->sent = load->position();
    enum status status = store_delivery_commit(own->delivery, recipients, count);
    if (status == STATUS_PENDING) {
        load->inflight++;
        return;
    }
    store_delivery_abort(&own->delivery);
    message->refused = true;
    refused(load, message, status);
    free(own);
}

static size_t some_size(struct load *load)
{
    size_t small = chance_between(&load->chance, 0, 400);
    switch (chance_below(&load->chance, 10)) {
    case 0:
        return chance_between(&load->chance, 0, load->size_max);
    case 1:
    case 2:
        return chance_between(&load->chance, 0, 3000);
    default:
        return small;
    }
}

static uint32_t some_drops(struct load *load)
{
    uint32_t drops = 0;
    uint64_t wanted = chance_percent(&load->chance, 70) ? 1 : chance_between(&load->chance, 2, 5);
    for (uint64_t i = 0; i < wanted; i++) {
        uint32_t drop = load_any_drop(load);
        drops |= drop < LEDGER_DROPS_MAX ? 1u << drop : 0;
    }
    return drops;
}

static uint32_t prepare(struct load *load, uint32_t drops, size_t size)
{
    char uidl[24];
    bool imported = chance_percent(&load->chance, 8);
    (void)snprintf(uidl, sizeof uidl, "import-%u", load->ledger->count);
    return ledger_send(load->ledger, drops, size, imported ? uidl : NULL, load->position());
}

/* Several at once, held back until all are queued, so that groups of several form. */
static void burst(struct load *load)
{
    struct load_delivery *own[BURST_MAX];
    uint64_t count = chance_between(&load->chance, 1, BURST_MAX);
    for (uint64_t i = 0; i < count; i++) {
        uint32_t drops = some_drops(load);
        own[i] = drops != 0 ? fill(load, prepare(load, drops, some_size(load))) : NULL;
    }
    if (load->hold != NULL) {
        load->hold();
    }
    for (uint64_t i = 0; i < count; i++) {
        if (own[i] != NULL) {
            commit_delivery(load, own[i]);
        }
    }
    if (load->hold != NULL) {
        load->let_go();
    }
}

uint32_t load_deliver(struct load *load, uint32_t drops, size_t size)
{
    uint32_t number = prepare(load, drops, size);
    struct load_delivery *own = fill(load, number);
    if (own != NULL) {
        commit_delivery(load, own);
    }
    load_settle(load);
    return number;
}

/* --- maildrops --- */

uint32_t load_any_drop(struct load *load)
{
    uint32_t alive[LEDGER_DROPS_MAX], count = 0;
    for (uint32_t i = 0; i < load->ledger->drop_count; i++) {
        const struct ledger_drop *drop = &load->ledger->drops[i];
        if (drop->created != LEDGER_NEVER && drop->removing == LEDGER_NEVER) {
            alive[count++] = i;
        }
    }
    return count > 0 ? alive[chance_below(&load->chance, count)] : LEDGER_DROPS_MAX;
}

/* A number may come twice only if nobody has been told of the first. */
static void check_id(struct load *load, uint32_t place)
{
    for (uint32_t i = 0; i < load->ledger->drop_count; i++) {
        struct ledger_drop *other = &load->ledger->drops[i];
        if (i == place || other->id != load->ledger->drops[place].id) {
            continue;
        }
        if (other->created != LEDGER_NEVER) {
            surprise(load, "making a maildrop, with a number that is taken,", STATUS_EXISTS);
        }
        other->id = 0;
    }
}

void load_create(struct load *load)
{
    uint32_t place = ledger_create(load->ledger, load->position());
    if (place == LEDGER_DROPS_MAX) {
        return;
    }
    struct ledger_drop *drop = &load->ledger->drops[place];
    enum status status =
        fixture_change_drop(load->site, &drop->id, "somebody@here.test", store_drop_create);
    if (status == STATUS_OK) {
        drop->created = load->position();
        check_id(load, place);
    } else {
        drop->refused = is_refusal(status);
        surprise(load, "making a maildrop", status);
    }
}

void load_remove(struct load *load, uint32_t drop)
{
    struct ledger_drop *removed = &load->ledger->drops[drop];
    uint64_t id = removed->id;
    removed->removing = load->position();
    enum status status = fixture_change_drop(load->site, &id, "", store_drop_remove);
    if (status == STATUS_OK) {
        removed->removed = load->position();
    } else {
        removed->removing = is_refusal(status) ? LEDGER_NEVER : removed->removing;
        surprise(load, "removing a maildrop", status);
    }
}

static void remove_drop(struct load *load)
{
    uint32_t place = load_any_drop(load);
    if (place != LEDGER_DROPS_MAX) {
        load_remove(load, place);
    }
}

/* --- sessions --- */

static void on_committed(void *owner, enum status status)
{
    struct load_commit *own = owner;
    struct load *load = own->load;
    uint64_t now = load->position();
    for (uint32_t i = 0; i < own->count; i++) {
        struct ledger_message *message = ledger_find(load->ledger, own->numbers[i]);
        if (status == STATUS_OK) {
            message->gone[own->drop] = now;
        } else if (is_refusal(status) && message->leaving[own->drop] == own->begun) {
            message->leaving[own->drop] = LEDGER_NEVER; /* not begun by an earlier, unknown one */
        }
    }
    if (status == STATUS_OK) {
        load->expunged += own->count;
    } else {
        surprise(load, "an expunge", status);
    }
    load->committing &= ~(1u << own->drop);
    load->inflight--;
    free(own->numbers);
    free(own);
}

static void commit_session(struct load *load, uint32_t drop, struct view **view,
                           const uint32_t *indexes, uint32_t *numbers, uint32_t count)
{
    struct load_commit *own = calloc(1, sizeof *own);
    struct store_commit *commit = NULL;
    assert(own != NULL);
    *own = (struct load_commit){.load = load, .drop = drop, .count = count, .numbers = numbers};
    own->begun = load->position();
    for (uint32_t i = 0; i < count; i++) {
        uint64_t *leaving = &ledger_find(load->ledger, numbers[i])->leaving[drop];
        *leaving = *leaving == LEDGER_NEVER ? own->begun : *leaving;
    }
    load->committing |= 1u << drop;
    load->inflight++;
    if (load->storming) {
        load->hold();
    }
    enum status status = store_commit(view, indexes, count, on_committed, own, &commit);
    if (load->storming) {
        (void)usleep((useconds_t)chance_below(&load->chance, LINGER_US));
        load->let_go();
    }
    if (status != STATUS_PENDING) {
        on_committed(own, status);
    }
}

/* Notes what the session has seen of a message; UINT32_MAX when it cannot be read. */
static uint32_t see(struct load *load, uint32_t drop, struct view *view, uint32_t index,
                    uint64_t opened)
{
    struct store_message found;
    char *wire;
    size_t length;
    store_view_message(view, index, &found);
    enum status status = site_read(load->site, view, index, &wire, &length);
    if (status != STATUS_OK) {
        surprise(load, "reading a message", status);
        return UINT32_MAX;
    }
    uint32_t number = ledger_number_of(wire, length);
    struct ledger_message *message = ledger_find(load->ledger, number);
    free(wire);
    if (message == NULL) {
        surprise(load, "a message that is none of ours", STATUS_CORRUPT);
        return UINT32_MAX;
    }
    message->uid = found.uid;
    if (message->seen[drop] == LEDGER_NEVER) {
        message->seen[drop] = opened;
    }
    return number;
}

void load_session(struct load *load, uint32_t drop, unsigned expunge_percent)
{
    struct view *view = NULL;
    if ((load->committing & 1u << drop) != 0) {
        return; /* locked */
    }
    enum status status =
        fixture_view(load->site, load->ledger->drops[drop].id, STORE_LOCK_EXCLUSIVE, &view);
    if (status != STATUS_OK) {
        surprise(load, "opening a maildrop", status);
        return;
    }
    uint64_t opened = load->position();
    uint32_t count = store_view_count(view), chosen = 0;
    uint32_t *indexes = calloc(count + 1, sizeof *indexes);
    uint32_t *numbers = calloc(count + 1, sizeof *numbers);
    assert(indexes != NULL && numbers != NULL);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = see(load, drop, view, i, opened);
        if (number != UINT32_MAX && chance_percent(&load->chance, expunge_percent)) {
            indexes[chosen] = i;
            numbers[chosen++] = number;
        }
    }
    if (chosen > 0) {
        commit_session(load, drop, &view, indexes, numbers, chosen);
    } else {
        store_view_close(&view);
        free(numbers);
    }
    free(indexes);
}

/* --- single steps --- */

static void checkpoint(struct load *load)
{
    struct error error = {0};
    enum status status = store_checkpoint(load->site->store, &error);
    if (status != STATUS_OK) {
        surprise(load, "a checkpoint", status);
    }
}

static void session(struct load *load)
{
    static const unsigned percents[] = {0, 20, 50, 100};
    uint32_t drop = load_any_drop(load);
    if (drop < LEDGER_DROPS_MAX) {
        load_session(load, drop, percents[chance_below(&load->chance, 4)]);
    }
}

/* --- space comes back while things happen --- */

struct storm {
    struct store *store;
    pthread_t thread;
    _Atomic bool is_over;
    enum status status; /* the first that is not STATUS_OK */
};

static void *compact_on(void *owner)
{
    struct storm *storm = owner;
    for (unsigned round = 0; !storm->is_over && storm->status == STATUS_OK; round++) {
        enum status status = store_compact(storm->store, round % 3 == 2, NULL);
        /* Too much may change meanwhile: that is what this is for. */
        storm->status = status == STATUS_AGAIN ? STATUS_OK : status;
    }
    return NULL;
}

/* A maildrop that comes and goes, with mail in it. */
static void pass_by(struct load *load)
{
    uint32_t place = load->ledger->drop_count;
    load_create(load);
    if (load->ledger->drop_count > place && load->ledger->drops[place].created != LEDGER_NEVER) {
        (void)load_deliver(load, 1u << place, some_size(load));
        load_remove(load, place);
    }
}

static void storm_step(struct load *load)
{
    switch (chance_below(&load->chance, 8)) {
    case 0:
        pass_by(load);
        break;
    case 1:
        checkpoint(load);
        break;
    case 2:
    case 3:
    case 4:
        burst(load);
        break;
    default:
        session(load);
        break;
    }
}

void load_storm(struct load *load, unsigned steps)
{
    struct storm storm = {.store = load->site->store};
    load->storming = load->hold != NULL;
    /* In half of them: slowly little is copied, and fast little comes in between. */
    if (load->slow_reads != NULL) {
        load->slow_reads(chance_percent(&load->chance, 50));
    }
    int code = pthread_create(&storm.thread, NULL, compact_on, &storm);
    assert(code == 0);
    for (unsigned i = 0; i < steps; i++) {
        storm_step(load);
        while (load->inflight > chance_below(&load->chance, INFLIGHT_MAX)) {
            pump(load);
        }
    }
    load_settle(load);
    storm.is_over = true;
    (void)pthread_join(storm.thread, NULL); /* our own, joined once */
    load->storming = false;
    if (load->slow_reads != NULL) {
        load->slow_reads(false);
    }
    if (storm.status != STATUS_OK) {
        surprise(load, "compaction under load", storm.status);
    }
}

/* --- all together --- */

static void restart(struct load *load)
{
    const char *path = load->site->config.path;
    struct store_config config = load->site->config;
    struct error error = {0};
    load_settle(load);
    site_close(load->site);
    enum status status = site_open(load->site, path, &config, &error);
    if (status != STATUS_OK) {
        fprintf(stderr, "reopening: %s: %s\n", status_name(status), error.text);
    }
    assert(status == STATUS_OK);
}

/* Space comes back, while whatever is in flight goes on. */
static void compact(struct load *load)
{
    struct error error = {0};
    enum status status =
        store_compact(load->site->store, chance_percent(&load->chance, 40), &error);
    if (status != STATUS_OK) {
        surprise(load, "compaction", status);
    }
}

void load_run(struct load *load, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        uint64_t what = chance_below(&load->chance, 100);
        if (load->restart_percent > 0 && chance_percent(&load->chance, load->restart_percent)) {
            restart(load);
        } else if (what < 8 || load_any_drop(load) == LEDGER_DROPS_MAX) {
            load_create(load);
        } else if (what < 11) {
            remove_drop(load);
        } else if (what < 18) {
            checkpoint(load);
        } else if (what < 22) {
            compact(load);
        } else if (what < 55) {
            session(load);
        } else {
            burst(load);
        }
        while (load->inflight > chance_below(&load->chance, INFLIGHT_MAX)) {
            pump(load);
        }
    }
}
