/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics listener: /metrics in Prometheus' text format, /livez (every worker's loop turns) and
 * /readyz (the server serves: not draining, the volume writable). HTTP is libmicrohttpd's, on
 * threads of its own; the workers only ever write their counters, and answer a ping when /livez is
 * asked for.
 *
 * Made and ended by the main thread.
 */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "server/prometheus.h"
#include "server/sandbox.h"
#include "server/worker.h"

struct metrics;

/* Where the figures come from; all of it must outlive the metrics. */
struct metrics_source {
    const struct config *config;
    struct store *store;
    struct auth *auth;
    struct worker *const *workers;
    unsigned worker_count;
    int64_t started_ms;                           /* UNIX time */
    const _Atomic int64_t *certificates_expire_s; /* UNIX time; 0: no certificate */
    const struct sandbox *sandbox;
    struct caps *caps; /* NULL: nothing is counted */
    bool draining;     /* the workers' loops may be gone: only their counters are read */
};

/* Listens on the sockets, which stay the caller's to close after metrics_stop. */
MUST_CHECK enum status metrics_start(const struct metrics_source *source, const int *sockets,
                                     unsigned socket_count, struct metrics **out_metrics,
                                     struct error *out_error);
/* To be called before worker_drain. From now on /readyz answers 503, so that load balancers turn
 * away while sessions end, and no worker's loop or box is touched. */
void metrics_drain(struct metrics *metrics);
/* To be called after metrics_drain and before worker_join: ends the threads and frees. NULLs;
 * harmless on NULL. */
void metrics_stop(struct metrics **metrics);

/* The page, as /metrics answers it. Any thread. */
void metrics_render(const struct metrics_source *source, struct prometheus *page);

#endif
