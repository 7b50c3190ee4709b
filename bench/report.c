/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include "bench/plot.h"
#include "bench/report_parts.h"
#include "bench/units.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char style[] =
    ":root{--ink:#1b2733;--soft:#5b6b7a;--line:#d9e0e7;--paper:#fff;--wash:#f5f7fa;--good:#1a7f4b;"
    "--bad:#b3261e;--warn:#9a5b00;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;"
    "--c4:#e69f00;--c5:#56b4e9}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa9b8;--line:#33404d;"
    "--paper:#161c23;--wash:#1e262f;--good:#5fd39a;--bad:#ff8a80;--warn:#ffc266;--c0:#4db1ea;"
    "--c1:#ff9148;--c2:#36cfa2}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:1040px;padding:28px 24px 60px;"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;"
    "color:var(--ink);background:var(--paper)}\n"
    "h1{font-size:26px;margin:0 0 2px}h2{font-size:18px;margin:34px 0 10px;padding-top:14px;"
    "border-top:1px solid var(--line)}p{margin:6px 0}.soft{color:var(--soft)}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:10px;"
    "margin:18px 0}.tile{background:var(--wash);border-radius:8px;padding:12px 14px}"
    ".tile b{display:block;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}"
    ".tile span{color:var(--soft);font-size:13px}\n"
    ".verdict{border-left:5px solid var(--line);background:var(--wash);border-radius:4px;"
    "padding:10px 14px;margin:14px 0}.verdict ul{margin:4px 0;padding-left:20px}"
    ".pass{border-color:var(--good)}.fail{border-color:var(--bad)}.refused{border-color:var(--warn)"
    "}\n"
    "figure{margin:14px 0 22px}figcaption{font-weight:600;margin-bottom:4px}"
    "svg{width:100%;height:auto;display:block}.grid{stroke:var(--line);stroke-width:1}"
    ".label{font-size:11.5px;fill:var(--soft)}.line{fill:none;stroke-width:1.8;"
    "stroke-linejoin:round}.key{font-weight:400;white-space:nowrap;color:var(--soft);margin-left:"
    "14px;font-size:13px}"
    ".key i{display:inline-block;width:16px;height:3px;margin-right:5px;vertical-align:middle;"
    "background:currentColor}\n"
    ".line-0{stroke:var(--c0)}.line-1{stroke:var(--c1)}.line-2{stroke:var(--c2)}"
    ".line-3{stroke:var(--c3)}.line-4{stroke:var(--c4)}.line-5{stroke:var(--c5)}"
    "i.line-0{color:var(--c0)}i.line-1{color:var(--c1)}i.line-2{color:var(--c2)}"
    "i.line-3{color:var(--c3)}i.line-4{color:var(--c4)}i.line-5{color:var(--c5)}\n"
    ".pair{display:grid;grid-template-columns:1fr 1fr;gap:0 26px}"
    "@media(max-width:820px){.pair{grid-template-columns:1fr}}\n"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:14px}"
    "th,td{padding:5px 9px;text-align:right;border-bottom:1px solid var(--line);"
    "font-variant-numeric:tabular-nums;white-space:nowrap}th{color:var(--soft);font-weight:500}"
    "th:first-child,td:first-child{text-align:left}details summary{cursor:pointer;margin:8px 0}"
    "code{font-size:13px;overflow-wrap:anywhere}td.wrap{white-space:normal;text-align:left}\n";

/* How much of what: the settings a reader needs to know what the figures are of. */
static void write_extent(const struct doc *settings, FILE *file)
{
    unsigned long users = (unsigned long)doc_number(settings, "user_count", 0);
    unsigned long connections = (unsigned long)doc_number(settings, "connections", 0);
    unsigned long lmtp = (unsigned long)doc_number(settings, "lmtp_connections", 0);
    unsigned long pipeline = (unsigned long)doc_number(settings, "pipeline", 1);
    fprintf(file, "<p>%lu users; at most %lu connections at once", users, connections);
    if (lmtp > 0 && lmtp < connections) {
        fprintf(file, ", %lu of them for deliveries", lmtp);
    }
    fprintf(file, "; %s; each run measured for %.6g s after %.6g s of warm-up.</p>\n",
            pipeline > 1 ? "commands pipelined" : "one command at a time",
            doc_real(settings, "duration_s", 0), doc_real(settings, "warmup_s", 0));
}

