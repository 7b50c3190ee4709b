/* SPDX-License-Identifier: Apache-2.0 */
/* restante deliver, restante import */
#include "server/cli.h"
#include "server/importer.h"
#include "server/server_limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Larger messages go to files of their own in the store, by another thread than the rest: alone
 * they cannot be overtaken, and the order stays. */
#define ALONE_OCTETS (256 * 1024)

#define PROGRESS_MS 200 /* between two progress lines */

struct transfer {
    struct cli *cli;
    const char *name;
    bool progress;
    int64_t progress_ms; /* when it was last shown */
    uint64_t sent, answered, delivered, failed, octets;
    char *paths[ADMIN_WINDOW]; /* of the requests without an answer, for messages */
    struct error error;
};

/* A failure that the next message would meet as well. */
static bool is_fatal(enum status status)
{
    return status != STATUS_TOO_BIG && status != STATUS_EXISTS && status != STATUS_INVALID;
}

static enum status take_answer(struct transfer *transfer)
{
    struct doc answer;
    enum status status = admin_client_receive(transfer->cli->client, &answer, &transfer->error);
    if (status != STATUS_OK) {
        return status;
    }
    char **path = &transfer->paths[transfer->answered++ % ADMIN_WINDOW];
    status = admin_client_verdict(&answer, &transfer->error);
    doc_free(&answer);
    if (status == STATUS_OK) {
        transfer->delivered++;
    } else {
        transfer->failed++;
        if (!is_fatal(status)) {
            fprintf(stderr, "restante: %s: %s\n", *path, transfer->error.text);
            status = STATUS_OK;
        }
    }
    free(*path);
    *path = NULL;
    return status;
}

/* Reads answers until at most `open` requests have none. */
static enum status settle(struct transfer *transfer, uint64_t open)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && transfer->sent - transfer->answered > open) {
        status = take_answer(transfer);
    }
    return status;
}

static void show_progress(struct transfer *transfer, uint64_t done, uint64_t total)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (!transfer->progress || (done < total && now_ms - transfer->progress_ms < PROGRESS_MS)) {
        return;
    }
    transfer->progress_ms = now_ms;
    fprintf(stderr, "\r%llu messages, %llu %%", (unsigned long long)transfer->sent,
            (unsigned long long)(total == 0 ? 100 : done * 100 / total));
    if (done >= total) {
        fputc('\n', stderr);
    }
}

static enum status send_message(struct transfer *transfer, const char *path, const void *data,
                                size_t length, int64_t received_ms)
{
    bool alone = length > ALONE_OCTETS;
    enum status status = settle(transfer, alone ? 0 : ADMIN_WINDOW - 1);
    if (status != STATUS_OK) {
        return status;
    }
    char **kept = &transfer->paths[transfer->sent % ADMIN_WINDOW];
    *kept = strdup(path);
    if (*kept == NULL) {
        return error_set(&transfer->error, STATUS_NO_MEMORY, 0, NULL, "out of memory");
    }
    struct doc request;
    cli_request(&request, "deliver", transfer->name);
    if (received_ms >= 0) {
        doc_put_number(&request, "received_ms", (uint64_t)received_ms);
    }
    status = admin_client_send(transfer->cli->client, &request, data, length, &transfer->error);
    doc_free(&request);
    transfer->sent++;
    transfer->octets += length;
    return status == STATUS_OK && alone ? settle(transfer, 0) : status;
}

static enum status on_message(void *owner, const struct importer_message *message)
{
    struct transfer *transfer = owner;
    enum status status = send_message(transfer, message->path, message->data, message->length,
                                      message->received_ms < 0 ? 0 : message->received_ms);
    show_progress(transfer, message->octets_done, message->octets_total);
    return status;
}

static enum cli_exit finish(struct transfer *transfer, enum status status)
{
    if (status == STATUS_OK) {
        status = settle(transfer, 0);
    }
    for (unsigned i = 0; i < ADMIN_WINDOW; i++) {
        free(transfer->paths[i]);
    }
    if (status != STATUS_OK) {
        cli_fail(&transfer->error);
        fprintf(stderr, "restante: ended after %llu messages\n",
                (unsigned long long)transfer->delivered);
        return CLI_FAILED;
    }
    struct doc summary;
    doc_object(&summary);
    doc_put_number(&summary, "delivered", transfer->delivered);
    doc_put_number(&summary, "failed", transfer->failed);
    doc_put_number(&summary, "octets", transfer->octets);
    cli_print(transfer->cli, &summary);
    doc_free(&summary);
    return transfer->failed == 0 ? CLI_OK : CLI_FAILED;
}

static enum status deliver_file(struct transfer *transfer, const char *path)
{
    char *data;
    size_t length;
    enum status status = cli_read_file(path, &data, &length, &transfer->error);
    if (status == STATUS_OK) {
        status = send_message(transfer, path, data, length, -1);
        free(data);
    }
    return status;
}

enum cli_exit cli_deliver(struct cli *cli)
{
    struct transfer transfer = {.cli = cli, .name = cli->arguments[0]};
    enum status status = STATUS_OK;
    if (cli->argument_count == 1) {
        status = deliver_file(&transfer, "-");
    }
    for (int i = 1; i < cli->argument_count && status == STATUS_OK; i++) {
        status = deliver_file(&transfer, cli->arguments[i]);
    }
    return finish(&transfer, status);
}

enum cli_exit cli_import(struct cli *cli)
{
    struct transfer transfer = {
        .cli = cli, .name = cli->arguments[1], .progress = isatty(STDERR_FILENO) == 1};
    struct importer_visitor visitor = {on_message, &transfer};
    enum importer_format format;
    if (importer_format_parse(cli->arguments[0], &format) != STATUS_OK) {
        fprintf(stderr, "restante: import reads maildir, mbox or eml, not \"%s\"\n",
                cli->arguments[0]);
        return CLI_USAGE;
    }
    enum status status = STATUS_OK;
    for (int i = 2; i < cli->argument_count && status == STATUS_OK; i++) {
        status = importer_run(format, cli->arguments[i], &visitor, &transfer.error);
    }
    return finish(&transfer, status);
}
