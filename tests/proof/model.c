/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store against a small model of one: random operations, among them restarts, kills and rebuilds,
 * and after each few of them everything is compared. The model is the ledger: when nothing is in
 * flight it leaves no room for "may be".
 *
 *     proof_model --seed N --seeds 1        repeats one seed
 */
#include "tests/proof/ambush.h"
#include "tests/proof/inspect.h"
#include "tests/proof/load.h"
#include "tests/proof/recorder.h"

#include "io/log.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>
#include <time.h>

#define VIEWS_MAX 4
#ifdef __SANITIZE_ADDRESS__
#define SEEDS_SHORT 40 /* seeds run when nobody asks for more */
#else
#define SEEDS_SHORT 200
#endif

/* A session that stays open while others change its maildrop: nothing of it may change. */
struct frozen {
    struct view *view;
    uint32_t count;
    uint32_t *numbers; /* of its messages, as they were when it was opened */
};

struct model {
    uint64_t seed;
    char folder[64], path[96];
    unsigned generation; /* of `path`: each kill makes a new one */
    struct store_config config;
    struct fixture site;
    struct ledger ledger;
    struct load load;
    struct frozen views[VIEWS_MAX];
    unsigned failures;
};

static struct {
    uint64_t operations, comparisons, kills, rebuilds, views, takeovers, failures;
    uint64_t storms, ambushes;
    uint64_t segments, blobs, copied; /* unlinked, unlinked, and records copied by compaction */
} total;

static uint64_t clock_now;

static uint64_t tick(void)
{
    return ++clock_now;
}

static void fail(struct model *model, const char *what)
{
    if (model->failures++ == 0) {
        printf("seed %llu: %s\n", (unsigned long long)model->seed, what);
        total.failures++;
    }
}

/* --- frozen views --- */

static uint32_t number_at(struct model *model, struct view *view, uint32_t index)
{
    char *wire = NULL;
    size_t length = 0;
    if (site_read(&model->site, view, index, &wire, &length) != STATUS_OK) {
        return UINT32_MAX;
    }
    struct ledger_message *message = ledger_find(&model->ledger, ledger_number_of(wire, length));
    const struct ledger_octets *octets =
        message != NULL ? ledger_octets(&model->ledger, message) : NULL;
    bool is_right =
        octets != NULL && octets->wire_length == length && memcmp(octets->wire, wire, length) == 0;
    free(wire);
    return is_right ? message->number : UINT32_MAX;
}

static void open_frozen(struct model *model, struct frozen *frozen)
{
    uint32_t drop = load_any_drop(&model->load);
    if (drop == LEDGER_DROPS_MAX || fixture_view(&model->site, model->ledger.drops[drop].id,
                                                 STORE_LOCK_NONE, &frozen->view) != STATUS_OK) {
        return;
    }
    frozen->count = store_view_count(frozen->view);
    frozen->numbers = calloc(frozen->count + 1, sizeof *frozen->numbers);
    assert(frozen->numbers != NULL);
    for (uint32_t i = 0; i < frozen->count; i++) {
        frozen->numbers[i] = number_at(model, frozen->view, i);
        if (frozen->numbers[i] == UINT32_MAX) {
            fail(model, "a message of a view cannot be read");
        }
    }
    total.views++;
}

static void close_frozen(struct model *model, struct frozen *frozen)
{
    if (frozen->view == NULL) {
        return;
    }
    if (store_view_count(frozen->view) != frozen->count) {
        fail(model, "a view has changed");
    }
    for (uint32_t i = 0; i < frozen->count; i++) {
        if (number_at(model, frozen->view, i) != frozen->numbers[i]) {
            fail(model, "a message of an open view is gone or changed");
        }
    }
    store_view_close(&frozen->view);
    free(frozen->numbers);
}

static void close_all_views(struct model *model)
{
    for (unsigned i = 0; i < VIEWS_MAX; i++) {
        close_frozen(model, &model->views[i]);
    }
}

static void change_view(struct model *model)
{
    struct frozen *frozen = &model->views[chance_below(&model->load.chance, VIEWS_MAX)];
    if (frozen->view != NULL) {
        close_frozen(model, frozen);
    } else {
        open_frozen(model, frozen);
    }
}

/* --- locks and unique-ids --- */

