/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/cache.h"

#include "auth/auth_limits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TTL_MS      10000
#define NEGATIVE_MS 1000

static struct cache *cache;

static void open_cache(uint32_t entries)
{
    const struct cache_config config = {
        .entries_max = entries, .ttl_ms = TTL_MS, .negative_ttl_ms = NEGATIVE_MS};
    cr_assert_eq(secret_start(), STATUS_OK);
    cr_assert_eq(cache_create(&config, &cache), STATUS_OK);
}

static void open_usual(void)
{
    open_cache(AUTH_CACHE_SHARDS * AUTH_CACHE_WAYS);
}

static void close_cache(void)
{
    cache_destroy(&cache);
    cr_expect_null(cache);
    cache_destroy(&cache);
}

TestSuite(cache, .init = open_usual, .fini = close_cache);

static struct cache_key key_of(const char *name, const char *password)
{
    struct cache_key key;
    cache_key(cache, name, strlen(name), password, strlen(password), &key);
    return key;
}

/* Runs a verification of nobody's through: begins, settles, drops the waiters. */
static void remember(const struct cache_key *key, enum cache_verdict verdict, uint64_t id,
                     int64_t now_ms)
{
    struct cache_flight flight;
    struct cache_waiter waiter;
    struct cache_value value;
    struct list_link waiters;
    list_init(&waiters);
    cr_assert_eq(cache_begin(cache, key, now_ms, &flight, &waiter, &value), CACHE_BEGUN);
    value = (struct cache_value){.verdict = verdict, .drop = {.volume = 2, .id = id}};
    cache_settle(cache, &flight, &value, now_ms, &waiters);
    cr_expect_eq(list_first(&waiters), &waiter.link);
}

static enum cache_verdict find(const struct cache_key *key, int64_t now_ms)
{
    struct cache_value value;
    return cache_find(cache, key, now_ms, &value) ? value.verdict : CACHE_NOTHING;
}

Test(cache, remembers_a_verdict_until_its_time_is_over)
{
    struct cache_key good = key_of("a@x", "secret"), bad = key_of("a@x", "wrong");
    struct cache_value value;
    cr_expect_not(cache_find(cache, &good, 0, &value));
    remember(&good, CACHE_VERIFIED, 77, 0);
    remember(&bad, CACHE_REFUSED, 0, 0);
    cr_assert(cache_find(cache, &good, TTL_MS - 1, &value));
    cr_expect_eq(value.verdict, CACHE_VERIFIED);
    cr_expect(value.drop.id == 77 && value.drop.volume == 2);
    cr_expect_eq(find(&good, TTL_MS), CACHE_NOTHING);
    cr_expect_eq(find(&bad, NEGATIVE_MS - 1), CACHE_REFUSED);
    cr_expect_eq(find(&bad, NEGATIVE_MS), CACHE_NOTHING);
}

Test(cache, the_key_is_the_full_tuple)
{
    struct cache_key key = key_of("ab", "c"), other = key_of("a", "bc");
    remember(&key, CACHE_VERIFIED, 1, 0);
    cr_expect_eq(find(&other, 0), CACHE_NOTHING);
    other = key_of("ab", "C");
    cr_expect_eq(find(&other, 0), CACHE_NOTHING);
    other = key_of("", "abc");
    cr_expect_eq(find(&other, 0), CACHE_NOTHING);
    other = key_of("ab", "c");
    cr_expect_eq(find(&other, 0), CACHE_VERIFIED);
}

Test(cache, forgets_a_name_at_once_and_leaves_others)
{
    struct cache_key old = key_of("a@x", "secret");
    char name[32];
    unsigned left = 0;
    remember(&old, CACHE_VERIFIED, 1, 0);
    cache_forget(cache, "a@x", 3);
    struct cache_key now = key_of("a@x", "secret");
    cr_expect_eq(find(&now, 0), CACHE_NOTHING);
    /* Names share stamps, but hardly any two. */
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "user%d@x", i);
        struct cache_key before = key_of(name, "p");
        cache_forget(cache, "a@x", 3);
        struct cache_key after = key_of(name, "p");
        left += memcmp(&before, &after, sizeof before) == 0;
    }
    cr_expect_gt(left, 15);
}

Test(cache, a_verdict_reached_before_a_change_is_never_found)
{
    struct cache_key old = key_of("a@x", "secret");
    cache_forget(cache, "a@x", 3); /* the account changes while its verification runs */
    remember(&old, CACHE_VERIFIED, 1, 0);
    struct cache_key now = key_of("a@x", "secret");
    cr_expect_eq(find(&now, 0), CACHE_NOTHING);
}

Test(cache, forgets_everything)
{
    struct cache_key first = key_of("a@x", "secret"), second = key_of("b@x", "secret");
    remember(&first, CACHE_VERIFIED, 1, 0);
    remember(&second, CACHE_VERIFIED, 1, 0);
    cache_forget_all(cache);
    first = key_of("a@x", "secret");
    second = key_of("b@x", "secret");
    cr_expect_eq(find(&first, 0), CACHE_NOTHING);
    cr_expect_eq(find(&second, 0), CACHE_NOTHING);
}

