/* SPDX-License-Identifier: Apache-2.0 */
/* A store from its opening to its end: new, found as a kill left it, without its index, and while
 * it gives space back. */
#include "tests/proof/faults.h"
#include "tests/proof/inspect.h"
#include "tests/proof/load.h"
#include "tests/proof/shim.h"

#include <sys/stat.h>

static const struct store_config config = {
    .segment_size = 24 * 1024,
    .blob_min = 12 * 1024,
    .map_size = 64u << 20,
    .checkpoint_ms = 3600000,
};

/* What a kill has left, and what had been promised by then. */
static struct {
    char folder[64], killed[96];
    struct ledger ledger;
    uint64_t position;
    unsigned trial;
} stage;

static void folder_of(pid_t process, char out_path[64])
{
    bool has_memory = access("/dev/shm", W_OK) == 0;
    (void)snprintf(out_path, 64, "%s/restante-faults-%d", has_memory ? "/dev/shm" : "/tmp",
                   (int)process);
}

void faults_remove_folder(pid_t process)
{
    char path[64];
    folder_of(process, path);
    site_remove(path);
}

static void make_directory(const char *path)
{
    int code = mkdir(path, 0700);
    assert(code == 0);
}

/* Mail in all its places. */
static void fill(struct load *load)
{
    load_run(load, 12);
    load_settle(load);
    enum status status = store_checkpoint(load->site->store, NULL);
    assert(status == STATUS_OK);
    load_run(load, 6);
}

/* Segments of which little is needed, with the expunges of older ones' messages in newer ones. */
static void thin_out(struct load *load)
{
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 8; i++) {
            (void)load_deliver(load, 1u << i % 2, 4000);
        }
        (void)load_deliver(load, 3, 30000); /* a blob */
        load_session(load, round % 2, 60);
        load_settle(load);
    }
    load_session(load, 1, 80);
    load_settle(load);
    enum status status = store_checkpoint(load->site->store, NULL);
    assert(status == STATUS_OK);
}

/* A store, copied while it runs. */
static void make_killed(void (*make)(struct load *load))
{
    char path[96];
    struct fixture site;
    (void)snprintf(path, sizeof path, "%s/first", stage.folder);
    (void)snprintf(stage.killed, sizeof stage.killed, "%s/killed", stage.folder);
    make_directory(path);
    enum status status = site_open(&site, path, &config, NULL);
    assert(status == STATUS_OK);
    ledger_init(&stage.ledger, 42);
    struct load load = {.site = &site,
                        .ledger = &stage.ledger,
                        .chance = chance_make(42, 0),
                        .position = faults_tick,
                        .size_max = 30000};
    load_create(&load);
    load_create(&load);
    make(&load);
    load_settle(&load);
    stage.position = faults_tick();
    site_copy(path, stage.killed);
    site_close(&site);
    site_remove(path);
}

static void begin_with(void (*make)(struct load *load))
{
    folder_of(getpid(), stage.folder);
    site_remove(stage.folder);
    make_directory(stage.folder);
    make_killed(make);
}

void faults_store_begin(void)
{
    begin_with(fill);
}

void faults_compact_begin(void)
{
    begin_with(thin_out);
}

void faults_store_end(void)
{
    ledger_deinit(&stage.ledger);
    site_remove(stage.folder);
}

/* --- the beginnings --- */

static void set_path(struct trial *trial)
{
    (void)snprintf(trial->path, sizeof trial->path, "%s/trial%u", stage.folder, stage.trial++);
}

void faults_prepare_new(struct trial *trial)
{
    set_path(trial);
    make_directory(trial->path);
    ledger_init(&trial->ledger, 43);
}

void faults_prepare_killed(struct trial *trial)
{
    set_path(trial);
    site_copy(stage.killed, trial->path);
    ledger_copy_until(&trial->ledger, &stage.ledger, stage.position);
}

void faults_prepare_rebuild(struct trial *trial)
{
    char path[160];
    faults_prepare_killed(trial);
    (void)snprintf(path, sizeof path, "%s/volume/index/data.mdb", trial->path);
    int code = unlink(path);
    assert(code == 0);
}

/* --- what is done --- */

struct act {
    struct trial *trial;
    struct fixture site;
    struct ledger *ledger;
};

/* Notes an answer that the trial does not allow. */
static void note(struct act *act, const char *what, enum status status)
{
    char text[128];
    if (act->trial->strict && status != STATUS_OK) {
        act->trial->struck = shim_struck();
        (void)snprintf(text, sizeof text, "%s answered %s", what, status_name(status));
        faults_complain(act->trial, text);
    }
}

