/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/summary.h"

#include "bench/units.h"

static void write_latency(const char *name, const struct latencies *latencies, FILE *file)
{
    static const double shares[] = {0.5, 0.9, 0.95, 0.99, 0.999};
    char text[24];
    fprintf(file, "  %-16s %9lu", name, (unsigned long)latencies->count);
    for (size_t index = 0; index < sizeof shares / sizeof shares[0]; index++) {
        fprintf(file, " %9s",
                units_time((double)latencies_at(latencies, shares[index]) / 1e3, text));
    }
    fprintf(file, " %9s\n", units_time((double)latencies->max / 1e3, text));
}

static void write_table(const struct trial *trial, FILE *file)
{
    const struct tally *tally = &trial->tally;
    fprintf(file, "  %-16s %9s %9s %9s %9s %9s %9s %9s\n", "", "count", "p50", "p90", "p95", "p99",
            "p99.9", "max");
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        if (tally->latency[kind].count > 0) {
            write_latency(work_kind_info((enum work_kind)kind)->name, &tally->latency[kind], file);
        }
    }
}

static void write_errors(const struct tally *tally, FILE *file)
{
    if (tally_failures(tally) == 0) {
        return;
    }
    fprintf(file, "  errors: %lu (", (unsigned long)tally_failures(tally));
    const char *between = "";
    for (unsigned error = 0; error < BENCH_ERROR_COUNT; error++) {
        if (tally->errors[error] > 0) {
            fprintf(file, "%s%s %lu", between, bench_error_name((enum bench_error)error),
                    (unsigned long)tally->errors[error]);
            between = ", ";
        }
    }
    fprintf(file, ")\n");
    if (tally->first_error[0] != '\0') {
        fprintf(file, "  the first refusal was: %s\n", tally->first_error);
    }
}

static void write_server(const struct trial *trial, FILE *file)
{
    char before[24], after[24];
    const struct trial_server *server = &trial->server;
    double operations = (double)tally_in_time(&trial->tally);
    if (server->rss_max == 0) {
        return;
    }
    fprintf(file, "  server: %.2f us CPU an operation, private memory %s -> %s\n",
            operations > 0 ? server->cpu_s * 1e6 / operations : 0,
            units_octets((double)server->private_before, before),
            units_octets((double)server->private_after, after));
    if (trial->tally.sessions > 0 && operations <= 0) {
        double grown = (double)server->private_after - (double)server->private_before;
        fprintf(file, "  %lu sessions, %.0f octets each\n", (unsigned long)trial->tally.sessions,
                grown / (double)trial->tally.sessions);
    }
}

void summary_write(const struct run_config *config, const struct trial *trial,
                   const struct verdict *verdict, FILE *file)
{
    const struct tally *tally = &trial->tally;
    char in[24], out[24];
    double seconds = trial->seconds > 0 ? trial->seconds : 1;
    double in_time = (double)tally_in_time(tally);
    fprintf(file, "%s: %s loop, %u connections, %u threads, %.1f s: %.1f/s", config->workload->name,
            config->closed ? "closed" : "open", config->connections, config->threads,
            trial->seconds, in_time / seconds);
    if (!config->closed) {
        fprintf(file, " of %.1f/s offered", trial->offered_rate);
    }
    fprintf(file, "\n");
    write_table(trial, file);
    fprintf(file, "  latency from the %s start; received %s/s, sent %s/s; verified %lu messages",
            config->closed ? "actual" : "scheduled",
            units_octets((double)tally->octets_in / seconds, in),
            units_octets((double)tally->octets_out / seconds, out), (unsigned long)tally->verified);
    if (tally->unmarked > 0) {
        fprintf(file, ", %lu not made by restante-bench", (unsigned long)tally->unmarked);
    }
    fprintf(file, "\n");
    write_errors(tally, file);
    write_server(trial, file);
    fprintf(file,
            "  generator: %.2f us CPU an operation, busiest thread %.0f %%, lateness p99 %s\n",
            in_time > 0 ? trial->generator_cpu_s * 1e6 / in_time : 0, 100 * tally->busy,
            units_time((double)latencies_at(&tally->lag, 0.99) / 1e3, in));
    for (unsigned index = 0; index < verdict->bottleneck_count; index++) {
        fprintf(file, "  the generator was the bottleneck: %s\n", verdict->bottlenecks[index]);
    }
    for (unsigned index = 0; index < verdict->reason_count; index++) {
        fprintf(file, "  %s\n", verdict->reasons[index]);
    }
    if (verdict->result != VERDICT_NONE) {
        fprintf(file, "  verdict: %s\n", verdict_name(verdict->result));
    }
    (void)fflush(file); /* a lost line is no reason to stop */
}
