/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of server/: unit, value, source. */
#ifndef SERVER_LIMITS_H
#define SERVER_LIMITS_H

#define POP3_LINE_LEN_MAX       2048  /* octets with CRLF; RFC 2449 section 4: 255 or more */
#define POP3_SASL_LINE_LEN_MAX  24576 /* octets with CRLF of AUTH and its answers: 16 KB of token */
#define POP3_TIMESTAMP_MAX      256   /* octets with NUL: a message id with our host name */
#define POP3_MECHANISMS_LEN_MAX 256   /* octets of all SASL mechanisms' names in one list */
#define POP3_REPLY_LEN_MAX      512   /* octets with CRLF of a first line, RFC 1939 section 3 */
#define POP3_ARENA_BLOCK        96    /* octets of a session's first block: the user's name */
#define POP3_LISTING_INLINE_MAX 8192  /* octets of a listing that is written at once */
#define POP3_EXPUNGE_FIELDS_MAX 6     /* values of LOG_VALUE_MAX octets in one audit line */
#define POP3_IDLE_TIMEOUT_MIN_S 600   /* seconds, RFC 1939 section 3 */
#define POP3_LOGIN_TIMEOUT_S    180   /* seconds from connect to a successful login */
#define LMTP_LINE_LEN_MAX       4096  /* octets with CRLF; RFC 5321 4.5.3.1.4: 512 and more */
#define LMTP_IDLE_TIMEOUT_S     300   /* seconds, RFC 5321 4.5.3.2.7 */
#define LMTP_RECIPIENTS_MAX     1000  /* RFC 5321 4.5.3.1.8 demands 100 */
#define LMTP_MESSAGE_OCTETS_MAX (64u << 20) /* octets; what SIZE announces by default */
#define LMTP_ARENA_BLOCK        4096 /* octets: a message to a few recipients takes one block */
#define LMTP_NAME_LEN_MAX       255  /* octets of LHLO's name kept, RFC 5321 4.5.3.1.2 */
#define LMTP_ADDRESS_LEN_MAX    320  /* octets of an address: 64 + "@" + 255, RFC 5321 4.5.3.1 */
#define LMTP_DOMAIN_LEN_MAX     255  /* octets, RFC 5321 4.5.3.1.2 */
#define LMTP_ENVID_LEN_MAX      100  /* octets, RFC 3461 section 4.4 */
#define LMTP_ORCPT_LEN_MAX      500  /* octets, RFC 3461 section 4.2 */
#define LMTP_CHUNK_OCTETS_MAX   UINT64_MAX /* octets of a BDAT chunk, refused or not */
#define SERVER_WORKERS_MAX      256
#define SESSION_SLOW_OCTETS     65536 /* octets of output that a client may take minutes for */

#define ADMIN_LINE_MAX     16384 /* octets of a request's line of JSON */
#define ADMIN_PAYLOAD_MAX  4096  /* octets that follow it where they are no message: a password */
#define ADMIN_REQUESTS_MAX 256   /* of one connection, not yet answered; then reading stops */
#define ADMIN_WINDOW       64    /* the command line's own: enough to share syncs */

#endif
