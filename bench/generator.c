/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/generator.h"

#include "bench/lmtp_client.h"
#include "bench/pop_client.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

int64_t generator_now_ns(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* cannot fail with this clock */
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void generator_note(struct generator *generator, const char *command, const char *line,
                    size_t length)
{
    char *note = generator->tally.first_error;
    if (note[0] == '\0') {
        (void)snprintf(note, sizeof generator->tally.first_error, "%s: %.*s", command, (int)length,
                       line);
    }
}

/* Queues */

static bool queue_full(const struct arrival_queue *queue)
{
    return queue->count == GENERATOR_QUEUE;
}

static void queue_push(struct arrival_queue *queue, struct arrival arrival)
{
    queue->ring[(queue->head + queue->count++) % GENERATOR_QUEUE] = arrival;
}

static struct arrival queue_pop(struct arrival_queue *queue)
{
    struct arrival arrival = queue->ring[queue->head];
    queue->head = (queue->head + 1) % GENERATOR_QUEUE;
    queue->count--;
    return arrival;
}

static void arrive(struct generator *generator, int64_t due_ns)
{
    struct arrival arrival = {.due_ns = due_ns,
                              .kind = workload_draw(generator->config->workload, &generator->dice)};
    queue_push(work_kind_info(arrival.kind)->lmtp ? &generator->lmtp_queue : &generator->pop_queue,
               arrival);
    generator->made++;
}

/* Starting operations */

/* After a failed connection nothing is called for a moment: a server that is gone would otherwise
 * be
 * called as fast as the processor can. An open loop goes by its schedule. */
static bool pausing(const struct generator *generator)
{
    return generator->pause_until_ns > 0 && generator_now_ns() < generator->pause_until_ns &&
           generator->config->closed;
}

/* In a closed loop an operation is due when it can begin. */
static int64_t due_of(const struct generator *generator, const struct arrival *arrival)
{
    return generator->config->closed ? generator_now_ns() : arrival->due_ns;
}

/* False when nobody is free to do it now. */
static bool start_pop(struct generator *generator)
{
    bool stays = workload_staying(generator->config->workload) != WORK_KIND_COUNT;
    struct bench_user *user = NULL;
    if (list_empty(&generator->pop_free) || (!stays && pausing(generator))) {
        return false;
    }
    if (!stays) {
        struct dice *dice = generator->config->random_users ? &generator->dice : NULL;
        user = population_take(&generator->population, dice);
        if (user == NULL) {
            generator->waiting_users++;
            return false;
        }
    }
    struct pop_client *client =
        list_entry(list_pop_front(&generator->pop_free), struct pop_client, link);
    struct arrival arrival = queue_pop(&generator->pop_queue);
    if (stays) {
        pop_client_work(client, due_of(generator, &arrival));
    } else {
        pop_client_open(client, arrival.kind, user, due_of(generator, &arrival), false);
    }
    return true;
}

static bool start_lmtp(struct generator *generator)
{
    struct list_link *link = list_pop_front(&generator->lmtp_free);
    if (link == NULL) {
        return false;
    }
    struct dice *dice = generator->config->random_users ? &generator->dice : NULL;
    struct arrival arrival = queue_pop(&generator->lmtp_queue);
    lmtp_client_work(list_entry(link, struct lmtp_client, link),
                     population_recipient(&generator->population, dice),
                     due_of(generator, &arrival));
    return true;
}

static void start_all(struct generator *generator)
{
    while (generator->pop_queue.count > 0 && start_pop(generator)) {
    }
    while (generator->lmtp_queue.count > 0 && start_lmtp(generator)) {
    }
}

/* Calls servers for sessions that are to stay open. */
static void call_pop(struct generator *generator)
{
    enum work_kind staying = workload_staying(generator->config->workload);
    while (generator->calling_count < GENERATOR_CALLS_MAX && !list_empty(&generator->pop_idle)) {
        struct bench_user *user = population_take(&generator->population, NULL);
        if (user == NULL) {
            break;
        }
        struct list_link *link = list_pop_front(&generator->pop_idle);
        struct pop_client *client = list_entry(link, struct pop_client, link);
        client->calling = true;
        generator->calling_count++;
        pop_client_open(client, staying, user, 0, true);
    }
}

static void call_lmtp(struct generator *generator)
{
    while (generator->calling_count < GENERATOR_CALLS_MAX && !list_empty(&generator->lmtp_idle)) {
        struct list_link *link = list_pop_front(&generator->lmtp_idle);
        struct lmtp_client *client = list_entry(link, struct lmtp_client, link);
        client->calling = true;
        generator->calling_count++;
        lmtp_client_open(client);
    }
}

static void call_idle(struct generator *generator)
{
    if (!generator->ending && generator_now_ns() >= generator->pause_until_ns) {
        call_pop(generator);
        call_lmtp(generator);
    }
}

/* A call has ended, well or not. */
static void called(struct generator *generator, bool *calling, bool well)
{
    generator->calling_count -= *calling;
    if (!well && *calling) {
        generator->pause_until_ns = generator_now_ns() + GENERATOR_TICK_MS * 1000000ll;
    }
    *calling = false;
}

static void on_dispatch(struct loop_task *task)
{
    struct generator *generator = list_entry(task, struct generator, dispatch_task);
    call_idle(generator);
    start_all(generator);
}

static void dispatch_soon(struct generator *generator)
{
    loop_defer(generator->loop, &generator->dispatch_task);
}

/* What clients tell */

void generator_operation_over(struct generator *generator)
{
    const struct run_config *config = generator->config;
    generator->over++;
    bool all_made = config->letters > 0 && generator->made >= generator->wanted;
    if (config->closed && !generator->ending && !generator->finishing && !all_made) {
        arrive(generator, 0);
    }
    dispatch_soon(generator);
}

void generator_pop_free(struct generator *generator, struct pop_client *client)
{
    called(generator, &client->calling, true);
    list_push_back(&generator->pop_free, &client->link);
    dispatch_soon(generator);
}

void generator_lmtp_free(struct generator *generator, struct lmtp_client *client)
{
    called(generator, &client->calling, true);
    list_push_back(&generator->lmtp_free, &client->link);
    dispatch_soon(generator);
}

void generator_pop_gone(struct generator *generator, struct pop_client *client, bool connected)
{
    called(generator, &client->calling, false);
    if (!connected) {
        generator->pause_until_ns = generator_now_ns() + GENERATOR_TICK_MS * 1000000ll;
    }
    list_remove(&client->link);
    list_push_back(client->stays ? &generator->pop_idle : &generator->pop_free, &client->link);
    dispatch_soon(generator);
}

void generator_lmtp_gone(struct generator *generator, struct lmtp_client *client)
{
    called(generator, &client->calling, false);
    list_remove(&client->link);
    list_push_back(&generator->lmtp_idle, &client->link);
    dispatch_soon(generator);
}

/* The schedule */

static void next_due(struct generator *generator)
{
    int64_t start_ns = generator->tally.start_ns;
    if (generator->warming) {
        int64_t begin_ns = start_ns - (int64_t)generator->config->warmup_ms * 1000000;
        generator->next_due_ns = begin_ns + schedule_next_ns(&generator->warmup);
        if (generator->next_due_ns < start_ns) {
            return;
        }
        generator->warming = false;
    }
    generator->next_due_ns = start_ns + schedule_next_ns(&generator->schedule);
    if (generator->next_due_ns >= generator->tally.end_ns) {
        generator->next_due_ns = INT64_MAX;
    }
}

static void timer_set(struct generator *generator)
{
    int64_t due_ns = generator->next_due_ns;
    if (due_ns == INT64_MAX) {
        return;
    }
    const struct itimerspec when = {
        .it_value = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000}};
    (void)timerfd_settime(generator->timer_fd, TFD_TIMER_ABSTIME, &when, NULL); /* valid by now */
}

