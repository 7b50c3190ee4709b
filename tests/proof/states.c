/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/states.h"

#include "tests/proof/inspect.h"
#include "tests/proof/load.h"
#include "tests/proof/recorder.h"

#define PENDING_MAX   512 /* unsynced steps at one time */
#define TRIED_MAX     128 /* states of one prefix */
#define SNAPSHOTS_MAX 4   /* older indexes kept */
#define REPLAYED_AGE  2   /* commits: an index so much older does not want a segment that is gone */
#define EXHAUSTIVE    4   /* so few unsynced steps: every subset */
#define NESTED_EVERY  48  /* prefixes between two recoveries that are recorded */

/* What the index's file was when it was last committed, and before. */
struct snapshot {
    uint8_t *data;
    size_t size;
    uint32_t node;
};

struct explorer {
    const struct step_log *log;
    struct ledger *ledger;
    const struct states_config *config;
    struct chance *chance;
    struct states_result *result;
    struct image durable;           /* what the synced steps have made */
    size_t pending[PENDING_MAX];    /* the others, in order */
    struct tear tears[PENDING_MAX]; /* what becomes of each in the state being tried */
    size_t pending_count;
    uint64_t tried[TRIED_MAX]; /* fingerprints of the choices made for this prefix */
    size_t tried_count;
    struct snapshot snapshots[SNAPSHOTS_MAX]; /* newest first */
    unsigned age;     /* commits that the index is to be set back; SNAPSHOTS_MAX: by chance */
    bool is_replayed; /* the state's index must not have to be made again */
    char path[128];
};

static const struct step *step_of(const struct explorer *explorer, size_t pending)
{
    return &explorer->log->steps[explorer->pending[pending]];
}

/* --- what is durable, and what is not --- */

static bool settles(const struct explorer *explorer, const struct step *sync, size_t pending)
{
    const struct step *step = step_of(explorer, pending);
    if (sync->kind == STEP_SYNC_STEP) {
        return explorer->pending[pending] == sync->other;
    }
    return step->node == sync->node || (step->kind == STEP_RENAME && step->to == sync->node);
}

static void settle(struct explorer *explorer, const struct step *sync)
{
    size_t kept = 0;
    for (size_t i = 0; i < explorer->pending_count; i++) {
        if (settles(explorer, sync, i)) {
            image_apply(&explorer->durable, step_of(explorer, i), NULL);
        } else {
            explorer->pending[kept++] = explorer->pending[i];
        }
    }
    explorer->pending_count = kept;
}

static void take_snapshot(struct explorer *explorer, uint32_t node)
{
    struct snapshot *snapshots = explorer->snapshots;
    const struct image_node *file = &explorer->durable.nodes[node];
    free(snapshots[SNAPSHOTS_MAX - 1].data);
    memmove(snapshots + 1, snapshots, (SNAPSHOTS_MAX - 1) * sizeof *snapshots);
    snapshots[0] = (struct snapshot){malloc(file->size + 1), file->size, node};
    assert(snapshots[0].data != NULL);
    memcpy(snapshots[0].data, file->data, file->size);
}

static bool is_index(const struct explorer *explorer, uint32_t node)
{
    return image_find(&explorer->durable, "volume/index/data.mdb") == node ||
           image_find(&explorer->durable, "accounts/data.mdb") != node;
}

static void push(struct explorer *explorer, size_t index)
{
    const struct step *step = &explorer->log->steps[index];
    if (step->kind == STEP_SYNC || step->kind == STEP_SYNC_STEP) {
        settle(explorer, step);
        if (step->kind == STEP_SYNC_STEP && is_index(explorer, step->node)) {
            take_snapshot(explorer, step->node);
        }
        return;
    }
    if (explorer->pending_count == PENDING_MAX) { /* so old that a real kernel has written it */
        image_apply(&explorer->durable, step_of(explorer, 0), NULL);
        memmove(explorer->pending, explorer->pending + 1,
                --explorer->pending_count * sizeof explorer->pending[0]);
    }
    explorer->pending[explorer->pending_count++] = index;
}

/* --- one state --- */

static void complain(struct explorer *explorer, uint64_t position, const char *when,
                     const char *what)
{
    struct states_result *result = explorer->result;
    if (result->violations++ == 0) {
        (void)snprintf(result->first, sizeof result->first, "%s, at step %llu of %zu, %s: %.250s",
                       result->now, (unsigned long long)position, explorer->log->count, when, what);
    }
}

