/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LMTP (RFC 2033): one session's state and the handlers of its commands. lmtp.c draws the states
 * and holds the command table, lmtp_envelope.c has MAIL and RCPT, lmtp_transfer.c takes a message
 * and answers for it. Owned by the session's worker.
 *
 * All that belongs to one message is a struct lmtp_transaction in the session's arena, gone in one
 * call when it is answered, so that an idle session holds next to nothing.
 */
#ifndef SERVER_LMTP_H
#define SERVER_LMTP_H

#include "auth/auth.h"
#include "io/mem.h"
#include "io/status.h"
#include "server/lmtp_data.h"
#include "server/server_limits.h"
#include "server/session.h"
#include "storage/store.h"

#include <stdbool.h>
#include <stdint.h>

extern const struct session_protocol lmtp_protocol;

/* Bits, so that a row of the table can name several. */
enum lmtp_state {
    LMTP_GREETED = 1u << 0,   /* LHLO has not been said */
    LMTP_READY = 1u << 1,     /* no message is under way */
    LMTP_ADDRESSED = 1u << 2, /* MAIL has been said */
    LMTP_ACCEPTED = 1u << 3,  /* and at least one recipient accepted */
    LMTP_DATA = 1u << 4,      /* octets up to CRLF.CRLF are coming in */
    LMTP_CHUNK = 1u << 5,     /* octets of a BDAT chunk are coming in */
    LMTP_CHUNKS = 1u << 6,    /* between two chunks of a message */
    LMTP_COMMIT = 1u << 7     /* the message is being made durable */
};

struct lmtp_recipient {
    struct store_recipient to;
    const char *user; /* the account, for the log */
    bool repeated;    /* an earlier one has the same maildrop: stored once, answered twice */
    bool further;     /* an alias's, behind its first: stored, but answered with that one */
};

/* One message. Lives in the arena, strings included. */
struct lmtp_transaction {
    struct lmtp *lmtp;
    const char *sender; /* "" for <> */
    uint64_t size;      /* octets announced, 0: none */
    bool utf8;
    struct lmtp_recipient *recipients;
    unsigned recipient_count, recipient_capacity;
    unsigned drop_count; /* recipients without those repeated */
    bool looking;        /* `lookup` is pending */
    struct auth_lookup lookup;
    char address[LMTP_ADDRESS_LEN_MAX + 1]; /* of the RCPT that is being looked up */
    char orcpt[LMTP_ORCPT_LEN_MAX + 1];
    struct store_delivery *delivery;
    struct lmtp_data decoder;
    enum status failure; /* why the message is refused; its octets are still read */
    int64_t ended_us;    /* monotonic: when its last octet came */
};

struct lmtp {
    struct session session; /* first: a struct session is one of these */
    enum lmtp_state state;
    struct mem_arena arena;               /* of the transaction */
    struct lmtp_transaction *transaction; /* from MAIL to the last reply, else NULL */
    uint64_t chunk_left; /* octets of a BDAT chunk, taken or thrown away, to come */
    bool chunk_last;
    char client_name[LMTP_NAME_LEN_MAX + 1];         /* what LHLO said, as it came */
    uint64_t message_count, recipient_count, octets; /* delivered, for the session's log line */
};

/* The session's whole; valid for sessions of lmtp_protocol. */
static inline struct lmtp *lmtp_of(struct session *session)
{
    return list_entry(session, struct lmtp, session);
}

/* Steps to `state`, which must be a legal step (asserted), and traces it. */
void lmtp_set_state(struct lmtp *lmtp, enum lmtp_state state);

/* Forgets the transaction, whatever had been reached but a commit under way. READY follows, or
 * GREETED stays. Harmless without a transaction. */
void lmtp_forget(struct lmtp *lmtp);

/* Handlers of the command table. */
enum verdict lmtp_envelope_mail(struct session *session, const struct command_line *line);
enum verdict lmtp_envelope_rcpt(struct session *session, const struct command_line *line);
enum verdict lmtp_transfer_data(struct session *session, const struct command_line *line);
enum verdict lmtp_transfer_bdat(struct session *session, const struct command_line *line);

/* The session's on_raw: octets behind DATA or BDAT. */
size_t lmtp_transfer_take(struct session *session, const uint8_t *data, size_t length);

#endif
