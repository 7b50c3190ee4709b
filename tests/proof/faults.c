/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault shim: each scenario is run with its Nth system call or allocation failing, for every N
 * and in every way that it can, and must not crash, hang, leak, nor break a promise: what was
 * acknowledged is there when the store is opened again, what was refused is not. What can only be
 * interrupted or cut short must not even be noticed.
 *
 *     proof_faults --scenario new --mode fail --nth 17       repeats one
 */
#include "tests/proof/faults.h"

#include "tests/proof/shim.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define RUN_LIMIT_S 60 /* a run that takes longer hangs */
#ifdef __SANITIZE_ADDRESS__
#define RUNS_SHORT 20 /* of each scenario and mode, when nobody asks for all */
#else
#define RUNS_SHORT 40
#endif
#define FAULTS_MAX 256 /* descriptors or threads left: counted up to this */

/* Shared with the child that runs. */
struct progress {
    uint64_t calls; /* of the mode in this scenario */
    uint64_t next, runs, struck, failures;
    char first[512];
};

struct plan {
    const struct scenario *scenario;
    enum shim_mode mode;
    uint64_t stride, only; /* only: this one, unless 0 */
};

static struct progress *progress;
static uint64_t clock_now;

uint64_t faults_tick(void)
{
    return ++clock_now;
}

static size_t entries(const char *path)
{
    DIR *directory = opendir(path);
    size_t count = 0;
    assert(directory != NULL);
    while (readdir(directory) != NULL) {
        count++;
    }
    (void)closedir(directory);
    return count;
}

/* A thread that has been joined may stand in the list for a moment more. */
static size_t threads_now(size_t wanted)
{
    size_t count = entries("/proc/self/task");
    for (unsigned i = 0; i < 10000 && count > wanted; i++) {
        (void)sched_yield();
        count = entries("/proc/self/task");
    }
    return count;
}

void faults_complain(const struct trial *trial, const char *what)
{
    if (progress->failures++ == 0) {
        (void)snprintf(progress->first, sizeof progress->first, "%s, %s, call %llu (%s): %s",
                       trial->scenario->name, shim_mode_name((enum shim_mode)trial->mode),
                       (unsigned long long)trial->nth, trial->struck, what);
    }
}

static void check_left(const struct trial *trial, const char *what, size_t before, size_t after)
{
    char text[64];
    if (after > before) {
        (void)snprintf(text, sizeof text, "%zu %s left", after - before, what);
        faults_complain(trial, text);
    }
}

/* One run; answers how many calls there were. */
static uint64_t run_trial(const struct scenario *scenario, enum shim_mode mode, uint64_t nth)
{
    struct trial trial = {.scenario = scenario, .mode = (int)mode, .nth = nth, .struck = "nothing"};
    trial.strict = nth == 0 || mode == SHIM_INTERRUPT || mode == SHIM_SHORT;
    size_t fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
    size_t live = shim_live();
    scenario->prepare(&trial);
    shim_arm(mode, nth);
    scenario->run(&trial);
    trial.struck = shim_struck();
    uint64_t calls = shim_disarm();
    check_left(&trial, "allocations", live, shim_live());
    scenario->check(&trial);
    check_left(&trial, "descriptors", fds, entries("/proc/self/fd"));
    check_left(&trial, "threads", threads, threads_now(threads));
    progress->runs++;
    progress->struck += strcmp(trial.struck, "nothing") != 0;
    return calls;
}

static void run_child(const struct plan *plan)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (plan->only == 0) {
        (void)dup2(nowhere, STDERR_FILENO); /* every failure is logged */
    }
    (void)close(nowhere);
    (void)alarm(RUN_LIMIT_S);
    plan->scenario->begin();
    if (progress->calls == 0) {
        progress->calls = run_trial(plan->scenario, plan->mode, 0);
    }
    while (progress->next <= progress->calls) {
        uint64_t nth = progress->next;
        progress->next += plan->stride;
        (void)alarm(RUN_LIMIT_S);
        (void)run_trial(plan->scenario, plan->mode, nth);
    }
    plan->scenario->end();
}

static void note_death(const struct plan *plan, int how)
{
    struct trial trial = {.scenario = plan->scenario,
                          .mode = (int)plan->mode,
                          .nth = progress->next - plan->stride,
                          .struck = "unknown"};
    char text[64];
    int code = WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how);
    (void)snprintf(text, sizeof text, "the process ended with %s %d%s",
                   WIFSIGNALED(how) ? "signal" : "code", code,
                   WIFSIGNALED(how) && code == SIGALRM ? ": it hung" : "");
    faults_complain(&trial, text);
}

