/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
 * The server has to prove that it knows the password, too. Keys are kept from login to login, as a
 * client keeps them: deriving them takes milliseconds. Any thread; one owner at a time.
 */
#ifndef BENCH_SCRAM_CLIENT_H
#define BENCH_SCRAM_CLIENT_H

#include "auth/scram.h"
#include "bench/dice.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRAM_CLIENT_TEXT_MAX       1024    /* octets of a message before base64, with its NUL */
#define SCRAM_CLIENT_SALT_MAX       64      /* octets; 16 are usual */
#define SCRAM_CLIENT_ITERATIONS_MAX 1000000 /* a second and more of processor time: refused */
#define SCRAM_CLIENT_NONCE          24      /* characters */

/* A user's keys under one salt. Zeroed: none are known. */
struct scram_client_keys {
    enum scram_kind kind;
    uint32_t iterations; /* 0: none */
    size_t salt_length;
    uint8_t salt[SCRAM_CLIENT_SALT_MAX];
    uint8_t client[SCRAM_KEY_OCTETS_MAX], stored[SCRAM_KEY_OCTETS_MAX];
    uint8_t server[SCRAM_KEY_OCTETS_MAX];
};

/* One exchange. */
struct scram_client {
    enum scram_kind kind;
    char nonce[SCRAM_CLIENT_NONCE + 1];
    uint8_t signature[SCRAM_KEY_OCTETS_MAX]; /* what the server's has to be */
};

/* Begins: writes the client's first message, with a nonce drawn from `dice`. STATUS_TOO_BIG for a
 * name that does not fit. */
MUST_CHECK enum status scram_client_first(struct scram_client *client, enum scram_kind kind,
                                          const char *user, struct dice *dice,
                                          char out[SCRAM_CLIENT_TEXT_MAX]);

/* Answers the server's first message with the client's last. `keys` are used when they are of the
 * same salt, else derived and left there. STATUS_INVALID for a message that is malformed, has
 * another nonce or asks for more than SCRAM_CLIENT_ITERATIONS_MAX; STATUS_TOO_BIG. */
MUST_CHECK enum status scram_client_last(struct scram_client *client, const char *user,
                                         const char *password, const char *server_first,
                                         size_t length, struct scram_client_keys *keys,
                                         char out[SCRAM_CLIENT_TEXT_MAX]);

/* Whether the server's last message proves that it knows the password. */
bool scram_client_proved(const struct scram_client *client, const char *server_last, size_t length);

#endif
