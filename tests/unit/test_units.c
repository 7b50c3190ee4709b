/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/units.h"

#include <criterion/criterion.h>

Test(units, have_three_digits_and_the_unit_that_fits)
{
    char text[24];
    cr_assert_str_eq(units_time(0, text), "0 us");
    cr_assert_str_eq(units_time(1.234, text), "1.23 us");
    cr_assert_str_eq(units_time(999.9, text), "1.00 ms");
    cr_assert_str_eq(units_time(12345, text), "12.3 ms");
    cr_assert_str_eq(units_time(123456, text), "123 ms");
    cr_assert_str_eq(units_time(7.5e9, text), "7500 s");
    cr_assert_str_eq(units_count(15230, text), "15.2k");
    cr_assert_str_eq(units_count(7, text), "7");
    cr_assert_str_eq(units_octets(1536, text), "1.50 KiB");
    cr_assert_str_eq(units_octets(1 << 20, text), "1 MiB");
}
