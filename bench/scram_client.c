/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/scram_client.h"

#include "auth/base64.h"
#include "auth/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HMAC_BLOCK 64 /* octets; RFC 2104, of SHA-1 and SHA-256 alike */

static enum digest_kind digest_of(enum scram_kind kind)
{
    return kind == SCRAM_SHA_1 ? DIGEST_SHA1 : DIGEST_SHA256;
}

/* HMAC (RFC 2104) of a text. The key is at most as long as a digest. */
static enum status hmac(enum scram_kind kind, const uint8_t *key, const char *text, size_t length,
                        uint8_t out[SCRAM_KEY_OCTETS_MAX])
{
    size_t size = scram_key_size(kind);
    uint8_t inner[HMAC_BLOCK] = {0}, outer[HMAC_BLOCK], digest[DIGEST_OCTETS_MAX];
    memcpy(inner, key, size);
    for (size_t index = 0; index < HMAC_BLOCK; index++) {
        outer[index] = inner[index] ^ 0x5c;
        inner[index] ^= 0x36;
    }
    enum status status = digest_salted(digest_of(kind), inner, HMAC_BLOCK, text, length, digest);
    if (status == STATUS_OK) {
        uint8_t whole[DIGEST_OCTETS_MAX];
        status = digest_salted(digest_of(kind), outer, HMAC_BLOCK, digest, size, whole);
        memcpy(out, whole, size);
    }
    return status;
}

/* The client's first message without its header: name, with "=" and "," written as the standard
 * wants them, and nonce. False: too long. */
static bool write_bare(const struct scram_client *client, const char *user,
                       char out[SCRAM_CLIENT_TEXT_MAX])
{
    size_t at = 2;
    memcpy(out, "n=", 2);
    for (; *user != '\0' && at < SCRAM_CLIENT_TEXT_MAX - SCRAM_CLIENT_NONCE - 16; user++) {
        if (*user == '=' || *user == ',') {
            memcpy(out + at, *user == '=' ? "=3D" : "=2C", 3);
            at += 3;
        } else {
            out[at++] = *user;
        }
    }
    (void)snprintf(out + at, SCRAM_CLIENT_TEXT_MAX - at, ",r=%s", client->nonce);
    return *user == '\0';
}

enum status scram_client_first(struct scram_client *client, enum scram_kind kind, const char *user,
                               struct dice *dice, char out[SCRAM_CLIENT_TEXT_MAX])
{
    uint64_t random[SCRAM_CLIENT_NONCE / 4 * 3 / sizeof(uint64_t) + 1];
    char bare[SCRAM_CLIENT_TEXT_MAX];
    for (size_t index = 0; index < sizeof random / sizeof random[0]; index++) {
        random[index] = dice_next(dice);
    }
    client->kind = kind;
    size_t length = base64_encode(random, SCRAM_CLIENT_NONCE / 4 * 3, client->nonce);
    client->nonce[length] = '\0';
    if (!write_bare(client, user, bare)) {
        return STATUS_TOO_BIG;
    }
    int written = snprintf(out, SCRAM_CLIENT_TEXT_MAX, "n,,%s", bare);
    return written < SCRAM_CLIENT_TEXT_MAX ? STATUS_OK : STATUS_TOO_BIG;
}

/* What the server's first message says. */
struct challenge {
    char text[SCRAM_CLIENT_TEXT_MAX];  /* the whole of it */
    char nonce[SCRAM_CLIENT_TEXT_MAX]; /* both nonces */
    size_t salt_length;
    uint8_t salt[SCRAM_CLIENT_SALT_MAX];
    uint32_t iterations;
};

static enum status read_salt(const char *text, size_t length, struct challenge *challenge)
{
    if (length > BASE64_ENCODED(SCRAM_CLIENT_SALT_MAX)) {
        return STATUS_INVALID;
    }
    char octets[BASE64_ENCODED(SCRAM_CLIENT_SALT_MAX)];
    enum status status = base64_decode(text, length, octets, &challenge->salt_length);
    if (status != STATUS_OK || challenge->salt_length > SCRAM_CLIENT_SALT_MAX) {
        return STATUS_INVALID;
    }
    memcpy(challenge->salt, octets, challenge->salt_length);
    return STATUS_OK;
}

