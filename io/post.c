/* SPDX-License-Identifier: Apache-2.0 */
#include "io/post.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

void post_box_init_loop(struct post_box *box, struct loop *loop)
{
    atomic_init(&box->newest, NULL);
    atomic_init(&box->senders, 0);
    box->loop = loop;
    box->event_fd = -1;
}

enum status post_box_init_thread(struct post_box *box)
{
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd < 0) {
        return status_from_errno(errno);
    }
    atomic_init(&box->newest, NULL);
    atomic_init(&box->senders, 0);
    box->loop = NULL;
    box->event_fd = event_fd;
    return STATUS_OK;
}

void post_box_deinit(struct post_box *box)
{
    assert(atomic_load_explicit(&box->newest, memory_order_relaxed) == NULL);
    /* Acquire: partner of the release in push. */
    while (atomic_load_explicit(&box->senders, memory_order_acquire) > 0) {
        (void)sched_yield(); /* some instructions are left to them; it cannot fail */
    }
    if (box->loop == NULL && box->event_fd >= 0) {
        (void)close(box->event_fd); /* an eventfd has nothing to lose */
        box->event_fd = -1;
    }
}

static void wake_receiver(struct post_box *box)
{
    if (box->loop != NULL) {
        loop_wake(box->loop);
        return;
    }
    /* The counter can only be full after 2^64 wakes, and then the receiver is awake anyway. */
    (void)!write(box->event_fd, &(uint64_t){1}, sizeof(uint64_t));
}

/* Pushes a stack: `newest` leads to `oldest` by next. */
static void push(struct post_box *box, struct post_message *newest, struct post_message *oldest)
{
    /* Relaxed: it precedes the push, whose release orders it for whoever takes the message. */
    (void)atomic_fetch_add_explicit(&box->senders, 1, memory_order_relaxed);
    struct post_message *older = atomic_load_explicit(&box->newest, memory_order_relaxed);
    do {
        oldest->next = older;
        /* Release: whoever takes the stack (acquire in post_take) sees the messages' contents. */
    } while (!atomic_compare_exchange_weak_explicit(&box->newest, &older, newest,
                                                    memory_order_release, memory_order_relaxed));
    if (older == NULL) { /* else whoever found it empty wakes the receiver, who has not taken it */
        wake_receiver(box);
    }
    /* Release: all this has happened before post_box_deinit (acquire) comes back. */
    (void)atomic_fetch_sub_explicit(&box->senders, 1, memory_order_release);
}

/* Turns a list of messages round; returns its new first. */
static struct post_message *reverse(struct post_message *message)
{
    struct post_message *turned = NULL;
    while (message != NULL) {
        struct post_message *next = message->next;
        message->next = turned;
        turned = message;
        message = next;
    }
    return turned;
}

void post_send(struct post_box *box, struct post_message *message)
{
    push(box, message, message);
}

void post_send_all(struct post_box *box, struct post_message *oldest)
{
    push(box, reverse(oldest), oldest);
}

struct post_message *post_take(struct post_box *box)
{
    /* Acquire: partner of the release in push. */
    return reverse(atomic_exchange_explicit(&box->newest, NULL, memory_order_acquire));
}

unsigned post_run(struct post_box *box)
{
    unsigned count = 0;
    struct post_message *message = post_take(box);
    while (message != NULL) {
        struct post_message *next = message->next; /* the callback may free or repost it */
        message->next = NULL;
        message->on_receive(message);
        message = next;
        count++;
    }
    return count;
}

static int64_t monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool box_filled(struct post_box *box)
{
    return atomic_load_explicit(&box->newest, memory_order_relaxed) != NULL;
}

bool post_wait(struct post_box *box, int64_t timeout_ms)
{
    int64_t end_ms = timeout_ms < 0 ? INT64_MAX : monotonic_ms() + timeout_ms;
    while (!box_filled(box)) {
        int64_t left_ms = timeout_ms < 0 ? -1 : end_ms - monotonic_ms();
        if (timeout_ms >= 0 && left_ms < 0) {
            left_ms = 0;
        }
        struct pollfd waiting = {.fd = box->event_fd, .events = POLLIN};
        int ready = poll(&waiting, 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
        if (ready > 0) {
            uint64_t wakes;
            /* Whatever it says, the box itself is looked at next. */
            (void)!read(box->event_fd, &wakes, sizeof wakes);
        } else if (ready == 0 && left_ms >= 0 && monotonic_ms() >= end_ms) {
            return box_filled(box);
        }
    }
    return true;
}
