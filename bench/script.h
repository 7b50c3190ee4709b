/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client says: the steps of a workload. A script is a preamble (said once a connection) and
 * a cycle (said again and again: one cycle is one operation). Immutable once made.
 */
#ifndef BENCH_SCRIPT_H
#define BENCH_SCRIPT_H

#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>

enum script_reply {
    SCRIPT_REPLY_LINE,  /* POP3: one line beginning with "+OK" */
    SCRIPT_REPLY_MULTI, /* POP3: "+OK" and lines up to a single dot */
    SCRIPT_REPLY_LMTP   /* LMTP: lines up to one without a hyphen, beginning with 2 or 3 */
};

struct script_step {
    char *text; /* with its line ends; NULL: only waits (the greeting) */
    size_t length;
    enum script_reply reply;
};

#define SCRIPT_STEPS_MAX 8

struct script {
    const char *name;
    bool reconnect; /* each cycle is a connection of its own; the preamble is empty */
    bool hold;      /* no cycle: the sessions stay open, idle */
    unsigned preamble_count, cycle_count;
    struct script_step preamble[SCRIPT_STEPS_MAX], cycle[SCRIPT_STEPS_MAX];
};

struct script_config {
    const char *workload; /* "login", "noop", "retr", "deliver", "idle" */
    const char *user;     /* of this client */
    const char *password;
    size_t message_octets;   /* deliver: size of the message, headers and all */
    unsigned message_number; /* retr: which */
};

/* The names of all workloads, separated by a space. */
extern const char script_workloads[];

/* STATUS_NOT_FOUND: no such workload. */
MUST_CHECK enum status script_make(const struct script_config *config, struct script *out_script);
void script_free(struct script *script);

/* A reply as it comes in, in pieces. All zero is one of which nothing has come. */
struct script_reply_state {
    size_t length;
    char first;     /* first octet: '+', '-', or a digit */
    char tail[5];   /* the last octets */
    size_t column;  /* octets in the present line */
    char separator; /* fourth octet of the present line */
};

/* Takes the next octets of a reply. True when it is whole; `*out_good` says whether it is a
 * success. */
bool script_reply_feed(struct script_reply_state *state, enum script_reply reply, const char *data,
                       size_t length, bool *out_good);

#endif
