/* SPDX-License-Identifier: Apache-2.0 */
#include "server/setting.h"

#include "server/config.h"
#include "server/server_limits.h"
#include "storage/storage_limits.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct config, member)
#define IN(member) offsetof(struct config_listener, member)
#define KIB        ((uint64_t)1024)
#define MIB        (1024 * KIB)
#define GIB        (1024 * MIB)
#define TIB        (1024 * GIB)

const struct setting settings[] = {
    {"", "hostname", SETTING_TEXT, AT(hostname), 0, 255, "", NULL},
    {"", "workers", SETTING_COUNT, AT(workers), 0, SERVER_WORKERS_MAX, "0", NULL},
    {"", "io_backend", SETTING_CHOICE, AT(io_backend), 0, 0, "auto", "auto|io_uring|epoll"},
    {"", "log_level", SETTING_CHOICE, AT(log_level), 0, 0, "info", "error|warning|info|debug"},
    {"", "admin_socket", SETTING_TEXT, AT(admin_socket), 0, CONFIG_SOCKET_PATH_MAX,
     CONFIG_ADMIN_SOCKET_DEFAULT, NULL},
    {"", "drain_timeout", SETTING_SECONDS, AT(drain_timeout_s), 0, 86400, "30s", NULL},
    {"", "user", SETTING_TEXT, AT(user), 0, 63, "", NULL},
    {"", "group", SETTING_TEXT, AT(group), 0, 63, "", NULL},
    {"", "sandbox", SETTING_CHOICE, AT(sandbox), 0, 0, "auto", "auto|off"},

    {"store", "path", SETTING_TEXT, AT(store.path), 1, 255, CONFIG_STORE_PATH_DEFAULT, NULL},
    {"store", "segment_size", SETTING_SIZE, AT(store.segment_size), 64 * KIB, 4 * GIB, "0", NULL},
    {"store", "blob_min", SETTING_SIZE, AT(store.blob_min), 64 * KIB, 64 * MIB, "0", NULL},
    {"store", "map_size", SETTING_SIZE, AT(store.map_size), 16 * MIB, 64 * TIB, "0", NULL},
    {"store", "body_memory", SETTING_SIZE, AT(store.body_memory), MIB, TIB, "0", NULL},
    {"store", "scrub_rate", SETTING_SIZE, AT(store.scrub_rate), 0, TIB, "4M", NULL},
    {"store", "checkpoint_interval", SETTING_MILLISECONDS, AT(store.checkpoint_ms), 10, 600000, "0",
     NULL},
    {"store", "compact_rate", SETTING_SIZE, AT(store.compact_rate), 0, TIB, "32M", NULL},
    {"store", "compact_interval", SETTING_MILLISECONDS, AT(store.compact_ms), 10, 3600000, "10s",
     NULL},
    {"store", "compact_live", SETTING_COUNT, AT(store.compact_live), 10, STORAGE_COMPACT_LIVE_MAX,
     "70", NULL},

    {"auth", "default_domain", SETTING_TEXT, AT(auth.default_domain), 1, 255, "localhost", NULL},
    {"auth", "recipient_delimiter", SETTING_CHARACTER, AT(auth.recipient_delimiter), 0, 0, "+",
     NULL},
    {"auth", "hash_threads", SETTING_COUNT, AT(auth.hash_threads), 1, AUTH_HASH_THREADS_MAX, "0",
     NULL},
    {"auth", "hash_queue", SETTING_COUNT, AT(auth.hash_queue), 1, 1u << 20, "0", NULL},
    {"auth", "cache_entries", SETTING_COUNT, AT(auth.cache_entries), 1, 1u << 26, "0", NULL},
    {"auth", "cache_ttl", SETTING_SECONDS, AT(auth.cache_ttl_s), 1, 86400, "1h", NULL},
    {"auth", "cache_negative_ttl", SETTING_SECONDS, AT(auth.cache_negative_ttl_s), 1, 86400, "1m",
     NULL},
    {"auth", "databases", SETTING_LIST, AT(auth.databases), 1, 4095, "", NULL},
    {"auth", "domain_separators", SETTING_TEXT, AT(auth.domain_separators), 0, AUTH_SEPARATORS_MAX,
     "%", NULL},
    {"auth", "master_separator", SETTING_CHARACTER, AT(auth.master_separator), 0, 0, "*", NULL},
    {"auth", "connections_per_prefix", SETTING_COUNT, AT(auth.caps.max[CAPS_PREFIX]), 0, 1u << 20,
     "200", NULL},
    {"auth", "sessions_per_user", SETTING_COUNT, AT(auth.caps.max[CAPS_USER]), 0, 1u << 20, "20",
     NULL},
    {"auth", "sessions_per_user_prefix", SETTING_COUNT, AT(auth.caps.max[CAPS_USER_PREFIX]), 0,
     1u << 20, "10", NULL},
    {"auth", "sessions_max", SETTING_COUNT, AT(auth.caps.sessions_max), 1, 1u << 22, "65536", NULL},
    {"auth", "cap_loopback", SETTING_BOOL, AT(auth.cap_loopback), 0, 0, "false", NULL},
    {"auth", "exempt_loopback", SETTING_BOOL, AT(auth.exempt_loopback), 0, 0, "false", NULL},

    {"oauth", "jwks", SETTING_TEXT, AT(oauth.jwks), 0, 4095, "", NULL},
    {"oauth", "ca", SETTING_TEXT, AT(oauth.ca), 0, 4095, "", NULL},
    {"oauth", "issuer", SETTING_TEXT, AT(oauth.issuer), 0, 1023, "", NULL},
    {"oauth", "audience", SETTING_TEXT, AT(oauth.audience), 0, 1023, "", NULL},
    {"oauth", "scope", SETTING_TEXT, AT(oauth.scope), 0, 1023, "", NULL},
    {"oauth", "user_claim", SETTING_TEXT, AT(oauth.user_claim), 1, 255, "email", NULL},
    {"oauth", "openid_configuration", SETTING_TEXT, AT(oauth.openid_configuration), 0, 1023, "",
     NULL},
    {"oauth", "refresh", SETTING_SECONDS, AT(oauth.refresh_s), 10, 86400, "1h", NULL},
    {"oauth", "leeway", SETTING_SECONDS, AT(oauth.leeway_s), 1, OAUTH_LEEWAY_MAX_S, "1m", NULL},

    {"tls", "certificate", SETTING_LIST, AT(tls.certificates), 1, 4095, "", NULL},
    {"tls", "key", SETTING_LIST, AT(tls.keys), 1, 4095, "", NULL},
    {"tls", "strict_names", SETTING_BOOL, AT(tls.strict_names), 0, 0, "false", NULL},
    {"tls", "min_version", SETTING_CHOICE, AT(tls.min_version), 0, 0, "1.2", "1.2|1.3"},
    {"tls", "client_certificates", SETTING_CHOICE, AT(tls.client_certificates), 0, 0, "none",
     "none|request|require"},
    {"tls", "client_ca", SETTING_TEXT, AT(tls.client_ca), 0, 4095, "", NULL},
    {"tls", "tickets", SETTING_BOOL, AT(tls.tickets), 0, 0, "true", NULL},
    {"tls", "ticket_key_file", SETTING_TEXT, AT(tls.ticket_key_file), 0, 4095, "", NULL},
    {"tls", "ticket_rotate", SETTING_SECONDS, AT(tls.ticket_rotate_s), 60, 7 * 86400, "12h", NULL},
    {"tls", "kernel", SETTING_BOOL, AT(tls.kernel), 0, 0, "false", NULL},
    {"tls", "handshake_timeout", SETTING_SECONDS, AT(tls.handshake_s), 1, 600, "30s", NULL},

    {"pop3", "idle_timeout", SETTING_SECONDS, AT(pop3.idle_timeout_s), 1, 86400, "10m", NULL},
    {"pop3", "login_timeout", SETTING_SECONDS, AT(pop3.login_timeout_s), 1, 86400, "3m", NULL},
    {"pop3", "stall_timeout", SETTING_SECONDS, AT(pop3.stall_timeout_s), 1, 86400, "10m", NULL},
    {"pop3", "bad_commands_login", SETTING_COUNT, AT(pop3.bad_commands_login), 1, 1000000, "3",
     NULL},
    {"pop3", "bad_commands", SETTING_COUNT, AT(pop3.bad_commands), 1, 1000000, "20", NULL},
    {"pop3", "takeover", SETTING_BOOL, AT(pop3.takeover), 0, 0, "false", NULL},
    {"pop3", "allow_short_timeouts", SETTING_BOOL, AT(pop3.allow_short_timeouts), 0, 0, "false",
     NULL},

    {"lmtp", "idle_timeout", SETTING_SECONDS, AT(lmtp.idle_timeout_s), 1, 86400, "5m", NULL},
    {"lmtp", "recipients_max", SETTING_COUNT, AT(lmtp.recipients_max), 100, STORAGE_RECIPIENTS_MAX,
     "1000", NULL},
    {"lmtp", "message_octets_max", SETTING_SIZE, AT(lmtp.message_octets_max), 64 * KIB, 2 * GIB,
     "64M", NULL},
    {"lmtp", "bad_commands", SETTING_COUNT, AT(lmtp.bad_commands), 1, 1000000, "20", NULL},
    {"lmtp", "refuse_bare_lf", SETTING_BOOL, AT(lmtp.refuse_bare_lf), 0, 0, "false", NULL},
};
const size_t settings_count = sizeof settings / sizeof settings[0];

