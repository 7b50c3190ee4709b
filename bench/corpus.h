/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of real mail, read into memory: line ends made CRLF, the last line ended. Files in the
 * order of their names, so that a number means the same message in every run. Immutable once open;
 * any thread.
 */
#ifndef BENCH_CORPUS_H
#define BENCH_CORPUS_H

#include "io/status.h"

#include <stddef.h>
#include <stdint.h>

#define CORPUS_FILES_MAX  100000       /* files of one corpus */
#define CORPUS_OCTETS_MAX (4ull << 30) /* octets of all of them, since they stay in memory */

struct corpus_file {
    char *data;
    size_t length;
};

struct corpus {
    size_t file_count;
    struct corpus_file *files;
};

/* Reads all regular files of `path`; STATUS_NOT_FOUND when there is none. */
MUST_CHECK enum status corpus_open(const char *path, struct corpus **out_corpus,
                                   struct error *out_error);

/* Frees; harmless on NULL. */
void corpus_close(struct corpus **corpus);

#endif
