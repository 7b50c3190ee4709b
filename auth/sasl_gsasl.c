/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/sasl_gsasl.h"

#include "auth/base64.h"
#include "io/mem.h"

#include <assert.h>
#include <gsasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BINDING_OCTETS_MAX 64

static_assert(SCRAM_KEY_OCTETS_MAX >= GSASL_HASH_SHA256_SIZE, "room for the larger hash");
static_assert(AUTH_DIGEST_DATA_MAX >= BINDING_OCTETS_MAX, "one buffer of base64 for all");

struct sasl_gsasl_library {
    Gsasl *handle;
};

struct sasl_gsasl {
    Gsasl_session *session;
};

#define CRAM "CRAM-MD5"

static const char *const names[] = {"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256",
                                    "SCRAM-SHA-256-PLUS"};

enum status sasl_gsasl_open(struct sasl_gsasl_library **out_library)
{
    struct sasl_gsasl_library *library = calloc(1, sizeof *library);
    if (library == NULL || gsasl_init(&library->handle) != GSASL_OK) {
        free(library);
        return STATUS_NO_MEMORY;
    }
    bool has_all = gsasl_client_support_p(library->handle, CRAM) != 0;
    for (size_t i = 0; has_all && i < sizeof names / sizeof names[0]; i++) {
        has_all = gsasl_server_support_p(library->handle, names[i]) != 0;
    }
    if (!has_all) {
        sasl_gsasl_close(&library);
        return STATUS_UNSUPPORTED;
    }
    *out_library = library;
    return STATUS_OK;
}

void sasl_gsasl_close(struct sasl_gsasl_library **library)
{
    if (*library != NULL) {
        gsasl_done((*library)->handle);
        free(*library);
        *library = NULL;
    }
}

enum status sasl_gsasl_derive(enum scram_kind kind, const char *password, struct scram_keys *keys)
{
    char salted[GSASL_HASH_MAX_SIZE], client[GSASL_HASH_MAX_SIZE];
    Gsasl_hash hash = kind == SCRAM_SHA_1 ? GSASL_HASH_SHA1 : GSASL_HASH_SHA256;
    int result = gsasl_scram_secrets_from_password(
        hash, password, keys->iterations, (const char *)keys->salt, keys->salt_length, salted,
        client, (char *)keys->server, (char *)keys->stored);
    mem_wipe(salted, sizeof salted);
    mem_wipe(client, sizeof client);
    if (result == GSASL_OK) {
        return STATUS_OK;
    }
    return result == GSASL_MALLOC_ERROR ? STATUS_NO_MEMORY : STATUS_INVALID;
}

enum status sasl_gsasl_begin(struct sasl_gsasl_library *library, const char *mechanism,
                             struct sasl_gsasl **out_exchange)
{
    struct sasl_gsasl *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL ||
        gsasl_server_start(library->handle, mechanism, &exchange->session) != GSASL_OK) {
        free(exchange);
        return STATUS_NO_MEMORY;
    }
    *out_exchange = exchange;
    return STATUS_OK;
}

/* The library frees what it holds without wiping it. */
static void wipe(Gsasl_session *session, Gsasl_property property)
{
    const char *value = gsasl_property_fast(session, property);
    if (value != NULL) {
        mem_wipe((void *)(uintptr_t)value, strlen(value));
    }
}

void sasl_gsasl_end(struct sasl_gsasl **exchange)
{
    if (*exchange == NULL) {
        return;
    }
    wipe((*exchange)->session, GSASL_SCRAM_STOREDKEY);
    wipe((*exchange)->session, GSASL_SCRAM_SERVERKEY);
    gsasl_finish((*exchange)->session);
    free(*exchange);
    *exchange = NULL;
}

static enum status set(struct sasl_gsasl *exchange, Gsasl_property property, const char *text)
{
    return gsasl_property_set(exchange->session, property, text) == GSASL_OK ? STATUS_OK
                                                                             : STATUS_NO_MEMORY;
}