/* Takes what is due, and starts what can be started at once: only those tell how late this
 * thread is. */
static void take_due(struct generator *generator)
{
    int64_t now_ns = generator_now_ns();
    struct tally *tally = &generator->tally;
    while (generator->next_due_ns <= now_ns && !queue_full(&generator->pop_queue) &&
           !queue_full(&generator->lmtp_queue)) {
        int64_t due_ns = generator->next_due_ns;
        uint32_t waiting = generator->pop_queue.count + generator->lmtp_queue.count;
        arrive(generator, due_ns);
        start_all(generator);
        if (waiting == 0 && generator->pop_queue.count + generator->lmtp_queue.count == 0 &&
            tally_measures(tally, due_ns)) {
            now_ns = generator_now_ns();
            latencies_record(&tally->lag, (uint64_t)(now_ns - due_ns));
        }
        next_due(generator);
    }
}

static void on_timer(struct loop_op *op, enum status status, size_t octets)
{
    struct generator *generator = list_entry(op, struct generator, timer_op);
    uint64_t expirations;
    if (status != STATUS_OK || generator->ending) {
        return;
    }
    (void)!read(generator->timer_fd, &expirations, sizeof expirations); /* it may have been reset */
    take_due(generator);
    timer_set(generator);
    loop_wait_readable(generator->loop, &generator->timer_op, generator->timer_fd);
}

