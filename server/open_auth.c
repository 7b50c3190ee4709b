/* SPDX-License-Identifier: Apache-2.0 */
#include "server/open_auth.h"

#include "auth/oauth.h"
#include "auth/passdb_passwd_file.h"
#include "io/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_notice(void *owner, const struct auth_notice *notice)
{
    struct log_line line;
    log_begin(&line, notice->is_trouble ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, notice->event);
    log_text(&line, "database", notice->database);
    if (notice->line > 0) {
        log_number(&line, "line", (int64_t)notice->line);
    }
    log_text(&line, "text", notice->text);
    log_end(&line);
}

static size_t read_sources(const struct config_auth *config,
                           struct auth_source sources[AUTH_SOURCES_MAX])
{
    for (size_t i = 0; i < config->databases.count; i++) {
        const char *database = config->databases.items[i];
        bool embedded = strcmp(database, CONFIG_EMBEDDED) == 0;
        sources[i] = (struct auth_source){
            .kind = embedded ? AUTH_SOURCE_EMBEDDED : AUTH_SOURCE_PASSWD_FILE,
            .path = embedded ? NULL : database + strlen(CONFIG_PASSWD_FILE),
        };
    }
    return config->databases.count;
}

static bool is_address(const char *text)
{
    return strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0;
}

static struct oauth_config read_oauth(const struct config_oauth *config)
{
    bool by_address = is_address(config->jwks);
    return (struct oauth_config){
        .jwks_file = by_address ? NULL : config->jwks,
        .jwks_url = by_address ? config->jwks : NULL,
        .ca_file = config->ca,
        .issuer = config->issuer,
        .audience = config->audience,
        .scope = config->scope,
        .user_claim = config->user_claim,
        .openid_configuration = config->openid_configuration,
        .refresh_s = config->refresh_s,
        .leeway_s = config->leeway_s,
    };
}

enum status open_auth(const struct config *config, bool offline, struct auth **out_auth,
                      struct error *out_error)
{
    char accounts[512];
    (void)snprintf(accounts, sizeof accounts, "%s/accounts", config->store.path);
    struct auth_source sources[AUTH_SOURCES_MAX];
    struct oauth_config oauth = read_oauth(&config->oauth);
    struct auth_config auth = {
        .accounts_path = accounts,
        .sources = sources,
        .source_count = read_sources(&config->auth, sources),
        .default_domain = config->auth.default_domain,
        .recipient_delimiter = config->auth.recipient_delimiter,
        .name_separators = config->auth.domain_separators,
        .master_separator = config->auth.master_separator,
        .hash_threads = offline ? 1 : config->auth.hash_threads,
        .hash_queue_max = config->auth.hash_queue,
        .cache_entries_max = config->auth.cache_entries,
        .cache_ttl_s = config->auth.cache_ttl_s,
        .cache_negative_ttl_s = config->auth.cache_negative_ttl_s,
        .exempt_loopback = config->auth.exempt_loopback,
        .oauth = config->oauth.jwks[0] != '\0' && !offline ? &oauth : NULL,
        .on_notice = on_notice,
    };
    return auth_open(&auth, out_auth, out_error);
}

/* --- only looking --- */

static void on_trouble(void *owner, const struct auth_notice *notice)
{
    if (notice->is_trouble) {
        on_notice(owner, notice);
    }
}

enum status check_passwd_files(const struct config *config, struct error *out_error)
{
    struct auth_source sources[AUTH_SOURCES_MAX];
    size_t count = read_sources(&config->auth, sources);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        const struct passdb_passwd_file_config file = {.path = sources[i].path,
                                                       .default_domain =
                                                           config->auth.default_domain,
                                                       .on_notice = on_trouble};
        struct passdb *passdb = NULL;
        if (sources[i].kind != AUTH_SOURCE_PASSWD_FILE) {
            continue;
        }
        status = passdb_passwd_file_create(&file, &passdb, out_error);
        if (status == STATUS_OK) {
            passdb->ops->stop(passdb);
            passdb->ops->destroy(passdb);
        }
    }
    return status;
}

enum status check_oauth(const struct config *config, struct error *out_error)
{
    if (config->oauth.jwks[0] == '\0') {
        return STATUS_OK;
    }
    const char *ca = config->oauth.ca;
    const struct oauth_config oauth = read_oauth(&config->oauth);
    enum status status = oauth_try(&oauth, out_error);
    /* The start leaves it alone: it is read anew each time the keys are fetched. */
    if (status == STATUS_OK && ca[0] != '\0' && access(ca, R_OK) != 0) {
        status = error_set(out_error, status_from_errno(errno), errno, ca,
                           "the certificates that the address of the keys is checked with cannot "
                           "be read");
    }
    return status;
}
