/* SPDX-License-Identifier: Apache-2.0 */
/* The one owner of libmicrohttpd. */
#include "server/metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define METRICS_CONNECTIONS_MAX 64   /* scrapers and probes, not the public */
#define METRICS_TIMEOUT_S       10   /* seconds of an idle HTTP connection */
#define METRICS_PING_MS         2000 /* a loop that takes longer for one turn hangs */

/* A question to a worker's loop: do you turn? At most one is under way per worker. */
struct ping {
    struct post_message message;
    struct metrics *metrics;
    atomic_bool under_way;
};

struct metrics {
    struct metrics_source source;
    struct MHD_Daemon *daemons[CONFIG_ADDRESSES_MAX];
    unsigned daemon_count;
    pthread_mutex_t lock; /* held while an answer is made: metrics_drain waits for it */
    sem_t answered;       /* by workers; only wakes whoever waits: the flags are the answer */
    struct ping pings[];  /* one per worker */
};

/* On the worker's thread. */
static void on_ping(struct post_message *message)
{
    struct ping *ping = list_entry(message, struct ping, message);
    struct metrics *metrics = ping->metrics;
    /* Release: pairs with the acquire of whoever pings next and reuses the message. */
    atomic_store_explicit(&ping->under_way, false, memory_order_release);
    (void)sem_post(&metrics->answered); /* an overflow would need 2^31 pings without a wait */
}

static unsigned pings_under_way(struct metrics *metrics)
{
    unsigned count = 0;
    for (unsigned i = 0; i < metrics->source.worker_count; i++) {
        count += atomic_load_explicit(&metrics->pings[i].under_way, memory_order_acquire);
    }
    return count;
}

/* Asks every loop and waits; returns how many did not answer in time. */
static unsigned silent_workers(struct metrics *metrics)
{
    for (unsigned i = 0; i < metrics->source.worker_count; i++) {
        struct ping *ping = &metrics->pings[i];
        bool idle = false;
        if (atomic_compare_exchange_strong(&ping->under_way, &idle, true)) {
            ping->message.on_receive = on_ping;
            post_send(&metrics->source.workers[i]->box, &ping->message);
        }
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail for this clock */
    until.tv_sec += METRICS_PING_MS / 1000;
    unsigned silent = pings_under_way(metrics);
    while (silent > 0 && (sem_timedwait(&metrics->answered, &until) == 0 || errno == EINTR)) {
        silent = pings_under_way(metrics);
    }
    return silent;
}

/* --- answers --- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *type,
                              const char *text)
{
    char *copy = strdup(text);
    struct MHD_Response *response =
        copy == NULL ? NULL
                     : MHD_create_response_from_buffer(strlen(copy), copy, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(copy);
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, "Content-Type", type); /* a header less is no harm */
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

#define TEXT_PLAIN "text/plain; charset=utf-8"

static enum MHD_Result answer_metrics(struct metrics *metrics, struct MHD_Connection *connection)
{
    struct prometheus page = {.text = NULL};
    metrics_render(&metrics->source, &page);
    enum MHD_Result result =
        page.failed
            ? answer(connection, 503, TEXT_PLAIN, "out of memory\n")
            : answer(connection, 200, "text/plain; version=0.0.4; charset=utf-8", page.text);
    free(page.text);
    return result;
}

static enum MHD_Result answer_live(struct metrics *metrics, struct MHD_Connection *connection)
{
    unsigned silent = metrics->source.draining ? 0 : silent_workers(metrics);
    char text[128];
    if (silent == 0) {
        return answer(connection, 200, TEXT_PLAIN, "live\n");
    }
    (void)snprintf(text, sizeof text, "%u of %u workers do not turn\n", silent,
                   metrics->source.worker_count);
    return answer(connection, 503, TEXT_PLAIN, text);
}

static enum MHD_Result answer_ready(struct metrics *metrics, struct MHD_Connection *connection)
{
    struct store_numbers numbers;
    if (metrics->source.draining) {
        return answer(connection, 503, TEXT_PLAIN, "draining: the server is about to end\n");
    }
    store_numbers(metrics->source.store, &numbers);
    if (numbers.read_only) {
        return answer(connection, 503, TEXT_PLAIN,
                      "the volume is read-only after a failed write: see the log, then restart\n");
    }
    if (numbers.damaged > 0 || numbers.index_damaged) {
        /* Not a reason to send everybody else away. */
        char text[160];
        (void)snprintf(
            text, sizeof text, "ready; %llu messages are damaged%s: see `restante health`\n",
            (unsigned long long)numbers.damaged, numbers.index_damaged ? ", and the index is" : "");
        return answer(connection, 200, TEXT_PLAIN, text);
    }
    return answer(connection, 200, TEXT_PLAIN, "ready\n");
}

static enum MHD_Result route(struct metrics *metrics, struct MHD_Connection *connection,
                             const char *url)
{
    if (strcmp(url, "/metrics") == 0) {
        return answer_metrics(metrics, connection);
    }
    if (strcmp(url, "/livez") == 0) {
        return answer_live(metrics, connection);
    }
    if (strcmp(url, "/readyz") == 0) {
        return answer_ready(metrics, connection);
    }
    return answer(connection, 404, TEXT_PLAIN, "there are /metrics, /livez and /readyz\n");
}

static enum MHD_Result on_request(void *owner, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    struct metrics *metrics = owner;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return answer(connection, 405, TEXT_PLAIN, "GET only\n");
    }
    (void)pthread_mutex_lock(&metrics->lock); /* cannot fail for this kind */
    enum MHD_Result result = route(metrics, connection, url);
    (void)pthread_mutex_unlock(&metrics->lock);
    return result;
}

