/* SPDX-License-Identifier: Apache-2.0 */
#include "io/digits.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Each order of magnitude, a little below and above, in both systems. */
static void each_number(void (*check)(uint64_t number))
{
    for (uint64_t base = 10; base <= 16; base += 6) {
        uint64_t power = 1;
        for (unsigned i = 0; i < 20; i++, power *= base) { /* may wrap: any number will do */
            check(power - 1);
            check(power);
            check(power + 7);
        }
    }
    check(UINT64_MAX);
}

static void check_decimal(uint64_t number)
{
    char out[DIGITS_DECIMAL_MAX + 1] = {0}, expected[32];
    int length = snprintf(expected, sizeof expected, "%" PRIu64, number);
    cr_assert_eq(digits_decimal(out, number), (size_t)length);
    cr_assert_str_eq(out, expected);
}

Test(digits, decimal_is_what_printf_writes)
{
    each_number(check_decimal);
}

static void check_hex(uint64_t number)
{
    char out[DIGITS_HEX_MAX + 1] = {0}, expected[32];
    (void)snprintf(expected, sizeof expected, "%016" PRIx64, number);
    cr_assert_eq(digits_hex(out, number), (size_t)DIGITS_HEX_MAX);
    cr_assert_str_eq(out, expected);
    int length = snprintf(expected, sizeof expected, "%" PRIx64, number);
    memset(out, 0, sizeof out);
    cr_assert_eq(digits_hex_short(out, number), (size_t)length);
    cr_assert_str_eq(out, expected);
}

Test(digits, hexadecimal_has_all_digits_or_no_leading_zeros)
{
    each_number(check_hex);
}

Test(digits, padded_keeps_the_last_digits)
{
    char out[8] = "xxxxxxx";
    cr_assert_eq(digits_padded(out, 7, 3), 3);
    cr_assert_eq(digits_padded(out + 3, 12345, 2), 2);
    cr_assert_eq(digits_padded(out + 5, 9, 0), 0);
    cr_assert_str_eq(out, "00745xx");
}
