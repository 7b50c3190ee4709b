/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/run_options.h"

#include "bench/canned.h"

#include <argp.h>
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DURATION_S_MAX 1000000

enum option_key {
    KEY_TARGET = 256,
    KEY_LMTP,
    KEY_USERS,
    KEY_RECIPIENTS,
    KEY_FIRST,
    KEY_COUNT,
    KEY_RANDOM,
    KEY_AUTH,
    KEY_LMTP_CONNECTIONS,
    KEY_CLOSED,
    KEY_ARRIVALS,
    KEY_SHAPE,
    KEY_WARMUP,
    KEY_TIMEOUT,
    KEY_DRAIN,
    KEY_LOAD,
    KEY_REPEAT,
    KEY_PIPELINE,
    KEY_RESUME,
    KEY_SIZES,
    KEY_CORPUS,
    KEY_FETCH,
    KEY_NUMBER,
    KEY_SEED,
    KEY_VERIFY,
    KEY_IO,
    KEY_PID,
    KEY_TREE,
    KEY_METRICS,
    KEY_FAIL,
    KEY_JSON,
    KEY_HTML,
    KEY_HGRM,
    KEY_MESSAGES,
    KEY_SENDFILE,
    KEY_HOW,
    KEY_REGRESSION
};

static const char *const ios[] = {"auto", "io_uring", "epoll", NULL};

static const struct argp_option load_table[] = {
    {0, 0, 0, 0, "What to load:", 1},
    {"lmtp", KEY_LMTP, "URL", 0,
     "deliver to [lmtp://]HOST:PORT or unix:/PATH, lmtps:// (TLS) or lmtp+starttls://", 1},
    {"users", KEY_USERS, "PATTERN", 0, "user names, one %u for the number (demo%u)", 1},
    {"recipients", KEY_RECIPIENTS, "PATTERN", 0, "addresses for RCPT (as users)", 1},
    {"first-user", KEY_FIRST, "N", 0, "number of the first (1)", 1},
    {"user-count", KEY_COUNT, "N", 0, "how many (10)", 1},
    {"password", 'p', "WORD", 0, "everybody's; may hold one %u (demo)", 1},
    {"sizes", KEY_SIZES, "SIZES", 0,
     "of delivered messages: N, uniform:A-B, lognormal:MEDIAN,SIGMA or a profile's name", 1},
    {"corpus", KEY_CORPUS, "DIR", 0, "deliver (and expect) the files of DIR instead", 1},
    {"connections", 'c', "N", 0, "connections at once, over all threads (1)", 2},
    {"threads", 't', "N", 0, "generator threads (1)", 2},
    {"pipeline", KEY_PIPELINE, "N", 0, "commands in flight on a connection (1)", 2},
    {"timeout", KEY_TIMEOUT, "S", 0, "seconds an operation may take (30)", 2},
    {"seed", KEY_SEED, "N", 0, "what sizes, users and messages are made of (1)", 2},
    {"io", KEY_IO, "BACKEND", 0, "auto, io_uring or epoll", 2},
    {"json", KEY_JSON, "FILE", 0, "write the result; - is standard output", 3},
    {"html", KEY_HTML, "FILE", 0, "write a report with plots", 3},
    {"hgrm", KEY_HGRM, "FILE", 0, "write the percentile distribution as HdrHistogram does", 3},
    {"quiet", 'q', 0, 0, "no view of the run under way", 3},
    {"server-pid", KEY_PID, "PID", 0, "watch this process", 3},
    {"server-tree", KEY_TREE, "PID", 0, "watch this process and its descendants", 3},
    {"metrics", KEY_METRICS, "HOST:PORT", 0, "fetch /metrics there before and after", 3},
    {0}};

