/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every protocol's session shares: the connection, the command loop, timers, the id and the
 * end. A protocol's own session struct begins with a struct session. Owned by its worker.
 *
 * The command loop: take a line, find its row, check, call the handler, act on its verdict. While a
 * handler's operation is pending, a producer runs, or output is full, no line is taken and input is
 * held back; so commands are answered strictly in order and a client can queue no more than the
 * connection's buffers.
 *
 * Every session ends in session_ended, once, whatever ended it: the protocol releases what it holds
 * (a maildrop at once), the log line is written, and the memory goes when nothing is in flight.
 */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include "io/conn.h"
#include "io/deadline.h"
#include "io/list.h"
#include "io/log.h"
#include "io/mem.h"
#include "server/command.h"
#include "server/line.h"
#include "server/worker.h"

#include <stdbool.h>
#include <stdint.h>

struct session;

enum session_refusal {
    SESSION_UNKNOWN_COMMAND,
    SESSION_WRONG_STATE,
    SESSION_WRONG_ARGUMENTS,
    SESSION_NEEDS_TLS,
    SESSION_LINE_TOO_LONG,
    SESSION_LINE_MALFORMED
};

struct session_protocol {
    const char *name;       /* "pop3" */
    size_t session_size;    /* octets of the protocol's session struct */
    size_t line_length_max; /* octets of a command line with its end */
    /* NULL, or asked when more than line_length_max octets are there: how long the line that begins
     * with them may be. */
    size_t (*line_limit)(const struct session *session, const uint8_t *data, size_t length);
    enum loop_receive_mode mode;
    const struct command *commands;
    size_t command_count;
    uint8_t unknown_counter; /* where lines without a row are counted, as those are */
    /* The connection is there: greet. */
    void (*on_start)(struct session *session);
    /* The bit of the present state, for the rows' masks. */
    unsigned (*state_bit)(const struct session *session);
    /* No row, wrong state, wrong arguments, over-long or malformed line: queue the error reply.
     * The session counts it as a bad command. */
    enum verdict (*on_refused)(struct session *session, enum session_refusal refusal,
                               const struct command *row);
    /* The line that answers the question of a handler that said ASK. NULL where none does. Its
     * verdict may be ASK again; on_refused comes instead for a line that is too long or malformed,
     * and ends the question. */
    enum verdict (*on_answer)(struct session *session, const char *line, size_t length);
    /* Input that is not lines (a message body): NULL, or called instead of the line reader while
     * session->raw_input is set. Returns octets taken; it may clear raw_input, or set `waiting` to
     * have no more until session_continue. Taking nothing without either waits for more input. */
    size_t (*on_raw)(struct session *session, const uint8_t *data, size_t length);
    /* The idle clock ran out: say what must be said (POP3: nothing), then the session is ended. */
    void (*on_idle)(struct session *session);
    /* The server drains: end now (session_finish) if nothing is lost by it. Never called while
     * something is pending; called again after each command until the session ends. */
    void (*on_drain)(struct session *session);
    /* No command will follow, what is queued is still being sent: release at once what others wait
     * for. NULL when there is nothing of the kind. Called at most once, before on_ended. */
    void (*on_finish)(struct session *session);
    /* Release everything; called once. Returns whether all is released: if not, the protocol calls
     * session_released later. Adds its fields to the session's log line. Callbacks of what was
     * pending find session->ended set. */
    bool (*on_ended)(struct session *session, struct log_line *line);
};

struct session {
    struct conn conn;
    struct worker *worker;
    const struct session_protocol *protocol;
    const struct config_listener *listener;
    struct list_link link; /* in worker->sessions */
    uint64_t id;
    int64_t started_ms;
    struct line_reader reader;
    struct deadline idle;      /* looks at idleness and at output without progress */
    struct deadline login;     /* until the protocol disarms it */
    int64_t active_ms;         /* last command or progress */
    uint64_t progress_octets;  /* output taken by the peer when last looked at */
    uint32_t idle_timeout_ms;  /* from the configuration; on_start may change it, */
    uint32_t stall_timeout_ms; /* and this one */
    uint32_t bad_commands;
    const struct command *current; /* the row whose handler is WAITing or producing */
    const char *end_reason;        /* a word for the log: "quit", "idle", "reset", ... */
    bool failed;                   /* the present command's reply is an error; reply.c sets it */
    bool waiting;                  /* a handler said WAIT */
    bool producing;                /* a handler said MORE */
    bool draining;                 /* output was on its way when last looked at */
    bool asking;                   /* a handler said ASK */
    bool securing;                 /* session_start_tls was called, on_secure has not come */
    bool closing;                  /* no further command */
    bool raw_input;
    bool input_ended;  /* the peer's FIN has been seen */
    bool input_paused; /* conn_input_pause is in force */
    bool ended;
    bool in_commands; /* the command loop is on the stack */
};

/* A new connection of `listener`: allocates, starts, greets. Closes `fd` when memory is short or
 * the worker drains. */
void session_accept(struct worker_listener *listener, int fd, const struct address *peer,
                    const struct address *local);

/* The pending operation of a handler that said WAIT has been answered and replied to: goes on with
 * `verdict` (DONE, MORE, NEXT or CLOSE). `ok` is what the command is counted as. */
void session_continue(struct session *session, enum verdict verdict, bool ok);

/* A producer has ended in order. One that was dropped (its stop had another status) says nothing:
 * the connection is ending. */
void session_producer_done(struct session *session);

/* What the listener presents to TLS clients, or NULL when it has no TLS. */
struct tls_server *session_tls_server(const struct session *session);

/* Whether TLS is on. */
bool session_is_secure(const struct session *session);

/* Changes over to TLS; from a handler, which has forgotten what was said (RFC 2595 section 4), has
 * queued its reply to STLS or STARTTLS, and then says NEXT. Where it fails the connection is
 * already ending, without a word. */
void session_start_tls(struct session *session);

/* The server drains: asks the protocol to end the session, now or when what is pending has ended.
 */
void session_drain(struct session *session);

/* Ends the session at once (`reason` a constant word for the log); output is dropped. Harmless
 * twice; the first reason counts. */
void session_abort(struct session *session, const char *reason);

/* Flushes, then ends. No command follows. Harmless twice; the first reason counts. */
void session_finish(struct session *session, const char *reason);

/* on_ended said false; now everything is released. Frees the session. */
void session_released(struct session *session);

#define SESSION_ID_MAX 32
/* "p0-1a2b": worker and count, for logs; into a buffer of SESSION_ID_MAX. */
void session_id_text(const struct session *session, char out_text[SESSION_ID_MAX]);

/* Begins a log line that carries the session's id. */
void session_log_begin(struct session *session, struct log_line *line, enum log_level level,
                       const char *event);

#endif
