/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/trial.h"

#include "bench/generator.h"
#include "bench/live.h"
#include "bench/scrape.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS_PER_MS     1000000ll
#define POLL_MS       20 /* how often the trial's thread looks around */
#define START_LEAD_MS 20 /* from "go" to the beginning, so that no thread is late for it */

volatile sig_atomic_t trial_interrupted;

struct crew {
    const struct run_config *config;
    const struct trial_watch *watch;
    struct generator *generators;
    pthread_t *threads;
    unsigned count; /* running */
    struct live live;
    int64_t start_ns, end_ns;
    struct process_usage usage, first_usage;
    int64_t process_ns;
    unsigned shown;
};

uint32_t trial_window_ms(uint32_t duration_ms)
{
    uint32_t window_ms = 1000;
    if (duration_ms < 8 * window_ms) {
        window_ms = duration_ms / 8;
    } else if (duration_ms / window_ms > TALLY_WINDOWS_MAX) {
        window_ms = duration_ms / TALLY_WINDOWS_MAX + 1;
    }
    return window_ms > 0 ? window_ms : 1;
}

static void rest(void)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * NS_PER_MS};
    (void)nanosleep(&pause, NULL); /* sooner is as good */
}

static int64_t process_now_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time); /* cannot fail with this clock */
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Starting */

