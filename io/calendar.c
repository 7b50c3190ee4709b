/* SPDX-License-Identifier: Apache-2.0 */
#include "io/calendar.h"

#include <stdbool.h>

#define DAY_SECONDS   86400
#define ERA_DAYS      146097 /* 400 years: after these the calendar begins again */
#define ERA_YEARS     400
#define MARCH_OF_ZERO 719468 /* days from 0000-03-01, when an era begins, to 1970-01-01 */
#define THURSDAY      4      /* was 1970-01-01 */

/* Divides towards minus infinity. */
static int64_t divide(int64_t number, int64_t by, int64_t *out_rest)
{
    int64_t rest = number % by;
    bool is_below = rest < 0;
    *out_rest = is_below ? rest + by : rest;
    return number / by - is_below;
}

/* Years that begin in March have their leap day at the end, and months that repeat every five. */
static void set_date(int64_t days, struct calendar *out_calendar)
{
    int64_t day_of_era;
    int64_t era = divide(days + MARCH_OF_ZERO, ERA_DAYS, &day_of_era);
    unsigned day = (unsigned)day_of_era;
    unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    unsigned day_of_year = day - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * day_of_year + 2) / 153; /* 0: March */
    bool is_next_year = month >= 10;
    out_calendar->day = day_of_year - (153 * month + 2) / 5 + 1;
    out_calendar->month = is_next_year ? month - 9 : month + 3;
    out_calendar->year = era * ERA_YEARS + year + is_next_year;
}

void calendar_utc(int64_t time_s, struct calendar *out_calendar)
{
    int64_t second_of_day, weekday;
    int64_t days = divide(time_s, DAY_SECONDS, &second_of_day);
    set_date(days, out_calendar);
    (void)divide(days + THURSDAY, 7, &weekday); /* only the rest counts */
    unsigned second = (unsigned)second_of_day;
    out_calendar->weekday = (unsigned)weekday;
    out_calendar->hour = second / 3600;
    out_calendar->minute = second / 60 % 60;
    out_calendar->second = second % 60;
}
