/* SPDX-License-Identifier: Apache-2.0 */
#include "server/worker.h"

#include "server/lmtp.h"
#include "server/pop3.h"
#include "server/session.h"

#include <assert.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The thread's beginning and end, as far as the main thread takes part in them. */
struct worker_thread {
    struct worker *worker;
    const struct worker_config *start; /* valid until `started` is posted */
    sem_t started;
    enum status status; /* of the start; written before `started` is posted */
    struct error error;
    struct post_message drain_message;
    struct post_message config_message;
    const struct config *config; /* of the config_message, with `tls`; valid until `taken` */
    struct tls_server *const *tls;
    sem_t taken;
    sem_t deaf;            /* posted once, when the last listener has stopped */
    bool drain_asked;      /* main thread */
    unsigned listeners_on; /* worker: listeners that have not stopped */
};

/* --- pools --- */

static struct mem_pool *worker_pool(struct worker *worker, size_t size)
{
    for (unsigned i = 0; i < WORKER_POOLS_MAX; i++) {
        struct mem_pool *pool = &worker->pools[i];
        if (pool->item_size == 0) {
            mem_pool_init(pool, size, WORKER_POOL_KEEP);
        }
        if (pool->item_size == size) {
            return pool;
        }
    }
    assert(!"WORKER_POOLS_MAX is too small");
    return NULL;
}

void *worker_item_get(struct worker *worker, size_t size)
{
    return mem_pool_get(worker_pool(worker, size));
}

void worker_item_put(struct worker *worker, size_t size, void *item)
{
    mem_pool_put(worker_pool(worker, size), item);
}

/* --- draining --- */

static void on_listener_stopped(struct listener *listener)
{
    struct worker_listener *stopped = listener->owner;
    struct worker_thread *thread = stopped->worker->own;
    if (--thread->listeners_on == 0) {
        (void)sem_post(&thread->deaf); /* cannot overflow: posted once */
    }
}

/* Calls `step` for every session; ending one takes it off the list later, never inside the call. */
static void each_session(struct worker *worker, void (*step)(struct session *session))
{
    struct list_link *link = worker->sessions.next;
    while (link != &worker->sessions) {
        struct list_link *next = link->next;
        step(list_entry(link, struct session, link));
        link = next;
    }
}

static void end_session(struct session *session)
{
    session_abort(session, "shutdown");
}

static void on_drain_due(struct deadline *deadline)
{
    each_session(list_entry(deadline, struct worker, drain), end_session);
}

static void on_drain_message(struct post_message *message)
{
    struct worker_thread *thread = list_entry(message, struct worker_thread, drain_message);
    struct worker *worker = thread->worker;
    worker->draining = true;
    if (thread->listeners_on == 0) {
        (void)sem_post(&thread->deaf); /* cannot overflow: posted once */
    }
    for (unsigned i = 0; i < worker->listener_count; i++) {
        listener_stop(&worker->listeners[i].listener);
    }
    deadline_arm(loop_wheel(worker->loop), &worker->drain,
                 loop_now_ms(worker->loop) + (int64_t)worker->config->drain_timeout_s * 1000);
    each_session(worker, session_drain);
}

/* --- a new configuration --- */

static void take_tls(struct worker *worker, struct tls_server *const *tls)
{
    for (unsigned i = 0; i < CONFIG_PROTOCOLS; i++) {
        tls_server_unref(&worker->tls[i]); /* connections have references of their own */
        if (tls != NULL && tls[i] != NULL) {
            worker->tls[i] = tls_server_ref(tls[i]);
        }
    }
}

static const struct config_listener *same_listener(const struct config *config,
                                                   const struct config_listener *former)
{
    for (unsigned i = 0; i < config->listener_count; i++) {
        if (strcmp(config->listeners[i].name, former->name) == 0) {
            return &config->listeners[i];
        }
    }
    assert(!"a listener is missing");
    return NULL;
}

static void move_session(struct session *session)
{
    if (session->listener != NULL) {
        session->listener = same_listener(session->worker->config, session->listener);
    }
}

