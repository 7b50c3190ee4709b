/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/result_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static void put_machine(struct doc *doc)
{
    struct doc machine;
    struct utsname system;
    char line[256], kernel[160] = "";
    doc_object(&machine);
    if (uname(&system) == 0) {
        (void)snprintf(kernel, sizeof kernel, "%.60s %.90s", system.sysname, system.release);
    }
    doc_put_text(&machine, "kernel", kernel);
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL && colon[1] != '\0') {
            line[strcspn(line, "\n")] = '\0';
            doc_put_text(&machine, "processor", colon + 2);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    doc_put_number(&machine, "processors", (uint64_t)sysconf(_SC_NPROCESSORS_ONLN));
    doc_put(doc, "machine", &machine);
}

static void put_settings(const struct run_config *config, const struct result_facts *facts,
                         struct doc *doc)
{
    static const char *const tls[] = {"none", "implicit", "stls"};
    static const char *const auth[] = {"user", "plain", "login", "scram-sha-1", "scram-sha-256"};
    static const char *const verify[] = {"none", "sizes", "full"};
    static const char *const io[] = {"auto", "io_uring", "epoll"};
    struct doc settings;
    doc_object(&settings);
    doc_put_text(&settings, "workload", config->workload->name);
    doc_put_text(&settings, "source", config->workload->source);
    doc_put_text(&settings, "loop", config->closed ? "closed" : "open");
    doc_put_real(&settings, "rate", config->closed ? 0 : config->rate);
    doc_put_text(&settings, "arrivals", config->closed ? "closed" : facts->arrivals);
    doc_put_text(&settings, "shape", config->closed ? "closed" : facts->shape);
    doc_put_number(&settings, "connections", config->connections);
    doc_put_number(&settings, "lmtp_connections", config->lmtp_connections);
    doc_put_number(&settings, "threads", config->threads);
    doc_put_number(&settings, "pipeline", config->pipeline);
    doc_put_real(&settings, "duration_s", config->duration_ms / 1e3);
    doc_put_real(&settings, "warmup_s", config->warmup_ms / 1e3);
    doc_put_real(&settings, "timeout_s", config->timeout_ms / 1e3);
    doc_put_text(&settings, "target", facts->target);
    doc_put_text(&settings, "lmtp", facts->lmtp);
    doc_put_text(&settings, "tls", tls[config->tls]);
    doc_put_text(&settings, "lmtp_tls", tls[config->lmtp_tls]);
    doc_put_bool(&settings, "tls_resume", config->tls_resume);
    doc_put_text(&settings, "auth", auth[config->auth]);
    doc_put_text(&settings, "sizes", facts->sizes);
    doc_put_number(&settings, "seed", config->seed);
    doc_put_text(&settings, "verify", verify[config->verify]);
    doc_put_text(&settings, "users", config->users);
    doc_put_number(&settings, "first_user", config->first_user);
    doc_put_number(&settings, "user_count", config->user_count);
    doc_put_text(&settings, "io_backend", io[config->io]);
    doc_put(doc, "settings", &settings);
}

void result_json_begin(const struct run_config *config, const struct result_facts *facts,
                       struct doc *out_doc)
{
    char started[32];
    time_t now = time(NULL);
    struct tm utc;
    (void)strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    doc_object(out_doc);
    doc_put_text(out_doc, "schema", RESULT_SCHEMA);
    doc_put_text(out_doc, "program", "restante-bench " RESTANTE_VERSION);
    doc_put_text(out_doc, "command", facts->command);
    doc_put_text(out_doc, "started", started);
    put_machine(out_doc);
    put_settings(config, facts, out_doc);
}

