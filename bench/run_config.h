/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that describes a run. Filled by run_options before threads start; read by all of them,
 * written by none.
 */
#ifndef BENCH_RUN_CONFIG_H
#define BENCH_RUN_CONFIG_H

#include "bench/corpus.h"
#include "bench/distribution.h"
#include "bench/schedule.h"
#include "bench/workload.h"
#include "io/address.h"
#include "io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Behind STLS or STARTTLS, or from the start. */
enum run_tls { RUN_TLS_NONE, RUN_TLS_IMPLICIT, RUN_TLS_STLS };
enum run_auth {
    RUN_AUTH_USER,
    RUN_AUTH_PLAIN,
    RUN_AUTH_LOGIN,
    RUN_AUTH_SCRAM_SHA_1,
    RUN_AUTH_SCRAM_SHA_256
};
enum run_verify { RUN_VERIFY_NONE, RUN_VERIFY_SIZES, RUN_VERIFY_FULL };

#define RUN_PIPELINE_MAX 64  /* commands in flight on one connection */
#define RUN_THREADS_MAX  256 /* generator threads */
#define RUN_NAME_MAX     256 /* octets of a user name, a recipient or a password */
/* users: what a number of ten digits can say, and memory hold */
#define RUN_USERS_MAX  0x10000000u
#define RUN_THRESHOLDS 16 /* --fail-if */

struct run_config {
    const struct workload *workload;
    bool has_pop3, has_lmtp;
    struct address pop3, lmtp;
    enum run_tls tls, lmtp_tls;
    bool tls_resume;
    const char *users, *recipients, *password; /* each may hold one %u */
    uint32_t first_user, user_count;
    bool random_users; /* any user instead of the next */
    enum run_auth auth;
    unsigned connections, lmtp_connections, threads, pipeline;
    bool closed, poisson;
    double rate;
    struct schedule_shape shape; /* begins with `rate` */
    uint32_t duration_ms, warmup_ms, drain_ms, timeout_ms;
    struct distribution sizes;
    struct corpus *corpus; /* NULL: none */
    uint64_t seed;
    enum run_verify verify;
    uint32_t fetch_max, message_number; /* number 0: each in turn */
    enum loop_kind io;
    uint64_t letters; /* populate: deliveries in all, then it ends; 0: for the whole time */
};

/* Writes `pattern` with `number` in the place of its %u. False: too long for `size`. */
bool run_config_name(const char *pattern, uint32_t number, char *out, size_t size);

#endif