static enum status crew_make(struct crew *crew, double load, unsigned window_count,
                             int64_t window_ns)
{
    const struct run_config *config = crew->config;
    crew->generators = calloc(config->threads, sizeof crew->generators[0]);
    crew->threads = calloc(config->threads, sizeof crew->threads[0]);
    if (crew->generators == NULL || crew->threads == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = STATUS_OK;
    for (unsigned part = 0; part < config->threads && status == STATUS_OK; part++) {
        status =
            generator_init(&crew->generators[part], config, part, load, window_count, window_ns);
    }
    return status;
}

static enum status crew_start(struct crew *crew)
{
    while (crew->count < crew->config->threads) {
        int failure = pthread_create(&crew->threads[crew->count], NULL, generator_main,
                                     &crew->generators[crew->count]);
        if (failure != 0) {
            return status_from_errno(failure);
        }
        crew->count++;
    }
    return STATUS_OK;
}

static enum status wait_ready(struct crew *crew, struct error *out_error)
{
    live_phase(&crew->live, "opening sessions");
    for (unsigned part = 0; part < crew->count; part++) {
        struct generator *generator = &crew->generators[part];
        while (!atomic_load(&generator->ready) && !trial_interrupted) {
            rest();
        }
        if (atomic_load(&generator->failed)) {
            *out_error = generator->error;
            return generator->error.status;
        }
    }
    return STATUS_OK;
}

static void crew_stop(struct crew *crew)
{
    for (unsigned part = 0; part < crew->count; part++) {
        atomic_store(&crew->generators[part].stop, true);
    }
}

static void crew_wait(struct crew *crew)
{
    for (unsigned part = 0; part < crew->count; part++) {
        (void)pthread_join(crew->threads[part], NULL); /* it is ours and was not joined */
    }
}

static void crew_free(struct crew *crew)
{
    for (unsigned part = 0; crew->generators != NULL && part < crew->config->threads; part++) {
        generator_deinit(&crew->generators[part]);
    }
    free(crew->generators);
    free(crew->threads);
}

/* Watching */

static void sample(struct crew *crew, struct trial *trial, unsigned window)
{
    struct process_usage usage;
    if (crew->watch->pid == 0 ||
        process_usage_read(crew->watch->pid, crew->watch->tree, &usage) != STATUS_OK) {
        return;
    }
    trial->samples[window] = (struct trial_sample){
        .cpu_s = (double)(usage.cpu_ns - crew->usage.cpu_ns) / 1e9, .rss_octets = usage.rss_octets};
    trial->server.rss_max =
        usage.rss_octets > trial->server.rss_max ? usage.rss_octets : trial->server.rss_max;
    crew->usage = usage;
}

/* Adds up the window of all threads; they have ended it. */
static void show(struct crew *crew, struct trial *trial, unsigned window)
{
    struct latencies all;
    struct live_row row = {.at_s = (window + 1) * trial->window_s, .server_cpu = -1};
    uint64_t operations = 0;
    if (latencies_init(&all, TALLY_WINDOW_PRECISION) != STATUS_OK) {
        return;
    }
    for (unsigned part = 0; part < crew->count; part++) {
        const struct tally_window *here = &crew->generators[part].tally.windows[window];
        operations += here->operations;
        row.errors += here->errors;
        row.backlog += here->backlog;
        row.sessions += here->sessions;
        latencies_merge(&all, &here->latency);
    }
    row.rate = (double)operations / trial->window_s;
    row.p50_us = (double)latencies_at(&all, 0.5) / 1e3;
    row.p95_us = (double)latencies_at(&all, 0.95) / 1e3;
    row.p99_us = (double)latencies_at(&all, 0.99) / 1e3;
    if (crew->watch->pid != 0) {
        row.server_cpu = trial->samples[window].cpu_s / trial->window_s;
    }
    live_window(&crew->live, &row);
    latencies_deinit(&all);
}

static bool window_done(const struct crew *crew, unsigned window)
{
    for (unsigned part = 0; part < crew->count; part++) {
        /* Acquire: pairs with the release of tally_pass. */
        if (atomic_load_explicit(&crew->generators[part].tally.windows_done,
                                 memory_order_acquire) <= window) {
            return false;
        }
    }
    return true;
}

static bool all_delivered(const struct crew *crew)
{
    unsigned done = 0;
    for (unsigned part = 0; part < crew->count; part++) {
        done += window_done(crew, crew->generators[0].tally.window_count - 1);
    }
    return crew->config->letters > 0 && done == crew->count;
}

static void watch_windows(struct crew *crew, struct trial *trial, unsigned window_count)
{
    int64_t window_ns = (int64_t)(trial->window_s * 1e9);
    unsigned sampled = 0;
    while (sampled < window_count && !trial_interrupted && !all_delivered(crew)) {
        rest();
        int64_t now_ns = generator_now_ns();
        if (now_ns >= crew->start_ns + (int64_t)(sampled + 1) * window_ns) {
            sample(crew, trial, sampled++);
        }
        while (crew->shown < sampled && window_done(crew, crew->shown)) {
            show(crew, trial, crew->shown++);
        }
    }
    crew->end_ns = generator_now_ns();
    if (sampled == window_count) {
        crew->end_ns = crew->start_ns + (int64_t)window_count * window_ns;
    }
}

static void metrics_read(const struct crew *crew, struct doc *out_metrics)
{
    if (crew->watch->has_metrics &&
        scrape_metrics(&crew->watch->metrics, out_metrics) != STATUS_OK) {
        *out_metrics = (struct doc){0};
    }
}

static enum status usage_begin(struct crew *crew, struct trial *trial, struct error *out_error)
{
    const struct trial_watch *watch = crew->watch;
    if (watch->pid == 0) {
        return STATUS_OK;
    }
    enum status status = process_usage_read(watch->pid, watch->tree, &crew->usage);
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, NULL, "cannot watch process %d", (int)watch->pid);
    }
    if (process_private_read(watch->pid, watch->tree, &trial->server.private_before) != STATUS_OK) {
        trial->server.private_before = 0;
    }
    return STATUS_OK;
}

static void usage_end(struct crew *crew, struct trial *trial)
{
    const struct trial_watch *watch = crew->watch;
    struct process_usage usage;
    if (watch->pid == 0 || process_usage_read(watch->pid, watch->tree, &usage) != STATUS_OK) {
        return;
    }
    trial->server.cpu_s = (double)(usage.cpu_ns - crew->first_usage.cpu_ns) / 1e9;
    if (process_private_read(watch->pid, watch->tree, &trial->server.private_after) != STATUS_OK) {
        trial->server.private_after = 0;
    }
}

/* The measured time */

