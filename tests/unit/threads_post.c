/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many senders, one receiver; for ThreadSanitizer. Each sender's messages must arrive once and in
 * order, with what was written into them, at a loop of either back end and at a plain thread.
 */
#include "io/post.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SENDERS  4
#define MESSAGES 5000

struct item {
    struct post_message message;
    struct receiver *receiver;
    unsigned sender, number;
};

struct receiver {
    struct post_box box;
    struct loop *loop; /* NULL for a plain thread */
    unsigned next[SENDERS];
    unsigned total, wrong;
};

struct sender {
    struct receiver *receiver;
    unsigned index;
    struct item items[MESSAGES];
};

static void on_receive(struct post_message *message)
{
    struct item *item = (struct item *)(void *)message;
    struct receiver *receiver = item->receiver;
    receiver->wrong += item->number != receiver->next[item->sender];
    receiver->next[item->sender] = item->number + 1;
    receiver->total++;
    if (receiver->total == SENDERS * MESSAGES && receiver->loop != NULL) {
        loop_stop(receiver->loop);
    }
}

static void on_wake(void *owner)
{
    (void)post_run(&((struct receiver *)owner)->box);
}

static void *send_all(void *argument)
{
    struct sender *sender = argument;
    for (unsigned i = 0; i < MESSAGES; i++) {
        sender->items[i] = (struct item){.message.on_receive = on_receive,
                                         .receiver = sender->receiver,
                                         .sender = sender->index,
                                         .number = i};
        post_send(&sender->receiver->box, &sender->items[i].message);
    }
    return NULL;
}

static void receive_all(struct receiver *receiver)
{
    if (receiver->loop != NULL) {
        loop_run(receiver->loop);
        return;
    }
    while (receiver->total < SENDERS * MESSAGES) {
        if (!post_wait(&receiver->box, 10000)) {
            return; /* ten seconds without a message: one was lost */
        }
        (void)post_run(&receiver->box);
    }
}

static int run(const char *name, enum loop_kind kind, int plain)
{
    struct receiver receiver = {0};
    struct loop_config config = {.kind = kind, .on_wake = on_wake, .owner = &receiver};
    pthread_t threads[SENDERS];
    struct sender *senders = calloc(SENDERS, sizeof *senders);
    if (senders == NULL || (plain ? post_box_init_thread(&receiver.box)
                                  : loop_create(&config, &receiver.loop, NULL)) != STATUS_OK) {
        free(senders);
        printf("skip - %s: no such receiver here\n", name);
        return -1;
    }
    if (!plain) {
        post_box_init_loop(&receiver.box, receiver.loop);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].receiver = &receiver;
        senders[i].index = i;
        if (pthread_create(&threads[i], NULL, send_all, &senders[i]) != 0) {
            abort();
        }
    }
    receive_all(&receiver);
    for (unsigned i = 0; i < SENDERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    post_box_deinit(&receiver.box);
    loop_destroy(&receiver.loop);
    free(senders);
    int ok = receiver.total == SENDERS * MESSAGES && receiver.wrong == 0;
    printf("%s - %s: %u messages, %u out of order\n", ok ? "ok" : "not ok", name, receiver.total,
           receiver.wrong);
    return ok;
}

int main(void)
{
    int results[3] = {run("io_uring", LOOP_IO_URING, 0), run("epoll", LOOP_EPOLL, 0),
                      run("thread", LOOP_EPOLL, 1)};
    unsigned passed = 0, failed = 0, skipped = 0;
    for (unsigned i = 0; i < 3; i++) {
        passed += results[i] > 0;
        failed += results[i] == 0;
        skipped += results[i] < 0;
    }
    printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
    return failed > 0 ? 1 : 0;
}