const struct setting listener_settings[] = {
    {"listener", "protocol", SETTING_CHOICE, IN(protocol), 0, 0, NULL, "pop3|lmtp|metrics"},
    {"listener", "tls", SETTING_CHOICE, IN(tls), 0, 0, "none", "none|starttls|implicit"},
    {"listener", "optional", SETTING_BOOL, IN(optional), 0, 0, "false", NULL},
    {"listener", "mode", SETTING_MODE, IN(unix_mode), 0, 0777, "0660", NULL},
    {"listener", "auth_plaintext", SETTING_CHOICE, IN(plaintext), 0, 0, "tls", "tls|always"},
    {"listener", "auth_apop", SETTING_BOOL, IN(policy.apop), 0, 0, "false", NULL},
    {"listener", "auth_cram_md5", SETTING_BOOL, IN(policy.cram_md5), 0, 0, "false", NULL},
    {"listener", "auth_scram", SETTING_BOOL, IN(policy.scram), 0, 0, "false", NULL},
    {"listener", "auth_external", SETTING_BOOL, IN(policy.external), 0, 0, "false", NULL},
    {"listener", "auth_oauth", SETTING_BOOL, IN(policy.oauth), 0, 0, "false", NULL},
    {"listener", "auth_oauth_without_tls", SETTING_BOOL, IN(policy.oauth_without_tls), 0, 0,
     "false", NULL},
};
const size_t listener_settings_count = sizeof listener_settings / sizeof listener_settings[0];