static void put_latency(struct doc *doc, const char *key, const struct latencies *latencies)
{
    static const struct {
        const char *name;
        double share;
    } shares[] = {{"p50", 0.5},  {"p75", 0.75},   {"p90", 0.9},     {"p95", 0.95},
                  {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};
    struct doc object;
    doc_object(&object);
    doc_put_number(&object, "count", latencies->count);
    doc_put_real(&object, "min", latencies->count > 0 ? (double)latencies->min / 1e3 : 0);
    doc_put_real(&object, "mean", latencies_mean(latencies) / 1e3);
    doc_put_real(&object, "max", (double)latencies->max / 1e3);
    for (size_t index = 0; index < sizeof shares / sizeof shares[0]; index++) {
        doc_put_real(&object, shares[index].name,
                     (double)latencies_at(latencies, shares[index].share) / 1e3);
    }
    doc_put(doc, key, &object);
}

/* The distribution for plots: [share, us] at steps that double what is left above. */
static void put_curve(struct doc *doc, const struct latencies *latencies)
{
    struct doc curve;
    doc_array(&curve);
    double above = 1;
    for (unsigned step = 0; step < 80 && latencies->count > 0; step++) {
        struct doc point;
        doc_object(&point);
        doc_put_real(&point, "share", 1 - above);
        doc_put_real(&point, "us", (double)latencies_at(latencies, 1 - above) / 1e3);
        doc_append(&curve, &point);
        if (above * (double)latencies->count < 1) {
            break;
        }
        above *= 0.8;
    }
    doc_put(doc, "curve", &curve);
}

static void put_all_latency(struct doc *run, const struct tally *tally)
{
    struct latencies all;
    if (latencies_init(&all, TALLY_PRECISION) != STATUS_OK) {
        run->failed = true;
        return;
    }
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        latencies_merge(&all, &tally->latency[kind]);
    }
    put_latency(run, "latency_us", &all);
    put_curve(run, &all);
    latencies_deinit(&all);
}

static void put_kinds(struct doc *run, const struct tally *tally)
{
    struct doc kinds;
    doc_object(&kinds);
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        struct doc object;
        if (tally->operations[kind] + tally->failed[kind] == 0) {
            continue;
        }
        doc_object(&object);
        doc_put_number(&object, "operations", tally->operations[kind]);
        doc_put_number(&object, "errors", tally->failed[kind]);
        put_latency(&object, "latency_us", &tally->latency[kind]);
        put_curve(&object, &tally->latency[kind]);
        doc_put(&kinds, work_kind_info((enum work_kind)kind)->name, &object);
    }
    doc_put(run, "by_kind", &kinds);
}

static void put_commands(struct doc *run, const struct tally *tally)
{
    struct doc commands;
    doc_object(&commands);
    for (unsigned command = 0; command < COMMAND_COUNT; command++) {
        if (tally->command[command].count > 0) {
            struct doc object;
            doc_object(&object);
            put_latency(&object, "latency_us", &tally->command[command]);
            doc_put(&commands, bench_command_name((enum bench_command)command), &object);
        }
    }
    doc_put(run, "by_command", &commands);
}

static void put_errors(struct doc *run, const struct tally *tally)
{
    struct doc errors;
    doc_object(&errors);
    for (unsigned error = 0; error < BENCH_ERROR_COUNT; error++) {
        if (tally->errors[error] > 0) {
            doc_put_number(&errors, bench_error_name((enum bench_error)error),
                           tally->errors[error]);
        }
    }
    doc_put_number(run, "errors_total", tally_failures(tally));
    doc_put(run, "errors", &errors);
    doc_put_text(run, "first_error", tally->first_error[0] != '\0' ? tally->first_error : NULL);
}

static void put_windows(struct doc *run, const struct trial *trial)
{
    struct doc windows;
    doc_array(&windows);
    for (unsigned index = 0; index < trial->window_count; index++) {
        const struct tally_window *window = &trial->tally.windows[index];
        double end_s = (index + 1) * trial->window_s;
        double seconds = trial->window_s - (end_s > trial->seconds ? end_s - trial->seconds : 0);
        struct doc object;
        doc_object(&object);
        doc_put_real(&object, "t_s", end_s < trial->seconds ? end_s : trial->seconds);
        doc_put_real(&object, "seconds", seconds);
        doc_put_number(&object, "operations", window->operations);
        doc_put_number(&object, "errors", window->errors);
        doc_put_real(&object, "rate", seconds > 0 ? (double)window->operations / seconds : 0);
        doc_put_real(&object, "p50_us", (double)latencies_at(&window->latency, 0.5) / 1e3);
        doc_put_real(&object, "p95_us", (double)latencies_at(&window->latency, 0.95) / 1e3);
        doc_put_real(&object, "p99_us", (double)latencies_at(&window->latency, 0.99) / 1e3);
        doc_put_real(&object, "max_us", (double)window->latency.max / 1e3);
        doc_put_number(&object, "octets_in", window->octets_in);
        doc_put_number(&object, "octets_out", window->octets_out);
        doc_put_number(&object, "backlog", window->backlog);
        doc_put_number(&object, "sessions", window->sessions);
        doc_put_real(&object, "server_cpu_s", trial->samples[index].cpu_s);
        doc_put_number(&object, "server_rss_octets", trial->samples[index].rss_octets);
        doc_append(&windows, &object);
    }
    doc_put(run, "windows", &windows);
}

