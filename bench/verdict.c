/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/verdict.h"

#include "bench/units.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *verdict_name(enum verdict_result result)
{
    static const char *const names[] = {"none", "pass", "fail", "refused"};
    return names[result];
}

enum verdict_result verdict_worse(enum verdict_result a, enum verdict_result b)
{
    static const int order[] = {
        [VERDICT_NONE] = 0, [VERDICT_PASS] = 1, [VERDICT_REFUSED] = 2, [VERDICT_FAIL] = 3};
    return order[a] >= order[b] ? a : b;
}

/* Conditions */

struct named_share {
    const char *name;
    double share; /* below 0: the mean; above 1: the greatest */
};

static const struct named_share shares[] = {
    {"p50", 0.5},     {"p75", 0.75},      {"p90", 0.9},    {"p95", 0.95}, {"p99", 0.99},
    {"p99.9", 0.999}, {"p99.99", 0.9999}, {"p999", 0.999}, {"max", 2},    {"mean", -1}};

static const struct named_share *find_share(const char *metric)
{
    for (size_t index = 0; index < sizeof shares / sizeof shares[0]; index++) {
        if (strcmp(metric, shares[index].name) == 0) {
            return &shares[index];
        }
    }
    return NULL;
}

static bool read_unit(const char *unit, bool is_time, double *limit)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}};
    if (!is_time) {
        return *unit == '\0' || strcmp(unit, "%") == 0 || strcmp(unit, "/s") == 0;
    }
    for (size_t index = 0; index < sizeof units / sizeof units[0]; index++) {
        if (strcmp(unit, units[index].name) == 0) {
            *limit *= units[index].factor;
            return true;
        }
    }
    return false;
}

static int find_kind(const char *name, size_t length)
{
    for (int kind = 0; kind < WORK_KIND_COUNT; kind++) {
        const char *known = work_kind_info((enum work_kind)kind)->name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) {
            return kind;
        }
    }
    return -1;
}

/* "retr:p99" to its kind and its metric. */
static bool read_metric(const char *text, size_t length, struct verdict_threshold *threshold)
{
    const char *colon = memchr(text, ':', length);
    threshold->kind = -1;
    if (colon != NULL) {
        threshold->kind = find_kind(text, (size_t)(colon - text));
        if (threshold->kind < 0) {
            return false;
        }
        length -= (size_t)(colon - text) + 1;
        text = colon + 1;
    }
    if (length == 0 || length >= sizeof threshold->metric) {
        return false;
    }
    memcpy(threshold->metric, text, length);
    threshold->metric[length] = '\0';
    return true;
}

static bool known_metric(const char *metric, bool *out_time, bool *out_performance)
{
    *out_time = find_share(metric) != NULL || strcmp(metric, "cpu") == 0;
    *out_performance = *out_time || strcmp(metric, "rate") == 0;
    if (*out_performance || strcmp(metric, "errors") == 0 || strcmp(metric, "error_rate") == 0 ||
        strcmp(metric, "unmarked") == 0) {
        return true;
    }
    for (unsigned error = 0; error < BENCH_ERROR_COUNT; error++) {
        if (strncmp(metric, "errors.", 7) == 0 &&
            strcmp(metric + 7, bench_error_name((enum bench_error)error)) == 0) {
            return true;
        }
    }
    return false;
}

enum status verdict_parse(const char *text, struct verdict_threshold *out_threshold)
{
    struct verdict_threshold threshold = {0};
    size_t length = strcspn(text, "<>");
    if (strlen(text) >= sizeof threshold.text || text[length] == '\0' ||
        !read_metric(text, length, &threshold) ||
        !known_metric(threshold.metric, &threshold.is_time, &threshold.performance)) {
        return STATUS_INVALID;
    }
    threshold.below = text[length] == '<';
    threshold.inclusive = text[length + 1] == '=';
    const char *number = text + length + 1 + threshold.inclusive;
    char *end;
    threshold.limit = strtod(number, &end);
    if (end == number || !isfinite(threshold.limit) ||
        !read_unit(end, threshold.is_time, &threshold.limit)) {
        return STATUS_INVALID;
    }
    memcpy(threshold.text, text, strlen(text) + 1);
    *out_threshold = threshold;
    return STATUS_OK;
}

/* Judging */

static void say(struct verdict *verdict, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct verdict *verdict, const char *format, ...)
{
    if (verdict->reason_count < VERDICT_REASONS_MAX) {
        va_list arguments;
        va_start(arguments, format);
        (void)vsnprintf(verdict->reasons[verdict->reason_count++], VERDICT_REASON_ROOM, format,
                        arguments);
        va_end(arguments);
    }
}

/* Latencies of one kind, or of all; to be freed. */
static bool gather(const struct tally *tally, int kind, struct latencies *out_all)
{
    if (latencies_init(out_all, TALLY_PRECISION) != STATUS_OK) {
        return false;
    }
    for (int index = 0; index < WORK_KIND_COUNT; index++) {
        if (kind < 0 || kind == index) {
            latencies_merge(out_all, &tally->latency[index]);
        }
    }
    return true;
}

static double latency_us(const struct tally *tally, int kind, double share)
{
    struct latencies all;
    if (!gather(tally, kind, &all)) {
        return 0;
    }
    double ns = share < 0   ? latencies_mean(&all)
                : share > 1 ? (double)all.max
                            : (double)latencies_at(&all, share);
    latencies_deinit(&all);
    return ns / 1e3;
}

