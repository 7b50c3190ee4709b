/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store has promised: every message that was handed to it, every expunge and maildrop, each
 * with the positions at which it was begun, answered and first seen by somebody. A position counts
 * what the disk had been told so far (or, where no disk is recorded, just counts up), so that the
 * ledger can say what must be there, may be there and must not be there after a crash at any of
 * them.
 *
 * One thread.
 */
#ifndef TESTS_PROOF_LEDGER_H
#define TESTS_PROOF_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_DROPS_MAX 32
#define LEDGER_NEVER     UINT64_MAX

/* A message as it was given and as POP3 sends it. */
struct ledger_octets {
    char *text;
    size_t text_length;
    char *wire;
    size_t wire_length;
    size_t header_length; /* wire octets up to and with the empty line */
};

struct ledger_message {
    uint32_t number;
    uint32_t drops; /* a bit for each recipient */
    size_t size;    /* octets of body asked for */
    char uidl[24];  /* imported; "" for none */
    uint64_t uid;   /* once anybody was told */
    uint64_t sent, delivered;
    bool refused; /* answered with "not written" */
    uint64_t seen[LEDGER_DROPS_MAX], leaving[LEDGER_DROPS_MAX], gone[LEDGER_DROPS_MAX];
    struct ledger_octets octets; /* made when first asked for */
};

struct ledger_drop {
    uint64_t id;
    uint64_t sent, created, removing, removed;
    bool refused;
};

struct ledger {
    uint64_t salt; /* makes the octets of this ledger's messages */
    struct ledger_message *messages;
    uint32_t count, capacity;
    uint32_t borrowed; /* the first so many messages' octets belong to another ledger */
    struct ledger_drop drops[LEDGER_DROPS_MAX];
    uint32_t drop_count;
};

void ledger_init(struct ledger *ledger, uint64_t salt);
void ledger_deinit(struct ledger *ledger);

/* What was known at `position`, and nothing that was begun later; `ledger` must outlive the copy.
 */
void ledger_copy_until(struct ledger *copy, struct ledger *ledger, uint64_t position);

/* The same in place: what came later never happened. */
void ledger_rewind(struct ledger *ledger, uint64_t position);

/* A message is about to be handed over; returns its number. `uidl` NULL: none. */
uint32_t ledger_send(struct ledger *ledger, uint32_t drops, size_t size, const char *uidl,
                     uint64_t position);
struct ledger_message *ledger_find(struct ledger *ledger, uint32_t number);
const struct ledger_octets *ledger_octets(struct ledger *ledger, struct ledger_message *message);
/* The number that a message of ours says it has, or UINT32_MAX. */
uint32_t ledger_number_of(const char *wire, size_t length);

/* A maildrop is about to be made; returns its place, or LEDGER_DROPS_MAX. */
uint32_t ledger_create(struct ledger *ledger, uint64_t position);

/* What a crash at `position` leaves to say. */
enum ledger_duty { LEDGER_MUST, LEDGER_MAY, LEDGER_MUST_NOT };
enum ledger_duty ledger_drop_duty(const struct ledger_drop *drop, uint64_t position);
enum ledger_duty ledger_message_duty(const struct ledger_message *message, uint32_t drop,
                                     uint64_t position);

#endif
