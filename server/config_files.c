/* SPDX-License-Identifier: Apache-2.0 */
#include "server/config_files.h"

#include "server/certificates.h"
#include "server/open_auth.h"
#include "server/privileges.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- whose fault it is --- */

/* Puts the place of the setting in front of what is wrong with its file. */
static enum status blame(int line, const char *section, const char *key,
                         const struct config *config, struct error *error)
{
    char place[sizeof error->path], text[sizeof error->text];
    if (line > 0) {
        (void)snprintf(place, sizeof place, "%.240s:%d", config->file, line);
    } else {
        (void)snprintf(place, sizeof place, "-o %.40s%s%.40s", section,
                       section[0] == '\0' ? "" : ".", key);
    }
    (void)snprintf(text, sizeof text, "%.120s%s%.130s", error->path,
                   error->path[0] == '\0' ? "" : ": ", error->text);
    memcpy(error->path, place, sizeof error->path);
    memcpy(error->text, text, sizeof error->text);
    return error->status;
}

static enum status blame_key(const char *section, const char *key, const struct config *config,
                             struct error *error)
{
    return blame(config_line(config, section, key), section, key, config, error);
}

/* An error's path may have been cut. */
static bool is_about(const struct error *error, const char *path)
{
    return strncmp(error->path, path, sizeof error->path - 1) == 0;
}

static bool is_about_one(const struct error *error, const struct setting_list *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        if (is_about(error, paths->items[i])) {
            return true;
        }
    }
    return false;
}

static enum status blame_tls(const struct config *config, struct error *error)
{
    const struct config_tls_files *tls = &config->tls;
    const char *key = "certificate";
    if (is_about_one(error, &tls->certificates)) {
        return blame_key("tls", key, config, error);
    }
    for (unsigned i = 0; i < tls->sni_count; i++) {
        if (is_about(error, tls->sni[i].certificate) || is_about(error, tls->sni[i].key)) {
            return blame(tls->sni[i].line, "tls", "sni", config, error);
        }
    }
    if (is_about_one(error, &tls->keys)) {
        key = "key";
    } else if (is_about(error, tls->client_ca)) {
        key = "client_ca";
    } else if (is_about(error, tls->ticket_key_file)) {
        key = "ticket_key_file";
    }
    return blame_key("tls", key, config, error);
}

/* --- reading --- */

static enum status check_tls_files(const struct config *config, struct error *out_error)
{
    struct certificates loaded;
    struct config quiet = *config;
    quiet.tls.kernel = false; /* asking for it takes a connection */
    if (certificates_load(&quiet, 1, NULL, &loaded, out_error) != STATUS_OK) {
        return blame_tls(config, out_error);
    }
    certificates_log_expiry(&loaded, time(NULL));
    certificates_unload(&loaded);
    return STATUS_OK;
}

/* Who is not root can check a file all the same, as far as he may read. */
static enum status become_user(const struct config *config, struct error *out_error)
{
    struct privileges plan;
    enum status status = privileges_plan(config->user, config->group, &plan, out_error);
    if (status == STATUS_OK) {
        return privileges_become(&plan, out_error);
    }
    if (status == STATUS_DENIED && geteuid() != 0) {
        return STATUS_OK;
    }
    uint32_t id;
    bool is_group = config->user[0] == '\0' || privileges_find(config->user, false, &id);
    return blame_key("", is_group ? "group" : "user", config, out_error);
}

enum status config_files_check(const struct config *config, struct error *out_error)
{
    enum status status = check_tls_files(config, out_error);
    if (status == STATUS_OK) {
        status = become_user(config, out_error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (check_passwd_files(config, out_error) != STATUS_OK) {
        return blame_key("auth", "databases", config, out_error);
    }
    if (check_oauth(config, out_error) != STATUS_OK) {
        bool is_ca = config->oauth.ca[0] != '\0' && is_about(out_error, config->oauth.ca);
        return blame_key("oauth", is_ca ? "ca" : "jwks", config, out_error);
    }
    return STATUS_OK;
}
