/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios of the fault shim, and what they tell it. */
#ifndef TESTS_PROOF_FAULTS_H
#define TESTS_PROOF_FAULTS_H

#include "tests/proof/ledger.h"
#include "tests/proof/site.h"

struct trial;

struct scenario {
    const char *name;
    void (*begin)(void); /* once, before the trials of a process, and after them */
    void (*end)(void);
    void (*prepare)(struct trial *trial); /* nothing strikes yet */
    void (*run)(struct trial *trial);     /* the shim is armed; everything is ended in here */
    void (*check)(struct trial *trial);   /* nothing strikes any more */
};

/* One run of a scenario. */
struct trial {
    const struct scenario *scenario;
    int mode; /* enum shim_mode */
    uint64_t nth;
    const char *struck; /* what was, once it has run */
    bool strict;        /* everything must succeed */
    char path[96];
    struct ledger ledger;
};

/* Ends with one that has no name. */
extern const struct scenario faults_scenarios[];
/* One that leaks when it is struck: to see that it is noticed. */
extern const struct scenario faults_careless;

void faults_complain(const struct trial *trial, const char *what);
uint64_t faults_tick(void); /* a clock for the ledger */
/* What a process that died has left. */
void faults_remove_folder(pid_t process);

/* The scenarios' functions, by file. */
void faults_store_begin(void);
void faults_compact_begin(void);
void faults_store_end(void);
void faults_prepare_new(struct trial *trial);
void faults_prepare_killed(struct trial *trial);
void faults_prepare_rebuild(struct trial *trial);
void faults_run_store(struct trial *trial);
void faults_run_compact(struct trial *trial);
void faults_check_store(struct trial *trial);
void faults_check_compact(struct trial *trial);
void faults_io_begin(void);
void faults_io_end(void);
void faults_prepare_io(struct trial *trial);
void faults_run_epoll(struct trial *trial);
void faults_run_uring(struct trial *trial);
void faults_run_listen(struct trial *trial);
void faults_check_io(struct trial *trial);

#endif