/* "r=NONCE,s=SALT,i=COUNT" and perhaps extensions. */
static enum status read_challenge(const struct scram_client *client, const char *text,
                                  size_t length, struct challenge *out)
{
    if (length >= sizeof out->text || memchr(text, '\0', length) != NULL) {
        return STATUS_INVALID;
    }
    memcpy(out->text, text, length);
    out->text[length] = '\0';
    const char *salt = strstr(out->text, ",s="), *count = salt != NULL ? strstr(salt, ",i=") : NULL;
    if (strncmp(out->text, "r=", 2) != 0 || count == NULL ||
        strncmp(out->text + 2, client->nonce, SCRAM_CLIENT_NONCE) != 0) {
        return STATUS_INVALID;
    }
    (void)snprintf(out->nonce, sizeof out->nonce, "%.*s", (int)(salt - out->text - 2),
                   out->text + 2);
    char *end = NULL;
    unsigned long iterations = strtoul(count + 3, &end, 10);
    if (iterations == 0 || iterations > SCRAM_CLIENT_ITERATIONS_MAX ||
        (*end != '\0' && *end != ',')) {
        return STATUS_INVALID;
    }
    out->iterations = (uint32_t)iterations;
    return read_salt(salt + 3, (size_t)(count - salt - 3), out);
}

static bool keys_fit(const struct scram_client_keys *keys, enum scram_kind kind,
                     const struct challenge *challenge)
{
    return keys->iterations == challenge->iterations && keys->kind == kind &&
           keys->salt_length == challenge->salt_length &&
           memcmp(keys->salt, challenge->salt, keys->salt_length) == 0;
}

static enum status derive(enum scram_kind kind, const char *password,
                          const struct challenge *challenge, struct scram_client_keys *keys)
{
    uint8_t salted[SCRAM_KEY_OCTETS_MAX], digest[DIGEST_OCTETS_MAX];
    size_t size = scram_key_size(kind);
    enum status status = digest_pbkdf2(digest_of(kind), password, strlen(password), challenge->salt,
                                       challenge->salt_length, challenge->iterations, salted, size);
    if (status == STATUS_OK) {
        status = hmac(kind, salted, "Client Key", 10, keys->client);
    }
    if (status == STATUS_OK) {
        status = hmac(kind, salted, "Server Key", 10, keys->server);
    }
    if (status == STATUS_OK) {
        status = digest_salted(digest_of(kind), keys->client, size, "", 0, digest);
    }
    if (status == STATUS_OK) {
        memcpy(keys->stored, digest, size);
        memcpy(keys->salt, challenge->salt, challenge->salt_length);
        keys->kind = kind;
        keys->salt_length = challenge->salt_length;
        keys->iterations = challenge->iterations;
    }
    return status;
}

/* Signs what was said; leaves the proof, in base64, and what the server has to answer. */
static enum status prove(struct scram_client *client, const struct scram_client_keys *keys,
                         const char *said, char *out_proof)
{
    uint8_t proof[SCRAM_KEY_OCTETS_MAX];
    size_t size = scram_key_size(client->kind), length = strlen(said);
    enum status status = hmac(client->kind, keys->stored, said, length, proof);
    if (status == STATUS_OK) {
        status = hmac(client->kind, keys->server, said, length, client->signature);
    }
    if (status == STATUS_OK) {
        for (size_t index = 0; index < size; index++) {
            proof[index] ^= keys->client[index];
        }
        out_proof[base64_encode(proof, size, out_proof)] = '\0';
    }
    return status;
}

enum status scram_client_last(struct scram_client *client, const char *user, const char *password,
                              const char *server_first, size_t length,
                              struct scram_client_keys *keys, char out[SCRAM_CLIENT_TEXT_MAX])
{
    struct challenge challenge;
    char bare[SCRAM_CLIENT_TEXT_MAX], said[3 * SCRAM_CLIENT_TEXT_MAX + 16];
    char proof[BASE64_ENCODED(SCRAM_KEY_OCTETS_MAX) + 1];
    enum status status = read_challenge(client, server_first, length, &challenge);
    if (status == STATUS_OK && !keys_fit(keys, client->kind, &challenge)) {
        status = derive(client->kind, password, &challenge, keys);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (!write_bare(client, user, bare)) {
        return STATUS_TOO_BIG;
    }
    (void)snprintf(said, sizeof said, "%s,%s,c=biws,r=%s", bare, challenge.text, challenge.nonce);
    status = prove(client, keys, said, proof);
    if (status != STATUS_OK) {
        return status;
    }
    int written = snprintf(out, SCRAM_CLIENT_TEXT_MAX, "c=biws,r=%s,p=%s", challenge.nonce, proof);
    return written < SCRAM_CLIENT_TEXT_MAX ? STATUS_OK : STATUS_TOO_BIG;
}

bool scram_client_proved(const struct scram_client *client, const char *server_last, size_t length)
{
    char expected[BASE64_ENCODED(SCRAM_KEY_OCTETS_MAX) + 2] = "v=";
    size_t size = 2 + base64_encode(client->signature, scram_key_size(client->kind), expected + 2);
    return length >= size && memcmp(server_last, expected, size) == 0 &&
           (length == size || server_last[size] == ',');
}
