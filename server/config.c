/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one owner of libConfuse. The library reads the grammar and expands ${VAR:-default}; what a
 * key is and which values it takes is said by the rows of setting.c.
 */
#include "server/config.h"

#include "io/mem.h"
#include "server/config_check.h"
#include "server/config_text.h"
#include "server/privileges.h"
#include "server/server_limits.h"
#include "server/setting.h"
#include "storage/store.h"

#include <assert.h>
#include <confuse.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Everything one reading needs; libConfuse's callbacks carry no owner, so the one running is
 * `active`. Main thread. */
struct loader {
    const char *source; /* the file's name, "demo" or "defaults" */
    struct config *config;
    struct mem_arena *arena;
    struct error *error;
    cfg_t *root;
    bool failed;
};

static struct loader *active;

/* Remembers the first thing that is wrong; `line` 0 when no line of the file is to blame. */
static enum status refuse(struct loader *loader, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status refuse(struct loader *loader, int line, const char *format, ...)
{
    char text[sizeof loader->error->text];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (loader->failed) {
        return STATUS_INVALID;
    }
    loader->failed = true;
    if (line > 0) {
        return error_set(loader->error, STATUS_INVALID, 0, NULL, "%s:%d: %s", loader->source, line,
                         text);
    }
    return error_set(loader->error, STATUS_INVALID, 0, NULL, "%s", text);
}

/* --- names: what may stand in a section --- */

struct names {
    const cfg_opt_t *next;
};

static const char *next_name(void *owner)
{
    struct names *names = owner;
    return names->next->name == NULL ? NULL : (names->next++)->name;
}

/* "; did you mean "x"?" or nothing. */
static const char *suggest(cfg_t *section, const char *word, char *out_text, size_t size)
{
    struct names names = {section->opts};
    const char *nearest = setting_nearest(word, next_name, &names);
    out_text[0] = '\0';
    if (nearest != NULL) {
        (void)snprintf(out_text, size, "; did you mean \"%s\"?", nearest);
    }
    return out_text;
}

static enum status refuse_name(struct loader *loader, cfg_t *section, int line, const char *where,
                               const char *word)
{
    char hint[SETTING_NAME_MAX + 32];
    suggest(section, word, hint, sizeof hint);
    if (section == loader->root) {
        return refuse(loader, line, "%sunknown key or section \"%.60s\"%s", where, word, hint);
    }
    return refuse(loader, line, "%sunknown key \"%.60s\" in section %s%s", where, word,
                  section->name, hint);
}

static void on_confuse_error(cfg_t *section, const char *format, va_list arguments)
{
    if (strncmp(format, "no such option", 14) == 0) {
        va_list copy;
        va_copy(copy, arguments);
        const char *word = va_arg(copy, const char *);
        (void)refuse_name(active, section, section->line, "", word); /* kept in the loader */
        va_end(copy);
        return;
    }
    char text[128];
    (void)vsnprintf(text, sizeof text, format, arguments);
    (void)refuse(active, section->line, "%s", text); /* kept in the loader */
}

/* --- the rows --- */

/* Like cfg_getopt, which would report a missing one on its own. */
static cfg_opt_t *find_option(cfg_t *section, const char *name)
{
    for (cfg_opt_t *option = section->opts; option->name != NULL; option++) {
        if (strcmp(option->name, name) == 0) {
            return option;
        }
    }
    return NULL;
}

static const char *section_name(const cfg_t *section)
{
    return section == active->root ? "" : section->name;
}

static int on_listener_value(cfg_t *section, cfg_opt_t *option);

/* A value has been read from the file: reads it, while the line is known. */
static int on_value(cfg_t *section, cfg_opt_t *option)
{
    size_t index = setting_find(section_name(section), option->name);
    assert(index < settings_count);
    char why[SETTING_WHY_MAX];
    const char *value = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    active->config->lines[index] = section->line;
    if (settings[index].kind == SETTING_LIST) {
        return 0; /* read when the overrides have been applied, which replace it whole */
    }
    if (setting_read(&settings[index], value, active->config, active->arena, why) != STATUS_OK) {
        (void)refuse(active, section->line, "%s %s", option->name, why); /* kept in the loader */
        return -1;
    }
    return 0;
}

#define OPTIONS_MAX 40

/* Gathers the options of one section. libConfuse copies them. */
static void section_options(const char *section, cfg_opt_t options[OPTIONS_MAX], size_t *count)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (strcmp(settings[i].section, section) == 0) {
            options[(*count)++] =
                settings[i].kind == SETTING_LIST
                    ? (cfg_opt_t)CFG_STR_LIST(settings[i].name, NULL, CFGF_NODEFAULT)
                    : (cfg_opt_t)CFG_STR(settings[i].name, NULL, CFGF_NODEFAULT);
        }
    }
    options[*count] = (cfg_opt_t)CFG_END();
    assert(*count < OPTIONS_MAX);
}

