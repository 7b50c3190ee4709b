/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of SASL exchanges for tests, and the arithmetic of CRAM-MD5 and SCRAM written once more,
 * over auth/digest.h alone: what is tested does not check itself.
 */
#ifndef TESTS_UNIT_SASL_PROBE_H
#define TESTS_UNIT_SASL_PROBE_H

#include "auth/base64.h"
#include "auth/digest.h"
#include "tests/unit/auth_stage.h"

struct probe {
    struct auth_request request;
    struct address peer;
    enum auth_verdict verdict;
    int answers;
};

static inline void probe_on_verdict(struct auth_request *request, enum auth_verdict verdict)
{
    struct probe *probe = (struct probe *)(void *)request;
    probe->verdict = verdict;
    probe->answers++;
}

/* A connection from loopback (no delays where the stage exempts it). */
static inline void probe_init(struct probe *probe, struct stage *stage,
                              const struct auth_policy *policy, const struct auth_tls *tls)
{
    *probe = (struct probe){0};
    enum status status = address_parse("127.0.0.1:1", &probe->peer);
    assert(status == STATUS_OK);
    (void)status;
    probe->request.client = &stage->client;
    probe->request.on_verdict = probe_on_verdict;
    probe->request.peer = &probe->peer;
    probe->request.policy = policy;
    probe->request.tls_facts = tls;
    probe->request.tls = tls != NULL;
}

static inline enum auth_verdict probe_wait(struct probe *probe, enum auth_verdict verdict)
{
    int before = probe->answers;
    while (verdict == AUTH_PENDING && probe->answers == before) {
        loop_turn(probe->request.client->loop, -1);
    }
    return verdict == AUTH_PENDING ? probe->verdict : verdict;
}

/* `initial` NULL: none. Waits for the verdict. */
static inline enum auth_verdict probe_start(struct probe *probe, const char *mechanism,
                                            const char *initial, size_t length)
{
    return probe_wait(probe,
                      auth_start(&probe->request, mechanism, strlen(mechanism), initial, length));
}

static inline enum auth_verdict probe_continue(struct probe *probe, const char *data, size_t length)
{
    return probe_wait(probe, auth_continue(&probe->request, data, length));
}

static inline bool probe_challenge_is(const struct probe *probe, const char *text)
{
    return probe->request.challenge_length == strlen(text) &&
           (strlen(text) == 0 || memcmp(probe->request.challenge, text, strlen(text)) == 0);
}

/* --- arithmetic ------------------------------------------------------------------------------ */

static inline void probe_hmac(enum digest_kind kind, const void *key, size_t key_length,
                              const void *data, size_t length, uint8_t out[DIGEST_OCTETS_MAX])
{
    uint8_t inner_pad[64], outer_pad[64], inner[DIGEST_OCTETS_MAX], short_key[64] = {0};
    assert(key_length <= 64);
    memcpy(short_key, key, key_length);
    for (size_t i = 0; i < 64; i++) {
        inner_pad[i] = short_key[i] ^ 0x36;
        outer_pad[i] = short_key[i] ^ 0x5c;
    }
    enum status status = digest_salted(kind, inner_pad, 64, data, length, inner);
    assert(status == STATUS_OK);
    status = digest_salted(kind, outer_pad, 64, inner, digest_size(kind), out);
    assert(status == STATUS_OK);
    (void)status;
}

/* The client's proof and the server's signature (RFC 5802 section 3), in base64. */
static inline void probe_scram(enum digest_kind kind, const char *password, const char *salt,
                               unsigned iterations, const char *auth_message, char out_proof[64],
                               char out_signature[64])
{
    uint8_t salted[DIGEST_OCTETS_MAX], client[DIGEST_OCTETS_MAX], stored[DIGEST_OCTETS_MAX];
    uint8_t server[DIGEST_OCTETS_MAX], signature[DIGEST_OCTETS_MAX];
    char salt_octets[64];
    size_t salt_length, size = digest_size(kind);
    enum status status = base64_decode(salt, strlen(salt), salt_octets, &salt_length);
    assert(status == STATUS_OK);
    status = digest_pbkdf2(kind, password, strlen(password), salt_octets, salt_length, iterations,
                           salted, size);
    assert(status == STATUS_OK);
    probe_hmac(kind, salted, size, "Client Key", 10, client);
    status = digest_salted(kind, client, size, NULL, 0, stored);
    assert(status == STATUS_OK);
    (void)status;
    probe_hmac(kind, stored, size, auth_message, strlen(auth_message), signature);
    for (size_t i = 0; i < size; i++) {
        client[i] ^= signature[i];
    }
    out_proof[base64_encode(client, size, out_proof)] = '\0';
    probe_hmac(kind, salted, size, "Server Key", 10, server);
    probe_hmac(kind, server, size, auth_message, strlen(auth_message), signature);
    out_signature[base64_encode(signature, size, out_signature)] = '\0';
}

#endif
