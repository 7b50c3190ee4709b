/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/lookup.h"

#include "io/list.h"
#include "storage/volume.h"

#include <pthread.h>
#include <stdlib.h>

struct lookup {
    pthread_t thread;
    struct post_box box;
    struct post_message stop;
    bool stopping; /* the thread's */
    struct maildrop_reader reader;
};

static void on_answer(struct post_message *message)
{
    struct lookup_request *request = list_entry(message, struct lookup_request, message);
    request->on_done(request);
}

static void on_request(struct post_message *message)
{
    struct lookup_request *request = list_entry(message, struct lookup_request, message);
    request->status =
        maildrop_read(&request->lookup->reader, request->maildrop, UINT64_MAX, &request->result);
    message->on_receive = on_answer;
    post_send(request->reply_box, message);
}

static void on_stop(struct post_message *message)
{
    struct lookup *lookup = list_entry(message, struct lookup, stop);
    lookup->stopping = true;
}

static void *run(void *owner)
{
    struct lookup *lookup = owner;
    while (!lookup->stopping) {
        (void)post_wait(&lookup->box, -1); /* without a timeout there always is something */
        (void)post_run(&lookup->box);
    }
    return NULL;
}

enum status lookup_start(struct volume *volume, struct lookup **out_lookup, struct error *out_error)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, volume->path,
                         "starting the lookup thread");
    }
    lookup->box.event_fd = -1;
    enum status status = maildrop_reader_init(&lookup->reader, volume);
    if (status == STATUS_OK) {
        status = post_box_init_thread(&lookup->box);
    }
    if (status == STATUS_OK && pthread_create(&lookup->thread, NULL, run, lookup) != 0) {
        status = STATUS_NO_MEMORY;
    }
    if (status != STATUS_OK) {
        post_box_deinit(&lookup->box);
        maildrop_reader_deinit(&lookup->reader);
        free(lookup);
        return error_set(out_error, status, 0, volume->path, "starting the lookup thread");
    }
    *out_lookup = lookup;
    return STATUS_OK;
}

void lookup_stop(struct lookup **lookup)
{
    if (*lookup == NULL) {
        return;
    }
    (*lookup)->stop.on_receive = on_stop;
    post_send(&(*lookup)->box, &(*lookup)->stop);
    (void)pthread_join((*lookup)->thread, NULL); /* it is ours and joined once */
    post_box_deinit(&(*lookup)->box);
    maildrop_reader_deinit(&(*lookup)->reader);
    free(*lookup);
    *lookup = NULL;
}

void lookup_ask(struct lookup *lookup, struct lookup_request *request)
{
    request->lookup = lookup;
    request->message.on_receive = on_request;
    post_send(&lookup->box, &request->message);
}
