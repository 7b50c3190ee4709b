/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restante: the administrator's command. It talks to the running server, or opens the store itself
 * when it is told to; what the commands do stands in cli_*.c.
 */
#include "io/log.h"
#include "server/cli.h"
#include "server/setting.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum option_key {
    KEY_SOCKET = 0x100,
    KEY_STORE,
    KEY_JSON,
    KEY_PASSWORD_FILE,
    KEY_FROM,
    KEY_TLS,
    KEY_RATE,
    KEY_SCRATCH
};

struct options {
    const char *socket, *store, *config_file;
    const char *overrides[CONFIG_OVERRIDES_MAX];
    size_t override_count;
    struct cli cli;
    char **words;
    int word_count;
};

static const struct argp_option option_table[] = {
    {"socket", KEY_SOCKET, "PATH", 0, "the running server's admin socket", 1},
    {"store", KEY_STORE, "DIR", 0, "open this store itself, while no server runs on it", 1},
    {"config", 'c', "FILE", 0, "take socket and store from this configuration", 1},
    {NULL, 'o', "KEY=VALUE", 0, "override one key of the configuration", 1},
    {"json", KEY_JSON, NULL, 0, "print JSON", 2},
    {"password-file", KEY_PASSWORD_FILE, "FILE", 0,
     "read the password from the first line of FILE, or of standard input for -", 2},
    {"from", KEY_FROM, "ADDRESS", 0, "auth test: as if the client had this address", 2},
    {"rate", KEY_RATE, "OCTETS", 0, "check: read at most so many octets a second; k, M and G", 2},
    {"scratch", KEY_SCRATCH, "DIR", 0,
     "check: a directory for its own index, in place of the store's", 2},
    {"tls", KEY_TLS, NULL, 0, "auth test: as if the client used TLS", 2},
    {0},
};

static error_t take_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case KEY_SOCKET:
        options->socket = argument;
        return 0;
    case KEY_STORE:
        options->store = argument;
        return 0;
    case 'c':
        options->config_file = argument;
        return 0;
    case 'o':
        if (options->override_count == CONFIG_OVERRIDES_MAX) {
            argp_error(state, "at most %d times -o", CONFIG_OVERRIDES_MAX);
        }
        options->overrides[options->override_count++] = argument;
        return 0;
    case KEY_RATE:
        if (setting_size(argument, UINT32_MAX, &options->cli.rate) != STATUS_OK) {
            argp_error(state, "--rate takes a number of octets, such as 20M");
        }
        return 0;
    case KEY_SCRATCH:
        options->cli.scratch = argument;
        return 0;
    case KEY_JSON:
        options->cli.json = true;
        return 0;
    case KEY_PASSWORD_FILE:
        options->cli.password_file = argument;
        return 0;
    case KEY_FROM:
        options->cli.from = argument;
        return 0;
    case KEY_TLS:
        options->cli.tls = true;
        return 0;
    case ARGP_KEY_ARGS:
        options->words = state->argv + state->next;
        options->word_count = state->argc - state->next;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The list of commands under --help, made of the table. */
static char *help_filter(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC) {
        return (char *)(uintptr_t)text;
    }
    char *out = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&out, &size);
    if (stream == NULL) {
        return (char *)(uintptr_t)text;
    }
    fputs("Commands:\n", stream);
    for (const struct cli_command *row = cli_commands; row->words[0] != NULL; row++) {
        fprintf(stream, "  %s%s%s%s%s\n      %s\n", row->words[0], row->words[1] != NULL ? " " : "",
                row->words[1] != NULL ? row->words[1] : "", row->usage[0] != '\0' ? " " : "",
                row->usage, row->help);
    }
    fputs("\nWithout --socket and --store the server is looked for at $RESTANTE_SOCKET, then where "
          "the configuration says (" CONFIG_FILE_DEFAULT "), then at " CONFIG_ADMIN_SOCKET_DEFAULT
          ". Where a\nconfiguration is found and its server does not run, its store is opened "
          "instead.\n\nExit codes: 0 done, 1 failed, 2 wrong usage; of check: 0 no damage, 1 "
          "damage found, 2 could "
          "not check.\n",
          stream);
    (void)fclose(stream); /* a stream in memory */
    return out;
}

static const struct cli_command *find_command(struct options *options)
{
    for (const struct cli_command *row = cli_commands; row->words[0] != NULL; row++) {
        int words = row->words[1] == NULL ? 1 : 2;
        if (options->word_count >= words && strcmp(options->words[0], row->words[0]) == 0 &&
            (words == 1 || strcmp(options->words[1], row->words[1]) == 0)) {
            options->cli.arguments = options->words + words;
            options->cli.argument_count = options->word_count - words;
            return row;
        }
    }
    return NULL;
}

