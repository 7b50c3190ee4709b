/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/run_config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool run_config_name(const char *pattern, uint32_t number, char *out, size_t size)
{
    const char *mark = strstr(pattern, "%u");
    int length;
    if (mark == NULL) {
        length = snprintf(out, size, "%s", pattern);
    } else {
        length = snprintf(out, size, "%.*s%" PRIu32 "%s", (int)(mark - pattern), pattern, number,
                          mark + 2);
    }
    return length >= 0 && (size_t)length < size;
}
