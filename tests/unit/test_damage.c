/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/damage.h"

#include <criterion/criterion.h>
#include <string.h>

Test(damage, every_kind_has_a_name_of_its_own_a_text_and_a_cure)
{
    for (int i = 0; i < DAMAGE_KINDS; i++) {
        enum damage_kind kind = (enum damage_kind)i;
        cr_assert_not_null(damage_name(kind));
        cr_assert_gt(strlen(damage_text(kind)), 10);
        cr_assert_gt(strlen(damage_cure(kind)), 10);
        cr_assert_eq(strspn(damage_name(kind), "abcdefghijklmnopqrstuvwxyz_"),
                     strlen(damage_name(kind)));
        for (int k = 0; k < i; k++) {
            cr_assert_str_neq(damage_name(kind), damage_name((enum damage_kind)k));
        }
    }
}
