/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/check_run.h"

#include "storage/delta.h"
#include "storage/scrub.h"

#include <pthread.h>
#include <stdlib.h>

struct check_run {
    struct volume *volume;
    pthread_mutex_t mutex; /* guards all that follows */
    pthread_t thread;
    bool joinable, cancelled;
    uint64_t rate;
    struct check_run_state state;
    struct damage *findings;
    size_t capacity;
};

enum status check_run_create(struct volume *volume, struct check_run **out_run)
{
    struct check_run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        return STATUS_NO_MEMORY;
    }
    run->volume = volume;
    (void)pthread_mutex_init(&run->mutex, NULL); /* cannot fail with default attributes */
    *out_run = run;
    return STATUS_OK;
}

static bool on_progress(void *owner, const struct check_progress *progress)
{
    struct check_run *run = owner;
    (void)pthread_mutex_lock(&run->mutex);
    run->state.progress = *progress;
    bool go_on = !run->cancelled;
    (void)pthread_mutex_unlock(&run->mutex);
    return go_on;
}

static void on_damage(void *owner, const struct damage *damage)
{
    struct check_run *run = owner;
    if (damage->kind == DAMAGE_MESSAGE) {
        struct message_entry entry = {.uid = damage->uid,
                                      .segment = damage->segment,
                                      .offset = damage->offset,
                                      .blob = damage->blob};
        scrub_report(run->volume, damage->maildrop, &entry, STATUS_CORRUPT, "check");
    }
    (void)pthread_mutex_lock(&run->mutex);
    struct check_run_state *state = &run->state;
    if (state->findings == run->capacity && run->capacity < CHECK_RUN_FINDINGS_MAX) {
        size_t capacity = run->capacity == 0 ? 50 : run->capacity * 2;
        struct damage *larger = realloc(run->findings, capacity * sizeof *larger);
        if (larger != NULL) {
            run->findings = larger;
            run->capacity = capacity;
        } /* else it is only counted, by the check itself */
    }
    if (state->findings < run->capacity && state->findings < CHECK_RUN_FINDINGS_MAX) {
        run->findings[state->findings++] = *damage;
    }
    (void)pthread_mutex_unlock(&run->mutex);
}

static void *check(void *owner)
{
    struct check_run *run = owner;
    struct check_options options = {
        .rate = run->rate, .on_progress = on_progress, .on_damage = on_damage, .owner = run};
    struct check_result result = {0};
    struct error error = {.status = STATUS_OK};
    enum status status = check_running(run->volume, &options, &result, &error);
    (void)pthread_mutex_lock(&run->mutex);
    run->state.status = error.status = status;
    run->state.error = error;
    run->state.result = result;
    run->state.running = false;
    (void)pthread_mutex_unlock(&run->mutex);
    return NULL;
}

enum status check_run_start(struct check_run *run, uint64_t rate)
{
    enum status status = STATUS_OK;
    (void)pthread_mutex_lock(&run->mutex);
    if (run->state.running) {
        status = STATUS_BUSY;
    } else {
        if (run->joinable) {
            (void)pthread_join(run->thread, NULL); /* it has ended but for its return */
        }
        run->cancelled = run->joinable = false;
        run->rate = rate;
        run->state = (struct check_run_state){.started = true, .running = true};
        run->state.progress.step = "log";
        if (pthread_create(&run->thread, NULL, check, run) == 0) {
            run->joinable = true;
        } else {
            run->state = (struct check_run_state){0};
            status = STATUS_NO_MEMORY;
        }
    }
    (void)pthread_mutex_unlock(&run->mutex);
    return status;
}

void check_run_cancel(struct check_run *run)
{
    (void)pthread_mutex_lock(&run->mutex);
    run->cancelled = true;
    (void)pthread_mutex_unlock(&run->mutex);
}

void check_run_state(struct check_run *run, struct check_run_state *out_state)
{
    (void)pthread_mutex_lock(&run->mutex);
    *out_state = run->state;
    (void)pthread_mutex_unlock(&run->mutex);
}

size_t check_run_findings(struct check_run *run, size_t first, struct damage *out, size_t count)
{
    size_t copied = 0;
    (void)pthread_mutex_lock(&run->mutex);
    while (copied < count && first + copied < run->state.findings) {
        out[copied] = run->findings[first + copied];
        copied++;
    }
    (void)pthread_mutex_unlock(&run->mutex);
    return copied;
}

void check_run_destroy(struct check_run **run)
{
    struct check_run *own = *run;
    if (own == NULL) {
        return;
    }
    check_run_cancel(own);
    if (own->joinable) {
        (void)pthread_join(own->thread, NULL); /* it is ours and joined once */
    }
    (void)pthread_mutex_destroy(&own->mutex); /* the thread is gone */
    free(own->findings);
    free(own);
    *run = NULL;
}
