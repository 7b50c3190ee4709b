/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. Wrong use ends the program with code 2 and a line that says what is wrong.
 */
#ifndef BENCH_RUN_OPTIONS_H
#define BENCH_RUN_OPTIONS_H

#include "bench/floor.h"
#include "bench/result_json.h"
#include "bench/run_config.h"
#include "bench/trial.h"
#include "bench/verdict.h"

enum bench_command_kind { BENCH_RUN, BENCH_POPULATE, BENCH_FLOOR, BENCH_COMPARE, BENCH_REPORT };

struct bench_options {
    enum bench_command_kind command;
    struct run_config config;
    struct trial_watch watch;
    struct result_facts facts;
    struct floor_config floor;
    struct verdict_threshold thresholds[RUN_THRESHOLDS];
    unsigned threshold_count, repeat;
    unsigned load_count, loads[WORK_LOADS_MAX];
    const char *json, *html, *hgrm;
    const char *corpus;
    const char *files[2]; /* compare, report */
    unsigned file_count;
    uint32_t messages;     /* populate: for each user */
    double max_regression; /* compare: percent; below 0: none asked */
    bool quiet;
    char command_line[1024];
};

/* Fills `out_options`; texts are those of `argv`. Ends the program on wrong use and after
 * --help. */
void run_options_parse(int argc, char **argv, struct bench_options *out_options);

#endif
