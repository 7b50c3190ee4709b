/* SPDX-License-Identifier: Apache-2.0 */
#include "server/certificates.h"

#include "io/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEMO_CERTIFICATE_DAYS 820 /* some clients take no certificate of more than 825 */

static bool has_tls(const struct config *config, enum config_protocol protocol)
{
    for (unsigned i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        if (listener->protocol == protocol && listener->tls != CONFIG_TLS_NONE) {
            return true;
        }
    }
    return false;
}

static struct tls_pair *make_pairs(const struct config_tls_files *files, size_t *out_count)
{
    size_t count = 0;
    struct tls_pair *pairs = calloc(files->certificates.count + files->sni_count, sizeof *pairs);
    if (pairs == NULL) {
        return NULL;
    }
    for (; count < files->certificates.count; count++) {
        pairs[count].certificate_file = files->certificates.items[count];
        pairs[count].key_file = files->keys.items[count];
    }
    for (unsigned i = 0; i < files->sni_count; i++, count++) {
        pairs[count].certificate_file = files->sni[i].certificate;
        pairs[count].key_file = files->sni[i].key;
        pairs[count].names = &files->sni[i].name;
        pairs[count].name_count = 1;
    }
    *out_count = count;
    return pairs;
}

static enum status load_one(const struct config_tls_files *files, enum config_protocol protocol,
                            unsigned worker_count, struct tls_server *former,
                            struct tls_server **out_server, struct error *out_error)
{
    size_t count = 0;
    struct tls_pair *pairs = make_pairs(files, &count);
    if (pairs == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "reading certificates");
    }
    struct tls_config config = {
        .pairs = pairs,
        .pair_count = count,
        .strict_names = files->strict_names,
        /* "pop3" is registered (RFC 7595's list of protocol ids); LMTP has no name there. */
        .protocol = protocol == CONFIG_POP3 ? "pop3" : NULL,
        .tls13_only = files->min_version == 1,
        .client_certificates = files->client_certificates,
        .client_ca_file = files->client_ca[0] != '\0' ? files->client_ca : NULL,
        .no_tickets = !files->tickets,
        .ticket_key_file = files->ticket_key_file[0] != '\0' ? files->ticket_key_file : NULL,
        .ticket_rotate_s = files->ticket_rotate_s,
        .kernel = files->kernel,
        .handshake_ms = files->handshake_s * 1000,
    };
    enum status status = tls_server_create(&config, worker_count, former, out_server, out_error);
    free(pairs);
    return status;
}

enum status certificates_load(const struct config *config, unsigned worker_count,
                              const struct certificates *former,
                              struct certificates *out_certificates, struct error *out_error)
{
    struct certificates made = {.servers = {NULL}};
    for (unsigned i = 0; i < CONFIG_PROTOCOLS; i++) {
        enum config_protocol protocol = (enum config_protocol)i;
        if (!has_tls(config, protocol)) {
            continue;
        }
        enum status status =
            load_one(&config->tls, protocol, worker_count,
                     former != NULL ? former->servers[i] : NULL, &made.servers[i], out_error);
        if (status != STATUS_OK) {
            certificates_unload(&made);
            return status;
        }
    }
    *out_certificates = made;
    return STATUS_OK;
}

void certificates_unload(struct certificates *certificates)
{
    for (unsigned i = 0; i < CONFIG_PROTOCOLS; i++) {
        if (certificates->servers[i] != NULL) {
            tls_server_unref(&certificates->servers[i]);
        }
    }
}

void certificates_refresh(const struct certificates *certificates)
{
    for (unsigned i = 0; i < CONFIG_PROTOCOLS; i++) {
        struct error error = {.status = STATUS_OK};
        struct tls_server *server = certificates->servers[i];
        if (server != NULL && tls_server_refresh(server, &error) != STATUS_OK) {
            struct log_line line;
            log_begin(&line, LOG_LEVEL_ERROR, "ticket_keys");
            log_error(&line, &error);
            log_end(&line);
        }
    }
}

int64_t certificates_expire_s(const struct certificates *certificates)
{
    int64_t earliest = 0;
    for (unsigned i = 0; i < CONFIG_PROTOCOLS; i++) {
        const struct tls_server *server = certificates->servers[i];
        int64_t expires = server != NULL ? tls_server_expires_s(server) : 0;
        if (expires != 0 && (earliest == 0 || expires < earliest)) {
            earliest = expires;
        }
    }
    return earliest;
}

/* All protocols present the same files: the first that has any speaks for them. */
static const struct tls_server *any_server(const struct certificates *certificates)
{
    for (unsigned i = 0; i < CONFIG_PROTOCOLS; i++) {
        if (certificates->servers[i] != NULL) {
            return certificates->servers[i];
        }
    }
    return NULL;
}

void certificates_log_expiry(const struct certificates *certificates, int64_t now_s)
{
    const struct tls_server *server = any_server(certificates);
    size_t count = server != NULL ? tls_server_certificates(server) : 0;
    for (size_t i = 0; i < count; i++) {
        struct tls_certificate certificate = tls_server_certificate(server, i);
        int64_t left_s = certificate.not_after_s - now_s;
        if (left_s > CERTIFICATES_WARN_S) {
            continue;
        }
        struct log_line line;
        log_begin(&line, LOG_LEVEL_WARNING, "certificate_expires");
        log_text(&line, "name", certificate.name);
        log_text(&line, "file", certificate.file);
        log_number(&line, "days_left", left_s > 0 ? left_s / 86400 : 0);
        log_text(&line, "text",
                 left_s > 0 ? "it ends soon: renew it, then send SIGHUP"
                            : "it has expired: clients refuse it; renew it, then send SIGHUP");
        log_end(&line);
    }
}

/* --- the demo --- */

static enum status write_file(const char *path, const char *text, struct error *out_error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return error_set(out_error, status_from_errno(errno), errno, path, "cannot make it");
    }
    size_t length = strlen(text);
    ssize_t written = write(fd, text, length);
    if (close(fd) != 0 || written != (ssize_t)length) {
        (void)unlink(path); /* half of it is of no use */
        return error_set(out_error, STATUS_IO, errno, path, "cannot write it");
    }
    return STATUS_OK;
}

enum status certificates_make_demo(const struct config *config, const struct privileges *privileges,
                                   struct error *out_error)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "::1"};
    const struct config_tls_files *files = &config->tls;
    if (files->certificates.count != 1 || files->keys.count != 1) {
        return STATUS_OK; /* not the demo's own any more */
    }
    const char *certificate = files->certificates.items[0], *key = files->keys.items[0];
    if (access(certificate, F_OK) == 0 || access(key, F_OK) == 0) {
        return STATUS_OK;
    }
    struct tls_pem pem;
    enum status status =
        tls_self_signed(names, sizeof names / sizeof names[0], DEMO_CERTIFICATE_DAYS, &pem);
    if (status != STATUS_OK) {
        return error_set(out_error, status, 0, certificate, "making a certificate");
    }
    status = write_file(key, pem.key, out_error);
    if (status == STATUS_OK) {
        status = write_file(certificate, pem.certificate, out_error);
    }
    if (status == STATUS_OK) {
        privileges_give(privileges, key);
        privileges_give(privileges, certificate);
    }
    tls_pem_free(&pem);
    return status;
}
