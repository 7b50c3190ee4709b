/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/live.h"

#include "bench/units.h"

#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 20

void live_begin(struct live *live, FILE *file, const char *workload, double load_percent,
                double duration_s)
{
    *live = (struct live){
        .file = file, .workload = workload, .load_percent = load_percent, .duration_s = duration_s};
    if (file == NULL) {
        return;
    }
    live->terminal = isatty(fileno(file));
    if (!live->terminal) {
        fprintf(file, "%s, %.0f %%: %.0f s\n%8s %10s %9s %9s %9s %8s %8s %8s\n", workload,
                load_percent, duration_s, "second", "rate/s", "p50", "p95", "p99", "errors",
                "waiting", "cpu");
        (void)fflush(file); /* a lost line is no reason to stop */
    }
}

void live_phase(struct live *live, const char *text)
{
    if (live->file != NULL && live->terminal) {
        fprintf(live->file, "\r\033[K%s: %s", live->workload, text);
        (void)fflush(live->file); /* likewise */
    }
}

static void write_bar(FILE *file, double share)
{
    static const char full[] = "####################", empty[] = "....................";
    int width = (int)(share * BAR_WIDTH + 0.5);
    width = width < 0 ? 0 : width > BAR_WIDTH ? BAR_WIDTH : width;
    fprintf(file, "[%.*s%.*s]", width, full, BAR_WIDTH - width, empty);
}

static void on_terminal(struct live *live, const struct live_row *row)
{
    char p50[24], p99[24], rate[24];
    fprintf(live->file, "\r\033[K");
    write_bar(live->file, row->at_s / live->duration_s);
    fprintf(live->file, " %3.0f s left  %s/s  p50 %s  p99 %s  %lu errors",
            live->duration_s - row->at_s, units_count(row->rate, rate),
            units_time(row->p50_us, p50), units_time(row->p99_us, p99), (unsigned long)row->errors);
    if (row->backlog > 0) {
        fprintf(live->file, "  %lu waiting", (unsigned long)row->backlog);
    }
    if (row->server_cpu >= 0) {
        fprintf(live->file, "  server %.0f %%", row->server_cpu * 100);
    }
}

static void on_paper(struct live *live, const struct live_row *row)
{
    char p50[24], p95[24], p99[24], cpu[24] = "-";
    if (row->server_cpu >= 0) {
        (void)snprintf(cpu, sizeof cpu, "%.0f %%", row->server_cpu * 100);
    }
    fprintf(live->file, "%8.1f %10.0f %9s %9s %9s %8lu %8lu %8s\n", row->at_s, row->rate,
            units_time(row->p50_us, p50), units_time(row->p95_us, p95),
            units_time(row->p99_us, p99), (unsigned long)row->errors, (unsigned long)row->backlog,
            cpu);
}

void live_window(struct live *live, const struct live_row *row)
{
    if (live->file == NULL) {
        return;
    }
    if (live->terminal) {
        on_terminal(live, row);
    } else {
        on_paper(live, row);
    }
    (void)fflush(live->file); /* a lost line is no reason to stop */
}

void live_end(struct live *live)
{
    if (live->file != NULL && live->terminal) {
        fprintf(live->file, "\r\033[K");
        (void)fflush(live->file); /* likewise */
    }
}
