/* SPDX-License-Identifier: Apache-2.0 */
/* restanted: reads the command line, starts the server, waits for signals. */
#include "io/log.h"
#include "server/config.h"
#include "server/config_files.h"
#include "server/daemon.h"
#include "server/demo.h"

#include <argp.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum option_key { KEY_DEMO = 0x100, KEY_DIR, KEY_CHECK };

enum exit_code { EXIT_SERVED = 0, EXIT_FAILED = 1, EXIT_USED_WRONGLY = 2 };

struct options {
    bool demo, check;
    const char *file, *directory;
    const char *overrides[CONFIG_OVERRIDES_MAX];
    size_t override_count;
    char command[PATH_MAX]; /* the administrator's, as the demo's lines name it */
};

static const struct argp_option option_table[] = {
    {"config", 'c', "FILE", 0, "the configuration (default: " CONFIG_FILE_DEFAULT ")", 1},
    {NULL, 'o', "KEY=VALUE", 0,
     "override one key, such as workers=2 or "
     "listener.pop3.address=127.0.0.1:2110; may be repeated",
     1},
    {"check-config", KEY_CHECK, NULL, 0,
     "only say whether the configuration and the files it names are right", 1},
    {"demo", KEY_DEMO, NULL, 0, "serve a demo on loopback: ten users, some mail, no file needed",
     2},
    {"dir", KEY_DIR, "DIR", 0, "keep the demo's store there (default: a temporary folder)", 2},
    {0},
};

static error_t take_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'c':
        options->file = argument;
        return 0;
    case 'o':
        if (options->override_count == CONFIG_OVERRIDES_MAX) {
            argp_error(state, "at most %d times -o", CONFIG_OVERRIDES_MAX);
        }
        options->overrides[options->override_count++] = argument;
        return 0;
    case KEY_CHECK:
        options->check = true;
        return 0;
    case KEY_DEMO:
        options->demo = true;
        return 0;
    case KEY_DIR:
        options->directory = argument;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "what is \"%s\"? The server takes options only", argument);
        return 0;
    case ARGP_KEY_END:
        if (options->demo && options->file != NULL) {
            argp_error(state, "--demo takes no configuration file; change keys with -o");
        }
        if (!options->demo && options->directory != NULL) {
            argp_error(state, "--dir belongs to --demo; elsewhere it is -o store.path=DIR");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fputs("restanted " RESTANTE_VERSION "\n", stream);
}

static int fail(const struct error *error)
{
    if (error->path[0] != '\0') {
        fprintf(stderr, "restanted: %s: %s", error->path, error->text);
    } else {
        fprintf(stderr, "restanted: %s", error->text);
    }
    if (error->errno_value != 0) {
        fprintf(stderr, " (%s)", strerror(error->errno_value));
    }
    fputc('\n', stderr);
    return EXIT_FAILED;
}