static const char *const listener_lists[] = {"address", "allow"};
#define LISTENER_LISTS (sizeof listener_lists / sizeof listener_lists[0])

static void listener_options(cfg_opt_t options[OPTIONS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < listener_settings_count; i++) {
        options[count++] = (cfg_opt_t)CFG_STR(listener_settings[i].name, NULL, CFGF_NODEFAULT);
    }
    for (size_t i = 0; i < LISTENER_LISTS; i++) {
        options[count++] = (cfg_opt_t)CFG_STR_LIST(listener_lists[i], NULL, CFGF_NODEFAULT);
    }
    options[count++] = (cfg_opt_t)CFG_STR("owner", NULL, CFGF_NODEFAULT);
    options[count++] = (cfg_opt_t)CFG_STR("group", NULL, CFGF_NODEFAULT);
    options[count] = (cfg_opt_t)CFG_END();
    assert(count < OPTIONS_MAX);
}

/* Has the listeners' values checked as they are read. */
static void check_listeners(cfg_t *root)
{
    char name[2 * SETTING_NAME_MAX];
    for (size_t i = 0; i < listener_settings_count + LISTENER_LISTS; i++) {
        (void)snprintf(name, sizeof name, "listener|%s",
                       i < listener_settings_count ? listener_settings[i].name
                                                   : listener_lists[i - listener_settings_count]);
        (void)cfg_set_validate_func(root, name, on_listener_value); /* answers the former one */
    }
}

