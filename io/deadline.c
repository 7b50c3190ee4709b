/* SPDX-License-Identifier: Apache-2.0 */
#include "io/deadline.h"

#include <assert.h>
#include <string.h>

#define SLOT_BITS 6
#define SLOT_MASK (DEADLINE_SLOTS - 1)
#define SPAN_MAX  ((int64_t)1 << (SLOT_BITS * DEADLINE_LEVELS)) /* ticks the wheel covers */

_Static_assert(DEADLINE_SLOTS == 1 << SLOT_BITS, "a level's slots are counted by SLOT_BITS");
_Static_assert(DEADLINE_SLOTS == 64, "one uint64_t of `occupied` covers a level");

void deadline_wheel_init(struct deadline_wheel *wheel, int64_t now_ms)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->tick_now = now_ms / DEADLINE_TICK_MS;
    list_init(&wheel->due);
    for (unsigned level = 0; level < DEADLINE_LEVELS; level++) {
        for (unsigned slot = 0; slot < DEADLINE_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
}

void deadline_init(struct deadline *deadline, void (*on_due)(struct deadline *deadline))
{
    list_init(&deadline->link);
    deadline->due_ms = 0;
    deadline->on_due = on_due;
}

bool deadline_armed(const struct deadline *deadline)
{
    return !list_empty(&deadline->link);
}

/* Rounded up: a timer never fires early. */
static int64_t due_tick(const struct deadline *deadline)
{
    return (deadline->due_ms + DEADLINE_TICK_MS - 1) / DEADLINE_TICK_MS;
}

/* Puts an unlinked timer where the wheel will meet it in time. */
static void place(struct deadline_wheel *wheel, struct deadline *deadline)
{
    int64_t tick = due_tick(deadline);
    int64_t delta = tick - wheel->tick_now;
    if (delta <= 0) {
        list_push_back(&wheel->due, &deadline->link);
        return;
    }
    if (delta >= SPAN_MAX) { /* too far: placed at the edge, and placed again when met there */
        delta = SPAN_MAX - 1;
        tick = wheel->tick_now + delta;
    }
    unsigned level = 0;
    while (delta >> (SLOT_BITS * (level + 1)) != 0) {
        level++;
    }
    unsigned slot = (unsigned)(tick >> (SLOT_BITS * level)) & SLOT_MASK;
    list_push_back(&wheel->slots[level][slot], &deadline->link);
    wheel->occupied[level] |= (uint64_t)1 << slot;
}

/* Unlinks a timer; when it was the last of its slot the slot's bit is cleared, so that a timer
 * moved a thousand times leaves no slots behind that would wake the loop for nothing. */
static void unplace(struct deadline_wheel *wheel, struct deadline *deadline)
{
    struct list_link *head = deadline->link.prev;
    bool last = head == deadline->link.next;
    list_remove(&deadline->link);
    struct list_link *first = &wheel->slots[0][0];
    if (last && head >= first && head < first + DEADLINE_LEVELS * DEADLINE_SLOTS) {
        unsigned index = (unsigned)(head - first);
        wheel->occupied[index / DEADLINE_SLOTS] &= ~((uint64_t)1 << (index % DEADLINE_SLOTS));
    }
}

void deadline_arm(struct deadline_wheel *wheel, struct deadline *deadline, int64_t due_ms)
{
    if (deadline_armed(deadline)) {
        unplace(wheel, deadline);
    } else {
        wheel->armed_count++;
    }
    deadline->due_ms = due_ms;
    place(wheel, deadline);
}

void deadline_disarm(struct deadline_wheel *wheel, struct deadline *deadline)
{
    if (deadline_armed(deadline)) {
        unplace(wheel, deadline);
        wheel->armed_count--;
    }
}

static void move_all(struct list_link *from, struct list_link *to)
{
    struct list_link *link;
    while ((link = list_pop_front(from)) != NULL) {
        list_push_back(to, link);
    }
}

static uint32_t fire(struct deadline_wheel *wheel, struct list_link *list)
{
    uint32_t count = 0;
    struct list_link firing, *link;
    list_init(&firing);
    move_all(list, &firing);
    while ((link = list_pop_front(&firing)) != NULL) {
        struct deadline *deadline = list_entry(link, struct deadline, link);
        wheel->armed_count--;
        deadline->on_due(deadline);
        count++;
    }
    return count;
}

/* At a slot boundary of a higher level its timers come down to where they belong now. */
static void cascade(struct deadline_wheel *wheel)
{
    for (unsigned level = DEADLINE_LEVELS - 1; level > 0; level--) {
        if ((wheel->tick_now & (((int64_t)1 << (SLOT_BITS * level)) - 1)) != 0) {
            continue;
        }
        unsigned slot = (unsigned)(wheel->tick_now >> (SLOT_BITS * level)) & SLOT_MASK;
        struct list_link moving, *link;
        list_init(&moving);
        move_all(&wheel->slots[level][slot], &moving);
        wheel->occupied[level] &= ~((uint64_t)1 << slot);
        while ((link = list_pop_front(&moving)) != NULL) {
            place(wheel, list_entry(link, struct deadline, link));
        }
    }
}

/* The next tick at which a slot of `level` is met that holds something; INT64_MAX for none. */
static int64_t next_tick_of_level(const struct deadline_wheel *wheel, unsigned level)
{
    uint64_t occupied = wheel->occupied[level];
    if (occupied == 0) {
        return INT64_MAX;
    }
    int64_t position = wheel->tick_now >> (SLOT_BITS * level);
    unsigned shift = (unsigned)(position + 1) & SLOT_MASK;
    uint64_t rotated = shift == 0 ? occupied : occupied >> shift | occupied << (64 - shift);
    return (position + 1 + __builtin_ctzll(rotated)) << (SLOT_BITS * level);
}

static int64_t next_tick(const struct deadline_wheel *wheel)
{
    int64_t earliest = INT64_MAX;
    for (unsigned level = 0; level < DEADLINE_LEVELS; level++) {
        int64_t tick = next_tick_of_level(wheel, level);
        if (tick < earliest) {
            earliest = tick;
        }
    }
    return earliest;
}

uint32_t deadline_run(struct deadline_wheel *wheel, int64_t now_ms)
{
    int64_t target = now_ms / DEADLINE_TICK_MS;
    uint32_t fired = fire(wheel, &wheel->due);
    /* What callbacks arm for the past waits here for the next run, or one could keep us for ever.
     */
    struct list_link later;
    list_init(&later);
    while (wheel->tick_now < target) {
        move_all(&wheel->due, &later);
        int64_t tick = next_tick(wheel); /* over empty stretches in one step */
        wheel->tick_now = tick < target ? tick : target;
        cascade(wheel); /* what is due at this very tick lands on the due list */
        unsigned slot = (unsigned)wheel->tick_now & SLOT_MASK;
        wheel->occupied[0] &= ~((uint64_t)1 << slot);
        struct list_link ready;
        list_init(&ready);
        move_all(&wheel->due, &ready);
        move_all(&wheel->slots[0][slot], &ready);
        fired += fire(wheel, &ready);
    }
    move_all(&wheel->due, &later);
    move_all(&later, &wheel->due);
    return fired;
}

int64_t deadline_next_ms(const struct deadline_wheel *wheel, int64_t now_ms)
{
    if (wheel->armed_count == 0) {
        return -1;
    }
    if (!list_empty(&wheel->due)) {
        return 0;
    }
    int64_t left_ms = next_tick(wheel) * DEADLINE_TICK_MS - now_ms;
    return left_ms > 0 ? left_ms : 0;
}
