/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report_parts.h"

#include "bench/plot.h"
#include "bench/tally.h"
#include "bench/units.h"
#include "bench/workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MAX 700 /* of one line: windows and the curve have fewer */

const char *report_text(const struct doc *doc, const char *key)
{
    const char *text = doc_text(doc, key);
    return text != NULL ? text : "";
}

/* Verdict */

static void write_reasons(const struct doc *doc, FILE *file)
{
    struct doc reasons, reason;
    if (!doc_member(doc, "reasons", &reasons) || doc_count(&reasons) == 0) {
        return;
    }
    fprintf(file, "<ul>");
    for (size_t index = 0; doc_item(&reasons, index, &reason); index++) {
        fprintf(file, "<li>");
        plot_text(doc_own_text(&reason) != NULL ? doc_own_text(&reason) : "", file);
        fprintf(file, "</li>");
    }
    fprintf(file, "</ul>");
}

void report_verdict(const struct doc *doc, FILE *file)
{
    static const struct {
        const char *result, *text;
    } texts[] = {{"pass", "Passed: every condition was kept."},
                 {"fail", "Failed: not every condition was kept."},
                 {"refused", "No verdict: the load generator was the bottleneck, so that latency "
                             "and rate say more about it than about the server."}};
    struct doc verdict, generator;
    const char *result =
        doc_member(doc, "verdict", &verdict) ? report_text(&verdict, "result") : "";
    for (size_t index = 0; index < sizeof texts / sizeof texts[0]; index++) {
        if (strcmp(result, texts[index].result) == 0) {
            fprintf(file, "<div class=\"verdict %s\"><b>%s</b>", result, texts[index].text);
            write_reasons(&verdict, file);
            fprintf(file, "</div>\n");
        }
    }
    if (doc_member(doc, "generator", &generator) && doc_bool(&generator, "bottleneck")) {
        fprintf(file, "<div class=\"verdict refused\"><b>The generator was the bottleneck.</b> "
                      "Processor time of the server still means what it says; rate and latency "
                      "do not.");
        write_reasons(&generator, file);
        fprintf(file, "</div>\n");
    }
}

/* Plots */

/* One line's points, read from an array of objects. */
struct line {
    double x[POINTS_MAX], y[POINTS_MAX];
    size_t count;
};

static void read_line(const struct doc *array, const char *key_x, const char *key_y, double factor,
                      struct line *out_line)
{
    struct doc item;
    out_line->count = 0;
    for (size_t index = 0; index < POINTS_MAX && doc_item(array, index, &item); index++) {
        out_line->x[out_line->count] = doc_real(&item, key_x, 0);
        out_line->y[out_line->count++] = doc_real(&item, key_y, 0) * factor;
    }
}

static void add_line(struct plot *plot, const char *name, const struct line *line)
{
    plot->series[plot->series_count++] =
        (struct plot_series){.name = name, .x = line->x, .y = line->y, .count = line->count};
}

static bool any_above_zero(const struct line *line)
{
    for (size_t index = 0; index < line->count; index++) {
        if (line->y[index] > 0) {
            return true;
        }
    }
    return false;
}

/* One line for each kind of a mix, or one for all. */
static void plot_curve(const struct doc *run, struct line *lines, FILE *file)
{
    struct doc curve, kinds, kind;
    struct plot plot = {.title = "Latency by percentile", .x = PLOT_X_SHARE, .y = PLOT_Y_TIME};
    for (unsigned index = 0; doc_member(run, "by_kind", &kinds) && index < WORK_KIND_COUNT &&
                             plot.series_count < PLOT_SERIES_MAX;
         index++) {
        const char *name = work_kind_info((enum work_kind)index)->name;
        if (doc_member(&kinds, name, &kind) && doc_member(&kind, "curve", &curve)) {
            read_line(&curve, "share", "us", 1, &lines[plot.series_count]);
            add_line(&plot, name, &lines[plot.series_count]);
        }
    }
    plot_write(&plot, file);
}