static void generate(struct generator *generator)
{
    const struct run_config *config = generator->config;
    generator->generating = true;
    if (!config->closed) {
        generator->warming = config->warmup_ms > 0;
        next_due(generator);
        timer_set(generator);
        loop_wait_readable(generator->loop, &generator->timer_op, generator->timer_fd);
        return;
    }
    unsigned tokens = generator->pop_count > 0 ? generator->pop_count : generator->lmtp_count;
    for (unsigned index = 0; index < tokens && index < GENERATOR_QUEUE; index++) {
        if (config->workload->weights[WORK_IDLE] == 0 &&
            (config->letters == 0 || generator->made < generator->wanted)) {
            arrive(generator, 0);
        }
    }
    dispatch_soon(generator);
}

/* Arrivals that are due and not started. */
static uint64_t backlog(struct generator *generator, int64_t now_ns)
{
    if (generator->config->closed || !generator->generating) {
        return 0;
    }
    uint64_t waiting = generator->pop_queue.count + generator->lmtp_queue.count;
    if (generator->next_due_ns < now_ns && now_ns < generator->tally.end_ns) {
        /* The queue is full: the rest is still in the schedule. */
        double late_s = (double)(now_ns - generator->next_due_ns) / 1e9;
        waiting +=
            (uint64_t)(late_s * generator->schedule.shape.rates[0] / generator->config->threads);
    }
    return waiting;
}

/* The thread */

