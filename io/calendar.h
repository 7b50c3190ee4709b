/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Date and time of day, in UTC, for what is written once an operation: gmtime_r(3) takes the time
 * zone's lock, which all threads share. Pure; any thread.
 */
#ifndef IO_CALENDAR_H
#define IO_CALENDAR_H

#include <stdint.h>

struct calendar {
    int64_t year;
    unsigned month, day; /* from 1 */
    unsigned weekday;    /* 0: Sunday */
    unsigned hour, minute, second;
};

/* What the calendar and the clock say at `time_s`, UNIX time; any value is one. */
void calendar_utc(int64_t time_s, struct calendar *out_calendar);

#endif