static void plot_times(const struct doc *windows, struct line *lines, FILE *file)
{
    static const struct {
        const char *key, *name;
    } shares[] = {{"p50_us", "median"}, {"p95_us", "95 %"}, {"p99_us", "99 %"}};
    struct plot plot = {
        .title = "Latency over time", .x = PLOT_X_SECONDS, .y = PLOT_Y_TIME, .half = true};
    bool any = false;
    for (size_t index = 0; index < 3; index++) {
        read_line(windows, "t_s", shares[index].key, 1, &lines[index]);
        any = any || any_above_zero(&lines[index]);
        add_line(&plot, shares[index].name, &lines[index]);
    }
    if (any) {
        plot_write(&plot, file);
    }
}

static void plot_rate(const struct doc *windows, struct line *lines, FILE *file)
{
    struct plot plot = {
        .title = "Operations a second", .x = PLOT_X_SECONDS, .y = PLOT_Y_COUNT, .half = true};
    read_line(windows, "t_s", "rate", 1, &lines[0]);
    read_line(windows, "t_s", "errors", 1, &lines[1]);
    read_line(windows, "t_s", "backlog", 1, &lines[2]);
    if (!any_above_zero(&lines[0])) {
        return;
    }
    add_line(&plot, "ended well", &lines[0]);
    add_line(&plot, "errors a window", &lines[1]);
    if (any_above_zero(&lines[2])) {
        add_line(&plot, "due, but waiting", &lines[2]);
    }
    plot_write(&plot, file);
}

/* Processor seconds of a window as processors in use. */
static void as_processors(const struct doc *windows, struct line *line)
{
    struct doc item;
    for (size_t index = 0; index < line->count && doc_item(windows, index, &item); index++) {
        double seconds = doc_real(&item, "seconds", 1);
        line->y[index] /= seconds > 0 ? seconds : 1;
    }
}

static void plot_server(const struct doc *windows, struct line *lines, FILE *file)
{
    struct plot processors = {
        .title = "Server: processors in use", .x = PLOT_X_SECONDS, .y = PLOT_Y_COUNT, .half = true};
    struct plot memory = {
        .title = "Server: resident memory", .x = PLOT_X_SECONDS, .y = PLOT_Y_OCTETS, .half = true};
    read_line(windows, "t_s", "server_cpu_s", 1, &lines[0]);
    read_line(windows, "t_s", "server_rss_octets", 1, &lines[1]);
    if (!any_above_zero(&lines[1])) {
        return;
    }
    as_processors(windows, &lines[0]);
    add_line(&processors, "processors", &lines[0]);
    add_line(&memory, "memory", &lines[1]);
    fprintf(file, "<div class=\"pair\">");
    plot_write(&processors, file);
    plot_write(&memory, file);
    fprintf(file, "</div>\n");
}

void report_run_plots(const struct doc *run, FILE *file)
{
    struct doc windows;
    struct line *lines = calloc(PLOT_SERIES_MAX, sizeof *lines);
    if (lines == NULL || !doc_member(run, "windows", &windows)) {
        free(lines);
        return;
    }
    plot_curve(run, lines, file);
    fprintf(file, "<div class=\"pair\">");
    plot_times(&windows, lines, file);
    plot_rate(&windows, lines, file);
    fprintf(file, "</div>\n");
    plot_server(&windows, lines, file);
    free(lines);
}

/* Tables */

static void write_latency_cells(const struct doc *latency, FILE *file)
{
    static const char *const keys[] = {"p50", "p90", "p95", "p99", "p999", "max"};
    char text[24];
    for (size_t index = 0; index < sizeof keys / sizeof keys[0]; index++) {
        fprintf(file, "<td>%s</td>", units_time(doc_real(latency, keys[index], 0), text));
    }
    fprintf(file, "</tr>\n");
}

static void write_latency_head(const char *first, const char *errors, FILE *file)
{
    fprintf(file,
            "<div class=\"scroll\"><table><tr><th>%s</th><th>count</th>%s<th>p50</th><th>p90</th>"
            "<th>p95</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n",
            first, errors);
}

