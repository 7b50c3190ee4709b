/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/verify.h"

#include "auth/auth_limits.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct verify {
    pthread_mutex_t lock; /* everything below */
    pthread_cond_t wanted;
    struct list_link queue;
    uint32_t queue_max;
    uint64_t waiting, refused;
    bool is_ending;
    uint32_t thread_count;
    pthread_t threads[AUTH_HASH_THREADS_MAX];
};

static void lock(struct verify *verify)
{
    (void)pthread_mutex_lock(&verify->lock); /* a default mutex of ours cannot fail */
}

static void unlock(struct verify *verify)
{
    (void)pthread_mutex_unlock(&verify->lock); /* see lock */
}

/* The next job, or NULL when the pool ends. */
static struct verify_job *next_job(struct verify *verify)
{
    lock(verify);
    while (list_empty(&verify->queue) && !verify->is_ending) {
        (void)pthread_cond_wait(&verify->wanted, &verify->lock); /* cannot fail either */
    }
    struct list_link *link = list_pop_front(&verify->queue);
    struct verify_job *job = NULL;
    if (link != NULL) {
        job = list_entry(link, struct verify_job, link);
        job->is_queued = false;
        verify->waiting--;
    }
    unlock(verify);
    return job;
}

static void *run_thread(void *argument)
{
    struct verify *verify = argument;
    /* For this thread alone, as Linux has it. It works for tens of milliseconds on end: the workers
     * come first. Where it is not allowed it competes with them, which is slower and not wrong. */
    int niceness = nice(AUTH_HASH_NICE);
    (void)niceness;
    for (struct verify_job *job; (job = next_job(verify)) != NULL;) {
        job->on_run(job);
    }
    return NULL;
}

static enum status start_threads(struct verify *verify, uint32_t threads)
{
    sigset_t all, before;
    (void)sigfillset(&all); /* fails only for a bad pointer */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = 0;
    while (verify->thread_count < threads && result == 0) {
        result = pthread_create(&verify->threads[verify->thread_count], NULL, run_thread, verify);
        verify->thread_count += result == 0;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* as above */
    return result == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status verify_create(uint32_t threads, uint32_t queue_max, struct verify **out_verify)
{
    assert(threads > 0 && threads <= AUTH_HASH_THREADS_MAX);
    struct verify *verify = calloc(1, sizeof *verify);
    if (verify == NULL) {
        return STATUS_NO_MEMORY;
    }
    int result = pthread_mutex_init(&verify->lock, NULL);
    assert(result == 0); /* neither takes resources on Linux */
    result = pthread_cond_init(&verify->wanted, NULL);
    assert(result == 0);
    (void)result;
    list_init(&verify->queue);
    verify->queue_max = queue_max;
    enum status status = start_threads(verify, threads);
    if (status != STATUS_OK) {
        verify_destroy(&verify);
        return status;
    }
    *out_verify = verify;
    return STATUS_OK;
}

void verify_destroy(struct verify **verify)
{
    struct verify *ending = *verify;
    if (ending == NULL) {
        return;
    }
    lock(ending);
    ending->is_ending = true;
    (void)pthread_cond_broadcast(&ending->wanted); /* cannot fail */
    unlock(ending);
    for (uint32_t i = 0; i < ending->thread_count; i++) {
        (void)pthread_join(ending->threads[i], NULL); /* a thread of ours, joined once */
    }
    assert(list_empty(&ending->queue));
    (void)pthread_cond_destroy(&ending->wanted); /* nobody is left */
    (void)pthread_mutex_destroy(&ending->lock);
    free(ending);
    *verify = NULL;
}

static void push(struct verify *verify, struct verify_job *job)
{
    list_push_back(&verify->queue, &job->link);
    job->is_queued = true;
    verify->waiting++;
    (void)pthread_cond_signal(&verify->wanted); /* cannot fail */
}

enum status verify_submit(struct verify *verify, struct verify_job *job)
{
    enum status status = STATUS_OK;
    lock(verify);
    if (verify->waiting >= verify->queue_max) {
        verify->refused++;
        status = STATUS_LIMIT;
    } else {
        push(verify, job);
    }
    unlock(verify);
    return status;
}

void verify_resume(struct verify *verify, struct verify_job *job)
{
    lock(verify);
    push(verify, job);
    unlock(verify);
}

bool verify_withdraw(struct verify *verify, struct verify_job *job)
{
    lock(verify);
    bool waits = job->is_queued;
    if (waits) {
        list_remove(&job->link);
        job->is_queued = false;
        verify->waiting--;
    }
    unlock(verify);
    return waits;
}

uint64_t verify_waiting(struct verify *verify)
{
    lock(verify);
    uint64_t waiting = verify->waiting;
    unlock(verify);
    return waiting;
}

uint64_t verify_refused(struct verify *verify)
{
    lock(verify);
    uint64_t refused = verify->refused;
    unlock(verify);
    return refused;
}
