/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of auth/: unit, value, source. */
#ifndef AUTH_LIMITS_H
#define AUTH_LIMITS_H

#include "storage/storage_limits.h"

#define AUTH_NAME_MAX        STORAGE_DROP_NAME_MAX /* octets of local@domain */
#define AUTH_DOMAIN_MAX      255                   /* octets, RFC 5321 section 4.5.3.1.2 */
#define AUTH_PASSWORD_MAX    1024                  /* octets; what a POP3 line can carry is less */
#define AUTH_CRYPT_MAX       511 /* octets of a password, CRYPT_MAX_PASSPHRASE_SIZE of libxcrypt */
#define AUTH_REASON_MAX      127 /* octets of why an account is disabled */
#define AUTH_CREDENTIAL_MAX  512 /* octets of one stored credential with its scheme */
#define AUTH_CREDENTIALS_MAX 8   /* credentials of one account */
#define AUTH_DIGEST_DATA_MAX 256 /* octets of a decoded digest with its salt; SHA-512 has 64 */

#define AUTH_ACCOUNTS_MAP (16ull << 30) /* octets of address space; an account takes about 600 */

#define AUTH_SCRAM_ITERATIONS  16384   /* four times the minimum of RFC 7677 section 4 */
#define AUTH_ITERATIONS_MAX    2000000 /* of an imported PBKDF2 or SCRAM key: about two seconds */
#define AUTH_SCRAM_SALT_OCTETS 16      /* made here; imported ones may differ */

#define AUTH_HASH_THREADS_MAX 64 /* of the hashing pool, whatever is configured */
#define AUTH_HASH_THREADS_DEFAULT                                                                \
    4                               /* at most, when not configured: the rest is for the workers \
                                     */
#define AUTH_HASH_QUEUE_DEFAULT 256 /* verifications waiting: some two seconds of two threads */

#define AUTH_CACHE_SHARDS          64     /* locks; a power of two */
#define AUTH_CACHE_WAYS            8      /* entries of one set, searched in a row */
#define AUTH_CACHE_STAMPS          4096   /* names share these change counters; a power of two */
#define AUTH_CACHE_ENTRIES_DEFAULT 262144 /* of 64 octets: 16 MiB when full */
#define AUTH_CACHE_TTL_S           3600   /* a verified credential, default */
#define AUTH_CACHE_NEGATIVE_TTL_S  60     /* a refused one, default */

#define AUTH_THROTTLE_SETS 1024 /* times AUTH_THROTTLE_WAYS sources remembered; a power of two */
#define AUTH_THROTTLE_WAYS 8    /* sources of one set */
#define AUTH_THROTTLE_SEEN 4    /* wrong credentials remembered of one source */
#define AUTH_THROTTLE_DECAY_S                                          \
    60 /* seconds without a new failure that lower a penalty by a step \
        */

#endif