static void write_kinds(const struct doc *run, FILE *file)
{
    struct doc kinds, kind, latency;
    if (!doc_member(run, "by_kind", &kinds)) {
        return;
    }
    write_latency_head("operation", "<th>errors</th>", file);
    for (unsigned index = 0; index < WORK_KIND_COUNT; index++) {
        const char *name = work_kind_info((enum work_kind)index)->name;
        if (doc_member(&kinds, name, &kind) && doc_member(&kind, "latency_us", &latency)) {
            fprintf(file, "<tr><td>%s</td><td>%lu</td><td>%lu</td>", name,
                    (unsigned long)doc_number(&kind, "operations", 0),
                    (unsigned long)doc_number(&kind, "errors", 0));
            write_latency_cells(&latency, file);
        }
    }
    fprintf(file, "</table></div>\n<p class=\"soft\">One operation is, of ");
    const char *between = "";
    for (unsigned index = 0; index < WORK_KIND_COUNT; index++) {
        const struct work_kind_info *info = work_kind_info((enum work_kind)index);
        if (doc_member(&kinds, info->name, &kind)) {
            fprintf(file, "%s<b>%s</b>, %s", between, info->name, info->about);
            between = "; of ";
        }
    }
    fprintf(file, ".</p>\n");
}

static void write_commands(const struct doc *run, FILE *file)
{
    struct doc commands, command, latency;
    if (!doc_member(run, "by_command", &commands)) {
        return;
    }
    fprintf(file, "<details><summary>Command by command, from sending to the reply's end"
                  "</summary>\n");
    write_latency_head("command", "", file);
    for (unsigned index = 0; index < COMMAND_COUNT; index++) {
        const char *name = bench_command_name((enum bench_command)index);
        if (doc_member(&commands, name, &command) && doc_member(&command, "latency_us", &latency)) {
            fprintf(file, "<tr><td>%s</td><td>%lu</td>", name,
                    (unsigned long)doc_number(&latency, "count", 0));
            write_latency_cells(&latency, file);
        }
    }
    fprintf(file, "</table></div></details>\n");
}

static void on_error_pair(void *owner, const char *key, const char *value)
{
    FILE *file = owner;
    fprintf(file, "<tr><td>");
    plot_text(key, file);
    fprintf(file, "</td><td>%s</td></tr>\n", value);
}

static void write_errors(const struct doc *run, FILE *file)
{
    struct doc errors;
    if (doc_number(run, "errors_total", 0) == 0 || !doc_member(run, "errors", &errors)) {
        return;
    }
    fprintf(file, "<h3>Errors</h3><table><tr><th>kind</th><th>count</th></tr>\n");
    doc_each(&errors, on_error_pair, file);
    fprintf(file, "</table>\n");
    if (doc_text(run, "first_error") != NULL) {
        fprintf(file, "<p>The first refusal was <code>");
        plot_text(doc_text(run, "first_error"), file);
        fprintf(file, "</code></p>\n");
    }
}

static void write_generator(const struct doc *run, FILE *file)
{
    char lag[24], each[24];
    struct doc generator, latency;
    if (doc_member(run, "generator", &generator) && doc_member(&generator, "lag_us", &latency)) {
        fprintf(
            file,
            "<p class=\"soft\">The generator itself: busiest thread %.0f %% (running, or waiting "
            "for a processor), %s of processor time an operation, started 99 %% of its "
            "operations within %s of their time.</p>\n",
            doc_real(&generator, "busy_percent", 0),
            units_time(doc_real(&generator, "cpu_us_per_operation", 0), each),
            units_time(doc_real(&latency, "p99", 0), lag));
    }
}

struct metrics_table {
    const struct doc *before;
    FILE *file;
};

static void write_metric(const struct metrics_table *table, const char *name, double after)
{
    double before = doc_real(table->before, name, 0);
    bool bucket = strstr(name, "_bucket{") != NULL; /* thirty rows of a histogram say little */
    if (fabs(after - before) > 0 && !bucket) {
        fprintf(table->file, "<tr><td><code>");
        plot_text(name, table->file);
        fprintf(table->file, "</code></td><td>%.10g</td><td>%.10g</td><td>%+.10g</td></tr>\n",
                before, after, after - before);
    }
}

static void on_metric(void *owner, const char *name, double value)
{
    write_metric(owner, name, value);
}

