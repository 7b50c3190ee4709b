/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the running server can still do, whoever tells it to: nothing that needs privileges, no file
 * but those its configuration names, no program, no further ring. In two steps, because rings can
 * only be made before they are forbidden, and threads only inherit what is older than they are:
 *
 *   sandbox_enter   before the first thread is made: capabilities, core dumps, Landlock
 *   sandbox_seal    when the workers run: seccomp, for all threads
 *
 * Each part is applied where this kernel has it; what is in force is logged and in the metrics.
 * With sandbox = off, and in builds with a sanitizer, which looks into its own process, nothing
 * is. Main thread.
 */
#ifndef SERVER_SANDBOX_H
#define SERVER_SANDBOX_H

#include "io/status.h"
#include "server/config.h"

#include <stdbool.h>

/* What is in force; written before there are threads that read it. */
struct sandbox {
    bool is_off;
    bool privileges; /* no capabilities, no new ones, no core dumps */
    int landlock;    /* its ABI; 0: not in force */
    bool seccomp;
};

/* After this the server can reach what `config` names, and its own file for reloads. `demo`: the
 * folder above the store may lose it again at the end. */
MUST_CHECK enum status sandbox_enter(const struct config *config, bool demo,
                                     struct sandbox *out_sandbox, struct error *out_error);

/* To be called once, after sandbox_enter. A part that is missing is no failure. */
void sandbox_seal(const struct config *config, struct sandbox *sandbox);

/* One line that says all of it; `rings` whether the workers have rings, which are restricted. */
void sandbox_log(const struct sandbox *sandbox, bool rings);

#endif
