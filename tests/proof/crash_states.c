/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crash-state enumeration. Runs random loads on a store while everything that is done to its files
 * is recorded, then opens the store in every state a crash may have left, and holds it against what
 * had been promised. Before that, it breaks promises on purpose, and must notice.
 *
 * A run is a process of its own: a store that dies on a state is a violation like any other.
 */
#include "tests/proof/ambush.h"
#include "tests/proof/inspect.h"
#include "tests/proof/load.h"
#include "tests/proof/recorder.h"
#include "tests/proof/roll.h"
#include "tests/proof/states.h"

#include "io/log.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define LIE_TRIES   8   /* runs in which a broken promise must show */
#define RUN_LIMIT_S 900 /* a run that takes longer hangs */

#ifdef __SANITIZE_ADDRESS__
#define STATES_SHORT 150 /* states tried when nobody asks for more */
#else
#define STATES_SHORT 2000
#endif

struct plan {
    uint64_t seed, states;
    uint64_t per_prefix;
    unsigned steps; /* of one load */
    bool keep;
};

struct run {
    uint64_t seed, number;
    enum recorder_lie lie;
    enum recorder_lie recovery_lie;
    bool seen_only; /* nobody answers: only what sessions have seen is a promise */
    unsigned steps, prefix_percent;
    uint64_t per_prefix;
    bool nested, keep;
    char folder[64];
};

static void make_config(struct chance *chance, struct store_config *config)
{
    *config = (struct store_config){
        .segment_size = chance_between(chance, 4, 48) * 1024,
        .blob_min = chance_between(chance, 2, 40) * 1024,
        .map_size = 256u << 20,
        .checkpoint_ms =
            (uint32_t)(chance_percent(chance, 50) ? chance_between(chance, 2, 30) : 3600000),
    };
}

/* The load, recorded. */
static void record(const struct run *run, const struct store_config *config, struct step_log *log,
                   struct ledger *ledger, struct roll *roll)
{
    char path[96];
    struct fixture site;
    struct error error = {0};
    (void)snprintf(path, sizeof path, "%s/run", run->folder);
    int code = mkdir(path, 0700);
    assert(code == 0);
    recorder_start(path, log, run->lie);
    enum status status = site_open(&site, path, config, &error);
    assert(status == STATUS_OK);
    struct load load = {.site = &site,
                        .ledger = ledger,
                        .chance = chance_make(run->seed, run->number),
                        .position = recorder_position,
                        .hold = recorder_hold,
                        .let_go = recorder_let_go,
                        .slow_reads = recorder_slow_reads,
                        .size_max = 60000,
                        .restart_percent = 3};
    uint64_t ambush_at = chance_below(&load.chance, run->steps);
    roll_open(roll, path);
    load_create(&load);
    load_create(&load);
    for (unsigned i = 0; i < run->steps; i++) {
        load_run(&load, 1);
        if (chance_percent(&load.chance, 3)) {
            load_storm(&load, 6);
        }
        if (i == ambush_at) {
            ambush_play(&load, run->number + 1); /* a few runs play each */
        }
        if (chance_percent(&load.chance, 15)) {
            roll_step(roll, &load.chance);
        }
    }
    load_settle(&load);
    roll_close(roll);
    site_close(&site);
    recorder_stop();
    site_remove(path);
    if (load.surprises > 0) {
        fprintf(stderr, "run %llu: %s\n", (unsigned long long)run->number, load.surprise);
    }
    assert(load.surprises == 0);
}

/* As if no answer had been sent, nor anything been deleted. */
static void forget_answers(struct ledger *ledger)
{
    for (uint32_t i = 0; i < ledger->count; i++) {
        ledger->messages[i].delivered = LEDGER_NEVER;
    }
}

static void run_all(const struct run *run, struct states_result *result)
{
    struct chance chance = chance_make(run->seed, 1000 + run->number);
    struct step_log log = {0};
    struct ledger ledger;
    struct roll roll = {.position = recorder_position};
    struct states_config config = {.folder = run->folder,
                                   .per_prefix = run->per_prefix,
                                   .prefix_percent = run->prefix_percent,
                                   .nested = run->nested,
                                   .first_only = run->lie != RECORDER_HONEST ||
                                                 run->recovery_lie != RECORDER_HONEST,
                                   .recovery_lie = run->recovery_lie,
                                   .roll = &roll,
                                   .keep = run->keep};
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (log_start(nowhere, LOG_LEVEL_ERROR) != STATUS_OK) {
        _exit(2);
    }
    make_config(&chance, &config.store);
    ledger_init(&ledger, chance_next(&chance));
    record(run, &config.store, &log, &ledger, &roll);
    if (run->seen_only) {
        forget_answers(&ledger);
    }
    config.store.checkpoint_ms = 3600000;
    states_explore(&log, 0, &ledger, &config, &chance, result);
    ledger_deinit(&ledger);
    step_log_deinit(&log);
    log_stop();
    (void)close(nowhere);
}

/* Runs it in a child; what kills the child is a violation. */
static void run_apart(struct run *run, struct states_result *result)
{
    int how = 0;
    site_make_folder(run->folder);
    memset(result, 0, sizeof *result);
    (void)fflush(NULL);
    pid_t child = fork();
    assert(child >= 0);
    if (child == 0) {
        (void)alarm(RUN_LIMIT_S);
        run_all(run, result);
        exit(0); /* and let a leak checker look */
    }
    (void)waitpid(child, &how, 0);
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0) {
        if (result->violations++ == 0) {
            (void)snprintf(result->first, sizeof result->first, "%s: the process ended with %s %d",
                           result->now, WIFSIGNALED(how) ? "signal" : "code",
                           WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how));
        }
    }
    if (result->violations == 0 || !run->keep) {
        site_remove(run->folder);
    } else {
        printf("# kept: %s\n", run->folder);
    }
}

