/* SPDX-License-Identifier: Apache-2.0 */
#include "io/io_limits.h"
#include "io/tls_private.h"
#include "io/tls_stream.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Names */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct tls_name *)a)->name, ((const struct tls_name *)b)->name);
}

static bool find_exact(const struct tls_server *server, char *name, size_t *out_pair)
{
    struct tls_name wanted = {.name = name};
    const struct tls_name *found =
        bsearch(&wanted, server->names, server->name_count, sizeof server->names[0], compare_names);
    if (found != NULL) {
        *out_pair = found->pair;
    }
    return found != NULL;
}

bool tls_server_find_name(const struct tls_server *server, const char *name, size_t *out_pair)
{
    char lower[TLS_NAME_MAX + 1];
    size_t length = strlen(name);
    if (length == 0 || length > TLS_NAME_MAX || name[0] == '*') {
        return false;
    }
    for (size_t i = 0; i <= length; i++) {
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
    }
    if (find_exact(server, lower, out_pair)) {
        return true;
    }
    /* RFC 6125 section 6.4.3: a wildcard stands for one whole label, the first. */
    char *dot = strchr(lower, '.');
    if (dot == NULL || dot == lower) {
        return false;
    }
    dot[-1] = '*';
    return find_exact(server, dot - 1, out_pair);
}

struct adding {
    struct tls_server *server;
    size_t pair;
};

static enum status name_add(void *owner, const char *name)
{
    const struct adding *adding = owner;
    struct tls_server *server = adding->server;
    if (server->name_count == server->name_capacity) {
        size_t capacity = server->name_capacity == 0 ? 16 : server->name_capacity * 2;
        struct tls_name *grown = reallocarray(server->names, capacity, sizeof *grown);
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        server->names = grown;
        server->name_capacity = capacity;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (char *at = copy; *at != '\0'; at++) {
        *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + ('a' - 'A') : *at);
    }
    server->names[server->name_count++] = (struct tls_name){.name = copy, .pair = adding->pair};
    server->certificates[adding->pair].name_count++;
    return STATUS_OK;
}

/* By name; of those that several pairs have, the first pair's stays: qsort keeps no order. */
static int compare_names_and_pairs(const void *a, const void *b)
{
    const struct tls_name *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    if (order != 0) {
        return order;
    }
    return left->pair < right->pair ? -1 : left->pair > right->pair;
}

static void names_sort(struct tls_server *server)
{
    if (server->name_count == 0) {
        return;
    }
    qsort(server->names, server->name_count, sizeof server->names[0], compare_names_and_pairs);
    size_t kept = 1;
    for (size_t i = 1; i < server->name_count; i++) {
        if (strcmp(server->names[i].name, server->names[kept - 1].name) == 0) {
            free(server->names[i].name);
        } else {
            server->names[kept++] = server->names[i];
        }
    }
    server->name_count = kept;
}

/* Making */

static enum status pair_describe(struct tls_server *server, size_t index,
                                 const struct tls_pair *pair, const struct tls_identity *identity)
{
    struct tls_certificate *certificate = &server->certificates[index];
    struct adding adding = {.server = server, .pair = index};
    size_t first = server->name_count;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < pair->name_count && status == STATUS_OK; i++) {
        status = name_add(&adding, pair->names[i]);
    }
    if (pair->name_count == 0) {
        status = tls_certificate_names(identity->certificate, name_add, &adding);
    }
    if (status != STATUS_OK) {
        return status;
    }
    certificate->name = strdup(first < server->name_count ? server->names[first].name : "");
    certificate->file = strdup(pair->certificate_pem == NULL ? pair->certificate_file : "");
    certificate->not_after_s = tls_certificate_not_after_s(identity->certificate);
    return certificate->name == NULL || certificate->file == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status client_cas_load(const struct tls_config *config, struct tls_context_parts *parts,
                                   struct error *out_error)
{
    if (config->client_certificates == TLS_CLIENT_NONE) {
        return STATUS_OK;
    }
    ERR_clear_error();
    parts->client_cas = X509_STORE_new();
    if (config->client_ca_file == NULL || parts->client_cas == NULL ||
        X509_STORE_load_file(parts->client_cas, config->client_ca_file) != 1 ||
        (parts->client_ca_names = SSL_load_client_CA_file(config->client_ca_file)) == NULL) {
        return error_set(out_error, STATUS_INVALID, 0, config->client_ca_file,
                         "the certificates that client certificates are checked with cannot be "
                         "used: %s; they must be PEM",
                         tls_error_reason());
    }
    return STATUS_OK;
}

