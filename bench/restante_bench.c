/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restante-bench: a closed-loop load for POP3 and LMTP servers, and a floor to compare them with.
 * What it measures and how to read it stands in bench/README.md.
 */
#include "bench/closed_loop.h"
#include "bench/floor.h"
#include "bench/populate_main.h"
#include "bench/script.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_key { KEY_PID = 256, KEY_WARMUP, KEY_SENDFILE, KEY_FIRST, KEY_NUMBER, KEY_FORMAT };

struct options {
    const char *command, *address;
    bool json, sendfile;
    struct closed_loop_config load;
};

static const struct argp_option option_table[] = {
    {"address", 'a', "ADDRESS", 0, "the server's (floor: to listen on)", 0},
    {"clients", 'c', "N", 0, "clients at once (default 1)", 0},
    {"time", 't', "SECONDS", 0, "measured time (default 5)", 0},
    {"warmup", KEY_WARMUP, "SECONDS", 0, "time before that (default 1)", 0},
    {"users", 'u', "N", 0, "users to deal the clients over (default: as many as clients)", 0},
    {"first-user", KEY_FIRST, "N", 0, "number of the first (default 1)", 0},
    {"user-format", KEY_FORMAT, "FORMAT", 0, "user names, with one %u (default demo%u)", 0},
    {"password", 'p', "WORD", 0, "everybody's (default demo)", 0},
    {"octets", 'o', "N", 0, "message size for deliver and floor (default 4096)", 0},
    {"number", KEY_NUMBER, "N", 0, "message number for retr (default 1)", 0},
    {"server-pid", KEY_PID, "PID", 0, "watch this process's processor time and memory", 0},
    {"sendfile", KEY_SENDFILE, NULL, 0, "floor: RETR by sendfile instead of a copy", 0},
    {"json", 'j', NULL, 0, "print the result as JSON", 0},
    {0}};

static unsigned long number(struct argp_state *state, const char *text, unsigned long max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value > max) {
        argp_error(state, "'%s' is not a number up to %lu", text, max);
    }
    return value;
}

/* A user format is handed to printf: exactly one %u and no other percent sign. */
static const char *checked_format(struct argp_state *state, const char *text)
{
    const char *percent = strchr(text, '%');
    if (percent == NULL || percent[1] != 'u' || strchr(percent + 1, '%') != NULL) {
        argp_error(state, "a user format has exactly one %%u");
    }
    return text;
}

static error_t parse_load_option(int key, char *argument, struct argp_state *state,
                                 struct closed_loop_config *load)
{
    switch (key) {
    case 'c':
        load->clients = (unsigned)number(state, argument, 100000);
        break;
    case 't':
        load->run_ms = (uint32_t)number(state, argument, 100000) * 1000;
        break;
    case 'u':
        load->user_count = (unsigned)number(state, argument, 100000000);
        break;
    case 'p':
        load->password = argument;
        break;
    case 'o':
        load->message_octets = number(state, argument, 1ul << 30);
        break;
    case KEY_WARMUP:
        load->warmup_ms = (uint32_t)number(state, argument, 100000) * 1000;
        break;
    case KEY_FIRST:
        load->first_user = (unsigned)number(state, argument, 100000000);
        break;
    case KEY_NUMBER:
        load->message_number = (unsigned)number(state, argument, 100000000);
        break;
    case KEY_FORMAT:
        load->user_format = checked_format(state, argument);
        break;
    case KEY_PID:
        load->server_pid = (pid_t)number(state, argument, 1ul << 22);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'a':
        options->address = argument;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    case KEY_SENDFILE:
        options->sendfile = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->command != NULL) {
            argp_usage(state);
        }
        options->command = argument;
        return 0;
    case ARGP_KEY_END:
        if (options->command == NULL) {
            argp_usage(state);
        }
        return 0;
    default:
        return parse_load_option(key, argument, state, &options->load);
    }
}

