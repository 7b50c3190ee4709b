/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restante-bench: a load generator for POP3 and LMTP servers, the floor to compare them with, and
 * what becomes of the figures. What it measures and how to read it stands in bench/README.md.
 */
#include "bench/compare.h"
#include "bench/populate_main.h"
#include "bench/report.h"
#include "bench/run_options.h"
#include "bench/summary.h"

#include "bench/letter.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define EXIT_REFUSED 3

static void on_signal(int number)
{
    trial_interrupted = 1;
}

/* As many descriptors as are allowed: sessions are descriptors. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* else connections will tell */
    }
}

static FILE *open_output(const char *path, struct error *out_error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    if (file == NULL) {
        (void)error_set(out_error, status_from_errno(errno), errno, path, "cannot write %s", path);
    }
    return file;
}

static enum status close_output(FILE *file, const char *path, struct error *out_error)
{
    bool failed = ferror(file) != 0 || fflush(file) != 0;
    if (file != stdout && fclose(file) != 0) {
        failed = true;
    }
    return failed ? error_set(out_error, STATUS_IO, errno, path, "cannot write %s", path)
                  : STATUS_OK;
}

static enum status write_text(const char *path, const char *text, struct error *out_error)
{
    FILE *file = open_output(path, out_error);
    if (file == NULL) {
        return STATUS_IO;
    }
    (void)fputs(text, file); /* close_output tells */
    (void)fputc('\n', file); /* likewise */
    return close_output(file, path, out_error);
}

static enum status write_json(const struct doc *doc, const char *path, struct error *out_error)
{
    char *text = doc_write(doc, true);
    if (text == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for the result");
    }
    enum status status = write_text(path, text, out_error);
    free(text);
    return status;
}

static enum status write_html(const struct doc *doc, const char *path, struct error *out_error)
{
    FILE *file = open_output(path, out_error);
    if (file == NULL) {
        return STATUS_IO;
    }
    report_write(doc, file);
    return close_output(file, path, out_error);
}

static enum status write_hgrm(const struct latencies *all, const char *path,
                              struct error *out_error)
{
    FILE *file = open_output(path, out_error);
    if (file == NULL) {
        return STATUS_IO;
    }
    latencies_write_hgrm(all, file, 1e6);
    return close_output(file, path, out_error);
}

static enum status write_all(const struct bench_options *options, const struct doc *doc,
                             const struct latencies *all, struct error *out_error)
{
    enum status status = STATUS_OK;
    if (options->json != NULL) {
        status = write_json(doc, options->json, out_error);
    }
    if (status == STATUS_OK && options->html != NULL) {
        status = write_html(doc, options->html, out_error);
    }
    if (status == STATUS_OK && options->hgrm != NULL) {
        status = write_hgrm(all, options->hgrm, out_error);
    }
    return status;
}

/* Where people read: not among a document on standard output. */
static FILE *talk(const struct bench_options *options)
{
    const char *const paths[] = {options->json, options->html, options->hgrm};
    for (size_t index = 0; index < sizeof paths / sizeof paths[0]; index++) {
        if (paths[index] != NULL && strcmp(paths[index], "-") == 0) {
            return stderr;
        }
    }
    return stdout;
}

static enum status run_one(const struct bench_options *options, unsigned load, struct doc *runs,
                           struct latencies *all, struct verdict *whole, struct error *out_error)
{
    struct trial trial;
    struct verdict verdict;
    enum status status = trial_run(
        &options->config, &options->watch, load,
        options->quiet || options->config.letters > 0 ? NULL : talk(options), &trial, out_error);
    if (status != STATUS_OK) {
        trial_deinit(&trial);
        return status;
    }
    verdict_judge(&options->config, &trial, options->thresholds, options->threshold_count,
                  &verdict);
    result_json_run(runs, &trial, &verdict);
    for (unsigned kind = 0; kind < WORK_KIND_COUNT; kind++) {
        latencies_merge(all, &trial.tally.latency[kind]);
    }
    whole->result = verdict_worse(whole->result, verdict.result);
    for (unsigned index = 0; index < verdict.reason_count; index++) {
        if (whole->reason_count < VERDICT_REASONS_MAX) {
            memcpy(whole->reasons[whole->reason_count++], verdict.reasons[index],
                   VERDICT_REASON_ROOM);
        }
    }
    summary_write(&options->config, &trial, &verdict, talk(options));
    bool nothing = tally_in_time(&trial.tally) == 0 && trial.tally.sessions == 0;
    if (nothing && tally_failures(&trial.tally) > 0) {
        status = error_set(out_error, STATUS_RESET, 0, NULL, "not one operation ended well%s%s",
                           trial.tally.first_error[0] == '\0' ? "" : ": ", trial.tally.first_error);
    }
    if (status == STATUS_OK && options->config.letters > 0 && tally_failures(&trial.tally) > 0) {
        status = error_set(out_error, STATUS_RESET, 0, NULL, "%lu deliveries failed",
                           (unsigned long)tally_failures(&trial.tally));
    }
    trial_deinit(&trial);
    return status;
}

