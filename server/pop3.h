/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POP3 (RFC 1939, RFC 2449): one session's state and the handlers of its commands, one file per
 * state. Owned by the session's worker. pop3.c draws the states and holds the command table.
 */
#ifndef SERVER_POP3_H
#define SERVER_POP3_H

#include "auth/auth.h"
#include "io/mem.h"
#include "io/sendq.h"
#include "server/server_limits.h"
#include "server/session.h"
#include "storage/store.h"
#include "storage/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const struct session_protocol pop3_protocol;

/* Bits, so that a row of the table can name several. */
enum pop3_state {
    POP3_AUTHORIZATION = 1u << 0,
    POP3_TRANSACTION = 1u << 1,
    POP3_UPDATE = 1u << 2 /* deletions are being made durable, or the goodbye has been said */
};

struct pop3_session;

/* What a login needs, from USER or AUTH to the verdict; on loan from the worker, so that a session
 * that is logged in does not carry it. */
struct pop3_login {
    struct pop3_session *pop3;
    struct auth_request auth;
    struct store_open_request open;
    bool auth_pending, open_pending;
    bool exchange;             /* an AUTH has begun and has no verdict */
    int64_t started_us;        /* monotonic: when PASS or AUTH came */
    struct auth_policy policy; /* the listener's: a reload may replace that */
    struct auth_tls tls;       /* with the bindings below */
    struct tls_binding exporter, unique;
    size_t user_length;           /* an over-long name is cut to a length no account can have */
    char user[AUTH_NAME_MAX + 1]; /* as given in USER; not NUL-terminated */
};

enum pop3_listing_kind { POP3_LISTING_SIZES, POP3_LISTING_UIDLS };

/* A LIST or UIDL too long to be queued at once. */
struct pop3_listing {
    struct sendq_reader reader;
    enum pop3_listing_kind kind;
    uint32_t next; /* index of the first message not yet looked at; count: the terminator is due */
    bool ended;    /* the terminator has been written */
};

/* A TOP under way: wire octets up to the end of the last line wanted, then a terminator of our own.
 */
struct pop3_top {
    struct sendq_reader reader;
    struct wire_top scan;
    uint64_t body;       /* where the body begins, octets */
    uint64_t stop;       /* where it ends at the latest: before the stored terminator */
    uint64_t offset;     /* octets passed on so far */
    size_t range_taken;  /* of an answer in memory: octets passed on so far */
    bool range_held;     /* fetch.range is such an answer */
    enum status failure; /* of the reader's last fetch */
    bool finished;       /* all of it has been passed on but the terminator */
};

enum pop3_fetch_kind { POP3_FETCH_RETR, POP3_FETCH_TOP_WHOLE, POP3_FETCH_TOP };

struct pop3_session {
    struct session session; /* first: a struct session is one of these */
    enum pop3_state state;
    uint32_t message_count;  /* of the view */
    uint32_t left_count;     /* without those marked deleted */
    uint32_t removed_count;  /* durably, after QUIT */
    uint64_t message_octets; /* of the view */
    uint64_t left_octets;
    uint64_t *deleted;        /* bit per message, in the arena; NULL until the first DELE */
    struct view *view;        /* in TRANSACTION; a commit takes it over */
    struct pop3_login *login; /* between USER and the verdict */
    struct mem_arena arena;
    const char *user; /* the account's name, in the arena; NULL before login */
    const char *mechanism;
    const char *master;          /* who logged in for `user`, in the arena; else NULL */
    struct caps_hold connection; /* counted until the login */
    struct caps_session counted; /* and from there on */
    uint64_t apop_number;        /* makes the greeting's timestamp unique; 0: it had none */
    struct store_fetch fetch;    /* one at a time: the session waits for it, or TOP's reader does */
    enum pop3_fetch_kind fetch_kind;
    bool fetch_pending, commit_pending;
    union {
        struct pop3_listing listing;
        struct pop3_top top;
    };
    char *expunged_uidls;   /* for the audit line: separated by ",", in the arena */
    size_t expunged_length; /* octets */
    uint32_t expunged_count;
    uint32_t retr_count, top_count;
    uint64_t retr_octets, top_octets; /* without stuffing (RETR), as sent (TOP) */
};

static inline struct pop3_session *pop3_of(struct session *session)
{
    return list_entry(session, struct pop3_session, session);
}

static inline const struct pop3_session *pop3_of_const(const struct session *session)
{
    return (const struct pop3_session *)(const void *)session; /* its first member */
}