static enum status worker_fill(struct tls_server *server, struct tls_worker *worker,
                               const struct tls_config *config,
                               const struct tls_identity *identities, struct error *out_error)
{
    struct tls_context_parts parts = {.config = config};
    worker->server = server;
    worker->contexts = calloc(config->pair_count, sizeof worker->contexts[0]);
    enum status status = worker->contexts == NULL
                             ? error_set(out_error, STATUS_NO_MEMORY, 0, NULL, "no memory for TLS")
                             : client_cas_load(config, &parts, out_error);
    for (size_t i = 0; i < config->pair_count && status == STATUS_OK; i++) {
        status = tls_context_create(worker, &parts, &identities[i], &worker->contexts[i]);
        if (status != STATUS_OK) {
            (void)error_set(out_error, status, 0, config->pairs[i].certificate_file,
                            "the certificate cannot be used: %s", tls_error_reason());
        }
    }
    X509_STORE_free(parts.client_cas);
    sk_X509_NAME_pop_free(parts.client_ca_names, X509_NAME_free);
    return status;
}

static enum status tickets_make(struct tls_server *server, const struct tls_config *config,
                                const struct tls_server *previous, struct error *out_error)
{
    int64_t rotate_s =
        config->ticket_rotate_s > 0 ? config->ticket_rotate_s : TLS_TICKET_ROTATE_S_DEFAULT;
    if (config->no_tickets) {
        return STATUS_OK;
    }
    if (config->ticket_key_file == NULL && previous != NULL && previous->tickets != NULL &&
        tls_tickets_random(previous->tickets, rotate_s)) {
        server->tickets = tls_tickets_ref(previous->tickets);
        return STATUS_OK;
    }
    return tls_tickets_create(config->ticket_key_file, rotate_s, &server->tickets, out_error);
}

/* ALPN's form of the protocol's name. */
static enum status protocol_copy(struct tls_server *server, const char *protocol)
{
    if (protocol == NULL) {
        return STATUS_OK;
    }
    size_t length = strlen(protocol);
    if (length == 0 || length > UINT8_MAX) {
        return STATUS_INVALID;
    }
    server->protocol = malloc(length + 1);
    if (server->protocol == NULL) {
        return STATUS_NO_MEMORY;
    }
    server->protocol[0] = (unsigned char)length;
    memcpy(server->protocol + 1, protocol, length);
    return STATUS_OK;
}

static enum status server_alloc(const struct tls_config *config, unsigned worker_count,
                                struct tls_server **out_server)
{
    struct tls_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        return STATUS_NO_MEMORY;
    }
    atomic_init(&server->references, 1);
    server->workers = calloc(worker_count, sizeof server->workers[0]);
    server->certificates = calloc(config->pair_count, sizeof server->certificates[0]);
    server->worker_count = server->workers == NULL ? 0 : worker_count;
    server->pair_count = server->certificates == NULL ? 0 : config->pair_count;
    server->strict_names = config->strict_names;
    server->handshake_ms =
        config->handshake_ms > 0 ? config->handshake_ms : TLS_HANDSHAKE_MS_DEFAULT;
    enum status status = server->workers == NULL || server->certificates == NULL
                             ? STATUS_NO_MEMORY
                             : protocol_copy(server, config->protocol);
    if (status != STATUS_OK) {
        tls_server_unref(&server);
        return status;
    }
    *out_server = server;
    return STATUS_OK;
}

