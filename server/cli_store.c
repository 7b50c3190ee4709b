/* SPDX-License-Identifier: Apache-2.0 */
/* restante stat, health, checkpoint, rebuild */
#include "server/cli.h"

#include "storage/store.h"

#include <stdio.h>
#include <unistd.h>

static enum cli_exit ask_and_print(struct cli *cli, const char *command)
{
    struct doc request, answer;
    cli_request(&request, command, NULL);
    if (!cli_ask(cli, &request, NULL, 0, &answer)) {
        return CLI_FAILED;
    }
    cli_print(cli, &answer);
    doc_free(&answer);
    return CLI_OK;
}

enum cli_exit cli_stat(struct cli *cli)
{
    return ask_and_print(cli, "stat");
}

enum cli_exit cli_checkpoint(struct cli *cli)
{
    return ask_and_print(cli, "checkpoint");
}

enum cli_exit cli_health(struct cli *cli)
{
    struct doc request, answer;
    cli_request(&request, "health", NULL);
    if (!cli_ask(cli, &request, NULL, 0, &answer)) {
        return CLI_FAILED;
    }
    cli_print(cli, &answer);
    bool healthy = doc_bool(&answer, "healthy");
    doc_free(&answer);
    return healthy ? CLI_OK : CLI_FAILED;
}

static void on_progress(void *owner, uint64_t done, uint64_t total)
{
    (void)owner;
    fprintf(stderr, "\r%llu of %llu MiB", (unsigned long long)(done >> 20),
            (unsigned long long)(total >> 20));
    if (done >= total) {
        fputc('\n', stderr);
    }
}

enum cli_exit cli_rebuild(struct cli *cli)
{
    struct error error = {.status = STATUS_OK};
    struct store_config config = {.path = cli->config->store.path,
                                  .segment_size = cli->config->store.segment_size,
                                  .map_size = cli->config->store.map_size};
    bool progress = isatty(STDERR_FILENO) == 1;
    enum status status = store_rebuild(&config, progress ? on_progress : NULL, NULL, &error);
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
    cli_print(cli, &summary);
    doc_free(&summary);
    return CLI_OK;
}
