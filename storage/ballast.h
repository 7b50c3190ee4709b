/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room that others cannot take: a file `ballast` of the volume, allocated and never written. The
 * reserve that storage/space counts keeps our own deliveries from filling the disk; somebody else's
 * files know nothing of it. When there is next to nothing left the ballast is given up a step at a
 * time, so that expunges and checkpoints still work, and taken back when there is room again.
 *
 * Any thread; a mutex inside.
 */
#ifndef STORAGE_BALLAST_H
#define STORAGE_BALLAST_H

#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct volume;
struct ballast;

#define BALLAST_MAX   (16u << 20) /* octets: some checkpoints on a full disk */
#define BALLAST_STEPS 16          /* that it is given up in */

/* Half as much as the reserve, at most BALLAST_MAX. Where the file system cannot allocate, or has
 * no room, there is none for now. STATUS_NO_MEMORY, STATUS_IO, ... */
MUST_CHECK enum status ballast_open(struct volume *volume, struct ballast **out_ballast,
                                    struct error *out_error);
/* The file stays. NULL inside is allowed; NULLs. */
void ballast_close(struct ballast **ballast);

/* What a step is worth, octets; 0: there never is any. */
uint64_t ballast_step(const struct ballast *ballast);
/* Gives up a step. False: there is none left. NULL is allowed: there never was any. */
bool ballast_release(struct ballast *ballast);
/* Takes all of it back when `free_octets` say that there is room for it and more. */
void ballast_restore(struct ballast *ballast, uint64_t free_octets);
uint64_t ballast_held(struct ballast *ballast); /* octets held now */

#endif
