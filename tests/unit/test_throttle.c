/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/throttle.h"

#include "auth/auth_limits.h"
#include "auth/secret.h"

#include <criterion/criterion.h>
#include <string.h>

#define DECAY_MS (AUTH_THROTTLE_DECAY_S * INT64_C(1000))

static struct throttle *throttle;
static const struct throttle_source here = {{4, 192, 0, 2, 1}}, there = {{4, 192, 0, 2, 2}};

static void start(void)
{
    cr_assert_eq(secret_start(), STATUS_OK);
    cr_assert_eq(throttle_create(0, &throttle), STATUS_OK);
}

static void stop(void)
{
    throttle_destroy(&throttle);
    throttle_destroy(&throttle);
}

TestSuite(throttle, .init = start, .fini = stop);

Test(throttle, raises_the_delay_with_every_new_failure_up_to_a_bound)
{
    static const uint32_t delays[] = {2000, 4000, 8000, 15000, 15000, 15000};
    for (uint64_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        cr_expect_eq(throttle_failure(throttle, &here, NULL, i, 0), delays[i]);
    }
}

Test(throttle, the_same_credential_again_does_not_escalate)
{
    for (int i = 0; i < 10; i++) {
        cr_expect_eq(throttle_failure(throttle, &here, NULL, 1, i), 2000);
    }
    cr_expect_eq(throttle_failure(throttle, &here, NULL, 2, 10), 4000);
    cr_expect_eq(throttle_failure(throttle, &here, NULL, 1, 11), 4000);
}

Test(throttle, judges_each_source_by_itself)
{
    cr_expect_eq(throttle_failure(throttle, &here, NULL, 1, 0), 2000);
    cr_expect_eq(throttle_failure(throttle, &here, NULL, 2, 0), 4000);
    cr_expect_eq(throttle_failure(throttle, &there, NULL, 1, 0), 2000);
    cr_expect_eq(throttle_count(throttle, 0), 2);
}

Test(throttle, forgives_step_by_step)
{
    for (uint64_t i = 0; i < 4; i++) {
        (void)throttle_failure(throttle, &here, NULL, i, 0);
    }
    cr_expect_eq(throttle_failure(throttle, &here, NULL, 3, DECAY_MS - 1), 15000);
    cr_expect_eq(throttle_failure(throttle, &here, NULL, 3, DECAY_MS), 8000);
    cr_expect_eq(throttle_failure(throttle, &here, NULL, 3, 2 * DECAY_MS), 4000);
    cr_expect_eq(throttle_count(throttle, 3 * DECAY_MS), 1);
    cr_expect_eq(throttle_count(throttle, 4 * DECAY_MS), 0);
    cr_expect_eq(throttle_failure(throttle, &here, NULL, 3, 4 * DECAY_MS), 2000);
}

Test(throttle, a_device_with_an_old_password_stays_at_the_first_step)
{
    for (int64_t minute = 0; minute < 100; minute++) {
        cr_expect_eq(throttle_failure(throttle, &here, NULL, 1, minute * 30000), 2000);
    }
}

Test(throttle, is_bounded_and_drops_who_failed_longest_ago)
{
    struct throttle_source source = {{4}};
    for (uint32_t i = 0; i < 40000; i++) {
        source.octets[1] = (uint8_t)i;
        source.octets[2] = (uint8_t)(i >> 8);
        cr_expect_eq(throttle_failure(throttle, &source, NULL, 1, i / 10000), 2000);
    }
    cr_expect_leq(throttle_count(throttle, 4), AUTH_THROTTLE_SETS * AUTH_THROTTLE_WAYS);
    cr_expect_gt(throttle_count(throttle, 4), AUTH_THROTTLE_SETS * AUTH_THROTTLE_WAYS / 2);
    cr_expect_eq(throttle_failure(throttle, &source, NULL, 2, 4), 4000); /* the latest is there */
}

Test(throttle, some_failures_may_be_free)
{
    struct throttle *lenient = NULL;
    cr_assert_eq(throttle_create(3, &lenient), STATUS_OK);
    struct throttle_source source = throttle_source_of(lenient, "a@x");
    for (uint64_t i = 0; i < 3; i++) {
        cr_expect_eq(throttle_failure(lenient, &source, "a@x", i, 0), 0);
    }
    cr_expect_eq(throttle_count(lenient, 0), 0);
    static const uint32_t delays[] = {2000, 4000, 8000, 15000, 15000};
    for (uint64_t i = 0; i < 5; i++) {
        cr_expect_eq(throttle_failure(lenient, &source, "a@x", 10 + i, 0), delays[i]);
        cr_expect_eq(throttle_delay(lenient, &source, 0), delays[i]);
    }
    cr_expect_eq(throttle_delay(lenient, &source, DECAY_MS), 8000);
    cr_expect_eq(throttle_delay(lenient, &source, 4 * DECAY_MS), 0);
    throttle_destroy(&lenient);
}

Test(throttle, lists_and_forgets)
{
    struct throttle_penalty list[4];
    char label[AUTH_THROTTLE_LABEL_MAX + 10];
    memset(label, 'n', sizeof label - 1);
    label[sizeof label - 1] = '\0';
    (void)throttle_failure(throttle, &here, label, 1, 0);
    (void)throttle_failure(throttle, &here, label, 2, 100);
    (void)throttle_failure(throttle, &there, NULL, 3, 200);
    cr_assert_eq(throttle_list(throttle, 1000, list, 4), 2);
    const struct throttle_penalty *first =
        memcmp(&list[0].source, &here, sizeof here) == 0 ? &list[0] : &list[1];
    cr_expect_eq(first->failures, 2);
    cr_expect_eq(first->delay_ms, 4000);
    cr_expect_eq(first->age_ms, 900);
    cr_expect_eq(strlen(first->label), AUTH_THROTTLE_LABEL_MAX);
    cr_expect_eq(throttle_list(throttle, 1000, list, 1), 2);
    cr_expect_eq(throttle_clear(throttle, &here), 1);
    cr_expect_eq(throttle_clear(throttle, &here), 0);
    cr_expect_eq(throttle_failure(throttle, &here, NULL, 3, 0), 2000);
    cr_expect_eq(throttle_clear(throttle, NULL), 2);
    cr_expect_eq(throttle_count(throttle, 0), 0);
}
