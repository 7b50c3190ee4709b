/* SPDX-License-Identifier: Apache-2.0 */
#include "server/config_check.h"

#include "auth/identity.h"
#include "server/server_limits.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Always false: `return blame(...)`. */
static bool blame(struct config_fault *fault, const char *section, const char *key,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));

static bool blame(struct config_fault *fault, const char *section, const char *key,
                  const char *format, ...)
{
    va_list arguments;
    fault->section = section;
    fault->key = key;
    fault->listener = NULL;
    va_start(arguments, format);
    (void)vsnprintf(fault->text, sizeof fault->text, format, arguments);
    va_end(arguments);
    return false;
}

static bool check_hostname(const struct config *config, struct config_fault *fault)
{
    for (const char *at = config->hostname; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && strchr("-._", *at) == NULL) {
            return blame(fault, "", "hostname",
                         "hostname must be letters, digits, dots and hyphens");
        }
    }
    return true;
}

static bool check_domain(const struct config_auth *auth, struct config_fault *fault)
{
    struct identity identity;
    if (identity_from_login("x", 1, auth->default_domain, &identity) != STATUS_OK) {
        return blame(fault, "auth", "default_domain",
                     "default_domain of auth must be a domain such as example.org");
    }
    return true;
}

static bool check_databases(const struct config_auth *auth, struct config_fault *fault)
{
    for (size_t i = 0; i < auth->databases.count; i++) {
        const char *database = auth->databases.items[i];
        bool known = strcmp(database, CONFIG_EMBEDDED) == 0 ||
                     strncmp(database, CONFIG_PASSWD_FILE, strlen(CONFIG_PASSWD_FILE)) == 0;
        if (!known || i >= AUTH_SOURCES_MAX) {
            return blame(fault, "auth", "databases",
                         "databases of auth must be embedded or passwd-file:/path, at most %d",
                         AUTH_SOURCES_MAX);
        }
    }
    return true;
}

static bool check_tls(const struct config_tls_files *tls, struct config_fault *fault)
{
    if (tls->certificates.count != tls->keys.count) {
        return blame(fault, "tls", "certificate",
                     "tls: as many keys as certificates, in the same order");
    }
    if (tls->client_certificates != TLS_CLIENT_NONE && tls->client_ca[0] == '\0') {
        return blame(fault, "tls", "client_certificates",
                     "tls: client_certificates takes client_ca, who signs them");
    }
    return true;
}

static bool check_listener(const struct config *config, const struct config_listener *listener,
                           struct config_fault *fault)
{
    bool is_right = true;
    if (listener->tls == CONFIG_TLS_NONE) {
        return true;
    }
    if (listener->protocol == CONFIG_METRICS) {
        is_right = blame(fault, "", "", "listener %s: metrics have no TLS; put a proxy in front",
                         listener->name);
    } else if (config->tls.certificates.count == 0) {
        is_right = blame(fault, "", "",
                         "listener %s: TLS takes a certificate: write tls { certificate = "
                         "\"FILE\" key = \"FILE\" }",
                         listener->name);
    }
    fault->listener = listener;
    return is_right;
}

bool config_check(const struct config *config, struct config_fault *out_fault)
{
    const struct config_pop3 *pop3 = &config->pop3;
    if (pop3->idle_timeout_s < POP3_IDLE_TIMEOUT_MIN_S && !pop3->allow_short_timeouts) {
        return blame(out_fault, "pop3", "idle_timeout",
                     "idle_timeout of pop3 must be %ds or more (RFC 1939 section 3)",
                     POP3_IDLE_TIMEOUT_MIN_S);
    }
    if (config->store.path[0] != '/' && config->store.path[0] != '.') {
        return blame(out_fault, "store", "path", "path of store must begin with / (or ./)");
    }
    for (unsigned i = 0; i < config->listener_count; i++) {
        if (!check_listener(config, &config->listeners[i], out_fault)) {
            return false;
        }
    }
    return check_hostname(config, out_fault) && check_domain(&config->auth, out_fault) &&
           check_databases(&config->auth, out_fault) && check_tls(&config->tls, out_fault);
}