/* Reads the digits at the front of `text`; `*out_rest` is what stands behind them. */
static enum status read_digits(const char *text, uint64_t *out_number, const char **out_rest)
{
    if (!isdigit((unsigned char)text[0])) {
        return STATUS_INVALID;
    }
    uint64_t number = 0;
    while (isdigit((unsigned char)*text)) {
        if (__builtin_mul_overflow(number, 10u, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number)) {
            return STATUS_TOO_BIG;
        }
        text++;
    }
    *out_number = number;
    *out_rest = text;
    return STATUS_OK;
}

/* `number` times what `unit` stands for, when that is at most `max`. */
static enum status scale(uint64_t number, uint64_t unit, uint64_t max, uint64_t *out_number)
{
    uint64_t product;
    if (__builtin_mul_overflow(number, unit, &product) || product > max) {
        return STATUS_TOO_BIG;
    }
    *out_number = product;
    return STATUS_OK;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static enum status read_with_unit(const char *text, const struct unit *units, uint64_t max,
                                  uint64_t *out_number)
{
    uint64_t number;
    const char *rest;
    enum status status = read_digits(text, &number, &rest);
    if (status != STATUS_OK) {
        return status;
    }
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcasecmp(rest, unit->name) == 0) {
            return scale(number, unit->factor, max, out_number);
        }
    }
    return STATUS_INVALID;
}

enum status setting_size(const char *text, uint64_t max, uint64_t *out_octets)
{
    static const struct unit units[] = {{"", 1},      {"k", KIB}, {"kib", KIB}, {"M", MIB},
                                        {"MiB", MIB}, {"G", GIB}, {"GiB", GIB}, {"T", TIB},
                                        {"TiB", TIB}, {NULL, 0}};
    return read_with_unit(text, units, max, out_octets);
}