static const struct argp_option run_table[] = {
    {"workload", 'w', "NAME", 0,
     "login poll noop retr download-delete leave-on-server deliver idle "
     "sun-light-pop sun-heavy-pop imaptest-pop3 specmail2001-like",
     1},
    {"target", KEY_TARGET, "URL", 0,
     "pop3://HOST:PORT, pop3s:// (TLS) or pop3+stls:// (pop3://127.0.0.1:2110)", 1},
    {"auth", KEY_AUTH, "HOW", 0, "user (USER and PASS), plain, login, scram-sha-1 or scram-sha-256",
     1},
    {"random-users", KEY_RANDOM, 0, 0, "any user instead of the next in turn", 1},
    {"tls-resume", KEY_RESUME, 0, 0, "resumed handshakes instead of full ones", 1},
    {"rate", 'r', "R", 0, "open loop: operations a second", 2},
    {"closed", KEY_CLOSED, 0, 0, "closed loop: a client begins again when it has ended", 2},
    {"arrivals", KEY_ARRIVALS, "HOW", 0, "constant or poisson (constant)", 2},
    {"shape", KEY_SHAPE, "SHAPE", 0, "flat, ramp:R2 or step:R2,R3,... (flat)", 2},
    {"duration", 'd', "S", 0, "seconds measured (10)", 2},
    {"warmup", KEY_WARMUP, "S", 0, "seconds before (2)", 2},
    {"drain", KEY_DRAIN, "S", 0, "seconds to wait for what is under way at the end (10)", 2},
    {"load", KEY_LOAD, "P,...", 0, "a run at each percentage of the rate", 2},
    {"repeat", KEY_REPEAT, "N", 0, "runs of each (1)", 2},
    {"lmtp-connections", KEY_LMTP_CONNECTIONS, "N", 0, "of a mix (a quarter of the connections)",
     2},
    {"fetch-max", KEY_FETCH, "N", 0, "messages fetched in a session at most (1000)", 2},
    {"number", KEY_NUMBER, "N", 0, "retr: always this message (each in turn)", 2},
    {"verify", KEY_VERIFY, "WHAT", 0, "full, sizes or none (full)", 2},
    {"fail-if", KEY_FAIL, "EXPR", 0, "e.g. p99>5ms, retr:p50>800us, errors>0, rate<1000", 3},
    {0}};

static const struct argp_option populate_table[] = {
    {"messages", KEY_MESSAGES, "N", 0, "messages for each user (10)", 1}, {0}};

static unsigned long number(struct argp_state *state, const char *text, unsigned long min,
                            unsigned long max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value < min || value > max) {
        argp_failure(state, 2, 0, "'%s' is not a number from %lu to %lu", text, min, max);
    }
    return value;
}

/* Octets, or with K or M behind 1024 or 1024 * 1024 of them. */
static unsigned long octets(struct argp_state *state, const char *text, unsigned long min,
                            unsigned long max)
{
    char digits[16];
    size_t length = strlen(text);
    char unit = length > 1 && length < sizeof digits ? text[length - 1] : '\0';
    unsigned long factor = unit == 'K' ? 1024 : unit == 'M' ? 1024 * 1024 : 1;
    if (factor == 1) {
        return number(state, text, min, max);
    }
    memcpy(digits, text, length - 1);
    digits[length - 1] = '\0';
    return number(state, digits, 1, max / factor) * factor;
}

static uint32_t milliseconds(struct argp_state *state, const char *text, double min_s)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= min_s && value <= DURATION_S_MAX)) {
        argp_failure(state, 2, 0, "'%s' is not a time in seconds", text);
    }
    return (uint32_t)(value * 1000 + 0.5);
}

static unsigned choice(struct argp_state *state, const char *text, const char *const *names)
{
    for (unsigned index = 0; names[index] != NULL; index++) {
        if (strcmp(text, names[index]) == 0) {
            return index;
        }
    }
    argp_failure(state, 2, 0, "'%s' is not one of: %s, %s, ...", text, names[0], names[1]);
    return 0;
}

/* A name that is no number goes to the resolver; the first answer is taken. */
static bool resolve(const char *text, struct address *out_address)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (colon == NULL || (size_t)(colon - text) >= sizeof host) {
        return false;
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        return false;
    }
    memset(out_address, 0, sizeof *out_address);
    memcpy(&out_address->storage, found->ai_addr, found->ai_addrlen);
    out_address->length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static void read_address(struct argp_state *state, const char *text, struct address *out_address)
{
    if (address_parse(text, out_address) != STATUS_OK && !resolve(text, out_address)) {
        argp_failure(state, 2, 0, "'%s' is not an address such as 127.0.0.1:110", text);
    }
}