static enum status set_octets(struct sasl_gsasl *exchange, Gsasl_property property,
                              const uint8_t *octets, size_t length)
{
    char text[BASE64_ENCODED(AUTH_DIGEST_DATA_MAX) + 1];
    assert(length <= AUTH_DIGEST_DATA_MAX);
    text[base64_encode(octets, length, text)] = '\0';
    enum status status = set(exchange, property, text);
    mem_wipe(text, sizeof text);
    return status;
}

enum status sasl_gsasl_set_keys(struct sasl_gsasl *exchange, enum scram_kind kind,
                                const struct scram_keys *keys)
{
    char iterations[16];
    size_t size = scram_key_size(kind);
    (void)snprintf(iterations, sizeof iterations, "%u", keys->iterations); /* fits */
    enum status status = set(exchange, GSASL_SCRAM_ITER, iterations);
    if (status == STATUS_OK) {
        status = set_octets(exchange, GSASL_SCRAM_SALT, keys->salt, keys->salt_length);
    }
    if (status == STATUS_OK) {
        status = set_octets(exchange, GSASL_SCRAM_STOREDKEY, keys->stored, size);
    }
    if (status == STATUS_OK) {
        status = set_octets(exchange, GSASL_SCRAM_SERVERKEY, keys->server, size);
    }
    return status;
}

enum status sasl_gsasl_set_binding(struct sasl_gsasl *exchange, bool is_exporter,
                                   const uint8_t *octets, size_t length)
{
    return set_octets(exchange, is_exporter ? GSASL_CB_TLS_EXPORTER : GSASL_CB_TLS_UNIQUE, octets,
                      length);
}

enum status sasl_gsasl_step(struct sasl_gsasl *exchange, const char *data, size_t length,
                            char **out_data, size_t *out_length)
{
    char *output = NULL;
    size_t output_length = 0;
    int result = gsasl_step(exchange->session, data, length, &output, &output_length);
    if (result == GSASL_OK || result == GSASL_NEEDS_MORE) {
        *out_data = output;
        *out_length = output_length;
        return result == GSASL_OK ? STATUS_OK : STATUS_AGAIN;
    }
    free(output);
    return result == GSASL_MALLOC_ERROR ? STATUS_NO_MEMORY : STATUS_DENIED;
}

/* A client's answer is its name, a space and the digits. */
static enum status cram_answer(Gsasl_session *session, const char *challenge, size_t length,
                               const char *password, char out_digits[SASL_GSASL_CRAM_DIGITS])
{
    char *answer = NULL;
    size_t answer_length = 0;
    if (gsasl_property_set(session, GSASL_AUTHID, "x") != GSASL_OK ||
        gsasl_property_set(session, GSASL_PASSWORD, password) != GSASL_OK) {
        return STATUS_NO_MEMORY;
    }
    int result = gsasl_step(session, challenge, length, &answer, &answer_length);
    if (result != GSASL_OK) {
        return result == GSASL_MALLOC_ERROR ? STATUS_NO_MEMORY : STATUS_INVALID;
    }
    assert(answer_length > SASL_GSASL_CRAM_DIGITS);
    memcpy(out_digits, answer + answer_length - SASL_GSASL_CRAM_DIGITS, SASL_GSASL_CRAM_DIGITS);
    mem_wipe(answer, answer_length);
    free(answer);
    return STATUS_OK;
}

enum status sasl_gsasl_cram(struct sasl_gsasl_library *library, const char *challenge,
                            size_t length, const char *password,
                            char out_digits[SASL_GSASL_CRAM_DIGITS])
{
    Gsasl_session *session;
    if (gsasl_client_start(library->handle, CRAM, &session) != GSASL_OK) {
        return STATUS_NO_MEMORY;
    }
    enum status status = cram_answer(session, challenge, length, password, out_digits);
    wipe(session, GSASL_PASSWORD);
    gsasl_finish(session);
    return status;
}