Test(cache, never_grows_and_keeps_what_was_used_last)
{
    char name[32];
    struct cache_key kept = key_of("kept@x", "secret");
    remember(&kept, CACHE_VERIFIED, 1, 0);
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(name, sizeof name, "u%d@x", i);
        struct cache_key key = key_of(name, "secret");
        remember(&key, CACHE_VERIFIED, 1, 0);
        cr_assert_eq(find(&kept, 0), CACHE_VERIFIED, "after %d", i);
    }
    struct cache_numbers numbers;
    cache_numbers(cache, &numbers);
    cr_expect_leq(numbers.entries, AUTH_CACHE_SHARDS * AUTH_CACHE_WAYS);
    cr_expect_gt(numbers.entries, AUTH_CACHE_SHARDS * AUTH_CACHE_WAYS * 9 / 10);
    cr_expect_eq(numbers.misses, 5001);
    cr_expect_eq(numbers.hits, 5000);
}

Test(cache, guesses_push_nobody_out)
{
    char name[32];
    struct cache_key users[200];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof name, "user%d@x", i);
        users[i] = key_of(name, "secret");
        remember(&users[i], CACHE_VERIFIED, 1, 0);
    }
    unsigned before = 0, after = 0;
    for (int i = 0; i < 200; i++) {
        before += find(&users[i], 0) == CACHE_VERIFIED;
    }
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof name, "guess%d", i);
        struct cache_key key = key_of("user1@x", name);
        remember(&key, CACHE_REFUSED, 0, 0);
    }
    for (int i = 0; i < 200; i++) {
        after += find(&users[i], 0) == CACHE_VERIFIED;
    }
    cr_expect_eq(before, after);
    /* Expired ones do make room. */
    struct cache_key late = key_of("late@x", "wrong");
    remember(&late, CACHE_REFUSED, 0, TTL_MS + 1);
    cr_expect_eq(find(&late, TTL_MS + 1), CACHE_REFUSED);
}

static bool goes_on(struct cache_flight *flight)
{
    (void)flight;
    return false;
}

static bool stops(struct cache_flight *flight)
{
    (void)flight;
    return true;
}

Test(cache, one_verification_for_all_who_ask)
{
    struct cache_key key = key_of("a@x", "secret"), other = key_of("b@x", "secret");
    struct cache_flight flight = {.on_unwanted = goes_on}, second = flight, unused, *ended;
    struct cache_waiter waiters[4];
    struct cache_value value = {.verdict = CACHE_VERIFIED, .drop = {.id = 5}};
    struct list_link out;
    list_init(&out);
    cr_assert_eq(cache_begin(cache, &key, 0, &flight, &waiters[0], &value), CACHE_BEGUN);
    cr_assert_eq(cache_begin(cache, &key, 0, &unused, &waiters[1], &value), CACHE_JOINED);
    cr_assert_eq(cache_begin(cache, &key, 0, &unused, &waiters[2], &value), CACHE_JOINED);
    cr_assert_eq(cache_begin(cache, &other, 0, &second, &waiters[3], &value), CACHE_BEGUN);
    cr_expect(cache_leave(cache, &key, &waiters[1], &ended));
    cr_expect_not(cache_leave(cache, &key, &waiters[1], &ended));
    cr_expect_not(cache_end_unwanted(cache, &flight));
    cache_settle(cache, &flight, &value, 0, &out);
    cr_expect_eq(list_pop_front(&out), &waiters[0].link);
    cr_expect_eq(list_pop_front(&out), &waiters[2].link);
    cr_expect_null(list_pop_front(&out));
    cr_expect_not(cache_leave(cache, &key, &waiters[0], &ended));
    cr_expect_eq(cache_begin(cache, &key, 0, &unused, &waiters[0], &value), CACHE_HIT);
    cr_expect_eq(value.drop.id, 5);
    cr_expect(cache_leave(cache, &other, &waiters[3], &ended));
    cr_expect_null(ended);
    cr_expect(cache_end_unwanted(cache, &second));
}

Test(cache, the_last_one_who_leaves_ends_a_verification_that_can_be_stopped)
{
    struct cache_key key = key_of("a@x", "secret");
    struct cache_flight flight = {.on_unwanted = stops}, next = flight, unused, *ended = NULL;
    struct cache_waiter waiters[2];
    struct cache_value value = {0};
    cr_assert_eq(cache_begin(cache, &key, 0, &flight, &waiters[0], &value), CACHE_BEGUN);
    cr_assert_eq(cache_begin(cache, &key, 0, &unused, &waiters[1], &value), CACHE_JOINED);
    cr_expect(cache_leave(cache, &key, &waiters[0], &ended));
    cr_expect_null(ended); /* somebody waits still */
    cr_expect(cache_leave(cache, &key, &waiters[1], &ended));
    cr_expect_eq(ended, &flight);
    /* It is over: the next one begins anew. */
    cr_expect_eq(cache_begin(cache, &key, 0, &next, &waiters[0], &value), CACHE_BEGUN);
    cr_expect(cache_leave(cache, &key, &waiters[0], &ended));
    cr_expect_eq(ended, &next);
}

