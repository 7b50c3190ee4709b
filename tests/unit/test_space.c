/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/space.h"

#include "storage/volume.h"
#include "tests/unit/fake_disk.h"

#include <criterion/criterion.h>

static struct fake_disk fake;
static struct volume volume;

static void set_up(void)
{
    fake_disk_init(&fake);
    volume.disk = &fake.disk;
    volume.path[0] = '/';
    volume.config.space_reserve = 1000;
}

static void tear_down(void)
{
    fake_disk_deinit(&fake);
}

TestSuite(space, .init = set_up, .fini = tear_down);

static void check(uint64_t free_octets, bool is_below, bool is_low)
{
    fake_disk_set_free(&fake, free_octets);
    cr_assert_eq(space_check(&volume), is_below, "%lu", (unsigned long)free_octets);
    cr_assert_eq(volume.space_low, is_low, "%lu", (unsigned long)free_octets);
}

Test(space, has_a_soft_limit_that_does_not_flutter_and_a_hard_one)
{
    check(5000, false, false);
    check(1500, false, false);
    check(1499, false, true);
    check(1500, false, true);
    check(1999, false, true);
    check(2000, false, false);
    check(1000, false, true);
    check(999, true, true);
    check(0, true, true);
    check(1000, false, true);
    check(3000, false, false);
}

Test(space, counts_as_there_when_it_cannot_be_asked_for)
{
    volume.path[0] = '\0';
    fake.free_octets = UINT64_MAX; /* ask the system, for a path that is none */
    cr_assert_not(space_check(&volume));
    cr_assert_not(volume.space_low);
}
