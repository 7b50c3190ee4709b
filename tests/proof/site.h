/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that a proof works on, driven from one thread, in a directory that the proof names; on
 * top of tests/unit/store_fixture.h, with failures answered rather than asserted.
 */
#ifndef TESTS_PROOF_SITE_H
#define TESTS_PROOF_SITE_H

#include "tests/unit/store_fixture.h"

/* Opens the store in `path`, which stays the caller's; on failure nothing is left. */
enum status site_open(struct fixture *site, const char *path, const struct store_config *config,
                      struct error *out_error);
/* Ends the store in order; nothing may be in flight. */
void site_close(struct fixture *site);

/* The whole wire form of a message, to be freed by the caller. */
enum status site_read(struct fixture *site, struct view *view, uint32_t index, char **out_wire,
                      size_t *out_length);

/* A new directory for a process's work: in memory where there is a file system for that. */
void site_make_folder(char out_path[64]);
/* Removes a directory with everything in it; missing is fine. */
void site_remove(const char *path);
/* Copies a directory as it is, but for LMDB's lock files. */
void site_copy(const char *from, const char *to);

#endif