static bool judge(struct explorer *explorer, uint64_t position, const char *when,
                  const struct inspection *inspection)
{
    if (inspection->violations > 0) {
        complain(explorer, position, when, inspection->first);
    }
    return inspection->violations == 0;
}

static bool open_site(struct explorer *explorer, struct fixture *site, const char *path,
                      uint64_t position, const char *when)
{
    struct error error = {0};
    char text[256];
    enum status status = site_open(site, path, &explorer->config->store, &error);
    if (status != STATUS_OK) {
        (void)snprintf(text, sizeof text, "the store does not open: %s, %.200s",
                       status_name(status), error.text);
        complain(explorer, position, when, text);
    }
    return status == STATUS_OK;
}

static uint64_t forever(void)
{
    return LEDGER_NEVER - 2;
}

/* New mail gets a number that nobody has seen; something goes. */
static void use(struct explorer *explorer, struct fixture *site, struct ledger *ledger,
                struct inspection *inspection)
{
    struct load load = {.site = site,
                        .ledger = ledger,
                        .chance = chance_make(chance_next(explorer->chance), 0),
                        .position = forever};
    uint32_t drop = load_any_drop(&load);
    if (drop == LEDGER_DROPS_MAX) {
        return;
    }
    uint32_t number = load_deliver(&load, 1u << drop, 200);
    uint64_t uid = ledger_find(ledger, number)->uid;
    if (uid <= inspection->uid_max) {
        inspect_complain(inspection, "a new message got uid %llx, which is not above %llx",
                         (unsigned long long)uid, (unsigned long long)inspection->uid_max);
    }
    load_session(&load, drop, 30);
    load_settle(&load);
    if (load.surprises > 0) {
        inspect_complain(inspection, "after the recovery %s", load.surprise);
    }
}

static void check_health(struct fixture *site, struct inspection *inspection)
{
    struct store_numbers numbers;
    store_numbers(site->store, &numbers);
    if (numbers.quarantined > 0) {
        inspect_complain(inspection, "recovery took %llu places for damaged",
                         (unsigned long long)numbers.quarantined);
    }
    if (numbers.read_only) {
        inspect_complain(inspection, "the volume is read-only");
    }
}

/* The second start: after an orderly end, without an index, or after a kill. */
static void open_again(struct explorer *explorer, struct fixture *site, struct ledger *ledger,
                       uint64_t position)
{
    static const char *const words[] = {"second start", "rebuild", "second crash"};
    char other[160], index[192];
    struct inspection inspection;
    uint64_t how = chance_below(explorer->chance, 3);
    (void)snprintf(other, sizeof other, "%s-second", explorer->path);
    (void)snprintf(index, sizeof index, "%s/volume/index/data.mdb", explorer->path);
    if (how == 2) {
        site_copy(explorer->path, other);
    }
    site_close(site);
    if (how == 1) {
        (void)unlink(index);
    }
    const char *path = how == 2 ? other : explorer->path;
    if (open_site(explorer, site, path, position, words[how])) {
        inspect_store(site, ledger, forever() + 1, &inspection);
        check_health(site, &inspection);
        if (inspection.violations == 0 && store_checkpoint(site->store, NULL) == STATUS_OK) {
            inspect_numbers(site, &inspection);
        }
        (void)judge(explorer, position, words[how], &inspection);
        site_close(site);
    }
    if (how == 2) {
        site_remove(other);
    }
}

/* Which file the index is: another one when it has been made again. */
static ino_t index_file(const struct explorer *explorer)
{
    struct stat found;
    char path[192];
    (void)snprintf(path, sizeof path, "%s/volume/index/data.mdb", explorer->path);
    return stat(path, &found) == 0 ? found.st_ino : 0;
}