static bool is_refusal(enum status status)
{
    return status != STATUS_OK && status != STATUS_UNKNOWN;
}

static uint32_t create(struct act *act)
{
    uint32_t place = ledger_create(act->ledger, faults_tick());
    struct ledger_drop *drop = &act->ledger->drops[place];
    enum status status =
        SHIM_IN(fixture_change_drop(&act->site, &drop->id, "a@b", store_drop_create));
    drop->created = status == STATUS_OK ? faults_tick() : drop->created;
    drop->refused = is_refusal(status);
    drop->id = drop->refused ? 0 : drop->id;
    note(act, "making a maildrop", status);
    return place;
}

static void remove_drop(struct act *act, uint32_t place)
{
    struct ledger_drop *drop = &act->ledger->drops[place];
    uint64_t id = drop->id;
    if (drop->created == LEDGER_NEVER) {
        return;
    }
    drop->removing = faults_tick();
    enum status status = SHIM_IN(fixture_change_drop(&act->site, &id, "", store_drop_remove));
    drop->removed = status == STATUS_OK ? faults_tick() : LEDGER_NEVER;
    drop->removing = is_refusal(status) ? LEDGER_NEVER : drop->removing;
    note(act, "removing a maildrop", status);
}

static void deliver(struct act *act, uint32_t drops, size_t size, const char *uidl)
{
    uint64_t ids[LEDGER_DROPS_MAX], uid = 0;
    unsigned count = 0;
    for (uint32_t i = 0; i < act->ledger->drop_count; i++) {
        if ((drops & 1u << i) != 0 && act->ledger->drops[i].created != LEDGER_NEVER) {
            ids[count++] = act->ledger->drops[i].id;
        } else {
            drops &= ~(1u << i);
        }
    }
    if (count == 0) {
        return;
    }
    uint32_t number = ledger_send(act->ledger, drops, size, uidl, faults_tick());
    struct ledger_message *message = ledger_find(act->ledger, number);
    const struct ledger_octets *octets = ledger_octets(act->ledger, message);
    enum status status = SHIM_IN(
        fixture_deliver_all(&act->site, ids, count, octets->text, octets->text_length, uidl, &uid));
    if (status == STATUS_OK) {
        message->uid = uid;
        message->delivered = faults_tick();
    }
    message->refused = is_refusal(status);
    note(act, "a delivery", status);
}

/* Reads a message; false when that failed. */
static bool see(struct act *act, struct view *view, uint32_t index, uint32_t *out_number)
{
    char *wire = NULL;
    size_t length = 0;
    enum status status = SHIM_IN(site_read(&act->site, view, index, &wire, &length));
    note(act, "reading a message", status);
    if (status != STATUS_OK) {
        return false;
    }
    struct ledger_message *message = ledger_find(act->ledger, ledger_number_of(wire, length));
    const struct ledger_octets *octets =
        message != NULL ? ledger_octets(act->ledger, message) : NULL;
    bool is_right =
        octets != NULL && octets->wire_length == length && memcmp(octets->wire, wire, length) == 0;
    free(wire);
    if (!is_right) {
        faults_complain(act->trial, "a message was read that is none of ours, or changed");
        return false;
    }
    *out_number = message->number;
    return true;
}

/* Reads all, removes every other. */
static void session(struct act *act, uint32_t place)
{
    enum { CHOSEN_MAX = 256 };
    uint32_t indexes[CHOSEN_MAX], numbers[CHOSEN_MAX], chosen = 0;
    uint64_t before[CHOSEN_MAX];
    struct ledger_drop *drop = &act->ledger->drops[place];
    struct view *view = NULL;
    if (drop->created == LEDGER_NEVER || drop->removing != LEDGER_NEVER) {
        return;
    }
    enum status status = SHIM_IN(fixture_view(&act->site, drop->id, STORE_LOCK_EXCLUSIVE, &view));
    note(act, "opening a maildrop", status);
    if (status != STATUS_OK) {
        return;
    }
    for (uint32_t i = 0; i < store_view_count(view); i++) {
        uint32_t number;
        if (see(act, view, i, &number) && i % 2 == 0 && chosen < CHOSEN_MAX) {
            indexes[chosen] = i;
            numbers[chosen++] = number;
        }
    }
    if (chosen == 0) {
        SHIM_DO(store_view_close(&view));
        return;
    }
    for (uint32_t i = 0; i < chosen; i++) {
        struct ledger_message *message = ledger_find(act->ledger, numbers[i]);
        before[i] = message->leaving[place]; /* an earlier expunge may have ended unknown */
        message->leaving[place] = before[i] == LEDGER_NEVER ? faults_tick() : before[i];
    }
    status = SHIM_IN(fixture_commit(&act->site, &view, indexes, chosen));
    note(act, "an expunge", status);
    for (uint32_t i = 0; i < chosen; i++) {
        struct ledger_message *message = ledger_find(act->ledger, numbers[i]);
        message->gone[place] = status == STATUS_OK ? faults_tick() : LEDGER_NEVER;
        message->leaving[place] = is_refusal(status) ? before[i] : message->leaving[place];
    }
}

