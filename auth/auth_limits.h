/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of auth/: unit, value, source. */
#ifndef AUTH_LIMITS_H
#define AUTH_LIMITS_H

#include "storage/storage_limits.h"

#include <stdint.h>

#define AUTH_NAME_MAX        STORAGE_DROP_NAME_MAX /* octets of local@domain */
#define AUTH_DOMAIN_MAX      255                   /* octets, RFC 5321 section 4.5.3.1.2 */
#define AUTH_PASSWORD_MAX    1024                  /* octets; what a POP3 line can carry is less */
#define AUTH_CRYPT_MAX       511 /* octets of a password, CRYPT_MAX_PASSPHRASE_SIZE of libxcrypt */
#define AUTH_REASON_MAX      127 /* octets of why an account is disabled */
#define AUTH_CREDENTIAL_MAX  512 /* octets of one stored credential with its scheme */
#define AUTH_CREDENTIALS_MAX 8   /* credentials of one account */
#define AUTH_DIGEST_DATA_MAX 256 /* octets of a decoded digest with its salt; SHA-512 has 64 */

#define AUTH_NETWORKS_MAX 8 /* networks an account admits */

#define AUTH_SEPARATORS_MAX 7 /* characters that part user from domain */
#define AUTH_SOURCES_MAX    8 /* user databases */
#define AUTH_ALIAS_TARGETS_MAX \
    64 /* names that one alias stands for, those of its targets included */
#define AUTH_VOLUME_NONE \
    UINT32_MAX /* the volume of a maildrop nobody has made yet; STORAGE has none of this number */

#define AUTH_ANSWER_MAX_S        120   /* seconds after which a login is not waited for any more */
#define AUTH_DATABASE_FAILURES   3     /* in a row, after which a database is down */
#define AUTH_DATABASE_REST_S     5     /* seconds a database that failed is left alone */
#define AUTH_CACHE_STALE_S       14400 /* seconds a credential outlives its time, database down */
#define AUTH_PASSWD_FILE_CHECK_S 1     /* seconds between looks at whether a passwd-file changed */
#define AUTH_PASSWD_FILE_MAX     (1ull << 30) /* octets */
#define AUTH_PASSWD_LINE_MAX     8192         /* octets */
#define AUTH_NOTICES_MAX         20 /* bad lines told of one reading; the rest is counted */

#define AUTH_SASL_RESPONSE_MAX \
    18432 /* octets of a client's decoded answer: a token of 16 KB and who, where and how */
#define AUTH_TIMESTAMP_MAX 255 /* octets of APOP's timestamp: it fits into a greeting */

#define AUTH_JWT_KEYS_MAX      32   /* keys of one issuer; some have a dozen */
#define AUTH_JWT_NAME_MAX      255  /* octets of a key's name, an algorithm, a word of scope */
#define AUTH_JWT_RSA_BITS_MIN  2048 /* RFC 7518 section 3.3 */
#define AUTH_JWKS_OCTETS_MAX   (1u << 20) /* octets of a set of keys; usual are 10 KB */
#define OAUTH_REFRESH_S        3600       /* seconds between two readings of the keys, default */
#define OAUTH_RETRY_S          10    /* seconds before keys that are missing are asked for again */
#define OAUTH_FETCH_TIMEOUT_MS 10000 /* milliseconds for fetching them */
#define OAUTH_LEEWAY_S         60    /* seconds that clocks may differ by, default */
#define OAUTH_LEEWAY_MAX_S     3600  /* and at most */

#define AUTH_ACCOUNTS_MAP (16ull << 30) /* octets of address space; an account takes about 600 */

#define AUTH_SCRAM_ITERATIONS  16384   /* four times the minimum of RFC 7677 section 4 */
#define AUTH_ITERATIONS_MAX    2000000 /* of an imported PBKDF2 or SCRAM key: about two seconds */
#define AUTH_SCRAM_SALT_OCTETS 16      /* made here; imported ones may differ */

#define AUTH_HASH_THREADS_MAX     64 /* of the hashing pool, whatever is configured */
#define AUTH_HASH_THREADS_DEFAULT 4  /* at most, when not configured: the rest is the workers' */
/* By how much hashing threads are less urgent than workers. Measured on two busy processors: other
 * sessions' p99 beside a storm of logins is 4 ms with 0, 2.5 with 5, 0.2 with 10; SCHED_IDLE would
 * let whatever else runs on the machine keep everybody out. */
#define AUTH_HASH_NICE 10
/* Verifications that may wait, for each thread: 22 s of yescrypt on a processor of its own, a fifth
 * of the AUTH_ANSWER_MAX_S that a login is waited for, as machines have other work; a much
 * longer queue would only promise what is not kept. Each takes about 6 KB, 6 MB in all. */
#define AUTH_HASH_QUEUE_PER_THREAD 1024

#define AUTH_CACHE_SHARDS          64     /* locks; a power of two */
#define AUTH_CACHE_WAYS            8      /* entries of one set, searched in a row */
#define AUTH_CACHE_STAMPS          4096   /* names share these change counters; a power of two */
#define AUTH_CACHE_ENTRIES_DEFAULT 262144 /* of 64 octets: 17 MiB when full */
#define AUTH_CACHE_TTL_S           3600   /* a verified credential, default */
#define AUTH_CACHE_NEGATIVE_TTL_S  60     /* a refused one, default */

#define AUTH_CAPS_SHARDS 64 /* locks; a power of two */

#define AUTH_EXPLAIN_STEPS_MAX 32  /* steps of a decision that is explained */
#define AUTH_EXPLAIN_TEXT_MAX  255 /* octets of one of them */
#define AUTH_EXPLAIN_WAIT_S    3   /* all databases together may take to answer the administrator */

#define AUTH_THROTTLE_SETS 1024 /* times AUTH_THROTTLE_WAYS sources remembered; a power of two */
#define AUTH_THROTTLE_WAYS 8    /* sources of one set */
#define AUTH_THROTTLE_SEEN 4    /* wrong credentials remembered of one source */
#define AUTH_THROTTLE_FREE \
    5 /* failures of one account that cost nothing: its owner's, whatever prefix they come from */
#define AUTH_THROTTLE_LABEL_MAX 63 /* octets of an account's name in the list of penalties */
#define AUTH_THROTTLE_DECAY_S \
    60 /* seconds without a new failure that lower a penalty by a step \
        */

#endif