static double per_operation_us(double seconds, const struct tally *tally)
{
    uint64_t operations = tally_in_time(tally);
    return operations > 0 ? seconds * 1e6 / (double)operations : 0;
}

static void put_generator(struct doc *run, const struct trial *trial, const struct verdict *verdict)
{
    const struct tally *tally = &trial->tally;
    struct doc object, reasons;
    doc_object(&object);
    doc_put_real(&object, "cpu_us_per_operation", per_operation_us(trial->generator_cpu_s, tally));
    doc_put_real(&object, "busy_percent", 100 * tally->busy);
    put_latency(&object, "lag_us", &tally->lag);
    doc_put_number(&object, "backlog_max", tally->backlog_max);
    doc_put_bool(&object, "bottleneck", verdict->bottleneck);
    doc_array(&reasons);
    for (unsigned index = 0; index < verdict->bottleneck_count; index++) {
        doc_append_text(&reasons, verdict->bottlenecks[index]);
    }
    doc_put(&object, "reasons", &reasons);
    doc_put(run, "generator", &object);
}

static void put_copy(struct doc *object, const char *key, const struct doc *metrics)
{
    struct doc copy;
    char *text = metrics->value == NULL ? NULL : doc_write(metrics, false);
    if (text != NULL && doc_parse(text, strlen(text), &copy, NULL) == STATUS_OK) {
        doc_put(object, key, &copy);
    }
    free(text);
}

static void put_server(struct doc *run, const struct trial *trial)
{
    const struct trial_server *server = &trial->server;
    struct doc object;
    doc_object(&object);
    if (server->rss_max > 0) {
        doc_put_real(&object, "cpu_s", server->cpu_s);
        doc_put_real(&object, "cpu_us_per_operation",
                     per_operation_us(server->cpu_s, &trial->tally));
        doc_put_number(&object, "private_octets_before", server->private_before);
        doc_put_number(&object, "private_octets_after", server->private_after);
        doc_put_number(&object, "rss_octets_max", server->rss_max);
    }
    put_copy(&object, "metrics_before", &server->metrics_before);
    put_copy(&object, "metrics_after", &server->metrics_after);
    doc_put(run, "server", &object);
}

static void put_verdict(struct doc *run, const struct verdict *verdict)
{
    struct doc object, reasons;
    doc_object(&object);
    doc_array(&reasons);
    doc_put_text(&object, "result", verdict_name(verdict->result));
    for (unsigned index = 0; index < verdict->reason_count; index++) {
        doc_append_text(&reasons, verdict->reasons[index]);
    }
    doc_put(&object, "reasons", &reasons);
    doc_put(run, "verdict", &object);
}

void result_json_run(struct doc *runs, const struct trial *trial, const struct verdict *verdict)
{
    const struct tally *tally = &trial->tally;
    struct doc run;
    doc_object(&run);
    doc_put_real(&run, "load_percent", trial->load_percent);
    doc_put_real(&run, "offered_rate", trial->offered_rate);
    doc_put_real(&run, "seconds", trial->seconds);
    doc_put_number(&run, "operations", tally_operations(tally));
    doc_put_real(&run, "rate",
                 trial->seconds > 0 ? (double)tally_in_time(tally) / trial->seconds : 0);
    put_errors(&run, tally);
    doc_put_number(&run, "octets_in", tally->octets_in);
    doc_put_number(&run, "octets_out", tally->octets_out);
    doc_put_number(&run, "verified", tally->verified);
    doc_put_number(&run, "unmarked", tally->unmarked);
    doc_put_number(&run, "sessions", tally->sessions);
    doc_put_number(&run, "handshakes_full", tally->handshakes_full);
    doc_put_number(&run, "handshakes_resumed", tally->handshakes_resumed);
    doc_put_bool(&run, "interrupted", trial->interrupted);
    put_all_latency(&run, tally);
    put_kinds(&run, tally);
    put_commands(&run, tally);
    put_windows(&run, trial);
    put_generator(&run, trial, verdict);
    put_server(&run, trial);
    put_verdict(&run, verdict);
    doc_append(runs, &run);
}

void result_json_end(struct doc *doc, struct doc *runs, const struct verdict *verdict)
{
    doc_put(doc, "runs", runs);
    put_verdict(doc, verdict);
}
