/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of server/: unit, value, source. */
#ifndef SERVER_LIMITS_H
#define SERVER_LIMITS_H

#define POP3_LINE_LEN_MAX        2048 /* octets with CRLF; RFC 2449 section 4 demands at least 255 */
#define POP3_REPLY_LEN_MAX       512  /* octets with CRLF of a first reply line, RFC 1939 section 3 */
#define POP3_IDLE_TIMEOUT_MIN_S  600  /* seconds, RFC 1939 section 3 */
#define POP3_LOGIN_TIMEOUT_S     180  /* seconds from connect to a successful login */
#define LMTP_LINE_LEN_MAX        4096 /* octets with CRLF; RFC 5321 4.5.3.1.4 demands 512, extensions add */
#define LMTP_IDLE_TIMEOUT_S      300  /* seconds, RFC 5321 4.5.3.2.7 */
#define LMTP_RECIPIENTS_MAX      1000 /* RFC 5321 4.5.3.1.8 demands 100 */
#define LMTP_MESSAGE_OCTETS_MAX  (64u << 20) /* octets; what SIZE announces by default */
#define SERVER_WORKERS_MAX       256

#endif
