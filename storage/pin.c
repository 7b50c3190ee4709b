/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/pin.h"

#include <assert.h>

void pins_init(struct pins *pins)
{
    *pins = (struct pins){0};
    (void)pthread_mutex_init(&pins->mutex, NULL); /* cannot fail with default attributes */
}

void pins_deinit(struct pins *pins)
{
    (void)pthread_mutex_destroy(&pins->mutex); /* nobody has it: all views are gone */
}

unsigned pin_take(struct pins *pins)
{
    (void)pthread_mutex_lock(&pins->mutex);
    unsigned pin = pins->current;
    pins->views[pin]++;
    (void)pthread_mutex_unlock(&pins->mutex);
    return pin;
}

void pin_release(struct pins *pins, unsigned pin)
{
    (void)pthread_mutex_lock(&pins->mutex);
    assert(pins->views[pin] > 0);
    pins->views[pin]--;
    (void)pthread_mutex_unlock(&pins->mutex);
}

void pins_turn(struct pins *pins)
{
    (void)pthread_mutex_lock(&pins->mutex);
    assert(pins->views[pins->current ^ 1] == 0);
    pins->current ^= 1;
    (void)pthread_mutex_unlock(&pins->mutex);
}

bool pins_drained(struct pins *pins)
{
    (void)pthread_mutex_lock(&pins->mutex);
    bool drained = pins->views[pins->current ^ 1] == 0;
    (void)pthread_mutex_unlock(&pins->mutex);
    return drained;
}