struct scheme {
    const char *prefix;
    enum run_tls tls;
};

/* Each list ends with what an address without a scheme means. */
static const struct scheme pop3_schemes[] = {{"pop3://", RUN_TLS_NONE},
                                             {"pop3s://", RUN_TLS_IMPLICIT},
                                             {"pop3+stls://", RUN_TLS_STLS},
                                             {"", RUN_TLS_NONE}};
static const struct scheme lmtp_schemes[] = {{"lmtp://", RUN_TLS_NONE},
                                             {"lmtps://", RUN_TLS_IMPLICIT},
                                             {"lmtp+starttls://", RUN_TLS_STLS},
                                             {"", RUN_TLS_NONE}};

/* Always true: what is no address ends the program. */
static bool read_url(struct argp_state *state, const char *text, const struct scheme *schemes,
                     enum run_tls *out_tls, struct address *out_address)
{
    size_t length = strlen(schemes->prefix);
    while (strncmp(text, schemes->prefix, length) != 0) {
        schemes++;
        length = strlen(schemes->prefix);
    }
    *out_tls = schemes->tls;
    read_address(state, text + length, out_address);
    return true;
}

/* At most one %u and no other percent sign. */
static const char *pattern(struct argp_state *state, const char *text)
{
    const char *percent = strchr(text, '%');
    if (strlen(text) >= RUN_NAME_MAX - 16 ||
        (percent != NULL && (percent[1] != 'u' || strchr(percent + 1, '%') != NULL))) {
        argp_failure(state, 2, 0, "'%s' is not a pattern with at most one %%u", text);
    }
    return text;
}

static void read_loads(struct argp_state *state, const char *text, struct bench_options *options)
{
    char *end;
    options->load_count = 0;
    for (const char *at = text; options->load_count < WORK_LOADS_MAX; at = end + 1) {
        unsigned long percent = strtoul(at, &end, 10);
        if (end == at || percent == 0 || percent > 10000 || (*end != '\0' && *end != ',')) {
            break;
        }
        options->loads[options->load_count++] = (unsigned)percent;
        if (*end == '\0') {
            return;
        }
    }
    argp_failure(state, 2, 0, "'%s' is not a list of percentages", text);
}

static void read_threshold(struct argp_state *state, const char *text,
                           struct bench_options *options)
{
    if (options->threshold_count == RUN_THRESHOLDS ||
        verdict_parse(text, &options->thresholds[options->threshold_count]) != STATUS_OK) {
        argp_failure(state, 2, 0, "'%s' is not a condition such as p99>5ms or errors>0", text);
    }
    options->threshold_count++;
}