static void go(struct crew *crew)
{
    crew->start_ns =
        generator_now_ns() + (START_LEAD_MS + (int64_t)crew->config->warmup_ms) * NS_PER_MS;
    for (unsigned part = 0; part < crew->count; part++) {
        atomic_store(&crew->generators[part].go_ns, crew->start_ns);
    }
    live_phase(&crew->live, "warming up");
    while (generator_now_ns() < crew->start_ns - POLL_MS * NS_PER_MS && !trial_interrupted) {
        rest();
    }
    while (generator_now_ns() < crew->start_ns && !trial_interrupted) {
        const struct timespec moment = {.tv_nsec = NS_PER_MS / 4};
        (void)nanosleep(&moment, NULL); /* sooner is as good */
    }
}

static void collect(struct crew *crew, struct trial *trial)
{
    for (unsigned part = 0; part < crew->config->threads; part++) {
        tally_merge(&trial->tally, &crew->generators[part].tally);
    }
    trial->seconds = (double)(crew->end_ns - crew->start_ns) / 1e9;
    unsigned begun = (unsigned)(trial->seconds / trial->window_s + 0.999);
    trial->window_count = begun < trial->tally.window_count ? begun : trial->tally.window_count;
    trial->interrupted = trial_interrupted != 0;
}

static enum status measure(struct crew *crew, struct trial *trial, struct error *out_error)
{
    metrics_read(crew, &trial->server.metrics_before);
    enum status status = usage_begin(crew, trial, out_error);
    if (status == STATUS_OK) {
        status = crew_start(crew);
        if (status != STATUS_OK) {
            (void)error_set(out_error, status, 0, NULL, "cannot start a thread");
        }
    }
    if (status == STATUS_OK) {
        status = wait_ready(crew, out_error);
    }
    if (status != STATUS_OK) {
        crew_stop(crew);
        crew_wait(crew);
        return status;
    }
    go(crew);
    struct process_usage usage;
    if (crew->watch->pid != 0 &&
        process_usage_read(crew->watch->pid, crew->watch->tree, &usage) == STATUS_OK) {
        crew->usage = usage;
    }
    crew->first_usage = crew->usage;
    crew->process_ns = process_now_ns();
    watch_windows(crew, trial, trial->tally.window_count);
    trial->generator_cpu_s = (double)(process_now_ns() - crew->process_ns) / 1e9;
    usage_end(crew, trial);
    if (trial_interrupted) {
        crew_stop(crew);
    }
    live_phase(&crew->live, "waiting for what is under way");
    crew_wait(crew);
    while (crew->shown < trial->tally.window_count && !trial_interrupted &&
           crew->config->letters == 0) {
        show(crew, trial, crew->shown++);
    }
    crew->count = 0;
    metrics_read(crew, &trial->server.metrics_after);
    collect(crew, trial);
    return STATUS_OK;
}

enum status trial_run(const struct run_config *config, const struct trial_watch *watch,
                      double load_percent, FILE *live, struct trial *out_trial,
                      struct error *out_error)
{
    struct crew crew = {.config = config, .watch = watch};
    uint32_t window_ms = trial_window_ms(config->duration_ms);
    unsigned window_count = (config->duration_ms + window_ms - 1) / window_ms;
    double load = load_percent / 100;
    *out_trial = (struct trial){.load_percent = load_percent, .window_s = window_ms / 1e3};
    if (!config->closed) {
        double seconds = config->duration_ms / 1e3;
        out_trial->offered_rate =
            load * schedule_expected(&config->shape, seconds, seconds) / seconds;
    }
    out_trial->samples = calloc(window_count, sizeof out_trial->samples[0]);
    enum status status =
        out_trial->samples == NULL ? STATUS_NO_MEMORY : tally_init(&out_trial->tally, window_count);
    if (status == STATUS_OK) {
        status = crew_make(&crew, load, window_count, window_ms * NS_PER_MS);
    }
    if (status != STATUS_OK) {
        crew_free(&crew);
        return error_set(out_error, status, 0, NULL, "no memory for %u threads", config->threads);
    }
    live_begin(&crew.live, live, config->workload->name, load_percent, config->duration_ms / 1e3);
    status = measure(&crew, out_trial, out_error);
    live_end(&crew.live);
    crew_free(&crew);
    return status;
}

void trial_deinit(struct trial *trial)
{
    tally_deinit(&trial->tally);
    doc_free(&trial->server.metrics_before);
    doc_free(&trial->server.metrics_after);
    free(trial->samples);
    trial->samples = NULL;
}