static void try_directory(struct explorer *explorer, uint64_t position)
{
    struct ledger ledger;
    struct fixture site;
    struct inspection inspection;
    ino_t index = index_file(explorer);
    ledger_copy_until(&ledger, explorer->ledger, position);
    if (open_site(explorer, &site, explorer->path, position, "recovery")) {
        inspect_and_settle(&site, &ledger, position, &inspection);
        check_health(&site, &inspection);
        if (explorer->is_replayed && index_file(explorer) != index) {
            inspect_complain(&inspection, "an index of a few commits ago has been made again");
        }
        if (explorer->config->roll != NULL) {
            roll_inspect(explorer->config->roll, explorer->path, position, &inspection);
        }
        if (inspection.violations == 0) {
            use(explorer, &site, &ledger, &inspection);
        }
        if (judge(explorer, position, "recovery", &inspection)) {
            open_again(explorer, &site, &ledger, position);
        } else {
            site_close(&site);
        }
    }
    ledger_deinit(&ledger);
}

/* The index is replaced by one of an earlier commit, or goes: LMDB promises no more. */
static void spoil_index(struct explorer *explorer, struct image *image)
{
    uint32_t node = image_find(image, "volume/index/data.mdb");
    bool by_chance = explorer->age == SNAPSHOTS_MAX;
    uint64_t which = by_chance ? chance_below(explorer->chance, 24) : explorer->age;
    explorer->is_replayed = false;
    if (node == UINT32_MAX) {
        explorer->result->rebuilt++;
    } else if (which < SNAPSHOTS_MAX && explorer->snapshots[which].data != NULL) {
        struct image_node *file = &image->nodes[node];
        struct snapshot *snapshot = &explorer->snapshots[which];
        explorer->is_replayed = !by_chance && snapshot->node == node;
        file->data = realloc(file->data, snapshot->size + 1);
        assert(file->data != NULL);
        memcpy(file->data, snapshot->data, snapshot->size);
        file->size = file->capacity = snapshot->size;
    }
}

static void write_state(struct explorer *explorer, struct image *image)
{
    image_copy(image, &explorer->durable);
    for (size_t i = 0; i < explorer->pending_count; i++) {
        image_apply(image, step_of(explorer, i), &explorer->tears[i]);
    }
}

static bool is_new(struct explorer *explorer)
{
    uint64_t print = explorer->pending_count + ((uint64_t)explorer->age << 32);
    for (size_t i = 0; i < explorer->pending_count; i++) {
        const struct tear *tear = &explorer->tears[i];
        print = (print ^ ((uint64_t)tear->kind << 56) ^ tear->value) * 0x9e3779b97f4a7c15ull;
        print ^= print >> 29;
    }
    for (size_t i = 0; i < explorer->tried_count; i++) {
        if (explorer->tried[i] == print) {
            return false;
        }
    }
    if (explorer->tried_count < TRIED_MAX) {
        explorer->tried[explorer->tried_count++] = print;
    }
    return true;
}

static void try_state(struct explorer *explorer, uint64_t position)
{
    struct states_result *result = explorer->result;
    struct image image;
    if (!is_new(explorer) || (explorer->config->first_only && result->violations > 0)) {
        return;
    }
    result->states++;
    for (size_t i = 0; i < explorer->pending_count; i++) {
        if (explorer->tears[i].kind > TEAR_ABSENT) {
            result->torn++;
            break;
        }
    }
    (void)snprintf(result->now, sizeof result->now, "state %llu, %zu steps unsynced",
                   (unsigned long long)result->states, explorer->pending_count);
    write_state(explorer, &image);
    spoil_index(explorer, &image);
    image_write_out(&image, explorer->path);
    uint64_t violations = result->violations;
    try_directory(explorer, position);
    if (explorer->config->keep && violations == 0 && result->violations > 0) {
        char kept[160];
        (void)snprintf(kept, sizeof kept, "%s-kept", explorer->path);
        image_write_out(&image, kept);
    }
    image_deinit(&image);
    site_remove(explorer->path);
}

/* --- choosing --- */

static void set_all(struct explorer *explorer, enum tear_kind kind)
{
    for (size_t i = 0; i < explorer->pending_count; i++) {
        explorer->tears[i] = (struct tear){.kind = kind};
    }
}

/* A file's first commit makes no name durable: mostly the index has its name all the same, for a
 * state without an index says little. */
static void name_index(struct explorer *explorer)
{
    for (size_t i = 0; i < explorer->pending_count; i++) {
        const struct step *step = step_of(explorer, i);
        if (step->kind == STEP_LINK && strcmp(step->name, "data.mdb") == 0 &&
            chance_percent(explorer->chance, 88)) {
            explorer->tears[i] = (struct tear){.kind = TEAR_NONE};
        }
    }
}

