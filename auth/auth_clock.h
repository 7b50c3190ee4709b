/* SPDX-License-Identifier: Apache-2.0 */
/* Monotonic time for threads that run no loop; a loop's clock is the same. Any thread. */
#ifndef AUTH_AUTH_CLOCK_H
#define AUTH_AUTH_CLOCK_H

#include <stdint.h>

/* Microseconds of CLOCK_MONOTONIC. */
int64_t auth_clock_us(void);

#endif