static int exit_code(enum verdict_result result)
{
    return result == VERDICT_FAIL ? 1 : result == VERDICT_REFUSED ? EXIT_REFUSED : 0;
}

static enum status run_all(struct bench_options *options, int *out_code, struct error *out_error)
{
    struct doc doc, runs;
    struct latencies all;
    struct verdict whole = {0};
    enum status status = latencies_init(&all, TALLY_PRECISION);
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, NULL, "no memory");
    }
    result_json_begin(&options->config, &options->facts, &doc);
    doc_array(&runs);
    unsigned count = options->load_count * options->repeat;
    for (unsigned index = 0; index < count && status == STATUS_OK && !trial_interrupted; index++) {
        unsigned load = options->loads[index % options->load_count];
        status = run_one(options, load, &runs, &all, &whole, out_error);
    }
    result_json_end(&doc, &runs, &whole);
    struct error written = {0};
    enum status write_status = write_all(options, &doc, &all, &written);
    if (status == STATUS_OK && write_status != STATUS_OK) {
        status = write_status;
        *out_error = written;
    }
    *out_code = exit_code(whole.result);
    doc_free(&doc);
    latencies_deinit(&all);
    return status;
}

static enum status load(struct bench_options *options, int *out_code, struct error *out_error)
{
    const struct sigaction stop = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    (void)sigaction(SIGINT, &stop, NULL); /* cannot fail with these numbers */
    (void)sigaction(SIGTERM, &stop, NULL);
    raise_limits();
    letter_text_make();
    enum status status = STATUS_OK;
    if (options->corpus != NULL) {
        status = corpus_open(options->corpus, &options->config.corpus, out_error);
    }
    if (status == STATUS_OK) {
        status = run_all(options, out_code, out_error);
    }
    corpus_close(&options->config.corpus);
    return status;
}

static enum status read_result(const char *path, struct doc *out_doc, struct error *out_error)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = fopen(path, "re");
    FILE *memory = file == NULL ? NULL : open_memstream(&text, &length);
    char piece[4096];
    size_t got = 0;
    while (memory != NULL && (got = fread(piece, 1, sizeof piece, file)) > 0) {
        (void)fwrite(piece, 1, got, memory); /* fclose tells */
    }
    enum status status = memory == NULL || fclose(memory) != 0 ? STATUS_IO : STATUS_OK;
    if (file != NULL) {
        fclose(file);
    }
    if (status != STATUS_OK) {
        free(text);
        return error_set(out_error, status, errno, path, "cannot read %s", path);
    }
    status = doc_parse(text, length, out_doc, out_error);
    free(text);
    if (status == STATUS_OK && (doc_text(out_doc, "schema") == NULL ||
                                strcmp(doc_text(out_doc, "schema"), RESULT_SCHEMA) != 0)) {
        doc_free(out_doc);
        status = error_set(out_error, STATUS_UNSUPPORTED, 0, path, "%s is no result of version %s",
                           path, RESULT_SCHEMA);
    }
    return status;
}

static enum status compare(const struct bench_options *options, int *out_code,
                           struct error *out_error)
{
    struct doc a = {0}, b = {0}, result = {0};
    enum status status = read_result(options->files[0], &a, out_error);
    if (status == STATUS_OK) {
        status = read_result(options->files[1], &b, out_error);
    }
    if (status == STATUS_OK) {
        bool worse = compare_results(&a, &b, options->max_regression, &result);
        *out_code = worse ? 1 : 0;
        compare_write(&result, options->files[0], options->files[1], talk(options));
        if (options->json != NULL) {
            status = write_json(&result, options->json, out_error);
        }
    }
    doc_free(&a);
    doc_free(&b);
    doc_free(&result);
    return status;
}

static enum status report(const struct bench_options *options, struct error *out_error)
{
    struct doc doc;
    enum status status = read_result(options->files[0], &doc, out_error);
    if (status == STATUS_OK) {
        status = write_html(&doc, options->html != NULL ? options->html : "-", out_error);
        doc_free(&doc);
    }
    return status;
}

int main(int argc, char **argv)
{
    static struct bench_options options; /* too large for a stack's taste */
    struct error error = {0};
    int code = 0;
    enum status status = STATUS_OK;
    if (populate_main_asked(argc, argv)) {
        return populate_main(argc - 1, argv + 1);
    }
    run_options_parse(argc, argv, &options);
    switch (options.command) {
    case BENCH_RUN:
    case BENCH_POPULATE:
        status = load(&options, &code, &error);
        break;
    case BENCH_FLOOR:
        status = floor_run(&options.floor, &error);
        break;
    case BENCH_COMPARE:
        status = compare(&options, &code, &error);
        break;
    case BENCH_REPORT:
        status = report(&options, &error);
        break;
    }
    if (status != STATUS_OK) {
        fprintf(stderr, "restante-bench: %s\n",
                error.text[0] != '\0' ? error.text : status_name(status));
        return 1;
    }
    return code;
}
