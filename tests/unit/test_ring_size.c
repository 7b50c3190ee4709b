/* SPDX-License-Identifier: Apache-2.0 */
#include "io/io_limits.h"
#include "io/ring_size.h"

#include <criterion/criterion.h>

Test(ring_size, the_completion_queue_follows_the_connections_within_bounds)
{
    struct loop_config config = {.connections_max = 1};
    cr_assert_eq(ring_size_wanted(&config).cq_entries, LOOP_CQ_ENTRIES_MIN);
    config.connections_max = 5000;
    cr_assert_eq(ring_size_wanted(&config).cq_entries, 8192);
    config.connections_max = 10000000;
    cr_assert_eq(ring_size_wanted(&config).cq_entries, LOOP_CQ_ENTRIES_MAX);
}

Test(ring_size, halving_ends_at_the_smallest_and_never_grows)
{
    struct loop_config config = {0};
    struct ring_size size = ring_size_wanted(&config), before = size;
    unsigned steps = 0;
    while (ring_size_halve(&size)) {
        cr_assert_lt(ring_size_locked(&size), ring_size_locked(&before));
        cr_assert_geq(size.cq_entries, size.sq_entries);
        cr_assert_geq(size.bulk_buffers, 1);
        before = size;
        cr_assert_lt(++steps, 10);
    }
    cr_assert_eq(size.sq_entries, LOOP_SQ_ENTRIES_MIN);
    struct ring_size smallest = ring_size_smallest();
    cr_assert_leq(ring_size_locked(&smallest), ring_size_locked(&size));
}

Test(ring_size, the_default_fits_eight_mebioctets_twenty_times)
{
    /* 8 MiB is the usual limit for a user; all workers of a 16-core machine must fit into it. */
    struct loop_config config = {0};
    struct ring_size size = ring_size_wanted(&config);
    cr_assert_lt(ring_size_locked(&size) * 20, UINT64_C(8) << 20);
}