/* --- the demo --- */

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *walk)
{
    (void)facts;
    (void)walk;
    /* Not remove(3), which tries unlink(2) first: for a folder that is EACCES in the sandbox, and
     * not the EISDIR it waits for. What stays, stays in the system's temporary folder. */
    (void)(kind == FTW_DP ? rmdir(path) : unlink(path));
    return 0;
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The demo's folder as an absolute path, made when it is missing. */
static enum status demo_directory(const char *wanted, char **out_path, struct error *out_error)
{
    char temporary[] = "/tmp/restante-demo-XXXXXX";
    const char *path = wanted != NULL ? wanted : mkdtemp(temporary);
    if (path == NULL || (wanted != NULL && mkdir(wanted, 0700) != 0 && errno != EEXIST)) {
        return error_set(
            out_error, status_from_errno(errno), errno, path != NULL ? path : "/tmp",
            "the demo's folder cannot be made: name one that you may write to, with --dir");
    }
    char *absolute = realpath(path, NULL);
    if (absolute == NULL) {
        return error_set(out_error, status_from_errno(errno), errno, path,
                         "the demo's folder cannot be used");
    }
    *out_path = absolute;
    return STATUS_OK;
}

/* The administrator's command as it can be typed here: beside this program, where this one was
 * started by a path and has it there, as in a folder it was built in. */
static void find_command(struct options *options)
{
    const char *slash = strrchr(program_invocation_name, '/');
    int length = slash != NULL ? (int)(slash + 1 - program_invocation_name) : 0;
    int made = snprintf(options->command, sizeof options->command, "%.*srestante", length,
                        program_invocation_name);
    if (made < 0 || (size_t)made >= sizeof options->command ||
        access(options->command, X_OK) != 0) {
        (void)snprintf(options->command, sizeof options->command, "restante");
    }
}

static void print_demo(const struct daemon *daemon, const struct config *config,
                       const char *command)
{
    char pop3[DAEMON_ADDRESS_MAX], lmtp[DAEMON_ADDRESS_MAX], metrics[DAEMON_ADDRESS_MAX];
    char pop3s[DAEMON_ADDRESS_MAX];
    daemon_address(daemon, CONFIG_POP3, pop3);
    daemon_listener_address(daemon, "pop3s", pop3s);
    daemon_address(daemon, CONFIG_LMTP, lmtp);
    daemon_address(daemon, CONFIG_METRICS, metrics);
    printf("\nThe demo: users demo1 to demo%d, password %s; passwords in clear text are allowed, "
           "because it\nlistens on loopback only. The store is %s.\n\n",
           DEMO_USERS, DEMO_PASSWORD, config->store.path);
    printf("List the messages, fetch the first:\n"
           "  curl -u demo1:%s pop3://%s/\n"
           "  curl -u demo1:%s pop3://%s/1\n",
           DEMO_PASSWORD, pop3, DEMO_PASSWORD, pop3);
    if (config->tls.certificates.count > 0) {
        const char *certificate = config->tls.certificates.items[0];
        printf("The same over TLS, by STLS or at once; the certificate is signed by itself:\n"
               "  curl -u demo1:%s --cacert %s --ssl-reqd pop3://%s/1\n",
               DEMO_PASSWORD, certificate, pop3);
        if (pop3s[0] != '\0') {
            printf("  curl -u demo1:%s --cacert %s pop3s://%s/1\n", DEMO_PASSWORD, certificate,
                   pop3s);
        }
    }
    printf("Deliver one, by the administrator's command or by LMTP:\n"
           "  printf 'Subject: hello\\n\\nfrom the shell\\n' | %s --socket %s deliver demo1\n",
           command, config->admin_socket);
    if (lmtp[0] != '\0' && strncmp(lmtp, "unix:", 5) != 0) {
        printf("  swaks --protocol LMTP --server %s --from me@localhost --to demo1@localhost\n",
               lmtp);
    }
    if (metrics[0] != '\0') {
        printf("Look at the metrics:\n  curl http://%s/metrics\n", metrics);
    }
    putchar('\n');
}

static enum status load_config(const struct options *options, struct config **out_config,
                               struct error *out_error)
{
    if (options->demo) {
        return config_demo(options->directory, options->overrides, options->override_count,
                           out_config, out_error);
    }
    return config_load(options->file, options->overrides, options->override_count, out_config,
                       out_error);
}

/* --- serving --- */

static void end_signals(sigset_t *out_signals)
{
    (void)sigemptyset(out_signals); /* cannot fail */
    (void)sigaddset(out_signals, SIGTERM);
    (void)sigaddset(out_signals, SIGINT);
    (void)sigaddset(out_signals, SIGHUP);
}

/* Reads everything again, or keeps everything as it is and says why. */
static void reload(struct daemon *daemon, const struct options *options)
{
    struct error error = {.status = STATUS_OK};
    struct config *config = NULL;
    enum status status = load_config(options, &config, &error);
    if (status == STATUS_OK) {
        status = daemon_reload(daemon, &config, &error);
    }
    config_free(&config);
    if (status == STATUS_OK) {
        log_message(LOG_LEVEL_INFO, "reload", "the configuration has been read anew");
        return;
    }
    struct log_line line;
    log_begin(&line, LOG_LEVEL_ERROR, "reload_failed");
    log_text(&line, "consequence", "the former configuration and certificates stay in force");
    log_error(&line, &error);
    log_end(&line);
}

/* Waits for the signal that ends the server. */
static int wait_for_end(const sigset_t *signals, struct daemon *daemon,
                        const struct options *options)
{
    const struct timespec minute = {.tv_sec = 60};
    for (;;) {
        int signal = sigtimedwait(signals, NULL, &minute);
        if (signal == SIGHUP) {
            reload(daemon, options);
        } else if (signal > 0) {
            return signal;
        } else if (errno == EAGAIN) {
            daemon_minute(daemon);
        }
    }
}

static int serve(const struct config *config, const struct options *options)
{
    bool demo = options->demo;
    struct error error = {.status = STATUS_OK};
    struct daemon *daemon = NULL;
    sigset_t signals;
    end_signals(&signals);
    /* Before any thread is made: they all inherit it. */
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL); /* cannot fail for a known `how` */
    (void)signal(SIGPIPE, SIG_IGN);                   /* writes say so themselves */
    if (daemon_start(config, demo, &daemon, &error) != STATUS_OK) {
        return fail(&error);
    }
    daemon_print_listening(daemon, stdout);
    if (demo) {
        print_demo(daemon, config, options->command);
    }
    puts("restante: ready");
    (void)fflush(stdout); /* whoever started the server may have closed it */

    int signal_number = wait_for_end(&signals, daemon, options);
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "stop");
    log_text(&line, "signal", strsignal(signal_number));
    log_end(&line);
    /* From here on a second signal does what it does to any program. */
    (void)pthread_sigmask(SIG_UNBLOCK, &signals, NULL); /* cannot fail for a known `how` */
    daemon_stop(&daemon);
    log_message(LOG_LEVEL_INFO, "stopped", "everything is on the disk");
    return EXIT_SERVED;
}

