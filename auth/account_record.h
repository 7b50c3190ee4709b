/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An account's octets in the database, format 2; the key, its name, is not repeated. Little-endian:
 *
 *   0  format (1)   1  flags: 1 disabled, 2 TLS required   2  credentials (1)   3  reason length
 * (1) 4  volume (4)   8  maildrop id (8)   16  created_ms (8)   24  changed_ms (8)   32  generation
 * (8) 40  networks (1) and then only zeros (7) 48  reason; each network: family 4 or 6 (1), bits
 * (1), octets (4 or 16); each credential: length (2), text
 *
 * Format 1 is read as well: it has no second flag, no octets 40 to 47, and no networks.
 *
 * Every octet is accounted for: a record with any left over is damaged. Pure; any thread.
 */
#ifndef AUTH_ACCOUNT_RECORD_H
#define AUTH_ACCOUNT_RECORD_H

#include "auth/account.h"

#include <stddef.h>
#include <stdint.h>

#define ACCOUNT_RECORD_HEADER 48
#define ACCOUNT_RECORD_MAX                                                    \
    (ACCOUNT_RECORD_HEADER + AUTH_REASON_MAX + AUTH_NETWORKS_MAX * (2 + 16) + \
     AUTH_CREDENTIALS_MAX * (2 + AUTH_CREDENTIAL_MAX))

/* Writes it and returns the octets. The account's strings and count are within their bounds. */
size_t account_record_encode(const struct account *account, uint8_t out[ACCOUNT_RECORD_MAX]);

/* Fills all but the name. STATUS_CORRUPT for octets that no encode writes, STATUS_UNSUPPORTED for a
 * later format; what it has read of the credentials is wiped then. */
MUST_CHECK enum status account_record_decode(const uint8_t *data, size_t length,
                                             struct account *out_account);

#endif
