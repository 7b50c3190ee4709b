/* SPDX-License-Identifier: Apache-2.0 */
#include "server/config.h"
#include "server/setting.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const struct setting *find(const char *section, const char *name)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (strcmp(settings[i].section, section) == 0 && strcmp(settings[i].name, name) == 0) {
            return &settings[i];
        }
    }
    cr_assert_fail("no row %s.%s", section, name);
    return NULL;
}

static enum status read_into(struct config *config, const char *section, const char *name,
                             const char *text)
{
    static struct mem_arena arena;
    char why[SETTING_WHY_MAX];
    return setting_read(find(section, name), text, config, &arena, why);
}

Test(setting, sizes_count_in_powers_of_1024)
{
    static const struct {
        const char *text;
        uint64_t octets;
    } rows[] = {{"0", 0},           {"17", 17},
                {"1k", 1024},       {"1K", 1024},
                {"64M", 64u << 20}, {"2G", 2ull << 30},
                {"3T", 3ull << 40}, {"1MiB", 1u << 20},
                {"5kib", 5 * 1024}, {"18446744073709551615", UINT64_MAX}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t octets = 1;
        cr_expect_eq(setting_size(rows[i].text, UINT64_MAX, &octets), STATUS_OK, "%s",
                     rows[i].text);
        cr_expect_eq(octets, rows[i].octets, "%s", rows[i].text);
    }
}

Test(setting, sizes_refuse_what_is_no_size)
{
    static const char *const rows[] = {"",     "k",   "-1",  "+1", "1 k", "1kk",
                                       "0x10", "1.5", "1e3", " 1", "1 ",  "1KiBs"};
    uint64_t octets = 7;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(setting_size(rows[i], UINT64_MAX, &octets), STATUS_INVALID, "%s", rows[i]);
    }
    cr_expect_eq(setting_size("18446744073709551616", UINT64_MAX, &octets), STATUS_TOO_BIG);
    cr_expect_eq(setting_size("18014398509481984k", UINT64_MAX, &octets), STATUS_TOO_BIG);
    cr_expect_eq(setting_size("11", 10, &octets), STATUS_TOO_BIG);
    cr_expect_eq(octets, 7, "a failure leaves the result alone");
}

Test(setting, times_are_seconds_unless_they_say_otherwise)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {{"5", 5000},     {"5s", 5000},    {"250ms", 250},
                {"10m", 600000}, {"1h", 3600000}, {"1d", 86400000}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t ms = 1;
        cr_expect_eq(setting_time_ms(rows[i].text, UINT64_MAX, &ms), STATUS_OK);
        cr_expect_eq(ms, rows[i].ms, "%s", rows[i].text);
    }
    uint64_t ms;
    cr_expect_eq(setting_time_ms("5 s", UINT64_MAX, &ms), STATUS_INVALID);
    cr_expect_eq(setting_time_ms("5w", UINT64_MAX, &ms), STATUS_INVALID);
}

Test(setting, every_default_is_itself_allowed)
{
    struct config config = {.workers = 1};
    struct mem_arena arena = {.blocks = NULL};
    char why[SETTING_WHY_MAX];
    for (size_t i = 0; i < settings_count; i++) {
        if (settings[i].kind == SETTING_LIST) {
            continue; /* an empty list */
        }
        cr_expect_eq(setting_read(&settings[i], settings[i].fallback, &config, &arena, why),
                     STATUS_OK, "%s.%s", settings[i].section, settings[i].name);
    }
    cr_expect_eq(config.pop3.idle_timeout_s, 600);
    cr_expect_eq(config.pop3.login_timeout_s, 180);
    cr_expect_eq(config.lmtp.message_octets_max, 64u << 20);
    cr_expect_eq(config.auth.recipient_delimiter, '+');
    mem_arena_clear(&arena);
}

Test(setting, no_key_is_listed_twice)
{
    for (size_t i = 0; i < settings_count; i++) {
        for (size_t j = i + 1; j < settings_count; j++) {
            cr_expect(strcmp(settings[i].section, settings[j].section) != 0 ||
                          strcmp(settings[i].name, settings[j].name) != 0,
                      "%s.%s", settings[i].section, settings[i].name);
        }
    }
}

