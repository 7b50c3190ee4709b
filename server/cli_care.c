/* SPDX-License-Identifier: Apache-2.0 */
/* restante check, damaged, rebuild */
#include "server/care.h"
#include "server/cli.h"

#include "storage/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 100 /* how often a running check is asked how far it is */

static bool is_person(void)
{
    return isatty(STDERR_FILENO) == 1;
}

static void show_progress(const char *step, uint64_t done, uint64_t total)
{
    if (is_person()) {
        fprintf(stderr, "\r%s: %llu of %llu MiB ", step, (unsigned long long)(done >> 20),
                (unsigned long long)(total >> 20));
    }
}

static void end_progress(void)
{
    if (is_person()) {
        fputc('\n', stderr);
    }
}

/* --- check --- */

static void print_member(void *owner, const char *key, const char *value)
{
    (void)owner;
    if (strcmp(key, "text") == 0) {
        printf("damage: %s\n", value);
    } else if (strcmp(key, "kind") != 0) {
        printf("  %s: %s\n", key, value);
    }
}

static void print_figure(void *owner, const char *key, const char *value)
{
    (void)owner;
    bool shown = strcmp(key, "ok") != 0 && strcmp(key, "running") != 0 &&
                 strcmp(key, "outcome") != 0 && strncmp(key, "octets_", 7) != 0 &&
                 strcmp(key, "step") != 0 && strcmp(key, "checked") != 0;
    if (shown) {
        printf("%s: %s\n", key, value);
    }
}

/* Takes the findings over. `summary` has the figures. */
static enum cli_exit print_check(const struct cli *cli, struct doc *summary, struct doc *findings)
{
    struct doc finding;
    uint64_t damages = doc_number(summary, "damages", 0);
    doc_put_bool(summary, "checked", true);
    if (cli->json) {
        doc_put(summary, "findings", findings);
        cli_print(cli, summary);
    } else {
        for (size_t i = 0; doc_item(findings, i, &finding); i++) {
            doc_each(&finding, print_member, NULL);
        }
        doc_each(summary, print_figure, NULL);
        puts(damages == 0 ? "no damage found" : "damage was found");
        doc_free(findings);
    }
    return damages == 0 ? CLI_OK : CLI_FAILED;
}

static enum cli_exit could_not(const struct cli *cli, const struct error *error)
{
    (void)cli_fail(error); /* always the same */
    if (cli->json) {
        struct doc summary;
        doc_object(&summary);
        doc_put_bool(&summary, "checked", false);
        doc_put_text(&summary, "outcome", status_name(error->status));
        doc_put_text(&summary, "problem", error->text);
        cli_print(cli, &summary);
        doc_free(&summary);
    }
    /* VOLUME itself is damaged: that is a finding, too. */
    return error->status == STATUS_CORRUPT ? CLI_FAILED : CLI_COULD_NOT;
}

static void on_damage(void *owner, const struct damage *damage)
{
    struct doc finding;
    care_put_damage(&finding, damage);
    doc_append(owner, &finding);
}

static bool on_check_progress(void *owner, const struct check_progress *progress)
{
    (void)owner;
    show_progress(progress->step, progress->octets_done, progress->octets_total);
    return true;
}

static enum cli_exit check_closed_store(struct cli *cli)
{
    struct doc findings, summary;
    struct check_result result;
    struct error error = {.status = STATUS_OK};
    struct store_config config;
    struct check_options options = {.rate = cli->rate,
                                    .scratch = cli->scratch,
                                    .on_progress = on_check_progress,
                                    .on_damage = on_damage,
                                    .owner = &findings};
    doc_array(&findings);
    config_store(cli->config, &config);
    enum status status = store_check_closed(&config, &options, &result, &error);
    end_progress();
    if (status == STATUS_BUSY) {
        (void)error_set(&error, status, 0, config.path, /* printed below */
                        "a server is running on this store: check it with --socket");
    }
    if (status != STATUS_OK) {
        doc_free(&findings);
        return could_not(cli, &error);
    }
    doc_object(&summary);
    care_put_result(&summary, &result);
    enum cli_exit code = print_check(cli, &summary, &findings);
    doc_free(&summary);
    return code;
}

/* Asks until the check has ended; the last answer is the caller's. */
static bool await_check(struct cli *cli, struct doc *out_answer)
{
    for (;;) {
        struct doc request;
        cli_request(&request, "check_state", NULL);
        if (!cli_ask(cli, &request, NULL, 0, out_answer)) {
            return false;
        }
        const char *step = doc_text(out_answer, "step");
        show_progress(step != NULL ? step : "check", doc_number(out_answer, "octets_done", 0),
                      doc_number(out_answer, "octets_total", 0));
        if (!doc_bool(out_answer, "running")) {
            end_progress();
            return true;
        }
        doc_free(out_answer);
        struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
        (void)nanosleep(&pause, NULL); /* shorter is harmless */
    }
}