static enum status make_root(struct loader *loader)
{
    static const char *const sections[] = {"store", "auth", "oauth", "pop3", "lmtp", "tls"};
    enum { SECTIONS = sizeof sections / sizeof sections[0] };
    cfg_opt_t inner[SECTIONS][OPTIONS_MAX], outer[OPTIONS_MAX], listener[OPTIONS_MAX];
    cfg_opt_t sni[] = {CFG_STR("certificate", NULL, CFGF_NODEFAULT),
                       CFG_STR("key", NULL, CFGF_NODEFAULT), CFG_END()};
    size_t count = 0;
    section_options("", outer, &count);
    for (size_t i = 0; i < SECTIONS; i++) {
        size_t inner_count = 0;
        section_options(sections[i], inner[i], &inner_count);
        if (strcmp(sections[i], "tls") == 0) {
            inner[i][inner_count++] =
                (cfg_opt_t)CFG_SEC("sni", sni, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
            inner[i][inner_count] = (cfg_opt_t)CFG_END();
        }
        outer[count++] = (cfg_opt_t)CFG_SEC(sections[i], inner[i], CFGF_NONE);
    }
    listener_options(listener);
    outer[count++] =
        (cfg_opt_t)CFG_SEC("listener", listener, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    outer[count] = (cfg_opt_t)CFG_END();

    assert(settings_count <= CONFIG_SETTINGS_MAX);
    loader->root = cfg_init(outer, CFGF_NONE);
    if (loader->root == NULL) {
        return error_set(loader->error, STATUS_NO_MEMORY, 0, NULL, "reading the configuration");
    }
    cfg_set_error_function(loader->root, on_confuse_error);
    for (size_t i = 0; i < settings_count; i++) {
        char name[2 * SETTING_NAME_MAX];
        (void)snprintf(name, sizeof name, "%s%s%s", settings[i].section,
                       settings[i].section[0] == '\0' ? "" : "|", settings[i].name);
        (void)cfg_set_validate_func(loader->root, name, on_value); /* answers the former one */
    }
    check_listeners(loader->root);
    return STATUS_OK;
}

static enum status read_defaults(struct loader *loader)
{
    for (size_t i = 0; i < settings_count; i++) {
        char why[SETTING_WHY_MAX];
        if (settings[i].kind == SETTING_LIST) {
            continue; /* an empty one */
        }
        enum status status =
            setting_read(&settings[i], settings[i].fallback, loader->config, loader->arena, why);
        if (status != STATUS_OK) {
            return error_set(loader->error, status, 0, NULL, "reading the defaults");
        }
    }
    return STATUS_OK;
}

/* --- the whole text --- */

static enum status parse_text(struct loader *loader, char *text)
{
    int open_braces = config_text_blank(text);
    if (cfg_parse_buf(loader->root, text) != CFG_SUCCESS) {
        return refuse(loader, 0, "%s cannot be read as a configuration", loader->source);
    }
    if (open_braces != 0 && !loader->failed) {
        return refuse(loader, 0, "%s: premature end of file: a closing brace is missing",
                      loader->source);
    }
    return loader->failed ? STATUS_INVALID : STATUS_OK;
}

/* --- overrides --- */

/* Replaces a list by the pieces of `value`, which commas or spaces separate. */
static enum status set_list(cfg_t *section, cfg_opt_t *option, const char *value)
{
    char *copy = strdup(value);
    char *pieces[CONFIG_NETWORKS_MAX];
    unsigned count = 0;
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    char *rest = copy;
    for (char *piece = strsep(&rest, ", "); piece != NULL; piece = strsep(&rest, ", ")) {
        if (*piece != '\0' && count < CONFIG_NETWORKS_MAX) {
            pieces[count++] = piece;
        }
    }
    bool done = count > 0 && cfg_opt_setmulti(section, option, count, pieces) == CFG_SUCCESS;
    free(copy);
    return done ? STATUS_OK : STATUS_INVALID;
}

/* The listener of that name, made when there is none. */
static cfg_t *override_listener(struct loader *loader, const char *title)
{
    cfg_t *section = cfg_gettsec(loader->root, "listener", title);
    if (section == NULL) {
        section = cfg_addtsec(loader->root, "listener", title);
        if (section != NULL) {
            section->line = 0; /* no line of the file made it */
        }
    }
    return section;
}

static enum status apply_listener(struct loader *loader, char *name, const char *value)
{
    char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || dot[1] == '\0') {
        return refuse(loader, 0, "-o listener.%.60s: write listener.NAME.KEY=VALUE", name);
    }
    *dot = '\0';
    cfg_t *section = override_listener(loader, name);
    if (section == NULL) {
        return STATUS_NO_MEMORY;
    }
    cfg_opt_t *option = find_option(section, dot + 1);
    if (option == NULL) {
        return refuse_name(loader, section, 0, "-o: ", dot + 1);
    }
    enum status status = STATUS_OK;
    if (option->flags & CFGF_LIST) {
        status = set_list(section, option, value);
    } else if (cfg_opt_setnstr(option, value, 0) != CFG_SUCCESS) {
        status = STATUS_NO_MEMORY;
    }
    if (status == STATUS_INVALID) {
        return refuse(loader, 0, "-o listener.%s.%s: a value is missing", name, dot + 1);
    }
    return status;
}

static enum status apply_key(struct loader *loader, const char *section, const char *name,
                             const char *value)
{
    cfg_t *where = section[0] == '\0' ? loader->root : NULL;
    if (where == NULL) {
        cfg_opt_t *option = find_option(loader->root, section);
        if (option == NULL || option->type != CFGT_SEC || (option->flags & CFGF_MULTI)) {
            return refuse_name(loader, loader->root, 0, "-o: ", section);
        }
        where = cfg_getsec(loader->root, section);
    }
    size_t index = setting_find(section, name);
    if (index == settings_count) {
        return refuse_name(loader, where, 0, "-o: ", name);
    }
    char why[SETTING_WHY_MAX] = "a value is missing";
    enum status status =
        settings[index].kind == SETTING_LIST
            ? set_list(where, find_option(where, name), value)
            : setting_read(&settings[index], value, loader->config, loader->arena, why);
    if (status == STATUS_NO_MEMORY) {
        return status;
    }
    loader->config->lines[index] = 0; /* the file is no longer to blame */
    return status == STATUS_OK ? STATUS_OK
                               : refuse(loader, 0, "-o %s%s%s: %s", section,
                                        section[0] == '\0' ? "" : ".", name, why);
}

static enum status apply_override(struct loader *loader, const char *override)
{
    const char *equals = strchr(override, '=');
    if (equals == NULL || equals == override) {
        return refuse(loader, 0, "-o %.100s: write section.key=value", override);
    }
    char *name = strndup(override, (size_t)(equals - override));
    if (name == NULL) {
        return STATUS_NO_MEMORY;
    }
    char *dot = strchr(name, '.');
    enum status status;
    if (dot == NULL) {
        status = apply_key(loader, "", name, equals + 1);
    } else {
        *dot = '\0';
        status = strcmp(name, "listener") == 0 ? apply_listener(loader, dot + 1, equals + 1)
                                               : apply_key(loader, name, dot + 1, equals + 1);
    }
    free(name);
    return status;
}

/* --- lists, and certificates by name --- */

/* The keys that are lists, when no override follows any more. */
static enum status read_lists(struct loader *loader)
{
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings[i];
        if (setting->kind != SETTING_LIST) {
            continue;
        }
        cfg_t *section = cfg_getsec(loader->root, setting->section);
        for (unsigned item = 0; item < cfg_size(section, setting->name); item++) {
            char why[SETTING_WHY_MAX];
            enum status status = setting_read(setting, cfg_getnstr(section, setting->name, item),
                                              loader->config, loader->arena, why);
            if (status == STATUS_INVALID) {
                return refuse(loader, loader->config->lines[i], "%s %s", setting->name, why);
            }
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

static enum status read_sni(struct loader *loader)
{
    struct config_tls_files *tls = &loader->config->tls;
    cfg_t *section = cfg_getsec(loader->root, "tls");
    unsigned count = cfg_size(section, "sni");
    tls->sni = mem_arena_alloc(loader->arena, (count + 1) * sizeof *tls->sni);
    if (tls->sni == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (; tls->sni_count < count; tls->sni_count++) {
        cfg_t *one = cfg_getnsec(section, "sni", tls->sni_count);
        struct config_sni *sni = &tls->sni[tls->sni_count];
        const char *title = cfg_title(one);
        const char *certificate = cfg_getstr(one, "certificate"), *key = cfg_getstr(one, "key");
        if (certificate == NULL || key == NULL) {
            return refuse(loader, one->line, "tls sni %s: certificate and key must be given",
                          title);
        }
        sni->line = one->line;
        sni->name = mem_arena_copy(loader->arena, title, strlen(title));
        sni->certificate = mem_arena_copy(loader->arena, certificate, strlen(certificate));
        sni->key = mem_arena_copy(loader->arena, key, strlen(key));
        if (sni->name == NULL || sni->certificate == NULL || sni->key == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

/* --- listeners --- */

static const struct setting *listener_setting(const char *name)
{
    for (size_t i = 0; i < listener_settings_count; i++) {
        if (strcmp(listener_settings[i].name, name) == 0) {
            return &listener_settings[i];
        }
    }
    return NULL;
}

/* Reads one single-valued key of a listener; `fallback` NULL: it must be given. */
static enum status read_listener_key(struct loader *loader, cfg_t *section,
                                     const struct setting *row, const char *fallback,
                                     struct config_listener *listener)
{
    const char *value = cfg_getstr(section, row->name);
    char why[SETTING_WHY_MAX];
    if (value == NULL && fallback == NULL) {
        return refuse(loader, listener->line, "listener %s: %s is missing: write %s = %s",
                      listener->name, row->name, row->name, row->choices);
    }
    enum status status =
        setting_read(row, value != NULL ? value : fallback, listener, loader->arena, why);
    return status == STATUS_INVALID
               ? refuse(loader, 0, "listener %s: %s %s", listener->name, row->name, why)
               : status;
}

/* How a listener's list, address or allow, is read: value by value. */
static enum status read_item(struct loader *loader, int line, const char *key, const char *text,
                             unsigned index, struct config_listener *listener)
{
    if (strcmp(key, "address") == 0) {
        if (index < CONFIG_ADDRESSES_MAX &&
            address_parse(text, &listener->addresses[index]) == STATUS_OK) {
            return STATUS_OK;
        }
        return refuse(
            loader, line,
            "listener %s: address \"%.60s\" is not like 127.0.0.1:110, [::]:110, *:110 or "
            "unix:/path (at most %d of them)",
            listener->name, text, CONFIG_ADDRESSES_MAX);
    }
    if (index < CONFIG_NETWORKS_MAX &&
        address_network_parse(text, strlen(text), &listener->allow[index]) == STATUS_OK) {
        return STATUS_OK;
    }
    return refuse(loader, line,
                  "listener %s: allow \"%.60s\" is not like 10.0.0.0/8 or ::1 (at most %d of them)",
                  listener->name, text, CONFIG_NETWORKS_MAX);
}

static enum status read_list(struct loader *loader, cfg_t *section, const char *key,
                             struct config_listener *listener, unsigned *out_count)
{
    unsigned count = cfg_size(section, key);
    for (unsigned i = 0; i < count; i++) {
        enum status status = read_item(loader, 0, key, cfg_getnstr(section, key, i), i, listener);
        if (status != STATUS_OK) {
            return status;
        }
    }
    *out_count = count;
    return STATUS_OK;
}

/* A listener's value has been read from the file: checks it while the line is known. What it is
 * worth is read later, when the overrides have been applied. */
static int on_listener_value(cfg_t *section, cfg_opt_t *option)
{
    struct config_listener scratch = {.name = cfg_title(section)};
    const char *value = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    char why[SETTING_WHY_MAX];
    enum status status = STATUS_OK;
    if (option->flags & CFGF_LIST) {
        status = read_item(active, section->line, option->name, value, 0, &scratch);
    } else if (setting_read(listener_setting(option->name), value, &scratch, active->arena, why) !=
               STATUS_OK) {
        status =
            refuse(active, section->line, "listener %s: %s %s", scratch.name, option->name, why);
    }
    return status == STATUS_OK ? 0 : -1;
}

static enum status read_owner(struct loader *loader, cfg_t *section,
                              struct config_listener *listener)
{
    const char *owner = cfg_getstr(section, "owner"), *group = cfg_getstr(section, "group");
    listener->unix_owner = (uid_t)-1;
    listener->unix_group = (gid_t)-1;
    if (owner != NULL && !privileges_find(owner, false, &listener->unix_owner)) {
        return refuse(loader, listener->line, "listener %s: this system knows no user \"%.60s\"",
                      listener->name, owner);
    }
    if (group != NULL && !privileges_find(group, true, &listener->unix_group)) {
        return refuse(loader, listener->line, "listener %s: this system knows no group \"%.60s\"",
                      listener->name, group);
    }
    return STATUS_OK;
}

/* A listener named after its protocol need not say it twice. */
static const char *protocol_by_name(const char *name)
{
    static const char *const names[] = {"pop3", "lmtp", "metrics"};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            return names[i];
        }
    }
    return NULL;
}

static enum status read_listener(struct loader *loader, cfg_t *section,
                                 struct config_listener *listener)
{
    const char *title = cfg_title(section);
    listener->name = mem_arena_copy(loader->arena, title, strlen(title));
    listener->line = section->line;
    if (listener->name == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < listener_settings_count; i++) {
        const struct setting *row = &listener_settings[i];
        /* Only the protocol has no default: it may be said by the listener's name. */
        status = read_listener_key(loader, section, row,
                                   row->fallback != NULL ? row->fallback : protocol_by_name(title),
                                   listener);
    }
    listener->policy.plaintext_without_tls = listener->plaintext == CONFIG_PLAINTEXT_ALWAYS;
    if (status == STATUS_OK) {
        status = read_owner(loader, section, listener);
    }
    if (status == STATUS_OK) {
        status = read_list(loader, section, "address", listener, &listener->address_count);
    }
    if (status == STATUS_OK) {
        status = read_list(loader, section, "allow", listener, &listener->allow_count);
    }
    if (status == STATUS_OK && listener->address_count == 0) {
        status = refuse(loader, listener->line,
                        "listener %s: address is missing: write address = \"127.0.0.1:110\"",
                        listener->name);
    }
    return status;
}

static enum status read_listeners(struct loader *loader)
{
    struct config *config = loader->config;
    unsigned count = cfg_size(loader->root, "listener");
    if (count > CONFIG_LISTENERS_MAX) {
        return refuse(loader, 0, "at most %d listeners", CONFIG_LISTENERS_MAX);
    }
    if (count == 0) {
        return STATUS_OK;
    }
    config->listeners = calloc(count, sizeof *config->listeners);
    if (config->listeners == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (unsigned i = 0; i < count; i++) {
        enum status status =
            read_listener(loader, cfg_getnsec(loader->root, "listener", i), &config->listeners[i]);
        if (status != STATUS_OK) {
            return status;
        }
    }
    config->listener_count = count;
    return STATUS_OK;
}

/* --- the whole --- */

/* The system's name where none is given. */
static enum status fill_hostname(struct loader *loader)
{
    char name[256] = "";
    if (loader->config->hostname[0] != '\0') {
        return STATUS_OK;
    }
    if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') {
        (void)snprintf(name, sizeof name, "localhost");
    }
    loader->config->hostname = mem_arena_copy(loader->arena, name, strlen(name));
    return loader->config->hostname != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

/* What no single row can say. */
static enum status check_together(struct loader *loader)
{
    struct config_fault fault;
    if (config_check(loader->config, &fault)) {
        return STATUS_OK;
    }
    int line = fault.listener != NULL ? fault.listener->line
                                      : config_line(loader->config, fault.section, fault.key);
    return refuse(loader, line, "%s", fault.text);
}

static enum status load(struct loader *loader, char *text, const char *const *overrides,
                        size_t override_count)
{
    enum status status = make_root(loader);
    if (status == STATUS_OK) {
        status = read_defaults(loader);
    }
    if (status == STATUS_OK && text != NULL) {
        status = parse_text(loader, text);
    }
    for (size_t i = 0; status == STATUS_OK && i < override_count; i++) {
        status = apply_override(loader, overrides[i]);
    }
    if (status == STATUS_OK) {
        status = read_lists(loader);
    }
    if (status == STATUS_OK) {
        status = read_sni(loader);
    }
    if (status == STATUS_OK) {
        status = read_listeners(loader);
    }
    if (status == STATUS_OK) {
        status = fill_hostname(loader);
    }
    if (status == STATUS_OK) {
        status = check_together(loader);
    }
    if (status == STATUS_NO_MEMORY && !loader->failed) {
        (void)error_set(loader->error, status, 0, NULL, "reading the configuration"); /* returned */
    }
    return status;
}

/* Makes a configuration of `text`, which it changes (NULL: only defaults and overrides). */
static enum status load_text(const char *source, char *text, const char *const *overrides,
                             size_t override_count, struct config **out_config,
                             struct error *out_error)
{
    struct error unwanted;
    struct config *config = calloc(1, sizeof *config);
    struct mem_arena *arena = calloc(1, sizeof *arena);
    if (config == NULL || arena == NULL) {
        free(config);
        free(arena);
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "reading the configuration");
    }
    config->own = arena;
    config->file = "";
    struct loader loader = {.source = source,
                            .config = config,
                            .arena = arena,
                            .error = out_error != NULL ? out_error : &unwanted};
    active = &loader;
    enum status status = load(&loader, text, overrides, override_count);
    active = NULL;
    if (loader.root != NULL) {
        (void)cfg_free(loader.root); /* it has nothing to report */
    }
    if (status != STATUS_OK) {
        config_free(&config);
        return status;
    }
    *out_config = config;
    return STATUS_OK;
}

enum status config_load(const char *path, const char *const *overrides, size_t override_count,
                        struct config **out_config, struct error *out_error)
{
    char *text = NULL;
    enum status status = path == NULL ? STATUS_OK : config_text_read(path, &text, out_error);
    if (status == STATUS_OK) {
        status = load_text(path == NULL ? "defaults" : path, text, overrides, override_count,
                           out_config, out_error);
    }
    free(text);
    if (status == STATUS_OK && path != NULL) {
        (*out_config)->file = mem_arena_copy((*out_config)->own, path, strlen(path));
        if ((*out_config)->file == NULL) {
            config_free(out_config);
            return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "reading the configuration");
        }
    }
    return status;
}

enum status config_demo(const char *directory, const char *const *overrides, size_t override_count,
                        struct config **out_config, struct error *out_error)
{
    if (strpbrk(directory, "'\\\n") != NULL) {
        return error_set(out_error, STATUS_INVALID, 0, directory,
                         "choose a folder without quotes and backslashes in its name");
    }
    char *text = config_text_demo(directory);
    if (text == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "reading the configuration");
    }
    enum status status = load_text("demo", text, overrides, override_count, out_config, out_error);
    free(text);
    return status;
}

void config_free(struct config **config)
{
    if (*config == NULL) {
        return;
    }
    mem_arena_clear((*config)->own);
    free((*config)->own);
    free((*config)->listeners);
    free(*config);
    *config = NULL;
}

int config_line(const struct config *config, const char *section, const char *name)
{
    size_t index = setting_find(section, name);
    return index < settings_count ? config->lines[index] : 0;
}

void config_store(const struct config *config, struct store_config *out_store)
{
    const struct config_store *store = &config->store;
    *out_store = (struct store_config){.path = store->path,
                                       .segment_size = store->segment_size,
                                       .blob_min = store->blob_min,
                                       .map_size = store->map_size,
                                       .checkpoint_ms = store->checkpoint_ms,
                                       .compact_off = store->compact_rate == 0,
                                       .compact_rate = store->compact_rate,
                                       .compact_ms = store->compact_ms,
                                       .compact_live = store->compact_live,
                                       .scrub_rate = store->scrub_rate,
                                       .message_octets_max = config->lmtp.message_octets_max,
                                       .body_memory = store->body_memory};
}
