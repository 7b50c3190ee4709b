/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every crash of a recorded run, within bounds: for a prefix of its steps, what had not been synced
 * is there or not, in any combination, and the last write is torn in its sectors. Each such state
 * is put into a directory, opened by the real store and held against the ledger; then written to,
 * and opened a second time, sometimes with its index thrown away or as a second crash leaves it.
 * Some recoveries are recorded themselves, and crash again in all their states.
 */
#ifndef TESTS_PROOF_STATES_H
#define TESTS_PROOF_STATES_H

#include "tests/proof/chance.h"
#include "tests/proof/image.h"
#include "tests/proof/ledger.h"
#include "tests/proof/recorder.h"
#include "tests/proof/roll.h"

#include "storage/store.h"

struct states_config {
    const char *folder;             /* for states, one at a time */
    struct store_config store;      /* as the run had it */
    uint64_t per_prefix;            /* states tried for each prefix, about */
    unsigned prefix_percent;        /* of the prefixes */
    bool nested;                    /* crashes of recoveries, too */
    enum recorder_lie recovery_lie; /* told while they are recorded */
    const struct roll *roll;        /* the accounts; NULL: none */
    bool first_only;                /* ends at the first violation */
    bool keep;                      /* leaves the first state that fails where it is */
};

struct states_result {
    uint64_t prefixes, states, torn, rebuilt, nested, violations;
    char first[512]; /* the first violation, in words */
    char now[128];   /* the state being tried, for whoever finds the process dead */
};

/* All crashes at or behind step `from` of the log. */
void states_explore(const struct step_log *log, size_t from, struct ledger *ledger,
                    const struct states_config *config, struct chance *chance,
                    struct states_result *result);

#endif
