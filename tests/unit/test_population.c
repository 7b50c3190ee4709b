/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/population.h"

#include <criterion/criterion.h>
#include <string.h>

Test(population, every_user_is_of_one_part)
{
    unsigned seen[17] = {0};
    for (unsigned part = 0; part < 4; part++) {
        struct population population;
        cr_assert_eq(population_init(&population, 100, 17, part, 4), STATUS_OK);
        for (uint32_t index = 0; index < population.count; index++) {
            seen[population.users[index].number - 100]++;
        }
        population_deinit(&population);
    }
    for (unsigned user = 0; user < 17; user++) {
        cr_assert_eq(seen[user], 1);
    }
}

Test(population, nobody_has_two_sessions)
{
    struct population population;
    struct dice dice = {.state = 1};
    cr_assert_eq(population_init(&population, 1, 3, 0, 1), STATUS_OK);
    struct bench_user *one = population_take(&population, NULL);
    struct bench_user *two = population_take(&population, &dice);
    struct bench_user *three = population_take(&population, &dice);
    cr_assert(one != two && two != three && one != three);
    cr_assert_null(population_take(&population, NULL));
    cr_assert_not_null(population_recipient(&population, NULL), "mail may come all the same");
    two->busy = false;
    cr_assert_eq(population_take(&population, NULL), two);
    population_deinit(&population);
}

Test(population, a_part_may_have_nobody)
{
    struct population population;
    cr_assert_eq(population_init(&population, 1, 2, 3, 4), STATUS_OK);
    cr_assert_eq(population.count, 0);
    cr_assert_null(population_take(&population, NULL));
    cr_assert_null(population_recipient(&population, NULL));
    population_deinit(&population);
}

static bool sees(struct bench_user *user, const char *ids)
{
    bool good = bench_user_counted(user, (uint32_t)strlen(ids));
    for (uint32_t index = 0; ids[index] != '\0'; index++) {
        good = bench_user_saw(user, index, population_hash(ids + index, 1)) && good;
    }
    return good;
}

Test(population, a_listing_goes_on_where_the_last_one_ended)
{
    struct population population;
    cr_assert_eq(population_init(&population, 1, 1, 0, 1), STATUS_OK);
    struct bench_user *user = &population.users[0];
    cr_assert(sees(user, ""));
    cr_assert(sees(user, "abc"));
    cr_assert(sees(user, "abc"));
    cr_assert(sees(user, "abcdefghijklmn"));
    bench_user_deleted(user, 3);
    cr_assert(sees(user, "defghijklmno"));
    bench_user_deleted(user, 100);
    cr_assert(sees(user, "xy"));
    population_deinit(&population);
}

Test(population, a_changed_a_vanished_and_a_repeated_id_are_noticed)
{
    static const char *const bad[] = {"abX", "ab", "Xabc", "acb", "abcc", ""};
    for (size_t index = 0; index < sizeof bad / sizeof bad[0]; index++) {
        struct population population;
        cr_assert_eq(population_init(&population, 1, 1, 0, 1), STATUS_OK);
        cr_assert(sees(&population.users[0], "abc"));
        cr_assert_not(sees(&population.users[0], bad[index]), "%s", bad[index]);
        bench_user_forget(&population.users[0]);
        cr_assert(sees(&population.users[0], "zyx"));
        population_deinit(&population);
    }
}

Test(population, a_message_keeps_its_size_and_its_letter)
{
    struct population population;
    cr_assert_eq(population_init(&population, 1, 1, 0, 1), STATUS_OK);
    struct bench_user *user = &population.users[0];
    cr_assert(sees(user, "ab"));
    cr_assert(bench_user_sized(user, 1, 500));
    cr_assert(bench_user_sized(user, 1, 500));
    cr_assert_not(bench_user_sized(user, 1, 501));
    cr_assert_not(bench_user_has_fetched(user, 0));
    cr_assert(bench_user_fetched(user, 0, 77));
    cr_assert(bench_user_has_fetched(user, 0));
    cr_assert_not(bench_user_fetched(user, 0, 78));
    cr_assert(bench_user_fetched(user, 9, 78), "what was not listed is not known");
    population_deinit(&population);
}