static struct tear some_tear(struct explorer *explorer, const struct step *step)
{
    struct tear tear = {.kind = TEAR_CUT};
    switch (chance_below(explorer->chance, 6)) {
    case 0:
        tear.kind = TEAR_ZEROS;
        break;
    case 1:
        tear.kind = TEAR_GARBAGE;
        tear.value = chance_next(explorer->chance);
        break;
    case 2:
        tear.kind = TEAR_SECTORS;
        tear.value = chance_next(explorer->chance);
        break;
    default:
        tear.value = chance_below(explorer->chance, image_sectors(step) + 1);
    }
    return tear;
}

static void set_random(struct explorer *explorer)
{
    static const unsigned percents[] = {10, 50, 90};
    unsigned percent = percents[chance_below(explorer->chance, 3)];
    for (size_t i = 0; i < explorer->pending_count; i++) {
        const struct step *step = step_of(explorer, i);
        bool applied = chance_percent(explorer->chance, percent);
        explorer->tears[i] = (struct tear){.kind = applied ? TEAR_NONE : TEAR_ABSENT};
        if (step->kind == STEP_WRITE && step->length > 0 && chance_percent(explorer->chance, 30)) {
            explorer->tears[i] = some_tear(explorer, step);
        }
    }
}

static void try_subsets(struct explorer *explorer, uint64_t position)
{
    size_t count = explorer->pending_count;
    for (unsigned mask = 0; count <= EXHAUSTIVE && mask < 1u << count; mask++) {
        for (size_t i = 0; i < count; i++) {
            enum tear_kind kind = (mask & 1u << i) != 0 ? TEAR_NONE : TEAR_ABSENT;
            explorer->tears[i] = (struct tear){.kind = kind};
        }
        try_state(explorer, position);
    }
}

/* The write that was under way, cut at every sector, within bounds; the rest is there. */
static void try_cuts(struct explorer *explorer, uint64_t position)
{
    size_t last = explorer->pending_count - 1;
    uint64_t sectors = image_sectors(step_of(explorer, last));
    uint64_t most = explorer->config->per_prefix / 2 + 1;
    uint64_t stride = sectors > most ? sectors / most + 1 : 1;
    for (uint64_t cut = chance_below(explorer->chance, stride); cut < sectors; cut += stride) {
        set_all(explorer, TEAR_NONE);
        explorer->tears[last] = (struct tear){.kind = TEAR_CUT, .value = cut};
        try_state(explorer, position);
    }
    for (enum tear_kind kind = TEAR_SECTORS; kind <= TEAR_GARBAGE; kind++) {
        set_all(explorer, TEAR_NONE);
        explorer->tears[last] = (struct tear){.kind = kind, .value = chance_next(explorer->chance)};
        try_state(explorer, position);
    }
}

static void try_prefix(struct explorer *explorer, uint64_t position)
{
    uint64_t end = explorer->result->states + explorer->config->per_prefix;
    const struct step *last = position > 0 ? &explorer->log->steps[position - 1] : NULL;
    explorer->result->prefixes++;
    explorer->tried_count = 0;
    set_all(explorer, TEAR_ABSENT);
    name_index(explorer);
    try_state(explorer, position);
    if (explorer->pending_count == 0) {
        return;
    }
    set_all(explorer, TEAR_NONE);
    try_state(explorer, position);
    if (last != NULL && (last->kind == STEP_SYNC || last->kind == STEP_SYNC_STEP)) {
        return; /* all other states of this prefix were states of the one before */
    }
    if (last != NULL && last->kind == STEP_WRITE) {
        try_cuts(explorer, position);
    } else {
        try_subsets(explorer, position);
    }
    for (unsigned i = 0; i < explorer->config->per_prefix && explorer->result->states < end; i++) {
        set_random(explorer);
        name_index(explorer);
        try_state(explorer, position);
    }
}

/* A segment has just been unlinked: no index that LMDB may come back with may want it, not even one
 * that is a commit older still. */
static void try_older_index(struct explorer *explorer, uint64_t position)
{
    const struct step *last = position > 0 ? &explorer->log->steps[position - 1] : NULL;
    size_t length = last != NULL ? strlen(last->name) : 0;
    if (last == NULL || last->kind != STEP_UNLINK || length < 4 ||
        strcmp(last->name + length - 4, ".seg") != 0) {
        return;
    }
    explorer->tried_count = 0;
    explorer->age = REPLAYED_AGE;
    set_all(explorer, TEAR_NONE);
    try_state(explorer, position);
    explorer->age = SNAPSHOTS_MAX;
}

