/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/run_config.h"

#include <criterion/criterion.h>

Test(run_config, puts_the_number_in_its_place)
{
    char name[16];
    cr_assert(run_config_name("demo%u", 12, name, sizeof name));
    cr_assert_str_eq(name, "demo12");
    cr_assert(run_config_name("u%u@x.y", 4294967, name, sizeof name));
    cr_assert_str_eq(name, "u4294967@x.y");
    cr_assert(run_config_name("fixed", 5, name, sizeof name));
    cr_assert_str_eq(name, "fixed");
    cr_assert_not(run_config_name("a-very-long-name%u", 5, name, sizeof name));
}