/* --- pop3.c --- */

/* Takes a legal step and traces it; an illegal one is our error (asserted). */
void pop3_set_state(struct pop3_session *pop3, enum pop3_state state);

/* The session has ended before; now the answer it was kept for is here. Frees the session. */
void pop3_released_late(struct pop3_session *pop3);

/* --- pop3_auth.c: AUTHORIZATION --- */

/* Handlers of the table's rows. CAPA is for any state. */
enum verdict pop3_user(struct session *session, const struct command_line *line);
enum verdict pop3_pass(struct session *session, const struct command_line *line);
enum verdict pop3_capa(struct session *session, const struct command_line *line);
enum verdict pop3_stls(struct session *session, const struct command_line *line);

/* Lends what a login needs and fills in the facts of the connection. NULL: memory is short, and
 * that has been replied. */
struct pop3_login *pop3_login_begin(struct pop3_session *pop3);

/* What TLS says of the connection, for auth; points into the bindings, which are the caller's. */
void pop3_login_facts(const struct session *session, struct tls_binding *out_exporter,
                      struct tls_binding *out_unique, struct auth_tls *out_facts);

/* What auth has said at once; also once for each AUTH_CHALLENGE. */
enum verdict pop3_login_judged(struct pop3_session *pop3, enum auth_verdict judged);

/* Ends an exchange that has no verdict, without a reply. */
void pop3_login_drop_exchange(struct pop3_session *pop3);

/* Forgets what USER said: after a failure, or when something other than PASS followed. Nothing may
 * be pending. */
void pop3_login_forget(struct pop3_session *pop3);
/* The session ends: cancels what is pending. Returns whether nothing is in flight any more; else
 * pop3_released_late follows. */
bool pop3_login_end(struct pop3_session *pop3);

/* --- pop3_sasl.c: AUTH and APOP --- */

/* Handlers of the table's rows. */
enum verdict pop3_sasl_auth(struct session *session, const struct command_line *line);
enum verdict pop3_sasl_apop(struct session *session, const struct command_line *line);

/* The client's answer to a challenge (RFC 5034 section 4). */
enum verdict pop3_sasl_answer(struct session *session, const char *line, size_t length);

/* Sends the challenge that auth has made, and waits for its answer. */
enum verdict pop3_sasl_challenge(struct pop3_session *pop3);

/* How long a line that begins with these octets may be: tokens take more than other commands. */
size_t pop3_sasl_line_limit(const struct session *session, const uint8_t *data, size_t length);

/* Writes the mechanisms of this connection, each behind `before` and in front of `after`; returns
 * the octets written, at most POP3_MECHANISMS_LEN_MAX. */
size_t pop3_sasl_mechanisms(const struct pop3_session *pop3, const char *before, const char *after,
                            char *out);

/* The greeting's timestamp (RFC 1939 section 7), made of pop3->apop_number. */
void pop3_sasl_timestamp(const struct pop3_session *pop3, char out[POP3_TIMESTAMP_MAX]);

/* --- pop3_trans.c: TRANSACTION --- */

/* Handlers of the table's rows; none of them ever waits. */
enum verdict pop3_stat(struct session *session, const struct command_line *line);
enum verdict pop3_list(struct session *session, const struct command_line *line);
enum verdict pop3_uidl(struct session *session, const struct command_line *line);
enum verdict pop3_dele(struct session *session, const struct command_line *line);
enum verdict pop3_noop(struct session *session, const struct command_line *line);
enum verdict pop3_rset(struct session *session, const struct command_line *line);

/* Whether DELE has marked the message; `index` is in range. */
bool pop3_is_deleted(const struct pop3_session *pop3, uint32_t index);

/* The message a client's number means: 1 to the count, not marked deleted. Otherwise false, and the
 * error has been replied. */
bool pop3_find_message(struct pop3_session *pop3, struct command_word word, uint32_t *out_index);

/* --- pop3_fetch.c: the messages themselves --- */

/* Handlers of the table's rows. */
enum verdict pop3_retr(struct session *session, const struct command_line *line);
enum verdict pop3_top(struct session *session, const struct command_line *line);

/* As pop3_login_end, for a fetch. */
bool pop3_fetch_end(struct pop3_session *pop3);

/* --- pop3_update.c: UPDATE --- */

/* Handler of the table's row, for any state. A commit it submits is never given up: a session whose
 * client has gone waits for the answer, because the audit line follows it. */
enum verdict pop3_quit(struct session *session, const struct command_line *line);

#endif
