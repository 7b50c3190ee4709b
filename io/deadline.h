/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers: a hierarchical wheel per worker with a tick of DEADLINE_TICK_MS. Arming, moving and
 * disarming cost a few stores, because nearly every timer of a mail server is moved and never
 * fires.
 *
 * Owner thread only. Time is the monotonic clock in milliseconds, given in by the loop, so that
 * tests can run a virtual clock.
 */
#ifndef IO_DEADLINE_H
#define IO_DEADLINE_H

#include "io/list.h"

#include <stdbool.h>
#include <stdint.h>

#define DEADLINE_TICK_MS 8
#define DEADLINE_LEVELS  4
#define DEADLINE_SLOTS \
    64 /* a level; 8 ms * 64^4 = 37 hours; later ones are clamped there and re-armed */

struct deadline_wheel {
    int64_t tick_now; /* ticks of DEADLINE_TICK_MS that have been run */
    uint32_t armed_count;
    struct list_link due;               /* armed for the past: run next time */
    uint64_t occupied[DEADLINE_LEVELS]; /* a bit for each slot that holds something */
    struct list_link slots[DEADLINE_LEVELS][DEADLINE_SLOTS];
};

/* A timer inside its owner. All zero plus deadline_init is disarmed. */
struct deadline {
    struct list_link link;
    int64_t due_ms;
    void (*on_due)(struct deadline *deadline);
};

/* Readies an empty wheel whose time is `now_ms`. */
void deadline_wheel_init(struct deadline_wheel *wheel, int64_t now_ms);

/* Readies a disarmed timer; `on_due` runs from deadline_run. */
void deadline_init(struct deadline *deadline, void (*on_due)(struct deadline *deadline));

/* Arms `deadline` for `due_ms` (moving it when armed already). One in the past is run at the next
 * deadline_run, never inside this call. */
void deadline_arm(struct deadline_wheel *wheel, struct deadline *deadline, int64_t due_ms);

/* Disarms; harmless when not armed. After it on_due does not fire. */
void deadline_disarm(struct deadline_wheel *wheel, struct deadline *deadline);

/* Whether it will fire. False from the start of its on_due on. */
bool deadline_armed(const struct deadline *deadline);

/* Fires everything due at `now_ms`, each once, disarmed before its callback, which may arm it or
 * others again. Returns how many fired. */
uint32_t deadline_run(struct deadline_wheel *wheel, int64_t now_ms);

/* Milliseconds from `now_ms` until deadline_run has work (may be early by a cascade, never late by
 * more than one tick); -1 when nothing is armed. */
int64_t deadline_next_ms(const struct deadline_wheel *wheel, int64_t now_ms);

#endif