static void write_metrics(const struct doc *run, FILE *file)
{
    struct doc server, before, after;
    if (!doc_member(run, "server", &server) || !doc_member(&server, "metrics_before", &before) ||
        !doc_member(&server, "metrics_after", &after)) {
        return;
    }
    struct metrics_table table = {.before = &before, .file = file};
    fprintf(file, "<details><summary>What the server's own metrics counted, warm-up included (of "
                  "histograms the sums; their buckets are in the JSON document)</summary><div "
                  "class=\"scroll\"><table><tr><th>series</th><th>before</th><th>after</th>"
                  "<th>difference</th></tr>\n");
    doc_each_number(&after, on_metric, &table);
    fprintf(file, "</table></div></details>\n");
}

void report_tables(const struct doc *run, FILE *file)
{
    write_kinds(run, file);
    write_errors(run, file);
    write_generator(run, file);
    write_commands(run, file);
    write_metrics(run, file);
}

void report_overview(const struct doc *runs, FILE *file)
{
    struct doc run, latency, curve;
    char names[PLOT_SERIES_MAX][32], rate[24];
    struct plot plot = {
        .title = "Latency by percentile, all runs", .x = PLOT_X_SHARE, .y = PLOT_Y_TIME};
    struct line *lines = calloc(PLOT_SERIES_MAX, sizeof *lines);
    if (lines == NULL) {
        return;
    }
    fprintf(file, "<div class=\"scroll\"><table><tr><th>run</th><th>load</th><th>rate</th>"
                  "<th>errors</th><th>p50</th><th>p90</th><th>p95</th><th>p99</th><th>p99.9</th>"
                  "<th>max</th></tr>\n");
    for (size_t index = 0; doc_item(runs, index, &run); index++) {
        if (!doc_member(&run, "latency_us", &latency)) {
            continue;
        }
        fprintf(file, "<tr><td>%zu</td><td>%.0f %%</td><td>%s/s</td><td>%lu</td>", index + 1,
                doc_real(&run, "load_percent", 0), units_count(doc_real(&run, "rate", 0), rate),
                (unsigned long)doc_number(&run, "errors_total", 0));
        write_latency_cells(&latency, file);
        if (index < PLOT_SERIES_MAX && doc_member(&run, "curve", &curve)) {
            (void)snprintf(names[index], sizeof names[0], "run %zu: %.0f %%", index + 1,
                           doc_real(&run, "load_percent", 0));
            read_line(&curve, "share", "us", 1, &lines[index]);
            add_line(&plot, names[index], &lines[index]);
        }
    }
    fprintf(file, "</table></div>\n");
    plot_write(&plot, file);
    free(lines);
}

static void on_setting(void *owner, const char *key, const char *value)
{
    FILE *file = owner;
    fprintf(file, "<tr><td>");
    plot_text(key, file);
    fprintf(file, "</td><td class=\"wrap\">");
    plot_text(value, file);
    fprintf(file, "</td></tr>\n");
}

static void on_real_setting(void *owner, const char *key, double value)
{
    FILE *file = owner;
    fprintf(file, "<tr><td>");
    plot_text(key, file);
    fprintf(file, "</td><td class=\"wrap\">%.10g</td></tr>\n", value);
}

static void on_text_setting(void *owner, const char *key, const char *value)
{
    if (strspn(value, "0123456789") != strlen(value)) {
        on_setting(owner, key, value); /* numbers come with the other numbers */
    }
}

void report_settings(const struct doc *result, FILE *file)
{
    struct doc settings;
    fprintf(file, "<h2>How it was measured</h2><p><code>");
    plot_text(report_text(result, "command"), file);
    fprintf(file, "</code></p>\n<details><summary>All settings</summary><table>\n");
    if (doc_member(result, "settings", &settings)) {
        doc_each(&settings, on_text_setting, file);
        doc_each_number(&settings, on_real_setting, file);
    }
    fprintf(file,
            "</table></details>\n<p class=\"soft\">%s. Percentiles are known to 0.4 %%. What "
            "the figures do not say is in bench/README.md of Restante.</p>\n",
            report_text(result, "program"));
}
