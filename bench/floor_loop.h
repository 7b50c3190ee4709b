/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor on the project's io layer: the same canned replies over a loop and its connections,
 * so that the layer can be told from what stands on it.
 */
#ifndef BENCH_FLOOR_LOOP_H
#define BENCH_FLOOR_LOOP_H

#include "bench/canned.h"
#include "bench/floor.h"

/* Serves on `listen_fd`, which stays the caller's, until SIGTERM or SIGINT. `config->how` is copy
 * or sendfile. Fails, with a text in `out_error`, when there is no such loop here. */
MUST_CHECK enum status floor_loop_serve(const struct floor_config *config,
                                        const struct canned *canned, int listen_fd,
                                        struct error *out_error);

#endif