/* In children: a run that kills its process does not keep us from the next. */
static void run_plan(const struct plan *plan)
{
    bool is_done = false;
    memset(progress, 0, sizeof *progress);
    progress->next = 1;
    if (plan->only != 0) {
        progress->next = progress->calls = plan->only;
    }
    while (!is_done) {
        int how = 0;
        (void)fflush(NULL);
        pid_t child = fork();
        assert(child >= 0);
        if (child == 0) {
            run_child(plan);
            exit(0); /* and let a leak checker look */
        }
        (void)waitpid(child, &how, 0);
        is_done = WIFEXITED(how) && WEXITSTATUS(how) == 0;
        if (!is_done) {
            note_death(plan, how);
            faults_remove_folder(child);
            is_done = progress->calls == 0 || progress->next > progress->calls;
        }
    }
}

/* How many calls the mode has, to choose the stride. */
static uint64_t stride_of(struct plan plan, bool all)
{
    if (all || plan.only != 0) {
        return 1;
    }
    plan.stride = UINT64_MAX / 4; /* the counting run and the first */
    run_plan(&plan);
    return progress->calls / RUNS_SHORT + 1;
}

static const char *read_options(int argc, char **argv, int *out_mode, uint64_t *out_nth,
                                bool *out_all)
{
    static const struct option options[] = {{"scenario", required_argument, NULL, 's'},
                                            {"mode", required_argument, NULL, 'm'},
                                            {"nth", required_argument, NULL, 'n'},
                                            {"all", no_argument, NULL, 'a'},
                                            {0}};
    const char *is_long = getenv("RESTANTE_LONG"), *scenario = NULL;
    *out_all = is_long != NULL && strcmp(is_long, "1") == 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's') {
            scenario = optarg;
        } else if (option == 'n') {
            *out_nth = strtoull(optarg, NULL, 10);
        } else if (option == 'a') {
            *out_all = true;
        } else if (option == 'm') {
            for (*out_mode = 0; strcmp(shim_mode_name((enum shim_mode) * out_mode), optarg) != 0;) {
                if (++*out_mode == SHIM_MODES) {
                    exit(2);
                }
            }
        } else {
            exit(2);
        }
    }
    return scenario;
}

int main(int argc, char **argv)
{
    int only_mode = -1;
    uint64_t nth = 0, runs = 0, struck = 0, failures = 0;
    unsigned passed = 0, failed = 0;
    bool all;
    struct timespec begun, ended;
    const char *only = read_options(argc, argv, &only_mode, &nth, &all);
    progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(progress != MAP_FAILED);
    (void)clock_gettime(CLOCK_MONOTONIC, &begun);
    struct plan careless = {.scenario = &faults_careless, .mode = SHIM_FAIL, .stride = 1};
    run_plan(&careless);
    printf("# faults: leaks on purpose: noticed %llu times\n",
           (unsigned long long)progress->failures);
    *(progress->failures >= 3 ? &passed : &failed) += 1;
    for (const struct scenario *scenario = faults_scenarios; scenario->name != NULL; scenario++) {
        for (int mode = 0; mode < SHIM_MODES; mode++) {
            struct plan plan = {.scenario = scenario, .mode = (enum shim_mode)mode, .only = nth};
            if ((only != NULL && strcmp(only, scenario->name) != 0) ||
                (only_mode >= 0 && mode != only_mode)) {
                continue;
            }
            plan.stride = stride_of(plan, all);
            run_plan(&plan);
            if (progress->failures > 0) {
                printf("%s\n", progress->first);
            }
            printf("# faults: %s, %s: %llu calls, %llu runs, %llu failures\n", scenario->name,
                   shim_mode_name(plan.mode), (unsigned long long)progress->calls,
                   (unsigned long long)progress->runs, (unsigned long long)progress->failures);
            runs += progress->runs;
            struck += progress->struck;
            failures += progress->failures;
            *(progress->failures > 0 ? &failed : &passed) += 1;
        }
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("# faults: %llu runs, %llu faults struck, %llu failures, %lld s\n",
           (unsigned long long)runs, (unsigned long long)struck, (unsigned long long)failures,
           (long long)(ended.tv_sec - begun.tv_sec));
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0;
}