static void write_title(const struct doc *result, FILE *file)
{
    struct doc settings, machine;
    bool both =
        doc_member(result, "settings", &settings) && doc_member(result, "machine", &machine);
    if (!both) {
        return;
    }
    fprintf(file, "<h1>");
    plot_text(report_text(&settings, "workload"), file);
    fprintf(file, "</h1>\n<p class=\"soft\">");
    plot_text(report_text(&settings, "target"), file);
    plot_text(doc_text(&settings, "lmtp") != NULL ? "  lmtp://" : "", file);
    plot_text(report_text(&settings, "lmtp"), file);
    fprintf(file, " &middot; ");
    plot_text(report_text(result, "started"), file);
    fprintf(file, " &middot; ");
    plot_text(report_text(&machine, "processor"), file);
    fprintf(file, ", %lu processors, ", (unsigned long)doc_number(&machine, "processors", 0));
    plot_text(report_text(&machine, "kernel"), file);
    fprintf(file, "</p>\n");
    bool open_loop = strcmp(report_text(&settings, "loop"), "open") == 0;
    if (open_loop) {
        fprintf(file,
                "<p>Open loop: %s arrivals, %s, on a schedule that does not wait for the server. "
                "Latency is counted from the time an operation was <em>due</em>, so that waiting "
                "because of the server counts.</p>\n",
                report_text(&settings, "arrivals"), report_text(&settings, "shape"));
    } else {
        fprintf(file,
                "<p>Closed loop: %lu clients, each of which begins again when it has ended. It "
                "shows what the server can do for so many; its latencies flatter any server, "
                "because a slow one is asked less.</p>\n",
                (unsigned long)doc_number(&settings, "connections", 0));
    }
    write_extent(&settings, file);
}

static void write_tile(const char *value, const char *name, FILE *file)
{
    fprintf(file, "<div class=\"tile\"><b>%s</b><span>%s</span></div>\n", value, name);
}

static void write_tiles(const struct doc *run, FILE *file)
{
    char text[24], name[64];
    struct doc latency, server;
    fprintf(file, "<div class=\"tiles\">\n");
    double offered = doc_real(run, "offered_rate", 0);
    (void)snprintf(name, sizeof name, offered > 0 ? "operations/s of %.6g offered" : "operations/s",
                   offered);
    write_tile(units_count(doc_real(run, "rate", 0), text), name, file);
    if (doc_member(run, "latency_us", &latency) && doc_number(&latency, "count", 0) > 0) {
        write_tile(units_time(doc_real(&latency, "p50", 0), text), "latency, median", file);
        write_tile(units_time(doc_real(&latency, "p99", 0), text), "latency, 99 % within", file);
        write_tile(units_time(doc_real(&latency, "p999", 0), text), "latency, 99.9 % within", file);
    }
    write_tile(units_count(doc_real(run, "errors_total", 0), text), "errors", file);
    if (doc_number(run, "verified", 0) > 0) {
        write_tile(units_count(doc_real(run, "verified", 0), text), "messages verified", file);
    }
    if (doc_real(run, "rate", 0) <= 0 && doc_number(run, "sessions", 0) > 0) {
        write_tile(units_count(doc_real(run, "sessions", 0), text), "sessions open", file);
    }
    if (doc_member(run, "server", &server) && doc_number(&server, "rss_octets_max", 0) > 0) {
        double each = doc_real(&server, "cpu_us_per_operation", 0);
        write_tile(units_time(each, text), "server CPU an operation", file);
        write_tile(units_octets(doc_real(&server, "rss_octets_max", 0), text),
                   "server memory at most", file);
    }
    fprintf(file, "</div>\n");
}

static void write_run(const struct doc *run, FILE *file)
{
    report_verdict(run, file);
    write_tiles(run, file);
    report_run_plots(run, file);
    report_tables(run, file);
}

static void write_heading(const struct doc *run, size_t index, FILE *file)
{
    fprintf(file, "<h2>Run %zu: %.0f %% of the rate</h2>\n", index + 1,
            doc_real(run, "load_percent", 100));
}

void report_write(const struct doc *result, FILE *file)
{
    struct doc runs, run, settings;
    const char *workload =
        doc_member(result, "settings", &settings) ? report_text(&settings, "workload") : "";
    fprintf(file, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                  "<meta name=\"viewport\" content=\"width=device-width\"><title>");
    plot_text(workload, file);
    fprintf(file, " - restante-bench</title>\n<style>%s</style></head><body>\n", style);
    write_title(result, file);
    size_t count = doc_member(result, "runs", &runs) ? doc_count(&runs) : 0;
    if (count > 1) {
        report_verdict(result, file);
        report_overview(&runs, file);
    }
    for (size_t index = 0; index < count && doc_item(&runs, index, &run); index++) {
        if (count > 1) {
            write_heading(&run, index, file);
        }
        write_run(&run, file);
    }
    report_settings(result, file);
    fprintf(file, "</body></html>\n");
}
