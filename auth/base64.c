/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/base64.h"

#include <stdbool.h>
#include <stdint.h>

#define NOT_A_DIGIT 0x80u /* set in the value of what is no base64 digit */

/* All ones when `low` <= `value` <= `high`, else 0. For numbers below 256: a difference below zero
 * has its top bit set. */
static uint32_t within(uint32_t value, uint32_t low, uint32_t high)
{
    return (((value - low) | (high - value)) >> 31) - 1u;
}

/* The six bits that a character stands for, or NOT_A_DIGIT. */
static uint32_t digit_value(char character)
{
    uint32_t c = (unsigned char)character;
    uint32_t upper = within(c, 'A', 'Z'), lower = within(c, 'a', 'z');
    uint32_t number = within(c, '0', '9'), plus = within(c, '+', '+'), slash = within(c, '/', '/');
    uint32_t value = (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (number & (c - '0' + 52)) |
                     (plus & 62) | (slash & 63);
    return value | (~(upper | lower | number | plus | slash) & NOT_A_DIGIT);
}

static char value_digit(uint32_t value)
{
    uint32_t c = (within(value, 0, 25) & (value + 'A')) |
                 (within(value, 26, 51) & (value - 26 + 'a')) |
                 (within(value, 52, 61) & (value - 52 + '0')) | (within(value, 62, 62) & '+') |
                 (within(value, 63, 63) & '/');
    return (char)c;
}

enum status base64_decode(const char *text, size_t length, char *out, size_t *out_length)
{
    size_t padding = 0, written = 0;
    uint32_t faults = 0;
    if (length % 4 != 0) {
        return STATUS_INVALID;
    }
    if (length > 0 && text[length - 1] == '=') {
        padding = text[length - 2] == '=' ? 2 : 1;
    }
    for (size_t at = 0; at < length; at += 4) {
        bool last = at + 4 == length;
        size_t digits = last ? 4 - padding : 4;
        uint32_t group = 0;
        for (size_t i = 0; i < 4; i++) {
            uint32_t value = i < digits ? digit_value(text[at + i]) : 0;
            faults |= value & NOT_A_DIGIT;
            group = group << 6 | (value & 63);
        }
        for (size_t i = 0; i + 1 < digits; i++) { /* behind what has been read, in place too */
            out[written++] = (char)(group >> (16 - 8 * i) & 255);
        }
        faults |= last && padding > 0 ? group & (padding == 2 ? 0xffffu : 0xffu) : 0;
    }
    if (faults != 0) {
        return STATUS_INVALID;
    }
    *out_length = written;
    return STATUS_OK;
}

size_t base64_encode(const void *data, size_t length, char *out)
{
    const unsigned char *octets = data;
    size_t written = 0;
    for (size_t at = 0; at < length; at += 3) {
        size_t some = length - at < 3 ? length - at : 3;
        uint32_t group = (uint32_t)octets[at] << 16;
        group |= some > 1 ? (uint32_t)octets[at + 1] << 8 : 0;
        group |= some > 2 ? (uint32_t)octets[at + 2] : 0;
        for (size_t i = 0; i < 4; i++) {
            out[written++] = i <= some ? value_digit(group >> (18 - 6 * i) & 63) : '=';
        }
    }
    return written;
}
