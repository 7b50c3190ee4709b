/* SPDX-License-Identifier: Apache-2.0 */
/* restante stat, health, checkpoint */
#include "server/cli.h"

#include <string.h>

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

enum cli_exit cli_compact(struct cli *cli)
{
    struct doc request, answer;
    bool all = cli->argument_count == 1;
    if (all && strcmp(cli->arguments[0], "all") != 0) {
        struct error error = {0};
        (void)error_set(&error, STATUS_INVALID, 0, NULL, /* printed at once */
                        "\"%.32s\" is nothing to compact: say \"all\", or nothing",
                        cli->arguments[0]);
        return cli_fail(&error);
    }
    cli_request(&request, "compact", NULL);
    doc_put_bool(&request, "all", all);
    if (!cli_ask(cli, &request, NULL, 0, &answer)) {
        return CLI_FAILED;
    }
    cli_print(cli, &answer);
    doc_free(&answer);
    return CLI_OK;
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
