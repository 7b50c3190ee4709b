/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands as data: one table per protocol is the only truth about its verbs. Dispatch, argument
 * counts, state and TLS checks, counting and help read the same rows. Immutable.
 */
#ifndef SERVER_COMMAND_H
#define SERVER_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;

/* What a handler says; one place acts on it. */
enum verdict {
    VERDICT_DONE, /* the reply is queued; next command */
    VERDICT_MORE, /* a producer is installed; next command when it has ended */
    VERDICT_WAIT, /* an operation is pending; session_continue follows; input is held */
    VERDICT_ASK,  /* a question is queued; the next line is its answer and goes to on_answer */
    VERDICT_NEXT, /* like DONE, and the protocol's state has changed */
    VERDICT_CLOSE /* the reply is queued; flush and close */
};

#define COMMAND_ARGS_MAX 4

/* Where each protocol's rows begin in worker_counters.commands_*, and where its lines without a row
 * are counted. */
enum command_counter {
    COMMAND_COUNTER_UNKNOWN_POP3 = 0,
    COMMAND_COUNTER_POP3 = 1,
    COMMAND_COUNTER_UNKNOWN_LMTP = 24,
    COMMAND_COUNTER_LMTP = 25
};

/* A piece of the command line; valid until the handler returns. Never NUL-terminated. */
struct command_word {
    const char *data;
    size_t length;
};

struct command_line {
    struct command_word verb;
    struct command_word rest; /* everything behind the verb and one space, as it came */
    struct command_word args[COMMAND_ARGS_MAX]; /* `rest` split at runs of spaces */
    unsigned arg_count;                         /* COMMAND_ARGS_MAX + 1 when there are more */
};

struct command {
    const char *verb; /* upper case */
    unsigned states;  /* bit mask of the protocol's states in which it is allowed */
    uint8_t args_min, args_max;
    bool raw; /* takes `rest` as it came: argument counts are not checked */
    bool needs_tls;
    bool secret;     /* `rest` is never logged */
    uint8_t counter; /* index into worker_counters.commands_* */
    enum verdict (*handler)(struct session *session, const struct command_line *line);
};

/* Splits `length` octets without line end. Pure. */
void command_parse(const char *data, size_t length, struct command_line *out_line);

/* The row for a verb, compared without case, or NULL. */
const struct command *command_find(const struct command *table, size_t count,
                                   struct command_word verb);

/* Reads a decimal number: digits only, no sign, at most `max`. Pure. */
bool command_number(struct command_word word, uint64_t max, uint64_t *out_number);

#endif
