/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/populate_main.h"

#include "bench/populate_store.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum populate_key {
    KEY_STORE = 256,
    KEY_USERS,
    KEY_FIRST,
    KEY_COUNT,
    KEY_MESSAGES,
    KEY_LARGE,
    KEY_OCTETS,
    KEY_SCHEME,
    KEY_MAP,
    KEY_NO_ACCOUNTS,
    KEY_QUIET
};

static const struct argp_option options[] = {
    {"store", KEY_STORE, "DIR", 0, "the store; made when there is none, added to when there is", 0},
    {"maildrops", KEY_COUNT, "N", 0, "maildrops to make, an account each (default 1000)", 0},
    {"user-count", KEY_COUNT, NULL, OPTION_ALIAS, NULL, 0},
    {"messages", KEY_MESSAGES, "N", 0, "messages in each (default 3)", 0},
    {"large", KEY_LARGE, "N", 0, "so many more in the first maildrop (default 0)", 0},
    {"octets", KEY_OCTETS, "N", 0, "octets of a message (default 4096)", 0},
    {"users", KEY_USERS, "PATTERN", 0, "local@domain, one %u (default load%u@localhost)", 0},
    {"first-user", KEY_FIRST, "N", 0, "number of the first (default 1)", 0},
    {"password", 'p', "WORD", 0, "everybody's (default demo)", 0},
    {"scheme", KEY_SCHEME, "NAME", 0, "how it is stored (default PLAIN: cheap, for benches only)",
     0},
    {"map-size", KEY_MAP, "OCTETS", 0, "address space of the index (default the server's)", 0},
    {"no-accounts", KEY_NO_ACCOUNTS, NULL, 0, "maildrops alone, that nobody can log in to", 0},
    {"quiet", KEY_QUIET, NULL, 0, "no progress", 0},
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

/* It is handed to printf: exactly one %u and no other percent sign; and one @, as accounts want. */
static const char *checked_pattern(struct argp_state *state, const char *text)
{
    const char *percent = strchr(text, '%');
    if (percent == NULL || percent[1] != 'u' || strchr(percent + 1, '%') != NULL ||
        strchr(text, '@') == NULL) {
        argp_error(state, "users are called local@domain, with exactly one %%u");
    }
    return text;
}

static error_t parse_amount(int key, char *argument, struct argp_state *state)
{
    struct populate_config *config = state->input;
    switch (key) {
    case KEY_FIRST:
        config->first_user = (unsigned)number(state, argument, 1000000000);
        return 0;
    case KEY_COUNT:
        config->maildrops = (unsigned)number(state, argument, 1000000000);
        return 0;
    case KEY_MESSAGES:
        config->messages = (unsigned)number(state, argument, 1000000);
        return 0;
    case KEY_LARGE:
        config->large = (unsigned)number(state, argument, 100000000);
        return 0;
    case KEY_OCTETS:
        config->message_octets = number(state, argument, 1ul << 20);
        return 0;
    case KEY_MAP:
        config->map_size = number(state, argument, 1ul << 46);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct populate_config *config = state->input;
    switch (key) {
    case KEY_STORE:
        config->store = argument;
        return 0;
    case KEY_USERS:
        config->user_format = checked_pattern(state, argument);
        return 0;
    case 'p':
        config->password = argument;
        return 0;
    case KEY_SCHEME:
        config->scheme = argument;
        return 0;
    case KEY_NO_ACCOUNTS:
        config->no_accounts = true;
        return 0;
    case KEY_QUIET:
        config->quiet = true;
        return 0;
    case ARGP_KEY_END:
        if (config->store == NULL || config->maildrops == 0) {
            argp_usage(state);
        }
        return 0;
    default:
        return parse_amount(key, argument, state);
    }
}

bool populate_main_asked(int argc, char **argv)
{
    bool is_direct = false;
    for (int i = 2; i < argc; i++) {
        is_direct = is_direct || strncmp(argv[i], "--store", 7) == 0;
    }
    return is_direct && strcmp(argv[1], "populate") == 0;
}

int populate_main(int argc, char **argv)
{
    static const struct argp argp = {
        options,
        parse,
        NULL,
        "Builds a store of many maildrops for measuring, in the minutes the disk needs. No server "
        "may run on it meanwhile.\vAll have one password, hashed once. Messages are spread over "
        "the log in rounds, so that neighbours in a maildrop are far apart, as they are after "
        "years of mail.",
        NULL,
        NULL,
        NULL};
    struct populate_config config = {.user_format = "load%u@localhost",
                                     .password = "demo",
                                     .scheme = "PLAIN",
                                     .first_user = 1,
                                     .maildrops = 1000,
                                     .messages = 3,
                                     .message_octets = 4096};
    struct populate_result result = {0};
    struct error error = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &config);
    enum status status = populate_store(&config, &result, &error);
    if (status != STATUS_OK) {
        fprintf(stderr, "restante-bench: %s%s%s (%s)\n", error.path,
                error.path[0] != '\0' ? ": " : "", error.text, status_name(status));
        return 1;
    }
    printf("%lu maildrops and %lu messages in %.1f s; the store has %lu and %lu now, its index %lu "
           "bytes\n",
           result.maildrops, result.messages, result.seconds, result.store_maildrops,
           result.store_messages, result.index_octets);
    return 0;
}