/* --- life --- */

enum status metrics_start(const struct metrics_source *source, const int *sockets,
                          unsigned socket_count, struct metrics **out_metrics,
                          struct error *out_error)
{
    struct metrics *metrics =
        calloc(1, sizeof *metrics + source->worker_count * sizeof metrics->pings[0]);
    if (metrics == NULL || socket_count > CONFIG_ADDRESSES_MAX ||
        sem_init(&metrics->answered, 0, 0) != 0) {
        free(metrics);
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "starting the metrics listener");
    }
    (void)pthread_mutex_init(&metrics->lock, NULL); /* cannot fail without attributes */
    metrics->source = *source;
    for (unsigned i = 0; i < source->worker_count; i++) {
        metrics->pings[i].metrics = metrics;
    }
    for (unsigned i = 0; i < socket_count; i++) {
        /* libmicrohttpd closes what it is given; the caller's stays his. */
        int own = dup(sockets[i]);
        struct MHD_Daemon *daemon =
            own < 0
                ? NULL
                : MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request,
                                   metrics, MHD_OPTION_LISTEN_SOCKET, own,
                                   MHD_OPTION_CONNECTION_LIMIT, (unsigned)METRICS_CONNECTIONS_MAX,
                                   MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)METRICS_TIMEOUT_S,
                                   MHD_OPTION_END);
        if (daemon == NULL) {
            int errno_value = errno;
            if (own >= 0) {
                (void)close(own); /* a socket that is given up */
            }
            metrics_stop(&metrics);
            return error_set(out_error, STATUS_IO, errno_value, NULL,
                             "starting the metrics listener");
        }
        metrics->daemons[metrics->daemon_count++] = daemon;
    }
    *out_metrics = metrics;
    return STATUS_OK;
}

void metrics_drain(struct metrics *metrics)
{
    (void)pthread_mutex_lock(&metrics->lock); /* cannot fail for this kind */
    metrics->source.draining = true;
    (void)pthread_mutex_unlock(&metrics->lock);
}

void metrics_stop(struct metrics **metrics)
{
    if (*metrics == NULL) {
        return;
    }
    for (unsigned i = 0; i < (*metrics)->daemon_count; i++) {
        MHD_stop_daemon((*metrics)->daemons[i]);
    }
    (void)sem_destroy(&(*metrics)->answered); /* nobody waits for it any more */
    (void)pthread_mutex_destroy(&(*metrics)->lock);
    free(*metrics);
    *metrics = NULL;
}