/* Who has been overtaken removes nothing. */
static void take_over(struct model *model)
{
    uint32_t drop = load_any_drop(&model->load);
    struct view *first = NULL, *second = NULL;
    load_settle(&model->load);
    if (drop == LEDGER_DROPS_MAX) {
        return;
    }
    uint64_t id = model->ledger.drops[drop].id;
    if (fixture_view(&model->site, id, STORE_LOCK_EXCLUSIVE, &first) != STATUS_OK) {
        fail(model, "a free maildrop cannot be locked");
        return;
    }
    if (fixture_view(&model->site, id, STORE_LOCK_EXCLUSIVE, &second) != STATUS_BUSY) {
        fail(model, "a locked maildrop was locked again");
    }
    if (fixture_view(&model->site, id, STORE_LOCK_TAKEOVER, &second) != STATUS_OK) {
        fail(model, "a maildrop cannot be taken over");
    }
    if (store_view_count(first) > 0) {
        uint32_t index = 0;
        if (fixture_commit(&model->site, &first, &index, 1) != STATUS_LOST) {
            fail(model, "who was overtaken has removed mail");
        }
    }
    store_view_close(&first);
    store_view_close(&second);
    total.takeovers++;
}

static bool is_in(const struct ledger_message *message, uint32_t drop)
{
    return ledger_message_duty(message, drop, clock_now) == LEDGER_MUST;
}

/* An imported unique-id comes once in a maildrop. */
static void import_again(struct model *model)
{
    load_settle(&model->load);
    for (uint32_t i = 0; i < model->ledger.count; i++) {
        const struct ledger_message *message = &model->ledger.messages[i];
        for (uint32_t drop = 0; message->uidl[0] != '\0' && drop < model->ledger.drop_count;
             drop++) {
            uint64_t uid = 0;
            (void)tick();
            if (model->ledger.drops[drop].removing != LEDGER_NEVER || !is_in(message, drop)) {
                continue;
            }
            enum status status = fixture_import(&model->site, model->ledger.drops[drop].id, "x",
                                                message->uidl, &uid);
            if (status != STATUS_EXISTS) {
                fail(model, "an imported unique-id was taken twice");
            }
            return;
        }
    }
}

/* --- ends and beginnings --- */

static void open_model(struct model *model)
{
    struct error error = {0};
    if (site_open(&model->site, model->path, &model->config, &error) != STATUS_OK) {
        printf("seed %llu: the store does not open: %s %s\n", (unsigned long long)model->seed,
               status_name(error.status), error.text);
        exit(1);
    }
}

static void close_model(struct model *model)
{
    struct store_numbers numbers;
    store_numbers(model->site.store, &numbers);
    total.segments += numbers.reclaimed_segments;
    total.blobs += numbers.reclaimed_blobs;
    total.copied += numbers.copied_records;
    if (numbers.quarantined > 0) {
        fail(model, "recovery took something for damaged or missing");
    }
    if (numbers.left_segments > 0 || numbers.compact_stopped) {
        fail(model, "compaction met something that it cannot touch");
    }
    site_close(&model->site);
}

/* What a kill -9 leaves, with everything in flight: a copy of the directory at one instant. */
static void kill_model(struct model *model)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/%u", model->folder, ++model->generation);
    recorder_hold();
    site_copy(model->path, path);
    uint64_t now = tick();
    recorder_let_go();
    load_settle(&model->load);
    close_all_views(model);
    close_model(model);
    site_remove(model->path);
    strcpy(model->path, path);
    ledger_rewind(&model->ledger, now);
    open_model(model);
    total.kills++;
    struct inspection inspection;
    inspect_and_settle(&model->site, &model->ledger, tick(), &inspection);
    if (inspection.violations > 0) {
        fail(model, inspection.first);
    }
}

static void rebuild_model(struct model *model)
{
    struct store_config config = model->config;
    struct error error = {0};
    config.path = model->path;
    load_settle(&model->load);
    close_all_views(model);
    close_model(model);
    if (store_rebuild(&config, NULL, NULL, NULL, &error) != STATUS_OK) {
        fail(model, "a rebuild failed");
    }
    open_model(model);
    total.rebuilds++;
}

/* Nothing is in flight: everything must be as the model has it. */
static void compare(struct model *model)
{
    struct inspection inspection;
    load_settle(&model->load);
    inspect_store(&model->site, &model->ledger, tick(), &inspection);
    if (inspection.violations == 0 && chance_percent(&model->load.chance, 30) &&
        store_checkpoint(model->site.store, NULL) == STATUS_OK) {
        inspect_numbers(&model->site, &inspection);
    }
    if (inspection.violations > 0) {
        fail(model, inspection.first);
    }
    if (model->load.surprises > 0) {
        fail(model, model->load.surprise);
    }
    total.comparisons++;
}