static bool has_second_word(const char *word)
{
    for (const struct cli_command *row = cli_commands; row->words[0] != NULL; row++) {
        if (row->words[1] != NULL && strcmp(row->words[0], word) == 0) {
            return true;
        }
    }
    return false;
}

static enum cli_exit refuse_usage(const struct options *options, const struct cli_command *command)
{
    if (command == NULL && options->word_count == 0) {
        fputs("restante: which command? Try restante --help.\n", stderr);
    } else if (command == NULL) {
        bool group = has_second_word(options->words[0]) && options->word_count > 1;
        fprintf(stderr, "restante: there is no command \"%s%s%s\". Try restante --help.\n",
                options->words[0], group ? " " : "", group ? options->words[1] : "");
    } else {
        fprintf(stderr, "Usage: restante [--socket PATH | --store DIR] %s%s%s %s\n",
                command->words[0], command->words[1] != NULL ? " " : "",
                command->words[1] != NULL ? command->words[1] : "", command->usage);
    }
    return CLI_USAGE;
}

/* The configuration that says where socket and store are. A store that is named needs none. */
static enum status load_config(struct options *options, struct config **out_config,
                               struct error *out_error)
{
    const char *file = options->config_file;
    if (file == NULL && options->store == NULL && access(CONFIG_FILE_DEFAULT, R_OK) == 0) {
        file = CONFIG_FILE_DEFAULT;
    }
    enum status status =
        config_load(file, options->overrides, options->override_count, out_config, out_error);
    if (status == STATUS_OK && options->store != NULL) {
        (*out_config)->store.path = options->store;
    }
    return status;
}

/* The running server, or the store itself when it is named, or configured and no server runs. A
 * command that only looks gets no client then. */
static enum status open_client(struct options *options, const struct cli_command *command,
                               const struct config *config, struct error *out_error)
{
    bool looks = command->place == CLI_EITHER;
    if (command->place == CLI_CLOSED || (looks && options->store != NULL)) {
        return STATUS_OK;
    }
    if (options->store != NULL) {
        return admin_client_open(config, &options->cli.client, out_error);
    }
    const char *socket = options->socket;
    if (socket == NULL) {
        socket = getenv("RESTANTE_SOCKET");
    }
    bool named = socket != NULL;
    enum status status = admin_client_connect(named ? socket : config->admin_socket,
                                              &options->cli.client, out_error);
    if (status == STATUS_NOT_FOUND && !named && options->config_file != NULL) {
        return looks ? STATUS_OK : admin_client_open(config, &options->cli.client, out_error);
    }
    return status;
}

static enum cli_exit run_command(struct options *options, const struct cli_command *command)
{
    struct error error = {.status = STATUS_OK};
    struct config *config = NULL;
    if (load_config(options, &config, &error) != STATUS_OK) {
        return cli_fail(&error);
    }
    options->cli.config = config;
    /* A store that is opened here talks to its log: an administrator wants its warnings only. */
    if (log_start(STDERR_FILENO, LOG_LEVEL_WARNING) != STATUS_OK) {
        fputs("restante: no thread for the log: its lines come directly\n", stderr);
    }
    enum cli_exit code = CLI_FAILED;
    /* A command that only hashes a password asks no store at all. */
    if (command->place == CLI_CLOSED && !command->needs_password && options->socket != NULL) {
        fputs("restante: this works on a store that no server has open: use --store DIR\n", stderr);
        code = CLI_USAGE;
    } else if (open_client(options, command, config, &error) == STATUS_OK) {
        code = command->run(&options->cli);
    } else {
        (void)cli_fail(&error); /* always the same */
        code = command->place == CLI_EITHER ? CLI_COULD_NOT : CLI_FAILED;
    }
    admin_client_close(&options->cli.client);
    log_stop();
    config_free(&config);
    return code;
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fputs("restante " RESTANTE_VERSION "\n", stream);
}

int main(int argc, char **argv)
{
    static const struct argp argp = {option_table,
                                     take_option,
                                     "COMMAND [ARGUMENT...]",
                                     "The administrator's command of the Restante mail store.\v ",
                                     NULL,
                                     help_filter,
                                     NULL};
    struct options options = {.socket = NULL};
    argp_err_exit_status = CLI_USAGE;
    argp_program_version_hook = print_version;
    (void)signal(SIGPIPE, SIG_IGN); /* writes say so themselves */
    if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0) {
        return CLI_USAGE;
    }
    const struct cli_command *command = find_command(&options);
    if (command == NULL || options.cli.argument_count < command->arguments_min ||
        (command->arguments_max >= 0 && options.cli.argument_count > command->arguments_max) ||
        (command->needs_password && options.cli.password_file == NULL) ||
        (options.socket != NULL && options.store != NULL)) {
        return refuse_usage(&options, command);
    }
    enum cli_exit code = run_command(&options, command);
    if (fflush(stdout) != 0) {
        fputs("restante: standard output cannot be written\n", stderr);
        return CLI_FAILED;
    }
    return code;
}
