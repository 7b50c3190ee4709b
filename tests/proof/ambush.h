/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of events in which compaction would bring back mail that is gone, or unlink what an
 * index still wants, if it broke a promise: played step by step, with the store's own threads held
 * where it matters, because a random load meets them once in hundreds of runs. Mostly it takes an
 * index made again from the log to see what has come of them. On the recorder's disk; the first
 * thread.
 */
#ifndef TESTS_PROOF_AMBUSH_H
#define TESTS_PROOF_AMBUSH_H

#include "tests/proof/load.h"

/* Messages are expunged between the look and the append of their copies; then the segment with the
 * expunge goes, and those with the copies stay. */
void ambush_copy(struct load *load);

/* A maildrop is removed, and mail expunged, that stands in a full segment; then the segment with
 * the removal and the expunge goes, and the full one stays. */
void ambush_removal(struct load *load);

/* A segment goes that the index had not passed one checkpoint before the one that lets it go. */
void ambush_unlink(struct load *load);

/* One of them, by any number. */
void ambush_play(struct load *load, uint64_t which);

#endif