/* What compaction, at work while mail came and went, has made of the log. */
static void weather_storm(struct model *model)
{
    load_storm(&model->load, (unsigned)chance_between(&model->load.chance, 5, 20));
    total.storms++;
    rebuild_model(model);
    compare(model);
}

/* The sequences that a storm hardly ever meets. */
static void walk_into_ambush(struct model *model)
{
    ambush_play(&model->load, chance_next(&model->load.chance) >> 16);
    total.ambushes++;
    rebuild_model(model);
    compare(model);
}

static void step(struct model *model)
{
    uint64_t what = chance_below(&model->load.chance, 100);
    if (what < 6) {
        kill_model(model);
    } else if (what < 9) {
        rebuild_model(model);
    } else if (what < 20) {
        change_view(model);
    } else if (what < 25) {
        take_over(model);
    } else if (what < 30) {
        import_again(model);
    } else if (what < 42) {
        compare(model);
    } else if (what < 43) {
        weather_storm(model);
    } else if (what < 44) {
        walk_into_ambush(model);
    } else {
        load_run(&model->load, 1);
    }
    total.operations++;
}

static void run_seed(uint64_t seed, unsigned steps)
{
    struct chance chance = chance_make(seed, 7);
    struct model *model = calloc(1, sizeof *model);
    assert(model != NULL);
    model->seed = seed;
    model->config = (struct store_config){
        .segment_size = chance_between(&chance, 4, 64) * 1024,
        .blob_min = chance_between(&chance, 2, 40) * 1024,
        .map_size = 256u << 20,
        .checkpoint_ms = (uint32_t)(chance_percent(&chance, 50) ? 5 : 3600000),
        .compact_ms = 3,
        .compact_off = chance_percent(&chance, 60),
        .compact_live = (uint32_t)chance_between(&chance, 40, 90),
    };
    site_make_folder(model->folder);
    (void)snprintf(model->path, sizeof model->path, "%s/0", model->folder);
    int code = mkdir(model->path, 0700);
    assert(code == 0);
    ledger_init(&model->ledger, seed);
    model->load = (struct load){.site = &model->site,
                                .ledger = &model->ledger,
                                .chance = chance_make(seed, 8),
                                .position = tick,
                                .hold = recorder_hold,
                                .let_go = recorder_let_go,
                                .slow_reads = recorder_slow_reads,
                                .size_max = 60000};
    open_model(model);
    for (unsigned i = 0; i < steps && model->failures == 0; i++) {
        step(model);
    }
    compare(model);
    close_all_views(model);
    close_model(model);
    ledger_deinit(&model->ledger);
    site_remove(model->folder);
    free(model);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'}, {"seeds", required_argument, NULL, 'n'}, {0}};
    const char *from_runner = getenv("RESTANTE_SEED"), *is_long = getenv("RESTANTE_LONG");
    uint64_t seed = (uint64_t)time(NULL), seeds = SEEDS_SHORT;
    if (from_runner != NULL && from_runner[0] != '\0') {
        seed = strtoull(from_runner, NULL, 10);
    }
    if (is_long != NULL && strcmp(is_long, "1") == 0) {
        seeds = 20000;
    }
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == '?') {
            return 2;
        }
        *(option == 's' ? &seed : &seeds) = strtoull(optarg, NULL, 10);
    }
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (log_start(nowhere, LOG_LEVEL_ERROR) != STATUS_OK) {
        return 2;
    }
    printf("# model: seeds %llu to %llu\n", (unsigned long long)seed,
           (unsigned long long)(seed + seeds - 1));
    for (uint64_t i = 0; i < seeds; i++) {
        run_seed(seed + i, 80);
    }
    log_stop();
    (void)close(nowhere);
    printf(
        "# model: %llu operations, %llu comparisons, %llu kills, %llu rebuilds, %llu views "
        "held, %llu takeovers, %llu storms, %llu ambushes, %llu segments and %llu blobs unlinked, "
        "%llu records copied; %llu seeds failed\n",
        (unsigned long long)total.operations, (unsigned long long)total.comparisons,
        (unsigned long long)total.kills, (unsigned long long)total.rebuilds,
        (unsigned long long)total.views, (unsigned long long)total.takeovers,
        (unsigned long long)total.storms, (unsigned long long)total.ambushes,
        (unsigned long long)total.segments, (unsigned long long)total.blobs,
        (unsigned long long)total.copied, (unsigned long long)total.failures);
    printf("%llu passed, %llu failed\n", (unsigned long long)(seeds - total.failures),
           (unsigned long long)total.failures);
    return total.failures > 0;
}
