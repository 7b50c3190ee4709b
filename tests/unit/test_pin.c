/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/pin.h"

#include <criterion/criterion.h>

Test(pin, only_views_of_before_the_turn_are_waited_for)
{
    struct pins pins;
    pins_init(&pins);
    cr_assert(pins_drained(&pins));
    unsigned first = pin_take(&pins), second = pin_take(&pins);
    pins_turn(&pins);
    unsigned later = pin_take(&pins);
    cr_assert_not(pins_drained(&pins));
    pin_release(&pins, first);
    cr_assert_not(pins_drained(&pins));
    pin_release(&pins, second);
    cr_assert(pins_drained(&pins), "the later view is no reason to wait");
    pins_turn(&pins);
    cr_assert_not(pins_drained(&pins), "now it is");
    pin_release(&pins, later);
    cr_assert(pins_drained(&pins));
    pins_deinit(&pins);
}
