/* SPDX-License-Identifier: Apache-2.0 */
/* One thread only; threads_post.c has the rest. */
#include "io/post.h"

#include <criterion/criterion.h>

struct item {
    struct post_message message;
    unsigned number;
    struct post_box *again;
};

static unsigned received[10], count;

static void on_receive(struct post_message *message)
{
    struct item *item = (struct item *)(void *)message;
    received[count++] = item->number;
    if (item->again != NULL) {
        struct post_box *box = item->again;
        item->again = NULL;
        post_send(box, message);
    }
}

Test(post, messages_arrive_in_order)
{
    struct post_box box;
    struct item items[5];
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    cr_assert_eq(post_run(&box), 0);
    cr_assert_not(post_wait(&box, 0));
    for (unsigned i = 0; i < 5; i++) {
        items[i] = (struct item){.message.on_receive = on_receive, .number = i};
        post_send(&box, &items[i].message);
    }
    cr_assert(post_wait(&box, -1));
    cr_assert_eq(post_run(&box), 5);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(received[i], i);
    }
    cr_assert_not(post_wait(&box, 5), "an old wake-up is no message");
    post_box_deinit(&box);
}

Test(post, a_message_may_be_posted_again_from_its_receipt)
{
    struct post_box box;
    struct item item = {.message.on_receive = on_receive, .number = 7, .again = &box};
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    post_send(&box, &item.message);
    cr_assert_eq(post_run(&box), 1);
    cr_assert_eq(post_run(&box), 1);
    cr_assert_eq(post_run(&box), 0);
    post_box_deinit(&box);
}

Test(post, several_posted_together_keep_their_order_behind_those_before)
{
    struct post_box box;
    struct post_message messages[4] = {0};
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    post_send(&box, &messages[0]);
    messages[1].next = &messages[2];
    post_send_all(&box, &messages[1]);
    post_send_all(&box, &messages[3]); /* its next is NULL: one alone */
    const struct post_message *taken = post_take(&box);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(taken, &messages[i]);
        taken = taken->next;
    }
    cr_assert_null(taken);
    post_box_deinit(&box);
}

Test(post, a_taken_list_is_oldest_first)
{
    struct post_box box;
    struct item items[3];
    cr_assert_eq(post_box_init_thread(&box), STATUS_OK);
    cr_assert_null(post_take(&box));
    for (unsigned i = 0; i < 3; i++) {
        items[i] = (struct item){.number = i};
        post_send(&box, &items[i].message);
    }
    struct post_message *message = post_take(&box);
    for (unsigned i = 0; i < 3; i++, message = message->next) {
        cr_assert_eq(message, &items[i].message);
    }
    cr_assert_null(message);
    post_box_deinit(&box);
}

static void on_wake(void *owner)
{
    (void)post_run(owner);
}

Test(post, a_loop_is_woken_by_a_message)
{
    static const enum loop_kind kinds[] = {LOOP_AUTO, LOOP_EPOLL};
    for (unsigned i = 0; i < 2; i++) {
        struct post_box box;
        struct loop_config config = {.kind = kinds[i], .on_wake = on_wake, .owner = &box};
        struct loop *loop;
        struct item item = {.message.on_receive = on_receive, .number = 1};
        count = 0;
        cr_assert_eq(loop_create(&config, &loop, NULL), STATUS_OK);
        post_box_init_loop(&box, loop);
        post_send(&box, &item.message);
        for (unsigned turns = 0; turns < 100 && count == 0; turns++) {
            loop_turn(loop, 100);
        }
        cr_assert_eq(count, 1);
        post_box_deinit(&box);
        loop_destroy(&loop);
    }
}
