/* SPDX-License-Identifier: Apache-2.0 */
#include "io/calendar.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define DAY_SECONDS INT64_C(86400)

/* The C library says the same. */
static void check(int64_t time_s)
{
    struct calendar calendar;
    struct tm tm;
    time_t time = (time_t)time_s;
    calendar_utc(time_s, &calendar);
    cr_assert_not_null(gmtime_r(&time, &tm));
    cr_assert_eq(calendar.year, tm.tm_year + INT64_C(1900), "at %" PRId64, time_s);
    cr_assert_eq(calendar.month, (unsigned)tm.tm_mon + 1, "at %" PRId64, time_s);
    cr_assert_eq(calendar.day, (unsigned)tm.tm_mday, "at %" PRId64, time_s);
    cr_assert_eq(calendar.weekday, (unsigned)tm.tm_wday, "at %" PRId64, time_s);
    cr_assert_eq(calendar.hour, (unsigned)tm.tm_hour, "at %" PRId64, time_s);
    cr_assert_eq(calendar.minute, (unsigned)tm.tm_min, "at %" PRId64, time_s);
    cr_assert_eq(calendar.second, (unsigned)tm.tm_sec, "at %" PRId64, time_s);
}

Test(calendar, knows_the_ends_of_each_day_of_a_thousand_years)
{
    for (int64_t day = -200 * 366; day < 800 * 366; day++) {
        check(day * DAY_SECONDS);
        check(day * DAY_SECONDS - 1);
    }
}

Test(calendar, knows_each_second_of_a_day)
{
    for (int64_t second = 0; second < DAY_SECONDS; second++) {
        check(20000 * DAY_SECONDS + second);
    }
}

Test(calendar, knows_days_before_the_first_year)
{
    for (int64_t day = 719000; day < 720000; day++) {
        check(-day * DAY_SECONDS);
    }
}

Test(calendar, has_an_answer_for_any_time)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct calendar calendar;
        calendar_utc(times[i], &calendar);
        cr_assert(calendar.month >= 1 && calendar.month <= 12);
        cr_assert(calendar.day >= 1 && calendar.day <= 31);
        cr_assert(calendar.weekday < 7 && calendar.hour < 24);
        cr_assert(calendar.minute < 60 && calendar.second < 60);
    }
}