Test(setting, bounds_are_kept_and_a_failure_changes_nothing)
{
    struct config config = {.workers = 3};
    cr_expect_eq(read_into(&config, "", "workers", "256"), STATUS_OK);
    cr_expect_eq(read_into(&config, "", "workers", "257"), STATUS_INVALID);
    cr_expect_eq(config.workers, 256);
    cr_expect_eq(read_into(&config, "store", "segment_size", "1k"), STATUS_INVALID);
    cr_expect_eq(read_into(&config, "store", "segment_size", "0"), STATUS_OK,
                 "0 asks for the default");
    cr_expect_eq(read_into(&config, "pop3", "bad_commands", "0"), STATUS_INVALID);
    cr_expect_eq(read_into(&config, "pop3", "idle_timeout", "1500ms"), STATUS_INVALID);
}

Test(setting, choices_and_truth_values_are_words)
{
    struct config config = {.workers = 3};
    cr_expect_eq(read_into(&config, "", "io_backend", "epoll"), STATUS_OK);
    cr_expect_eq(config.io_backend, LOOP_EPOLL);
    cr_expect_eq(read_into(&config, "", "io_backend", "epol"), STATUS_INVALID);
    cr_expect_eq(read_into(&config, "", "io_backend", ""), STATUS_INVALID);
    cr_expect_eq(read_into(&config, "pop3", "takeover", "Yes"), STATUS_OK);
    cr_expect(config.pop3.takeover);
    cr_expect_eq(read_into(&config, "pop3", "takeover", "off"), STATUS_OK);
    cr_expect_not(config.pop3.takeover);
    cr_expect_eq(read_into(&config, "pop3", "takeover", "2"), STATUS_INVALID);
    cr_expect_eq(read_into(&config, "auth", "recipient_delimiter", ""), STATUS_OK);
    cr_expect_eq(config.auth.recipient_delimiter, '\0');
    cr_expect_eq(read_into(&config, "auth", "recipient_delimiter", "+-"), STATUS_INVALID);
}

Test(setting, distance_counts_the_letters_that_differ)
{
    cr_expect_eq(setting_distance("", ""), 0);
    cr_expect_eq(setting_distance("pop3", "pop3"), 0);
    cr_expect_eq(setting_distance("", "abc"), 3);
    cr_expect_eq(setting_distance("adress", "address"), 1);
    cr_expect_eq(setting_distance("wokrers", "workers"), 1, "neighbours swapped");
    cr_expect_eq(setting_distance("kitten", "sitting"), 3);
    char longer[SETTING_NAME_MAX + 3];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cr_expect_gt(setting_distance(longer, "x"), 1000);
}

static const char *next_word(void *owner)
{
    const char *const **at = owner;
    return **at == NULL ? NULL : *(*at)++;
}

Test(setting, nearest_finds_typing_errors_and_beginnings_only)
{
    static const char *const words[] = {"idle_timeout", "login_timeout", "takeover", NULL};
    const char *const *at = words;
    cr_expect_str_eq(setting_nearest("idel_timeout", next_word, &at), "idle_timeout");
    at = words;
    cr_expect_str_eq(setting_nearest("idle", next_word, &at), "idle_timeout");
    at = words;
    cr_expect_null(setting_nearest("colour", next_word, &at));
}

Test(setting, adds_to_a_list)
{
    static const struct setting row = {"x", "list", SETTING_LIST, 0, 1, 10, "", NULL};
    struct setting_list list = {.count = 0};
    struct mem_arena arena = {.blocks = NULL};
    char why[SETTING_WHY_MAX], text[16];
    for (unsigned i = 0; i < SETTING_LIST_MAX; i++) {
        (void)snprintf(text, sizeof text, "item%u", i);
        cr_assert_eq(setting_read(&row, text, &list, &arena, why), STATUS_OK);
    }
    cr_assert_eq(list.count, SETTING_LIST_MAX);
    cr_expect_str_eq(list.items[0], "item0");
    cr_expect_str_eq(list.items[200], "item200");
    cr_expect_eq(setting_read(&row, "more", &list, &arena, why), STATUS_INVALID);
    list.count = 0;
    cr_expect_eq(setting_read(&row, "", &list, &arena, why), STATUS_INVALID);
    cr_expect_eq(setting_read(&row, "longer than ten", &list, &arena, why), STATUS_INVALID);
    mem_arena_clear(&arena);
}