Test(cache, remembers_nothing_of_a_verification_without_a_verdict)
{
    struct cache_key key = key_of("a@x", "secret");
    remember(&key, CACHE_NOTHING, 0, 0);
    cr_expect_eq(find(&key, 0), CACHE_NOTHING);
    remember(&key, CACHE_VERIFIED, 1, 0); /* it can begin again */
    cr_expect_eq(find(&key, 0), CACHE_VERIFIED);
}

Test(cache, remembers_the_terms_of_who_has_some)
{
    struct cache_key key = key_of("a@x", "secret");
    struct cache_flight flight;
    struct cache_waiter waiter;
    struct cache_value value;
    struct list_link waiters;
    for (int round = 0; round < 3; round++) {
        list_init(&waiters);
        cr_assert_eq(cache_begin(cache, &key, round * 2 * TTL_MS, &flight, &waiter, &value),
                     CACHE_BEGUN);
        value = (struct cache_value){.verdict = CACHE_VERIFIED, .drop = {.id = 7}};
        value.has_terms = round != 1;
        value.terms = (struct terms){.needs_tls = true, .reason = "why"};
        cache_settle(cache, &flight, &value, round * 2 * TTL_MS, &waiters);
        value = (struct cache_value){0};
        cr_assert(cache_find(cache, &key, round * 2 * TTL_MS, &value));
        cr_expect_eq(value.has_terms, round != 1);
        cr_expect_eq(value.terms.needs_tls, round != 1);
        cr_expect_str_eq(value.terms.reason, round != 1 ? "why" : "");
    }
}

static struct cache_key master_key(const char *name, const char *master, const char *password)
{
    struct cache_key key;
    cache_key_for_master(cache, name, strlen(name), master, strlen(master), password,
                         strlen(password), &key);
    return key;
}

Test(cache, a_masters_entry_goes_with_either_name)
{
    static const char *const names[] = {"a@x", "@m@x"};
    for (size_t i = 0; i < 2; i++) {
        struct cache_key key = master_key("a@x", "@m@x", "secret");
        remember(&key, CACHE_VERIFIED, 1, 0);
        key = master_key("a@x", "@m@x", "secret");
        cr_expect_eq(find(&key, 0), CACHE_VERIFIED);
        key = key_of("a@x", "secret");
        cr_expect_eq(find(&key, 0), CACHE_NOTHING);
        key = master_key("a@x", "@n@x", "secret");
        cr_expect_eq(find(&key, 0), CACHE_NOTHING);
        cache_forget(cache, names[i], strlen(names[i]));
        key = master_key("a@x", "@m@x", "secret");
        cr_expect_eq(find(&key, 0), CACHE_NOTHING);
    }
}

Test(cache, a_verified_credential_outlives_its_time_for_who_cannot_ask)
{
    struct cache_key good = key_of("a@x", "secret"), bad = key_of("a@x", "wrong");
    struct cache_value value;
    int64_t left_ms = 0;
    remember(&good, CACHE_VERIFIED, 7, 0);
    remember(&bad, CACHE_REFUSED, 0, 0);
    cr_expect_not(cache_find(cache, &good, TTL_MS + 5, &value));
    cr_assert(cache_find_stale(cache, &good, TTL_MS + 5, 1000, &value));
    cr_expect_eq(value.drop.id, 7);
    cr_expect_not(cache_find_stale(cache, &good, TTL_MS + 1000, 1000, &value));
    cr_expect_not(cache_find_stale(cache, &bad, 0, 1000, &value));
    cr_assert(cache_peek(cache, &good, TTL_MS + 5, &value, &left_ms));
    cr_expect_eq(left_ms, -5);
    cr_assert(cache_peek(cache, &bad, 0, &value, &left_ms));
    cr_expect_eq(value.verdict, CACHE_REFUSED);
    cr_expect_eq(left_ms, NEGATIVE_MS);
    bad = key_of("a@x", "never tried");
    cr_expect_not(cache_peek(cache, &bad, 0, &value, &left_ms));
}

/* Pages of this process that are in memory. */
static long resident_pages(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%ld %ld", &size, &resident), 2);
    (void)fclose(file);
    return resident;
}

Test(cache_memory, a_large_cache_takes_memory_for_what_is_in_it)
{
    char name[32];
    open_cache(AUTH_CACHE_ENTRIES_DEFAULT);
    long before = resident_pages();
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(name, sizeof name, "user%d@x", i);
        struct cache_key key = key_of(name, "secret");
        remember(&key, CACHE_VERIFIED, 1, 0);
    }
    /* 128 KB of entries and 1 MB of sets; entries spread over their table would take 7 MB. */
    cr_expect_lt((resident_pages() - before) * sysconf(_SC_PAGESIZE), 4 << 20);
    close_cache();
}