enum status setting_time_ms(const char *text, uint64_t max, uint64_t *out_ms)
{
    static const struct unit units[] = {{"", 1000},     {"s", 1000},     {"ms", 1}, {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
    return read_with_unit(text, units, max, out_ms);
}

/* Counts, sizes and times. 0 is always allowed where the default is 0: it asks for that default. */
static enum status read_number(const struct setting *setting, const char *text,
                               uint64_t *out_number)
{
    static const struct unit plain[] = {{"", 1}, {NULL, 0}};
    uint64_t number = 0;
    enum status status;
    switch (setting->kind) {
    case SETTING_SIZE:
        status = setting_size(text, setting->max, &number);
        break;
    case SETTING_SECONDS:
        status = setting_time_ms(text, setting->max * 1000, &number);
        if (status == STATUS_OK && number % 1000 != 0) {
            status = STATUS_INVALID;
        }
        number /= 1000;
        break;
    case SETTING_MILLISECONDS:
        status = setting_time_ms(text, setting->max, &number);
        break;
    default:
        status = read_with_unit(text, plain, setting->max, &number);
        break;
    }
    if (status != STATUS_OK) {
        return status;
    }
    bool asks_for_default =
        number == 0 && setting->fallback != NULL && strcmp(setting->fallback, "0") == 0;
    if (number < setting->min && !asks_for_default) {
        return STATUS_TOO_BIG;
    }
    *out_number = number;
    return STATUS_OK;
}

/* Writes the allowed range the way a person would write it into the file. */
static void explain_range(const struct setting *setting, char out_why[SETTING_WHY_MAX])
{
    const char *unit = "";
    uint64_t min = setting->min, max = setting->max;
    const char *example = "a number";
    switch (setting->kind) {
    case SETTING_SIZE:
        example = "octets, or a number with k, M, G or T,";
        unit = min % MIB == 0 && max % MIB == 0 ? "M" : "k";
        min /= *unit == 'M' ? MIB : KIB;
        max /= *unit == 'M' ? MIB : KIB;
        break;
    case SETTING_SECONDS:
        example = "seconds, or a number with m, h or d,";
        unit = "s";
        break;
    case SETTING_MILLISECONDS:
        example = "a time such as 500ms or 5s";
        unit = "ms";
        break;
    default:
        break;
    }
    (void)snprintf(out_why, SETTING_WHY_MAX, "must be %s from %llu%s to %llu%s", example,
                   (unsigned long long)min, unit, (unsigned long long)max, unit);
}

static enum status read_bool(const char *text, bool *out_value)
{
    static const char *const words[][2] = {{"true", "false"}, {"yes", "no"}, {"on", "off"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i][0]) == 0 || strcasecmp(text, words[i][1]) == 0) {
            *out_value = strcasecmp(text, words[i][0]) == 0;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

/* The position of `text` among "a|b|c". */
static enum status read_choice(const char *choices, const char *text, int *out_value)
{
    size_t length = strlen(text);
    int value = 0;
    for (const char *word = choices; word != NULL; value++) {
        const char *end = strchr(word, '|');
        size_t word_length = end == NULL ? strlen(word) : (size_t)(end - word);
        if (word_length == length && strncmp(word, text, length) == 0) {
            *out_value = value;
            return STATUS_OK;
        }
        word = end == NULL ? NULL : end + 1;
    }
    return STATUS_INVALID;
}

static enum status read_text(const struct setting *setting, const char *text, char **place,
                             struct mem_arena *arena, char out_why[SETTING_WHY_MAX])
{
    size_t length = strlen(text);
    if (length < setting->min || length > setting->max) {
        (void)snprintf(out_why, SETTING_WHY_MAX, "must be a text of %llu to %llu octets",
                       (unsigned long long)setting->min, (unsigned long long)setting->max);
        return STATUS_INVALID;
    }
    char *copy = mem_arena_copy(arena, text, length);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    *place = copy;
    return STATUS_OK;
}

/* Adds to a list, which grows by doubling; the arena keeps what was outgrown. */
static enum status read_item(const struct setting *setting, const char *text,
                             struct setting_list *list, struct mem_arena *arena,
                             char out_why[SETTING_WHY_MAX])
{
    if (list->count == SETTING_LIST_MAX) {
        (void)snprintf(out_why, SETTING_WHY_MAX, "must be at most %d texts", SETTING_LIST_MAX);
        return STATUS_INVALID;
    }
    char *copy = NULL;
    enum status status = read_text(setting, text, &copy, arena, out_why);
    if (status != STATUS_OK) {
        return status;
    }
    if ((list->count & (list->count - 1)) == 0) {
        size_t capacity = list->count == 0 ? 1 : 2 * list->count;
        const char **grown = mem_arena_alloc(arena, capacity * sizeof *grown);
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        if (list->count > 0) {
            memcpy(grown, list->items, list->count * sizeof *grown);
        }
        list->items = grown;
    }
    list->items[list->count++] = copy;
    return STATUS_OK;
}

static enum status read_mode(const char *text, mode_t *out_mode)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 8);
    if (errno != 0 || end == text || *end != '\0' || value > 0777 || *text == '-') {
        return STATUS_INVALID;
    }
    *out_mode = (mode_t)value;
    return STATUS_OK;
}

size_t setting_find(const char *section, const char *name)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (strcmp(settings[i].section, section) == 0 && strcmp(settings[i].name, name) == 0) {
            return i;
        }
    }
    return settings_count;
}

