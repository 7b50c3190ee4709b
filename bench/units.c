/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/units.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

#define UNITS_ROOM 24

/* Three significant digits, and no more places than needed. */
static const char *scaled(double value, double base, const char *const *names, size_t count,
                          char *out)
{
    size_t unit = 0;
    while (unit + 1 < count && fabs(value) >= base * 0.9995) {
        value /= base;
        unit++;
    }
    int places = fabs(value) >= 99.95 || value == floor(value) ? 0 : fabs(value) >= 9.995 ? 1 : 2;
    (void)snprintf(out, UNITS_ROOM, "%.*f%s", places, value, names[unit]);
    return out;
}

const char *units_time(double us, char *out)
{
    static const char *const names[] = {" us", " ms", " s"};
    return scaled(us, 1000, names, 3, out);
}

const char *units_count(double count, char *out)
{
    static const char *const names[] = {"", "k", "M", "G"};
    return scaled(count, 1000, names, 4, out);
}

const char *units_octets(double octets, char *out)
{
    static const char *const names[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    return scaled(octets, 1024, names, 5, out);
}
