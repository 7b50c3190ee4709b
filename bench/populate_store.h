/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds a store of many maildrops for measuring, in the minutes the disk needs: through the
 * store's own contract, so that what comes out is what a server would have written, but without a
 * network, and with one credential for everybody, hashed once. No server may run on the store
 * meanwhile.
 */
#ifndef BENCH_POPULATE_STORE_H
#define BENCH_POPULATE_STORE_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct populate_config {
    const char *store;       /* the store's directory; made when there is none */
    const char *user_format; /* local@domain, with one %u */
    const char *password;    /* everybody's */
    const char *scheme;      /* how it is stored, see auth/password.h */
    uint64_t map_size;       /* octets of the index's address space; 0: default */
    unsigned first_user, maildrops;
    unsigned messages;     /* in each of them, spread over the log as years of mail are */
    unsigned large;        /* more in the first one */
    size_t message_octets; /* of each message */
    bool no_accounts;      /* maildrops alone, that nobody can log in to */
    bool quiet;            /* no progress */
};

struct populate_result {
    uint64_t maildrops, messages; /* made */
    double seconds;
    uint64_t index_octets;    /* LMDB pages in use, all maildrops of the store */
    uint64_t store_maildrops; /* in the store now */
    uint64_t store_messages;  /* in the store now */
};

/* Blocking. Progress goes to standard error. On failure what has been made so far stays. */
MUST_CHECK enum status populate_store(const struct populate_config *config,
                                      struct populate_result *out_result, struct error *out_error);

#endif