static void on_config_message(struct post_message *message)
{
    struct worker_thread *thread = list_entry(message, struct worker_thread, config_message);
    struct worker *worker = thread->worker;
    worker->config = thread->config;
    take_tls(worker, thread->tls);
    for (unsigned i = 0; i < worker->listener_count; i++) {
        struct worker_listener *listener = &worker->listeners[i];
        if (listener->config != NULL) {
            listener->config = same_listener(worker->config, listener->config);
        }
    }
    each_session(worker, move_session);
    (void)sem_post(&thread->taken); /* cannot overflow: waited for each time */
}

/* What a session that is gone had asked for still answers to this thread's box: waited for too. */
static bool worker_finished(const struct worker *worker)
{
    const struct worker_thread *thread = worker->own;
    return worker->draining && thread->listeners_on == 0 && worker->session_count == 0 &&
           worker->store.inflight == 0 && worker->auth.inflight == 0;
}

/* --- the thread --- */

static void on_wake(void *owner)
{
    struct worker *worker = owner;
    (void)post_run(&worker->box); /* how many there were does not matter */
}

static void on_connection(struct listener *listener, int fd, const struct address *peer,
                          const struct address *local)
{
    session_accept(listener->owner, fd, peer, local);
}

static const struct session_protocol *socket_protocol(const struct worker_socket *socket)
{
    if (socket->protocol != NULL) {
        return socket->protocol;
    }
    return socket->config->protocol == CONFIG_LMTP ? &lmtp_protocol : &pop3_protocol;
}

static void start_listener(struct worker *worker, struct worker_listener *listener,
                           const struct worker_socket *socket)
{
    struct worker_thread *thread = worker->own;
    listener->config = socket->config;
    listener->protocol = socket_protocol(socket);
    listener->worker = worker;
    listener_init(&listener->listener, worker->loop, socket->fd, listener);
    listener->listener.on_connection = on_connection;
    listener->listener.on_stopped = on_listener_stopped;
    thread->listeners_on++;
    listener_start(&listener->listener);
}

static enum status worker_open(struct worker *worker, const struct worker_config *start,
                               struct error *out_error)
{
    struct loop_config loop_config = {
        .kind = start->config->io_backend, .on_wake = on_wake, .owner = worker};
    if (start->socket_count > 0) {
        worker->listeners = calloc(start->socket_count, sizeof *worker->listeners);
        if (worker->listeners == NULL) {
            return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "starting a worker");
        }
    }
    enum status status = loop_create(&loop_config, &worker->loop, &worker->io_error);
    if (status != STATUS_OK) {
        *out_error = worker->io_error;
        out_error->status = status;
        return status;
    }
    post_box_init_loop(&worker->box, worker->loop);
    conn_host_init(&worker->host, worker->loop);
    worker->host.tls_worker = worker->index;
    take_tls(worker, start->tls);
    store_client_init(&worker->store, start->store, worker->loop, &worker->box);
    auth_client_init(&worker->auth, start->auth, worker->loop, &worker->box);
    worker->listener_count = start->socket_count;
    for (unsigned i = 0; i < start->socket_count; i++) {
        start_listener(worker, &worker->listeners[i], &start->sockets[i]);
    }
    return STATUS_OK;
}

/* Accepts what worker_open has left half done. */
static void worker_close(struct worker *worker)
{
    if (worker->loop != NULL) {
        deadline_disarm(loop_wheel(worker->loop), &worker->drain);
        conn_host_deinit(&worker->host);
        post_box_deinit(&worker->box);
        loop_destroy(&worker->loop);
    }
    for (unsigned i = 0; i < WORKER_POOLS_MAX; i++) {
        if (worker->pools[i].item_size != 0) {
            mem_pool_deinit(&worker->pools[i]);
        }
    }
    take_tls(worker, NULL);
    free(worker->listeners);
    worker->listeners = NULL;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct worker_thread *thread = worker->own;
    char name[16]; /* octets with NUL; the kernel's limit */
    (void)snprintf(name, sizeof name, "worker-%u", worker->index); /* cutting it is harmless */
    (void)pthread_setname_np(pthread_self(), name); /* for people; its own: others' are files */
    thread->status = worker_open(worker, thread->start, &thread->error);
    bool open = thread->status == STATUS_OK;
    (void)sem_post(&thread->started); /* cannot overflow: posted once */
    while (open && !worker_finished(worker)) {
        loop_turn(worker->loop, -1);
    }
    worker_close(worker);
    return NULL;
}

