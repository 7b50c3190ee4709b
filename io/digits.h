/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as text, for lines that are written once an operation: printf(3) was a quarter of what a
 * login executed. None of these writes a NUL; all return the octets written.
 */
#ifndef IO_DIGITS_H
#define IO_DIGITS_H

#include <stddef.h>
#include <stdint.h>

#define DIGITS_DECIMAL_MAX 20 /* octets of the largest number */
#define DIGITS_HEX_MAX     16

/* In decimal, without leading zeros. */
size_t digits_decimal(char *out, uint64_t number);

/* The last `width` decimal digits, with leading zeros. */
size_t digits_padded(char *out, uint64_t number, size_t width);

/* In hexadecimal, in lower case: all 16 digits, or without leading zeros. */
size_t digits_hex(char *out, uint64_t number);
size_t digits_hex_short(char *out, uint64_t number);

#endif
