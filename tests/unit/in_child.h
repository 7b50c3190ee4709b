/* SPDX-License-Identifier: Apache-2.0 */
/* What cannot be undone is tried in a child of the test. Included by one test file of a program. */
#ifndef TESTS_UNIT_IN_CHILD_H
#define TESTS_UNIT_IN_CHILD_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHILD_HAS_SANITIZER true /* it looks into its own process when that ends */
#else
#define CHILD_HAS_SANITIZER false
#endif

/* In the child: says what is wrong and ends it. */
#define CHILD_EXPECT(condition)                                             \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            _exit(1);                                                       \
        }                                                                   \
    } while (0)

#define CHILD_SKIPS 77 /* its exit code when there is nothing to try here */

/* Runs `body`, which may return, in a child; false: it skips. */
static inline bool in_child(void (*body)(void))
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    int result = 0;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert(WIFEXITED(result), "ended by signal %d", WTERMSIG(result));
    cr_assert(WEXITSTATUS(result) == 0 || WEXITSTATUS(result) == CHILD_SKIPS);
    return WEXITSTATUS(result) == 0;
}

#endif