static enum status clients_make(struct generator *generator)
{
    const struct run_config *config = generator->config;
    bool stays = workload_staying(config->workload) != WORK_KIND_COUNT;
    if (workload_uses_pop3(config->workload)) {
        generator->pop_count =
            (config->connections - generator->part + config->threads - 1) / config->threads;
    }
    if (workload_uses_lmtp(config->workload)) {
        generator->lmtp_count =
            (config->lmtp_connections - generator->part + config->threads - 1) / config->threads;
    }
    generator->pop_clients = calloc(generator->pop_count + 1, sizeof generator->pop_clients[0]);
    generator->lmtp_clients = calloc(generator->lmtp_count + 1, sizeof generator->lmtp_clients[0]);
    if (generator->pop_clients == NULL || generator->lmtp_clients == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (unsigned index = 0; index < generator->pop_count; index++) {
        pop_client_init(&generator->pop_clients[index], generator);
        list_push_back(stays ? &generator->pop_idle : &generator->pop_free,
                       &generator->pop_clients[index].link);
    }
    for (unsigned index = 0; index < generator->lmtp_count; index++) {
        lmtp_client_init(&generator->lmtp_clients[index], generator);
        list_push_back(&generator->lmtp_idle, &generator->lmtp_clients[index].link);
    }
    return STATUS_OK;
}

static void clients_stop(struct generator *generator)
{
    generator->ending = true;
    loop_cancel(generator->loop, &generator->timer_op);
    for (unsigned index = 0; generator->pop_clients != NULL && index < generator->pop_count;
         index++) {
        pop_client_stop(&generator->pop_clients[index]);
    }
    for (unsigned index = 0; generator->lmtp_clients != NULL && index < generator->lmtp_count;
         index++) {
        lmtp_client_stop(&generator->lmtp_clients[index]);
    }
    while (generator->open_count > 0 || loop_op_busy(&generator->timer_op)) {
        loop_turn(generator->loop, GENERATOR_TICK_MS);
    }
    loop_task_cancel(&generator->dispatch_task);
}

/* Arrivals that never began count as not ended in time. */
static void count_leftover(struct generator *generator)
{
    struct arrival_queue *queues[] = {&generator->pop_queue, &generator->lmtp_queue};
    int64_t now_ns = generator_now_ns();
    if (generator->config->closed) {
        return;
    }
    for (size_t index = 0; index < 2; index++) {
        while (queues[index]->count > 0) {
            struct arrival arrival = queue_pop(queues[index]);
            tally_failure(&generator->tally, arrival.kind, BENCH_ERROR_TIMEOUT, arrival.due_ns,
                          now_ns);
        }
    }
    while (generator->next_due_ns < generator->tally.end_ns) {
        enum work_kind kind = workload_draw(generator->config->workload, &generator->dice);
        tally_failure(&generator->tally, kind, BENCH_ERROR_TIMEOUT, generator->next_due_ns, now_ns);
        next_due(generator);
    }
}

struct thread_time {
    uint64_t run_ns, wait_ns;
};

/* /proc/thread-self/schedstat: time on a processor, and time ready but waiting for one. */
static struct thread_time thread_time_now(void)
{
    struct thread_time time = {0};
    FILE *file = fopen("/proc/thread-self/schedstat", "re");
    if (file != NULL) {
        if (fscanf(file, "%" SCNu64 " %" SCNu64, &time.run_ns, &time.wait_ns) != 2) {
            time = (struct thread_time){0};
        }
        fclose(file);
    }
    return time;
}

static bool all_delivered(const struct generator *generator)
{
    return generator->config->letters > 0 && generator->over >= generator->wanted;
}

static void turn(struct generator *generator)
{
    loop_turn(generator->loop, GENERATOR_TICK_MS);
    call_idle(generator);
    start_all(generator);
    int64_t now_ns = generator_now_ns();
    uint64_t waiting = backlog(generator, now_ns);
    struct tally *tally = &generator->tally;
    tally->backlog_max = waiting > tally->backlog_max ? waiting : tally->backlog_max;
    tally_pass(tally, now_ns, waiting, generator->session_count);
}

/* Opens the sessions that stay, and says so. */
static void prepare(struct generator *generator)
{
    int64_t give_up_ns = generator_now_ns() + (int64_t)generator->config->timeout_ms * 2 * 1000000;
    call_idle(generator);
    while ((!list_empty(&generator->pop_idle) || !list_empty(&generator->lmtp_idle) ||
            generator->calling_count > 0) &&
           generator_now_ns() < give_up_ns && !atomic_load(&generator->stop)) {
        loop_turn(generator->loop, GENERATOR_TICK_MS);
        call_idle(generator);
    }
    atomic_store(&generator->ready, true);
    while (atomic_load(&generator->go_ns) == 0 && !atomic_load(&generator->stop)) {
        loop_turn(generator->loop, 1);
    }
}

static void run(struct generator *generator)
{
    struct tally *tally = &generator->tally;
    const struct run_config *config = generator->config;
    int64_t start_ns = atomic_load(&generator->go_ns);
    tally_set_time(tally, start_ns, tally->window_ns);
    while (config->warmup_ms == 0 && generator_now_ns() < start_ns &&
           !atomic_load(&generator->stop)) {
        loop_turn(generator->loop, 1); /* nothing is to begin before it is measured */
    }
    generate(generator);
    while (generator_now_ns() < start_ns && !atomic_load(&generator->stop)) {
        turn(generator);
    }
    struct thread_time before = thread_time_now();
    while (generator_now_ns() < tally->end_ns && !atomic_load(&generator->stop) &&
           !all_delivered(generator)) {
        turn(generator);
    }
    struct thread_time after = thread_time_now();
    tally->run_ns = after.run_ns - before.run_ns;
    tally->wait_ns = after.wait_ns - before.wait_ns;
    tally->busy = (double)(tally->run_ns + tally->wait_ns) / (double)(tally->end_ns - start_ns);
    tally->sessions = generator->session_count;
    if (config->closed) { /* whoever waits for a connection or a user goes home */
        generator->finishing = true;
        generator->made -= generator->pop_queue.count + generator->lmtp_queue.count;
        generator->pop_queue.count = generator->lmtp_queue.count = 0;
    }
    int64_t drained_ns = tally->end_ns + (int64_t)config->drain_ms * 1000000;
    while (generator_now_ns() < drained_ns && !atomic_load(&generator->stop) &&
           (generator->over < generator->made || generator->next_due_ns < tally->end_ns)) {
        turn(generator);
    }
}

static enum status begin(struct generator *generator)
{
    const struct run_config *config = generator->config;
    const struct loop_config loop_config = {
        .kind = config->io,
        .connections_max = (config->connections + config->lmtp_connections) / config->threads + 64};
    struct error fallback = {0};
    enum status status = loop_create(&loop_config, &generator->loop, &fallback);
    if (status != STATUS_OK) {
        return error_set(&generator->error, status, fallback.errno_value, NULL, "%s",
                         fallback.text);
    }
    conn_host_init(&generator->host, generator->loop);
    loop_task_init(&generator->dispatch_task, on_dispatch);
    generator->timer_op.on_done = on_timer;
    generator->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (generator->timer_fd < 0) {
        return error_set(&generator->error, STATUS_LIMIT, 0, NULL, "no timer");
    }
    if (config->tls != RUN_TLS_NONE || config->lmtp_tls != RUN_TLS_NONE) {
        const struct tls_client_config tls = {.resume = config->tls_resume};
        status = tls_client_create(&tls, &generator->tls, &generator->error);
    }
    if (status == STATUS_OK && clients_make(generator) != STATUS_OK) {
        status = error_set(&generator->error, STATUS_NO_MEMORY, 0, NULL, "no memory for clients");
    }
    return status;
}

static void end(struct generator *generator)
{
    for (unsigned index = 0; generator->pop_clients != NULL && index < generator->pop_count;
         index++) {
        pop_client_deinit(&generator->pop_clients[index]);
    }
    if (generator->loop != NULL) {
        conn_host_deinit(&generator->host);
        loop_destroy(&generator->loop);
    }
    if (generator->timer_fd >= 0) {
        close(generator->timer_fd);
    }
    tls_client_destroy(&generator->tls);
    free(generator->pop_clients);
    free(generator->lmtp_clients);
}

void *generator_main(void *argument)
{
    struct generator *generator = argument;
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, NULL); /* cannot fail with this set */
    if (begin(generator) == STATUS_OK) {
        prepare(generator);
        if (!atomic_load(&generator->stop)) {
            run(generator);
        }
        clients_stop(generator);
        count_leftover(generator);
        tally_pass(&generator->tally, INT64_MAX, 0, 0);
    } else {
        atomic_store(&generator->failed, true);
        atomic_store(&generator->ready, true);
    }
    end(generator);
    return NULL;
}

