/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets system calls and allocations of the code under test fail, the Nth one of a scenario. Calls
 * are stood in for by name (LMDB's are among them); allocations by the linker's --wrap, so that
 * they are those of our own libraries only. The test's own calls, which come from the main thread,
 * do not count, unless they stand inside SHIM_IN.
 *
 * Also keeps count of what has been allocated and not been freed.
 */
#ifndef TESTS_PROOF_SHIM_H
#define TESTS_PROOF_SHIM_H

#include <stddef.h>
#include <stdint.h>

enum shim_mode {
    SHIM_FAIL,      /* the Nth call that can fail does: EIO, ENOMEM, EMFILE, whatever is its own */
    SHIM_FULL,      /* the Nth that needs room on a disk finds none: ENOSPC */
    SHIM_INTERRUPT, /* the Nth that can be interrupted is: EINTR */
    SHIM_SHORT,     /* the Nth that moves octets moves fewer */
    SHIM_BROKEN,    /* from the Nth on every system call fails */
    SHIM_STARVED,   /* from the Nth on every allocation fails */
    SHIM_MODES,
};
const char *shim_mode_name(enum shim_mode mode);

/* Strikes at call `nth` of the mode, counted from 1; 0: never. */
void shim_arm(enum shim_mode mode, uint64_t nth);
/* No more; returns how many calls of the mode there were. */
uint64_t shim_disarm(void);
/* What was struck last, or "nothing". */
const char *shim_struck(void);

/* Evaluates a call into the code under test. */
#define SHIM_IN(call)                           \
    __extension__({                             \
        shim_enter();                           \
        __typeof__(call) shim_result_ = (call); \
        shim_leave();                           \
        shim_result_;                           \
    })
#define SHIM_DO(call) \
    do {              \
        shim_enter(); \
        call;         \
        shim_leave(); \
    } while (0)
void shim_enter(void);
void shim_leave(void);

/* Allocations of the code under test that have not been freed. */
size_t shim_live(void);

#endif