static void checkpoint(struct act *act)
{
    note(act, "a checkpoint", SHIM_IN(store_checkpoint(act->site.store, NULL)));
}

static void act_all(struct act *act)
{
    uint32_t first = create(act), second = create(act);
    deliver(act, 1u << first, 300, NULL);
    deliver(act, 1u << first | 1u << second, 5000, "import-x");
    deliver(act, 1u << second, 30000, NULL); /* a blob */
    session(act, 0);
    checkpoint(act);
    for (int i = 0; i < 3; i++) { /* and into the next segment */
        deliver(act, 1u << first, 11000, NULL);
    }
    session(act, first);
    deliver(act, 1u << second, 700, NULL);
    session(act, second);
    remove_drop(act, second);
    checkpoint(act);
    deliver(act, 1u << first, 100, NULL);
}

void faults_run_store(struct trial *trial)
{
    struct act act = {.trial = trial, .ledger = &trial->ledger};
    enum status status = SHIM_IN(site_open(&act.site, trial->path, &config, NULL));
    note(&act, "opening the store", status);
    if (status == STATUS_OK) {
        act_all(&act);
        SHIM_DO(site_close(&act.site));
    }
}

/* The figures of a run in which nothing may fail: that there was something to give back. */
static void note_reclaimed(struct act *act)
{
    struct store_numbers numbers;
    store_numbers(act->site.store, &numbers);
    bool is_done = numbers.reclaimed_segments > 3 && numbers.reclaimed_blobs > 0 &&
                   numbers.copied_records > 0 && numbers.left_segments == 0;
    if (act->trial->strict && !is_done) {
        faults_complain(act->trial, "no space was given back");
    }
}

void faults_run_compact(struct trial *trial)
{
    struct act act = {.trial = trial, .ledger = &trial->ledger};
    enum status status = SHIM_IN(site_open(&act.site, trial->path, &config, NULL));
    note(&act, "opening the store", status);
    if (status != STATUS_OK) {
        return;
    }
    note(&act, "compaction", SHIM_IN(store_compact(act.site.store, false, NULL)));
    deliver(&act, 3, 5000, NULL);
    session(&act, 0);
    note(&act, "compaction of all", SHIM_IN(store_compact(act.site.store, true, NULL)));
    session(&act, 1);
    checkpoint(&act);
    note(&act, "the last compaction", SHIM_IN(store_compact(act.site.store, false, NULL)));
    note_reclaimed(&act);
    SHIM_DO(site_close(&act.site));
}

/* Holds what is there against the promises; false: it does not open. */
static bool look(struct trial *trial)
{
    struct fixture site;
    struct error error = {0};
    struct inspection inspection;
    struct store_numbers numbers;
    enum status status = site_open(&site, trial->path, &config, &error);
    if (status != STATUS_OK) {
        faults_complain(trial, "the store does not open again");
        faults_complain(trial, error.text);
        return false;
    }
    inspect_and_settle(&site, &trial->ledger, faults_tick(), &inspection);
    store_numbers(site.store, &numbers);
    if (inspection.violations > 0) {
        faults_complain(trial, inspection.first);
    }
    if (numbers.quarantined > 0) {
        faults_complain(trial, "the next recovery took something for damaged");
    }
    site_close(&site);
    return true;
}

static void end_trial(struct trial *trial)
{
    ledger_deinit(&trial->ledger);
    site_remove(trial->path);
}

void faults_check_store(struct trial *trial)
{
    (void)look(trial);
    end_trial(trial);
}

/* And what the log alone says: no message is back. */
void faults_check_compact(struct trial *trial)
{
    struct store_config own = config;
    own.path = trial->path;
    if (look(trial)) {
        if (store_rebuild(&own, NULL, NULL, NULL, NULL) != STATUS_OK) {
            faults_complain(trial, "the store cannot be rebuilt");
        }
        (void)look(trial);
    }
    end_trial(trial);
}
