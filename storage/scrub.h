/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scrubber: one thread a volume that reads every message of every maildrop, slowly, and holds
 * it against its checksum, blobs too; then the index's pages; then it begins again. What it finds
 * goes into volume->damaged. It remembers in the file `scrub` of the volume how far it came and
 * what is damaged, so that a restart forgets neither.
 */
#ifndef STORAGE_SCRUB_H
#define STORAGE_SCRUB_H

#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct volume;
struct scrub;
struct message_entry;

/* Reads the file `scrub` into volume->damaged, then starts the thread; with rate 0 (octets a
 * second) only the former. Needs the volume's index and segments. */
MUST_CHECK enum status scrub_start(struct volume *volume, uint64_t rate, struct scrub **out_scrub,
                                   struct error *out_error);
/* Ends the thread and writes the file. NULL inside is allowed; NULLs. */
void scrub_stop(struct scrub **scrub);

struct scrub_numbers {
    uint64_t octets, messages, passes; /* since the start */
    bool index_damaged;                /* found by the last look at its pages */
};
void scrub_numbers(const struct scrub *scrub, struct scrub_numbers *out_numbers); /* any thread */

/* Remembers a message as damaged and, when that is news, says so in the log. Any thread. */
void scrub_report(struct volume *volume, uint64_t maildrop, const struct message_entry *entry,
                  enum status status, const char *found_by);

#endif