static double errors_of(const struct tally *tally, const char *metric, int kind)
{
    if (metric[0] == '\0') {
        return (double)(kind < 0 ? tally_failures(tally) : tally->failed[kind]);
    }
    for (unsigned error = 0; error < BENCH_ERROR_COUNT; error++) {
        if (strcmp(metric + 1, bench_error_name((enum bench_error)error)) == 0) {
            return (double)tally->errors[error];
        }
    }
    return 0;
}

static double value_of(const struct trial *trial, const struct verdict_threshold *threshold)
{
    const struct tally *tally = &trial->tally;
    const struct named_share *share = find_share(threshold->metric);
    double good = (double)tally_operations(tally), bad = (double)tally_failures(tally);
    if (share != NULL) {
        return latency_us(tally, threshold->kind, share->share);
    }
    if (strncmp(threshold->metric, "errors", 6) == 0) {
        return errors_of(tally, threshold->metric + 6, threshold->kind);
    }
    if (strcmp(threshold->metric, "error_rate") == 0) {
        return good + bad > 0 ? 100 * bad / (good + bad) : 0;
    }
    if (strcmp(threshold->metric, "unmarked") == 0) {
        return (double)tally->unmarked;
    }
    double in_time = (double)tally_in_time(tally);
    if (strcmp(threshold->metric, "cpu") == 0) {
        return in_time > 0 ? trial->server.cpu_s * 1e6 / in_time : 0;
    }
    return trial->seconds > 0 ? in_time / trial->seconds : 0;
}

static bool crossed(const struct verdict_threshold *threshold, double value)
{
    bool equal = threshold->inclusive && !(value < threshold->limit) && !(value > threshold->limit);
    return equal || (threshold->below ? value < threshold->limit : value > threshold->limit);
}

static void blame(struct verdict *verdict, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void blame(struct verdict *verdict, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    verdict->bottleneck = true;
    (void)vsnprintf(verdict->bottlenecks[verdict->bottleneck_count++], VERDICT_REASON_ROOM, format,
                    arguments);
    va_end(arguments);
}

static void look_for_bottleneck(const struct run_config *config, const struct trial *trial,
                                struct verdict *verdict)
{
    const struct tally *tally = &trial->tally;
    if (tally->busy >= VERDICT_BUSY_MAX) {
        blame(verdict, "a generator thread was running, or waiting to run, %.0f %% of the time",
              100 * tally->busy);
    }
    double lag_us = (double)latencies_at(&tally->lag, 0.99) / 1e3;
    double p99_us = latency_us(tally, -1, 0.99);
    if (lag_us > VERDICT_LAG_MIN_US && lag_us > VERDICT_LAG_SHARE * p99_us) {
        blame(verdict,
              "operations were started late: 99 %% within %.1f ms, of a latency of %.1f ms",
              lag_us / 1e3, p99_us / 1e3);
    }
    if (trial->interrupted) {
        blame(verdict, "the run was interrupted");
    }
}

static void judge_service(const struct workload *workload, const struct trial *trial,
                          const char *where, struct verdict *verdict)
{
    for (int kind = 0; kind < WORK_KIND_COUNT; kind++) {
        bool delivery = work_kind_info((enum work_kind)kind)->lmtp;
        double limit_ms = delivery ? workload->qos_delivery_ms : workload->qos_ms;
        if (!(workload->weights[kind] > 0)) {
            continue;
        }
        double us = latency_us(&trial->tally, kind, workload->qos_share);
        bool kept = us <= limit_ms * 1e3;
        say(verdict, "%s%s: %.0f %% of %s within %.3f s, where the profile allows %.0f s",
            kept ? "kept" : "not kept", where, 100 * workload->qos_share,
            work_kind_info((enum work_kind)kind)->name, us / 1e6, limit_ms / 1e3);
        verdict->result = kept ? verdict->result : VERDICT_FAIL;
    }
}

void verdict_judge(const struct run_config *config, const struct trial *trial,
                   const struct verdict_threshold *thresholds, unsigned threshold_count,
                   struct verdict *out_verdict)
{
    struct verdict *verdict = out_verdict;
    bool performance = config->workload->qos_ms > 0;
    char where[40] = "";
    *verdict = (struct verdict){0};
    if (!config->closed) {
        (void)snprintf(where, sizeof where, " at %.0f %% of the rate", trial->load_percent);
    }
    look_for_bottleneck(config, trial, verdict);
    if (threshold_count > 0 || performance) {
        verdict->result = VERDICT_PASS;
    }
    for (unsigned index = 0; index < threshold_count; index++) {
        const struct verdict_threshold *threshold = &thresholds[index];
        performance = performance || threshold->performance;
        double value = value_of(trial, threshold);
        if (crossed(threshold, value) && !(verdict->bottleneck && threshold->performance)) {
            char text[24];
            (void)snprintf(text, sizeof text, "%.6g", value);
            say(verdict, "not kept%s: --fail-if %s; it was %s", where, threshold->text,
                threshold->is_time ? units_time(value, text) : text);
            verdict->result = VERDICT_FAIL;
        }
    }
    if (config->workload->qos_ms > 0 && !verdict->bottleneck) {
        judge_service(config->workload, trial, where, verdict);
    }
    if (verdict->result == VERDICT_PASS && verdict->bottleneck && performance) {
        say(verdict, "the generator was the bottleneck: what it measured is itself");
        verdict->result = VERDICT_REFUSED;
    }
}
