/* SPDX-License-Identifier: Apache-2.0 */
#include "io/read_pool.h"

#include "io/io_limits.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct read_pool {
    struct loop *loop;
    pthread_mutex_t mutex; /* guards the lists and `stopping` */
    pthread_cond_t filled;
    struct list_link waiting, done; /* operations, by own.link */
    bool stopping;
    unsigned thread_count;
    pthread_t threads[EPOLL_READ_THREADS];
};

/* own.result becomes the octets read, or minus errno. */
static void read_one(struct loop_op *op)
{
    ssize_t got;
    do {
        got = pread(op->own.file_fd, op->own.file.data, op->own.file.length,
                    (off_t)op->own.file.offset);
    } while (got < 0 && errno == EINTR);
    op->own.result = got < 0 ? -errno : (int32_t)got;
}

static void *read_thread(void *argument)
{
    struct read_pool *pool = argument;
    (void)pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (list_empty(&pool->waiting) && !pool->stopping) {
            (void)pthread_cond_wait(&pool->filled, &pool->mutex);
        }
        struct list_link *link = list_pop_front(&pool->waiting);
        if (link == NULL) {
            break;
        }
        (void)pthread_mutex_unlock(&pool->mutex);
        read_one(list_entry(link, struct loop_op, own.link));
        (void)pthread_mutex_lock(&pool->mutex);
        bool first = list_empty(&pool->done);
        list_push_back(&pool->done, link);
        if (first) {
            loop_wake_write(pool->loop);
        }
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

enum status read_pool_create(struct loop *loop, struct read_pool **out_pool)
{
    struct read_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) {
        return STATUS_NO_MEMORY;
    }
    pool->loop = loop;
    list_init(&pool->waiting);
    list_init(&pool->done);
    (void)pthread_mutex_init(&pool->mutex, NULL); /* cannot fail with default attributes */
    (void)pthread_cond_init(&pool->filled, NULL);
    /* Signals are for the program's own threads. */
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->thread_count < EPOLL_READ_THREADS &&
           pthread_create(&pool->threads[pool->thread_count], NULL, read_thread, pool) == 0) {
        pool->thread_count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pool->thread_count == 0) { /* one would do */
        read_pool_destroy(&pool);
        return STATUS_LIMIT;
    }
    *out_pool = pool;
    return STATUS_OK;
}

void read_pool_destroy(struct read_pool **pool)
{
    struct read_pool *ending = *pool;
    if (ending == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&ending->mutex);
    assert(list_empty(&ending->waiting) && list_empty(&ending->done));
    ending->stopping = true;
    (void)pthread_cond_broadcast(&ending->filled);
    (void)pthread_mutex_unlock(&ending->mutex);
    for (unsigned i = 0; i < ending->thread_count; i++) {
        (void)pthread_join(ending->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&ending->filled);
    (void)pthread_mutex_destroy(&ending->mutex);
    free(ending);
    *pool = NULL;
}

void read_pool_submit(struct read_pool *pool, struct loop_op *op)
{
    (void)pthread_mutex_lock(&pool->mutex);
    list_push_back(&pool->waiting, &op->own.link);
    (void)pthread_cond_signal(&pool->filled);
    (void)pthread_mutex_unlock(&pool->mutex);
}

void read_pool_collect(struct read_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    struct list_link *link;
    (void)pthread_mutex_lock(&pool->mutex);
    while ((link = list_pop_front(&pool->done)) != NULL) {
        struct loop_op *op = list_entry(link, struct loop_op, own.link);
        int32_t result = op->own.result;
        if (result > 0) {
            loop_op_complete(pool->loop, op, STATUS_OK, (size_t)result);
        } else {
            loop_op_complete(pool->loop, op, result == 0 ? STATUS_EOF : status_from_errno(-result),
                             0);
        }
    }
    (void)pthread_mutex_unlock(&pool->mutex);
}
