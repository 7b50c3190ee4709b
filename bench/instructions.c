/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/instructions.h"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#define HAVE_CALLGRIND 1
#else
#define HAVE_CALLGRIND 0
#endif

static int counter = -1;

bool instructions_open(void)
{
    struct perf_event_attr attributes = {.type = PERF_TYPE_HARDWARE,
                                         .size = sizeof attributes,
                                         .config = PERF_COUNT_HW_INSTRUCTIONS,
                                         .exclude_kernel = 1,
                                         .exclude_hv = 1};
    counter = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
    return counter >= 0;
}

uint64_t instructions_read(void)
{
    uint64_t count = 0;
    if (counter >= 0 && read(counter, &count, sizeof count) != sizeof count) {
        return 0;
    }
    return count;
}

/* The marks are sequences of instructions that do nothing outside of callgrind. */
bool instructions_marked(void)
{
#if HAVE_CALLGRIND
    return RUNNING_ON_VALGRIND != 0;
#else
    return false;
#endif
}

void instructions_start_marks(void)
{
#if HAVE_CALLGRIND
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
#endif
}

void instructions_mark(const char *mark)
{
#if HAVE_CALLGRIND
    CALLGRIND_DUMP_STATS_AT(mark);
#else
    (void)mark;
#endif
}

void instructions_stop_marks(void)
{
#if HAVE_CALLGRIND
    CALLGRIND_STOP_INSTRUMENTATION;
#endif
}
