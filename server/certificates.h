/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the configuration's tls section to what listeners present (io/tls.h): reading the files at
 * the start and again for a reload, telling when they expire, and the demo's own certificate. Main
 * thread.
 */
#ifndef SERVER_CERTIFICATES_H
#define SERVER_CERTIFICATES_H

#include "io/tls.h"
#include "server/config.h"
#include "server/privileges.h"

#include <stdint.h>

#define CERTIFICATES_WARN_S (14 * 86400) /* seconds before the end: the log begins to say so */

/* What the listeners of each protocol present, by enum config_protocol; NULL where none has TLS. */
struct certificates {
    struct tls_server *servers[CONFIG_PROTOCOLS];
};

/* Reads everything `config` names, for so many workers. `former` (NULL: none) hands its random
 * ticket keys on. On failure nothing is left behind. */
MUST_CHECK enum status certificates_load(const struct config *config, unsigned worker_count,
                                         const struct certificates *former,
                                         struct certificates *out_certificates,
                                         struct error *out_error);

/* Drops the references; connections keep theirs. */
void certificates_unload(struct certificates *certificates);

/* Reads ticket keys again that other nodes share; a failure is logged, the old keys stay. */
void certificates_refresh(const struct certificates *certificates);

/* The earliest end of validity, UNIX time; 0 when there is no certificate. */
int64_t certificates_expire_s(const struct certificates *certificates);

/* A warning for each certificate that expires soon or has. */
void certificates_log_expiry(const struct certificates *certificates, int64_t now_s);

/* Makes the files that the demo's configuration names, signed by themselves, where they are
 * missing, and gives them to who the server becomes. */
MUST_CHECK enum status certificates_make_demo(const struct config *config,
                                              const struct privileges *privileges,
                                              struct error *out_error);

#endif