/* --- the main thread's side --- */

static void worker_free(struct worker **worker)
{
    struct worker_thread *thread = (*worker)->own;
    if (thread != NULL) {
        (void)sem_destroy(&thread->started); /* nobody waits any more */
        (void)sem_destroy(&thread->taken);
        (void)sem_destroy(&thread->deaf);
        free(thread);
    }
    free(*worker);
    *worker = NULL;
}

static struct worker *worker_create(const struct worker_config *config)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) {
        return NULL;
    }
    struct worker_thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL) {
        worker_free(&worker);
        return NULL;
    }
    (void)sem_init(&thread->started, 0, 0); /* fails only for values out of range */
    (void)sem_init(&thread->taken, 0, 0);
    (void)sem_init(&thread->deaf, 0, 0);
    thread->worker = worker;
    thread->start = config;
    thread->drain_message.on_receive = on_drain_message;
    thread->config_message.on_receive = on_config_message;
    worker->own = thread;
    worker->index = config->index;
    worker->config = config->config;
    worker->caps = config->caps;
    list_init(&worker->sessions);
    deadline_init(&worker->drain, on_drain_due);
    return worker;
}

/* Signals are the main thread's: a worker is born with all of them blocked. */
static int create_thread(struct worker *worker)
{
    sigset_t all, before;
    (void)sigfillset(&all);                            /* cannot fail */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* fails only for an unknown `how` */
    int failure = pthread_create(&worker->thread, NULL, worker_main, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL); /* see above */
    return failure;
}

enum status worker_start(const struct worker_config *config, struct worker **out_worker,
                         struct error *out_error)
{
    struct worker *worker = worker_create(config);
    if (worker == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "starting a worker");
    }
    int failure = create_thread(worker);
    if (failure != 0) {
        worker_free(&worker);
        return error_set(out_error, status_from_errno(failure), failure, NULL,
                         "starting a worker's thread");
    }
    struct worker_thread *thread = worker->own;
    while (sem_wait(&thread->started) != 0) {
        /* Interrupted by a signal of the main thread's. */
    }
    thread->start = NULL;
    if (thread->status != STATUS_OK) {
        enum status status = thread->status;
        if (out_error != NULL) {
            *out_error = thread->error;
        }
        (void)pthread_join(worker->thread, NULL); /* it is ours and joinable */
        worker_free(&worker);
        return status;
    }
    *out_worker = worker;
    return STATUS_OK;
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        /* Interrupted by a signal of the main thread's. */
    }
}

void worker_reconfigure(struct worker *worker, const struct config *config,
                        struct tls_server *const *tls)
{
    struct worker_thread *thread = worker->own;
    assert(!thread->drain_asked);
    thread->config = config;
    thread->tls = tls;
    post_send(&worker->box, &thread->config_message);
    wait_for(&thread->taken);
}

void worker_drain(struct worker *worker)
{
    struct worker_thread *thread = worker->own;
    if (!thread->drain_asked) {
        thread->drain_asked = true;
        post_send(&worker->box, &thread->drain_message);
    }
}

void worker_wait_deaf(struct worker *worker)
{
    struct worker_thread *thread = worker->own;
    wait_for(&thread->deaf);
}

void worker_join(struct worker **worker)
{
    if (*worker == NULL) {
        return;
    }
    (void)pthread_join((*worker)->thread, NULL); /* it is ours and joinable */
    worker_free(worker);
}