static void add(struct states_result *total, const struct states_result *one)
{
    total->prefixes += one->prefixes;
    total->states += one->states;
    total->torn += one->torn;
    total->rebuilt += one->rebuilt;
    total->nested += one->nested;
    total->violations += one->violations;
}

/* Each broken promise must show, in one of a few runs at least: a load may have no blobs. */
static unsigned break_promises(const struct plan *plan, struct states_result *shared)
{
    static const struct {
        const char *text;
        enum recorder_lie lie, recovery_lie;
        bool seen_only;
    } lies[] = {
        {"the log is not synced", RECORDER_LOG_UNSYNCED, RECORDER_HONEST, false},
        {"replies come before the sync", RECORDER_LOG_LATE, RECORDER_HONEST, false},
        {"sessions see what is not synced", RECORDER_LOG_UNSYNCED, RECORDER_HONEST, true},
        {"blobs are not synced", RECORDER_BLOB_UNSYNCED, RECORDER_HONEST, false},
        {"directories are not synced", RECORDER_DIRECTORY_UNSYNCED, RECORDER_HONEST, false},
        {"recovery does not sync the log", RECORDER_HONEST, RECORDER_LOG_UNSYNCED, false},
    };
    unsigned unnoticed = 0;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct states_result total = {0};
        for (uint64_t try = 0; try < LIE_TRIES && total.violations == 0; try++) {
            struct run run = {.seed = plan->seed,
                              .number = i + 10 * try,
                              .lie = lies[i].lie,
                              .recovery_lie = lies[i].recovery_lie,
                              .seen_only = lies[i].seen_only,
                              .steps = 30,
                              .prefix_percent = lies[i].recovery_lie == RECORDER_HONEST ? 20 : 0,
                              .nested = lies[i].recovery_lie != RECORDER_HONEST,
                              .per_prefix = 3};
            run_apart(&run, shared);
            add(&total, shared);
        }
        printf("# crash states: %s: %s %llu states\n", lies[i].text,
               total.violations > 0 ? "noticed after" : "NOT NOTICED in",
               (unsigned long long)total.states);
        unnoticed += total.violations == 0;
    }
    return unnoticed;
}

static void keep_promises(const struct plan *plan, struct states_result *shared,
                          struct states_result *total)
{
    for (uint64_t number = 100; total->states < plan->states; number++) {
        struct run run = {.seed = plan->seed,
                          .number = number,
                          .steps = plan->steps,
                          .prefix_percent = 100,
                          .per_prefix = plan->per_prefix,
                          .nested = true,
                          .keep = plan->keep};
        /* A few runs of the states asked for, rather than a part of one. */
        if (plan->states < 20000) {
            run.prefix_percent = 30;
        }
        run_apart(&run, shared);
        if (shared->violations > 0) {
            printf("run %llu: %llu violations; %s\n", (unsigned long long)number,
                   (unsigned long long)shared->violations, shared->first);
        }
        add(total, shared);
    }
}

static void read_options(int argc, char **argv, struct plan *plan)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"states", required_argument, NULL, 'n'},
                                            {"keep", no_argument, NULL, 'k'},
                                            {0}};
    const char *seed = getenv("RESTANTE_SEED"), *is_long = getenv("RESTANTE_LONG");
    if (seed != NULL && seed[0] != '\0') {
        plan->seed = strtoull(seed, NULL, 10);
    }
    if (is_long != NULL && strcmp(is_long, "1") == 0) {
        plan->states = 100000;
    }
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's') {
            plan->seed = strtoull(optarg, NULL, 10);
        } else if (option == 'n') {
            plan->states = strtoull(optarg, NULL, 10);
        } else if (option == 'k') {
            plan->keep = true;
        } else {
            exit(2);
        }
    }
    plan->per_prefix = plan->states >= 20000 ? 24 : 6;
}

int main(int argc, char **argv)
{
    struct plan plan = {.seed = (uint64_t)time(NULL), .states = STATES_SHORT, .steps = 40};
    struct states_result *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct states_result total = {0};
    struct timespec begun, ended;
    assert(shared != MAP_FAILED);
    read_options(argc, argv, &plan);
    (void)clock_gettime(CLOCK_MONOTONIC, &begun);
    printf("# crash states: seed %llu\n", (unsigned long long)plan.seed);
    unsigned unnoticed = break_promises(&plan, shared);
    keep_promises(&plan, shared, &total);
    (void)clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("# crash states: %llu states of %llu prefixes (%llu with torn writes, %llu of crashed "
           "recoveries, %llu without an index), %llu violations, %lld s\n",
           (unsigned long long)total.states, (unsigned long long)total.prefixes,
           (unsigned long long)total.torn, (unsigned long long)total.nested,
           (unsigned long long)total.rebuilt, (unsigned long long)total.violations,
           (long long)(ended.tv_sec - begun.tv_sec));
    unsigned failed = (unnoticed > 0 ? 1u : 0) + (total.violations > 0 ? 1u : 0);
    printf("%u passed, %u failed\n", 2 - failed, failed);
    return failed > 0;
}
