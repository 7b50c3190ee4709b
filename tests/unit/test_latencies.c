/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/latencies.h"

#include "bench/dice.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static int compare_values(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

Test(latencies, knows_every_percentile_to_its_precision)
{
    enum { COUNT = 20000 };
    static uint64_t values[COUNT];
    struct latencies all;
    struct dice dice = {.state = 7};
    cr_assert_eq(latencies_init(&all, 8), STATUS_OK);
    for (size_t index = 0; index < COUNT; index++) {
        values[index] = dice_next(&dice) >> (22 + dice_below(&dice, 40));
        latencies_record(&all, values[index]);
    }
    qsort(values, COUNT, sizeof values[0], compare_values);
    for (size_t permille = 1; permille < 1000; permille++) {
        double share = (double)permille / 1000;
        uint64_t exact = values[permille * COUNT / 1000 - 1];
        uint64_t told = latencies_at(&all, share);
        cr_assert_geq(told, exact, "share %f", share);
        cr_assert_leq((double)(told - exact), (double)exact / 256.0, "share %f: %lu for %lu", share,
                      (unsigned long)told, (unsigned long)exact);
    }
    cr_assert_eq(latencies_at(&all, 1), values[COUNT - 1]);
    cr_assert_eq(all.min, values[0]);
    latencies_deinit(&all);
}

Test(latencies, merged_is_equal_to_recorded_together)
{
    struct latencies first, second, both;
    struct dice dice = {.state = 8};
    cr_assert_eq(latencies_init(&first, 5), STATUS_OK);
    cr_assert_eq(latencies_init(&second, 5), STATUS_OK);
    cr_assert_eq(latencies_init(&both, 5), STATUS_OK);
    for (unsigned index = 0; index < 5000; index++) {
        uint64_t value = dice_next(&dice) >> (20 + dice_below(&dice, 44));
        latencies_record(index % 3 == 0 ? &first : &second, value);
        latencies_record(&both, value);
    }
    latencies_merge(&first, &second);
    cr_assert_eq(first.count, both.count);
    cr_assert_eq(first.min, both.min);
    cr_assert_eq(first.max, both.max);
    cr_assert_eq(memcmp(first.buckets, both.buckets, both.bucket_count * sizeof both.buckets[0]),
                 0);
    latencies_deinit(&first);
    latencies_deinit(&second);
    latencies_deinit(&both);
}

Test(latencies, small_values_are_exact_and_huge_ones_are_cut)
{
    struct latencies all;
    cr_assert_eq(latencies_init(&all, 8), STATUS_OK);
    cr_assert_eq(latencies_at(&all, 0.5), 0);
    for (uint64_t value = 0; value < 512; value++) {
        latencies_clear(&all);
        latencies_record(&all, value);
        latencies_record(&all, UINT64_MAX);
        cr_assert_eq(latencies_at(&all, 0.5), value);
    }
    cr_assert_eq(all.max, (1ull << LATENCIES_VALUE_BITS) - 1);
    cr_assert_eq(latencies_at(&all, 1), all.max);
    latencies_deinit(&all);
    latencies_deinit(&all);
}

Test(latencies, counts_what_is_above_a_limit)
{
    struct latencies all;
    cr_assert_eq(latencies_init(&all, 8), STATUS_OK);
    for (uint64_t value = 1; value <= 100; value++) {
        latencies_record(&all, value);
    }
    cr_assert_eq(latencies_count_above(&all, 90), 10);
    cr_assert_eq(latencies_count_above(&all, 1000), 0);
    cr_assert_float_eq(latencies_mean(&all), 50.5, 1e-9);
    latencies_deinit(&all);
}

Test(latencies, writes_the_percentile_text)
{
    struct latencies all;
    char *text = NULL;
    size_t length = 0;
    cr_assert_eq(latencies_init(&all, 8), STATUS_OK);
    for (uint64_t value = 1; value <= 1000; value++) {
        latencies_record(&all, value * 1000);
    }
    FILE *file = open_memstream(&text, &length);
    latencies_write_hgrm(&all, file, 1000);
    fclose(file);
    cr_assert_eq(strncmp(text, "       Value     Percentile TotalCount", 38), 0);
    cr_assert_not_null(strstr(text, "1000.000 1.000000000000       1000\n"));
    cr_assert_not_null(strstr(text, "Total count    =         1000]"));
    double before = -1;
    for (const char *line = strstr(text, "\n\n") + 2; *line == ' '; line = strchr(line, '\n') + 1) {
        double value = 0, share = 0;
        cr_assert_eq(sscanf(line, "%lf %lf", &value, &share), 2);
        cr_assert_gt(share, before, "shares rise");
        before = share;
    }
    free(text);
    latencies_deinit(&all);
}