static void print_json(const struct options *options, const struct closed_loop_result *result)
{
    printf("{\"workload\":\"%s\",\"loop\":\"closed\",\"clients\":%u,\"seconds\":%.3f,"
           "\"operations\":%lu,\"failures\":%lu,\"rate\":%.1f,\"octets\":%lu,"
           "\"server_cpu_us\":%.3f,\"client_cpu_us\":%.3f,"
           "\"latency_us\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f},"
           "\"sessions\":%u,\"server_private_bytes\":[%lu,%lu]}\n",
           options->command, options->load.clients, result->seconds, result->operations,
           result->failures, (double)result->operations / result->seconds, result->octets,
           result->server_cpu_us, result->client_cpu_us, result->latency_us[0],
           result->latency_us[1], result->latency_us[2], result->sessions, result->private_before,
           result->private_after);
}

static void print_text(const struct options *options, const struct closed_loop_result *result)
{
    if (strcmp(options->command, "idle") == 0) {
        uint64_t grown = result->private_after - result->private_before;
        printf("idle: %u sessions, server memory %lu -> %lu bytes, %.0f a session; %lu failures\n",
               result->sessions, result->private_before, result->private_after,
               result->sessions == 0 ? 0 : (double)grown / result->sessions, result->failures);
        return;
    }
    printf(
        "%s: closed loop, %u clients, %.1f s: %.0f/s, server %.2f us CPU each, generator %.2f us\n"
        "  latency us: p50 %.0f  p99 %.0f  p99.9 %.0f; %.1f MB/s received; %lu failures\n",
        options->command, options->load.clients, result->seconds,
        (double)result->operations / result->seconds, result->server_cpu_us, result->client_cpu_us,
        result->latency_us[0], result->latency_us[1], result->latency_us[2],
        (double)result->octets / result->seconds / 1e6, result->failures);
}

static enum status run_load(struct options *options, struct error *out_error)
{
    struct closed_loop_result result;
    options->load.workload = options->command;
    if (options->load.user_count == 0) {
        options->load.user_count = options->load.clients;
    }
    enum status status = closed_loop_run(&options->load, &result, out_error);
    if (status == STATUS_OK && options->json) {
        print_json(options, &result);
    } else if (status == STATUS_OK) {
        print_text(options, &result);
    }
    return status != STATUS_OK || result.failures == 0 ? status : STATUS_RESET;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        option_table,
        parse_option,
        "login|noop|retr|deliver|idle|floor",
        "Loads a POP3 or LMTP server with a closed loop of clients, or is the floor to compare it "
        "with.\vExits with 1 when any operation failed.",
        NULL,
        NULL,
        NULL};
    struct options options = {.address = "127.0.0.1:2110",
                              .load = {.user_format = "demo%u",
                                       .password = "demo",
                                       .first_user = 1,
                                       .clients = 1,
                                       .warmup_ms = 1000,
                                       .run_ms = 5000,
                                       .message_octets = 4096,
                                       .message_number = 1}};
    struct error error = {0};
    if (populate_main_asked(argc, argv)) {
        return populate_main(argc - 1, argv + 1);
    }
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    enum status status = address_parse(options.address, &options.load.server);
    if (status != STATUS_OK) {
        fprintf(stderr, "restante-bench: '%s' is not an address\n", options.address);
        return 2;
    }
    if (strcmp(options.command, "floor") == 0) {
        const struct floor_config config = {.address = options.load.server,
                                            .message_octets = options.load.message_octets,
                                            .sendfile = options.sendfile};
        status = floor_run(&config, &error);
    } else {
        status = run_load(&options, &error);
    }
    if (status != STATUS_OK) {
        fprintf(stderr, "restante-bench: %s %s\n", error.text[0] != '\0' ? error.text : "failed:",
                error.text[0] != '\0' ? "" : status_name(status));
        return 1;
    }
    return 0;
}