/* The findings come in pages: all of them into one list. */
static bool gather_findings(struct cli *cli, struct doc *findings)
{
    for (size_t count = 0;;) {
        struct doc request, answer, page, item;
        size_t before = count;
        cli_request(&request, "check_state", NULL);
        doc_put_number(&request, "after", count);
        if (!cli_ask(cli, &request, NULL, 0, &answer)) {
            return false;
        }
        if (doc_member(&answer, "findings", &page)) {
            for (size_t i = 0; doc_item(&page, i, &item); i++, count++) {
                struct doc copy;
                char *text = doc_write(&item, false);
                if (text != NULL && doc_parse(text, strlen(text), &copy, NULL) == STATUS_OK) {
                    doc_append(findings, &copy);
                }
                free(text);
            }
        }
        doc_free(&answer);
        if (count == before) {
            return true;
        }
    }
}

static enum cli_exit check_running_store(struct cli *cli)
{
    struct doc request, answer, findings;
    cli_request(&request, "check", NULL);
    doc_put_number(&request, "rate", cli->rate);
    if (cli->scratch != NULL) {
        doc_free(&request);
        fputs("restante: a running server works in its own store: leave --scratch out\n", stderr);
        return CLI_USAGE;
    }
    if (!cli_ask(cli, &request, NULL, 0, &answer)) {
        return CLI_COULD_NOT;
    }
    doc_free(&answer);
    if (!await_check(cli, &answer)) {
        return CLI_COULD_NOT;
    }
    const char *outcome = doc_text(&answer, "outcome"), *problem = doc_text(&answer, "problem");
    enum cli_exit code = CLI_COULD_NOT;
    doc_array(&findings);
    if (outcome == NULL || strcmp(outcome, "ok") != 0) {
        struct error error = {.status = STATUS_IO};
        (void)error_set(&error, STATUS_IO, 0, NULL, "%s", problem != NULL ? problem : outcome);
        code = could_not(cli, &error);
    } else if (gather_findings(cli, &findings)) {
        code = print_check(cli, &answer, &findings);
    }
    doc_free(&findings);
    doc_free(&answer);
    return code;
}

enum cli_exit cli_check(struct cli *cli)
{
    return cli->client != NULL ? check_running_store(cli) : check_closed_store(cli);
}

/* --- damaged --- */

static void print_damaged(void *owner, const char *key, const char *value)
{
    bool *first = owner;
    printf("%s%s=%s", *first ? "" : " ", key, value);
    *first = false;
}

enum cli_exit cli_damaged(struct cli *cli)
{
    struct doc all, list;
    doc_object(&all);
    doc_array(&list);
    for (size_t count = 0, before = 1; count != before;) {
        struct doc request, answer, page, item;
        before = count;
        cli_request(&request, "damaged", NULL);
        doc_put_number(&request, "after", count);
        if (!cli_ask(cli, &request, NULL, 0, &answer)) {
            doc_free(&list);
            doc_free(&all);
            return CLI_FAILED;
        }
        bool there = doc_member(&answer, "damaged", &page);
        for (size_t i = 0; there && doc_item(&page, i, &item); i++, count++) {
            struct doc copy;
            bool first = true;
            char *text = doc_write(&item, false);
            if (!cli->json) {
                doc_each(&item, print_damaged, &first);
                putchar('\n');
            } else if (text != NULL && doc_parse(text, strlen(text), &copy, NULL) == STATUS_OK) {
                doc_append(&list, &copy);
            }
            free(text);
        }
        doc_free(&answer);
    }
    doc_put(&all, "damaged", &list);
    if (cli->json) {
        cli_print(cli, &all);
    }
    doc_free(&all);
    return CLI_OK;
}

/* --- rebuild --- */

static void on_rebuild_progress(void *owner, uint64_t done, uint64_t total)
{
    (void)owner;
    show_progress("rebuild", done, total);
}

enum cli_exit cli_rebuild(struct cli *cli)
{
    struct error error = {.status = STATUS_OK};
    struct store_rebuilt rebuilt = {0};
    struct store_config config;
    config_store(cli->config, &config);
    enum status status = store_rebuild(&config, on_rebuild_progress, NULL, &rebuilt, &error);
    end_progress();
    if (status == STATUS_BUSY) {
        (void)error_set(&error, status, 0, config.path, /* printed below */
                        "a server is running on this store: stop it, then rebuild");
    }
    if (status != STATUS_OK) {
        return cli_fail(&error);
    }
    struct doc summary;
    doc_object(&summary);
    doc_put_bool(&summary, "rebuilt", true);
    doc_put_number(&summary, "segments", rebuilt.segments);
    doc_put_number(&summary, "groups", rebuilt.groups);
    doc_put_number(&summary, "octets", rebuilt.octets);
    doc_put_number(&summary, "maildrops", rebuilt.maildrops);
    doc_put_number(&summary, "messages", rebuilt.messages);
    doc_put_number(&summary, "damaged_places", rebuilt.damaged_places);
    doc_put_number(&summary, "kept", rebuilt.kept);
    doc_put_number(&summary, "lost_blobs", rebuilt.lost_blobs);
    cli_print(cli, &summary);
    doc_free(&summary);
    return CLI_OK;
}
