/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which views may still want a file that nothing in the index refers to any more. Views are counted
 * by generation, and there are two at most: the current one and the one before. Whoever wants to
 * remove something begins a new generation; when the one before has no views left, every view that
 * lives was opened after that, and has seen that it is gone.
 *
 * All zero is a valid one without views, but for the mutex: pins_init. Any thread.
 */
#ifndef STORAGE_PIN_H
#define STORAGE_PIN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct pins {
    pthread_mutex_t mutex;
    unsigned current; /* 0 or 1 */
    uint64_t views[2];
};

/* Without views. */
void pins_init(struct pins *pins);
/* All views are gone. */
void pins_deinit(struct pins *pins);

/* Counts a view in, before it reads anything; the result is for pin_release. */
unsigned pin_take(struct pins *pins);
void pin_release(struct pins *pins, unsigned pin);

/* Begins a new generation. Only when pins_drained: asserted. */
void pins_turn(struct pins *pins);
/* Whether no view of the generation before the current one is left. */
bool pins_drained(struct pins *pins);

#endif