static enum status server_fill(struct tls_server *server, const struct tls_config *config,
                               struct tls_identity *identities, struct error *out_error)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < config->pair_count && status == STATUS_OK; i++) {
        status = tls_identity_read(&config->pairs[i], &identities[i], out_error);
        if (status == STATUS_OK) {
            status = pair_describe(server, i, &config->pairs[i], &identities[i]);
            if (status != STATUS_OK) {
                (void)error_set(out_error, status, 0, NULL, "no memory for TLS");
            }
        }
    }
    if (status == STATUS_OK) {
        names_sort(server);
    }
    for (unsigned i = 0; i < server->worker_count && status == STATUS_OK; i++) {
        status = worker_fill(server, &server->workers[i], config, identities, out_error);
    }
    return status;
}

enum status tls_server_create(const struct tls_config *config, unsigned worker_count,
                              struct tls_server *previous, struct tls_server **out_server,
                              struct error *out_error)
{
    if (config->pair_count == 0 || worker_count == 0) {
        return error_set(out_error, STATUS_INVALID, 0, NULL, "TLS needs a certificate");
    }
    struct tls_server *server = NULL;
    struct tls_identity *identities = calloc(config->pair_count, sizeof *identities);
    enum status status =
        identities == NULL ? STATUS_NO_MEMORY : server_alloc(config, worker_count, &server);
    if (status != STATUS_OK) {
        free(identities);
        return error_set(out_error, status, 0, NULL, "no memory for TLS, or a bad protocol name");
    }
    status = tickets_make(server, config, previous, out_error);
    if (status == STATUS_OK) {
        status = server_fill(server, config, identities, out_error);
    }
    for (size_t i = 0; i < config->pair_count; i++) {
        tls_identity_deinit(&identities[i]);
    }
    free(identities);
    if (status != STATUS_OK) {
        tls_server_unref(&server);
        return status;
    }
    *out_server = server;
    return STATUS_OK;
}

/* Unmaking */

/* The strings of a description are ours, however the world sees them. */
static void string_free(const char *text)
{
    union {
        const char *in;
        char *out;
    } owned = {.in = text};
    free(owned.out);
}

static void server_free(struct tls_server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++) {
        for (size_t j = 0; server->workers[i].contexts != NULL && j < server->pair_count; j++) {
            SSL_CTX_free(server->workers[i].contexts[j]);
        }
        free(server->workers[i].contexts);
    }
    for (size_t i = 0; i < server->pair_count; i++) {
        string_free(server->certificates[i].name);
        string_free(server->certificates[i].file);
    }
    for (size_t i = 0; i < server->name_count; i++) {
        free(server->names[i].name);
    }
    tls_tickets_unref(&server->tickets);
    free(server->workers);
    free(server->certificates);
    free(server->names);
    free(server->protocol);
    free(server);
}

struct tls_server *tls_server_ref(struct tls_server *server)
{
    /* Relaxed: whoever gives a reference away has one. */
    atomic_fetch_add_explicit(&server->references, 1, memory_order_relaxed);
    return server;
}

void tls_server_unref(struct tls_server **server)
{
    struct tls_server *gone = *server;
    *server = NULL;
    /* Acquire-release: the last one sees all that the others did. */
    if (gone != NULL &&
        atomic_fetch_sub_explicit(&gone->references, 1, memory_order_acq_rel) == 1) {
        server_free(gone);
    }
}

enum status tls_server_refresh(struct tls_server *server, struct error *out_error)
{
    return server->tickets == NULL ? STATUS_OK : tls_tickets_refresh(server->tickets, out_error);
}

/* Looking */

size_t tls_server_certificates(const struct tls_server *server)
{
    return server->pair_count;
}

struct tls_certificate tls_server_certificate(const struct tls_server *server, size_t index)
{
    return server->certificates[index];
}

int64_t tls_server_expires_s(const struct tls_server *server)
{
    int64_t earliest_s = server->certificates[0].not_after_s;
    for (size_t i = 1; i < server->pair_count; i++) {
        if (server->certificates[i].not_after_s < earliest_s) {
            earliest_s = server->certificates[i].not_after_s;
        }
    }
    return earliest_s;
}

uint32_t tls_server_handshake_ms(const struct tls_server *server)
{
    return server->handshake_ms;
}