/* --- a recovery that crashes --- */

static void explore_recovery(struct explorer *explorer, uint64_t position)
{
    char path[160];
    struct step_log log;
    struct ledger ledger;
    struct fixture site;
    struct image image;
    struct inspection inspection;
    struct states_config config = *explorer->config;
    (void)snprintf(path, sizeof path, "%s-recovery", explorer->path);
    ledger_copy_until(&ledger, explorer->ledger, position);
    step_log_borrow(&log, explorer->log, position);
    /* The machine lives on: everything is there, but what was not synced still is not. */
    set_all(explorer, TEAR_NONE);
    write_state(explorer, &image);
    if (chance_percent(explorer->chance, 40)) { /* and a rebuild may be needed */
        uint32_t index = image_find(&image, "volume/index");
        if (index != UINT32_MAX && image_lookup(&image, index, "data.mdb") != UINT32_MAX) {
            struct step *step = step_log_add(&log, STEP_UNLINK, index);
            strcpy(step->name, "data.mdb");
            image_apply(&image, step, NULL);
        }
    }
    image_write_out(&image, path);
    recorder_start(path, &log, config.recovery_lie);
    if (open_site(explorer, &site, path, position, "recorded recovery")) {
        inspect_and_settle(&site, &ledger, recorder_position(), &inspection);
        if (judge(explorer, position, "recorded recovery", &inspection)) {
            struct load load = {.site = &site,
                                .ledger = &ledger,
                                .chance = chance_make(chance_next(explorer->chance), 1),
                                .position = recorder_position,
                                .hold = recorder_hold,
                                .let_go = recorder_let_go,
                                .size_max = 20000};
            load_run(&load, config.recovery_lie == RECORDER_HONEST ? 4 : 0);
            load_settle(&load);
        }
        site_close(&site);
    }
    recorder_stop();
    site_remove(path);
    config.nested = false;
    config.roll = NULL;
    config.prefix_percent = 40;
    config.per_prefix = 6;
    uint64_t before = explorer->result->states;
    states_explore(&log, position, &ledger, &config, explorer->chance, explorer->result);
    explorer->result->nested += explorer->result->states - before;
    image_deinit(&image);
    step_log_deinit(&log);
    ledger_deinit(&ledger);
}

/* --- all of it --- */

/* Whether this prefix is one whose recovery is recorded. A recovery that is lied to shows only
 * where a write has not been synced. */
static bool is_nested(const struct explorer *explorer, size_t position)
{
    const struct states_config *config = explorer->config;
    if (config->recovery_lie != RECORDER_HONEST) {
        return position > 0 && explorer->log->steps[position - 1].kind == STEP_WRITE &&
               explorer->pending_count > 0 && chance_below(explorer->chance, 6) == 0;
    }
    return chance_below(explorer->chance, NESTED_EVERY) == 0;
}

void states_explore(const struct step_log *log, size_t from, struct ledger *ledger,
                    const struct states_config *config, struct chance *chance,
                    struct states_result *result)
{
    struct explorer *explorer = calloc(1, sizeof *explorer);
    assert(explorer != NULL);
    *explorer = (struct explorer){
        .log = log, .ledger = ledger, .config = config, .chance = chance, .result = result};
    explorer->age = SNAPSHOTS_MAX;
    (void)snprintf(explorer->path, sizeof explorer->path, "%s/state", config->folder);
    image_init(&explorer->durable);
    for (size_t i = 0; i <= log->count; i++) {
        if (i >= from) {
            try_older_index(explorer, i);
        }
        if (i >= from && chance_percent(chance, config->prefix_percent)) {
            try_prefix(explorer, i);
        }
        if (i >= from && config->nested && is_nested(explorer, i)) {
            explore_recovery(explorer, i);
        }
        if (i < log->count) {
            push(explorer, i);
        }
    }
    for (size_t i = 0; i < SNAPSHOTS_MAX; i++) {
        free(explorer->snapshots[i].data);
    }
    image_deinit(&explorer->durable);
    free(explorer);
}
