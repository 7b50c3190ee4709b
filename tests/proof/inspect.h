/* SPDX-License-Identifier: Apache-2.0 */
/* Holds a store against a ledger: everything that must be there is, octet by octet and with its
 * numbers, and nothing that must not be. */
#ifndef TESTS_PROOF_INSPECT_H
#define TESTS_PROOF_INSPECT_H

#include "tests/proof/ledger.h"
#include "tests/proof/site.h"

struct inspection {
    unsigned violations;
    char first[256];                  /* the first of them, in words */
    uint64_t drops, messages, octets; /* found */
    uint64_t uid_max;                 /* of those found and of those that were answered */
};

/* What the store shows now, against what the ledger says of a crash at `position`. */
void inspect_store(struct fixture *site, struct ledger *ledger, uint64_t position,
                   struct inspection *out);

/* The same, and what could be either way is settled: what was found is from now on promised, what
 * was not found is gone. */
void inspect_and_settle(struct fixture *site, struct ledger *ledger, uint64_t position,
                        struct inspection *out);

/* After a checkpoint: the index's own figures against what was found. */
void inspect_numbers(struct fixture *site, struct inspection *inspection);

/* Notes a violation. */
void inspect_complain(struct inspection *inspection, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
