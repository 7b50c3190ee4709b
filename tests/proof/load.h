/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A random load on a store, written into a ledger as it goes: deliveries small and large, to one
 * maildrop and to several, with and without imported unique-ids, several at once; sessions that
 * read and expunge; maildrops made and removed; checkpoints; compaction; restarts in good order.
 *
 * One thread, which is the store's client; the store's own threads run beside it.
 */
#ifndef TESTS_PROOF_LOAD_H
#define TESTS_PROOF_LOAD_H

#include "tests/proof/chance.h"
#include "tests/proof/ledger.h"
#include "tests/proof/site.h"

struct load {
    struct fixture *site; /* open */
    struct ledger *ledger;
    struct chance chance;
    uint64_t (*position)(void);          /* now, for the ledger */
    void (*hold)(void), (*let_go)(void); /* the disk, while a burst is queued; NULL: not at all */
    void (*slow_reads)(bool on);         /* of the store's threads, in a storm; NULL: as they are */
    size_t size_max;                     /* octets of the largest message */
    unsigned restart_percent;            /* of the steps: a restart in good order */
    bool tolerant;                       /* failures are no surprise: go on */
    bool storming;                       /* own: the disk lingers behind every expunge */
    uint32_t inflight;                   /* deliveries and commits not yet answered */
    uint32_t committing; /* maildrops whose session is being committed: a bit each */
    uint64_t delivered, expunged, refused; /* answered so far */
    uint64_t surprises;                    /* failures where none was expected */
    char surprise[128];                    /* the first of them */
};

/* Does `steps` random things; some may still be in flight afterwards. */
void load_run(struct load *load, unsigned steps);
/* The same number of things, while a thread of its own gives space back all the time: most of them
 * are mail that comes and goes, and maildrops. Nothing is in flight afterwards. */
void load_storm(struct load *load, unsigned steps);
/* Waits for what is in flight. */
void load_settle(struct load *load);

/* Single things, for those who want them in an order of their own. */
void load_create(struct load *load);
/* Delivers one message to `drops` and waits for the answer; returns its number. */
uint32_t load_deliver(struct load *load, uint32_t drops, size_t size);
void load_session(struct load *load, uint32_t drop, unsigned expunge_percent);
void load_remove(struct load *load, uint32_t drop);
/* A random maildrop that is there, or LEDGER_DROPS_MAX. */
uint32_t load_any_drop(struct load *load);

#endif
