/* SPDX-License-Identifier: Apache-2.0 */
#include "server/sandbox.h"

#include "io/log.h"
#include "server/landlock.h"
#include "server/privileges.h"
#include "server/syscall_filter.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER true
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER false
#endif

/* Paths being allowed; the first failure stays. */
struct rules {
    struct landlock landlock;
    enum status status;
    struct error *error;
};

static void allow(struct rules *rules, const char *path, enum landlock_access access)
{
    if (rules->status == STATUS_OK && path[0] != '\0') {
        rules->status = landlock_allow(&rules->landlock, path, access, rules->error);
    }
}

/* The folder a path is in, as it is written. */
static void allow_folder(struct rules *rules, const char *path, enum landlock_access access)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (path[0] == '\0') {
        return;
    }
    if (slash == NULL) {
        allow(rules, ".", access);
    } else if (slash == path) {
        allow(rules, path, access); /* not all of "/" */
    } else if ((size_t)(slash - path) < sizeof folder) {
        memcpy(folder, path, (size_t)(slash - path));
        folder[slash - path] = '\0';
        allow(rules, folder, access);
    }
}

/* A file that is replaced from time to time, often by way of links: its folder as it is written,
 * and the one it really is in. */
static void allow_file(struct rules *rules, const char *path)
{
    char real[PATH_MAX];
    allow_folder(rules, path, LANDLOCK_READ);
    if (path[0] != '\0' && realpath(path, real) != NULL) {
        allow_folder(rules, real, LANDLOCK_READ);
    }
}

static bool is_address(const char *jwks)
{
    return strncmp(jwks, "http", 4) == 0 && strstr(jwks, "://") != NULL;
}

/* What the C library and the metrics look at in passing. */
static void allow_system(struct rules *rules, const struct config *config)
{
    static const char *const always[] = {
        "/proc/self", "/sys/devices/system/cpu", "/dev/urandom",   "/etc/passwd",
        "/etc/group", "/etc/nsswitch.conf",      "/etc/localtime", "/usr/share/zoneinfo"};
    static const char *const for_names[] = {
        "/etc/resolv.conf", "/etc/hosts",    "/etc/host.conf", "/etc/gai.conf",
        "/etc/ssl",         "/etc/services", "/usr/lib",       "/usr/share/ca-certificates"};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        allow(rules, always[i], LANDLOCK_READ);
    }
    if (!is_address(config->oauth.jwks)) {
        return;
    }
    for (size_t i = 0; i < sizeof for_names / sizeof for_names[0]; i++) {
        allow(rules, for_names[i], LANDLOCK_READ);
    }
}

static void allow_certificates(struct rules *rules, const struct config_tls_files *tls)
{
    for (size_t i = 0; i < tls->certificates.count; i++) {
        allow_file(rules, tls->certificates.items[i]);
    }
    for (size_t i = 0; i < tls->keys.count; i++) {
        allow_file(rules, tls->keys.items[i]);
    }
    for (unsigned i = 0; i < tls->sni_count; i++) {
        allow_file(rules, tls->sni[i].certificate);
        allow_file(rules, tls->sni[i].key);
    }
    allow_file(rules, tls->client_ca);
    allow_file(rules, tls->ticket_key_file);
}

static void allow_sockets(struct rules *rules, const struct config *config)
{
    allow_folder(rules, config->admin_socket, LANDLOCK_SOCKET);
    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        for (unsigned a = 0; a < listener->address_count; a++) {
            const struct address *address = &listener->addresses[a];
            if (address->any.sa_family == AF_UNIX) {
                allow_folder(rules, ((const struct sockaddr_un *)&address->storage)->sun_path,
                             LANDLOCK_SOCKET);
            }
        }
    }
}

static void allow_databases(struct rules *rules, const struct config *config)
{
    for (size_t i = 0; i < config->auth.databases.count; i++) {
        const char *path = strchr(config->auth.databases.items[i], ':');
        if (path != NULL) {
            allow_file(rules, path + 1);
        }
    }
    if (!is_address(config->oauth.jwks)) {
        allow_file(rules, config->oauth.jwks);
    }
    allow_file(rules, config->oauth.ca);
}

static enum status enforce(const struct config *config, bool demo, int *out_abi,
                           struct error *out_error)
{
    struct rules rules = {.status = STATUS_OK, .error = out_error};
    if (landlock_begin(&rules.landlock, out_error) != STATUS_OK) {
        *out_abi = 0;
        return STATUS_OK; /* a kernel without it; the log line says so */
    }
    allow(&rules, config->store.path, LANDLOCK_WRITE);
    if (demo) {
        allow_folder(&rules, config->store.path, LANDLOCK_REMOVE);
    }
    allow_certificates(&rules, &config->tls);
    allow_sockets(&rules, config);
    allow_databases(&rules, config);
    allow_file(&rules, config->file);
    allow_system(&rules, config);
    if (rules.status == STATUS_OK) {
        rules.status = landlock_enforce(&rules.landlock, out_error);
    }
    landlock_end(&rules.landlock);
    *out_abi = rules.landlock.abi;
    return rules.status;
}

enum status sandbox_enter(const struct config *config, bool demo, struct sandbox *out_sandbox,
                          struct error *out_error)
{
    struct sandbox sandbox = {.is_off = config->sandbox == CONFIG_SANDBOX_OFF || HAS_SANITIZER};
    enum status status = STATUS_OK;
    if (!sandbox.is_off) {
        status = privileges_drop(out_error);
        sandbox.privileges = status == STATUS_OK;
        if (status == STATUS_OK) {
            status = enforce(config, demo, &sandbox.landlock, out_error);
        }
    }
    if (status == STATUS_OK) {
        *out_sandbox = sandbox;
    }
    return status;
}

void sandbox_seal(const struct config *config, struct sandbox *sandbox)
{
    struct error error = {.status = STATUS_OK};
    if (sandbox->is_off) {
        return;
    }
    sandbox->seccomp = syscall_filter_apply(is_address(config->oauth.jwks), &error) == STATUS_OK;
    if (!sandbox->seccomp) {
        log_message(LOG_LEVEL_WARNING, "seccomp", error.text);
    }
}

void sandbox_log(const struct sandbox *sandbox, bool rings)
{
    struct log_line line;
    log_begin(&line, sandbox->is_off ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "sandbox");
    log_number(&line, "uid", geteuid());
    log_text(&line, "capabilities", sandbox->privileges ? "none" : "kept");
    log_text(&line, "core_dumps", sandbox->privileges ? "no" : "yes");
    if (sandbox->landlock > 0) {
        log_number(&line, "landlock", sandbox->landlock);
    } else {
        log_text(&line, "landlock", "no");
    }
    log_text(&line, "seccomp", sandbox->seccomp ? "yes" : "no");
    log_text(&line, "rings", rings ? "restricted" : "none");
    log_text(&line, "off", !sandbox->is_off ? NULL : HAS_SANITIZER ? "sanitizer" : "configured");
    log_end(&line);
}
