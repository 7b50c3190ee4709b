/* SPDX-License-Identifier: Apache-2.0 */
#include "io/digits.h"

#include <string.h>

size_t digits_decimal(char *out, uint64_t number)
{
    char digits[DIGITS_DECIMAL_MAX];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

size_t digits_padded(char *out, uint64_t number, size_t width)
{
    for (size_t at = width; at > 0; number /= 10) {
        out[--at] = (char)('0' + number % 10);
    }
    return width;
}

static size_t hex(char *out, uint64_t number, size_t width)
{
    for (size_t at = width; at > 0; number >>= 4) {
        out[--at] = "0123456789abcdef"[number & 15];
    }
    return width;
}

size_t digits_hex(char *out, uint64_t number)
{
    return hex(out, number, DIGITS_HEX_MAX);
}

size_t digits_hex_short(char *out, uint64_t number)
{
    size_t width = 1;
    while (width < DIGITS_HEX_MAX && number >> (4 * width) != 0) {
        width++;
    }
    return hex(out, number, width);
}