/* Life */

enum status generator_init(struct generator *generator, const struct run_config *config,
                           unsigned part, double load, unsigned window_count, int64_t window_ns)
{
    *generator =
        (struct generator){.config = config,
                           .part = part,
                           .load = load,
                           .timer_fd = -1,
                           .next_due_ns = INT64_MAX,
                           .dice = {.state = config->seed ^ (part * 0xa0761d6478bd642full)}};
    list_init(&generator->pop_free);
    list_init(&generator->pop_idle);
    list_init(&generator->lmtp_free);
    list_init(&generator->lmtp_idle);
    struct schedule_shape shape = config->shape;
    schedule_scale(&shape, load);
    schedule_init(&generator->schedule, &shape, config->poisson, config->duration_ms / 1e3, part,
                  config->threads, config->seed);
    shape.rate_count = 1;
    shape.ramp = false;
    schedule_init(&generator->warmup, &shape, config->poisson, config->warmup_ms / 1e3, part,
                  config->threads, ~config->seed);
    generator->pop_queue.ring = calloc(GENERATOR_QUEUE, sizeof(struct arrival));
    generator->lmtp_queue.ring = calloc(GENERATOR_QUEUE, sizeof(struct arrival));
    enum status status = generator->pop_queue.ring == NULL || generator->lmtp_queue.ring == NULL
                             ? STATUS_NO_MEMORY
                             : population_init(&generator->population, config->first_user,
                                               config->user_count, part, config->threads);
    generator->wanted = config->letters / config->user_count * generator->population.count;
    if (status == STATUS_OK) {
        status = tally_init(&generator->tally, window_count);
        generator->tally.window_ns = window_ns;
    }
    return status;
}

void generator_deinit(struct generator *generator)
{
    free(generator->pop_queue.ring);
    free(generator->lmtp_queue.ring);
    population_deinit(&generator->population);
    tally_deinit(&generator->tally);
}