static enum status check_listeners(const struct config *config, const char *file,
                                   struct error *out_error)
{
    if (config->listener_count > 0) {
        return STATUS_OK;
    }
    return error_set(out_error, STATUS_INVALID, 0, file,
                     "no listener is configured: add one, such as listener pop3 { protocol = "
                     "\"pop3\" address = \"0.0.0.0:110\" }, or try restanted --demo");
}

static int run_demo(struct options *options)
{
    struct error error = {.status = STATUS_OK};
    struct config *config = NULL;
    char *directory = NULL;
    bool temporary = options->directory == NULL;
    if (demo_directory(options->directory, &directory, &error) != STATUS_OK) {
        return fail(&error);
    }
    options->directory = directory;
    find_command(options);
    int code = EXIT_SERVED;
    if (load_config(options, &config, &error) != STATUS_OK) {
        code = fail(&error);
    } else if (!options->check) {
        code = serve(config, options);
    }
    config_free(&config);
    if (temporary) {
        remove_tree(directory);
    }
    free(directory);
    return code;
}

static int run_file(struct options *options)
{
    struct error error = {.status = STATUS_OK};
    struct config *config = NULL;
    bool is_default = options->file == NULL;
    if (is_default) {
        options->file = CONFIG_FILE_DEFAULT;
    }
    enum status status = load_config(options, &config, &error);
    if (status == STATUS_NOT_FOUND && is_default) {
        (void)error_set(&error, status, 0, options->file, /* printed below */
                        "there is no configuration: name one with -c, or try restanted --demo");
    }
    if (status == STATUS_OK) {
        status = check_listeners(config, options->file, &error);
    }
    if (status == STATUS_OK && options->check) {
        status = config_files_check(config, &error);
    }
    if (status != STATUS_OK) {
        config_free(&config);
        return fail(&error);
    }
    int code = EXIT_SERVED;
    if (options->check) {
        printf("%s is right\n", options->file);
    } else {
        code = serve(config, options);
    }
    config_free(&config);
    return code;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        option_table,
        take_option,
        NULL,
        "The Restante mail store server: POP3 and LMTP.\vSIGTERM and SIGINT let sessions end, then "
        "the server; a second one ends it at once. See restanted(8), restante.conf(5).",
        NULL,
        NULL,
        NULL};
    struct options options = {.demo = false};
    argp_err_exit_status = EXIT_USED_WRONGLY;
    argp_program_version_hook = print_version;
    if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0) {
        return EXIT_USED_WRONGLY;
    }
    return options.demo ? run_demo(&options) : run_file(&options);
}