enum status setting_read(const struct setting *setting, const char *text, void *base,
                         struct mem_arena *arena, char out_why[SETTING_WHY_MAX])
{
    void *place = (char *)base + setting->offset;
    uint64_t number = 0;
    enum status status = STATUS_INVALID;
    switch (setting->kind) {
    case SETTING_TEXT:
        return read_text(setting, text, place, arena, out_why);
    case SETTING_LIST:
        return read_item(setting, text, place, arena, out_why);
    case SETTING_BOOL:
        (void)snprintf(out_why, SETTING_WHY_MAX, "must be true or false");
        return read_bool(text, place);
    case SETTING_CHARACTER:
        (void)snprintf(out_why, SETTING_WHY_MAX, "must be one character, or empty");
        if (strlen(text) <= 1) {
            *(char *)place = text[0];
            status = STATUS_OK;
        }
        return status;
    case SETTING_CHOICE:
        (void)snprintf(out_why, SETTING_WHY_MAX, "must be one of %s", setting->choices);
        return read_choice(setting->choices, text, place);
    case SETTING_MODE:
        (void)snprintf(out_why, SETTING_WHY_MAX, "must be an octal mode such as 0660");
        return read_mode(text, place);
    default:
        break;
    }
    if (read_number(setting, text, &number) != STATUS_OK) {
        explain_range(setting, out_why);
        return STATUS_INVALID;
    }
    if (setting->kind == SETTING_SIZE) {
        *(uint64_t *)place = number;
    } else {
        *(uint32_t *)place = (uint32_t)number; /* the rows' `max` fits */
    }
    return STATUS_OK;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned setting_distance(const char *a, const char *b)
{
    size_t a_length = strlen(a), b_length = strlen(b);
    if (a_length > SETTING_NAME_MAX || b_length > SETTING_NAME_MAX) {
        return UINT16_MAX;
    }
    /* cost[i][j]: from the first i letters of `a` to the first j of `b`. */
    unsigned cost[SETTING_NAME_MAX + 1][SETTING_NAME_MAX + 1];
    for (size_t i = 0; i <= a_length; i++) {
        cost[i][0] = (unsigned)i;
    }
    for (size_t j = 0; j <= b_length; j++) {
        cost[0][j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        for (size_t j = 1; j <= b_length; j++) {
            unsigned differs = a[i - 1] != b[j - 1];
            unsigned best = least(cost[i - 1][j], cost[i][j - 1]) + 1;
            best = least(best, cost[i - 1][j - 1] + differs);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = least(best, cost[i - 2][j - 2] + differs);
            }
            cost[i][j] = best;
        }
    }
    return cost[a_length][b_length];
}

const char *setting_nearest(const char *word, const char *(*next)(void *owner), void *owner)
{
    const char *nearest = NULL;
    /* A word of which more than half is different is no help. */
    unsigned best = (unsigned)strlen(word) / 2 + 1;
    for (const char *name = next(owner); name != NULL; name = next(owner)) {
        /* Half a key, such as "idle", is nearer than its letters say. */
        bool begins = strlen(word) >= 3 && strncmp(word, name, strlen(word)) == 0;
        unsigned distance = begins ? 1 : setting_distance(word, name);
        if (distance < best) {
            best = distance;
            nearest = name;
        }
    }
    return nearest;
}
