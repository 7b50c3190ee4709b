/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A result as a document; bench/SCHEMA.md describes it and is the contract.
 */
#ifndef BENCH_RESULT_JSON_H
#define BENCH_RESULT_JSON_H

#include "bench/trial.h"
#include "bench/verdict.h"
#include "io/doc.h"

#define RESULT_SCHEMA "restante-bench/1"

/* What does not change from run to run. */
struct result_facts {
    const char *command;                                  /* as given, without the password */
    const char *target, *lmtp, *sizes, *arrivals, *shape; /* as given; NULL: not given */
};

/* A new document with everything but runs and verdict. */
void result_json_begin(const struct run_config *config, const struct result_facts *facts,
                       struct doc *out_doc);

/* Appends a run to an array. */
void result_json_run(struct doc *runs, const struct trial *trial, const struct verdict *verdict);

/* Puts the runs and the verdict over all of them; `runs` is taken over. */
void result_json_end(struct doc *doc, struct doc *runs, const struct verdict *verdict);

#endif