static error_t parse_load(int key, char *argument, struct argp_state *state)
{
    struct bench_options *options = state->input;
    struct run_config *config = &options->config;
    switch (key) {
    case KEY_LMTP:
        options->facts.lmtp = argument;
        config->has_lmtp =
            read_url(state, argument, lmtp_schemes, &config->lmtp_tls, &config->lmtp);
        break;
    case KEY_USERS:
        config->users = pattern(state, argument);
        break;
    case KEY_RECIPIENTS:
        config->recipients = pattern(state, argument);
        break;
    case KEY_FIRST:
        config->first_user = (uint32_t)number(state, argument, 0, RUN_USERS_MAX);
        break;
    case KEY_COUNT:
        config->user_count = (uint32_t)number(state, argument, 1, RUN_USERS_MAX);
        break;
    case 'p':
        config->password = pattern(state, argument);
        break;
    case KEY_SIZES:
        options->facts.sizes = argument;
        if (distribution_parse(argument, &config->sizes) != STATUS_OK) {
            argp_failure(state, 2, 0, "'%s' are no sizes; names are: %s", argument,
                         distribution_names);
        }
        break;
    case KEY_CORPUS:
        options->corpus = argument;
        break;
    case 'c':
        config->connections = (unsigned)number(state, argument, 1, 1000000);
        break;
    case 't':
        config->threads = (unsigned)number(state, argument, 1, RUN_THREADS_MAX);
        break;
    case KEY_PIPELINE:
        config->pipeline = (unsigned)number(state, argument, 1, RUN_PIPELINE_MAX);
        break;
    case KEY_TIMEOUT:
        config->timeout_ms = milliseconds(state, argument, 0.001);
        break;
    case KEY_SEED:
        config->seed = number(state, argument, 0, ~0ul);
        break;
    case KEY_IO:
        config->io = (enum loop_kind)choice(state, argument, ios);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse_output(int key, char *argument, struct argp_state *state)
{
    struct bench_options *options = state->input;
    switch (key) {
    case KEY_JSON:
        options->json = argument;
        break;
    case KEY_HTML:
        options->html = argument;
        break;
    case KEY_HGRM:
        options->hgrm = argument;
        break;
    case 'q':
        options->quiet = true;
        break;
    case KEY_PID:
    case KEY_TREE:
        options->watch.pid = (pid_t)number(state, argument, 1, 1ul << 22);
        options->watch.tree = key == KEY_TREE;
        break;
    case KEY_METRICS:
        read_address(state, argument, &options->watch.metrics);
        options->watch.has_metrics = true;
        break;
    default:
        return parse_load(key, argument, state);
    }
    return 0;
}

static void read_workload(struct argp_state *state, const char *name, struct run_config *config)
{
    config->workload = workload_find(name);
    if (config->workload == NULL) {
        argp_failure(state, 2, 0, "there is no workload '%s'", name);
    }
}

static error_t parse_time(int key, char *argument, struct argp_state *state)
{
    struct bench_options *options = state->input;
    struct run_config *config = &options->config;
    char *end;
    switch (key) {
    case 'r':
        config->rate = strtod(argument, &end);
        if (end == argument || *end != '\0' || !isfinite(config->rate) || config->rate <= 0) {
            argp_failure(state, 2, 0, "'%s' is not a rate", argument);
        }
        break;
    case KEY_CLOSED:
        config->closed = true;
        break;
    case KEY_SHAPE:
        options->facts.shape = argument;
        break;
    case 'd':
        config->duration_ms = milliseconds(state, argument, 0.1);
        break;
    case KEY_WARMUP:
        config->warmup_ms = milliseconds(state, argument, 0);
        break;
    case KEY_DRAIN:
        config->drain_ms = milliseconds(state, argument, 0);
        break;
    case KEY_LOAD:
        read_loads(state, argument, options);
        break;
    case KEY_REPEAT:
        options->repeat = (unsigned)number(state, argument, 1, 1000);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static void check_run(struct argp_state *state, struct bench_options *options);

static error_t parse_run(int key, char *argument, struct argp_state *state)
{
    static const char *const auths[] = {"user",        "plain",         "login",
                                        "scram-sha-1", "scram-sha-256", NULL};
    static const char *const verifies[] = {"none", "sizes", "full", NULL};
    static const char *const arrivals[] = {"constant", "poisson", NULL};
    struct bench_options *options = state->input;
    struct run_config *config = &options->config;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = options;
        break;
    case 'w':
        read_workload(state, argument, config);
        break;
    case KEY_TARGET:
        options->facts.target = argument;
        config->has_pop3 = read_url(state, argument, pop3_schemes, &config->tls, &config->pop3);
        break;
    case KEY_AUTH:
        config->auth = (enum run_auth)choice(state, argument, auths);
        break;
    case KEY_RANDOM:
        config->random_users = true;
        break;
    case KEY_RESUME:
        config->tls_resume = true;
        break;
    case KEY_ARRIVALS:
        config->poisson = choice(state, argument, arrivals) == 1;
        options->facts.arrivals = argument;
        break;
    case KEY_LMTP_CONNECTIONS:
        config->lmtp_connections = (unsigned)number(state, argument, 1, 100000);
        break;
    case KEY_FETCH:
        config->fetch_max = (uint32_t)number(state, argument, 1, UINT32_MAX);
        break;
    case KEY_NUMBER:
        config->message_number = (uint32_t)number(state, argument, 1, UINT32_MAX);
        break;
    case KEY_VERIFY:
        config->verify = (enum run_verify)choice(state, argument, verifies);
        break;
    case KEY_FAIL:
        read_threshold(state, argument, options);
        break;
    case ARGP_KEY_END:
        check_run(state, options);
        break;
    default:
        return parse_time(key, argument, state);
    }
    return 0;
}

/* What options say together. */

static void default_target(struct argp_state *state, struct bench_options *options)
{
    const struct workload *workload = options->config.workload;
    if (workload_uses_pop3(workload) && !options->config.has_pop3) {
        static const char usual[] = "pop3://127.0.0.1:2110";
        options->facts.target = usual;
        options->config.has_pop3 =
            read_url(state, usual, pop3_schemes, &options->config.tls, &options->config.pop3);
    }
    if (workload_uses_lmtp(workload) && !options->config.has_lmtp) {
        argp_failure(state, 2, 0, "%s delivers mail: where, says --lmtp", workload->name);
    }
}

static void check_rate(struct argp_state *state, struct bench_options *options)
{
    struct run_config *config = &options->config;
    if (config->closed == (config->rate > 0) && config->closed) {
        argp_failure(state, 2, 0, "a closed loop has no rate: give --rate or --closed");
    }
    if (!config->closed && config->rate <= 0) {
        config->rate = config->workload->rate_per_user * config->user_count;
        if (config->workload->weights[WORK_IDLE] > 0) {
            config->closed = true; /* nothing arrives */
        } else if (config->rate <= 0) {
            argp_failure(state, 2, 0, "how fast? --rate R for an open loop, or --closed");
        }
    }
    const char *shape = options->facts.shape != NULL ? options->facts.shape : "flat";
    if (schedule_parse_shape(shape, config->closed ? 1 : config->rate, &config->shape) !=
        STATUS_OK) {
        argp_failure(state, 2, 0, "'%s' is not a shape such as ramp:2000 or step:200,300", shape);
    }
    options->facts.shape = shape;
}

static void share_connections(struct run_config *config)
{
    bool both = workload_uses_pop3(config->workload) && workload_uses_lmtp(config->workload);
    if (config->lmtp_connections == 0) {
        config->lmtp_connections = both ? (config->connections + 3) / 4 : config->connections;
    }
    if (config->threads > config->connections) {
        config->threads = config->connections;
    }
    if (config->lmtp_connections < config->threads) {
        config->lmtp_connections = config->threads;
    }
}

static void check_run(struct argp_state *state, struct bench_options *options)
{
    struct run_config *config = &options->config;
    if (config->workload == NULL) {
        argp_failure(state, 2, 0, "which workload? See --help");
        return;
    }
    default_target(state, options);
    check_rate(state, options);
    share_connections(config);
    if (config->user_count < config->threads) {
        argp_failure(state, 2, 0, "%u threads need as many users", config->threads);
    }
    if (workload_staying(config->workload) != WORK_KIND_COUNT &&
        config->user_count < config->connections) {
        argp_failure(state, 2, 0, "%u sessions that stay need as many users (--user-count)",
                     config->connections);
    }
    if (options->facts.sizes == NULL && config->workload->sizes != NULL) {
        options->facts.sizes = config->workload->sizes;
        if (distribution_parse(config->workload->sizes, &config->sizes) != STATUS_OK) {
            argp_failure(state, 2, 0, "no sizes for %s", config->workload->name);
        }
    }
    if (options->load_count == 0) {
        options->load_count = config->workload->load_count;
        memcpy(options->loads, config->workload->loads, sizeof options->loads);
    }
    if (options->load_count == 0 || config->closed) {
        options->load_count = 1;
        options->loads[0] = 100;
    }
}

static error_t parse_populate(int key, char *argument, struct argp_state *state)
{
    struct bench_options *options = state->input;
    struct run_config *config = &options->config;
    if (key == KEY_MESSAGES) {
        options->messages = (uint32_t)number(state, argument, 1, 10000000);
        return 0;
    }
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = options;
        return 0;
    }
    if (key != ARGP_KEY_END) {
        return ARGP_ERR_UNKNOWN;
    }
    config->workload = workload_find("deliver");
    config->closed = true;
    config->warmup_ms = 0;
    config->duration_ms = DURATION_S_MAX * 1000u;
    config->letters = (uint64_t)config->user_count * options->messages;
    check_run(state, options);
    return 0;
}

static error_t parse_floor(int key, char *argument, struct argp_state *state)
{
    static const char *const hows[] = {"copy", "sendfile", "splice", NULL};
    struct bench_options *options = state->input;
    switch (key) {
    case 'a':
        read_address(state, argument, &options->floor.address);
        return 0;
    case 'o':
        options->floor.message_octets = octets(state, argument, CANNED_OCTETS_MIN, 1ul << 30);
        return 0;
    case KEY_HOW:
        options->floor.how = (enum floor_how)choice(state, argument, hows);
        return 0;
    case KEY_SENDFILE:
        options->floor.how = FLOOR_SENDFILE;
        return 0;
    case KEY_IO:
        options->floor.on_loop = strcmp(argument, "plain") != 0;
        if (options->floor.on_loop) {
            options->floor.kind = (enum loop_kind)choice(state, argument, ios);
        }
        return 0;
    case ARGP_KEY_END:
        if (options->floor.on_loop && options->floor.how == FLOOR_SPLICE) {
            argp_failure(state, 2, 0, "the io layer does not splice: --io plain does");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_files(int key, char *argument, struct argp_state *state)
{
    struct bench_options *options = state->input;
    unsigned wanted = options->command == BENCH_COMPARE ? 2 : 1;
    switch (key) {
    case KEY_JSON:
        options->json = argument;
        return 0;
    case KEY_HTML:
        options->html = argument;
        return 0;
    case KEY_REGRESSION:
        options->max_regression = (double)number(state, argument, 0, 1000);
        return 0;
    case ARGP_KEY_ARG:
        if (options->file_count == wanted) {
            argp_failure(state, 2, 0, "too many files");
        }
        options->files[options->file_count++] = argument;
        return 0;
    case ARGP_KEY_END:
        if (options->file_count < wanted) {
            argp_failure(state, 2, 0, "%u file(s) wanted", wanted);
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option floor_table[] = {
    {"listen", 'a', "HOST:PORT", 0, "where (127.0.0.1:0)", 0},
    {"octets", 'o', "N", 0, "size of its message, terminator and all; 64K, 1M (4096)", 0},
    {"how", KEY_HOW, "WAY", 0, "how RETR is sent: copy (from memory), sendfile or splice (copy)",
     0},
    {"sendfile", KEY_SENDFILE, 0, 0, "the same as --how sendfile", 0},
    {"io", KEY_IO, "BACKEND", 0,
     "plain epoll, or Restante's own layer: auto, io_uring or epoll (plain)", 0},
    {0}};

static const struct argp_option compare_table[] = {
    {"json", KEY_JSON, "FILE", 0, "write the comparison; - is standard output", 0},
    {"max-regression", KEY_REGRESSION, "PERCENT", 0,
     "exit with 1 when B is surely worse than A by more", 0},
    {0}};

static const struct argp_option report_table[] = {
    {"html", KEY_HTML, "FILE", 0, "where to write it (- is standard output)", 0}, {0}};

static const struct argp load_argp = {.options = load_table, .parser = parse_output};
static const struct argp_child load_child[] = {{&load_argp, 0, NULL, 0}, {0}};

static const struct {
    const char *name;
    struct argp argp;
} commands[] = {
    [BENCH_RUN] = {"run",
                   {.options = run_table,
                    .parser = parse_run,
                    .children = load_child,
                    .doc = "Loads a POP3 or LMTP server and measures it.\vExit code: 0 well, 1 a "
                           "condition of --fail-if held or nothing could be measured, 2 wrong use, "
                           "3 no verdict, because the generator was the bottleneck."}},
    [BENCH_POPULATE] = {"populate",
                        {.options = populate_table,
                         .parser = parse_populate,
                         .children = load_child,
                         .doc = "Fills maildrops over LMTP with messages that can be verified."}},
    [BENCH_FLOOR] = {"floor",
                     {.options = floor_table,
                      .parser = parse_floor,
                      .doc = "A POP3 server with canned replies: the least work there is."}},
    [BENCH_COMPARE] = {"compare",
                       {.options = compare_table,
                        .parser = parse_files,
                        .args_doc = "A.json B.json",
                        .doc = "Compares two results, with 95 % confidence intervals."}},
    [BENCH_REPORT] = {"report",
                      {.options = report_table,
                       .parser = parse_files,
                       .args_doc = "RUN.json",
                       .doc = "Makes the HTML report of a result."}},
};

static void usage(FILE *file)
{
    fputs("Usage: restante-bench run|populate|floor|compare|report [OPTION...]\n"
          "Loads POP3 and LMTP servers, verifies what they send, and tells how long it took.\n"
          "`restante-bench COMMAND --help` has the options of each.\n",
          file);
}

/* The command as given, but for the password. */
static void keep_command_line(int argc, char **argv, struct bench_options *options)
{
    size_t length = 0;
    bool secret = false;
    for (int index = 0; index < argc && length < sizeof options->command_line - 1; index++) {
        const char *word = index == 0 ? "restante-bench" : argv[index];
        bool whole = strncmp(word, "--password=", 11) == 0;
        int more = snprintf(options->command_line + length, sizeof options->command_line - length,
                            "%s%s", index == 0 ? "" : " ",
                            whole    ? "--password=..."
                            : secret ? "..."
                                     : word);
        length += more > 0 ? (size_t)more : 0;
        secret = strcmp(word, "--password") == 0 || strcmp(word, "-p") == 0;
    }
    options->facts.command = options->command_line;
}

void run_options_parse(int argc, char **argv, struct bench_options *out_options)
{
    struct bench_options *options = out_options;
    *options =
        (struct bench_options){.config = {.users = "demo%u",
                                          .password = "demo",
                                          .first_user = 1,
                                          .user_count = 10,
                                          .connections = 1,
                                          .threads = 1,
                                          .pipeline = 1,
                                          .duration_ms = 10000,
                                          .warmup_ms = 2000,
                                          .drain_ms = 10000,
                                          .timeout_ms = 30000,
                                          .sizes = {.kind = DISTRIBUTION_FIXED, .fixed = 4096},
                                          .seed = 1,
                                          .verify = RUN_VERIFY_FULL,
                                          .fetch_max = 1000},
                               .facts = {.arrivals = "constant"},
                               .floor = {.message_octets = 4096},
                               .repeat = 1,
                               .messages = 10,
                               .max_regression = -1};
    if (address_parse("127.0.0.1:0", &options->floor.address) != STATUS_OK) {
        exit(2);
    }
    argp_program_version = "restante-bench " RESTANTE_VERSION;
    argp_err_exit_status = 2;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        usage(stdout);
        exit(0);
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts(argp_program_version);
        exit(0);
    }
    for (size_t index = 0; argc > 1 && index < sizeof commands / sizeof commands[0]; index++) {
        if (strcmp(argv[1], commands[index].name) == 0) {
            options->command = (enum bench_command_kind)index;
            keep_command_line(argc, argv, options);
            static char name[64];
            (void)snprintf(name, sizeof name, "restante-bench %s", argv[1]); /* short enough */
            argv[1] = name;
            argp_parse(&commands[index].argp, argc - 1, argv + 1, 0, NULL, options);
            if (options->config.recipients == NULL) {
                options->config.recipients = options->config.users;
            }
            return;
        }
    }
    usage(stderr);
    exit(2);
}
