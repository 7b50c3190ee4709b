/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/report.h"

#include "bench/result_json.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A result as a run makes it, of `runs` runs. */
static void make(unsigned runs, struct doc *out_doc)
{
    struct run_config config = {.workload = workload_find("login"),
                                .users = "demo%u",
                                .connections = 3,
                                .threads = 1,
                                .rate = 10};
    const struct result_facts facts = {.command = "restante-bench run <&>",
                                       .target = "pop3://127.0.0.1:110",
                                       .arrivals = "constant",
                                       .shape = "flat"};
    struct verdict verdict = {.result = VERDICT_FAIL, .reason_count = 1};
    struct trial trial = {
        .seconds = 4, .window_s = 1, .window_count = 4, .offered_rate = 10, .load_percent = 80};
    struct trial_sample samples[4] = {{0.5, 1000}, {0.5, 2000}, {0.5, 3000}, {0.5, 4000}};
    struct doc list;
    cr_assert_eq(tally_init(&trial.tally, 4), STATUS_OK);
    trial.samples = samples;
    trial.server.rss_max = 4000;
    doc_object(&trial.server.metrics_before);
    doc_object(&trial.server.metrics_after);
    doc_put_real(&trial.server.metrics_after, "restante_logins_total{kind=\"<x>\"}", 12);
    doc_put_real(&trial.server.metrics_after, "restante_x_bucket{le=\"1\"}", 12);
    tally_set_time(&trial.tally, 1000, 1000000000);
    for (int64_t index = 1; index < 400; index++) {
        tally_operation(&trial.tally, WORK_LOGIN, 1000, 1000 + index * 9000000);
    }
    tally_failure(&trial.tally, WORK_LOGIN, BENCH_ERROR_UIDL, 1000, 2000);
    strcpy(verdict.reasons[0], "p99>5ms: it was <b>");
    result_json_begin(&config, &facts, out_doc);
    doc_array(&list);
    for (unsigned index = 0; index < runs; index++) {
        result_json_run(&list, &trial, &verdict);
    }
    result_json_end(out_doc, &list, &verdict);
    tally_deinit(&trial.tally);
    doc_free(&trial.server.metrics_before);
    doc_free(&trial.server.metrics_after);
}

/* Not inlined: the compiler would take the stream's text for this function's. */
__attribute__((noinline)) static char *page_of(const struct doc *doc)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    report_write(doc, file);
    fclose(file);
    return text;
}

static unsigned occurrences(const char *text, const char *word)
{
    unsigned count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        count++;
    }
    return count;
}

Test(report, holds_the_figures_the_plots_and_nothing_from_elsewhere)
{
    struct doc doc;
    make(1, &doc);
    char *page = page_of(&doc);
    cr_assert_not_null(strstr(page, "<h1>login</h1>"));
    cr_assert_eq(occurrences(page, "<svg"), 5);
    cr_assert_eq(occurrences(page, "<svg"), occurrences(page, "</svg>"));
    cr_assert_eq(occurrences(page, "<div"), occurrences(page, "</div>"));
    cr_assert_eq(occurrences(page, "<table"), occurrences(page, "</table>"));
    cr_assert_null(strstr(page, "src="));
    cr_assert_null(strstr(page, "href="));
    cr_assert_null(strstr(page, "nan"));
    cr_assert_null(strstr(page, "inf,"));
    free(page);
    doc_free(&doc);
}

Test(report, draws_no_line_outside_of_its_plot)
{
    struct doc doc;
    unsigned points = 0;
    make(1, &doc);
    char *page = page_of(&doc);
    double width = 0;
    for (const char *at = page; *at != '\0'; at++) {
        double x, y;
        if (strncmp(at, "viewBox=\"0 0 ", 13) == 0) {
            width = strtod(at + 13, NULL);
        }
        if (strncmp(at, "points=\"", 8) != 0) {
            continue;
        }
        for (at += 8; sscanf(at, "%lf,%lf", &x, &y) == 2; at = strchr(at, ' ') + 1) {
            cr_assert(x >= 60 && x <= width, "x %f", x);
            cr_assert(y >= 0 && y <= 240, "y %f", y);
            points++;
        }
    }
    cr_assert_gt(points, 20);
    free(page);
    doc_free(&doc);
}

Test(report, lets_no_text_be_markup)
{
    struct doc doc;
    make(1, &doc);
    char *page = page_of(&doc);
    cr_assert_not_null(strstr(page, "restante-bench run &lt;&amp;>"));
    cr_assert_not_null(strstr(page, "it was &lt;b>"));
    cr_assert_not_null(strstr(page, "kind=&quot;&lt;x>&quot;"));
    free(page);
    doc_free(&doc);
}

Test(report, tells_a_stranger_what_was_done_and_spares_them_the_buckets)
{
    struct doc doc;
    make(1, &doc);
    char *page = page_of(&doc);
    cr_assert_not_null(strstr(page, "<b>login</b>, a session: connect, log in, STAT, QUIT.</p>"));
    cr_assert_not_null(strstr(page, "connections at once"));
    cr_assert_null(strstr(page, "_bucket{"));
    free(page);
    doc_free(&doc);
}

Test(report, of_several_runs_begins_with_all_of_them)
{
    struct doc doc;
    make(3, &doc);
    char *page = page_of(&doc);
    cr_assert_not_null(strstr(page, "Latency by percentile, all runs"));
    cr_assert_not_null(strstr(page, "Run 3: 80 %"));
    free(page);
    doc_free(&doc);
}

Test(report, of_a_document_that_says_little_is_a_page_all_the_same)
{
    struct doc doc;
    cr_assert_eq(doc_parse("{\"runs\":[{}]}", 13, &doc, NULL), STATUS_OK);
    char *page = page_of(&doc);
    cr_assert_not_null(strstr(page, "</html>"));
    free(page);
    doc_free(&doc);
}
